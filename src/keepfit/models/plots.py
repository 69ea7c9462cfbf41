"""Small pictures of how a model answers, as SVG files that are written here, point by point.

A plotting library takes longer to import and to draw these six than all the figures in them take.
"""

from __future__ import annotations

import html
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from keepfit.extras import load
from keepfit.models import metrics
from keepfit.models.evaluate import confusion
from keepfit.models.fitted import Floats, Output
from keepfit.models.metrics import Answers
from keepfit.types import Schema

if TYPE_CHECKING:
    import polars as pl

POINTS = 200  # of a curve
CLASSES = 12  # of a confusion matrix with names and counts; more are drawn as colours alone
CURVES = 6  # classes that get a curve of their own
DOTS = 2000  # of a scatter
BINS = 10  # of a calibration curve
BARS = 40  # of a histogram
COLOURS = ("#2b6cb0", "#dd6b20", "#2f855a", "#b83280", "#6b46c1", "#975a16")
SOFT = "#888888"
WIDTH, HEIGHT, WIDE = 400, 340, 860  # of a picture; the width of one that follows time
MARGIN = 12
LEFT, RIGHT, TOP, BOTTOM = 62, WIDTH - MARGIN, 30, 292  # the frame that is drawn into
LETTER = 6.2  # about as wide as a letter


def _head(width: int) -> str:
    return (
        f"<svg xmlns='http://www.w3.org/2000/svg' viewBox='0 0 {width} {HEIGHT}' width='{width}' height='{HEIGHT}' "
        "font-family='sans-serif' font-size='11'><rect width='100%' height='100%' fill='white'/>"
    )


class Line(NamedTuple):
    """Points joined by a line; `label` stands in the legend. `kind`: line, dotted, marked, dots (not joined), and
    band (the area within)."""

    x: Floats
    y: Floats
    label: str = ""
    colour: str = SOFT
    kind: str = "line"


class Axes(NamedTuple):
    """What is at the ends of the frame, and the names of the axes and the picture. `marks` are what is written where
    below it; without any, round numbers."""

    x: tuple[float, float]
    y: tuple[float, float]
    across: str
    upward: str
    title: str
    marks: Sequence[tuple[float, str]] = ()
    width: int = WIDTH

    @property
    def right(self) -> int:
        return self.width - MARGIN


def draw(
    y: NDArray[Any], output: Output, schema: Schema, folder: Path, known: pl.DataFrame, asked: pl.DataFrame
) -> list[Path]:
    """Draw what the task has into `folder`, which is made; the files, each under 100 kB.

    `known` and `asked` are the conformed training and test rows, the latter those of `y` and `output`.
    """
    folder.mkdir(parents=True, exist_ok=True)
    drawn = []
    for name, picture in load(PLANS[schema.task], "task")(y, output, schema, known, asked):
        path = folder / f"{name}.svg"
        path.write_text(picture, encoding="utf-8")
        drawn.append(path)
    return drawn


def of_rows(y: NDArray[Any], output: Output, schema: Schema, *frames: Any) -> Iterator[tuple[str, str]]:
    """Names and SVGs of the pictures of classes, or of values."""
    given = metrics.answers(y, output, schema.classes)
    for name, picture in (CLASSIFICATION if schema.classes else REGRESSION).items():
        if given.probabilities is not None or picture not in (_roc, _pr, _calibration):
            yield name, picture(given, y, output, schema.classes)


# --- a chart ----------------------------------------------------------------------------------------


def chart(axes: Axes, lines: Sequence[Line], bars: Floats | None = None) -> str:
    """A chart as SVG. `bars` are the heights of a histogram whose bins fill the width."""
    across, upward = _scale(axes.x, LEFT, axes.right), _scale(axes.y, BOTTOM, TOP)
    parts = [_head(axes.width), _grid(axes, across, upward)]
    if bars is not None:
        edges = np.linspace(LEFT, axes.right, len(bars) + 1)
        places = zip(edges[:-1], edges[1:], upward(bars), strict=True)
        steps = "".join(f"M{a:.1f} {BOTTOM}V{t:.1f}H{b:.1f}V{BOTTOM}z" for a, b, t in places)
        parts.append(f"<path d='{steps}' fill='{COLOURS[0]}' stroke='white' stroke-width='0.5'/>")
    parts += [_line(line, across(line.x), upward(line.y)) for line in lines]
    named = [line for line in lines if line.label]
    parts.append(_legend(named) if axes.width == WIDTH else _legend_above(named, axes.right))
    return "".join(parts) + "</svg>\n"


