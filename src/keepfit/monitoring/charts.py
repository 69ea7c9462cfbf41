"""Charts of the loop as SVG text: what was measured over time, and how a column is spread now and then.

Without scripts, identifiers and outside references; the colours are variables of the page around them
(`--c0` what is now, `--c1` what was estimated, `--soft` what was at training, `--bad` a goal). What is
pointed at tells its figures.

>>> from datetime import UTC, datetime
>>> day = lambda n: datetime(2026, 1, n, tzinfo=UTC)
>>> svg = timeline([Line("measured", [Point(day(1), 0.9, 0.85, 0.95), Point(day(2), 0.8)])], goal=0.85)
>>> svg.count("<circle"), svg.count("class='goal'"), "measured" in svg
(2, 2, True)
"""

from __future__ import annotations

import html
import itertools
import math
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import NamedTuple

from keepfit.models.plots import ticks

WIDTH, HEIGHT = 720.0, 220.0
LEFT, RIGHT, TOP, BOTTOM = 52.0, 12.0, 16.0, 26.0
BAR = 15.0  # height of a pair of bars
MOST = 16  # pairs of bars in one chart
DOTS = 60  # points of a line that are dots too
APART = 34.0  # between the labels of two marks
LETTER = 6.4  # about as wide as a letter


@dataclass(frozen=True)
class Point:
    """A value at a time, with its interval where there is one."""

    time: datetime
    value: float
    low: float | None = None
    high: float | None = None


@dataclass(frozen=True)
class Line:
    """Points of one kind in the order of time; `dashed` is for what is only estimated."""

    name: str
    points: Sequence[Point]
    dashed: bool = False


class Mark(NamedTuple):
    """A moment that is marked: what happened then, what kind of thing that is, and a word beside the mark."""

    time: datetime
    told: str
    kind: str = ""  # a class of the page's style
    label: str = ""


class Bar(NamedTuple):
    """A stretch of time with how much there was in it, and how much of that is filled."""

    time: datetime
    value: float
    filled: float = 0.0


@dataclass(frozen=True)
class Scale:
    """Where times and values lie in the picture."""

    begin: datetime
    end: datetime
    low: float
    high: float
    width: float = WIDTH

    def x(self, time: datetime) -> float:
        span = (self.end - self.begin).total_seconds()
        share = (time - self.begin).total_seconds() / span if span else 0.5
        return LEFT + share * (self.width - LEFT - RIGHT)

    def y(self, value: float) -> float:
        inside = min(max(value, self.low), self.high)
        return HEIGHT - BOTTOM - (inside - self.low) / (self.high - self.low) * (HEIGHT - TOP - BOTTOM)


def timeline(
    lines: Sequence[Line], goal: float | None = None, marks: Sequence[Mark] = (), name: str = "",
    width: float = WIDTH,
) -> str:  # fmt: skip
    """Lines over time with their intervals as bands, the goal as a level, and moments that are marked."""
    points = [point for line in lines for point in line.points]
    if not points:
        return "<p class='soft'>Nothing to draw yet.</p>"
    scale = _scale(points, goal, width)
    parts = [_grid(scale), _dates(scale), _goal(scale, goal)]
    parts += [_band(line, at, scale) + _line(line, at, scale) for at, line in enumerate(lines)]
    parts += [_hover(lines, scale), _marks(scale, marks)]
    names = "".join(
        f"<span><i class='c{at}{' dashed' * line.dashed}'></i>{html.escape(line.name)}</span>"
        for at, line in enumerate(lines)
    )
    return f"<figure>{_svg(''.join(parts), 'timeline', name, width)}<figcaption>{names}</figcaption></figure>"


def _svg(parts: str, kind: str, name: str, width: float, height: float = HEIGHT) -> str:
    told = f" aria-label='{html.escape(name, quote=True)}'" if name else ""
    return f"<svg class='{kind}' viewBox='0 0 {width:.0f} {height:.0f}' role='img'{told}>{parts}</svg>"


def _scale(points: Sequence[Point], goal: float | None, width: float) -> Scale:
    found = [v for p in points for v in (p.value, p.low, p.high) if v is not None and math.isfinite(v)]
    found += [goal] if goal is not None else []
    low, high = min(found, default=0.0), max(found, default=1.0)
    room = 0.08 * (high - low) or abs(high) * 0.05 or 0.5
    return Scale(min(p.time for p in points), max(p.time for p in points), low - room, high + room, width)


def _grid(scale: Scale) -> str:
    levels, right = ticks(scale.low, scale.high), scale.width - RIGHT
    path = "".join(f"M{LEFT} {scale.y(level):.1f}H{right}" for level in levels)
    numbers = "".join(
        f"<text x='{LEFT - 6}' y='{scale.y(level) + 4:.1f}' text-anchor='end'>{_short(level)}</text>"
        for level in levels
    )
    return f"<path class='grid' d='{path}'/>{numbers}"


