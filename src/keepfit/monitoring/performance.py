"""Measured performance: the metrics of labelled rows, by time and by group, against goals and training.

Labels come late. So the window ends with the newest row whose label is known, and not now.

A pass asks few questions, as each takes its share of the false-alarm budget: of each goal, whether it is
surely missed; of the deciding metrics, whether they are surely worse than on the test rows at training;
and of the groups in which the model was weakest then, whether it is worse now in any of them. Everything
else is a figure with its interval. A goal that only the value misses is a warning.

The figures, ready for JSON (None where a metric is not defined):

    performance   metric → {"value", "low", "high", "rows", "goal", "reference"}
    slices        by time, oldest first: {"since", "until", "labelled", "performance": metric → {…}}
    steps         of forecasts, by runs of steps ahead: {"step", "rows", METRIC: {…}, "naive": its MASE}
    naive         of forecasts, beside seasonal naive on the same rows: {"metric", "rows", "value", "naive"}
    groups        {"column", "value", "rows", METRIC: {"value", "low", "high", "reference"}}, METRIC being
                  accuracy, rmse or mase; "unknown" instead of it says why a column cannot be sliced by
    labelled      {"since", "until", "rows", "unknown", "older"}: of the window; see Labelled
"""

from __future__ import annotations

import itertools
import math
import re
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from keepfit import config
from keepfit.models import evaluate, metrics
from keepfit.models.metrics import Answers
from keepfit.monitoring import measures, seasons
from keepfit.monitoring.findings import Finding
from keepfit.monitoring.labelled import Labelled
from keepfit.monitoring.measures import Measure, Units
from keepfit.monitoring.seasons import Before
from keepfit.types import Schema

CONFIDENCE = 0.95  # of the intervals
TRIFLE = 0.005  # worse by less is no matter: of a score the difference, of a loss a share of the reference
DECIDING = ("accuracy", "log_loss", "roc_auc", "mae", "rmse", "mase")  # compared with training, and what goals name
HELD = "interval_coverage"
SLICES = 200  # time slices that are shown at most
BIAS = 0.1  # scales that forecasts may be off by on the average before it matters
FEWER = 0.1  # share of what comes true that intervals of forecasts may hold less than they are to before it matters
RUNS = 8  # of steps ahead that are told apart
GROUPS = 20  # groups of one column that are shown at most, the largest
RANGE = re.compile(r"(?:> (?P<low>[-+.\w]+))?(?:, )?(?:<= (?P<high>[-+.\w]+))?")

Told = Mapping[str, Any]
Found = tuple[dict[str, Any], list[Finding]]


def measured(
    labelled: Labelled, told: Told, goals: Mapping[str, str], settings: config.Monitoring, schema: Schema,
    before: Before | None = None,
) -> Found:  # fmt: skip
    """Figures and findings of the newest labelled rows, and time slices of them and of those before.

    `told` is the bundle's metrics.json, `before` what the histories of their series say of rows that were forecast.
    With fewer than `settings.min_rows` labelled rows in the window the figures hold none of them, and the one finding
    says that it is not known.
    """
    newest = window(labelled.times, settings.window)
    recent = labelled[newest]
    given = metrics.answers(labelled.y, labelled.output, schema.classes)
    figures: dict[str, Any] = {"performance": {}, "groups": [], "labelled": _about(recent)}
    figures["slices"] = slices(given, labelled.times, settings.every, settings.min_rows)
    if len(recent) < settings.min_rows:
        return figures, [_unknown(len(recent), settings.min_rows)]
    inside = metrics.answers(recent.y, recent.output, schema.classes)
    units = about(recent.inputs, schema)
    found = {name: measures.measure(name, inside, units) for name in metrics.available(inside)}
    old = {name: measures.reference(name, told) for name in found}
    wanted = {metrics.ALIASES.get(name, name): text for name, text in goals.items()}
    figures["performance"] = {
        name: _figure(one) | {"goal": wanted.get(name), "reference": _value(old[name])} for name, one in found.items()
    }
    findings: list[Finding] = [*_goals(found, wanted), *_changes(found, old, wanted)]
    if inside.ahead is not None:
        history = None if before is None else before[newest]
        figures |= {"steps": by_step(inside, settings.min_rows, history), **seasons.figures(inside, history)}
        findings += [_one_sided(found["bias"]), *_held(found, old, inside, units)]
        findings += seasons.findings(inside, history, units)
    figures["groups"], weak = groups(inside, recent.inputs, told, settings.slices, schema)
    return figures, findings + weak


