"""Pictures of the evaluation as small SVG files, through matplotlib's objects: no global state, no display."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.figure import Figure
from numpy.typing import NDArray

from keepfit.models import metrics
from keepfit.models.fitted import Output
from keepfit.types import Schema

SIZE = (4.2, 3.4)  # inches
POINTS = 400  # of a curve, and dots of a scatter: more are not seen, but make the file large
BINS = 10  # of the calibration curve
MOST_CLASSES = 12  # curves and cells that can still be told apart
BLUE, GREY = "#175cd3", "#98a2b3"
METADATA = {"Date": None, "Creator": None}  # the same plot is the same file


def draw(y: NDArray[Any], output: Output, schema: Schema, folder: Path) -> list[Path]:
    """Write the task's plots into `folder` (made if absent); the files, by name.

    Classification: confusion, and with probabilities roc, precision_recall, calibration. Regression:
    predicted, residuals.
    """
    folder.mkdir(parents=True, exist_ok=True)
    given = metrics.answers(y, output, schema.classes)
    written = []
    for name, plot in PLOTS[schema.task].items():
        figure = Figure(figsize=SIZE, layout="constrained")
        if plot(figure.add_subplot(), given, schema.classes):
            path = folder / f"{name}.svg"
            FigureCanvasSVG(figure).print_svg(path, metadata=METADATA)
            written.append(path)
    return sorted(written)


def confusion(axes: Any, given: metrics.Answers, classes: tuple[str, ...]) -> bool:
    """Rows by true and predicted label, shaded by the share of the true label."""
    if len(classes) > MOST_CLASSES:
        return False
    known = given.truth >= 0
    counts = np.zeros((len(classes), len(classes)), int)
    np.add.at(counts, (given.truth[known], given.picked[known]), 1)
    shares = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    axes.imshow(shares, cmap="Blues", vmin=0, vmax=1)
    for (row, column), count in np.ndenumerate(counts):
        colour = "white" if shares[row, column] > 0.6 else "black"
        axes.text(column, row, f"{count:,}", ha="center", va="center", color=colour, fontsize=9)
    places = range(len(classes))
    short = [name if len(name) <= 14 else f"{name[:13]}…" for name in classes]
    axes.set_xticks(places, short, rotation=30 if len(classes) > 3 else 0)
    axes.set_yticks(places, short)
    axes.set(xlabel="predicted", ylabel="true", title="Confusion")
    return True


def _curves(given: metrics.Answers) -> list[tuple[int, NDArray[Any], NDArray[Any]]]:
    """Of each scored class: its number, true and false positives as the threshold falls."""
    found = []
    for k, order, starts in given.ranked:
        ends = np.append(starts[1:], len(order)) - 1
        hits = given.truth[order] == k
        found.append((k, np.cumsum(hits)[ends], np.cumsum(~hits)[ends]))
    return found


def _label(k: int, classes: tuple[str, ...]) -> str | None:
    return classes[k] if len(classes) > 2 else None


def _some(*curves: NDArray[Any]) -> list[NDArray[Any]]:
    """At most POINTS points of curves of equal length, the ends among them."""
    places = np.unique(np.linspace(0, len(curves[0]) - 1, POINTS).astype(int))
    return [curve[places] for curve in curves]


def roc(axes: Any, given: metrics.Answers, classes: tuple[str, ...]) -> bool:
    """True against false positive rate."""
    if given.probabilities is None or len(classes) > MOST_CLASSES:
        return False
    axes.plot([0, 1], [0, 1], color=GREY, linestyle=":", linewidth=1)
    for k, true, false in _curves(given):
        across, up = (np.append(0, part) / max(part[-1], 1) for part in (false, true))
        axes.plot(*_some(across, up), label=_label(k, classes), color=BLUE if len(classes) == 2 else None)
    axes.set(xlabel="false positive rate", ylabel="true positive rate", title="ROC")
    return _legend(axes, classes)


def precision_recall(axes: Any, given: metrics.Answers, classes: tuple[str, ...]) -> bool:
    """Precision against recall."""
    if given.probabilities is None or len(classes) > MOST_CLASSES:
        return False
    for k, true, false in _curves(given):
        across, up = true / max(true[-1], 1), true / (true + false)
        axes.plot(*_some(across, up), label=_label(k, classes), color=BLUE if len(classes) == 2 else None)
    axes.set(xlabel="recall", ylabel="precision", title="Precision and recall", ylim=(0, 1.03))
    return _legend(axes, classes)


def calibration(axes: Any, given: metrics.Answers, classes: tuple[str, ...]) -> bool:
    """How often the predicted label is right, against how sure the model was; bins of equal size."""
    if given.probabilities is None:
        return False
    two = len(classes) == 2
    sure = given.probabilities[:, 1] if two else given.probabilities.max(axis=1)
    right = given.truth == (1 if two else given.probabilities.argmax(axis=1))
    parts = [part for part in np.array_split(np.argsort(sure, kind="stable"), BINS) if len(part)]
    axes.plot([0, 1], [0, 1], color=GREY, linestyle=":", linewidth=1)
    axes.plot([sure[part].mean() for part in parts], [right[part].mean() for part in parts], "o-", color=BLUE)
    what = f"probability of {classes[1]}" if two else "probability of the predicted label"
    axes.set(xlabel=what, ylabel="observed share", title="Calibration")
    return True


def _legend(axes: Any, classes: tuple[str, ...]) -> bool:
    if len(classes) > 2:
        axes.legend(fontsize=7, frameon=False)
    return True


def _dots(count: int) -> NDArray[Any]:
    return np.unique(np.linspace(0, count - 1, min(count, POINTS)).astype(int))


def predicted(axes: Any, given: metrics.Answers, classes: tuple[str, ...]) -> bool:
    """Predicted against true values, of rows spread evenly."""
    rows = _dots(len(given.truth))
    true, said = given.truth[rows], given.picked[rows]
    ends = [min(true.min(), said.min()), max(true.max(), said.max())]
    axes.plot(ends, ends, color=GREY, linestyle=":", linewidth=1)
    axes.scatter(true, said, s=8, alpha=0.5, color=BLUE, linewidths=0)
    axes.set(xlabel="true", ylabel="predicted", title="Predicted and true")
    return True


def residuals(axes: Any, given: metrics.Answers, classes: tuple[str, ...]) -> bool:
    """How many rows the model missed by how much; the outermost half per cent is left out."""
    missed = given.truth - given.picked
    inside = np.quantile(missed, [0.005, 0.995])
    axes.hist(missed, bins=40, range=tuple(inside) if inside[0] < inside[1] else None, color=BLUE)
    axes.axvline(0, color=GREY, linestyle=":", linewidth=1)
    axes.set(xlabel="true minus predicted", ylabel="rows", title="Residuals")
    return True


Plot = Callable[[Any, metrics.Answers, tuple[str, ...]], bool]
PLOTS: Mapping[str, Mapping[str, Plot]] = {
    "classification": {
        "calibration": calibration,
        "confusion": confusion,
        "precision_recall": precision_recall,
        "roc": roc,
    },
    "regression": {"predicted": predicted, "residuals": residuals},
}
