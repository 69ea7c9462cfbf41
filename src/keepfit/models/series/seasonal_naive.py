"""The forecast is the value one season before: the bar that every other model has to pass."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from keepfit.models.series.panel import Floats, Panel, State, filled

DEFAULTS: Mapping[str, Any] = {}


def fit(panel: Panel, season: tuple[int, ...], seed: int = 0) -> State:
    """Remember the last season (of the longest period that the series have seen); with none, the last value."""
    period = max((p for p in season if p <= panel.values.shape[1]), default=1)
    last = np.full((len(panel.values), period), np.nan)
    whole = panel.values[:, -period:] if panel.values.shape[1] else last
    last[:, period - whole.shape[1] :] = whole
    return {"last": _complete(last, panel.values)}


def _complete(last: Floats, values: Floats) -> Floats:
    """Gaps of the last season from the seasons before, else from the last value known, else from the first."""
    period = last.shape[1]
    for back in range(2 * period, values.shape[1] + 1, period):
        if not np.isnan(last).any():
            return last
        last = np.where(np.isnan(last), values[:, values.shape[1] - back : values.shape[1] - back + period], last)
    return _nearest(last)


def _nearest(last: Floats) -> Floats:
    """Gaps from their neighbours, leading ones from the first value."""
    last = filled(last)
    first = np.where(np.isnan(last), np.inf, np.arange(last.shape[1])).argmin(axis=1)
    return np.where(np.isnan(last), last[np.arange(len(last)), first][:, None], last)


def forecast(state: Mapping[str, Any], steps: int) -> Floats:
    """The last season again and again (series, steps)."""
    last = state["last"]
    return np.asarray(last[:, np.arange(steps) % last.shape[1]], np.float64)


def update(state: Mapping[str, Any], values: Floats) -> State:
    """The season moves on by the columns of `values`; a gap keeps what was there a season before."""
    last = state["last"]
    period, steps = last.shape[1], values.shape[1]
    new = values.astype(np.float64)
    for at in range(0, steps, period):  # a gap of more than a season falls back on what stands in its place
        before = last if at == 0 else new[:, at - period : at]
        part = new[:, at : at + period]
        new[:, at : at + period] = np.where(np.isnan(part), before[:, : part.shape[1]], part)
    return {"last": _nearest(np.concatenate([last, new], axis=1)[:, -period:])}
