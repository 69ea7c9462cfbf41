"""The chart of a forecast: where times stand on its axis, and what its interval is called."""

from __future__ import annotations

import itertools
import re

import pytest

from keepfit.ui import ahead_chart
from keepfit.ui.ahead_chart import LETTER, SLIM, WIDE, Point

Place = tuple[float, str, str]


def days(*periods: int) -> list[Point]:
    return [Point(at, f"2024-{1 + at // 28:02d}-{1 + at % 28:02d}", float(at % 7)) for at in periods]


def axis(points: list[Point], width: float = WIDE) -> list[Place]:
    """The times below the axis: where, how they are anchored, and the text."""
    svg = ahead_chart.chart(points, "sold", width)
    found = re.findall(r"<text x='([\d.]+)' y='292' text-anchor=(\w+)>([^<]+)</text>", svg)
    return [(float(x), side, text) for x, side, text in found]


def ends(place: Place) -> tuple[float, float]:
    x, side, text = place
    wide = LETTER * len(text)
    left = {"start": x, "middle": x - wide / 2, "end": x - wide}[side]
    return left, left + wide


@pytest.mark.parametrize("width", [WIDE, SLIM])
@pytest.mark.parametrize(
    "points",
    [
        days(*range(36)),
        days(*range(2)),
        days(3),
        days(*(k for k in range(60) if k % 7)),
        days(0, 300, *range(301, 313)),
    ],
)
def test_times_are_evenly_apart_within_the_picture_and_do_not_touch(points: list[Point], width: float) -> None:
    found = axis(points, width)
    assert found[-1][2] == points[-1].time  # the last one is always told
    reached = [ends(place) for place in found]
    assert all(after[0] - before[1] > 5 for before, after in itertools.pairwise(reached))
    assert min(left for left, _ in reached) >= 0
    assert max(right for _, right in reached) <= width
    period = {point.time: point.period for point in points}
    apart = [period[b[2]] - period[a[2]] for a, b in itertools.pairwise(found)]
    assert all(gap % min(apart) == 0 for gap in apart)


def test_the_interval_says_what_it_is_to_hold() -> None:
    points = [Point(0, "a", 1.0), Point(1, "b", 2.0, 1.0, 3.0, True), Point(2, "c", 2.0, 1.0, 3.0, True)]
    assert "</i>90 % interval</span>" in ahead_chart.both(points, "sold", "90 % interval")
    assert "interval" not in ahead_chart.both(points[:1], "sold", "90 % interval")
