"""Seasonal ARIMA models, one a series, kept as one long recursion over past values and past errors.

How orders and coefficients are found: `keepfit.models.series.arima_search`. Seasons of more than 24
periods, and all but the shortest of several, are taken off before.
"""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from keepfit import engine
from keepfit.extras import load
from keepfit.models.series import decomposition
from keepfit.models.series.panel import Each, Floats, Panel, State, filled, level, starts

DEFAULTS: Mapping[str, Any] = {"max_order": 5, "max_p": 3, "max_q": 3}
LONGEST = 24  # periods of a season that the model has of its own


def fit(
    panel: Panel, season: tuple[int, ...], seed: int = 0, *, max_order: int = 5, max_p: int = 3, max_q: int = 3
) -> State:
    """Orders, coefficients, and the last values and errors of each series.

    `max_order` bounds p + q + P + Q, `max_p` and `max_q` the orders without season.
    """
    period = season[0] if season and season[0] <= LONGEST else 1
    most = (max_order, max_p, max_q)
    return _fit(panel, period, [p for p in season if p != period], {"most": most}, engine.processes)


def adopt(state: Mapping[str, Any], panel: Panel) -> State:
    """The state of other series, with the best of the orders that most of the known ones have."""
    others = [one["factors"].shape[1] for one in decomposition.taken(state)]
    orders, counts = np.unique(state["order"][:, [0, 2, 3, 5]], axis=0, return_counts=True)
    often = orders[np.argsort(-counts, kind="stable")[:USUAL]]
    return _fit(panel, state["period"], others, {"orders": [tuple(order) for order in often.tolist()]})


def _fit(panel: Panel, period: int, others: Sequence[int], how: Mapping[str, Any], each: Each = map) -> State:
    adjusted, seasons = decomposition.take_off(panel.values, others)
    size = level(adjusted)
    whole = filled(adjusted / size[:, None])
    strong = decomposition.strength(whole, period) > STRONG
    series = [(row[begin:], period, one) for row, begin, one in zip(whole, starts(whole), strong.tolist(), strict=True)]
    parts = [series[at : at + SERIES] for at in range(0, len(series), SERIES)]
    found = [one for part in each(functools.partial(_searched, how), parts) for one in part]
    return {
        "order": np.array([one.order for one in found], np.int64).reshape(len(found), 7),
        "period": period,
        "constant": np.array([one.constant for one in found], np.float64),
        "lags": _side_by_side([one.lags for one in found]),
        "weights": _side_by_side([one.weights for one in found]),
        "values": _side_by_side([one.values for one in found]),
        "errors": _side_by_side([one.errors for one in found]),
        "size": size,
        "column": whole.shape[1],
        **decomposition.stored(seasons),
    }


def _searched(how: Mapping[str, Any], series: Sequence[tuple[Floats, int, bool]]) -> list[Any]:
    search = load("keepfit.models.series.arima_search:search", "model.type")
    return [search(*one, **how) for one in series]


SERIES = 32  # that a process is given at once
USUAL = 5  # orders that new series are tried with
STRONG = 0.64  # strength of a season from which on it is differenced: forecast::nsdiffs of R, from the M3 series


def _side_by_side(parts: list[Floats]) -> Floats:
    """Arrays of different length (series, longest), zeros behind."""
    result = np.zeros((len(parts), max((len(part) for part in parts), default=0)))
    for row, part in zip(result, parts, strict=True):
        row[: len(part)] = part
    return result


def _step(state: Mapping[str, Any], values: Floats, errors: Floats) -> Floats:
    """The forecast (series,) after values and errors, the latest ones first."""
    past = (state["lags"] * values).sum(axis=1) + (state["weights"] * errors).sum(axis=1)
    return np.asarray(state["constant"] + past)


def _moved(past: Floats, new: Floats) -> Floats:
    """`new` (series,) before the others, the oldest dropped."""
    return np.concatenate([new[:, None], past], axis=1)[:, : past.shape[1]]


def forecast(state: Mapping[str, Any], steps: int) -> Floats:
    """Forecasts (series, steps)."""
    values, errors = state["values"], state["errors"]
    found = np.empty((len(values), steps))
    for at in range(steps):
        found[:, at] = _step(state, values, errors)
        values, errors = _moved(values, found[:, at]), _moved(errors, np.zeros(len(values)))
    return decomposition.put_back(found * state["size"][:, None], decomposition.taken(state), state["column"])


def update(state: Mapping[str, Any], values: Floats) -> State:
    """The state after `values` (series, k); a gap takes its forecast."""
    scaled = decomposition.take_off_again(values, decomposition.taken(state), state["column"]) / state["size"][:, None]
    past, errors = state["values"], state["errors"]
    for new in scaled.T:
        mean = _step(state, past, errors)
        known = np.where(np.isnan(new), mean, new)
        error = np.where(np.isnan(mean), 0.0, known - mean)
        past = np.where(np.isnan(past), known[:, None], past)  # a series that begins now
        past, errors = _moved(past, known), _moved(errors, error)
    return {**state, "values": past, "errors": errors, "column": state["column"] + values.shape[1]}
