"""The figures of a pass, flat: what Prometheus and MLflow are told of the JSON that a pass writes.

>>> found = {"performance": {"accuracy": {"value": 0.91, "low": 0.88, "high": None}}, "estimated": {}, "columns": [],
...          "window": {"rows": 500, "labelled": 80}, "outcome": "healthy", "alarms": []}
>>> [(f.family, f.labels, f.value) for f in figures(found)][:2]
[('rows', (), 500.0), ('labelled_rows', (), 80.0)]
>>> [named(f) for f in figures(found) if f.family == "performance"]
['performance.accuracy.value', 'performance.accuracy.low']
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

# family → what it tells, and the names of its labels
FAMILIES: Mapping[str, tuple[str, tuple[str, ...]]] = {
    "rows": ("Rows in the window of the last monitoring pass.", ()),
    "labelled_rows": ("Rows of the window whose label is known.", ()),
    "healthy": ("1 when the last monitoring pass found nothing wrong, 0 when it did; absent: not checked.", ()),
    "open_alarms": ("Alarms that are open.", ()),
    "performance": ("Measured with labels that arrived, with its interval.", ("metric", "bound")),
    "performance_by_step": ("Measured of forecasts, by steps ahead.", ("step", "metric", "bound")),
    "seasonal_naive": ("What seasonal naive has on the rows of which it is known.", ("metric",)),
    "season_shift": ("Share of the usual season that stands in the errors of forecasts.", ()),
    "estimated_performance": ("Estimated without labels, with its interval; absent: cannot tell.", ("metric", "bound")),
    "drift": ("How far a column has moved since training, by measure.", ("column", "measure")),
    "share": ("Share of rows whose value is missing, unseen or outside the training range.", ("column", "kind")),
}
BOUNDS = ("value", "low", "high")
SHIFT = "season: shifted"  # the check whose value is told
MEASURES = ("psi", "js", "ks", "p", "moved")
KINDS = ("missing", "unseen", "outside")
OUTCOMES = {"healthy": 1.0, "unhealthy": 0.0}


class Figure(NamedTuple):
    """A number of a family of FAMILIES, with a value for each of its labels."""

    family: str
    labels: tuple[str, ...]
    value: float


def figures(found: Mapping[str, Any]) -> Iterator[Figure]:
    """Every finite number of a pass."""
    for family, labels, value in _all(found):
        if isinstance(value, (int, float)) and math.isfinite(value):
            yield Figure(family, labels, float(value))


def _all(found: Mapping[str, Any]) -> Iterator[tuple[str, tuple[str, ...], Any]]:
    yield "rows", (), found["window"]["rows"]
    yield "labelled_rows", (), found["window"]["labelled"]
    yield "healthy", (), OUTCOMES.get(found["outcome"])
    yield "open_alarms", (), len(found["alarms"])
    for family, part in (("performance", "performance"), ("estimated_performance", "estimated")):
        for metric, value in found[part].items():
            yield from ((family, (metric, bound), value.get(bound)) for bound in BOUNDS)
    yield from _of_forecasts(found)
    for column in found["columns"]:
        yield from (("drift", (column["name"], measure), column.get(measure)) for measure in MEASURES)
        yield from (("share", (column["name"], kind), column.get(kind)) for kind in KINDS)


def _of_forecasts(found: Mapping[str, Any]) -> Iterator[tuple[str, tuple[str, ...], Any]]:
    """What is told of forecasts alone; nothing of other tasks."""
    for run in found.get("steps", ()):
        for metric, one in run.items():
            if isinstance(one, Mapping):
                yield from (("performance_by_step", (run["step"], metric, bound), one.get(bound)) for bound in BOUNDS)
        yield "performance_by_step", (run["step"], "naive_mase", "value"), run.get("naive")
    for one in found.get("naive", ()):
        yield "seasonal_naive", (one["metric"],), one["naive"]
    checks = found.get("verdicts", {}).get("performance", {}).get("checks", ())
    yield from (("season_shift", (), check["value"]) for check in checks if check["name"] == SHIFT)


def named(figure: Figure) -> str:
    """One name for a figure with its labels.

    >>> named(Figure("drift", ("age", "psi"), 0.1))
    'drift.age.psi'
    """
    return ".".join((figure.family, *figure.labels))
