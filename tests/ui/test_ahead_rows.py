"""The rows that a visitor begins with, where a model has to be told what is known ahead."""

from __future__ import annotations

from pathlib import Path

from keepfit.deployment.wishes import Known
from keepfit.types import Column, Rhythm
from keepfit.ui import ahead_rows, many

KNOWN = Known(
    Rhythm("day", "1d", 0.0, 3, ("shop",)),
    "sold",
    {("north",): 9, ("a, b",): 7},
    {"shop": Column("shop", "series"), "day": Column("day", "moment", "date"), "sold": Column("sold", "past", "float")},
)


def test_rows_go_on_from_the_end_of_each_series_and_are_read_as_questions() -> None:
    text = ahead_rows.begun(KNOWN, ["price"], [("north",), ("a, b",)], 2, 1000)
    columns, rows = many.parsed(text.encode(), "rows.csv")
    assert list(columns) == ["shop", "day", "price", "sold"]
    assert [(row["shop"], row["day"]) for row in rows] == [
        ("north", "1970-01-11"), ("north", "1970-01-12"), ("a, b", "1970-01-09"), ("a, b", "1970-01-10")
    ]  # fmt: skip
    assert {row["price"] for row in rows} == {row["sold"] for row in rows} == {None}


def test_a_new_series_begins_after_the_last_of_all() -> None:
    assert "west,1970-01-11," in ahead_rows.begun(KNOWN, [], [("west",)], 1, 1000)


def test_what_would_be_too_long_has_whole_series_alone(tmp_path: Path) -> None:
    whole = ahead_rows.begun(KNOWN, ["price"], [("north",), ("a, b",)], 20, 10_000)
    text = ahead_rows.begun(KNOWN, ["price"], [("north",), ("a, b",)], 20, len(whole) - 1)
    assert text.splitlines() == whole.splitlines()[:21]
