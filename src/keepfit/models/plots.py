"""Small pictures of how a model answers, as SVG files, through matplotlib's objects (no pyplot state)."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray

from keepfit.models import metrics
from keepfit.models.evaluate import confusion
from keepfit.models.fitted import Floats, Output
from keepfit.models.metrics import Answers
from keepfit.types import Schema

POINTS = 200  # of a curve
CLASSES = 12  # of a confusion matrix with names and counts; more are drawn as colours alone
CURVES = 6  # classes that get a curve of their own
DOTS = 2000  # of a scatter
BINS = 10  # of a calibration curve
STYLE = {"font.size": 8, "svg.fonttype": "none", "svg.hashsalt": "keepfit", "axes.grid": True, "grid.alpha": 0.3}
METADATA = {"Date": None, "Creator": None}  # the same answers make the same file
BLUE = "#2b6cb0"
SOFT = "#888888"


def draw(y: NDArray[Any], output: Output, schema: Schema, folder: Path) -> list[Path]:
    """Draw what the task has into `folder`, which is made; the files, each under 100 kB."""
    folder.mkdir(parents=True, exist_ok=True)
    given = metrics.answers(y, output, schema.classes)
    plan = CLASSIFICATION if schema.classes else REGRESSION
    drawn = []
    with matplotlib.rc_context(STYLE):
        for name, picture in plan.items():
            if given.probabilities is None and picture in (_roc, _pr, _calibration):
                continue
            figure = Figure(figsize=(4.2, 3.6), layout="constrained")
            picture(figure.add_subplot(), given, y, output, schema.classes)
            path = folder / f"{name}.svg"
            figure.savefig(path, metadata=METADATA)
            drawn.append(path)
    return drawn


def _confusion(axes: Any, given: Answers, y: NDArray[Any], output: Output, classes: tuple[str, ...]) -> None:
    counts = np.array(confusion(y, output, classes)["counts"])
    shares = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    axes.imshow(shares, cmap="Blues", vmin=0, vmax=1)
    axes.grid(False)
    axes.set(xlabel="predicted", ylabel="true", title="Confusion matrix (rows)")
    if len(classes) > CLASSES:
        return
    names = [name if len(name) <= 14 else f"{name[:13]}…" for name in classes]
    axes.set_xticks(range(len(names)), names, rotation=0 if len(names) < 4 else 60)
    axes.set_yticks(range(len(names)), names)
    for i, row in enumerate(counts):
        for j, count in enumerate(row):
            axes.text(j, i, f"{count:,}", ha="center", va="center", color="white" if shares[i, j] > 0.5 else "black")


def _each(given: Answers, classes: tuple[str, ...]) -> list[tuple[str, Floats, Floats]]:
    """Of each class with a curve: its name, positives by falling probability, and their number so far."""
    found: list[tuple[str, Floats, Floats]] = []
    for k, order, starts in given.ranked[:CURVES]:
        ends = np.append(starts[1:], len(order)) - 1
        positive = np.cumsum(given.hits[order, k], dtype=np.float64)[ends]
        if 0 < positive[-1] < len(order):
            found.append((classes[k], positive, ends + 1.0))
    return found


def _thin(x: Floats, y: Floats) -> tuple[Floats, Floats]:
    if len(x) <= POINTS:
        return x, y
    picked = np.unique(np.linspace(0, len(x) - 1, POINTS).round().astype(int))
    return x[picked], y[picked]


def _roc(axes: Any, given: Answers, y: NDArray[Any], output: Output, classes: tuple[str, ...]) -> None:
    for name, positive, rows in _each(given, classes):
        false = (rows - positive) / (rows[-1] - positive[-1])
        axes.plot(*_thin(np.append(0, false), np.append(0, positive / positive[-1])), label=name, linewidth=1.2)
    axes.plot([0, 1], [0, 1], color=SOFT, linestyle=":", linewidth=1)
    axes.set(xlabel="false positive rate", ylabel="true positive rate", title="ROC")
    _legend(axes)


def _pr(axes: Any, given: Answers, y: NDArray[Any], output: Output, classes: tuple[str, ...]) -> None:
    for name, positive, rows in _each(given, classes):
        axes.plot(*_thin(positive / positive[-1], positive / rows), label=name, linewidth=1.2)
        axes.axhline(positive[-1] / rows[-1], color=SOFT, linestyle=":", linewidth=1)
    axes.set(xlabel="recall", ylabel="precision", title="Precision and recall", ylim=(0, 1.02))
    _legend(axes)


def _calibration(axes: Any, given: Answers, y: NDArray[Any], output: Output, classes: tuple[str, ...]) -> None:
    assert given.probabilities is not None
    for k, _, _ in given.ranked[:CURVES]:
        probabilities = given.probabilities[:, k]
        edges = np.unique(np.quantile(probabilities, np.linspace(0, 1, BINS + 1)))
        place = np.searchsorted(edges[1:-1], probabilities, side="right")
        counts = np.bincount(place)
        there = counts > 0
        said = np.bincount(place, probabilities)[there] / counts[there]
        came = np.bincount(place, given.truth == k)[there] / counts[there]
        axes.plot(said, came, marker="o", markersize=3, linewidth=1, label=classes[k])
    axes.plot([0, 1], [0, 1], color=SOFT, linestyle=":", linewidth=1)
    axes.set(xlabel="predicted probability", ylabel="share that came true", title="Calibration")
    _legend(axes)


def _predicted(axes: Any, given: Answers, y: NDArray[Any], output: Output, classes: tuple[str, ...]) -> None:
    rows = _some(len(y))
    axes.plot(given.picked[rows], given.truth[rows], ".", markersize=2, alpha=0.5, color=BLUE, rasterized=True)
    ends = [float(given.picked.min()), float(given.picked.max())]
    axes.plot(ends, ends, color=SOFT, linestyle=":", linewidth=1)
    axes.set(xlabel="predicted", ylabel="true", title="Predicted and true values")


def _residuals(axes: Any, given: Answers, y: NDArray[Any], output: Output, classes: tuple[str, ...]) -> None:
    residuals = given.truth - given.picked
    low, high = np.quantile(residuals, [0.005, 0.995])
    axes.hist(np.clip(residuals, low, high), bins=40, color=BLUE)
    if output.low is not None and output.high is not None:
        half = float(np.median(output.high - output.low)) / 2
        for edge in (-half, half):
            axes.axvline(edge, color=SOFT, linestyle=":", linewidth=1)
    axes.set(xlabel="true - predicted (dotted: the interval)", ylabel="rows", title="Residuals")


def _some(rows: int) -> NDArray[np.intp]:
    return np.unique(np.linspace(0, rows - 1, min(DOTS, rows)).round().astype(int))


def _legend(axes: Any) -> None:
    if len(axes.get_legend_handles_labels()[0]) > 1:
        axes.legend(fontsize=6)


Picture = Callable[[Any, Answers, NDArray[Any], Output, tuple[str, ...]], None]
CLASSIFICATION: dict[str, Picture] = {
    "confusion": _confusion,
    "roc": _roc,
    "precision_recall": _pr,
    "calibration": _calibration,
}
REGRESSION: dict[str, Picture] = {"predicted": _predicted, "residuals": _residuals}