def _scale(ends: tuple[float, float], start: float, end: float) -> Callable[[Any], Floats]:
    low, high = ends
    span = high - low or 1.0
    return lambda values: start + (np.clip(np.asarray(values, np.float64), low, high) - low) / span * (end - start)


def ticks(low: float, high: float, count: int = 5) -> list[float]:
    """About `count` round numbers from `low` to `high`.

    >>> ticks(0, 1)
    [0.0, 0.2, 0.4, 0.6, 0.8, 1.0]
    >>> ticks(-3.0, 12.5)
    [0.0, 5.0, 10.0]
    """
    rough = (high - low) / count
    if not math.isfinite(rough) or rough <= 0:
        return [low]
    unit = 10.0 ** math.floor(math.log10(rough))
    step = next(unit * k for k in (1, 2, 2.5, 5, 10) if unit * k >= rough * 0.999)
    first, last = math.ceil(low / step - 1e-9), math.floor(high / step + 1e-9)
    return [float(f"{k * step:.12g}") for k in range(first, last + 1)]


def _grid(axes: Axes, across: Callable[[Any], Floats], upward: Callable[[Any], Floats]) -> str:
    """Grid, frame, numbers, names."""
    marks, up = axes.marks or [(value, f"{value:.6g}") for value in ticks(*axes.x)], ticks(*axes.y)
    places = across([value for value, _ in marks])
    lines = "".join(f"M{x:.1f} {TOP}V{BOTTOM}" for x in places)
    lines += "".join(f"M{LEFT} {y:.1f}H{axes.right}" for y in upward(up))
    numbers = [_text(x, BOTTOM + 15, told) for x, (_, told) in zip(places, marks, strict=True)]
    numbers += [_text(LEFT - 5, y + 4, f"{v:.6g}", "end") for y, v in zip(upward(up), up, strict=True)]
    middle, centre = (TOP + BOTTOM) / 2, (LEFT + axes.right) / 2
    title = (centre, TOP - 11, axes.title) if axes.width == WIDTH else (LEFT, TOP - 11, axes.title, "start")
    return (
        f"<path d='{lines}' stroke='#dddddd' fill='none'/>"
        f"<path d='M{LEFT} {TOP}H{axes.right}V{BOTTOM}H{LEFT}z' stroke='black' fill='none' stroke-width='0.8'/>"
        f"{''.join(numbers)}{_text(centre, BOTTOM + 35, axes.across)}"
        f"<g transform='rotate(-90 14 {middle:.0f})'>{_text(14, middle, axes.upward)}</g>"
        f"<g font-size='13'>{_text(*title)}</g>"
    )


def _text(x: float, y: float, text: str, anchor: str = "middle", colour: str = "black") -> str:
    return f"<text x='{x:.1f}' y='{y:.1f}' text-anchor='{anchor}' fill='{colour}'>{html.escape(text)}</text>"


def _line(line: Line, x: Floats, y: Floats) -> str:
    spots = "".join(f"M{a:.1f} {b:.1f}h0" for a, b in zip(x, y, strict=True))
    if line.kind == "dots":
        return (
            f"<path d='{spots}' stroke='{line.colour}' stroke-width='2' stroke-linecap='round' stroke-opacity='0.5'/>"
        )
    points = " ".join(f"{a:.1f},{b:.1f}" for a, b in zip(x, y, strict=True))
    if line.kind == "band":
        return f"<polygon points='{points}' fill='{line.colour}' fill-opacity='0.18'/>"
    dashes = " stroke-dasharray='2 3'" if line.kind == "dotted" else ""
    drawn = f"<polyline points='{points}' stroke='{line.colour}' fill='none' stroke-width='1.5'{dashes}/>"
    if line.kind == "marked":
        drawn += f"<path d='{spots}' stroke='{line.colour}' stroke-width='5' stroke-linecap='round'/>"
    return drawn


