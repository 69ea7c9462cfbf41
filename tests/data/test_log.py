"""The writer of the prediction log: on the disk before the answer leaves, or not answered."""

from __future__ import annotations

import json
import os
import resource
import shutil
import subprocess
import sys
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from keepfit.data import log_read, log_roll, segments
from keepfit.data.log import Block, open_log, roller
from keepfit.errors import DataError, RequestError
from tests.data.answered import CLASSES, PRICES, ROW, SCHEMA, contents, line, logged, price, record, write


@pytest.fixture
def limit() -> Iterator[Any]:
    """Sets how large a file may grow: what a full disk does, without filling one."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    yield lambda size: resource.setrlimit(resource.RLIMIT_FSIZE, (soft if size is None else size, hard))
    resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def lines(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def test_a_row_is_in_the_file_when_write_returns(tmp_path: Path) -> None:
    log = open_log(tmp_path, SCHEMA, "churn", "3")
    (key,) = write(log, 1, at=1.25)
    header, row = lines(log.path)
    assert {name: header[name] for name in ("format", "model", "version", "role", "task", "classes", "redacted")} == {
        "format": 2, "model": "churn", "version": "3", "role": "champion", "task": "classification",
        "classes": list(CLASSES), "redacted": [],
    }  # fmt: skip
    assert [column["name"] for column in header["columns"]] == ["customer", "age", "plan", "since", "note"]
    assert row == {
        "id": key, "time": 1.25, "request": "request-1", "caller": "ann", "route": "/predict", "latency": 0.002,
        "inputs": ["Customer 1", 41, " pro", "13/10/2014", "  Fine\n"],
        "prediction": "no", "confidence": 0.75, "probabilities": [0.75, 0.25],
    }  # fmt: skip
    log.close()
    log.close()


@pytest.mark.parametrize(("note", "count"), [("as it is", 1), ("half \ud800", 3)])
def test_the_rows_of_a_request_are_one_line_and_read_as_rows(tmp_path: Path, note: str, count: int) -> None:
    inputs: list[dict[str, Any]] = [{**ROW, "age": age, "note": note} for age in ("41", None, Decimal(3))]
    del inputs[1]["plan"]
    said = [("no", 0.75, [0.75, 0.25]), ("no", 0.5, [0.5, 0.5]), ("yes", 1.0, [float("nan"), 1.0])]
    found = []
    for redact in ([], ["customer", "age", "plan", "since", "note"]):
        one, other = (
            open_log(tmp_path / name / str(len(redact)), SCHEMA, "churn", "1", redact=redact) for name in "ab"
        )
        values, (name, sure, shares) = one.inputs(inputs), zip(*said, strict=True)
        one.write([line(key, of, 1.25, prediction=n, confidence=c, probabilities=p)
                   for key, of, (n, c, p) in zip(one.ids(3), values, said, strict=True)])  # fmt: skip
        keys, origin = other.ids(3), ("request-1", "ann", "/predict", 0.002)
        other.write([Block(keys, 1.25, *origin, other.columns(inputs), name, sure, shares)])
        assert len(lines(other.path)) == 1 + (1 if redact else count)
        for log in (one, other):
            log.close()
            found.append(log_read.read(log.folder).collect())
        assert found[-1]["id"].to_list() == keys
        assert found[-1].drop("id").equals(found[-2].drop("id"))
        assert segments.known(other.folder, keys[0].partition("-")[0]).given == 3  # type: ignore[union-attr]
        assert log_roll.roll(other.folder).rows == 3
        assert log_read.read(other.folder).sort("id").collect().equals(found[-1])
    assert found[1]["inputs"].struct.field("age").to_list() == [41.0, None, 3.0]
    assert "inputs" not in found[3].columns


def test_the_header_holds_nothing_of_the_training_data(tmp_path: Path) -> None:
    logged(tmp_path, 1)
    assert b"secret" not in contents(tmp_path)


def test_ids_are_unique_and_in_order(tmp_path: Path) -> None:
    logs = [open_log(tmp_path, SCHEMA, "churn", "3") for _ in range(3)]
    keys = [key for log in logs for n in (1, 20, 300) for key in log.ids(n)]
    assert len(set(keys)) == 3 * 321
    places = [segments.place(key) for key in keys[:321]]
    assert [place and place[1] for place in places] == [*range(321)]
    for log in logs:
        log.close()


def test_a_log_without_rows_leaves_nothing(tmp_path: Path) -> None:
    open_log(tmp_path, SCHEMA, "churn", "3").close()
    assert segments.names(tmp_path) == []


def test_columns_that_a_caller_left_out(tmp_path: Path) -> None:
    log = open_log(tmp_path, SCHEMA, "churn", "3")
    log.write([record(log.ids(1)[0], {"age": 5, "plan": None, "since": None, "note": "a"})])
    assert lines(log.path)[1]["inputs"] == [None, 5, None, None, "a"]
    log.close()


def test_values_that_json_has_no_form_for(tmp_path: Path) -> None:
    log = open_log(tmp_path, SCHEMA, "churn", "3")
    odd = {
        "age": np.float32(1.5),
        "plan": np.str_("pro"),
        "since": Decimal("1.5"),
        "note": "half \ud800",
        "customer": 1,
    }
    keys = log.ids(3)
    nested = {**ROW, "age": float("nan"), "customer": {1, 2}, "note": np.array([1, 2])}
    log.write([record(keys[0], odd), record(keys[1], nested), record(keys[2], {**ROW, "age": 10**400})])
    log.write([record(log.ids(1)[0], prediction="\ud800")])
    log.close()
    rows = log_read.read(tmp_path).sort("id").collect()
    assert rows["id"].to_list()[:3] == keys
    assert rows["prediction"][3] == "\\ud800"
    inputs = rows["inputs"].to_list()
    assert (inputs[0]["age"], inputs[0]["plan"], inputs[0]["note"]) == (1.5, "pro", "half \\ud800")
    assert (inputs[1]["age"], inputs[1]["plan"]) == (None, "pro")
    assert inputs[2]["age"] is None  # infinite


def test_redacted_values_reach_no_file(tmp_path: Path) -> None:
    keys = logged(tmp_path / "predictions", 3, redact=["customer", "note"])
    assert not any(value in contents(tmp_path) for value in (b"Customer 1", b"Fine"))
    log_roll.roll(tmp_path / "predictions")
    assert not any(value in contents(tmp_path) for value in (b"Customer 1", b"Fine"))
    rows = log_read.read(tmp_path / "predictions").collect()
    assert rows["id"].sort().to_list() == keys
    assert [field.name for field in rows.schema["inputs"].fields] == ["age", "plan", "since"]


def test_a_full_disk_refuses_and_recovers(tmp_path: Path, limit: Any) -> None:
    log = open_log(tmp_path, SCHEMA, "churn", "3")
    kept = write(log, 2)
    size = log.path.stat().st_size
    limit(size + 100)
    with pytest.raises(RequestError, match=r"^The prediction log cannot be written, and what is not logged") as caught:
        write(log, 1)
    assert (caught.value.status, caught.value.code, caught.value.retry) == (503, "log_unwritable", 5.0)
    assert isinstance(caught.value.__cause__, OSError)
    assert str(tmp_path) not in str(caught.value)
    assert log.path.stat().st_size == size
    limit(None)
    kept += write(log, 2)
    log.close()
    assert log_read.read(tmp_path).collect()["id"].sort().to_list() == kept
    log_roll.roll(tmp_path)
    assert log_read.read(tmp_path).collect()["id"].sort().to_list() == kept
    assert segments.known(tmp_path, kept[0].partition("-")[0]).given == 5  # type: ignore[union-attr]


def test_a_segment_that_cannot_be_mended_is_replaced(tmp_path: Path, limit: Any, monkeypatch: Any) -> None:
    log = open_log(tmp_path, SCHEMA, "churn", "3")
    kept, late = write(log, 2), log.ids(1)

    def refused(file: int, size: int) -> None:
        raise OSError(5, "Input/output error")

    limit(log.path.stat().st_size + 100)
    with monkeypatch.context() as patched:
        patched.setattr(os, "ftruncate", refused)
        with pytest.raises(RequestError):
            write(log, 1)
    with pytest.raises(RequestError):
        log.write([record(late[0])])  # it would lie in another segment than its id says
    limit(50)  # nor is there room for a new segment
    with pytest.raises(RequestError):
        log.ids(1)
    limit(None)
    kept += write(log, 2)
    assert len(segments.names(tmp_path)) == 2
    assert all(key.startswith(log.path.stem) for key in kept[2:])
    log.close()
    log_roll.roll(tmp_path)
    assert log_read.read(tmp_path).collect()["id"].sort().to_list() == sorted(kept)


def test_a_segment_that_somebody_removed_is_replaced(tmp_path: Path) -> None:
    log = open_log(tmp_path, SCHEMA, "churn", "3")
    write(log, 1)
    shutil.rmtree(tmp_path / "_segments")
    assert log.rotate(10**6, 3600)
    (key,) = write(log, 1)
    assert lines(log.path)[1]["id"] == key
    log.close()


def test_a_closed_log_is_not_begun_again(tmp_path: Path) -> None:
    log = open_log(tmp_path, SCHEMA, "churn", "3")
    write(log, 1)
    log.close()
    assert not log.rotate(1, 0)
    assert len(segments.names(tmp_path)) == 1


def test_rotate(tmp_path: Path, limit: Any) -> None:
    log = open_log(tmp_path, SCHEMA, "churn", "3")
    assert not log.rotate(1, 0)  # nothing in it
    write(log, 1)
    assert not log.rotate(10**6, 3600)
    first = log.path
    limit(20)
    with pytest.raises(DataError, match=r"^No new segment in .*: File too large. Free some space\.$"):
        log.rotate(1, 3600)
    limit(None)
    assert write(log, 1)[0].startswith(first.stem)  # the old one is in use still
    assert log.rotate(1, 3600)
    write(log, 1)
    assert log.rotate(10**6, 0)
    assert segments.take(tmp_path, first.stem) is not None
    log.close()
    assert len(segments.names(tmp_path)) == 2


def test_a_folder_that_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(DataError, match=r"cannot be written: .*serving\.log\.enabled: false"):
        open_log(tmp_path / "file", SCHEMA, "churn", "3")


def test_what_a_shadow_said_lies_apart(tmp_path: Path) -> None:
    keys = logged(tmp_path / "predictions", 2)
    log = open_log(tmp_path / "predictions", SCHEMA, "churn", "4", "shadow", durable=True)
    log.write([record(key, prediction="yes") for key in keys])  # the ids of what was answered
    log.close()
    assert log.path.parents[1] == tmp_path / "shadow"
    for _ in range(2):
        answered = log_read.read(tmp_path / "predictions").sort("id").collect()
        shadow = log_read.read(tmp_path / "predictions", role="shadow").sort("id").collect()
        assert answered["id"].to_list() == shadow["id"].to_list() == keys
        assert (answered["version"].unique().to_list(), shadow["prediction"].unique().to_list()) == (["1"], ["yes"])
        log_roll.tidy(tmp_path / "predictions")


def test_numbers(tmp_path: Path) -> None:
    log = open_log(tmp_path, PRICES, "price", "1")
    (key,) = log.ids(1)
    log.write([price(key, 7.5, low=7.0, high=8.0), price(log.ids(1)[0], float("nan"))])
    log.close()
    row, other = log_read.read(tmp_path).collect().to_dicts()
    assert (other["prediction"], other["value"]) == (None, None)
    assert [row[name] for name in ("prediction", "value", "low", "high", "confidence", "caller")] == \
        ["7.5", 7.5, 7.0, 8.0, None, None]  # fmt: skip
    assert row["probabilities"] is None


def test_the_server_needs_neither_polars_nor_pydantic() -> None:
    code = "import sys, keepfit.data.log, keepfit.data.labels; print(sorted(sys.modules))"
    names = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert not any(f"'{name}'" in names for name in ("polars", "pydantic", "pyarrow", "pandas", "numpy", "fsspec"))


def test_the_command_of_the_roller(tmp_path: Path) -> None:
    logged(tmp_path / "predictions", 3)
    done = subprocess.run(roller(tmp_path / "predictions", retention=86400.0), capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")
    assert json.loads(done.stdout) == {"segments": 1, "rows": 3, "damaged": 0, "deleted": 0}
    assert roller(tmp_path, "s3://b/shop")[-2:] == ["--uri", "s3://b/shop"]
