"""What the evaluation of a forecast tells beside its metrics: by step ahead, and series by series."""

from __future__ import annotations

from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from keepfit.models import metrics
from keepfit.models.fitted import Output
from keepfit.models.metrics import Answers
from keepfit.types import Schema

Floats = NDArray[np.floating[Any]]
BINS = 12  # runs of steps that are told apart, at most
SHOWN = 10  # series that are named


def detail(y: NDArray[Any], output: Output, trivial: Output, frame: pl.DataFrame, schema: Schema) -> dict[str, Any]:
    """Plain values of n test rows.

    by_step   runs of steps: rows, MASE beside that of the seasonal naive forecast, bias, coverage, width
    series    how many, the share of them that is better than seasonal naive, and the hardest ones
    """
    given, other = metrics.answers(y, output, ()), metrics.answers(y, trivial, ())
    assert given.ahead is not None
    names, place = named(frame, schema)
    return {"by_step": _by_step(given, other), "series": _by_series(given, other, names, place)}


def named(frame: pl.DataFrame, schema: Schema) -> tuple[list[str], NDArray[np.intp]]:
    """The names of the series that occur, and the place of each row's among them (n,).

    >>> from keepfit.types import Column
    >>> named(pl.DataFrame({"shop": ["b", "a", "b"]}), Schema((Column("shop", "series"),), "forecast"))
    (['a', 'b'], array([1, 0, 1]))
    """
    columns = schema.role("series")
    if not columns:
        return [str(schema.target)], np.zeros(frame.height, np.intp)
    together = frame.select(pl.concat_str(pl.col(columns).fill_null(""), separator=", ")).to_series().to_numpy()
    found, place = np.unique(together.astype(str), return_inverse=True)
    return found.tolist(), place


def _by_step(given: Answers, other: Answers) -> list[dict[str, Any]]:
    assert given.ahead is not None
    step = given.ahead.step
    last = int(step.max(initial=1))
    length = -(-last // BINS)
    rows = []
    for low in range(0, last, length):
        high = min(low + length, last)
        inside = (step > low) & (step <= high)
        if inside.any():
            title = f"{high}" if high == low + 1 else f"{low + 1} to {high}"
            rows.append({"step": title, "rows": int(inside.sum()), **_told(given, other, inside)})
    return rows


def _told(given: Answers, other: Answers, rows: NDArray[Any]) -> dict[str, Any]:
    """Means over some rows, all but the coverage in scales."""
    gap = (given.picked - given.truth)[rows]
    told = {
        "mase": float(np.abs(gap).mean()),
        "seasonal_naive": float(np.abs(other.picked - other.truth)[rows].mean()),
        "bias": float(gap.mean()),
    }
    if given.low is None or given.high is None:
        return told
    inside = (given.low <= given.truth) & (given.truth <= given.high)
    return {**told, "coverage": float(inside[rows].mean()), "width": float((given.high - given.low)[rows].mean())}


def _by_series(given: Answers, other: Answers, names: list[str], place: NDArray[np.intp]) -> dict[str, Any]:
    rows = np.bincount(place, minlength=len(names))
    mine, naive = (np.bincount(place, np.abs(one.picked - one.truth), len(names)) / rows for one in (given, other))
    worst = np.argsort(-mine, kind="stable")[:SHOWN]
    shown = [{"series": names[at], **_told(given, other, place == at), "rows": int(rows[at])} for at in worst]
    return {
        "count": len(names),
        "better_than_seasonal_naive": float((mine < naive).mean()),
        "median_mase": float(np.median(mine)),
        "hardest": shown,
    }
