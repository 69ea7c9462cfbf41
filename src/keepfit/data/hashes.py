"""A stable 64-bit number for each row, from its values.

The number depends on the values, the columns' names and the seed alone: not on the order of rows
or columns, the process, the platform or the version of a library (polars' own hash may change with
each). Equal rows have equal numbers; two different rows share one with a chance of about 10⁻¹⁹, so
that even among ten million rows a clash is not to be expected.

Numbers are mixed by the finaliser of SplitMix64 (Steele, Lea and Flood, Fast Splittable
Pseudorandom Number Generators, OOPSLA 2014), texts and bytes hashed by BLAKE2b, texts once for each
distinct one.

>>> frame = pl.DataFrame({"a": [1.0, 2.0, 1.0], "b": ["x", "y", "x"]})
>>> first, second, third = rows(frame)
>>> bool(first == third), bool(first == second), hex(first)
(True, False, '0x550d6331e41df7d4')
>>> bool((rows(frame.select("b", "a")) == rows(frame)).all())
True
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

import numpy as np
import polars as pl
from numpy.typing import NDArray

Hashes = NDArray[np.uint64]
MISSING = np.uint64(0x9E3779B97F4A7C15)


def rows(frame: pl.DataFrame, columns: Sequence[str] | None = None, seed: int = 0) -> Hashes:
    """One number for each row of `frame`, over `columns` (default: all); shape (rows,)."""
    total = np.zeros(len(frame), dtype=np.uint64)
    for name in frame.columns if columns is None else columns:
        total += mix(values(frame[name]) ^ _text(name))
    return mix(total ^ mix(np.full(1, seed, dtype=np.uint64)))


def values(series: pl.Series) -> Hashes:
    """One number for each value; missing values and NaN have one of their own."""
    if series.dtype in (pl.Date, pl.Datetime):
        series = series.cast(pl.Datetime("us")).dt.epoch("us")
    if series.dtype.is_numeric() or series.dtype == pl.Boolean:
        numbers = series.cast(pl.Float64).fill_null(float("nan")).to_numpy() + 0.0  # -0.0 becomes 0.0
        found = mix(np.ascontiguousarray(numbers).view(np.uint64))
        return np.where(np.isnan(numbers), MISSING, found)
    if series.dtype == pl.Binary:
        return np.array([MISSING if data is None else _number(data) for data in series.to_list()], dtype=np.uint64)
    texts = series.cast(pl.String)
    distinct = texts.drop_nulls().unique()
    codes = {text: int(_text(text)) for text in distinct.to_list()}
    if not codes:
        return np.full(len(series), MISSING)
    mapped = texts.replace_strict(distinct, pl.Series(list(codes.values()), dtype=pl.UInt64), default=int(MISSING))
    return mapped.cast(pl.UInt64).to_numpy()


def mix(numbers: Hashes) -> Hashes:
    """SplitMix64's finaliser: every bit of the result depends on every bit of the number."""
    with np.errstate(over="ignore"):
        mixed = numbers + np.uint64(0x9E3779B97F4A7C15)
        mixed = (mixed ^ (mixed >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        mixed = (mixed ^ (mixed >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        return np.asarray(mixed ^ (mixed >> np.uint64(31)))


def _text(text: str) -> np.uint64:
    return _number(text.encode("utf-8", "surrogatepass"))


def _number(data: bytes) -> np.uint64:
    return np.uint64(int.from_bytes(hashlib.blake2b(data, digest_size=8).digest(), "little"))


def repeated(hashes: Hashes) -> NDArray[np.bool_]:
    """True for each row that repeats an earlier one."""
    _, first = np.unique(hashes, return_index=True)
    again = np.ones(len(hashes), dtype=bool)
    again[first] = False
    return again
