"""Segments become Parquet exactly once, whatever stops it, and rows that are too old go."""

from __future__ import annotations

import json
import os
import resource
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import polars as pl
import pyarrow.parquet
import pytest

from keepfit.data import labels, log_parts, log_read, log_roll, segments
from keepfit.data.log import Block, open_log
from keepfit.data.log_roll import Rolled
from keepfit.errors import DataError
from tests.data.answered import PRICES, ROW, SCHEMA, logged, price, write

NOON = datetime(2026, 11, 20, 12, tzinfo=UTC).timestamp()
DAY = 86_400


def ids(folder: Path) -> list[str]:
    return log_read.read(folder).collect()["id"].sort().to_list()


def files(folder: Path) -> list[str]:
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*.parquet"))


def test_a_part_is_plain_parquet(tmp_path: Path) -> None:
    (key, _) = logged(tmp_path, 2, at=NOON + 0.25)
    assert log_roll.roll(tmp_path) == Rolled(1, 2)
    segment = key.partition("-")[0]
    assert files(tmp_path) == [f"date=2026-11-20/{segment}-2.parquet"]
    table = pyarrow.parquet.read_table(tmp_path / files(tmp_path)[0], partitioning=None)
    assert {field.name: str(field.type) for field in table.schema} == {
        "id": "string", "time": "timestamp[us, tz=UTC]", "model": "string", "version": "string", "role": "string",
        "request": "string", "caller": "string", "route": "string", "latency": "double",
        "inputs": "struct<customer: string, age: double, plan: string, since: timestamp[us, tz=UTC], note: string>",
        "prediction": "string", "value": "double", "confidence": "double",
        "probabilities": "map<string, double ('probabilities')>", "low": "double", "high": "double", "step": "double",
        "scale": "double",
    }  # fmt: skip
    row = table.to_pylist()[0]
    assert row == {
        "id": key, "time": datetime(2026, 11, 20, 12, 0, 0, 250_000, UTC), "model": "churn", "version": "1",
        "role": "champion", "request": "request-1", "caller": "ann", "route": "/predict", "latency": 0.002,
        "inputs": {"customer": "Customer 1", "age": 41.0, "plan": "pro", "since": datetime(2014, 10, 13, tzinfo=UTC),
                   "note": "  Fine\n"},
        "prediction": "no", "value": None, "confidence": 0.75, "probabilities": [("no", 0.75), ("yes", 0.25)],
        "low": None, "high": None, "step": None, "scale": None,
    }  # fmt: skip


def test_values_mean_what_they_mean_elsewhere(tmp_path: Path) -> None:
    log = open_log(tmp_path, SCHEMA, "churn", "1")
    for age, plan, since in ((" 1e1 ", "?", "2014-10-13"), (True, 98178.0, None), (2.5, 7, "some day"), ("old", [], 3)):
        write(log, 1, inputs={"customer": 7, "age": age, "plan": plan, "since": since, "note": " "})
    log.close()
    log_roll.roll(tmp_path)
    found = log_read.read(tmp_path).sort("id").collect()["inputs"].struct.unnest()
    assert found["age"].to_list() == [10.0, 1.0, 2.5, None]
    assert found["plan"].to_list() == [None, "98178", "7", None]
    assert found["since"].to_list() == [datetime(2014, 10, 13, tzinfo=UTC), None, None, None]
    assert found["note"].null_count() == 4
    assert found["customer"].to_list() == ["7"] * 4


def test_dates_that_calendars_do_not_have(tmp_path: Path) -> None:
    log = open_log(tmp_path, SCHEMA, "churn", "1")
    write(log, 1, at=-1e300)  # a clock gone wrong: such a row is no row
    write(log, 1)
    log.close()
    assert log_roll.roll(tmp_path) == Rolled(1, 1, damaged=1)


def test_a_segment_over_midnight_has_a_part_a_day(tmp_path: Path) -> None:
    log = open_log(tmp_path, SCHEMA, "churn", "1")
    keys = [*write(log, 2, at=NOON), *write(log, 3, at=NOON + DAY)]
    log.close()
    before = ids(tmp_path)
    assert log_roll.roll(tmp_path) == Rolled(1, 5)
    assert [path.partition("/")[0] for path in files(tmp_path)] == ["date=2026-11-20", "date=2026-11-21"]
    assert ids(tmp_path) == before == keys
    assert segments.names(tmp_path) == []


