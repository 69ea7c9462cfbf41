"""TASKS: what a task means for a model, as one row of functions.

A row says how the target is encoded, what an estimator's answer is as scores (see models.fitted),
how scores are judged, which metrics there are and which one decides unless the config says so, what
`type: auto` tries, what the interval is, and what the trivial baseline is. Nothing else in `models`
asks for the task by name.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from keepfit import features
from keepfit.errors import ModelError
from keepfit.features.values import Columns
from keepfit.models import conformal, ensemble, fitted, metrics
from keepfit.models.fitted import Floats, Interval, Output
from keepfit.models.metrics import Answers
from keepfit.models.series import combination
from keepfit.models.series.estimator import Forecaster
from keepfit.types import Schema

Folds = Sequence[tuple[NDArray[Any], NDArray[Any]]]
HELD_OUT = 10_000  # held-out rows that tell forecasts apart: more origins tell no more


@dataclass(frozen=True)
class Task:
    """One task.

    `encode`: labels or values (n,) to what estimators are fitted to. `scores`: a fitted estimator,
    a matrix and the number of classes to scores. `judged`: encoded target, scores and number of classes to
    what metrics take. `trivial`: the encoded target of training rows, the schema, the columns with the roles
    of `looks` of these rows, and those of the rows that are asked, to the baseline's scores. `candidates`:
    "module:function" of what `type: auto` tries. `interval`: encoded target, out-of-fold scores and the
    coverage that forecasts are to have, to the interval. `given`: what the schema tells every estimator.
    `weigh`: the weights of candidates on some rows; `blend`: candidates with weights to their out-of-fold
    scores together, and what their members still have to be told. `selects`: may features be left out?
    `bags`: may the folds' estimators stand for the model? `screens`: are candidates tried on one fold first,
    where there are many rows? `enough`: the folds that are used of all.
    """

    metric: str
    stratify: bool
    encode: Callable[[NDArray[Any], Schema], NDArray[Any]]
    scores: Callable[[Any, Any, int], Floats]
    judged: Callable[[NDArray[Any], Floats, int], Answers]
    trivial: Callable[[NDArray[Any], Schema, Columns, Columns], Floats]
    interval: Callable[[NDArray[Any], Floats, float], Interval] = lambda y, scores, coverage: None
    candidates: str = "keepfit.models.portfolio:candidates"
    given: Callable[[Schema], Mapping[str, Any]] = lambda schema: {}
    looks: tuple[str, ...] = ()
    weigh: Callable[..., list[float]] = ensemble.weigh
    blend: Callable[..., tuple[Floats, ensemble.Finish]] = ensemble.blend
    selects: bool = True
    bags: bool = True
    screens: bool = True
    enough: Callable[[Folds], Folds] = lambda folds: folds

    @property
    def metrics(self) -> tuple[str, ...]:
        """The names of the task's metrics."""
        (kind,) = metrics.METRICS[self.metric].tasks
        return tuple(name for name, metric in metrics.METRICS.items() if kind in metric.tasks)


def _codes(y: NDArray[Any], schema: Schema) -> NDArray[Any]:
    codes = metrics.codes(np.asarray(y, object), schema.classes)
    if (codes < 0).any():
        label = y[int(np.argmin(codes))]
        raise ModelError(f"The target has the label {label!r}, which is none of {', '.join(schema.classes)}.")
    found = np.unique(codes)
    if len(found) < 2:
        only = f"only the label '{schema.classes[found[0]]}'" if len(found) else "no label"
        raise ModelError(f"The training rows have {only}: there is nothing to tell apart. Check data.target.")
    return codes


def _values(y: NDArray[Any], schema: Schema) -> NDArray[Any]:
    values = np.asarray(y, np.float64)
    if not np.isfinite(values).all():
        raise ModelError(f"The target has {int((~np.isfinite(values)).sum())} rows without a finite value.")
    return values


def _class_scores(estimator: Any, matrix: Any, count: int) -> Floats:
    """Probabilities (n, count); classes that the estimator never saw get 0."""
    if not hasattr(estimator, "predict_proba"):
        picked = np.asarray(estimator.predict(matrix)).astype(np.intp)
        return np.asarray(picked[:, None] == np.arange(count), np.float64)
    known = np.asarray(estimator.predict_proba(matrix), np.float64)
    if known.shape[1] == count:
        return known
    scores = np.zeros((len(known), count))
    scores[:, np.asarray(estimator.classes_, np.intp)] = known
    return scores


def _value_scores(estimator: Any, matrix: Any, count: int) -> Floats:
    return np.asarray(estimator.predict(matrix), np.float64).reshape(matrix.shape[0])


