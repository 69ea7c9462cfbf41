"""Observations as they are told, read on from where reading ended."""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path

import pytest

from keepfit.data import log_observed, log_roll, observations, segments, told
from keepfit.data.told import Seen
from tests.data.test_observations import SCHEMA, give, tell


def look(folder: Path, before: Seen | None = None) -> Seen:
    return told.follow(folder / "predictions", SCHEMA, before or Seen())


def sold(seen: Seen) -> dict[str, float]:
    return {f"{one.row['shop']} {one.row['month'][:7]}": one.value for one in seen.told.values()}


def test_reading_goes_on_where_it_ended(tmp_path: Path) -> None:
    assert look(tmp_path) == Seen()
    tell(tmp_path, {"shop": "north", "month": "1971-01-01", "sold": 1})
    first = look(tmp_path)
    assert look(tmp_path, first) == first
    tell(
        tmp_path,
        {"shop": "north", "month": "1971-02-01", "sold": 2},
        {"shop": "south", "month": "1971-02-01", "sold": 3},
    )
    second = look(tmp_path, first)
    assert sold(second) == {"north 1971-01": 1.0, "north 1971-02": 2.0, "south 1971-02": 3.0}
    assert second == look(tmp_path)
    [name] = second.places
    assert second.places[name].end == segments.path(tmp_path / "feedback", name).stat().st_size
    assert second.places[name].lines == 3


def test_the_last_value_counts_and_is_known_since_it_was_told_first(tmp_path: Path) -> None:
    entry = {"shop": "north", "month": "1971-01-01", "sold": 1}
    seen = Seen()
    for value in (1, 2, 2):
        tell(tmp_path, {**entry, "sold": value})
        seen = look(tmp_path, seen)
        [one] = seen.told.values()
        assert one.value == value
    assert one.since < one.last
    assert not one.confirmed
    tell(tmp_path, {**entry, "sold": 2, "confirmed": True}, {**entry, "month": "1971-02-01", "confirmed": "yes"})
    assert [one.confirmed for one in look(tmp_path, seen).told.values()] == [True, False]
    tell(tmp_path, {**entry, "sold": 3})  # what was confirmed was the other value
    assert [one.confirmed for one in look(tmp_path).told.values()] == [False, False]


def test_what_was_rolled_before_it_was_read_is_found_and_the_rest_is_not_read_again(tmp_path: Path) -> None:
    tell(tmp_path, {"shop": "north", "month": "1971-01-01", "sold": 1})
    before = look(tmp_path)
    tell(tmp_path, {"shop": "north", "month": "1971-02-01", "sold": 2})  # by another process, and rolled at once
    log_roll.roll(tmp_path / "feedback")
    after = look(tmp_path, before)
    assert sold(after) == {"north 1971-01": 1.0, "north 1971-02": 2.0}
    assert look(tmp_path, after) == after
    assert sold(look(tmp_path)) == sold(after)


def test_labels_of_predictions_are_observations_whether_these_are_rolled_or_not(tmp_path: Path) -> None:
    [first, second] = give(tmp_path, ["1971-01-01", "1971-02-01"], at=time.time() + 1)
    tell(tmp_path, {"id": first, "label": 7})
    seen = look(tmp_path)
    log_roll.roll(tmp_path / "predictions")
    tell(tmp_path, {"id": second, "label": 8})
    assert sold(look(tmp_path, seen)) == {"north 1971-01": 7.0, "north 1971-02": 8.0}
    assert [one.id for one in look(tmp_path).told.values()] == [first, second]


def test_a_label_of_a_time_that_is_still_to_come_is_read_whenever_the_log_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    [key] = give(tmp_path, ["1971-06-01"], at=time.time() + 1)
    assert tell(tmp_path, {"id": key, "label": 7}).accepted == 1
    monkeypatch.setattr(observations.time, "time", lambda: 86400.0 * 365)  # New Year 1971
    assert sold(look(tmp_path)) == {"north 1971-06": 7.0}
    assert log_observed.read(tmp_path / "predictions", SCHEMA)["value"].to_list() == [7.0]


def test_a_torn_or_damaged_line_costs_the_others_nothing(tmp_path: Path) -> None:
    tell(tmp_path, {"shop": "north", "month": "1971-01-01", "sold": 1})
    [name] = segments.names(tmp_path / "feedback")
    with segments.path(tmp_path / "feedback", name).open("ab") as file:
        file.write(b'{"id": 5}\nnothing\n{"id":"torn')
    seen = look(tmp_path)
    assert sold(seen) == {"north 1971-01": 1.0}
    tell(tmp_path, {"shop": "north", "month": "1971-02-01", "sold": 2})
    assert len(look(tmp_path, seen).told) == 2


def test_feedback_that_grows_is_read_without_polars(tmp_path: Path) -> None:
    [key] = give(tmp_path, ["1971-01-01"])
    tell(tmp_path, {"shop": "north", "month": "1971-02-01", "sold": 1}, {"id": key, "label": 2})
    code = f"""
import sys
from pathlib import Path
from keepfit.data import told
from keepfit.types import Column, Rhythm, Schema
columns = (Column("shop", "series"), Column("month", "moment", "date"), Column("sold", "past"))
schema = Schema(columns, "forecast", "sold", rhythm=Rhythm("month", "1mo", 0.0, 2, ("shop",)))
seen = told.follow(Path({str(tmp_path / "predictions")!r}), schema, told.Seen())
assert len(seen.told) == 2, seen
assert not {{"polars", "pandas", "pyarrow"}} & set(sys.modules)
"""
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)
