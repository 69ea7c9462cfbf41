"""Words and n-grams, against scikit-learn's counts and against a plain count in Python."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import sparse
from sklearn.feature_extraction.text import CountVectorizer, TfidfVectorizer

from keepfit.features import text
from keepfit.features.known import MOST, unpacked
from keepfit.features.values import Documents, Sparse, Tokens

DOCUMENTS = [
    "The film was good, really good!",
    "the film was bad. was it? The film was bad",
    "<br />GOOD<br /><br />film",
    None,
    "",
    "a b a b a b a",
    "Überraschend gut — naïve café",
]
SOME_TEXT = st.lists(st.one_of(st.none(), st.text(st.sampled_from("ab! é<>東"), max_size=30)), min_size=1, max_size=12)


def matrix(found: Sparse) -> sparse.csr_matrix:
    return sparse.csr_matrix((found.data, found.indices, found.indptr), shape=(len(found.indptr) - 1, found.width))


def fit(documents, **options):
    return text.fit({"note": text.tokens(documents)}, None, {**text.DEFAULTS, **options}, 0)


def by_name(state, found):
    dense = matrix(found).toarray()
    return {name: dense[:, i] for i, name in enumerate(text.names(state))}


@pytest.mark.parametrize("ngrams", [[1, 1], [1, 2], [1, 3], [2, 3], [4, 4]])
@pytest.mark.parametrize("least", [1, 2])
def test_counts_are_those_of_scikit_learn(ngrams, least):
    state, found = fit(DOCUMENTS, ngrams=ngrams, min_count=least, tf="count", idf=False, norm=False)
    peer = CountVectorizer(analyzer=lambda d: grams(d, *ngrams), min_df=least)
    try:
        expected = peer.fit_transform(DOCUMENTS).toarray()
    except ValueError:  # an empty vocabulary is an error there
        assert found.width == 0
        return
    ours = by_name(state, found)
    assert set(ours) == {f"note: {term}" for term in peer.get_feature_names_out()}
    for i, term in enumerate(peer.get_feature_names_out()):
        np.testing.assert_array_equal(ours[f"note: {term}"], expected[:, i])


def grams(document, low, high):
    words = text.words_of(document) if document else []
    return [" ".join(words[i : i + n]) for n in range(low, high + 1) for i in range(len(words) - n + 1)]


def test_tf_idf_is_that_of_scikit_learn():
    state, found = fit(DOCUMENTS, ngrams=[1, 2], min_count=1)
    peer = TfidfVectorizer(analyzer=lambda d: grams(d, 1, 2), sublinear_tf=True)
    expected = peer.fit_transform(DOCUMENTS).toarray()
    ours = by_name(state, found)
    for i, term in enumerate(peer.get_feature_names_out()):
        np.testing.assert_allclose(ours[f"note: {term}"], expected[:, i], rtol=1e-5)


def test_binary_counts_a_term_once():
    _, found = fit(["a a b", "a b"], tf="binary", idf=False, norm=False)
    assert matrix(found).toarray().tolist() == [[1, 1], [1, 1]]


def test_the_frequency_that_counts_is_that_of_documents():
    state, _ = fit(["rare rare rare common", "common"], min_count=2)
    assert text.names(state) == ["note: common"]


@given(SOME_TEXT, SOME_TEXT)
def test_unseen_documents_are_counted_word_by_word(known, new):
    state, _ = fit(known, ngrams=[1, 3], min_count=1, tf="count", idf=False, norm=False)
    found = matrix(text.compiled(state)({"note": text.tokens(new)})).toarray()
    vocabulary = {term: i for i, term in enumerate(text.terms(state["parts"][0]))}
    assert set(vocabulary) == {gram for d in known for gram in grams(d, 1, 3)}
    for row, document in zip(found, new, strict=True):
        expected = Counter(gram for gram in grams(document, 1, 3) if gram in vocabulary)
        assert {term: row[i] for term, i in vocabulary.items() if row[i]} == dict(expected)


@given(SOME_TEXT)
def test_a_document_alone_has_the_values_it_has_among_others(documents):
    state, found = fit(documents, ngrams=[1, 3], min_count=1)
    together = matrix(found).toarray()
    transform = text.compiled(state)
    np.testing.assert_array_equal(matrix(transform({"note": text.tokens(documents)})).toarray(), together)
    for row, document in zip(together, documents, strict=True):
        np.testing.assert_array_equal(matrix(transform({"note": text.tokens([document])})).toarray()[0], row)


def test_fitting_on_some_rows_knows_nothing_of_the_others():
    tokens = text.tokens(["seen here", "seen here", "secret words", "secret words"])
    options = {**text.DEFAULTS, "ngrams": [1, 2]}
    state, found = text.fit({"note": tokens[np.array([0, 1])]}, None, options, 0)
    assert set(text.names(state)) == {"note: here", "note: seen", "note: seen here"}
    assert len(found.indptr) == 3
    assert not len(text.compiled(state)({"note": tokens[np.array([2, 3])]}).data)


def test_rows_can_be_taken_in_any_order():
    tokens = text.tokens(DOCUMENTS)
    state, found = fit(DOCUMENTS, ngrams=[1, 2], min_count=1)
    order = np.array([5, 0, 0, 3, 1])
    taken = text.compiled(state)({"note": tokens[order]})
    np.testing.assert_array_equal(matrix(taken).toarray(), matrix(found).toarray()[order])


def test_max_terms_keeps_the_most_frequent_and_every_part_of_what_it_keeps():
    documents = ["a b c"] * 5 + ["a b"] * 3 + ["d"] * 2
    state, _ = fit(documents, ngrams=[1, 2], min_count=1, max_terms=4)
    assert set(text.terms(state["parts"][0])) == {"a", "b", "a b"}
    state, _ = fit(["x", "y", "z"], min_count=1, max_terms=2)
    assert len(text.names(state)) == 3  # all alike: none is thrown away for nothing


def test_no_known_word_at_all():
    for documents in ([None, ""], ["one", "two"], []):
        state, found = fit(documents, ngrams=[1, 3])
        assert (found.width, len(found.data), len(found.indptr)) == (0, 0, len(documents) + 1)
        assert text.compiled(state)({"note": text.tokens(["one two three"])}).width == 0


def test_svd_gives_dense_components_and_the_same_for_a_row_alone():
    documents = [f"{a} {b} film" for a in ["good", "bad", "fine", "poor"] for b in ["cast", "plot", "end"]] * 3
    state, found = fit(documents, svd=4)
    assert found.shape == (len(documents), 4)
    assert text.names(state) == [f"note: component {i}" for i in range(4)]
    transform = text.compiled(state)
    assert transform({"note": text.tokens([None])}).tolist() == [[0, 0, 0, 0]]
    one = transform({"note": text.tokens(documents[:1])})
    np.testing.assert_allclose(one[0], found[0], atol=1e-6)


def test_svd_of_no_terms_has_no_features():
    state, found = fit([None, None], svd=4)
    assert found.shape == (2, 0)
    assert text.compiled(state)({"note": text.tokens(["x"])}).shape == (1, 0)


def test_two_columns_are_two_blocks():
    values = {"title": text.tokens(["good film", "bad film"]), "body": text.tokens(["film", "film"])}
    state, found = text.fit(values, None, {**text.DEFAULTS, "min_count": 1}, 0)
    assert text.names(state)[-1] == "body: film"
    assert found.width == 4
    np.testing.assert_array_equal(matrix(text.compiled(state)(values)).toarray(), matrix(found).toarray())


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ("I'm I", ["i", "m", "i"]),
        ("x<3 a < b > c", ["x", "3", "a", "b", "c"]),
        ("<P class='x'>One</P>two", ["one", "two"]),
        ("cafe\u0301", ["café"]),
        ("ΟΔΟΣ", ["οδος"]),
        ("日本語 text ラーメン", ["日", "本", "語", "text", "ラ", "ー", "メ", "ン"]),
        ("\ud800 lone", ["lone"]),
        ("1_000 <unclosed", ["1_000", "unclosed"]),
    ],
)
def test_words(given, words):
    assert text.words_of(given) == words


def test_tokens_of_nothing():
    assert len(text.tokens([])) == 0
    found = text.tokens([None, ""])
    assert isinstance(found, Tokens)
    assert found.lengths.tolist() == [0, 0]


WORDS = [f"word{n}" for n in range(300)]


def drawn(rows: int, seed: int) -> Documents:
    random = np.random.default_rng(seed)
    shares = 1 / np.arange(1, 301)
    return Documents([" ".join(random.choice(WORDS, 12, p=shares / shares.sum())) for _ in range(rows)])


def test_watch_looks_at_training_rows_as_if_they_were_new():
    """Without that, training has no unknown words, and every new row would look like drift."""
    signals, memory = text.watch(drawn(100, 1))
    later, _ = text.watch(drawn(2000, 2), memory)
    trained, new = (np.nanmean(found["unknown words"]) for found in (signals, later))
    assert trained > 0.1
    assert new == pytest.approx(trained, rel=0.25)


def test_watch_tells_of_words_that_come_and_texts_of_another_language():
    _, memory = text.watch(drawn(100, 1))
    foreign, _ = text.watch(Documents(["ДРУГИЕ слова 123!", "", None, WORDS[0]]), memory)
    assert foreign["unknown words"].tolist()[0] == 1
    assert foreign["unknown words"][3] == 0
    assert foreign["other letters"][0] == 1
    assert foreign["capitals"][0] == 6 / 11
    assert (foreign["digits"][0], foreign["punctuation"][0]) == (3 / 15, 1 / 15)
    assert np.isnan(foreign["length"]).tolist() == [False, True, True, False]
    assert foreign["term"].codes.tolist()[1:3] == [-1, -1]


def test_watch_has_one_term_a_row_the_rarest_of_those_that_it_lists():
    signals, memory = text.watch(Documents(["the cat"] * 5 + ["the dog"] * 50 + ["the cat dog"] + ["the sun"] * 300))
    term = signals["term"]
    assert memory["terms"] == ["dog", "cat"]
    assert [term.levels[code] for code in term.codes[[0, 5, 55, 56]]] == ["cat", "dog", "cat", text.NO_TERM]


def test_watch_remembers_a_bounded_number_of_words():
    signals, memory = text.watch(Documents([f"a{n} b{n // 3}" for n in range(90_000)]))
    assert len(unpacked(memory["words"])) <= MOST
    assert signals["unknown words"].min() == 1  # 30,000 words of 3 documents each are too many: none is kept
