"""How often forecasts raise an alarm when nothing has changed, and how often when level or season have moved.

Series of a level, a season and noise (`KINDS`: how many, how long, their season and window) are forecast by a model
of keepfit's that goes on from every new value, whole horizons ahead, as a server does. The labelled rows of a window
are judged by `monitoring.performance` as a pass judges them: bias, season, and worse than on the test rows of training.

A budget of one alarm a month leaves a window a chance of 0.0005: some hundred windows show little. So the same windows
are judged with a budget of one in twenty windows too, where a wrong threshold would show. What is planted begins with
the window.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray
from scipy.stats import binomtest

from benchmarks.results import Claim, Options, Result
from keepfit.models import conformal, evaluate, fitted
from keepfit.models.series import answers, seasons
from keepfit.models.series import memory as memories
from keepfit.models.series.memory import About, Memory, Model
from keepfit.monitoring import budget, findings, performance
from keepfit.monitoring.budget import Thresholds
from keepfit.monitoring.labelled import Labelled
from keepfit.monitoring.seasons import Before
from keepfit.sections import Evaluation, Monitoring
from keepfit.types import Column, Rhythm, Schema

PROMISE = "no more windows of forecasts without any change raise an alarm than the budget of false alarms allows"
SEED = 20_261_122  # no threshold was chosen by these
PART = budget.SHARES["performance"]  # of the level: what is measured here
STRICT = Monitoring()  # 1 per month, every hour
LOOSE = Monitoring(false_alarms=0.05 / PART / 3600)  # one in twenty windows for performance
FOLDS = 5  # origins that a training learns its intervals from
AT_ONCE = 4_000  # series that are fitted together: windows are independent, and a recursion is over all series at once
Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Kind:
    """`series` of `known` periods and a window of `ahead` more; `wander`: of the level, a period, in units of noise."""

    model: str
    series: int
    season: int
    known: int
    ahead: int
    horizon: int
    wander: float
    swing: float = 3.0  # the season, in units of noise


KINDS: Mapping[str, Kind] = {
    "one hourly series, a day": Kind("theta", 1, 24, 24 * 15, 24, 24, 0.05),
    "one hourly series, three days": Kind("theta", 1, 24, 24 * 15, 24 * 3, 24, 0.05),
    "20 monthly series, a year": Kind("theta", 20, 12, 96, 12, 12, 0.1),
    "100 daily series, two weeks": Kind("theta", 100, 7, 84, 14, 7, 0.2),
    "20 without a season, level wanders": Kind("theta", 20, 12, 96, 24, 12, 0.5, 0.0),
    "one without a season, level wanders": Kind("theta", 1, 12, 96, 48, 12, 0.5, 0.0),
}
# name → (factor of everything, factor of the season, seasons by which it moves)
CHANGES: Mapping[str, tuple[float, float, float]] = {
    "nothing": (1.0, 1.0, 0.0),
    "level × 1.5": (1.5, 1.0, 0.0),
    "season moved by a quarter": (1.0, 1.0, 0.25),
    "season doubled": (1.0, 2.0, 0.0),
}


def drawn(kind: Kind, change: str, random: np.random.Generator, count: int) -> Floats:
    """(count × series, known + ahead) values, window after window; the change begins after `known`."""
    series = count * kind.series
    times, (whole, swing, moved) = np.arange(kind.known + kind.ahead), CHANGES[change]
    late = times >= kind.known
    place = times / kind.season + np.where(late, moved, 0.0) + random.random((series, 1))
    shape = kind.swing * np.where(late, swing, 1.0) * np.sqrt(2) * np.sin(2 * np.pi * place)
    noise = random.normal(size=shape.shape)
    level = 40 + np.cumsum(kind.wander * random.normal(size=shape.shape), axis=1)
    unit = 10 ** random.uniform(0, 2, (series, 1))
    return np.asarray((level + shape + noise) * np.where(late, whole, 1.0) * unit)


# --- a model that goes on -------------------------------------------------------------------------


def matrix(values: Floats, first: int) -> Floats:
    """Rows (n, 3) of series (count, length) from period `first` on, as features place them."""
    count, length = values.shape
    periods = np.tile(np.arange(first, first + length, dtype=np.float64), count)
    return np.column_stack([np.repeat(np.arange(count, dtype=np.float64), length), periods, values.ravel()])


def schema_of(kind: Kind) -> Schema:
    columns = (Column("series", "series"), Column("time", "moment", "int"), Column("value", "past", "float"))
    rhythm = Rhythm("time", "1i", 0.0, kind.horizon, ("series",), (kind.season,))
    return Schema(columns, "forecast", "value", rhythm=rhythm)


def asked(known: Memory, values: Floats, first: int, last: int, horizon: int) -> tuple[Labelled, Floats]:
    """What is forecast from each origin from `first` on, up to `last`, with what came true; and rows' places (n, 2)."""
    scores, rows, origins, now = [], [], [], known
    for origin in range(first, last):
        now = memories.refreshed(now, matrix(values[:, origin - 1 : origin], origin - 1)) if origin > first else now
        told = matrix(values[:, origin : min(origin + horizon, last)], origin)
        hidden = np.column_stack([told[:, :2], np.full(len(told), np.nan)])
        scores.append(answers.answers(now, hidden)[:, [2, 0, 1]])
        rows.append(told)
        origins.append(np.full(len(told), origin))
    every, when = np.concatenate(rows), np.concatenate(origins).astype("datetime64[h]").astype("datetime64[us]")
    inputs = pl.DataFrame({"series": every[:, 0].astype(int).astype(str), "time": every[:, 1]})
    output = fitted.answer("forecast", np.concatenate(scores), (), {})
    return Labelled(every[:, 2], output, when, np.full(len(every), "1", object), inputs), every[:, :2]


