"""Text as features: words and runs of words (n-grams), counted and weighted by rarity.

`words_of` is the one tokeniser, in training, batch and serving: lower case, tags such as `<br />`
dropped, then runs of letters, digits and underscores, `!` and `?` as words of their own, and one
word for each Han or kana sign (those languages put no spaces between words). Scripts that write
vowels as combining marks (Devanagari, Thai) are cut at those marks; n-grams mend most of it.
Missing text is an empty document.

Options (defaults in `DEFAULTS`):

    ngrams      shortest and longest run of words, such as [1, 2]
    min_count   documents of the training rows that must have a term
    max_terms   about so many terms are kept, those in most documents (ties are left out together)
    tf          "count", "log" (1 + ln count) or "binary"
    idf         times ln((1 + n) / (1 + documents with the term)) + 1
    norm        each document has length 1
    svd         so many components of the terms, by truncated SVD, instead of the terms: for trees
"""

from __future__ import annotations

import re
import unicodedata
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import cache
from itertools import chain, repeat
from typing import Any

import numpy as np
from numpy.typing import NDArray

from keepfit.extras import load
from keepfit.features import ngrams
from keepfit.features.known import MOST, hashes, packed, unpacked, within
from keepfit.features.ngrams import Counts
from keepfit.features.profile import profile
from keepfit.features.sparse import dense_product, join
from keepfit.features.values import Coded, Documents, Sparse, Tokens

State = dict[str, Any]
Matrix = NDArray[np.float32] | Sparse
DEFAULTS: dict[str, Any] = {
    "ngrams": [1, 1], "min_count": 2, "max_terms": None, "tf": "log", "idf": True, "norm": True, "svd": None,
}  # fmt: skip
SVD = "keepfit.features.reduction:truncated_svd"  # brings scikit-learn, hence loaded when asked for
TAG = re.compile(r"</?[a-z][^<>]*>")
WORD = re.compile(r"\w+|[!?]")
SIGNS = "\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U00020000-\U0003ffff"  # kana, Han
TERMS = 40  # that are watched
TELLING = 0.2  # share of the documents above which a term tells nothing
NO_TERM = "(none of them)"


def words_of(text: str) -> list[str]:
    """The words of a text.

    >>> words_of("A <br />GREAT film, isn't it?!")
    ['a', 'great', 'film', 'isn', 't', 'it', '?', '!']
    >>> words_of("東京 Tokyo")
    ['東', '京', 'tokyo']
    """
    return cut(plain(text))


def plain(text: str) -> str:
    """A text in lower case and without tags.

    >>> plain("A<br />GREAT film")
    'a great film'
    """
    text = text.lower()
    if "<" in text:
        text = TAG.sub(" ", text)
    return text if text.isascii() else unicodedata.normalize("NFC", text)  # one spelling of é, however it was typed


def cut(text: str) -> list[str]:
    """The words of a text that is `plain`."""
    if text.isascii():
        return WORD.findall(text)
    sign, word_or_sign = _signs()
    return (word_or_sign if sign.search(text) else WORD).findall(text)


@cache
def _signs() -> tuple[re.Pattern[str], re.Pattern[str]]:
    """A kana or Han sign; and a word where each of these is one. Such large sets take milliseconds to compile."""
    return re.compile(f"[{SIGNS}]"), re.compile(rf"[{SIGNS}]|[^\W{SIGNS}]+|[!?]")


def tokens(texts: Iterable[str | None]) -> Tokens:
    """Texts as word ids; None is an empty document.

    >>> tokens(["So good!", None, "so, so"]).ids.tolist()
    [0, 1, 2, 0, 0]
    """
    index: defaultdict[str, int] = defaultdict()
    index.default_factory = index.__len__
    lengths: list[int] = []

    def documents() -> Iterator[list[str]]:
        for text in texts:  # one at a time: all the words of a corpus at once would fill the memory
            found = words_of(text) if text else []
            lengths.append(len(found))
            yield found

    ids = np.fromiter(map(index.__getitem__, chain.from_iterable(documents())), np.int32)
    counted = np.array(lengths, np.int64)
    return Tokens(ids, counted.cumsum() - counted, counted, list(index))


