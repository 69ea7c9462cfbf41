"""Which rows was a model trained on? A sample of their hashes, kept with the model, can tell.

Kept are the smallest hashes of the distinct rows: which rows those are is chance, but the same chance
for every data set, so that the share of other rows that were among them can be told from a sample
(bottom-k sketch; Cohen and Kaplan, Summarizing data using bottom-k sketches, PODC 2007).

>>> from keepfit.types import Column
>>> schema = Schema((Column("a", "number"),), "regression", "y")
>>> kept = trace(pl.DataFrame({"a": [1.0, 2.0, 3.0]}), schema)
>>> known(kept, pl.DataFrame({"a": [3.0, 4.0]}), schema)
(1, 2)
"""

from __future__ import annotations

import numpy as np
import polars as pl

from keepfit.data import hashes
from keepfit.types import Schema

MOST = 100_000  # hashes that are kept: 800 kB
FILE = "training_rows.npy"  # in a bundle


def trace(typed: pl.DataFrame, schema: Schema, most: int = MOST) -> hashes.Hashes:
    """The smallest hashes of the distinct rows of a conformed frame, ascending; at most `most`."""
    return np.unique(_rows(typed, schema))[:most]


def known(kept: hashes.Hashes, typed: pl.DataFrame, schema: Schema, most: int = MOST) -> tuple[int, int]:
    """How many rows of a conformed frame are among those that `kept` is the trace of, and of how many it can tell."""
    found = _rows(typed, schema)
    asked = found if len(kept) < most else found[found <= kept[-1]]
    return int(np.isin(asked, kept).sum()), len(asked)


def _rows(typed: pl.DataFrame, schema: Schema) -> hashes.Hashes:
    there = set(typed.columns)
    return hashes.rows(typed, sorted(c.name for c in schema.inputs if c.name in there))
