"""Rows of made series for the tests of what stands on a panel: number, period, past; and as a frame."""

from __future__ import annotations

from datetime import datetime

import numpy as np
import polars as pl
from numpy.typing import NDArray

from keepfit.types import Column, Rhythm, Schema

SEASON = 12
NAMES = ("north", "south", "west")


def values(count: int = 3, length: int = 60, seed: int = 0) -> NDArray[np.float64]:
    """(count, length) of a level, a season and noise; the levels are far apart."""
    random = np.random.default_rng(seed)
    level = 10.0 ** (1 + np.arange(count))[:, None]
    season = 1 + 0.4 * np.sin(2 * np.pi * np.arange(length) / SEASON)
    return level * (season + 0.05 * random.normal(size=(count, length)))


def matrix(told: NDArray[np.float64], start: int = 0) -> NDArray[np.float64]:
    """Rows (n, 3) of series (count, length) whose first period is `start`, with the values as the past."""
    count, length = told.shape
    periods = np.tile(np.arange(start, start + length, dtype=float), count)
    return np.column_stack([np.repeat(np.arange(count, dtype=float), length), periods, told.ravel()])


def hidden(rows: NDArray[np.float64]) -> NDArray[np.float64]:
    """The rows without what was observed."""
    asked = rows.copy()
    asked[:, 2] = np.nan
    return asked


def frame(told: NDArray[np.float64]) -> pl.DataFrame:
    """Monthly rows (shop, month, sold) of up to three series."""
    count, length = told.shape
    months = [datetime(2000 + at // 12, at % 12 + 1, 1) for at in range(length)]
    return pl.DataFrame({"shop": np.repeat(NAMES[:count], length), "month": months * count, "sold": told.ravel()})


SCHEMA = Schema(
    (Column("shop", "series"), Column("month", "moment", "date"), Column("sold", "past", "float")),
    "forecast",
    "sold",
    rhythm=Rhythm("month", "1mo", datetime(2000, 1, 1).timestamp() // 86400 * 86400, 6, ("shop",), (SEASON,)),
)
