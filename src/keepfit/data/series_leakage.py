"""Does the test of a forecast lie in the future of its training, series by series?"""

from __future__ import annotations

import numpy as np
import polars as pl

from keepfit.data import series
from keepfit.data.series import listed
from keepfit.types import Check, Schema


def later(train: pl.DataFrame, test: pl.DataFrame, schema: Schema, given: bool = True) -> list[Check]:
    """Does each test row come after all training rows of its series? And is there a history to forecast it from?

    `given`: the test rows are of a file of their own, and may reach further than the horizon.
    """
    columns = list(series.rhythm_of(schema).series)
    both = pl.concat([train.select(columns), test.select(columns)]) if columns else None
    numbers, names = series.numbered(both, tuple(columns)) if both is not None else (np.zeros(0, np.int64), [""])
    if both is None:
        numbers = np.zeros(train.height + test.height, np.int64)
    ours, theirs = (series.grid(part, schema).periods for part in (train, test))
    ends = np.full(len(names), -np.inf)
    np.maximum.at(ends, numbers[: train.height], ours)
    asked = numbers[train.height :]
    early, new = np.flatnonzero(theirs <= ends[asked]), np.unique(asked[~np.isfinite(ends[asked])])
    detail = f"{len(early):,} of {test.height:,} test rows are not later than the training rows of their series: "
    detail += f"{listed(names, np.unique(asked[early]))}. Training looks into the future of the test"
    checks = [Check("leakage.known_later.time", "failed", len(early), 0, detail)] if len(early) else []
    checks = checks or [Check("leakage.known_later.time", "passed", 0, 0)]
    reach, horizon = (
        float(np.max(theirs - ends[asked], initial=0, where=np.isfinite(ends[asked]))),
        series.rhythm_of(schema).horizon,
    )
    if given and reach > horizon:
        told = f"the test goes {reach:,.0f} periods beyond its training rows, forecast.horizon is {horizon}: set it so"
        checks.append(Check("test.horizon", "failed", reach, horizon, told, "warning"))
    if len(new):
        told = f"{len(new):,} series of the test have no training row: {listed(names, new)}"
        checks.append(Check("test.series", "failed", len(new), 0, told, "warning"))
    return checks
