"""The sum of a text's weighted terms, without the matrix of its terms: for linear models over n-grams.

What `features.text` and `features.fold.product` give in float32 and one after the other is here one pass
in float64: the score of a text is

    sum over its terms of tf * idf * weight, over sqrt(sum of (tf * idf) ** 2)

(the root only where `norm` is asked for). All texts go through together: their words stand in one run with a
gap after each text, which no n-gram spans. N-grams are found order by order as `features.ngrams` says, but
by hashing. A text's score is the same to the last bit whatever texts stand beside it.
"""

from __future__ import annotations

import functools
import itertools
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from keepfit.features import lookup, ngrams, scan
from keepfit.features.values import Documents, Tokens

Floats = NDArray[np.float64]
Longs = NDArray[np.int64]
Records = NDArray[np.complex128]  # 16 bytes each
Ranks = NDArray[np.int32]
Run = tuple[Ranks, Longs]  # as `scan.scanner` gives them
BLOCK = 128  # texts that go through together: what is made of more leaves the processor's cache
FAR = -(1 << 62)  # as a word that is not known: the key of any n-gram with it is below 0, as no known one is


def scorer(state: Mapping[str, Any], weights: Floats) -> Callable[[Tokens | Documents], Floats] | None:
    """The function from texts to (n,) scores, for the state of one column of `features.text`.

    None for a state that has another form (components), or whose tables cannot be built.
    """
    if "components" in state:
        return None
    scanned = scan.scanner(state["words"])
    tables = [lookup.build(known.view(np.uint64)) for known in state["keys"]]
    if scanned is None or None in tables:
        return None
    orders, pairs = _records(state, weights)
    found = _grams(state["shortest"], len(state["words"]), orders, [table for table in tables if table])
    value = _value(state, pairs)
    width = max(state["width"], 1)

    @functools.cache
    def index() -> Mapping[str, int]:  # for word ids alone, which a server never sees
        return {word: place for place, word in enumerate(state["words"])}

    def runs(texts: Tokens | Documents) -> Iterator[Run]:
        if isinstance(texts, Tokens):
            yield from _parted(*_known(texts, index()))
        else:
            for at in range(0, len(texts), BLOCK):
                yield scanned(texts.texts[at : at + BLOCK])

    def scores(texts: Tokens | Documents) -> Floats:
        parts = [value(*_counted(found(ranks), starts, width)) for ranks, starts in runs(texts)]
        return parts[0] if len(parts) == 1 else np.concatenate([np.empty(0), *parts])

    return scores


def _known(column: Tokens, index: Mapping[str, int]) -> Run:
    """What `scan` gives for texts, for word ids."""
    text = ngrams.flat(column)
    rank = np.array([index.get(word, -1) for word in column.words] or [-1], np.int32)
    starts = np.zeros(text.rows + 1, np.int64)
    np.cumsum(column.lengths + 1, out=starts[1:])
    ranks = np.full(starts[-1], -1, np.int32)
    ranks[np.arange(len(text.ids)) + text.documents] = rank[text.ids]
    return ranks, starts


def _parted(ranks: Ranks, starts: Longs) -> Iterator[Run]:
    for at in range(0, len(starts) - 1, BLOCK):
        bounds = starts[at : at + BLOCK + 1]
        yield ranks[bounds[0] : bounds[-1]], bounds - bounds[0]


def _records(state: Mapping[str, Any], weights: Floats) -> tuple[list[Records], NDArray[np.complex64]]:
    """Of each order from 2 on a record a term: 8 bytes of its key, 8 of idf and weight. And all terms' (idf, weight)
    as one number each, in the same memory: a look at the key brings the rest into the processor's cache."""
    sizes = [len(state["words"]), *(len(keys) for keys in state["keys"])]
    skipped = sum(sizes[: state["shortest"] - 1])  # of orders too short to be terms
    records = np.zeros((sum(sizes), 2), np.int64)
    pairs: NDArray[np.complex64] = records.view(np.complex64)[skipped:, 1]
    pairs.real, pairs.imag = state.get("idf", 1), weights
    records[sizes[0] :, 0] = np.concatenate(state["keys"] or [np.empty(0, np.int64)])
    ends = np.cumsum(sizes).tolist()
    whole = records.view(np.complex128)[:, 0]
    return [whole[start:end] for start, end in itertools.pairwise(ends)], pairs


def _grams(
    shortest: int, size: int, orders: Sequence[Records], tables: Sequence[lookup.Table]
) -> Callable[[Ranks], Any]:
    """The function from the ranks of words to all terms, and the places where they begin."""
    steps = list(zip(range(1, len(tables) + 1), orders, tables, strict=True))

    def grams(ranks: Ranks) -> tuple[Longs, Longs]:
        words = ranks.astype(np.int64)
        places = (ranks >= 0).nonzero()[0]
        terms = words[places]
        words[ranks < 0] = FAR
        kept = [(places, terms)] if shortest == 1 else []
        offset = size if shortest == 1 else 0
        for after, records, table in steps:
            if not len(records):
                break  # and so no longer one is known
            keys = terms * size
            keys += words[places + after]
            at = lookup.candidates(table, keys.view(np.uint64))
            hit = (records.take(at, mode="clip").view(np.int64)[::2] == keys).nonzero()[0]
            places, terms = places[hit], at[hit].astype(np.int64)
            if after + 1 >= shortest:
                kept.append((places, terms + offset))
                offset += len(records)
        return np.concatenate([each for each, _ in kept]), np.concatenate([each for _, each in kept])

    return grams


def _counted(grams: tuple[Longs, Longs], starts: Longs, width: int) -> tuple[Longs, Longs, Longs]:
    """Each text's terms in ascending order, how often it has each, and the first term of each text and of none."""
    (places, terms), rows = grams, len(starts) - 1
    if rows > 1:
        terms = terms + np.repeat(np.arange(rows) * width, np.diff(starts))[places]
    terms.sort()
    new = np.empty(len(terms) + 1, bool)
    new[0] = new[-1] = True
    np.not_equal(terms[1:], terms[:-1], out=new[1:-1])
    edges = new.nonzero()[0]
    terms = terms[edges[:-1]]
    counts = edges[1:] - edges[:-1]
    if rows == 1:
        return terms, counts, np.array((0, len(terms)))
    bounds = terms.searchsorted(np.arange(rows + 1) * width)
    terms -= np.repeat(np.arange(rows) * width, np.diff(bounds))
    return terms, counts, bounds


def _value(state: Mapping[str, Any], pairs: NDArray[np.complex64]) -> Callable[[Longs, Longs, Longs], Floats]:
    """The function from counted terms to scores."""
    norm, tf = state["norm"], state["tf"]

    def value(terms: Longs, counts: Longs, bounds: Longs) -> Floats:
        total = np.zeros(len(bounds) - 1)
        full = (bounds[1:] > bounds[:-1]).nonzero()[0]  # reduceat has no empty runs
        if not len(full):
            return total
        weighted = np.ones(len(counts)) if tf == "binary" else counts.astype(np.float64)
        if tf == "log":
            weighted = np.log(weighted) + 1
        found = pairs[terms]
        weighted *= found.real
        first = bounds[full]
        total[full] = np.add.reduceat(weighted * found.imag, first)
        if norm:
            total[full] /= np.sqrt(np.add.reduceat(weighted * weighted, first))
        return total

    return value