def about(inputs: pl.DataFrame, schema: Schema) -> Units | None:
    """What each row is a forecast of: a series and a time, numbered series by series. None for other tasks.

    >>> from keepfit.types import Rhythm
    >>> asked = pl.DataFrame({"shop": ["b", "a", "b", "b"], "day": [1.0, 1.0, 2.0, 1.0]})
    >>> found = about(asked, Schema((), "forecast", rhythm=Rhythm("day", "1i", 0.0, 2, ("shop",))))
    >>> found.of.tolist(), found.series.tolist()
    ([1, 0, 2, 1], [0, 1, 1])
    """
    if schema.rhythm is None:
        return None
    names = [*schema.rhythm.series, schema.rhythm.time]
    if not {*names} <= {*inputs.columns}:
        return None
    of, series = _ranked(inputs, names), _ranked(inputs, names[:-1])
    return Units(of, series[np.unique(of, return_index=True)[1]])


def _ranked(inputs: pl.DataFrame, names: Sequence[str]) -> NDArray[np.intp]:
    """(n,) which of the combinations of some columns each row has, in their order."""
    if not names:
        return np.zeros(inputs.height, np.intp)
    return inputs.select(pl.struct(names).rank("dense") - 1).to_series().to_numpy().astype(np.intp)


def window(times: NDArray[np.datetime64], length: float) -> NDArray[np.bool_]:
    """The rows of the last `length` seconds before the newest row."""
    if not len(times):
        return np.zeros(0, np.bool_)
    return np.asarray(times > times[-1] - np.timedelta64(round(length * 1e6), "us"))


def _about(window: Labelled) -> dict[str, Any]:
    span = (_moment(window.times[0]), _moment(window.times[-1])) if len(window) else (None, None)
    rows = {"rows": len(window), "unknown": window.unknown, "older": window.older}
    return {"since": span[0], "until": span[1], **rows}


def _moment(time: np.datetime64) -> str:
    return f"{time.astype('datetime64[us]').item().isoformat()}+00:00"


def _unknown(rows: int, least: int) -> Finding:
    why = f"{rows:,} labelled rows in the window; at least {least:,} are needed"
    return Finding("performance", "performance", "labels", None, None, None, 0.0, rows, unknown=why)


def _number(value: float) -> float | None:
    return value if math.isfinite(value) else None


def _figure(found: Measure) -> dict[str, Any]:
    low, high = measures.interval(found, CONFIDENCE)
    return {"value": _number(found.value), "low": _number(low), "high": _number(high), "rows": found.rows}


def _value(before: Measure | None) -> float | None:
    return before.value if before else None


def _goals(found: Mapping[str, Measure], wanted: Mapping[str, str]) -> Iterator[Finding]:
    """A finding for each goal that names a metric of these rows; and a warning for each that is missed by value."""
    for name, text in wanted.items():
        one = found.get(name)
        if one is None:
            continue  # of size and latency, the gate and the traffic tell
        if not math.isfinite(one.value):
            yield _undefined(one, f"goal {text}")
            continue
        sign, limit = config.goal(text)
        short = limit - one.value if sign.startswith(">") else one.value - limit
        low, high = measures.interval(one, CONFIDENCE)
        detail = f"interval {low:.4g} to {high:.4g}"
        p = measures.misses(one, sign, limit)
        yield Finding("performance", name, f"goal {text}", p, one.value, limit, short, one.rows, detail=detail)
        if short > 0:
            yield Finding(
                *("performance", name, f"goal {text}, value alone", None, one.value, limit, short, one.rows),
                detail=detail, severity="warning",
            )  # fmt: skip


def _undefined(one: Measure, test: str) -> Finding:
    why = "not defined on the labelled rows: they hold one class only"
    return Finding("performance", one.name, test, None, None, None, 0.0, one.rows, unknown=why)


def _changes(
    found: Mapping[str, Measure], before: Mapping[str, Measure | None], wanted: Mapping[str, str]
) -> Iterator[Finding]:
    """A finding for each deciding metric that training measured too: is it worse now?"""
    for name, one in found.items():
        old = before[name]
        if old is None or (name not in DECIDING and name not in wanted) or (name == HELD and "mase" in found):
            continue  # of forecasts, `_held` asks
        if not math.isfinite(one.value):
            yield _undefined(one, "worse than at training")
            continue
        low, high = measures.interval(one, CONFIDENCE)
        yield Finding(
            *("performance", name, "worse than at training", measures.worse(one, old), one.value, old.value),
            _loss(one, old), one.rows, TRIFLE, f"interval {low:.4g} to {high:.4g}",
        )  # fmt: skip


