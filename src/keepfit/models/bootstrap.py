"""The bootstrap: what a function of weighted rows would give on other rows like these.

A resample is a weight for each row, how often it was drawn, so one code path serves a single score and
a thousand of them (Efron and Tibshirani, An Introduction to the Bootstrap, 1993).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.floating[Any]]
Units = NDArray[np.intp] | None
Weighted = Callable[[Floats], Floats]
ROWS = 50_000  # rows of a resample; more rows are drawn this many at a time and rescaled
CELLS = 500_000  # weights held at once: what a core's cache holds


def resample(
    functions: Sequence[Weighted], rows: int, resamples: int, seed: int, together: Units = None
) -> list[Floats]:
    """What each function of the weights (k, rows) gives, (k, …), for all resamples; see `samples`."""
    blocks = [[function(weights) for function in functions] for weights in draw(rows, resamples, seed, together)]
    drawn: list[Floats] = [np.concatenate(parts).astype(np.float64) for parts in zip(*blocks, strict=True)]
    units = rows if together is None else int(together.max()) + 1
    if units <= ROWS:
        return drawn
    whole = [function(np.ones((1, rows))) for function in functions]
    return [one + (many - one) * np.sqrt(ROWS / units) for one, many in zip(whole, drawn, strict=True)]


def draw(rows: int, resamples: int, seed: int, together: Units = None) -> Iterator[Floats]:
    """How often each row is drawn, (some resamples, rows) float32 at a time; the same for the same seed.

    `together` (rows,): the number, from 0 on, of the unit that is drawn with all its rows.
    """
    random = np.random.default_rng(seed)
    units = rows if together is None else int(together.max()) + 1
    step = max(1, CELLS // max(rows, 1))
    for start in range(0, resamples, step):
        count = min(step, resamples - start)
        weights = np.empty((count, rows), np.float32)
        for row in weights:
            times = np.bincount(random.integers(0, units, min(units, ROWS)), minlength=units)
            row[:] = times if together is None else times[together]
        yield weights


def interval(values: Floats, confidence: float) -> tuple[float, float]:
    """The percentile interval of bootstrap samples; undefined ones (NaN) are left out."""
    known = values[np.isfinite(values)]
    if not len(known):
        return float("nan"), float("nan")
    low, high = np.quantile(known, [(1 - confidence) / 2, (1 + confidence) / 2])
    return float(low), float(high)