def _legend(lines: Sequence[Line]) -> str:
    """Names beside their colours, where there are several."""
    if len(lines) < 2:
        return ""
    rows = [
        f"<path d='M{RIGHT - 16} {BOTTOM - 10 - 14 * k}h10' stroke='{line.colour}' stroke-width='3'/>"
        + _text(RIGHT - 22, BOTTOM - 6 - 14 * k, _short(line.label), "end")
        for k, line in enumerate(reversed(lines))
    ]
    return "".join(rows)


def _legend_above(lines: Sequence[Line], right: float) -> str:
    """Names beside their colours in one row over the frame, so that nothing is covered."""
    parts, x = [], right
    for line in reversed(lines):
        faint = " stroke-opacity='0.3'" if line.kind == "band" else ""
        parts.append(_text(x, TOP - 11, line.label, "end"))
        x -= LETTER * len(line.label) + 5
        parts.append(f"<path d='M{x - 12:.1f} {TOP - 15}h12' stroke='{line.colour}' stroke-width='5'{faint}/>")
        x -= 28
    return "".join(parts)


def _short(name: str, longest: int = 14) -> str:
    return name if len(name) <= longest else f"{name[: longest - 1]}…"


# --- the pictures -----------------------------------------------------------------------------------


def _confusion(given: Answers, y: NDArray[Any], output: Output, classes: tuple[str, ...]) -> str:
    counts = np.array(confusion(y, output, classes)["counts"])
    shares = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    left = LEFT + 36  # names of classes are longer than numbers
    wide, high = (RIGHT - left) / len(classes), (BOTTOM - TOP) / len(classes)
    parts = [_head(WIDTH), f"<g font-size='13'>{_text((left + RIGHT) / 2, TOP - 11, 'Confusion matrix (rows)')}</g>"]
    named = len(classes) <= CLASSES
    for (i, j), count in np.ndenumerate(counts):
        x, top, share = left + j * wide, TOP + i * high, float(shares[i, j])
        place = f"x='{x:.1f}' y='{top:.1f}' width='{wide:.1f}' height='{high:.1f}'"
        parts.append(f"<rect {place} fill='{COLOURS[0]}' fill-opacity='{share:.3f}'/>")
        if named:
            parts.append(
                _text(x + wide / 2, top + high / 2 + 4, f"{count:,}", colour="white" if share > 0.5 else "black")
            )
    parts += [
        _class(name, left + (k + 0.5) * wide, TOP + (k + 0.5) * high, left, len(classes) > 3)
        for k, name in enumerate(classes if named else ())
    ]
    frame = f"<path d='M{left} {TOP}H{RIGHT}V{BOTTOM}H{left}z' stroke='black' fill='none' stroke-width='0.8'/>"
    upward = f"<g transform='rotate(-90 12 {(TOP + BOTTOM) / 2})'>{_text(12, (TOP + BOTTOM) / 2, 'true')}</g>"
    return "".join(parts) + frame + _text((left + RIGHT) / 2, HEIGHT - 4, "predicted") + upward + "</svg>\n"


def _class(name: str, x: float, y: float, left: float, turned: bool) -> str:
    """A class named beside its row and below its column."""
    beside = _text(left - 6, y + 4, _short(name, 12), "end")
    if not turned:
        return beside + _text(x, BOTTOM + 15, _short(name))
    below = _text(x + 4, BOTTOM + 12, _short(name, 9), "end")
    return f"{beside}<g transform='rotate(-30 {x:.1f} {BOTTOM + 12})'>{below}</g>"


def _each(given: Answers, classes: tuple[str, ...]) -> list[tuple[str, str, Floats, Floats]]:
    """Of each class with a curve: its name, colour, positives by falling probability, and rows so far."""
    found: list[tuple[str, str, Floats, Floats]] = []
    for colour, (k, order, starts) in zip(COLOURS, given.ranked[:CURVES], strict=False):
        ends = np.append(starts[1:], len(order)) - 1
        positive = np.cumsum(given.hits[order, k], dtype=np.float64)[ends]
        if 0 < positive[-1] < len(order):
            found.append((classes[k], colour, positive, ends + 1.0))
    return found


def _thin(x: Floats, y: Floats) -> tuple[Floats, Floats]:
    if len(x) <= POINTS:
        return x, y
    picked = np.unique(np.linspace(0, len(x) - 1, POINTS).round().astype(int))
    return x[picked], y[picked]