def fit(values: Mapping[str, Tokens], target: Any, options: Mapping[str, Any], seed: int) -> tuple[State, Matrix]:
    """State and matrix of text columns, each a block of its own."""
    parts = [_fit(column, options, seed) for column in values.values()]
    state = {"columns": list(values), "parts": [part for part, _ in parts]}
    state["width"] = sum(part["width"] for part, _ in parts)
    return state, join([matrix for _, matrix in parts])


def _fit(column: Tokens, options: Mapping[str, Any], seed: int) -> tuple[State, Matrix]:
    state, found = learn(column, options)
    matrix = _weighted(state, found)
    if not options["svd"]:
        return state, matrix
    state["components"] = load(SVD, "features")(matrix, int(options["svd"]), seed)
    state["width"] = len(state["components"])
    return state, dense_product(matrix, state["components"])


def learn(column: Tokens, options: Mapping[str, Any]) -> tuple[State, Counts]:
    """The known terms, and how often each document has each."""
    shortest, longest = options["ngrams"]
    least, most = int(options["min_count"]), options["max_terms"]
    text = ngrams.flat(column)
    while True:
        kept, frequencies, keys, ranks = _orders(text, column, longest, least)
        every = np.concatenate(frequencies[shortest - 1 :])
        enough = None if most is None or len(every) <= most else _least(every, most)
        if enough is None:
            break
        least = enough
    state: State = {"words": [column.words[i] for i in kept], "keys": keys, "shortest": int(shortest)}
    state |= {"tf": options["tf"], "norm": bool(options["norm"]), "width": len(every)}
    if options["idf"]:
        state["idf"] = (np.log((1 + text.rows) / (1 + every)) + 1).astype(np.float32)
    widths = [len(f) for f in frequencies]
    return state, ngrams.count(ranks[shortest - 1 :], widths[shortest - 1 :], text.documents, text.rows)


def _least(frequencies: NDArray[np.int64], most: int) -> int | None:
    """The frequency that at most `most` terms have, or None when no term would be left."""
    place = len(frequencies) - most - 1
    found = int(np.partition(frequencies, place)[place]) + 1
    return found if found <= frequencies.max() else None


def _orders(text: ngrams.Flat, column: Tokens, longest: int, least: int) -> Any:
    """Known words, and for each order in how many documents each n-gram is, its keys, and the ranks."""
    kept, frequency, word = ngrams.words(text, len(column.words), least)
    frequencies, keys, ranks = [frequency], [], [word]
    for order in range(2, longest + 1):
        joined = ngrams.join(ranks[-1], word, text.documents, order, len(kept))
        known, frequency, rank = ngrams.learn(*joined, text.documents, least)
        frequencies.append(frequency)
        keys.append(known)
        ranks.append(rank)
    return kept, frequencies, keys, ranks


def compiled(state: State) -> Callable[[Mapping[str, Tokens | Documents]], Matrix]:
    """The function from columns to the matrix."""
    plan = [(name, _compiled(part)) for name, part in zip(state["columns"], state["parts"], strict=True)]
    if len(plan) == 1:
        name, only = plan[0]
        return lambda values: only(values[name])
    return lambda values: join([part(values[name]) for name, part in plan])


def _compiled(state: State) -> Callable[[Tokens | Documents], Matrix]:
    get = {word: i for i, word in enumerate(state["words"])}.get
    keys, skipped, size = state["keys"], state["shortest"] - 1, len(state["words"])
    widths = [size, *(len(known) for known in keys)]
    components = state.get("components")

    def terms(given: Tokens | Documents) -> Counts:
        column = given.tokens if isinstance(given, Documents) else given
        text = ngrams.flat(column)
        rank = np.fromiter(map(get, column.words, repeat(-1)), np.int32, len(column.words))
        word = rank[text.ids]
        ranks: list[ngrams.Ints] = [word]
        for order, known in enumerate(keys, 2):
            found, places = ngrams.join(ranks[-1], word, text.documents, order, size)
            ranks.append(ngrams.look_up(known, found, places, len(word)))
        return ngrams.count(ranks[skipped:], widths[skipped:], text.documents, text.rows)

    if components is None:
        return lambda column: _weighted(state, terms(column))
    return lambda column: dense_product(_weighted(state, terms(column)), components)


