"""TASKS: what a task means for a model, as one row of functions.

A row says how the target is encoded, what an estimator's answer is as scores (see models.fitted),
which metrics there are and which one decides unless the config says so, and what the trivial
baseline is. Nothing else in `models` asks for the task by name.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from keepfit.errors import ModelError
from keepfit.models import fitted, metrics
from keepfit.models.fitted import Floats, Output
from keepfit.types import Schema


@dataclass(frozen=True)
class Task:
    """One task.

    `encode`: labels or values (n,) to what estimators are fitted to. `scores`: a fitted estimator,
    a matrix and the number of classes to scores. `trivial`: encoded target to the scores of the
    baseline for n rows.
    """

    metric: str
    stratify: bool
    encode: Callable[[NDArray[Any], Schema], NDArray[Any]]
    scores: Callable[[Any, Any, int], Floats]
    trivial: Callable[[NDArray[Any], int, int], Floats]
    baseline: str = "dummy"

    @property
    def metrics(self) -> tuple[str, ...]:
        """The names of the task's metrics."""
        kind = metrics.METRICS[self.metric].task
        return tuple(name for name, metric in metrics.METRICS.items() if metric.task == kind)


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


def _shares(codes: NDArray[Any], count: int, rows: int) -> Floats:
    return np.tile(np.bincount(codes, minlength=count) / len(codes), (rows, 1))


def _average(values: NDArray[Any], count: int, rows: int) -> Floats:
    return np.full(rows, values.mean())


TASKS: dict[str, Task] = {
    "classification": Task("log_loss", True, _codes, _class_scores, _shares),
    "regression": Task("rmse", False, _values, _value_scores, _average),
}


def task(schema: Schema) -> Task:
    """The row of the schema's task."""
    if schema.task not in TASKS:
        raise ModelError(f"keepfit has no task '{schema.task}'. Known: {', '.join(TASKS)}")
    return TASKS[schema.task]


def baseline(y: NDArray[Any], schema: Schema, rows: int) -> Output:
    """What the trivial baseline learned from the training target `y` answers for `rows` rows.

    It gives each class its share of the training rows, and picks the most frequent; in a regression
    it gives the mean.

    >>> schema = Schema((), "classification", classes=("no", "yes"))
    >>> baseline(np.array(["no", "yes", "no", "no"], object), schema, 1).probabilities.tolist()
    [[0.75, 0.25]]
    """
    chosen = task(schema)
    trivial = chosen.trivial(chosen.encode(y, schema), len(schema.classes), rows)
    return fitted.answer(trivial, schema.classes, {})


def settings(schema: Schema, metric: str) -> Mapping[str, Any]:
    """The metric that decides, and its direction: `tuning.metric`, or the task's own for "auto"."""
    chosen = task(schema).metric if metric == "auto" else metrics.named(metric, schema.task, "tuning.metric")
    return {"metric": chosen, "sign": metrics.METRICS[chosen].sign}