def _loss(one: Measure, old: Measure) -> float:
    """How much worse: of a score the difference, of a loss as a share of what it was."""
    lost = one.sign * (old.value - one.value)
    return lost if one.sign > 0 else lost / max(abs(old.value), 1e-300)


# --- by time --------------------------------------------------------------------------------------


def slices(given: Answers, times: NDArray[np.datetime64], every: float, least: int) -> list[dict[str, Any]]:
    """The metrics by time slice of `every` seconds. Slices of fewer than `least` rows are joined with those after.

    What is too few at the end is joined with the slice before; if there is none, nothing is told. Slices
    are longer where there would be more than 200 of them.
    """
    if len(times) < least:
        return []
    number = np.floor_divide(times.astype(np.int64), round(every * 1e6))
    cuts = _cuts(number, max(least, math.ceil(len(times) / SLICES)))
    found = []
    for start, stop in itertools.pairwise(cuts):
        part = take(given, np.arange(start, stop))
        measured = {name: _figure(measures.measure(name, part)) for name in metrics.available(part)}
        since, until = (_slice_time(int(number[row]) + late, every) for row, late in ((start, 0), (stop - 1, 1)))
        found.append({"since": since, "until": until, "labelled": stop - start, "performance": measured})
    return found


def _cuts(number: NDArray[np.int64], least: int) -> list[int]:
    """Where slices of at least `least` rows start, and the end; rows of one number stay together."""
    starts = np.flatnonzero(np.diff(number, prepend=number[0] - 1))
    cuts = [0]
    for start in [*starts.tolist(), len(number)]:
        if start - cuts[-1] >= least:
            cuts.append(start)
    if cuts[-1] < len(number):
        cuts[-1] = len(number)
    return cuts


def _slice_time(number: int, every: float) -> str:
    return (datetime(1970, 1, 1, tzinfo=UTC) + timedelta(seconds=number * every)).isoformat()


def take(given: Answers, rows: NDArray[np.intp]) -> Answers:
    """The answers of some rows."""
    parts = (given.probabilities, given.low, given.high, given.ahead)
    more: list[Any] = [None if part is None else part[rows] for part in parts]
    return Answers(given.truth[rows], given.picked[rows], given.count, *more)


# --- by step ahead -------------------------------------------------------------------------------


def by_step(given: Answers, least: int, before: Before | None = None) -> list[dict[str, Any]]:
    """The metrics of forecasts by runs of steps with about as many rows each, at least `least`; nearest first."""
    if given.ahead is None or len(given.truth) < least:
        return []
    order = np.argsort(given.ahead.step, kind="stable")
    step = given.ahead.step[order].astype(np.int64)
    cuts = _cuts(step, max(least, math.ceil(len(order) / RUNS)))
    found = []
    for start, stop in itertools.pairwise(cuts):
        rows = np.sort(order[start:stop])  # in the order of time, as measures want them
        part = take(given, rows)
        first, last = int(step[start]), int(step[stop - 1])
        told: dict[str, Any] = {name: _figure(measures.measure(name, part)) for name in metrics.available(part)}
        told |= {} if before is None else {"naive": seasons.naive(part, before[rows])}
        found.append({"step": str(first) if first == last else f"{first} to {last}", "rows": stop - start, **told})
    return found


def _one_sided(one: Measure) -> Finding:
    """A finding: do the forecasts lie above or below what came true, beyond chance? A shift of the level does that."""
    low, high = measures.interval(one, CONFIDENCE)
    p = min(1.0, 2 * measures.tail(abs(one.value), one.error, 0.0))
    side = "above" if one.value > 0 else "below"
    detail = f"forecasts lie {side} what came true by {abs(one.value):.3g} scales, interval {low:.3g} to {high:.3g}"
    return Finding("performance", one.name, "one-sided", p, one.value, 0.0, abs(one.value), one.rows, BIAS, detail)


def _held(
    found: Mapping[str, Measure], before: Mapping[str, Measure | None], given: Answers, units: Units | None
) -> Iterator[Finding]:
    """A finding: do the intervals of forecasts hold far less than was promised, and than they held at training?

    Against the smaller of the two less FEWER: what was measured at training is of few rows that are alike too.
    """
    one, old = found.get(HELD), before.get(HELD)
    if one is None or given.ahead is None:
        return
    promised = given.ahead.coverage
    usual = promised if old is None else min(promised, old.value)
    low, high = measures.interval(one, CONFIDENCE)
    p = measures.fewer(one, usual - FEWER, units, int(given.ahead.step.max()))
    detail = f"{one.value:.1%} of what came true, interval {low:.1%} to {high:.1%}; promised {promised:.1%}"
    yield Finding("performance", HELD, "too low", p, one.value, usual, usual - one.value, one.rows, FEWER, detail)


