"""Word n-grams as exact integer keys: learned by sorting, looked up by binary search.

A document is a run of word ids. The n-gram that starts at a token is the pair (the (n-1)-gram that
starts there, the word at its end); with `V` known words its key is `rank * V + word`, where `rank`
is the place of the (n-1)-gram among the known ones. So each key is exact (no hashing, no
collisions), fits in 64 bits for any order, and the known keys of one order are one sorted array.
An n-gram is at least as rare as its parts, so a word below the minimum breaks the n-grams it is in
without losing any of the known ones.

`ranks` below are arrays of the length of all tokens: for each token, which known n-gram starts
there, or -1.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from keepfit.features.values import Tokens

Ints = NDArray[np.integer[Any]]


class Flat(NamedTuple):
    """The chosen documents' tokens in one run: word ids, and the document that each belongs to."""

    ids: NDArray[np.int32]
    documents: NDArray[np.int64]
    rows: int


class Counts(NamedTuple):
    """How often each term is in each document, in compressed rows; terms ascend in a row."""

    counts: Ints
    terms: Ints
    indptr: NDArray[np.int64]


def flat(tokens: Tokens) -> Flat:
    """The documents of `tokens` one after the other."""
    lengths = tokens.lengths
    ends = lengths.cumsum()
    total = int(ends[-1]) if len(ends) else 0
    documents = np.zeros(total, np.int64) if len(lengths) == 1 else np.repeat(np.arange(len(lengths)), lengths)
    if len(lengths) and total == len(tokens.ids) and (tokens.starts == ends - lengths).all():
        return Flat(tokens.ids, documents, len(lengths))
    places = np.arange(total) + np.repeat(tokens.starts - (ends - lengths), lengths)
    return Flat(tokens.ids[places], documents, len(lengths))


def words(flat: Flat, size: int, least: int) -> tuple[Ints, Ints, Ints]:
    """The words that `least` documents have: their ids by falling frequency, in how many
    documents each is, and the ranks."""
    pairs = np.sort(flat.ids * np.int64(max(flat.rows, 1)) + flat.documents)
    new = np.ones(len(pairs), bool)
    np.not_equal(pairs[1:], pairs[:-1], out=new[1:])
    frequency = np.bincount(pairs[new] // max(flat.rows, 1), minlength=size)
    kept = np.flatnonzero(frequency >= max(least, 1))
    kept = kept[np.argsort(-frequency[kept], kind="stable")]
    rank = np.full(size, -1, np.int32)
    rank[kept] = np.arange(len(kept), dtype=np.int32)
    return kept, frequency[kept], rank[flat.ids]


def join(shorter: Ints, word: Ints, documents: Ints, order: int, size: int) -> tuple[Ints, Ints]:
    """Keys of the n-grams of `order` whose parts are known, and the tokens they start at."""
    if len(word) < order:
        return np.empty(0, np.int64), np.empty(0, np.int64)
    last = order - 1
    known = (shorter[:-last] >= 0) & (word[last:] >= 0) & (documents[:-last] == documents[last:])
    if order > 2:
        known &= shorter[1 : len(shorter) - last + 1] >= 0
    places = known.nonzero()[0]
    keys = shorter[places].astype(np.int64)
    keys *= size
    keys += word[places + last]
    return keys, places


def ordered(keys: Ints, places: Ints) -> tuple[Ints, Ints]:
    """Keys in ascending order with their places, which ascend for one key."""
    bits = int(places[-1]).bit_length() if len(places) else 0
    if len(keys) and int(keys.max()).bit_length() + bits < 63:
        packed = keys << bits  # one sort of one array is several times faster than an argsort
        packed |= places
        packed.sort()
        return packed >> bits, packed & ((1 << bits) - 1)
    order = np.argsort(keys, kind="stable")
    return keys[order], places[order]


def learn(keys: Ints, places: Ints, documents: Ints, least: int) -> tuple[Ints, Ints, Ints]:
    """The keys that `least` documents have, in how many each is, and the ranks."""
    keys, places = ordered(keys, places)
    ranks = np.full(len(documents), -1, np.int32)
    if not len(keys):
        return keys, np.empty(0, np.int64), ranks
    new = np.ones(len(keys), bool)
    np.not_equal(keys[1:], keys[:-1], out=new[1:])
    group = new.cumsum(dtype=np.int32) - 1
    at = documents[places]
    first = new.copy()
    first[1:] |= at[1:] != at[:-1]
    frequency = np.bincount(group[first])
    kept = frequency >= max(least, 1)
    rank = np.where(kept, kept.cumsum(dtype=np.int32) - 1, np.int32(-1)).astype(np.int32)
    ranks[places] = rank[group]
    return keys[new][kept], frequency[kept], ranks


def look_up(known: Ints, keys: Ints, places: Ints, length: int) -> Ints:
    """The ranks of `keys` among the sorted `known` ones."""
    ranks = np.full(length, -1, np.int32)
    if not len(known) or not len(keys):
        return ranks
    if len(keys) > 4096:  # searching in order stays in the cache
        keys, places = ordered(keys, places)
    found = known.searchsorted(keys)
    found[found == len(known)] = 0
    hit = known[found] == keys
    ranks[places[hit]] = found[hit]
    return ranks


def count(ranks: Sequence[Ints], widths: Sequence[int], documents: Ints, rows: int) -> Counts:
    """Terms of each document; the terms of each of the `ranks` follow those of the one before."""
    width = max(sum(widths), 1)
    offset = 0
    cells = []
    for rank, wide in zip(ranks, widths, strict=True):
        there = (rank >= 0).nonzero()[0]
        cell = rank[there] + np.int64(offset)
        cells.append(cell if rows == 1 else cell + documents[there] * width)
        offset += wide
    cell = np.concatenate(cells) if cells else np.empty(0, np.int64)
    cell.sort()
    new = np.ones(len(cell) + 1, bool)
    np.not_equal(cell[1:], cell[:-1], out=new[1:-1])
    starts = new.nonzero()[0]
    if not len(cell):
        return Counts(np.empty(0, np.int64), cell, np.zeros(rows + 1, np.int64))
    cell, counts = cell[starts[:-1]], starts[1:] - starts[:-1]
    if rows == 1:
        return Counts(counts, cell, np.array((0, len(cell))))
    row = cell // width
    indptr = np.zeros(rows + 1, np.int64)
    indptr[1:] = np.bincount(row, minlength=rows).cumsum()
    return Counts(counts, cell - row * width, indptr)