def _short(value: float) -> str:
    """A number beside the axis.

    >>> _short(0.85), _short(20000.0), _short(1500000.0)
    ('0.85', '20k', '1.5M')
    """
    for size, letter in ((1e6, "M"), (1e4, "k")):
        if abs(value) >= size:
            return f"{value / (1e6 if letter == 'M' else 1e3):.6g}{letter}"
    return f"{value:.6g}"


def _dates(scale: Scale) -> str:
    """The first, the last and the times between them, in words that fit how far they are apart."""
    span = scale.end - scale.begin
    days = timedelta(days=1)
    form = "%H:%M" if span < days else "%d %b %H:%M" if span < 4 * days else "%d %b" if span < 300 * days else "%b %Y"
    room = 1.5 * LETTER * len(f"{scale.end:{form}}") + 10  # the outer ones stand beside their place, not below it
    steps = max(1, min(4, int((scale.width - LEFT - RIGHT) / room)))
    times = [scale.begin + span * k / steps for k in range(steps + 1)] if span else [scale.begin]
    ends = {0: "start", len(times) - 1: "end"} if span else {}
    y = f"y='{HEIGHT - 8:.0f}'"
    return "".join(
        f"<text x='{scale.x(time):.1f}' {y} text-anchor='{ends.get(at, 'middle')}'>{time:{form}}</text>"
        for at, time in enumerate(times)
    )


def _goal(scale: Scale, goal: float | None) -> str:
    if goal is None:
        return ""
    y, right = scale.y(goal), scale.width - RIGHT
    name = f"<text class='goal' x='{right}' y='{y - 4:.1f}' text-anchor='end'>goal {goal:g}</text>"
    return f"<path class='goal' d='M{LEFT} {y:.1f}H{right}'/>{name}"


def _marks(scale: Scale, marks: Sequence[Mark]) -> str:
    """A line a mark; those whose words would lie on each other say them only when pointed at."""
    parts, last = [], -math.inf
    for mark in sorted((Mark(*mark) for mark in marks), key=lambda mark: mark.time):
        if not scale.begin <= mark.time <= scale.end:
            continue
        x = scale.x(mark.time)
        at = min(x, scale.width - LETTER * len(mark.label) / 2 - 2)
        word = f"<text x='{at:.1f}' y='{TOP - 5}' text-anchor='middle'>{html.escape(mark.label)}</text>"
        free, last = mark.label and x - last > APART, x if mark.label and x - last > APART else last
        parts.append(
            f"<g class='mark {html.escape(mark.kind, quote=True)}'><title>{html.escape(mark.told)}</title>"
            f"<path d='M{x:.1f} {TOP}V{HEIGHT - BOTTOM}'/>{word if free else ''}</g>"
        )
    return "".join(parts)


def _band(line: Line, at: int, scale: Scale) -> str:
    known = [(p, p.low, p.high) for p in line.points if p.low is not None and p.high is not None]
    if len(known) < 2:
        return ""
    above = [f"{scale.x(p.time):.1f} {scale.y(high):.1f}" for p, _, high in known]
    below = [f"{scale.x(p.time):.1f} {scale.y(low):.1f}" for p, low, _ in reversed(known)]
    return f"<path class='band c{at}' d='M{' '.join(above + below)}z'/>"


def _line(line: Line, at: int, scale: Scale) -> str:
    places = [(scale.x(p.time), scale.y(p.value)) for p in line.points if math.isfinite(p.value)]
    path = "M" + "L".join(f"{x:.1f} {y:.1f}" for x, y in places) if places else ""
    shown = places if len(places) <= DOTS else places[-1:]
    dots = "".join(f"<circle class='c{at}' cx='{x:.1f}' cy='{y:.1f}' r='2.4'/>" for x, y in shown)
    return f"<path class='line c{at}{' dashed' * line.dashed}' d='{path}'/>{dots}"


def _hover(lines: Sequence[Line], scale: Scale) -> str:
    """A strip for each time, as wide as there is room, that tells all lines' values."""
    told: dict[datetime, list[str]] = defaultdict(list)
    for line in lines:
        for point in line.points:
            told[point.time].append(f"{line.name} {_told(point)}")
    return _strips({time: "\n".join([f"{time:%Y-%m-%d %H:%M}", *found]) for time, found in told.items()}, scale)


def _strips(told: dict[datetime, str], scale: Scale) -> str:
    """Invisible strips, each from half way to its neighbour on the left to half way to that on the right."""
    times = sorted(told)
    places = [scale.x(time) for time in times]
    middles = [(a + b) / 2 for a, b in itertools.pairwise(places)]
    edges = [LEFT, *middles, scale.width - RIGHT]
    tall = f"y='{TOP}' height='{HEIGHT - TOP - BOTTOM}'"
    strips = "".join(
        f"<rect x='{left:.1f}' {tall} width='{max(0.5, right - left):.1f}'>"
        f"<title>{html.escape(told[time])}</title></rect>"
        for time, (left, right) in zip(times, itertools.pairwise(edges), strict=True)
    )
    return f"<g class='over' fill='transparent'>{strips}</g>"


def _told(point: Point) -> str:
    around = f" ({point.low:.4g} to {point.high:.4g})" if point.low is not None and point.high is not None else ""
    return f"{point.value:.4g}{around}"


