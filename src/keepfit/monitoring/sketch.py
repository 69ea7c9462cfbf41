"""How many of many rows differ, from a fixed number of their hashes.

The k smallest of the hashes of n different rows tell n: the k-th stands at about k / n of the way from
0 to 2⁶⁴ (Bar-Yossef, Jayram, Kumar, Sivakumar and Trevisan, "Counting distinct elements in a data
stream", 2002; the estimate without bias is that of Beyer and others, "On synopses for distinct-value
estimation under multiset operations", 2007). Its standard error is 1 / √(k - 2), 3 %. The smallest
hashes of two sets together are the smallest of their smallest: sketches can be merged.

>>> sketch = smallest(hashed({"a": np.arange(100_000.0) % 5000}, 100_000))
>>> 4500 < distinct(sketch) < 5500
True
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from keepfit.features.known import hashes
from keepfit.features.ngrams import flat
from keepfit.features.values import Coded, Documents, Pictures

Hashes = NDArray[np.uint64]
SIZE = 1024
FOLD, SPREAD = np.uint64(32), np.uint64(0x9E3779B97F4A7C15)  # 2⁶⁴ / golden ratio
AGAIN = np.uint64(0xBF58476D1CE4E5B9)  # of SplitMix64
MISSING = np.uint64(0x7FF8000000000000)  # NaN
ONE = np.uint64(1)


def hashed(values: Mapping[str, Any], rows: int) -> Hashes:
    """One number for each row, from its values (as in `features.values`) in the order of the names."""
    total = np.zeros(rows, np.uint64)
    for name in sorted(values):
        total += _numbers(values[name])
        total ^= total >> FOLD
        total *= SPREAD
    total ^= total >> FOLD
    total *= AGAIN  # one product alone would leave whole numbers in a regular pattern
    total ^= total >> FOLD
    total *= SPREAD
    return total


def smallest(some: Hashes, sketch: Hashes | None = None) -> Hashes:
    """The smallest SIZE different ones of `some` and of a sketch, ascending."""
    if sketch is None:
        sketch = np.empty(0, np.uint64)
    if len(sketch) == SIZE:
        some = some[some < sketch[-1]]
        if not len(some):
            return sketch
    elif len(some) > 8 * SIZE:  # few are wanted, and repeats are rare: sorting them all is not needed
        part = np.unique(np.partition(some, 4 * SIZE)[: 4 * SIZE])
        some = part if len(part) >= SIZE else some
    return np.unique(np.concatenate([sketch, some]))[:SIZE]


def distinct(sketch: Hashes) -> float:
    """About how many different rows there were; exact where they are fewer than SIZE."""
    if len(sketch) < SIZE:
        return float(len(sketch))
    return (SIZE - 1) * 2.0**64 / float(sketch[-1])


def packed(sketch: Hashes) -> str:
    """A sketch as base64 of little-endian 64-bit numbers."""
    return base64.b64encode(sketch.astype("<u8").tobytes()).decode()


def unpacked(text: str) -> Hashes:
    """The sketch that `packed` wrote."""
    return np.frombuffer(base64.b64decode(text), "<u8").astype(np.uint64)


def _numbers(values: Any) -> Hashes:
    """A number for each value of a column."""
    if isinstance(values, Coded):
        levels = hashes(values.levels).astype(np.uint64) + ONE
        return np.asarray(np.append(levels, MISSING)[values.codes])
    if isinstance(values, Documents):
        return _texts(values)
    if isinstance(values, Pictures):
        return _files(values)
    bits = (values + 0.0).view(np.uint64)  # -0.0 becomes 0.0
    bits[np.isnan(values)] = MISSING
    return np.asarray(bits)


def _files(values: Pictures) -> Hashes:
    """From the bytes of a file."""
    found = [MISSING if data is None else _of(data) for data in values.data]
    return np.array(found, np.uint64)


def _of(data: bytes) -> np.uint64:
    return np.uint64(int.from_bytes(hashlib.blake2b(data, digest_size=8).digest(), "little"))


def _texts(values: Documents) -> Hashes:
    """From the words of a text in their order."""
    found = values.tokens
    text = flat(found)
    place = np.arange(len(text.ids)) - np.repeat(found.lengths.cumsum() - found.lengths, found.lengths)
    mixed = (hashes(found.words).astype(np.uint64)[text.ids] + ONE) * (place.astype(np.uint64) * SPREAD | ONE)
    mixed ^= mixed >> FOLD
    mixed *= SPREAD
    total = np.zeros(len(found), np.uint64)
    np.add.at(total, text.documents, mixed)
    return total