def test_blocks_smaller_than_a_segment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    keys = sorted(logged(tmp_path, 100, at=NOON))
    monkeypatch.setattr(log_roll, "BLOCK", 100)  # shorter than a line
    assert log_roll.roll(tmp_path) == Rolled(1, 100)
    assert ids(tmp_path) == keys
    assert len(files(tmp_path)) == 1


def test_a_live_segment_waits_for_its_rotation(tmp_path: Path) -> None:
    log = open_log(tmp_path, SCHEMA, "churn", "1")
    write(log, 2)
    assert log_roll.roll(tmp_path) == Rolled()
    log.rotate(1, 0)
    assert log_roll.roll(tmp_path) == Rolled(1, 2)
    write(log, 1)
    assert len(ids(tmp_path)) == 3
    log.close()


def test_damaged_lines_are_put_aside(tmp_path: Path) -> None:
    keys = logged(tmp_path, 3)
    path = segments.path(tmp_path, keys[0].partition("-")[0])
    head, one, two, three = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(head + one + b"\0\0\0\n" + two + b'{"id":"x"}\n' + three + b'{"id":"torn')
    assert ids(tmp_path) == keys
    assert log_roll.roll(tmp_path) == Rolled(1, 3, damaged=2)
    assert ids(tmp_path) == keys
    assert (tmp_path / "_damaged" / path.name).read_bytes() == head + b'\0\0\0\n{"id":"x"}\n'


def test_a_request_whose_line_is_damaged_is_put_aside_whole(tmp_path: Path) -> None:
    log = open_log(tmp_path, SCHEMA, "churn", "1")
    write(log, 1)
    said = (["no", "no"], [1.0, 1.0], [[1.0, 0.0]] * 2)
    broken = [
        (log.columns([ROW]), *said),
        (log.columns([ROW] * 2)[1:], *said),
        (log.columns([ROW] * 2), *said[:2], [[1.0]] * 2),
    ]
    for values in broken:  # a value is missing, a column, a probability
        log.write([Block(log.ids(2), NOON, "r", None, "/predict", 0.1, *values)])
    log.write([Block(log.ids(2), NOON, "r", None, "/predict", 0.1, log.columns([ROW] * 2), *said)])
    log.close()
    assert log_roll.roll(tmp_path) == Rolled(1, 3, damaged=3)


def test_segments_of_the_first_format_are_read(tmp_path: Path) -> None:
    keys = logged(tmp_path, 3)
    path = segments.path(tmp_path, keys[0].partition("-")[0])
    path.write_bytes(path.read_bytes().replace(b'{"format":2,', b'{"format":1,', 1))
    assert ids(tmp_path) == keys
    assert log_roll.roll(tmp_path) == Rolled(1, 3)
    assert ids(tmp_path) == keys


def test_segments_without_a_header_and_of_a_newer_format(tmp_path: Path) -> None:
    for name, line in ((segments.named(1e9), b"\0\0\n"), (segments.named(2e9), b'{"format": 99}\n{"id": 1}\n')):
        path = segments.path(tmp_path, name)
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(line)
    keys = logged(tmp_path, 1)
    assert log_roll.roll(tmp_path) == Rolled(1, 1, damaged=1)
    assert ids(tmp_path) == keys
    assert segments.names(tmp_path) == [name]  # it is left to the keepfit that wrote it
    assert len(list((tmp_path / "_damaged").iterdir())) == 1


