"""What covariates are worth: half-hours of an electricity market, each day forecast from the midnight before.

`boosted_lags` learns from all but the last 100 days once. Then each of these days is forecast (48 steps), and its
rows are told afterwards: trees stay, states go on. MASE is in units of the error of yesterday's values in the
training rows. Price and demand are forecast, each with other columns beside it:

    none      the series alone
    past      the other one, the neighbour's price and demand, and the transfer: known up to midnight only
    demand    of the price: the demand of both, as if it were known a day ahead; somebody else's forecast would be so
    all       what all of them would tell if they were known a day ahead: nobody has that

The data: Harries, Splice-2 comparative evaluation: electricity pricing, 1999.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from benchmarks import datasets
from benchmarks.results import Claim, Options, Result
from keepfit.models.series import boosted, seasonal_naive
from keepfit.models.series.panel import Panel, scale

PROMISE = "covariates make forecasts of elec2's price better, and do those of its demand no harm"
SOURCE = "elec2/electricity.csv"
DAY, SEASONS, DAYS = 48, (48, 336), 100
PRICE, DEMAND = "nswprice", "nswdemand"
OTHERS = ("vicprice", "vicdemand", "transfer")
HARM = 0.02  # share of MASE that is within what other trees would give
Floats = NDArray[np.float64]


def run(options: Options) -> Result:
    path = datasets.root() / SOURCE
    if not path.exists():
        raise datasets.NoDataError(f"not in the folder of data sets: {SOURCE}")
    frame = pl.read_csv(path)
    rows = []
    for target, other in ((PRICE, DEMAND), (DEMAND, PRICE)):
        rows += [_row(target, f"seasonal naive, {season}", *_naive(frame, target, season)) for season in SEASONS]
        rows.append(_row(target, "none", *_boosted(frame, target, (), ())))
        rows.append(_row(target, "past", *_boosted(frame, target, (), (other, *OTHERS))))
        if target == PRICE:
            rows.append(_row(target, "demand", *_boosted(frame, target, (DEMAND, "vicdemand"), ())))
        rows.append(_row(target, "all", *_boosted(frame, target, (other, *OTHERS), ())))
    return Result("forecast-covariates", PROMISE, tuple(rows), _claims(rows))


def _claims(rows: Sequence[dict[str, Any]]) -> tuple[Claim, ...]:
    found = {(row["target"], row["covariates"]): row["MASE"] for row in rows}
    saved = {key: 1 - error / found[key[0], "none"] for key, error in found.items()}
    return (
        Claim("price: share of MASE that demand, known ahead, saves", saved[PRICE, "demand"], ">=", 0.05),
        Claim("price: share of MASE that the past saves", saved[PRICE, "past"], ">=", 0.0),
        Claim("demand: share of MASE that the past costs", -saved[DEMAND, "past"], "<=", HARM),
    )


def _row(target: str, name: str, error: float, seconds: float) -> dict[str, Any]:
    return {"target": target, "covariates": name, "MASE": error, "CPU s": seconds}


def _panel(frame: pl.DataFrame, target: str, columns: Sequence[str]) -> Panel:
    values = frame[target].to_numpy()[None]
    outside = frame.select(columns).to_numpy()[None] if columns else None
    return Panel(values, np.array([values.shape[1] - 1]), np.array([0]), outside)


def _naive(frame: pl.DataFrame, target: str, season: int) -> tuple[float, float]:
    start = time.process_time()
    given = _panel(frame, target, ())
    state = seasonal_naive.fit(given.until(DAYS * DAY), (season,))
    errors = []
    for day in _days(given.values):
        errors.append(np.abs(seasonal_naive.forecast(state, DAY) - day))
        state = seasonal_naive.update(state, day)
    return _mase(given, errors), time.process_time() - start


def _boosted(frame: pl.DataFrame, target: str, ahead: Sequence[str], past: Sequence[str]) -> tuple[float, float]:
    start = time.process_time()
    given = _panel(frame, target, (*ahead, *past))
    state = boosted.fit(given.until(DAYS * DAY), SEASONS, 0, horizon=DAY, past=len(past))
    outside = given.covariates
    told: Sequence[Any] = [None] * DAYS if outside is None else np.split(outside[:, -DAYS * DAY :], DAYS, axis=1)
    errors = []
    for day, covariates in zip(_days(given.values), told, strict=True):
        errors.append(np.abs(boosted.forecast(state, DAY, covariates) - day))
        state = boosted.update(state, day, covariates)
    return _mase(given, errors), time.process_time() - start


def _days(values: Floats) -> list[Floats]:
    return np.split(values[:, -DAYS * DAY :], DAYS, axis=1)


def _mase(given: Panel, errors: Sequence[Floats]) -> float:
    return float(np.mean(errors) / scale(given.until(DAYS * DAY).values, DAY)[0])
