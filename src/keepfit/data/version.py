"""The version of data: a hash of its content, the same wherever and however the frame was made."""

from __future__ import annotations

import hashlib

import numpy as np
import polars as pl

ROWS = 1 << 20  # hashed at once, whatever the frame's own chunks are
FILES = 1 << 10  # the same for bytes, which are long


def fingerprint(frame: pl.DataFrame) -> str:
    """`sha256:…` over column names, values and the order of rows and columns.

    The layout in memory does not count: chunks, the width of integers and floats, how strings are
    kept, what lies under a null, -0.0 and the bits of NaN. Null, "" and NaN are three values, 1 and
    "1" are two. SHA-256 as in FIPS 180-4; it hashes hundreds of megabytes a second.

    >>> whole = pl.DataFrame({"age": [31, None], "plan": ["basic", ""]})
    >>> fingerprint(whole)
    'sha256:e8287cbaa3789751111414af247adf89e0252bdb69910a5843011a1c3a1c5c35'
    >>> fingerprint(pl.concat([whole[:1], whole[1:]], rechunk=False)) == fingerprint(whole)
    True
    >>> fingerprint(whole.reverse()) == fingerprint(whole)
    False
    """
    total = hashlib.sha256(f"keepfit frame 1 {frame.height} {frame.width}".encode())
    for column in frame.iter_columns():
        name = column.name.encode()
        total.update(len(name).to_bytes(8, "little") + name)
        plain, kind = _plain(column)
        total.update(f" {kind} ".encode())
        step = FILES if plain.dtype == pl.Binary else ROWS
        for start in range(0, frame.height, step):
            _update(total, plain.slice(start, step))
    return f"sha256:{total.hexdigest()}"


def _plain(column: pl.Series) -> tuple[pl.Series, str]:
    """The values as int64, uint64, float64, strings or bytes, and the kind of value they stand for."""
    dtype = column.dtype
    if dtype == pl.Boolean:
        return column.cast(pl.Int64), "bool"
    if dtype == pl.UInt64 and (column.max() or 0) > np.iinfo(np.int64).max:  # type: ignore[operator]
        return column, "uint"
    if dtype.is_integer() and dtype not in (pl.Int128, pl.UInt128):
        return column.cast(pl.Int64), "int"
    if dtype in (pl.Float32, pl.Float64):
        value = pl.first().cast(pl.Float64)
        one_bit_pattern = pl.when(value == 0).then(0.0).when(value.is_nan()).then(np.nan).otherwise(value)
        return column.to_frame().select(one_bit_pattern).to_series(), "float"
    if dtype.is_temporal():
        return column.to_physical().cast(pl.Int64), str(dtype)
    if dtype == pl.Binary:
        return column, "bytes"
    return column.cast(pl.String), "str"


def _update(total: hashlib._Hash, part: pl.Series) -> None:
    nulls = part.is_null()
    total.update(b"nulls" if nulls.any() else b"whole")
    if nulls.any():
        total.update(np.packbits(nulls.to_numpy()).data)
    if part.dtype == pl.Binary:
        total.update(part.bin.size().fill_null(0).cast(pl.UInt64).to_numpy().data)
        total.update(b"".join(part.drop_nulls().to_list()))
        return
    if part.dtype != pl.String:
        total.update(np.ascontiguousarray(part.fill_null(0).to_numpy()).data)
        return
    strings = part.fill_null("").alias("")  # Arrow has no names with a NUL
    total.update(strings.str.len_bytes().cast(pl.UInt32).to_numpy().data)
    text = strings.to_arrow(compat_level=pl.CompatLevel.oldest()).buffers()[2]
    total.update(text or b"")
