"""The record of decisions: complete, signed, and readable after a crash."""

from __future__ import annotations

import json
import multiprocessing
import os
from pathlib import Path

import pytest

from keepfit.errors import TrackingError
from keepfit.tracking import decisions
from keepfit.types import Check, Decision, Verdict


def decision(version: str = "1", reason: str = "better") -> Decision:
    return Decision("promoted", "churn", reason, Verdict("gate", (Check("auc", "passed", 0.9, ">= 0.8"),)), version)


def test_a_record_comes_back_as_it_was_with_time_and_author(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KEEPFIT_AUTHOR", "ann")
    written = decisions.record(tmp_path, decision(reason="größer\nund besser"))
    assert written.by == "ann"
    assert written.when.endswith("+00:00")
    assert decisions.history(tmp_path) == [written]


def test_what_is_filled_in_already_is_kept(tmp_path: Path) -> None:
    given = Decision("refused", "churn", "no", Verdict("gate"), by="bob", when="2026-01-01T00:00:00+00:00")
    assert decisions.record(tmp_path, given) == given


def test_no_file_is_no_history(tmp_path: Path) -> None:
    assert decisions.history(tmp_path / "nowhere") == []


@pytest.mark.parametrize("kept", [1, 10, 60])
def test_a_torn_last_line_is_reported_and_the_next_record_is_whole(tmp_path: Path, kept: int) -> None:
    first = decisions.record(tmp_path, decision("1"))
    decisions.record(tmp_path, decision("2"))
    path = tmp_path / decisions.FILE
    lines = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(lines[0] + lines[1][:kept])
    with pytest.warns(UserWarning, match="last record is torn"):
        assert decisions.history(tmp_path) == [first]
    third = decisions.record(tmp_path, decision("3"))
    assert decisions.history(tmp_path) == [first, third]
    fourth = decisions.record(tmp_path, decision("4"))
    assert decisions.history(tmp_path) == [first, third, fourth]


def test_a_record_that_lacks_only_its_newline_is_kept(tmp_path: Path) -> None:
    first = decisions.record(tmp_path, decision("1"))
    path = tmp_path / decisions.FILE
    path.write_bytes(path.read_bytes().rstrip(b"\n"))
    assert decisions.history(tmp_path) == [first]
    second = decisions.record(tmp_path, decision("2"))
    assert decisions.history(tmp_path) == [first, second]


@pytest.mark.parametrize("line", ["{broken", "[1, 2]", '{"kind": "promoted"}'])
def test_damage_in_the_middle_is_an_error_that_names_the_line(tmp_path: Path, line: str) -> None:
    decisions.record(tmp_path, decision("1"))
    path = tmp_path / decisions.FILE
    path.write_text(path.read_text() + line + "\n" + path.read_text())
    with pytest.raises(TrackingError, match=r"decisions.jsonl, line 2 is no decision.*Restore it"):
        decisions.history(tmp_path)


def test_an_unwritable_file_is_an_error(tmp_path: Path) -> None:
    (tmp_path / decisions.FILE).mkdir()
    with pytest.raises(TrackingError, match=r"could not be written to .*decisions.jsonl"):
        decisions.record(tmp_path, decision())


def _write_many(work: Path, name: str) -> None:
    os.environ["KEEPFIT_AUTHOR"] = name
    for number in range(25):
        decisions.record(work, decision(str(number), "x" * 5000))


def test_writers_at_the_same_time_lose_nothing(tmp_path: Path) -> None:
    context = multiprocessing.get_context("spawn")
    writers = [context.Process(target=_write_many, args=(tmp_path, f"writer {n}")) for n in range(3)]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join()
    found = decisions.history(tmp_path)
    assert len(found) == 75
    assert {d.by for d in found} == {"writer 0", "writer 1", "writer 2"}
    assert all(json.loads(line) for line in (tmp_path / decisions.FILE).read_text().splitlines())