def amounts(
    bars: Sequence[Bar], names: tuple[str, str], marks: Sequence[Mark] = (), name: str = "", width: float = WIDTH
) -> str:
    """How much there was in each stretch of time, and how much of it is filled; `names` says of what.

    >>> from datetime import UTC
    >>> hours = [Bar(datetime(2026, 1, 1, n, tzinfo=UTC), 100.0 * n, 50.0) for n in (1, 2, 4)]
    >>> svg = amounts(hours, ("rows", "with labels"))
    >>> svg.count("<title>"), "400 rows, 50 with labels" in svg
    (3, True)
    """
    if not bars:
        return "<p class='soft'>Nothing to draw yet.</p>"
    times = sorted({bar.time for bar in bars})
    step = min((b - a for a, b in itertools.pairwise(times)), default=timedelta(hours=1))
    top = max([1e-9, *(bar.value for bar in bars)])
    scale = Scale(times[0] - step / 2, times[-1] + step / 2, 0.0, top * 1.08, width)
    wide = max(1.0, (scale.x(times[0] + step) - scale.x(times[0])) * 0.8)
    drawn = "".join(_upright(bar, wide, scale) for bar in bars)
    shown = {bar.time: f"{bar.time:%Y-%m-%d %H:%M}\n{bar.value:,.0f} {names[0]}, {bar.filled:,.0f} {names[1]}"
             for bar in bars}  # fmt: skip
    parts = _grid(scale) + _dates(scale) + drawn + _strips(shown, scale) + _marks(scale, marks)
    keys = f"<span><i class='c0 pale'></i>{html.escape(names[0])}</span><span><i class='c0'></i>{html.escape(names[1])}"
    return f"<figure>{_svg(parts, 'timeline', name, width)}<figcaption>{keys}</span></figcaption></figure>"


def _upright(bar: Bar, wide: float, scale: Scale) -> str:
    x, floor = scale.x(bar.time) - wide / 2, scale.y(0.0)
    return "".join(
        f"<rect class='c0{kind}' x='{x:.1f}' y='{scale.y(value):.1f}' width='{wide:.1f}' "
        f"height='{floor - scale.y(value):.1f}'/>"
        for kind, value in ((" pale", bar.value), ("", min(bar.filled, bar.value)))
        if value > 0
    )


def glance(reference: Sequence[float], now: Sequence[float]) -> str:
    """A histogram at a glance, for a line of text: at training as an outline, now filled.

    >>> glance([1, 1, 2], [0, 3, 1]).count("<rect")
    2
    """
    before, after = _shares(reference), _shares(now)
    top = max([1e-9, *before, *after])
    wide = 90 / max(1, len(before))
    bars = "".join(
        f"<rect class='c0' x='{at * wide:.1f}' y='{22 - 20 * share / top:.1f}' width='{max(0.6, wide - 0.6):.1f}' "
        f"height='{20 * share / top:.1f}'/>"
        for at, share in enumerate(after)
        if share
    )
    steps = "".join(f"V{22 - 20 * share / top:.1f}H{(at + 1) * wide:.1f}" for at, share in enumerate(before))
    outline = f"<path class='then' d='M0 22{steps}V22'/>"
    return f"<svg class='glance' viewBox='0 0 90 23' aria-hidden='true'>{bars}{outline}</svg>"


def spread(cells: Sequence[str], reference: Sequence[float], now: Sequence[float], name: str = "") -> str:
    """How rows are spread over cells, as shares: at training (outlined) and now (filled).

    Cells that hold nobody in either are left out, and all but the largest where there are many.
    """
    before, after = (_shares(counts) for counts in (reference, now))
    there = [at for at in range(len(cells)) if before[at] or after[at]]
    if len(there) > MOST:
        largest = set(sorted(there, key=lambda at: -max(before[at], after[at]))[:MOST])
        there = [at for at in there if at in largest]
    top = max([1e-9, *(max(before[at], after[at]) for at in there)])
    rows = []
    for place, at in enumerate(there):
        y, wide = place * BAR, [shares[at] / top * 150 for shares in (before, after)]
        told = f"{cells[at]}: {after[at]:.2%} now, {before[at]:.2%} at training"
        rows.append(
            f"<g><title>{html.escape(told)}</title>"
            f"<text x='104' y='{y + 11:.0f}' text-anchor='end'>{html.escape(_cut(cells[at]))}</text>"
            f"<rect class='c0' x='110' y='{y + 2:.0f}' width='{wide[1]:.1f}' height='10'/>"
            f"<rect class='then' x='110' y='{y + 2:.0f}' width='{wide[0]:.1f}' height='10'/>"
            f"<text x='{114 + max(wide):.0f}' y='{y + 11:.0f}'>{after[at]:.1%}</text></g>"
        )
    return _svg("".join(rows), "spread", name, 310, max(1, len(there)) * BAR)


def _shares(counts: Sequence[float]) -> list[float]:
    total = sum(counts) or 1.0
    return [count / total for count in counts]


def _cut(text: str, longest: int = 18) -> str:
    return text if len(text) <= longest else f"{text[: longest - 1]}…"
