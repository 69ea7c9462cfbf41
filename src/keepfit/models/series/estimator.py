"""Forecasting models with scikit-learn's fit and predict, on rows: see `keepfit.models.series.memory`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from keepfit.models.series import memory
from keepfit.models.series.answers import answers
from keepfit.models.series.panel import Floats


class Forecaster:
    """A model of MODELS, fitted to rows (n, 3 or more): number of the series, period, past value or NaN.

    Args:
        model: a name of `keepfit.models.series.MODELS`.
        season: periods of a season, shortest first.
        unit: the lag of the differences that errors are measured by; default: the shortest season, or 1.
        horizon: periods ahead that are looked up; further ones are computed when they are asked for.
        past: how many of the last columns are covariates of which later values are not known.
        options: of the model's fit.
    """

    def __init__(
        self,
        model: str = "seasonal_naive",
        season: Sequence[int] = (),
        unit: int | None = None,
        horizon: int = 12,
        past: int = 0,
        random_state: int = 0,
        **options: Any,
    ) -> None:
        seasons = tuple(sorted(season))
        known = memory.Model(model, seasons, random_state, options)
        self.about = memory.About((known,), unit or (seasons[0] if seasons else 1), horizon, past)
        self.memory = memory.Memory(self.about, ())

    def fit(self, matrix: NDArray[Any], y: Floats) -> Forecaster:
        """Learn from observed rows; `y` (n,) are their values, whatever the third column says."""
        self.memory = memory.remember(self.about, memory.panel(matrix, np.asarray(y, np.float64)))
        return self

    def predict(self, matrix: NDArray[Any]) -> Floats:
        """(n, 3): the value, the scale of its series and the step; see `answers`."""
        return answers(self.memory, matrix)[:, [2, 0, 1]]
