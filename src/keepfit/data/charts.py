"""Small charts as SVG text, drawn with the colours of the page around them.

Every chart is a plain string without scripts, identifiers or outside references, of one to three
kilobytes, so that hundreds of them fit into one page.

>>> svg = histogram(np.array([[1, 2, 4]]), "0", "9")
>>> svg.startswith("<svg"), svg.count("<path"), len(svg) < 500
(True, 1, True)
"""

from __future__ import annotations

import html
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

WIDTH, HEIGHT = 260.0, 84.0
ROW = 17.0  # height of a bar with its label
LABEL = 0.4  # share of the width that labels beside bars take
COLOURS = 4  # series that have a colour of their own: --c0 … --c3

Floats = NDArray[np.float64]


def escape(text: object, longest: int = 80) -> str:
    """Text for HTML: escaped, on one line, and cut."""
    line = " ".join(str(text)[: 4 * longest].split())
    return html.escape(line if len(line) <= longest else f"{line[: longest - 1]}…")


def histogram(counts: NDArray[np.generic], low: str, high: str, line: Floats | None = None) -> str:
    """Stacked bars of `counts` (series, bins), with the ends of the axis named.

    `line` (bins,) between 0 and 1 is drawn over them: the mean target of each bin.
    """
    series = np.asarray(counts, dtype=float)
    bins, top = series.shape[1], max(1.0, float(series.sum(axis=0).max()))
    width = WIDTH / bins
    base = np.full(bins, HEIGHT)
    paths = []
    for at, row in enumerate(series):
        heights = row / top * (HEIGHT - 6)
        base = base - heights
        bars = "".join(
            f"M{i * width:.1f} {base[i]:.1f}h{width * 0.9:.1f}v{heights[i]:.1f}h-{width * 0.9:.1f}z"
            for i in np.flatnonzero(row)
        )
        paths.append(f"<path d='{bars}' fill='var(--c{at % COLOURS})'/>")
    return (
        f"<svg viewBox='0 0 {WIDTH:.0f} {HEIGHT + 16:.0f}' role='img'>{''.join(paths)}{_line(line, width)}"
        f"<text x='0' y='{HEIGHT + 13:.0f}'>{escape(low, 24)}</text>"
        f"<text x='{WIDTH:.0f}' y='{HEIGHT + 13:.0f}' text-anchor='end'>{escape(high, 24)}</text></svg>"
    )


def line(periods: Floats, values: Floats, first: str, last: str) -> str:
    """Values over time, broken where periods are missing for more than a pixel, with the ends of the axis named.

    `periods` (n,) are whole numbers that rise. Of many values only the lowest and the highest of a pixel are drawn.

    >>> line(np.array([0.0, 1.0, 2.0, 9.0]), np.array([5.0, 6.0, 5.0, 7.0]), "0", "9").count("M")
    2
    """
    span, low, high = max(1.0, float(np.ptp(periods))), float(values.min()), float(np.ptp(values))
    x = (periods - periods[0]) / span * (WIDTH - 4) + 2
    y = HEIGHT - 4 - ((values - low) / high if high > 0 else np.full(len(values), 0.5)) * (HEIGHT - 8)
    kept = _outline(x.astype(int), y)
    gaps = np.diff(periods[kept], prepend=-np.inf) > max(1.0, span / WIDTH)
    path = "".join(
        f"M{x[k]:.1f} {y[k]:.1f}h0" if gap else f"L{x[k]:.1f} {y[k]:.1f}" for k, gap in zip(kept, gaps, strict=True)
    )
    return (
        f"<svg viewBox='0 0 {WIDTH:.0f} {HEIGHT + 16:.0f}' role='img'><path class='series' d='{path}'/>"
        f"<text x='0' y='{HEIGHT + 13:.0f}'>{escape(first, 24)}</text>"
        f"<text x='{WIDTH:.0f}' y='{HEIGHT + 13:.0f}' text-anchor='end'>{escape(last, 24)}</text></svg>"
    )


def _outline(pixels: NDArray[np.int64], y: Floats) -> NDArray[np.intp]:
    """The places of the lowest and the highest value of each pixel, in order; all where there are few.

    >>> _outline(np.repeat([0, 1], 1000), np.arange(2000.0)).tolist()
    [0, 999, 1000, 1999]
    """
    if len(y) <= 4 * WIDTH:
        return np.arange(len(y))
    ranked = np.lexsort((y, pixels))
    ends = np.searchsorted(pixels[ranked], np.unique(pixels), side="right")
    return np.unique(np.concatenate([ranked[ends - 1], ranked[np.append(0, ends[:-1])]]))


def _line(line: Floats | None, width: float) -> str:
    if line is None:
        return ""
    known = np.flatnonzero(~np.isnan(line))
    points = " ".join(f"{(i + 0.45) * width:.1f},{HEIGHT - 3 - line[i] * (HEIGHT - 9):.1f}" for i in known)
    return f"<polyline points='{points}' class='line'/>"


def bars(
    labels: Sequence[str], counts: NDArray[np.generic], notes: Sequence[str], width: float = WIDTH, most: float = 0.0
) -> str:
    """A horizontal bar for each label, stacked from `counts` (series, labels), with a note at its end.

    `width` is in the units of the page's text: a wider chart has room for longer labels. The longest bar fills it,
    or what counts `most` would.
    """
    series = np.asarray(counts, dtype=float)
    top = max(1e-12, most, float(series.sum(axis=0).max())) if series.size else 1.0
    start = width * LABEL
    room = width - start - 48
    parts = []
    for i, label in enumerate(labels):
        y, x = i * ROW, start
        parts.append(
            f"<text x='{start - 6:.0f}' y='{y + 12:.0f}' text-anchor='end'>{escape(label, int(start / 6.2))}</text>"
        )
        for at, value in enumerate(series[:, i]):
            length = value / top * room
            if length > 0:
                fill = f"var(--c{at % COLOURS})"
                parts.append(f"<rect x='{x:.1f}' y='{y + 2:.0f}' width='{length:.1f}' height='12' fill='{fill}'/>")
            x += length
        parts.append(f"<text x='{x + 4:.1f}' y='{y + 12:.0f}' class='note'>{escape(notes[i], 12)}</text>")
    size = f"viewBox='0 0 {width:.0f} {max(1, len(labels)) * ROW:.0f}' style='max-width:{width * 1.15:.0f}px'"
    return f"<svg {size} role='img'>{''.join(parts)}</svg>"


def heatmap(names: Sequence[str], values: Floats) -> str:
    """A table of values between −1 and 1, coloured by their sign and size; shape (names, names)."""
    head = "".join(f"<th title='{escape(name)}'><span>{escape(name, 14)}</span></th>" for name in names)
    rows = []
    for i, name in enumerate(names):
        cells = "".join(_cell(values[i, j]) if i != j else "<td></td>" for j in range(len(names)))
        rows.append(f"<tr><th title='{escape(name)}'>{escape(name, 22)}</th>{cells}</tr>")
    return f"<table class='heat'><tr><th></th>{head}</tr>{''.join(rows)}</table>"


def _cell(value: float) -> str:
    if np.isnan(value):
        return "<td></td>"
    side = "pos" if value >= 0 else "neg"
    return f"<td class='{side}' style='--v:{abs(value) * 80:.0f}%'>{value:.2f}</td>"
