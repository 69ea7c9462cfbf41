"""Charts of the loop as SVG text: what was measured over time, and how a column is spread now and then.

Without scripts, identifiers and outside references; the colours are variables of the page around them
(`--c0` what is now, `--c1` what was estimated, `--soft` what was at training, `--bad` a goal).

>>> from datetime import UTC, datetime
>>> day = lambda n: datetime(2026, 1, n, tzinfo=UTC)
>>> svg = timeline([Line("measured", [Point(day(1), 0.9, 0.85, 0.95), Point(day(2), 0.8)])], goal=0.85)
>>> svg.count("<circle"), svg.count("class='goal'"), "measured" in svg
(2, 2, True)
"""

from __future__ import annotations

import html
import math
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from keepfit.models.plots import ticks

WIDTH, HEIGHT = 720.0, 220.0
LEFT, RIGHT, TOP, BOTTOM = 52.0, 12.0, 12.0, 26.0
BAR = 15.0  # height of a pair of bars
MOST = 16  # pairs of bars in one chart


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


@dataclass(frozen=True)
class Scale:
    """Where times and values lie in the picture."""

    begin: datetime
    end: datetime
    low: float
    high: float

    def x(self, time: datetime) -> float:
        span = (self.end - self.begin).total_seconds()
        share = (time - self.begin).total_seconds() / span if span else 0.5
        return LEFT + share * (WIDTH - LEFT - RIGHT)

    def y(self, value: float) -> float:
        inside = min(max(value, self.low), self.high)
        return HEIGHT - BOTTOM - (inside - self.low) / (self.high - self.low) * (HEIGHT - TOP - BOTTOM)


def timeline(lines: Sequence[Line], goal: float | None = None, marks: Sequence[tuple[datetime, str]] = ()) -> str:
    """Lines over time with their intervals as bands, the goal as a level, and moments that are marked."""
    points = [point for line in lines for point in line.points]
    if not points:
        return "<p class='soft'>Nothing to draw yet.</p>"
    scale = _scale(points, goal)
    parts = [_grid(scale), _dates(scale), _goal(scale, goal), _marks(scale, marks)]
    parts += [_band(line, at, scale) + _line(line, at, scale) for at, line in enumerate(lines)]
    names = "".join(
        f"<span><i class='c{at}{' dashed' * line.dashed}'></i>{html.escape(line.name)}</span>"
        for at, line in enumerate(lines)
    )
    picture = f"<svg class='timeline' viewBox='0 0 {WIDTH:.0f} {HEIGHT:.0f}' role='img'>{''.join(parts)}</svg>"
    return f"<figure>{picture}<figcaption>{names}</figcaption></figure>"


def _scale(points: Sequence[Point], goal: float | None) -> Scale:
    found = [v for p in points for v in (p.value, p.low, p.high) if v is not None and math.isfinite(v)]
    found += [goal] if goal is not None else []
    low, high = min(found, default=0.0), max(found, default=1.0)
    room = 0.08 * (high - low) or abs(high) * 0.05 or 0.5
    return Scale(min(p.time for p in points), max(p.time for p in points), low - room, high + room)


def _grid(scale: Scale) -> str:
    levels = ticks(scale.low, scale.high)
    path = "".join(f"M{LEFT} {scale.y(level):.1f}H{WIDTH - RIGHT}" for level in levels)
    numbers = "".join(
        f"<text x='{LEFT - 6}' y='{scale.y(level) + 4:.1f}' text-anchor='end'>{level:.6g}</text>" for level in levels
    )
    return f"<path class='grid' d='{path}'/>{numbers}"


def _dates(scale: Scale) -> str:
    """The first, the last and the times between them, in words that fit how far they are apart."""
    span = scale.end - scale.begin
    form = "%H:%M" if span < timedelta(days=1) else "%d %b" if span < timedelta(days=300) else "%b %Y"
    times = [scale.begin + span * k / 4 for k in range(5)] if span else [scale.begin]
    ends = {0: "start", len(times) - 1: "end"} if span else {}
    y = f"y='{HEIGHT - 8:.0f}'"
    return "".join(
        f"<text x='{scale.x(time):.1f}' {y} text-anchor='{ends.get(at, 'middle')}'>{time:{form}}</text>"
        for at, time in enumerate(times)
    )


def _goal(scale: Scale, goal: float | None) -> str:
    if goal is None:
        return ""
    y = scale.y(goal)
    name = f"<text class='goal' x='{WIDTH - RIGHT}' y='{y - 4:.1f}' text-anchor='end'>goal {goal:g}</text>"
    return f"<path class='goal' d='M{LEFT} {y:.1f}H{WIDTH - RIGHT}'/>{name}"


def _marks(scale: Scale, marks: Sequence[tuple[datetime, str]]) -> str:
    return "".join(
        f"<path class='mark' d='M{scale.x(time):.1f} {TOP}V{HEIGHT - BOTTOM}'><title>{html.escape(told)}</title></path>"
        for time, told in marks
        if scale.begin <= time <= scale.end
    )


def _band(line: Line, at: int, scale: Scale) -> str:
    known = [(p, p.low, p.high) for p in line.points if p.low is not None and p.high is not None]
    if len(known) < 2:
        return ""
    above = [f"{scale.x(p.time):.1f} {scale.y(high):.1f}" for p, _, high in known]
    below = [f"{scale.x(p.time):.1f} {scale.y(low):.1f}" for p, low, _ in reversed(known)]
    return f"<path class='band c{at}' d='M{' '.join(above + below)}z'/>"


def _line(line: Line, at: int, scale: Scale) -> str:
    places = [(scale.x(p.time), scale.y(p.value), p) for p in line.points if math.isfinite(p.value)]
    path = "M" + "L".join(f"{x:.1f} {y:.1f}" for x, y, _ in places) if places else ""
    dots = "".join(
        f"<circle class='c{at}' cx='{x:.1f}' cy='{y:.1f}' r='2.4'><title>{html.escape(_told(p))}</title></circle>"
        for x, y, p in places
    )
    return f"<path class='line c{at}{' dashed' * line.dashed}' d='{path}'/>{dots}"


def _told(point: Point) -> str:
    around = f" ({point.low:.4g} to {point.high:.4g})" if point.low is not None and point.high is not None else ""
    return f"{point.time:%Y-%m-%d %H:%M}: {point.value:.4g}{around}"


def spread(cells: Sequence[str], reference: Sequence[float], now: Sequence[float]) -> str:
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
        rows.append(
            f"<text x='104' y='{y + 11:.0f}' text-anchor='end'>{html.escape(_cut(cells[at]))}</text>"
            f"<rect class='c0' x='110' y='{y + 2:.0f}' width='{wide[1]:.1f}' height='10'/>"
            f"<rect class='then' x='110' y='{y + 2:.0f}' width='{wide[0]:.1f}' height='10'/>"
            f"<text x='{114 + max(wide):.0f}' y='{y + 11:.0f}'>{after[at]:.1%}</text>"
        )
    return f"<svg class='spread' viewBox='0 0 310 {max(1, len(there)) * BAR:.0f}' role='img'>{''.join(rows)}</svg>"


def _shares(counts: Sequence[float]) -> list[float]:
    total = sum(counts) or 1.0
    return [count / total for count in counts]


def _cut(text: str, longest: int = 18) -> str:
    return text if len(text) <= longest else f"{text[: longest - 1]}…"
