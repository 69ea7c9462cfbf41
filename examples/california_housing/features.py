"""Columns that a district's counts do not say by themselves; keepfit adds one for each function."""

import polars as pl


def rooms_per_household(frame: pl.DataFrame) -> pl.Series:
    return frame["total_rooms"] / frame["households"]


def people_per_household(frame: pl.DataFrame) -> pl.Series:
    return frame["population"] / frame["households"]
