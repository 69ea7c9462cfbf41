"""Exponential smoothing: error, trend and season, each of a form that the corrected AIC chooses.

Hyndman, Koehler, Snyder, Grose, "A state space framework for automatic forecasting using exponential
smoothing methods", International Journal of Forecasting 18, 2002. A form is three letters: the error
is additive or multiplicative (A, M), the trend none, additive or damped (N, A, D), the season none,
additive or multiplicative (N, A, M). Whether the error is additive or multiplicative changes how
parameters are judged, not how the states move on. Seasons of more than 24 periods, and all but the
shortest of several, are taken off before.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from keepfit import engine
from keepfit.models.series import decomposition, recursion, search
from keepfit.models.series.panel import (
    Floats,
    Ints,
    Mask,
    Panel,
    State,
    filled,
    groups,
    in_blocks,
    leading,
    level,
    starts,
)
from keepfit.models.series.recursion import States, known

DEFAULTS: Mapping[str, Any] = {"forms": "auto"}
LONGEST = 24  # periods of a season that the recursion carries along
SHORT = 4  # values below which the last one is repeated
# what "auto" tries. A trend that is not damped fits as well and goes astray: on monthly series the error of
# the best form grew by 2 to 5 % when it was among them; whoever wants it names it
FORMS = tuple(error + trend + season for season in "NAM" for trend in "ND" for error in "AM" if error + season != "AM")
# smoothing of level, of slope (share of the former), of season (share of the rest); damping; first level, first slope
ALPHA, BETA, GAMMA, PHI, LEVEL, SLOPE = range(6)
LOW = np.array([1e-4, 1e-4, 1e-4, 0.8, 0.0, 0.0])
HIGH = np.array([0.9999, 0.9999, 0.9999, 0.98, 0.0, 0.0])
GRID = np.array([
    [a, b, g, p, 0.0, 0.0]
    for a, b, g, p in (
        (0.05, 0.1, 0.05, 0.9), (0.2, 0.1, 0.1, 0.95), (0.2, 0.5, 0.3, 0.9), (0.4, 0.05, 0.05, 0.97),
        (0.4, 0.3, 0.3, 0.9), (0.6, 0.1, 0.1, 0.95), (0.8, 0.05, 0.05, 0.9), (0.8, 0.3, 0.3, 0.95),
        (0.98, 0.02, 0.5, 0.9),
    )
])  # fmt: skip
USUAL = 4  # forms that new series are tried with
PLAIN = ("MNN", "ANN")  # what the shortest series can have
FEW = 1e-3  # of the mean size: forecasts below are none for a multiplicative form

How = tuple[Floats, search.Find]  # a grid, and how to go on from it
Chosen = tuple[NDArray[np.str_], Floats]  # the form of each series, its parameters (series, 6)
SLOW: How = (GRID, search.minimise)
BRIEF: search.Find = functools.partial(search.glance, reaches=())  # the grid alone


class Given(NamedTuple):
    """A block of series as the search takes it: values (T, series, 1) of size one, the column that each
    begins with, how many are known, the period, and for each season (N, A, M) where its states begin."""

    values: Floats
    first: Ints
    seen: Ints
    period: int
    positive: Mask
    begin: Mapping[str, Begin]


class Begin(NamedTuple):
    """Factors of the season (series, period), level and slope (series,), and how far they may be off (series,)."""

    factors: Floats
    level: Floats
    slope: Floats
    reach: Floats


def fit(panel: Panel, season: tuple[int, ...], seed: int = 0, *, forms: str = "auto") -> State:
    """The best form of each series (of those in `forms`, apart by commas), parameters, and states at the end."""
    wanted = () if forms == "auto" else tuple(forms.split(","))
    period = season[0] if season and season[0] <= LONGEST else 1
    others = [p for p in season if p != period]
    one = lambda block: _fit(block, period, others, lambda given: _chosen(given, wanted))
    return in_blocks(one, panel, engine.processes)


def adopt(state: Mapping[str, Any], panel: Panel) -> State:
    """The state of other series: of the forms that most of the known ones have, and near their parameters."""
    period = state["state2"].shape[1]
    others = [one["factors"].shape[1] for one in decomposition.taken(state)]
    return in_blocks(lambda block: _fit(block, period, others, lambda given: _glanced(given, state)), panel)


def _fit(panel: Panel, period: int, others: Sequence[int], choose: Callable[[Given], Chosen]) -> State:
    adjusted, seasons = decomposition.take_off(panel.values, others)
    size = level(adjusted)
    given = _given(adjusted / size[:, None], period)
    kind, parameters = choose(given)
    states = _settled(given, kind, parameters)
    return {
        "form": np.array([name[-2:] if name != "naive" else name for name in kind.tolist()], "U8"),
        "kind": kind,
        "parameters": parameters,
        "size": size,
        "column": adjusted.shape[1],
        **recursion.stored(states),
        **decomposition.stored(seasons),
    }


def _given(scaled: Floats, period: int) -> Given:
    whole, first = filled(scaled), starts(scaled)
    positive = decomposition.positive(scaled)
    begin = {"N": _begin(whole, whole, first, np.zeros((len(scaled), period)), period)}
    if period > 1:
        for name, ratio in (("A", np.zeros_like(positive)), ("M", positive)):
            season = decomposition.season(whole, period, ratio, 2)
            begin[name] = _begin(whole, decomposition.without(whole, season, 0), first, season["factors"], period)
    return Given(scaled.T[:, :, None], first, (~np.isnan(scaled)).sum(axis=1), period, positive, begin)


def _begin(whole: Floats, adjusted: Floats, first: Ints, factors: Floats, period: int) -> Begin:
    """Level and slope before the first value, by the line through the first two seasons (ten values at least)."""
    opening = leading(adjusted, first, max(10, 2 * period)) if adjusted.shape[1] else np.zeros((len(adjusted), 1))
    there = ~np.isnan(opening)
    count = np.maximum(there.sum(axis=1), 1)
    time = np.where(there, np.arange(1.0, opening.shape[1] + 1), 0.0)
    values = np.nan_to_num(opening)
    middle, mean = time.sum(axis=1) / count, values.sum(axis=1) / count
    apart = np.where(there, time - middle[:, None], 0.0)
    slope = (apart * values).sum(axis=1) / np.maximum((apart**2).sum(axis=1), 1.0)
    reach = np.sqrt(np.where(there, (values - mean[:, None]) ** 2, 0.0).sum(axis=1) / count) + FEW
    return Begin(factors, mean - slope * middle, slope, reach)


# --- the search -----------------------------------------------------------------------------------


def _glanced(given: Given, state: Mapping[str, Any]) -> Chosen:
    """The form of each series, of those that are usual in a state, and parameters near those that it has there."""
    names, counts = np.unique(state["kind"], return_counts=True)
    often = [name for name in names[np.argsort(-counts)].tolist() if name != "naive"][:USUAL]
    twins = [f"A{name[1]}{name[2].replace('M', 'A')}" for name in often]  # for series that are not above zero
    forms = [*dict.fromkeys([*often, *twins, *PLAIN])]
    grids = {name: search.usual(state["parameters"][state["kind"] == name]) for name in forms}
    kind, parameters = _chosen(given, (), forms, lambda form: (np.concatenate([GRID, grids[form]]), BRIEF))
    for form, rows in groups(kind):
        if form != "naive":
            parameters[rows], _ = _search(given, form, rows, parameters[rows, None], search.glance)
    return kind, parameters


def _chosen(
    given: Given, wanted: Sequence[str], forms: Sequence[str] = FORMS, how: Callable[[str], How] = lambda form: SLOW
) -> Chosen:
    """The form of each series by the corrected AIC, and its parameters (series, 6).

    `wanted` are tried as they are, else `forms`; `how` gives what the parameters of a form are searched with.
    """
    lowest = np.full(len(given.first), np.inf)
    kind = np.full(len(given.first), "naive", "U8")
    parameters = np.zeros((len(given.first), 6))
    for form in wanted or forms:
        possible = _possible(given, form)
        if not wanted and form[0] == "A":  # of positive values it is as close as its multiplicative twin
            possible &= ~given.positive
        rows = np.flatnonzero(possible)
        if len(rows):
            found, criterion = _search(given, form, rows, *how(form))
            better = criterion < lowest[rows]
            at = rows[better]
            lowest[at], kind[at], parameters[at] = criterion[better], form, found[better]
    return kind, parameters


def _possible(given: Given, form: str) -> Mask:
    """Which series can have this form at all."""
    error, season = form[0], form[2]
    enough = given.seen >= SHORT + 2 * len(_free(form))
    if form in ("ANN", "MNN"):
        enough = given.seen >= SHORT
    if season != "N":
        enough = enough & (given.seen >= 2 * given.period + 2) if given.period > 1 else np.zeros_like(enough)
    return np.asarray(enough & given.positive if "M" in (error, season) else enough)


def _free(form: str) -> list[int]:
    """The parameters that a form has."""
    trend, season = form[1], form[2]
    return [ALPHA] + [BETA, SLOPE] * (trend != "N") + [PHI] * (trend == "D") + [GAMMA] * (season != "N") + [LEVEL]


def _search(
    given: Given, form: str, rows: NDArray[np.intp], grid: Floats, find: search.Find
) -> tuple[Floats, Floats]:  # fmt: skip
    """The best parameters (series, 6) and the corrected AIC of one form, for some of the series.

    `grid` (candidates, 6) or (series, candidates, 6) is what to begin with, but for level and slope.
    """
    begin, free = given.begin[form[2]], _free(form)
    start = np.stack([begin.level[rows], begin.slope[rows]], axis=1)
    if form[1] == "N":
        start = np.stack([start[:, 0] + start[:, 1] * 5, np.zeros(len(rows))], axis=1)
    reach = begin.reach[rows, None] * [1.0, 0.2]
    low, high = (np.repeat(bound[None], len(rows), axis=0) for bound in (LOW, HIGH))
    grid = np.broadcast_to(grid, (len(rows), *grid.shape[-2:])).copy()
    low[:, LEVEL:], high[:, LEVEL:], grid[:, :, LEVEL:] = start - reach, start + reach, start[:, None]
    if form[1] == "A":
        grid[:, :, PHI], low[:, PHI], high[:, PHI] = 1.0, 1.0, 1.0
    fixed = grid[:, 0]

    def loss(points: Floats, some: NDArray[np.intp]) -> Floats:
        return _likelihood(given, form, rows[some], _whole(points, fixed[some], free))

    best, value = find(loss, grid[:, :, free], low[:, free], high[:, free])
    parameters = _whole(best[:, None], fixed, free)[:, 0]
    return parameters, value + _penalty(given, form, rows, len(free))


def _whole(points: Floats, fixed: Floats, free: list[int]) -> Floats:
    """All six parameters (series, candidates, 6) of the free ones."""
    result = np.repeat(fixed[:, None], points.shape[1], axis=1)
    result[:, :, free] = points
    return result


def _penalty(given: Given, form: str, rows: NDArray[np.intp], free: int) -> Floats:
    count = given.seen[rows]
    number = free + 1 + (given.period - 1) * (form[2] != "N")
    room = count - number - 1
    return np.where(room > 0, 2 * number * count / np.maximum(room, 1), np.inf)


def _likelihood(given: Given, form: str, rows: NDArray[np.intp], points: Floats) -> Floats:
    """Twice the negative log-likelihood (series, candidates), but for a constant."""
    parameters = points.transpose(2, 0, 1)
    states = _initial(given.begin[form[2]], rows, parameters, given.first[rows])
    total, logs = np.zeros(points.shape[:2]), np.zeros(points.shape[:2])
    relative = form[0] == "M"

    def add(mean: Floats, value: Floats, count: int) -> None:
        error = known(value, mean) - mean
        if relative:
            mean[mean < FEW] = np.nan  # no share can be taken of it: parameters that lead there are out
            error /= mean
            logs[:count] += np.log(mean)
        error *= error
        total[:count] += error

    with np.errstate(all="ignore"):
        recursion.run(STEPS[form[1:]], given.values[:, rows], given.first[rows], parameters, states, add)
        return np.asarray(given.seen[rows, None] * np.log(total + 1e-30) + 2 * logs)


def _initial(begin: Begin, rows: NDArray[np.intp], parameters: Floats, first: Ints) -> States:
    """Level, slope and season (period, …) before the first value."""
    shape = (begin.factors.shape[1], *parameters.shape[1:])
    factors = np.broadcast_to(begin.factors[rows].T[:, :, None], shape).copy()
    return parameters[LEVEL].copy(), parameters[SLOPE].copy(), factors


def _settled(given: Given, kind: NDArray[np.str_], parameters: Floats) -> States:
    """The states at the end (…, series, 1) of the chosen forms."""
    period, count = given.period, len(kind)
    states = (np.zeros((count, 1)), np.zeros((count, 1)), np.zeros((period, count, 1)))
    for form, rows in groups(kind):
        if form == "naive":
            states[0][rows, 0] = filled(given.values[:, rows, 0].T)[:, -1] if len(given.values) else np.nan
            continue
        mine = parameters[rows].T[:, :, None]
        part = _initial(given.begin[form[2]], rows, mine, given.first[rows])
        recursion.settled(STEPS[form[1:]], given.values[:, rows], given.first[rows], mine, part)
        for whole, some in zip(states, part, strict=True):
            whole[..., rows, :] = some
    return states


# --- the recursion --------------------------------------------------------------------------------


def _step(parameters: Floats, states: States, value: Floats, column: int, trend: str, season: str) -> Floats:
    """One column: its forecast, and the states after it."""
    alpha, beta, gamma, phi = parameters[:4]
    level, slope, factors = states
    place = factors[column % len(factors)]
    if trend != "N":
        if trend == "D":
            slope *= phi
        level += slope
    mean = level * place if season == "M" else level + place if season == "A" else level.copy()
    error = known(value, mean) - mean
    if season == "M":
        gained = gamma * (1 - alpha) * error / level
        error = error / place
        place += gained
    elif season == "A":
        place += gamma * (1 - alpha) * error
    error *= alpha
    level += error
    if trend != "N":
        error *= beta
        slope += error
    return np.asarray(mean)


STEPS: Mapping[str, recursion.Step] = {
    **{t + s: functools.partial(_step, trend=t, season=s) for t in "NAD" for s in "NAM"},
    "naive": recursion.naive,
}


def forecast(state: Mapping[str, Any], steps: int) -> Floats:
    """Forecasts (series, steps)."""
    return recursion.forecast(state, steps, STEPS)


def update(state: Mapping[str, Any], values: Floats) -> State:
    """The state after `values` (series, k)."""
    return recursion.update(state, values, STEPS)
