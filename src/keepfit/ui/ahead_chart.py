"""A forecast as SVG text: what was observed, what comes, and between which ends.

Without scripts: the figures of a period show where it is pointed at or, for what is forecast, stepped to by the
Tab key. The colours are the page's.

>>> points = [Point(1, "1960-01", 5.0), Point(2, "1960-02", 6.0, 5.0, 7.5, ahead=True)]
>>> svg = chart(points, "Passengers")
>>> svg.count("<g class=kf-at"), svg.count("tabindex=0"), "1960-02: 6 (5 to 7.5)" in svg
(2, 1, True)
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from html import escape
from typing import NamedTuple

from keepfit.models.plots import ticks
from keepfit.ui.views import number

WIDE, SLIM, HEIGHT = 960.0, 340.0, 300.0
RIGHT, TOP, BOTTOM = 14.0, 30.0, 26.0
LETTER, BOLD = 6.6, 8.2  # about as wide as a letter on the axes, and one of the figures
DOTS = 60  # of what was observed; of more there is the line alone


class Point(NamedTuple):
    """The value of a period; `ahead` where it is forecast."""

    period: int
    time: str
    value: float
    low: float | None = None
    high: float | None = None
    ahead: bool = False


class Scale(NamedTuple):
    """Where periods and values lie in the picture."""

    first: int
    last: int
    low: float
    high: float
    left: float
    width: float

    def x(self, period: float) -> float:
        share = (period - self.first) / (self.last - self.first) if self.last > self.first else 0.5
        return self.left + share * (self.width - self.left - RIGHT)

    def y(self, value: float) -> float:
        return HEIGHT - BOTTOM - (value - self.low) / (self.high - self.low) * (HEIGHT - TOP - BOTTOM)


def both(points: Sequence[Point], name: str, band: str = "interval") -> str:
    """The chart for wide and for narrow pages; the style shows one of them. `band`: what the interval is called."""
    wide, slim = chart(points, name, band=band), chart(points, name, SLIM, band)
    return f"<div class=kf-wide>{wide}</div><div class=kf-slim>{slim}</div>"


def chart(points: Sequence[Point], name: str, width: float = WIDE, band: str = "interval") -> str:
    """Points in the order of their periods; `name` says of what."""
    there = [point for point in points if math.isfinite(point.value)]
    if not there:
        return "<p class=kf-empty>Nothing was observed.</p>"
    scale = _scale(there, width)
    past, ahead = ([point for point in there if point.ahead is kind] for kind in (False, True))
    joined = [*past[-1:], *ahead] if ahead else []
    parts = [_grid(scale), _times(there, scale), _band(ahead, scale), _line(past, scale, "kf-past")]
    parts += [_line(joined, scale, "kf-next"), _dots(past, ahead, scale), _strips(there, scale)]
    names = "<span><i></i>observed</span>" + ("<span><i class=kf-next></i>forecast</span>" if ahead else "")
    names += f"<span><i class=kf-band></i>{escape(band)}</span>" if _spanned(ahead) else ""
    return (
        f"<figure><svg viewBox='0 0 {width:.0f} {HEIGHT:.0f}' role=group aria-label='{escape(name)}'>{''.join(parts)}"
        f"</svg><figcaption>{names}</figcaption></figure>"
    )


def told(point: Point) -> str:
    """A point in words.

    >>> told(Point(1, "1960-01", 1234.5, 1000.0, 1500.0))
    '1960-01: 1,234 (1,000 to 1,500)'
    """
    ends = "" if point.low is None or point.high is None else f" ({number(point.low)} to {number(point.high)})"
    return f"{point.time}: {number(point.value)}{ends}"


def _scale(points: Sequence[Point], width: float) -> Scale:
    found = [end for p in points for end in (p.value, p.low, p.high) if end is not None and math.isfinite(end)]
    low, high = min(found), max(found)
    space = 0.06 * (high - low) or abs(high) * 0.05 or 0.5
    low, high = low - space, high + space
    letters = max(len(number(level)) for level in ticks(low, high))
    return Scale(points[0].period, points[-1].period, low, high, 14 + LETTER * letters, width)


def _grid(scale: Scale) -> str:
    levels, right = ticks(scale.low, scale.high), scale.width - RIGHT
    path = "".join(f"M{scale.left:.1f} {scale.y(level):.1f}H{right}" for level in levels)
    numbers = "".join(
        f"<text x='{scale.left - 7:.1f}' y='{scale.y(level) + 4:.1f}' text-anchor=end>{number(level)}</text>"
        for level in levels
    )
    return f"<path class=kf-grid d='{path}'/>{numbers}"


def _times(points: Sequence[Point], scale: Scale) -> str:
    """The time of the last period and of those that lie even steps before it, as far apart as they are wide."""
    written = {point.period: point.time for point in points}
    room = LETTER * max(map(len, (points[0].time, points[-1].time))) + 24
    count = max(1, min(6, int((scale.width - scale.left - RIGHT) / room)))
    step = max(1, math.ceil((scale.last - scale.first) / count))
    places = [period for period in range(scale.last, scale.first - 1, -step) if period in written]
    return "".join(_time(written[period], period, scale, room) for period in reversed(places))


def _time(text: str, period: int, scale: Scale, room: float) -> str:
    """A time below its period, in the middle of it where there is room."""
    x = scale.x(period)
    at_end, at_start = scale.width - RIGHT - x < room / 2, x - scale.left < room / 2
    side = "end" if at_end else "start" if at_start else "middle"
    return f"<text x='{x:.1f}' y='{HEIGHT - 8:.0f}' text-anchor={side}>{escape(text)}</text>"


def _spanned(points: Sequence[Point]) -> list[tuple[float, float, float]]:
    """Period, low and high of the points that have both ends."""
    return [
        (p.period, p.low, p.high)
        for p in points
        if p.low is not None and p.high is not None and math.isfinite(p.low) and math.isfinite(p.high)
    ]


def _band(ahead: Sequence[Point], scale: Scale) -> str:
    ends = _spanned(ahead)
    if len(ends) == 1:  # no area: a line from end to end
        [(period, low, high)] = ends
        return f"<path class='kf-band kf-one' d='M{scale.x(period):.1f} {scale.y(low):.1f}V{scale.y(high):.1f}'/>"
    above = [f"{scale.x(period):.1f} {scale.y(high):.1f}" for period, _, high in ends]
    below = [f"{scale.x(period):.1f} {scale.y(low):.1f}" for period, low, _ in reversed(ends)]
    return f"<path class=kf-band d='M{' '.join([*above, *below])}z'/>" if ends else ""


def _line(points: Sequence[Point], scale: Scale, kind: str) -> str:
    """A line that is broken where periods are missing."""
    path, before = "", None
    for point in points:
        pen = "L" if before is not None and (point.period == before + 1 or point.ahead) else "M"
        path += f"{pen}{scale.x(point.period):.1f} {scale.y(point.value):.1f}"
        before = point.period
    return f"<path class='kf-line {kind}' d='{path}'/>" if path else ""


def _dots(past: Sequence[Point], ahead: Sequence[Point], scale: Scale) -> str:
    shown = [(point, "kf-past") for point in past if len(past) <= DOTS]
    shown += [(point, "kf-next") for point in ahead if len(ahead) <= DOTS]
    return "".join(
        f"<circle class={kind} cx='{scale.x(point.period):.1f}' cy='{scale.y(point.value):.1f}' r='2.4'/>"
        for point, kind in shown
    )


def _strips(points: Sequence[Point], scale: Scale) -> str:
    """A strip for each period, from half way to its neighbours, that tells its figures."""
    places = [scale.x(point.period) for point in points]
    edges = [scale.left, *((a + b) / 2 for a, b in itertools.pairwise(places)), scale.width - RIGHT]
    return "".join(
        _strip(point, x, ends, scale) for point, x, ends in zip(points, places, itertools.pairwise(edges), strict=True)
    )


def _strip(point: Point, x: float, ends: tuple[float, float], scale: Scale) -> str:
    said, (left, right) = told(point), ends
    half = BOLD * len(said) / 2
    at = min(max(x, scale.left + half), scale.width - RIGHT - half)
    reached = f" tabindex=0 role=img aria-label='{escape(said)}'" if point.ahead else ""
    return (
        f"<g class=kf-at{reached}><rect x='{left:.1f}' y='{TOP}' width='{max(0.5, right - left):.1f}' "
        f"height='{HEIGHT - TOP - BOTTOM}'/><path d='M{x:.1f} {TOP}V{HEIGHT - BOTTOM}'/>"
        f"<circle cx='{x:.1f}' cy='{scale.y(point.value):.1f}' r='4'/>"
        f"<text x='{at:.1f}' y='{TOP - 12}' text-anchor=middle>{escape(said)}</text></g>"
    )
