"""What training is about, as values: a `Candidate` that is tried, the `Job` that all of them share, and what
comes of it: a `Part` for each fold, and the `Result` of all.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray
from threadpoolctl import ThreadpoolController

from keepfit import engine
from keepfit.features.values import Columns
from keepfit.models import metrics, threshold
from keepfit.models.fitted import Floats
from keepfit.models.tasks import Task
from keepfit.types import Schema

Ints = NDArray[np.integer[Any]]
Fold = tuple[Ints, Ints]
Tell = Callable[[float, float, str, str | None], None]  # done, total, message, the best score so far


@dataclass(frozen=True)
class Candidate:
    """An estimator of the catalogue with parameters; `link` names what the regression target went through."""

    name: str
    parameters: Mapping[str, Any] = field(default_factory=dict)
    label: str = ""
    balanced: bool = False
    link: str = "identity"

    @property
    def title(self) -> str:
        return self.label or self.name


@dataclass
class Job:
    """What all candidates share. `y` is the encoded target, (n,)."""

    columns: Columns
    schema: Schema
    task: Task
    y: NDArray[Any]
    truth: NDArray[Any]
    folds: Sequence[Fold]
    metric: str
    seed: int
    select: Mapping[str, Any] | None = None
    stop: threading.Event = field(default_factory=threading.Event)
    deadline: float = float("inf")
    tell: Tell = lambda done, total, message, best: None
    cache: dict[Any, Any] = field(default_factory=dict)
    map: Callable[..., list[Any]] = engine.local  # of the ENGINES: how folds are spread
    options: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)  # role → options over those of every style

    @property
    def count(self) -> int:
        """Number of classes; 0 in a regression."""
        return len(self.schema.classes)

    @property
    def sign(self) -> int:
        """+1 if a higher metric is better, else -1."""
        return metrics.METRICS[self.metric].sign

    @cached_property
    def held_out(self) -> NDArray[np.bool_]:
        """The rows that some fold holds out."""
        rows = np.zeros(len(self.y), bool)
        for _, valid in self.folds:
            rows[valid] = True
        return rows

    @cached_property
    def threads(self) -> ThreadpoolController:
        return ThreadpoolController()

    def score(self, scores: Floats, rows: Any = slice(None)) -> float:
        """The metric of scores on rows; a metric that a threshold moves is taken at its best one."""
        truth = self.y[rows]
        if self.metric in threshold.TUNED and self.count == 2:
            return threshold.best(scores[:, 1], truth == 1, threshold.METRICS[self.metric])[1]
        given = self.task.judged(truth, scores, self.count)
        if not len(given.truth):
            return float("nan")
        return float(metrics.METRICS[self.metric].function(given, np.ones((1, len(given.truth))))[0])

    def loss(self, scores: Floats, rows: Any = slice(None)) -> float:
        """Lower is better; infinite where the metric is not defined."""
        value = -self.sign * self.score(scores, rows)
        return value if np.isfinite(value) else float("inf")


@dataclass(frozen=True)
class Part:
    """One fold of one candidate: its estimator, feature state and scores of the held-out rows."""

    estimator: Any
    state: Mapping[str, Any]
    scores: Floats  # or margins, before they are calibrated
    complete: bool  # the training rows had all classes
    cut: bool = False  # time was up before it was done


@dataclass(frozen=True)
class Result:
    """A cross-validated candidate. `scores` are (n, …), NaN in rows that no fold held out."""

    candidate: Candidate
    parts: tuple[Part, ...]
    scores: Floats
    value: float
    fold_values: tuple[float, ...]
    seconds: float
    calibration: tuple[float, float] | None = None  # of margins: slope and offset

    @property
    def sd(self) -> float:
        """Standard deviation of the metric over the folds."""
        return float(np.nanstd(self.fold_values)) if len(self.fold_values) > 1 else 0.0

    @property
    def cut(self) -> bool:
        return any(part.cut for part in self.parts)
