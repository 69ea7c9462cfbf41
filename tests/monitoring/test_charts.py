"""Charts: everything is drawn once, told when pointed at, escaped, and well-formed."""

from __future__ import annotations

import itertools
import math
from datetime import UTC, datetime, timedelta
from xml.etree import ElementTree

import pytest

from keepfit.monitoring.charts import HEIGHT, Bar, Line, Mark, Point, amounts, glance, spread, timeline

NOON = datetime(2026, 11, 20, 12, tzinfo=UTC)
HURT = "<script>a('b\"')</script>"


def hours(count: int) -> list[Point]:
    return [Point(NOON + timedelta(hours=n), 0.8 + 0.01 * n, 0.7, 0.95) for n in range(count)]


def whole(figure: str) -> ElementTree.Element:
    return ElementTree.fromstring(figure)


def titles(figure: str) -> list[str]:
    return [element.text or "" for element in whole(figure).iter("title")]


def words(figure: str) -> list[str]:
    return [element.text or "" for element in whole(figure).iter("text")]


def test_each_time_tells_the_values_of_all_lines() -> None:
    lines = [Line("measured", hours(3)), Line("estimated", hours(2), dashed=True)]
    told = titles(timeline(lines))
    assert told[0].splitlines() == ["2026-11-20 12:00", "measured 0.8 (0.7 to 0.95)", "estimated 0.8 (0.7 to 0.95)"]
    assert told[2].splitlines() == ["2026-11-20 14:00", "measured 0.82 (0.7 to 0.95)"]
    assert len(told) == 3


def test_marks_inside_the_time_are_drawn_and_their_words_do_not_overlap() -> None:
    at = [NOON + timedelta(minutes=n) for n in (-5, 10, 12, 170, 999)]
    svg = timeline(
        [Line("measured", hours(4))], 0.85, [Mark(t, f"told {n}", "alarm", f"w{n}") for n, t in enumerate(at)]
    )
    assert [told for told in titles(svg) if told.startswith("told")] == ["told 1", "told 2", "told 3"]
    assert [word for word in words(svg) if word.startswith("w")] == ["w1", "w3"]
    assert "goal 0.85" in words(svg)


@pytest.mark.parametrize("width", [330.0, 600.0, 720.0])
@pytest.mark.parametrize("count", [2, 30, 70, 2000])
def test_dates_have_room(width: float, count: int) -> None:
    svg = timeline([Line("measured", hours(count))], width=width)
    ends = []
    for element in [e for e in whole(svg).iter("text") if e.get("y") == f"{HEIGHT - 8:.0f}"]:
        wide, x = 6.0 * len(element.text or ""), float(element.get("x") or 0)
        left = {"start": x, "middle": x - wide / 2, "end": x - wide}[str(element.get("text-anchor"))]
        ends.append((left, left + wide))
    assert len(ends) > 1
    assert all(before[1] < after[0] for before, after in itertools.pairwise(ends))


def test_many_points_are_a_line_without_dots() -> None:
    assert timeline([Line("measured", hours(500))]).count("<circle") == 1


def test_values_that_are_none_or_not_finite_do_not_break_it() -> None:
    points = [Point(NOON, math.nan), Point(NOON + timedelta(hours=1), 0.5), Point(NOON + timedelta(hours=2), math.inf)]
    assert "nan" not in timeline([Line("measured", points)]).partition("<g")[0]
    assert "Nothing to draw" in timeline([])
    assert "Nothing to draw" in amounts([], ("rows", "with labels"))
    whole(timeline([Line("one", hours(1))]))
    whole(amounts([Bar(NOON, 0.0), Bar(NOON, 3.0, 9.0)], ("rows", "with labels")))


def test_every_text_is_escaped() -> None:
    for figure in (
        timeline([Line(HURT, hours(2))], marks=[Mark(NOON, HURT, HURT, HURT)], name=HURT),
        amounts([Bar(NOON, 1.0)], (HURT, HURT), name=HURT),
        spread([HURT], [1], [2], name=HURT),
    ):
        assert "<script" not in figure
        whole(figure)


def test_a_spread_tells_shares_of_each_cell() -> None:
    svg = spread(["a", "b", "none"], [1, 3, 0], [2, 2, 0])
    assert titles(svg) == ["a: 50.00% now, 25.00% at training", "b: 50.00% now, 75.00% at training"]


def test_a_glance_of_nothing_is_empty() -> None:
    assert "<rect" not in glance([], [])
    whole(glance([0, 0], [0, 0]))
