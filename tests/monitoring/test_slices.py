"""The log as counts of time slices: every row once, however it lies on the disk and whenever it is rolled."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from keepfit.data import log_parts, log_roll, log_stream
from keepfit.data.log import open_log
from keepfit.features.rows import from_rows
from keepfit.models.fitted import Output
from keepfit.monitoring import counts, reference
from keepfit.monitoring.counts import Counts
from keepfit.monitoring.reference import Reference
from keepfit.monitoring.slices import of_log
from tests.data.answered import PRICES, ROW, SCHEMA, logged, price, record

NOON = datetime(2026, 11, 20, 12, tzinfo=UTC)
HOUR = 3600.0
TRAINED = [
    {
        "age": 20 + n % 40,
        "plan": "pro" if n % 3 else None,
        "since": f"{1 + n % 28:02}/10/2014",
        "note": f"n{n % 9} fine",
    }
    for n in range(200)
]


def referred() -> Reference:
    columns, _ = from_rows(TRAINED, SCHEMA)
    sure = np.linspace(0.5, 1, 200)
    said = Output(np.array(["no", "yes"] * 100, object), np.stack([sure, 1 - sure], 1)[:, :])
    said.probabilities[1::2] = said.probabilities[1::2, ::-1]  # type: ignore[index]
    return reference.make(columns, columns, SCHEMA, said, said.values)


KNOWN = referred()


def sliced(folder: Path, **options: Any) -> dict[datetime, Counts]:
    return of_log(folder, KNOWN, SCHEMA, options.pop("version", "1"), options.pop("every", HOUR), **options)


def rows(found: dict[datetime, Counts]) -> dict[int, int]:
    """Hours after NOON → rows."""
    return {int((start - NOON).total_seconds() // HOUR): count.rows for start, count in found.items()}


def told(found: dict[datetime, Counts]) -> str:
    return json.dumps({str(start): counts.plain(count) for start, count in found.items()}, sort_keys=True)


def test_rows_are_counted_in_the_slice_of_their_answer(tmp_path: Path) -> None:
    logged(tmp_path, 3, at=NOON.timestamp())
    logged(tmp_path, 2, at=NOON.timestamp() + HOUR - 1)
    logged(tmp_path, 4, at=NOON.timestamp() + 20 * HOUR)
    found = sliced(tmp_path)
    assert rows(found) == {0: 5, 20: 4}
    first = found[NOON]
    assert (first.first, first.last) == (NOON.timestamp(), NOON.timestamp() + HOUR - 1)
    cells = {signal.name: signal.cells for signal in KNOWN.signals}
    held = lambda name: {cells[name][cell]: int(n) for cell, n in enumerate(first.cells[name]) if n}
    assert held("plan") == {"pro": 5}
    assert held("prediction") == {"no": 5}
    assert held("note: term") == {"unseen": 5}  # each text of training has a listed term
    assert sum(held("age").values()) == sum(held("confidence").values()) == 5
    assert set(first.cells) == set(cells)


def test_the_same_whether_rolled_or_not_and_kept_or_not(tmp_path: Path) -> None:
    log = tmp_path / "predictions"
    for hour in range(-14, 14):
        logged(log, 2, at=NOON.timestamp() + hour * HOUR)
    fresh = sliced(log)
    assert rows(fresh) == dict.fromkeys(range(-14, 14), 2)
    log_roll.roll(log)
    for _ in range(3):
        assert told(sliced(log, cache=tmp_path / "counts")) == told(fresh)
    assert len(list((tmp_path / "counts" / "1").iterdir())) == 3
    assert told(sliced(log)) == told(fresh)


def test_kept_parts_are_not_read_again_and_a_late_one_is_added(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    log, cache, read = tmp_path / "predictions", tmp_path / "counts", []
    part = log_stream.part
    monkeypatch.setattr(log_stream, "part", lambda found, *rest: read.append(found) or part(found, *rest))
    late = open_log(log, SCHEMA, "churn", "1")
    keys = late.ids(2)
    late.write([record(key, at=NOON.timestamp()) for key in keys])
    logged(log, 3, at=NOON.timestamp())
    log_roll.roll(log)
    assert rows(sliced(log, cache=cache)) == {0: 5}
    assert len(read) == 1
    late.close()
    log_roll.roll(log)
    for _ in range(2):
        assert rows(sliced(log, cache=cache)) == {0: 5}
    assert len(read) == 2
    assert len({found.segment for found in read}) == 2


def test_a_row_that_is_rolled_between_two_looks_is_counted_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    logged(tmp_path, 3, at=NOON.timestamp())
    listed = log_parts.listed

    def after_rolling(*given: Any) -> Any:
        log_roll.roll(tmp_path)
        return listed(*given)

    monkeypatch.setattr(log_parts, "listed", after_rolling)
    assert rows(sliced(tmp_path)) == {0: 3}


def test_slices_are_whole_and_those_outside_of_the_window_are_left_out(tmp_path: Path) -> None:
    for hour in range(6):
        logged(tmp_path, 1, at=NOON.timestamp() + hour * HOUR + 1800)
    ask = lambda since, until: sorted(rows(sliced(tmp_path, since=since, until=until)))
    at = lambda hours: NOON + timedelta(hours=hours)
    assert ask(at(1), at(3)) == [1, 2]
    assert ask(at(1.9), at(3.1)) == [1, 2, 3]
    assert ask(at(5), None) == [5]
    log_roll.roll(tmp_path)
    assert ask(at(1.9).replace(tzinfo=None), at(3.1)) == [1, 2, 3]
    assert rows(sliced(tmp_path, since=at(2), until=at(12), every=4 * HOUR)) == {0: 4, 4: 2}


def test_only_the_version_that_was_asked_for(tmp_path: Path) -> None:
    logged(tmp_path / "log", 3, at=NOON.timestamp())
    logged(tmp_path / "log", 5, at=NOON.timestamp(), version="2", role="canary")
    for _ in range(2):
        assert rows(sliced(tmp_path / "log")) == {0: 3}
        assert rows(sliced(tmp_path / "log", version="2", cache=tmp_path / "c")) == {0: 5}
        assert rows(sliced(tmp_path / "log", version="3")) == {}
        log_roll.roll(tmp_path / "log")


def test_what_is_kept_is_for_one_reference_one_length_and_one_clock(tmp_path: Path) -> None:
    log, cache = tmp_path / "log", tmp_path / "counts"
    logged(log, 3, at=NOON.timestamp())
    log_roll.roll(log)
    assert rows(sliced(log, cache=cache)) == {0: 3}
    assert rows(sliced(log, cache=cache, every=24 * HOUR)) == {-12: 3}
    assert [start.year for start in sliced(log, cache=cache, time="since")] == [2014]
    other = reference.of_plain({**reference.plain(KNOWN), "rows": 7})
    assert other.key != KNOWN.key
    (file,) = cache.rglob("*.json")
    for content in (b"", b"{}", b"[1]", file.read_bytes()[:-9], file.read_bytes().replace(b'"rows"', b'"row"')):
        file.write_bytes(content)
        assert rows(sliced(log, cache=cache)) == {0: 3}


def test_a_day_is_counted_anew_when_the_retention_of_a_part_has_ended(tmp_path: Path) -> None:
    for _ in range(2):
        logged(tmp_path / "log", 3, at=NOON.timestamp())
    log_roll.roll(tmp_path / "log")
    assert rows(sliced(tmp_path / "log", cache=tmp_path / "c")) == {0: 6}
    next((tmp_path / "log").rglob("*.parquet")).unlink()
    assert rows(sliced(tmp_path / "log", cache=tmp_path / "c")) == {0: 3}


def test_a_cache_that_cannot_be_written_costs_nothing_but_time(tmp_path: Path) -> None:
    logged(tmp_path / "log", 3, at=NOON.timestamp())
    log_roll.roll(tmp_path / "log")
    (tmp_path / "file").touch()
    assert rows(sliced(tmp_path / "log", cache=tmp_path / "file")) == {0: 3}


def test_the_time_of_the_event_orders_rows_and_one_without_has_that_of_the_row_before(tmp_path: Path) -> None:
    log = open_log(tmp_path, SCHEMA, "churn", "1")
    days = [None, "20/11/2026", None, "21/11/2026", "no date"]
    for key, day in zip(log.ids(5), days, strict=True):
        log.write([record(key, {**ROW, "since": day}, 1.0)])
    log.close()
    for _ in range(2):
        found = sliced(tmp_path, every=24 * HOUR, time="since")
        assert [(start.day, count.rows) for start, count in found.items()] == [(20, 3), (21, 2)]
        assert not {"since", "since: day of week"} & set(found[NOON.replace(hour=0)].cells)
        log_roll.roll(tmp_path)


def test_a_redacted_column_has_no_cells(tmp_path: Path) -> None:
    logged(tmp_path, 3, at=NOON.timestamp(), redact=["plan", "note"])
    (found,) = sliced(tmp_path).values()
    assert {signal.column for signal in KNOWN.signals if signal.name in found.cells} == {"", "age", "since"}


def test_values_of_a_regression(tmp_path: Path) -> None:
    columns, _ = from_rows([{"rooms": n} for n in range(100)], PRICES)
    known = reference.make(columns, columns, PRICES, Output(np.arange(100.0)), np.arange(100.0))
    log = open_log(tmp_path, PRICES, "price", "1")
    log.write([price(key, 50.5) for key in log.ids(4)])
    log.close()
    (found,) = of_log(tmp_path, known, PRICES, "1", 1e9).values()
    assert found.cells["prediction"].sum() == found.cells["prediction"].max() == found.rows == 4


def test_an_empty_log(tmp_path: Path) -> None:
    assert sliced(tmp_path / "nothing") == {}
    open_log(tmp_path, SCHEMA, "churn", "1").close()
    assert sliced(tmp_path) == {}