DIAGONAL = Line(np.array([0.0, 1.0]), np.array([0.0, 1.0]), kind="dotted")


def _roc(given: Answers, y: NDArray[Any], output: Output, classes: tuple[str, ...]) -> str:
    lines = [DIAGONAL]
    for name, colour, positive, rows in _each(given, classes):
        false = (rows - positive) / (rows[-1] - positive[-1])
        x, true = _thin(np.append(0, false), np.append(0, positive / positive[-1]))
        lines.append(Line(x, true, name, colour))
    return chart(Axes((0, 1), (0, 1), "false positive rate", "true positive rate", "ROC"), lines)


def _pr(given: Answers, y: NDArray[Any], output: Output, classes: tuple[str, ...]) -> str:
    lines = []
    for name, colour, positive, rows in _each(given, classes):
        share = positive[-1] / rows[-1]
        lines.append(Line(np.array([0.0, 1.0]), np.array([share, share]), kind="dotted"))
        lines.append(Line(*_thin(positive / positive[-1], positive / rows), name, colour))
    return chart(Axes((0, 1), (0, 1), "recall", "precision", "Precision and recall"), lines)


def _calibration(given: Answers, y: NDArray[Any], output: Output, classes: tuple[str, ...]) -> str:
    assert given.probabilities is not None
    lines = [DIAGONAL]
    for colour, (k, _, _) in zip(COLOURS, given.ranked[:CURVES], strict=False):
        probabilities = given.probabilities[:, k]
        edges = np.unique(np.quantile(probabilities, np.linspace(0, 1, BINS + 1)))
        place = np.searchsorted(edges[1:-1], probabilities, side="right")
        counts = np.bincount(place)
        there = counts > 0
        said = np.bincount(place, probabilities)[there] / counts[there]
        came = np.bincount(place, given.truth == k)[there] / counts[there]
        lines.append(Line(said, came, classes[k], colour, "marked"))
    return chart(Axes((0, 1), (0, 1), "predicted probability", "share that came true", "Calibration"), lines)


def _predicted(given: Answers, y: NDArray[Any], output: Output, classes: tuple[str, ...]) -> str:
    rows = np.unique(np.linspace(0, len(y) - 1, min(DOTS, len(y))).round().astype(int))
    said, true = given.picked[rows], given.truth[rows]
    ends = np.array([given.picked.min(), given.picked.max()])
    dots = Line(said, true, colour=COLOURS[0], kind="dots")
    axes = Axes(room(said), room(true), "predicted", "true", "Predicted and true values")
    return chart(axes, [dots, Line(ends, ends, kind="dotted")])


def room(values: Floats) -> tuple[float, float]:
    """The range of values with a little room on both sides."""
    low, high = float(values.min()), float(values.max())
    room = 0.03 * (high - low) or 0.5
    return low - room, high + room


def _residuals(given: Answers, y: NDArray[Any], output: Output, classes: tuple[str, ...]) -> str:
    residuals = given.truth - given.picked
    low, high = np.quantile(residuals, [0.005, 0.995])
    ends = (float(low), float(high)) if high > low else (float(low) - 0.5, float(low) + 0.5)
    counts, _ = np.histogram(np.clip(residuals, *ends), BARS, ends)
    top = float(counts.max()) * 1.05
    lines = []
    if output.low is not None and output.high is not None:
        half = float(np.median(output.high - output.low)) / 2
        inside = [edge for edge in (-half, half) if ends[0] <= edge <= ends[1]]
        lines = [Line(np.array([edge, edge]), np.array([0.0, top]), kind="dotted") for edge in inside]
    across = "true - predicted (dotted: the interval)"
    return chart(Axes(ends, (0.0, top), across, "rows", "Residuals"), lines, counts)


Picture = Callable[[Answers, NDArray[Any], Output, tuple[str, ...]], str]
CLASSIFICATION: dict[str, Picture] = {
    "confusion": _confusion,
    "roc": _roc,
    "precision_recall": _pr,
    "calibration": _calibration,
}
REGRESSION: dict[str, Picture] = {"predicted": _predicted, "residuals": _residuals}
# task → the function that draws its pictures
PLANS: Mapping[str, str] = {
    "classification": "keepfit.models.plots:of_rows",
    "regression": "keepfit.models.plots:of_rows",
    "forecast": "keepfit.models.series.pictures:draw",
}
