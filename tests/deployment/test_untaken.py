"""What of a request's history says otherwise than what is known: named by series, with how many periods."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from keepfit.deployment.untaken import notes
from keepfit.deployment.wishes import SHOWN, Known
from keepfit.models.series.memory import About, remember
from keepfit.models.series.panel import Panel
from keepfit.types import Column, Rhythm

RHYTHM = Rhythm("day", "1d", 0.0, 3, ("shop",))
COLUMNS = {"shop": Column("shop", "series"), "day": Column("day", "moment", "date"), "sold": Column("sold", "past")}


def known(values: dict[str, list[float]]) -> Known:
    """Series of days, the last of which is the tenth."""
    width = max(map(len, values.values()))
    panel = np.array([[np.nan] * (width - len(one)) + one for one in values.values()])
    memory = remember(About((), 1, 3), Panel(panel, np.full(len(panel), 9), np.arange(len(panel))))
    keys = [(shop,) for shop in values]
    return Known(RHYTHM, "sold", dict.fromkeys(keys, 9), COLUMNS, memory, {key: at for at, key in enumerate(keys)})


def row(shop: str, day: int, sold: Any) -> dict[str, Any]:
    return {"shop": shop, "day": f"1970-01-{day:02}", "sold": sold}


SHOPS = known({"north": [1.0, 2.0, float("nan"), 4.0], "south": [7.0, 8.0]})  # north from the 7th, south from the 9th


@pytest.mark.parametrize(
    ("given", "periods"),
    [
        ([row("north", 10, 4), row("north", 8, "2.0"), row("south", 9, 7.0000001)], {}),  # told again
        ([row("north", 11, 99), row("south", 12, 99)], {}),  # later: taken
        ([row("north", 8, None), row("north", 9, ""), row("west", 8, 5)], {}),  # gaps, and a series that is new
        ([row("north", 6, 5), row("south", 8, 5), row("north", 1, 5)], {}),  # before all that is known
        ([row("north", 8, 3), row("north", 7, 1), row("south", 10, "9")], {"north": 1, "south": 1}),
        ([row("north", 9, 3), row("north", 10, 0)], {"north": 2}),  # a gap that is known, and a zero
    ],
)
def test_values_that_say_otherwise_than_what_is_known(given: list[dict[str, Any]], periods: dict[str, int]) -> None:
    found = notes(SHOPS, given)
    assert {note.series["shop"]: note.periods for note in found} == periods


def test_the_note_says_what_and_when() -> None:
    given = [row("north", 7, 5), row("north", 8, 5), row("north", 10, 5)]
    [note] = notes(SHOPS, [given[0], given[2]])
    assert note.series == {"shop": "north"}
    told = "'sold' of 2 periods (1970-01-07 to 1970-01-10) of 'north' was not taken: something else is known of then"
    assert note.problem.startswith(told)
    [one] = notes(SHOPS, given[1:2])
    assert one.problem.startswith("'sold' of 1 period (1970-01-08) of 'north' was not taken")


def test_many_series_are_counted_after_the_first() -> None:
    names = [f"shop {number}" for number in range(SHOWN + 3)]
    given = [row(name, day, 5) for name in names for day in (9, 10)]
    found = notes(known({name: [1.0, 2.0] for name in names}), given)
    assert [note.periods for note in found] == [2] * SHOWN + [6]
    assert (found[-1].series, found[-1].problem) == ({}, "6 values of 3 more series were not taken")
