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
from dataclasses import dataclass
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray
from scipy.stats import binomtest

from benchmarks.results import Claim, Options, Result
from keepfit.models import evaluate, fitted
from keepfit.models.series import memory as memories
from keepfit.models.series import seasons
from keepfit.models.series.memory import About, Memory, Model
from keepfit.monitoring import budget, findings, performance
from keepfit.monitoring.budget import Thresholds
from keepfit.monitoring.labelled import Labelled
from keepfit.monitoring.seasons import Before
from keepfit.sections import Evaluation, Monitoring
from keepfit.types import Column, Rhythm, Schema

PROMISE = "no more windows of forecasts without any change raise an alarm than the budget of false alarms allows"
SEED = 20_261_121  # no threshold was chosen by these
PART = budget.SHARES["performance"]  # of the level: what is measured here
STRICT = Monitoring()  # 1 per month, every hour
LOOSE = Monitoring(false_alarms=0.05 / PART / 3600)  # one in twenty windows for performance
PLANTED = 80  # windows of each change
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
    "200 daily series, two weeks": Kind("theta", 200, 7, 84, 14, 7, 0.2),
    "20 without a season, level wanders": Kind("theta", 20, 12, 96, 24, 12, 0.5, 0.0),
}
# name → (factor of everything, factor of the season, seasons by which it moves)
CHANGES: Mapping[str, tuple[float, float, float]] = {
    "nothing": (1.0, 1.0, 0.0),
    "level × 1.5": (1.5, 1.0, 0.0),
    "season moved by a quarter": (1.0, 1.0, 0.25),
    "season doubled": (1.0, 2.0, 0.0),
}


def drawn(kind: Kind, change: str, random: np.random.Generator) -> Floats:
    """(series, known + ahead) values; the change begins after `known`."""
    times, (whole, swing, moved) = np.arange(kind.known + kind.ahead), CHANGES[change]
    late = times >= kind.known
    place = times / kind.season + np.where(late, moved, 0.0) + random.random((kind.series, 1))
    shape = kind.swing * np.where(late, swing, 1.0) * np.sqrt(2) * np.sin(2 * np.pi * place)
    noise = random.normal(size=shape.shape)
    level = 40 + np.cumsum(kind.wander * random.normal(size=shape.shape), axis=1)
    unit = 10 ** random.uniform(0, 2, (kind.series, 1))
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
        scores.append(memories.answers(now, hidden)[:, [2, 0, 1]])
        rows.append(told)
        origins.append(np.full(len(told), origin))
    every, when = np.concatenate(rows), np.concatenate(origins).astype("datetime64[h]").astype("datetime64[us]")
    inputs = pl.DataFrame({"series": every[:, 0].astype(int).astype(str), "time": every[:, 1]})
    output = fitted.answer("forecast", np.concatenate(scores), (), {})
    return Labelled(every[:, 2], output, when, np.full(len(every), "1", object), inputs), every[:, :2]


def window(kind: Kind, change: str, random: np.random.Generator) -> tuple[Labelled, dict[str, Any], Before]:
    """The labelled forecasts of a window, what training measured, and what was known before."""
    values, test = drawn(kind, change, random), kind.known - kind.horizon
    about = About((Model(kind.model, (kind.season,)),), kind.season, kind.horizon)
    start = matrix(values[:, :test], 0)
    trained = memories.remember(about, memories.panel(start, start[:, 2]))
    judged, _ = asked(trained, values[:, : kind.known], test, kind.known, kind.horizon)
    first = judged.output.ahead.step == judged.inputs["time"].to_numpy() - test + 1  # from the origin of training
    judged = judged[first]
    schema = schema_of(kind)
    told = evaluate.evaluate(
        judged.y, judged.output, schema, judged.output, judged.inputs, Evaluation(bootstrap=500), 0
    )
    served = memories.refreshed(trained, matrix(values[:, test : kind.known], test))
    known, place = asked(served, values, kind.known, kind.known + kind.ahead, kind.horizon)
    now = memories.refreshed(served, matrix(values[:, kind.known :], kind.known))
    numbers = place[:, 0].astype(np.int64)
    step = np.asarray(known.output.ahead.step, np.float64)
    ago = seasons.ago(now, numbers, place[:, 1], step, kind.season)
    return known, told, Before(numbers, ago, seasons.pattern(trained, numbers, place[:, 1], kind.season))


def alarms(kind: Kind, change: str, random: np.random.Generator, limits: Sequence[Thresholds]) -> list[list[str]]:
    """The checks that fail, for each of several budgets."""
    known, told, before = window(kind, change, random)
    settings = Monitoring(window=1e9, min_rows=10)
    _, found = performance.measured(known, told, {}, settings, schema_of(kind), before)
    return [[check.name for check in findings.verdict("performance", found, limit).failures] for limit in limits]


def thresholds(monitoring: Monitoring) -> Thresholds:
    level = budget.level(monitoring.false_alarms, monitoring.every)
    nothing = {"rate": 0.0, "low": 0.0, "high": 0.0, "passes": 0.0}  # of drift, which is not looked at
    return Thresholds(monitoring.false_alarms, monitoring.every, level, 0, 10, 0.0, 0.0, nothing)


# --- all of it ------------------------------------------------------------------------------------


def run(options: Options) -> Result:
    """`--runs N`: N × 24 windows without change (default 5: 120), N × 8 with each; `--only nothing`: these changes."""
    limits = [thresholds(STRICT), thresholds(LOOSE)]
    rows, claims = [], []
    for number, (name, kind) in enumerate(KINDS.items()):
        for place, change in enumerate(CHANGES):
            if options.only and change not in options.only:
                continue
            runs = (24 if change == "nothing" else 8) * options.runs
            told = [
                alarms(kind, change, np.random.default_rng([SEED, number, place, run]), limits) for run in range(runs)
            ]
            rows.append(row(name, change, told))
            claims += _kept(name, told) if change == "nothing" else ()
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