# --- by group -------------------------------------------------------------------------------------


def groups(
    given: Answers, inputs: pl.DataFrame, told: Told, columns: Sequence[str] | None, schema: Schema
) -> tuple[list[dict[str, Any]], list[Finding]]:
    """The groups of `columns`, or else those that training found weakest, and whether one of the latter is worse.

    Groups of fewer than 30 rows are left out: they tell more about their few rows than about the model.
    """
    name = _grouped(given)
    weak = {(one["column"], one["group"]): one for one in told.get("slices", ()) if one["metric"] == name}
    parts = [(c, group, _members(inputs, c, group)) for c, group in weak]
    known = [(c, g, rows, weak[c, g]) for c, g, rows in parts if rows is not None and len(rows) >= evaluate.SLICE_ROWS]
    found = {(c, g): (measures.measure(name, take(given, rows)), _before(old, told)) for c, g, rows, old in known}
    if columns is None:
        shown = [_group(c, g, one, old) for (c, g), (one, old) in found.items()]
    else:
        shown = [each for column in columns for each in _column(given, inputs, column, schema)]
    return shown, _weaker(found)


def _grouped(given: Answers) -> str:
    """The metric that groups are compared by."""
    return "accuracy" if given.count else "rmse" if given.ahead is None else "mase"


def _before(old: Told, told: Told) -> Measure | None:
    name = old["metric"]
    about = {"metrics": {name: old}, "rows": old["rows"], "confidence": told.get("confidence", 0.95)}
    return measures.reference(name, about)


def _group(column: str, group: str, one: Measure, old: Measure | None = None) -> dict[str, Any]:
    figure = _figure(one)
    rows = figure.pop("rows")
    return {"column": column, "value": group, "rows": rows, one.name: figure | {"reference": _value(old)}}


def _column(given: Answers, inputs: pl.DataFrame, column: str, schema: Schema) -> Iterator[dict[str, Any]]:
    if column not in inputs.columns:
        yield {"column": column, "value": None, "rows": 0, "unknown": "the log does not have this column"}
        return
    frame = pl.DataFrame([_conformed(inputs[column])])
    names, place, counts = np.unique(evaluate.groups(frame, column, schema), return_inverse=True, return_counts=True)
    for k in np.argsort(-counts, kind="stable")[:GROUPS]:
        if counts[k] >= evaluate.SLICE_ROWS:
            part = take(given, np.flatnonzero(place == k))
            yield _group(column, str(names[k]), measures.measure(_grouped(given), part))


def _conformed(column: pl.Series) -> pl.Series:
    """A logged column as training reads it: dates are seconds since 1970 UTC."""
    return column.dt.epoch("us").cast(pl.Float64) / 1e6 if column.dtype.is_temporal() else column


def _members(inputs: pl.DataFrame, column: str, group: str) -> NDArray[np.intp] | None:
    """The rows of a group that `evaluate.groups` named; None where the log does not have its column.

    >>> _members(pl.DataFrame({"age": [20.0, None, 30.0]}), "age", "> 20, <= 30").tolist()
    [2]
    """
    if column not in inputs.columns:
        return None
    values = _conformed(inputs[column])
    span = RANGE.fullmatch(group)
    if not values.dtype.is_numeric() or not span or not group:
        return np.flatnonzero((values.cast(pl.String).fill_null("(missing)") == group).to_numpy())
    low, high = (
        float(span[end]) if span[end] else endless for end, endless in (("low", -math.inf), ("high", math.inf))
    )
    return np.flatnonzero(((values > low) & (values <= high)).fill_null(False).to_numpy())


def _weaker(found: Mapping[tuple[str, str], tuple[Measure, Measure | None]]) -> list[Finding]:
    """One finding for all groups: the surest of them, its p multiplied by their number (Bonferroni)."""
    judged = {key: (one, old, measures.worse(one, old)) for key, (one, old) in found.items() if old}
    if not judged:
        return []
    (column, group), (one, old, p) = min(judged.items(), key=lambda item: item[1][2])
    low, high = measures.interval(one, CONFIDENCE)
    detail = f"{column} = {group}: interval {low:.4g} to {high:.4g}"
    about = min(1.0, len(judged) * p), one.value, old.value, _loss(one, old), one.rows, TRIFLE, detail
    return [Finding("performance", one.name, "worse in a weak group", *about)]
