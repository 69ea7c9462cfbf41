import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from keepfit.features import text
from keepfit.features.fold import product
from keepfit.features.term_scores import scorer
from keepfit.features.values import Documents

RNG = np.random.default_rng(3)
WORDS = ["a", "good", "bad", "film", "not", "very", "ever", "!", "unforgettableness", "été", "京"]
LEARNED_FROM = [" ".join(RNG.choice(WORDS, 12)) for _ in range(200)]
OPTIONS = [
    {"ngrams": [1, 1]},
    {"ngrams": [1, 3]},
    {"ngrams": [2, 3], "tf": "count"},
    {"ngrams": [3, 4], "tf": "binary", "norm": False},
    {"ngrams": [1, 2], "idf": False, "max_terms": 40},
    {"ngrams": [1, 4], "min_count": 120},  # words only
    {"ngrams": [1, 2], "min_count": 1000},  # nothing
]


def learned(options):
    state, _ = text.fit({"note": text.tokens(LEARNED_FROM)}, None, {**text.DEFAULTS, **options}, 0)
    return state, np.random.default_rng(4).normal(size=state["width"])


LEARNED = [learned(options) for options in OPTIONS]
TEXTS = st.lists(st.one_of(st.none(), st.lists(st.sampled_from([*WORDS, "new", "<br/>"])).map(" ".join)), max_size=6)


@pytest.mark.parametrize("place", range(len(OPTIONS)), ids=map(str, OPTIONS))
@given(texts=TEXTS)
def test_scores_are_the_product_of_terms_and_weights(place, texts):
    state, weights = LEARNED[place]
    score = scorer(state["parts"][0], weights)
    expected = product(text.compiled(state)({"note": text.tokens(texts)}), weights)
    found = score(Documents(texts))
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-5)
    assert found.tolist() == score(text.tokens(texts)).tolist()
    assert found.tolist() == [score(Documents([one]))[0] for one in texts]


def test_taken_tokens_are_their_own_texts():
    state, weights = LEARNED[1]
    score = scorer(state["parts"][0], weights)
    rows = np.array([7, 3, 7])
    assert score(text.tokens(LEARNED_FROM)[rows]).tolist() == score(Documents(LEARNED_FROM)[rows]).tolist()


def test_many_texts_go_in_parts():
    state, weights = LEARNED[1]
    score = scorer(state["parts"][0], weights)
    texts = [*LEARNED_FROM, None, *LEARNED_FROM]
    found = score(Documents(texts))
    assert found.tolist() == score(text.tokens(texts)).tolist()
    assert found[: len(LEARNED_FROM)].tolist() == found[len(LEARNED_FROM) + 1 :].tolist()


def test_components_have_no_such_form():
    state, _ = text.fit({"note": text.tokens(LEARNED_FROM)}, None, {**text.DEFAULTS, "svd": 3}, 0)
    assert scorer(state["parts"][0], np.ones(3)) is None
