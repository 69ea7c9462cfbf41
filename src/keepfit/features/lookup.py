"""Places of whole numbers in a fixed set, by hashing: one look, whatever the size of the set.

Hash and displace (Pagh, "Hash and displace", WADS 1999; Belazzougui, Botelho and Dietzfelbinger, "Hash,
displace, and compress", ESA 2009): the keys are parted into small buckets, and for each bucket one of many
hash functions is kept that puts its keys into slots that no other key has. So a search of many keys is a few
gathers without a loop, several times cheaper than a binary search in a table that no cache holds. The
hashes only say where a key must be if it is there; whoever asks compares it, so nothing is ever confused.
"""

from __future__ import annotations

from functools import reduce
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

Codes = NDArray[np.uint64]
BUCKET = 4  # keys of a bucket, more or less
ROOM = 1.25  # slots a key, at least
TRIES = 1 << 12  # hash functions; with ROOM for one key in five or more, a bucket that needs so many does not come
ODD = np.uint64(0x9E3779B97F4A7C15)  # 2^64 over the golden ratio: its multiples spread evenly (Knuth, vol. 3, 6.4)
HALF = np.uint64(32)


def _salts() -> Codes:
    """A number for each function, without a pattern."""
    mixed = np.arange(1, TRIES + 1, dtype=np.uint64) * ODD
    mixed = (mixed ^ mixed >> HALF) * ODD
    return mixed ^ mixed >> HALF


SALTS = _salts()


class Table(NamedTuple):
    """A slot holds the place of a key in its lowest `bits`, and above them a part of the key's hash."""

    slots: NDArray[np.uint32]
    functions: NDArray[np.uint16]  # of each bucket
    bits: np.uint32


def build(codes: Codes) -> Table | None:
    """The table of distinct codes; None where none was found (for codes that are not distinct, say).

    >>> table = build(np.array([5, 7, 1 << 40], np.uint64))
    >>> candidates(table, np.array([7, 5], np.uint64)).tolist()
    [1, 0]
    """
    count = max(len(codes), 1)
    buckets, size = _power(count / BUCKET), _power(count * ROOM)
    hashes = codes * ODD
    placed = _placed(hashes, buckets, size)
    if placed is None:
        return None
    functions, at = placed
    bits = np.uint32((count - 1).bit_length())
    slots = np.zeros(size, np.uint32)
    slots[at] = hashes.astype(np.uint32) << bits | np.arange(len(codes), dtype=np.uint32)
    return Table(slots, functions, bits)


def candidates(table: Table, codes: Codes) -> NDArray[np.uint32]:
    """(n,) uint32: the one place where each code can be, or any number where it is nowhere.

    Compare what is there, with `take(…, mode="clip")`, as a place may be beyond the last.
    """
    hashes = codes * ODD
    salted = SALTS.take(table.functions.take(_top(hashes, len(table.functions))))
    salted ^= hashes
    salted *= ODD
    found = table.slots.take(_top(salted, len(table.slots)))
    found ^= hashes.astype(np.uint32) << table.bits
    return found  # the place alone where the hash is the same, else something beyond


def _power(least: float) -> int:
    """The smallest power of 2 that is not less, from 2 on."""
    power = 2
    while power < least:
        power *= 2
    return power


def _top(hashes: Codes, size: int) -> NDArray[np.int64]:
    """The upper bits of hashes, as many as number `size` places."""
    return (hashes >> np.uint64(65 - size.bit_length())).view(np.int64)


# --- building -----------------------------------------------------------------------------------


def _placed(hashes: Codes, buckets: int, size: int) -> tuple[NDArray[np.uint16], NDArray[np.int64]] | None:
    """The function of each bucket and the slot of each key; large buckets choose first."""
    bucket = _top(hashes, buckets)
    order, counts = _order(bucket), np.bincount(bucket, minlength=buckets)
    starts = counts.cumsum() - counts
    functions, at = np.zeros(buckets, np.uint16), np.zeros(len(hashes), np.int64)
    free, owner = np.ones(size, bool), np.zeros(size, np.int32)
    for many in range(int(counts.max(initial=0)), 0, -1):
        mine = (counts == many).nonzero()[0]
        keys = order[starts[mine] + np.arange(many)[:, None]]
        found = _chosen(hashes[keys], free, owner)
        if found is None:
            return None
        functions[mine], at[keys] = found
    return functions, at


def _order(bucket: NDArray[np.int64]) -> NDArray[np.int64]:
    """The places of numbers in ascending order. numpy sorts 16 bits by counting, ten times as fast as more."""
    order = bucket.astype(np.uint16).argsort(kind="stable")
    upper = (bucket >> 16).astype(np.uint16)
    return order[upper[order].argsort(kind="stable")] if upper.any() else order


def _chosen(
    hashes: Codes, free: NDArray[np.bool_], owner: NDArray[np.int32]
) -> tuple[NDArray[np.uint16], NDArray[np.int64]] | None:
    """For buckets of one size, as columns: the first function that brings all its keys into free slots of their own.

    All buckets try one function at a time; of those that want the same slot one has it, as noted in `owner`.
    Rows are joined one by one and columns taken by number: for so few rows that is several times as fast as
    `all(axis=0)` and masks.
    """
    functions, at = np.zeros(hashes.shape[1], np.uint16), np.zeros(hashes.shape, np.int64)
    waiting = np.arange(hashes.shape[1])
    for function in range(TRIES):
        if not len(waiting):
            return functions, at
        slots = _top((hashes ^ SALTS[function]) * ODD, len(free))
        good = reduce(np.logical_and, free[slots]).nonzero()[0]
        slots = slots.take(good, axis=1)
        cells = np.arange(slots.size, dtype=np.int32).reshape(slots.shape)
        owner[slots] = cells
        mine = reduce(np.logical_and, owner[slots] == cells).nonzero()[0]  # a bucket's own keys may want one slot, too
        good, slots = good[mine], slots.take(mine, axis=1)
        functions[waiting[good]], at[:, waiting[good]] = function, slots
        free[slots] = False
        rest = np.ones(len(waiting), bool)
        rest[good] = False
        left = rest.nonzero()[0]
        waiting, hashes = waiting[left], hashes.take(left, axis=1)
    return None