def windows(
    kind: Kind, change: str, random: np.random.Generator, count: int
) -> Iterator[tuple[Labelled, dict[str, Any], Before]]:  # fmt: skip
    """Of each window the labelled forecasts, what training measured, and what was known before."""
    values, test = drawn(kind, change, random, count), kind.known - kind.horizon
    about = About((Model(kind.model, (kind.season,)),), kind.season, kind.horizon)
    start = matrix(values[:, :test], 0)
    trained = memories.remember(about, memories.panel(start, start[:, 2]))
    judged, places = asked(trained, values[:, : kind.known], test, kind.known, kind.horizon)
    first = judged.output.ahead.step == places[:, 1] - test + 1  # from the origin of training
    judged, whose = judged[first], places[first, 0]
    spread = list(intervals(kind, values[:, :test], about, count))
    served = memories.refreshed(trained, matrix(values[:, test : kind.known], test))
    known, places = asked(served, values, kind.known, kind.known + kind.ahead, kind.horizon)
    now = memories.refreshed(served, matrix(values[:, kind.known :], kind.known))
    numbers = places[:, 0].astype(np.int64)
    step = np.asarray(known.output.ahead.step, np.float64)
    ago = seasons.ago(now, numbers, places[:, 1], step, kind.season)
    before = Before(numbers, ago, seasons.pattern(trained, numbers, places[:, 1], kind.season))
    for place in range(count):
        mine = numbers // kind.series == place
        tested, live = (within(part, spread[place]) for part in (judged[whose // kind.series == place], known[mine]))
        yield live, told(tested, schema_of(kind)), before[mine]


def intervals(kind: Kind, values: Floats, about: About, count: int) -> Iterator[dict[str, Any] | None]:
    """The interval of each window, from its own forecasts out of fold, as a training makes it."""
    scores, rows = [], []
    for fold in range(FOLDS, 0, -1):
        origin = values.shape[1] - fold * kind.horizon
        start, then = matrix(values[:, :origin], 0), matrix(values[:, origin : origin + kind.horizon], origin)
        known = memories.remember(about, memories.panel(start, start[:, 2]))
        hidden = np.column_stack([then[:, :2], np.full(len(then), np.nan)])
        scores.append(answers.answers(known, hidden)[:, [2, 0, 1]])
        rows.append(then)
    every, made = np.concatenate(rows), np.concatenate(scores)
    for place in range(count):
        mine = every[:, 0].astype(np.int64) // kind.series == place
        yield conformal.by_step(every[mine, 2], made[mine])


def within(asked: Labelled, interval: Mapping[str, Any] | None) -> Labelled:
    """Answers with the intervals around them."""
    given = asked.output
    scores = np.column_stack([given.values, given.ahead.scale, given.ahead.step])
    return replace(asked, output=fitted.answer("forecast", scores, (), {}, None, interval))


def told(judged: Labelled, schema: Schema) -> dict[str, Any]:
    """What training measured on its test rows."""
    settings = Evaluation(bootstrap=500)
    return evaluate.evaluate(judged.y, judged.output, schema, judged.output, judged.inputs, settings, 0)


def alarms(
    kind: Kind, change: str, random: np.random.Generator, count: int, limits: Sequence[Thresholds]
) -> Iterator[list[list[str]]]:  # fmt: skip
    """Of each window the checks that fail, for each of several budgets."""
    settings = Monitoring(window=1e9, min_rows=10)
    for known, measured, before in windows(kind, change, random, count):
        _, found = performance.measured(known, measured, {}, settings, schema_of(kind), before)
        yield [[check.name for check in findings.verdict("performance", found, limit).failures] for limit in limits]


def thresholds(monitoring: Monitoring) -> Thresholds:
    level = budget.level(monitoring.false_alarms, monitoring.every)
    nothing = {"rate": 0.0, "low": 0.0, "high": 0.0, "passes": 0.0}  # of drift, which is not looked at
    return Thresholds(monitoring.false_alarms, monitoring.every, level, 0, 10, 0.0, 0.0, nothing)


# --- all of it ------------------------------------------------------------------------------------


def run(options: Options) -> Result:
    """`--runs N`: N × 120 windows without change (default 5: 600), N × 16 with each; `--only nothing`: this one."""
    limits = [thresholds(STRICT), thresholds(LOOSE)]
    rows, claims = [], []
    for number, (name, kind) in enumerate(KINDS.items()):
        for place, change in enumerate(CHANGES):
            if options.only and change not in options.only:
                continue
            left, most = (120 if change == "nothing" else 16) * options.runs, max(1, AT_ONCE // kind.series)
            random, found = np.random.default_rng([SEED, number, place]), list[list[list[str]]]()
            while left > len(found):
                found += alarms(kind, change, random, min(most, left - len(found)), limits)
            rows.append(row(name, change, found))
            claims += _kept(name, found) if change == "nothing" else ()
    return Result("forecast-alarms", PROMISE, tuple(rows), tuple(claims))


def row(name: str, change: str, told: Sequence[list[list[str]]]) -> dict[str, Any]:
    """Shares of windows: any alarm under both budgets, and under the first one the three checks."""
    share = lambda which, part: float(np.mean([any(part in check for check in one[which]) for one in told]))
    checks = {"level": "bias: one-sided", "season": "season: shifted", "worse": "worse than at training"}
    found = {title: share(0, part) for title, part in checks.items()}
    return {
        "series": name,
        "change": change,
        "windows": len(told),
        "alarm": share(0, ""),
        **found,
        "1 in 20": share(1, ""),
    }


def _kept(name: str, told: Sequence[list[list[str]]]) -> Iterator[Claim]:
    for which, monitoring in enumerate((STRICT, LOOSE)):
        allowed = budget.level(monitoring.false_alarms, monitoring.every) * PART
        count = sum(bool(one[which]) for one in told)
        p = float(binomtest(count, len(told), allowed, "greater").pvalue)
        budgeted = "1 in 20 windows" if which else "1 a month"
        yield Claim(
            f"{name}: share of windows with an alarm, budget {budgeted}",
            count / len(told),
            "<=",
            allowed,
            unclear=p > 0.01,
        )