def _forecast_scores(estimator: Any, matrix: Any, count: int) -> Floats:
    return np.asarray(estimator.predict(matrix), np.float64)


def _most_probable(codes: NDArray[Any], scores: Floats, count: int) -> Answers:
    return Answers(codes, scores.argmax(axis=1), count, scores)


def _as_they_are(values: NDArray[Any], scores: Floats, count: int) -> Answers:
    return Answers(values, scores, 0)


def _in_scales(values: NDArray[Any], scores: Floats, count: int) -> Answers:
    """Of the rows that have a forecast: a series that begins after a fold's origin has none."""
    known = np.isfinite(scores).all(axis=1)
    return metrics.answers(values[known], fitted.answer("forecast", scores[known], (), {}), ())


def _shares(codes: NDArray[Any], schema: Schema, known: Columns, asked: Columns) -> Floats:
    return np.tile(np.bincount(codes, minlength=len(schema.classes)) / len(codes), (len(asked), 1))


def _average(values: NDArray[Any], schema: Schema, known: Columns, asked: Columns) -> Floats:
    return np.full(len(asked), values.mean())


def _last_season(values: NDArray[Any], schema: Schema, known: Columns, asked: Columns) -> Floats:
    bare = replace(schema, columns=tuple(column for column in schema.columns if column.role in combination.ROWS))
    state, made = features.fit_apply(known, bare, None)
    told = _rhythm(schema)
    model = Forecaster("seasonal_naive", **{**told, "season": told["season"][:1]}).fit(np.asarray(made), values)
    return model.predict(np.asarray(features.apply(state, asked)))


def _rhythm(schema: Schema) -> dict[str, Any]:
    if schema.rhythm is None:
        raise ModelError("A forecast needs to know its rhythm, which the schema does not tell.")
    season = schema.rhythm.season
    return {"season": season, "unit": season[0] if season else 1, "horizon": schema.rhythm.horizon}


def _origins(folds: Folds) -> Folds:
    """The newest origins that together hold out enough rows, two at least."""
    counts = np.cumsum([len(judged) for _, judged in folds])
    return folds[: max(2, int(np.searchsorted(counts, HELD_OUT)) + 1)]


def _by_half(y: NDArray[Any], scores: Floats, coverage: float) -> Interval:
    return conformal.half(y - scores)


TASKS: dict[str, Task] = {
    "classification": Task("log_loss", True, _codes, _class_scores, _most_probable, _shares),
    "regression": Task("rmse", False, _values, _value_scores, _as_they_are, _average, _by_half),
    "forecast": Task(
        "mase",
        False,
        _values,
        _forecast_scores,
        _in_scales,
        _last_season,
        conformal.by_step,
        candidates="keepfit.models.series.portfolio:candidates",
        given=_rhythm,
        looks=combination.ROWS,
        weigh=combination.weigh,
        blend=combination.blend,
        selects=False,
        bags=False,
        screens=False,
        enough=_origins,
    ),
}


def task(schema: Schema) -> Task:
    """The row of the schema's task."""
    if schema.task not in TASKS:
        raise ModelError(f"keepfit has no task '{schema.task}'. Known: {', '.join(TASKS)}")
    return TASKS[schema.task]


def baseline(known: Columns, y: NDArray[Any], asked: Columns, schema: Schema) -> Output:
    """What the trivial baseline learned from the training target `y` answers for the rows of `asked`.

    It gives each class its share of the training rows, and picks the most frequent; in a regression
    it gives the mean, and in a forecast the value of one season before. It looks at the columns with the
    roles of `Task.looks` alone.

    >>> schema, nothing = Schema((), "classification", classes=("no", "yes")), Columns({}, 1)
    >>> baseline(nothing, np.array(["no", "yes", "no", "no"], object), nothing, schema).probabilities.tolist()
    [[0.75, 0.25]]
    """
    chosen = task(schema)
    trivial = chosen.trivial(chosen.encode(y, schema), schema, known, asked)
    return fitted.answer(schema.task, trivial, schema.classes, {})


def within(y: NDArray[Any], schema: Schema) -> Output | None:
    """The baseline that knows how often each label is in `y`, for these very rows; None where it needs rows before."""
    nothing = Columns({}, len(y))
    return None if task(schema).looks else baseline(nothing, y, nothing, schema)


def settings(schema: Schema, metric: str) -> Mapping[str, Any]:
    """The metric that decides, and its direction: `tuning.metric`, or the task's own for "auto"."""
    chosen = task(schema).metric if metric == "auto" else metrics.named(metric, schema.task, "tuning.metric")
    return {"metric": chosen, "sign": metrics.METRICS[chosen].sign}
