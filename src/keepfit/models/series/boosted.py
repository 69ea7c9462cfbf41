"""One model of boosted trees for all series: what happens between now and then, from what happened before.

A row is a series at an origin and a step ahead. Its target is the difference to the seasonal naive
forecast (the anchor), in the series' own scale, so that series of any size are alike; its features are
the differences of other past values to that anchor. Every step up to the horizon is forecast directly,
what lies beyond it from forecasts. LightGBM grows the trees; numpy alone walks down them.

Covariates are known ahead, but for the last `past` of them: of those nothing after the origin is looked at. What
was known last stands for them from there on, in gaps too.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from keepfit.models.series import walk
from keepfit.models.series.panel import Floats, Ints, Panel, State, filled, level, of, scale, starts

DEFAULTS: Mapping[str, Any] = {"horizon": 0, "past": 0, "rows": 400_000}
OPTIONS: Mapping[str, Any] = {
    "objective": "regression_l1", "learning_rate": 0.05, "num_leaves": 31, "min_child_samples": 50,
    "colsample_bytree": 0.7, "subsample": 0.7, "subsample_freq": 1,
}  # fmt: skip
LATEST = 3  # values of what is known of the past only that are features: the last ones
LEVELS = 7  # seasons back of which the values at the same place are features
ROWS_A_TREE, TREES = 500, (50, 400)  # how many trees are grown from so many rows
FEW = 200  # rows below which nothing is learned: the anchor is the forecast
FAR = 20.0  # scales from the anchor, beyond which no target counts as further


class About(NamedTuple):
    """The shortest season, the longer ones, how many steps are forecast directly, how many covariates are past."""

    period: int
    longer: tuple[int, ...]
    horizon: int
    past: int = 0

    @property
    def seasons(self) -> tuple[int, ...]:
        return (self.period, *self.longer)

    @property
    def window(self) -> int:
        """Columns that the features look back on."""
        near = int(_up(self.horizon, self.period))
        far = max((int(_up(self.horizon, longer)) + longer + near for longer in self.longer), default=0)
        return max(near + LEVELS * self.period, far, max(self.seasons)) + 1


def _up(steps: Any, period: int) -> Any:
    """Steps (a number or many) rounded up to whole seasons."""
    return -(-steps // period) * period


def fit(
    panel: Panel, season: tuple[int, ...], seed: int = 0, *,
    horizon: int = 0, past: int = 0, rows: int = 400_000, **options: Any,
) -> State:  # fmt: skip
    """Grow the trees on as many of the latest origins as `rows` allow.

    `horizon` is how many steps are forecast directly; 0 means two of the shortest season, 12 without one.
    The last `past` covariates are looked at up to the origin only. Other options are those of LightGBM's regressor.
    """
    period = season[0] if season else 1
    about = About(period, tuple(season[1:]), horizon or (2 * period if period > 1 else 12), past)
    unit, history = scale(panel.values, period), filled(panel.values)
    matrix, target = _examples(panel, history, unit, about, rows)
    chosen = {**OPTIONS, "n_estimators": int(np.clip(len(target) / ROWS_A_TREE, *TREES)), **options}
    grown = walk.grown(matrix, target, chosen, seed) if len(target) >= FEW else walk.NONE
    shared = {f"all_{name}": array for name, array in grown.items()}
    return {**about._asdict(), "longer": list(about.longer), **_placed(panel, about), **shared}


def adopt(state: Mapping[str, Any], panel: Panel) -> State:
    """The state of other series, with the trees that were grown already."""
    return {**state, **_placed(panel, _about(state))}


def _about(state: Mapping[str, Any]) -> About:
    return About(state["period"], tuple(state["longer"]), state["horizon"], state.get("past", 0))


def _placed(panel: Panel, about: About) -> State:
    """What is kept of each series."""
    covariates = _covariates(panel, about.past)
    return {
        "history": _last(filled(panel.values), about.window),
        "covariates": _last(covariates.transpose(0, 2, 1), about.window).transpose(0, 2, 1),
        "ends": panel.ends.copy(),
        "scale": scale(panel.values, about.period),
    }


def _covariates(panel: Panel, past: int) -> Floats:
    given = np.empty((*panel.values.shape, 0)) if panel.covariates is None else panel.covariates
    return _carried(given, past)


def _carried(covariates: Floats, past: int) -> Floats:
    """Covariates (series, T, k) with the last known value in the gaps of the last `past` of them."""
    if not past:
        return covariates
    late = covariates[:, :, -past:]
    columns = np.arange(late.shape[1])[:, None]
    last = np.maximum.accumulate(np.where(np.isnan(late), 0, columns), axis=1)
    return np.concatenate([covariates[:, :, :-past], np.take_along_axis(late, last, axis=1)], axis=2)


def _last(values: Floats, count: int) -> Floats:
    """The last columns (…, count), NaN before the first."""
    short = max(count - values.shape[-1], 0)
    padded = np.pad(values, [(0, 0)] * (values.ndim - 1) + [(short, 0)], constant_values=np.nan)
    return np.asarray(padded[..., padded.shape[-1] - count :])


# --- examples -------------------------------------------------------------------------------------


def _examples(
    panel: Panel, history: Floats, unit: Floats, about: About, rows: int
) -> tuple[NDArray[np.float32], Floats]:
    """Features (n, k) and targets (n,) of the latest origins at which a season and more was known."""
    columns = history.shape[1]
    first, steps = starts(panel.values), np.arange(1, about.horizon + 1)
    covariates = _covariates(panel, about.past)
    stride = max(about.period // 2 - 1, 1)  # comes by every place of the season
    found: list[tuple[NDArray[np.float32], Floats]] = []
    total, origin = 0, columns - about.horizon
    while total < rows and origin >= 2:
        known = np.flatnonzero(first + max(about.period + 1, 2) <= origin)
        if not len(known):
            break
        past, ends = history[known, :origin], panel.ends[known] - (columns - origin)
        outside = covariates[known, : origin + about.horizon]
        features, anchor = _features(past, ends, unit[known], about, steps, outside)
        target = (panel.values[known, origin : origin + about.horizon] - anchor) / unit[known, None]
        there = np.isfinite(target)
        found.append((features[there].astype(np.float32), np.clip(target[there], -FAR, FAR)))
        total += int(there.sum())
        origin -= stride
    if not found:
        return np.empty((0, 0), np.float32), np.empty(0)
    return np.concatenate([matrix for matrix, _ in found]), np.concatenate([target for _, target in found])


def _features(
    history: Floats, ends: Ints, unit: Floats, about: About, steps: Ints, covariates: Floats
) -> tuple[Floats, Floats]:
    """Features (series, steps, k) of so many steps after `history` (series, …), and the anchors (series, steps).

    `covariates` (series, columns of the history and steps, k).
    """
    extra = covariates.shape[1] - history.shape[1]
    covariates = _last(covariates.transpose(0, 2, 1), about.window + extra)
    history = _last(history, about.window)
    now = history.shape[1] - 1
    then = now + steps - _up(steps, about.period)
    anchor = history[:, then]
    anchor = np.where(np.isnan(anchor), history[:, -1:], anchor)
    apart = [place - anchor for place in _places(history, then, steps, about, anchor)]
    apart += [np.broadcast_to(move[:, None], anchor.shape) for move in _moves(history, about.period)]
    scaled = [each / unit[:, None] for each in apart]
    phases = [(ends[:, None] + steps) % period for period in about.seasons if period > 1]
    size = np.log(level(history) / unit)[:, None]
    plain = [np.broadcast_to(steps, anchor.shape), np.broadcast_to(size, anchor.shape), *phases]
    ahead = covariates.shape[1] - about.past
    for one in covariates[:, :ahead].transpose(1, 0, 2):
        plain += [one[:, now + steps], one[:, now + steps] - one[:, then]]
    for one in covariates[:, ahead:, : now + 1].transpose(1, 0, 2):
        plain += _before(one, then, steps, about)
    return np.stack(scaled + plain, axis=2), anchor


def _before(one: Floats, then: Ints, steps: Ints, about: About) -> list[Floats]:
    """What is known at the origin of a covariate (series, …) that is known of the past only (series, steps)."""
    now, shape = one.shape[1] - 1, (len(one), len(steps))
    latest = [np.broadcast_to(one[:, now - back, None], shape) for back in range(LATEST)]
    mean = one[:, -about.period :].mean(axis=1)[:, None]
    place = one[:, then]
    return [*latest, place, latest[0] - place, one[:, now + steps - about.horizon], np.broadcast_to(mean, shape)]


def _places(history: Floats, then: Ints, steps: Ints, about: About, anchor: Floats) -> list[Floats]:
    """Past values that speak of the step: at the same place of earlier seasons, and the latest ones (series, steps)."""
    now, back = history.shape[1] - 1, _up(steps, about.period)
    found = [history[:, then - about.period * k] for k in range(1, LEVELS)]
    for longer in about.longer:
        before = now + steps - _up(steps, longer)
        found += [
            history[:, before],
            history[:, before - longer],
            anchor + history[:, before] - history[:, before - back],
        ]
    found += [history[:, -width:].mean(axis=1)[:, None] for width in (1, 3, *about.seasons)]
    return found


def _moves(history: Floats, period: int) -> list[Floats]:
    """How the series has moved lately (series,): against the season before, from value to value, and how widely."""
    apart = history[:, -period - 1 :] - history[:, -2 * period - 1 : -period]
    return [
        *(apart[:, -1], apart[:, -2], apart[:, -3:].mean(axis=1), apart[:, -period:].mean(axis=1)),
        *(history[:, -1] - history[:, -2], history[:, -period:].std(axis=1)),
    ]


# --- forecasts ------------------------------------------------------------------------------------


def forecast(state: Mapping[str, Any], steps: int, covariates: Floats | None = None) -> Floats:
    """Forecasts (series, steps); `covariates` (series, steps, k) are those of the steps, NaN where not given."""
    about = _about(state)
    history, ends = state["history"], state["ends"]
    if covariates is not None and about.past:
        covariates = covariates.copy()
        covariates[:, :, -about.past :] = np.nan  # nobody knows them yet
    known = _longer(state["covariates"], covariates, steps, about.past)
    found = np.empty((len(history), 0))
    while found.shape[1] < steps:
        ahead = np.arange(1, min(about.horizon, steps - found.shape[1]) + 1)
        seen = known[:, : state["history"].shape[1] + found.shape[1] + len(ahead)]
        part = _ahead(state, history, ends + found.shape[1], about, ahead, seen)
        history, found = np.concatenate([history, part], axis=1), np.concatenate([found, part], axis=1)
    return found


def _longer(known: Floats, more: Floats | None, steps: int, past: int) -> Floats:
    given = np.full((len(known), steps, known.shape[2]), np.nan) if more is None else more
    return _carried(np.concatenate([known, given], axis=1), past)


def _ahead(
    state: Mapping[str, Any], history: Floats, ends: Ints, about: About, steps: Ints, covariates: Floats
) -> Floats:
    features, anchor = _features(history, ends, state["scale"], about, steps, covariates)
    trees = {name.removeprefix("all_"): value for name, value in state.items() if name.startswith("all_")}
    if not len(trees["value"]):
        return anchor
    matrix = features.astype(np.float32).reshape(-1, features.shape[2])
    change = walk.scores(trees, matrix).reshape(anchor.shape) * state["scale"][:, None]
    still = np.isnan(history) | (history == history[:, -1:])  # what never moved is not expected to
    return np.asarray(np.where(still.all(axis=1)[:, None], anchor, anchor + change))


def update(state: Mapping[str, Any], values: Floats, covariates: Floats | None = None) -> State:
    """The state after `values` (series, k); a gap takes what was forecast for it."""
    known = _longer(state["covariates"], covariates, values.shape[1], _about(state).past)
    size = state["history"].shape[1]
    moved = dict(state)
    for column in range(values.shape[1]):
        new = values[:, column].astype(np.float64)
        gaps = np.flatnonzero(np.isnan(new))
        if len(gaps):
            outside = known[gaps, size + column : size + column + 1]
            new[gaps] = forecast(of(moved, gaps), 1, outside)[:, 0]
        moved["history"] = np.concatenate([moved["history"][:, 1:], new[:, None]], axis=1)
        moved["covariates"] = known[:, column + 1 : size + column + 1]
        moved["ends"] = moved["ends"] + 1
    return moved