def _weighted(state: State, found: Counts) -> Sparse:
    """Counts as TF-IDF."""
    counts, terms, indptr = found
    data = np.ones(len(counts), np.float32) if state["tf"] == "binary" else counts.astype(np.float32)
    if state["tf"] == "log":
        data = np.log(data) + np.float32(1)
    if "idf" in state:
        data *= state["idf"][terms]
    if state["norm"] and len(data):
        lengths = indptr[1:] - indptr[:-1]
        rows = lengths.nonzero()[0]  # reduceat takes no empty documents
        norm = np.sqrt(np.add.reduceat(data * data, indptr[rows]))
        data /= norm if len(rows) == 1 else np.repeat(norm, lengths[rows])
    width = state["components"].shape[1] if "components" in state else state["width"]
    return Sparse(data, terms.astype(np.int32), indptr, width)


def names(state: State) -> list[str]:
    """Names of the features: `column: the words`, or `column: component 0`."""
    found = []
    for column, part in zip(state["columns"], state["parts"], strict=True):
        if "components" in part:
            found += [f"{column}: component {i}" for i in range(part["width"])]
        else:
            found += [f"{column}: {term}" for term in terms(part)]
    return found


def terms(state: State) -> list[str]:
    """The known terms of one column, in the order of the features."""
    words = state["words"]
    orders = [words]
    for known in state["keys"]:
        first, last = np.divmod(known, max(len(words), 1))
        shorter = orders[-1]
        orders.append([f"{shorter[i]} {words[j]}" for i, j in zip(first.tolist(), last.tolist(), strict=True)])
    return list(chain.from_iterable(orders[state["shortest"] - 1 :]))


def watch(values: Documents, memory: Mapping[str, Any] | None = None) -> tuple[dict[str, Any], dict[str, Any]]:
    """Signals: length in words, the share of words that training did not know, the shares of
    `features.profile`, and "term": the rarest of the common terms that the document has.

    Without `memory` the values are the training rows, and it is learned: the hashes of the words that
    `least` documents have, at most `MOST`. Each document is then looked at as if it had not been
    among them, so that the share of unknown words is that of new documents.

    >>> signals, memory = watch(Documents(["so good", "good film", None]))
    >>> signals["unknown words"].tolist(), watch(Documents(["good good dog"]), memory)[0]["unknown words"].tolist()
    ([1.0, 1.0, nan], [0.3333333333333333])
    """
    found = values.tokens
    text = ngrams.flat(found)
    kept, frequency, _ = ngrams.words(text, len(found.words), 1)
    if memory is None:
        memory = _remembered(found, kept, frequency)
        unknown = np.ones(len(found.words), bool)
        unknown[kept] = frequency <= memory["least"]
    else:
        unknown = ~within(hashes(found.words), unpacked(memory["words"]))
    lengths = np.where(found.lengths > 0, found.lengths, np.nan)
    strange = np.bincount(text.documents, unknown[text.ids], len(found))
    signals = {"length": lengths, "unknown words": strange / lengths, **profile(values.texts)}
    return {**signals, "term": _term(found, text, memory["terms"])}, dict(memory)


def _remembered(found: Tokens, kept: ngrams.Ints, frequency: ngrams.Ints) -> dict[str, Any]:
    """What `watch` is handed back: known words, and terms of up to a fifth of the documents, rarest last."""
    least = 2 if len(frequency) <= MOST else max(2, int(frequency[MOST]) + 1)
    words = [found.words[i] for i in kept[frequency >= least]]
    telling = (frequency >= least) & (frequency <= max((found.lengths > 0).sum() * TELLING, least))
    terms = [found.words[i] for i in kept[telling][:TERMS]]
    return {"least": least, "words": packed(hashes(words)), "terms": terms}


def _term(found: Tokens, text: ngrams.Flat, terms: list[str]) -> Coded:
    """The last of `terms` in each document; one more level where there is none, and -1 of an empty one."""
    place = {term: i for i, term in enumerate(terms)}
    rank = np.fromiter(map(place.get, found.words, repeat(-1)), np.int32, len(found.words))
    last = np.full(len(found), -1, np.int32)
    np.maximum.at(last, text.documents, rank[text.ids])
    last[(last < 0) & (found.lengths > 0)] = len(terms)
    return Coded(last, [*terms, NO_TERM])