@pytest.mark.parametrize("stop", ["keep", "settled", "sync"])
def test_what_is_stopped_halfway_is_done_once(tmp_path: Path, stop: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Killed between any two of its steps, at the first day or at the second."""
    log = open_log(tmp_path, SCHEMA, "churn", "1")
    keys = [*write(log, 2, at=NOON), *write(log, 3, at=NOON + DAY)]
    log.close()
    owner = {"keep": log_parts, "settled": segments, "sync": log_roll.durable}[stop]
    real = getattr(owner, stop)

    for calls in range(3):
        count = iter(range(100))

        def killed(*arguments: Any, at: int = calls, count: Any = count, **rest: Any) -> Any:
            if next(count) == at:
                raise KeyboardInterrupt
            return real(*arguments, **rest)

        with monkeypatch.context() as patched:
            patched.setattr(owner, stop, killed)
            try:
                log_roll.roll(tmp_path)
            except KeyboardInterrupt:
                assert ids(tmp_path) == keys
    log_roll.roll(tmp_path)
    assert ids(tmp_path) == keys
    assert len(files(tmp_path)) == 2
    assert list((tmp_path / "_segments").iterdir()) == []


def test_many_rollers_at_once(tmp_path: Path) -> None:
    keys = [key for _ in range(30) for key in logged(tmp_path, 20)]
    with ThreadPoolExecutor(6) as pool:
        done = list(pool.map(lambda _: log_roll.roll(tmp_path), range(6)))
    assert sum(one.rows for one in done) == 600
    assert ids(tmp_path) == sorted(keys)
    assert sum(part.rows for part in log_parts.listed(tmp_path)) == 600


def test_a_full_disk_loses_nothing(tmp_path: Path) -> None:
    keys = sorted(logged(tmp_path, 500))
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, hard))
    try:
        with pytest.raises(DataError, match=r"cannot be rolled into Parquet: .*Nothing is lost: free some space"):
            log_roll.roll(tmp_path)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert files(tmp_path) == []
    assert ids(tmp_path) == keys
    assert log_roll.roll(tmp_path) == Rolled(1, 500)


def test_retention(tmp_path: Path) -> None:
    folder, feedback, now = tmp_path / "predictions", tmp_path / "feedback", time.time()
    old = logged(folder, 2, at=now - 10 * DAY)
    new = logged(folder, 2, at=now)
    shadow = logged(folder, 1, at=now - 10 * DAY, role="shadow")
    labels.add(feedback, folder, [{"id": key, "label": "no"} for key in (*old, *new)])
    assert log_roll.tidy(folder, retention=5 * DAY) == Rolled(4, 9, deleted=2)
    assert ids(folder) == new
    assert len(shadow) == 1
    assert files(tmp_path / "shadow") == []
    assert len(list(folder.glob("date=*"))) == 1  # the emptied folder is gone
    assert log_read.latest(feedback)["id"].sort().to_list() == sorted([*old, *new])


def test_retention_forgets_what_is_known_of_old_segments(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder, feedback, now = tmp_path / "predictions", tmp_path / "feedback", time.time()
    monkeypatch.setattr(segments.time, "time", lambda: now - 10 * DAY)
    (old,) = logged(folder, 1, at=now - 10 * DAY)
    (kept,) = logged(folder, 1, at=now)  # begun then, and written until today
    monkeypatch.undo()
    labels.add(feedback, folder, [{"id": key, "label": "no"} for key in (old, kept)])
    log_roll.tidy(folder, retention=5 * DAY)
    assert segments.known(folder, old.partition("-")[0]) is None
    assert segments.known(folder, kept.partition("-")[0]) is not None
    assert [path.name for path in (feedback / "_seen").iterdir()] == [kept.partition("-")[0]]
    told = labels.add(feedback, folder, [{"id": old, "label": "no"}, {"id": kept, "label": "no"}], retention=5 * DAY)
    assert (told.accepted, told.repeated, told.expired, told.unknown) == (1, 1, (old,), ())


def test_leftovers_of_killed_processes(tmp_path: Path) -> None:
    hidden = tmp_path / "_segments" / f".{segments.named(1e9)}.ndjson"
    hidden.parent.mkdir()
    hidden.write_text("{}")
    log_roll.tidy(tmp_path)
    assert hidden.exists()  # somebody may be about to name it
    os.utime(hidden, (1e9, 1e9))
    log_roll.tidy(tmp_path)
    assert not hidden.exists()


def test_the_command_tells_what_failed(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    logged(tmp_path / "predictions", 1)
    assert log_roll.main([str(tmp_path / "predictions"), "--uri", "ftp://host/x"]) == 1
    assert "serving.log.uri 'ftp://host/x' is no object store. Known: s3://, gs://, az://" in capsys.readouterr().err
    assert log_roll.main([str(tmp_path / "predictions")]) == 0
    assert json.loads(capsys.readouterr().out)["rows"] == 1


def test_versions_whose_columns_differ_read_as_one(tmp_path: Path) -> None:
    duckdb = pytest.importorskip("duckdb")
    logged(tmp_path, 1, version="1")
    logged(tmp_path, 1, version="2", schema=_other_schema())
    log = open_log(tmp_path, PRICES, "price", "3")
    log.write([price(log.ids(1)[0], 7.5)])
    log.close()
    for _ in range(2):
        rows = log_read.read(tmp_path).sort("version").collect()
        assert rows["prediction"].to_list() == ["no", "no", "7.5"]
        inputs = rows["inputs"].to_list()
        assert [row["age"] for row in inputs] == ["41.0", "41", None]
        assert [row["rooms"] for row in inputs] == [None, None, 3.0]
        log_roll.roll(tmp_path)
    query = f"select version, inputs.age, value, date from '{tmp_path}/*/*.parquet' order by version"
    with duckdb.connect() as database:
        database.execute("set timezone = 'UTC'")
        found = database.sql(query.replace(f"'{tmp_path}", f"read_parquet('{tmp_path}").replace(
            ".parquet'", ".parquet', union_by_name = true)")).fetchall()  # fmt: skip
    today = date.today()
    assert [row[:3] for row in found] == [("1", "41.0", None), ("2", "41", None), ("3", None, 7.5)]
    assert abs((found[0][3] - today).days) <= 1


def _other_schema() -> Any:
    import dataclasses

    columns = [dataclasses.replace(c, role="category") if c.name == "age" else c for c in SCHEMA.columns]
    return dataclasses.replace(SCHEMA, columns=tuple(c for c in columns if c.name != "note"))


def test_since_until_role_and_all_that_was_answered(tmp_path: Path) -> None:
    folder = tmp_path / "predictions"
    keys = [logged(folder, 1, at=NOON + n * DAY)[0] for n in range(4)]
    canary = logged(folder, 1, at=NOON, role="canary")
    for _ in range(2):
        found = log_read.read(folder, datetime(2026, 11, 21), datetime.fromtimestamp(NOON + 3 * DAY, UTC))
        assert set(found.collect()["id"]) == set(keys[1:3])
        assert log_read.read(folder, role="canary").collect()["id"].to_list() == canary
        assert len(log_read.read(folder, role=None).collect()) == 5
        log_roll.roll(folder)
    assert log_read.read(tmp_path / "nothing").collect().columns[:4] == ["id", "time", "model", "version"]
    assert isinstance(log_read.read(folder), pl.LazyFrame)


@pytest.mark.slow
def test_it_is_read_while_it_grows(tmp_path: Path) -> None:
    """polars, DuckDB and keepfit itself see whole files, and keepfit each row once."""
    duckdb = pytest.importorskip("duckdb")
    folder = tmp_path / "predictions"
    code = (
        "import sys, subprocess; from pathlib import Path; from keepfit.data.log import Block, open_log;"
        "from keepfit.data.log_roll import tidy; from tests.data.answered import SCHEMA, write\n"
        "folder = Path(sys.argv[1]); log = open_log(folder, SCHEMA, 'churn', '1')\n"
        "for n in range(120):\n write(log, 50); print(50, flush=True)\n if n % 4 == 3: log.rotate(1, 0); tidy(folder)"
    )
    with subprocess.Popen([sys.executable, "-c", code, str(folder)], stdout=subprocess.PIPE, text=True) as grows:
        assert grows.stdout is not None
        acknowledged = reads = last = 0
        for line in grows.stdout:
            acknowledged += int(line)
            if acknowledged % 250:
                continue
            found = log_read.read(folder).collect()["id"]
            assert len(found) == found.n_unique() >= acknowledged
            if files(folder):
                here = duckdb.sql(f"select count(*), count(distinct id) from '{folder}/*/*.parquet'").fetchall()[0]
                there = pl.scan_parquet(folder / "*/*.parquet", hive_partitioning=True).select(
                    pl.len(), pl.col("id").n_unique()
                )
                after = there.collect().row(0)
                assert here[0] == here[1] >= last
                assert after[0] == after[1] >= here[0]
                last, reads = after[0], reads + 1
    assert grows.returncode == 0
    assert reads > 5
    log_roll.roll(folder)
    assert len(ids(folder)) == 6000
