import polars as pl
from hypothesis import given
from hypothesis import strategies as st

from keepfit.features import scan
from keepfit.features.text import words_of

LONG = "internationalisation"
KNOWN = ["a", "good", "film", "sixteen_letters_", LONG, "été", "東", "東京", "!", "?", "x" * 16, "ά" * 20, "\u0301e"]
PIECES = st.one_of(
    st.sampled_from(
        [*KNOWN, *(word.upper() for word in KNOWN), "<br />", "<B>", "<", "x" * 17, LONG + "s", "e\u0301te"]
    ),
    st.sampled_from(["\xff", "\u00ff", "\x00", "\ud800", " ", "...", "\u2028", "İ", "ẞ", "1_000", "-", "'"]),
    st.text(max_size=5),
)
TEXTS = st.lists(st.one_of(st.none(), st.lists(PIECES, max_size=12).map("".join), st.lists(PIECES).map(" ".join)))
SCAN = scan.scanner(KNOWN)


def expected(texts):
    ranks, starts = [], [0]
    place = {word: at for at, word in enumerate(KNOWN)}
    for text in texts:
        ranks += [*(place.get(word, -1) for word in words_of(text or "")), -1]
        starts.append(len(ranks))
    return ranks, starts


@given(texts=TEXTS.filter(bool))
def test_finds_what_words_of_finds(texts):
    ranks, starts = SCAN(texts)
    assert (ranks.tolist(), starts.tolist()) == expected(texts)


def test_real_reviews(shared_data):
    texts = pl.read_csv(next((shared_data / "imdb").glob("*.csv*")), n_rows=300)["text"].to_list()
    ranks, starts = SCAN(texts)
    assert (ranks.tolist(), starts.tolist()) == expected(texts)
    assert max(ranks) > 0


def test_no_words_are_known():
    ranks, starts = scan.scanner([])(["a b", ""])
    assert ranks.tolist() == [-1, -1, -1, -1]
    assert starts.tolist() == [0, 3, 4]


def test_a_word_twice_has_no_table():
    assert scan.scanner(["a", "a"]) is None
