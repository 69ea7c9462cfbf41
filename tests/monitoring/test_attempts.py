"""One training at a time, and a record of the last that no crash makes wrong."""

from __future__ import annotations

import multiprocessing
import os
import signal
from datetime import UTC, datetime
from multiprocessing.connection import Connection
from pathlib import Path

import pytest

from keepfit import durable
from keepfit.errors import BusyError
from keepfit.monitoring import attempts

NOW = datetime(2026, 1, 7, 12, tzinfo=UTC)


def test_what_came_of_it_is_kept(tmp_path: Path) -> None:
    assert attempts.last(tmp_path) is None
    with attempts.only(tmp_path, NOW, "performance") as note:
        at = attempts.last(tmp_path)
        assert at is not None
        assert (at.outcome, at.pid, at.reason) == ("at work", os.getpid(), "performance")
        assert attempts.at_work(tmp_path)
        note("at work", run="r1")
        note("promoted", version="4")
    assert not attempts.at_work(tmp_path)
    found = attempts.last(tmp_path)
    assert found is not None
    assert (found.outcome, dict(found.about)) == ("promoted", {"run": "r1", "version": "4"})
    assert datetime.fromisoformat(found.when) == NOW


@pytest.mark.parametrize(("error", "outcome"), [(ValueError("no rows"), "failed"), (KeyboardInterrupt(), "stopped")])
def test_a_training_that_raises_is_noted_and_the_next_may_begin(
    tmp_path: Path, error: BaseException, outcome: str
) -> None:
    with pytest.raises(type(error)), attempts.only(tmp_path, NOW, "drift"):
        raise error
    found = attempts.last(tmp_path)
    assert found is not None
    assert found.outcome == outcome
    assert found.problem == (str(error) or "KeyboardInterrupt")
    with attempts.only(tmp_path, NOW, "again"):
        pass
    again = attempts.last(tmp_path)
    assert again is not None
    assert again.outcome == "ended"


def _promote_and_break(folder: Path) -> None:
    with attempts.only(folder, NOW, "drift") as note:
        note("promoted", version="4")
        raise ValueError("the report could not be written")


def test_what_was_decided_stands_though_something_breaks_later(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="report"):
        _promote_and_break(tmp_path)
    found = attempts.last(tmp_path)
    assert found is not None
    assert (found.outcome, found.problem) == ("promoted", "the report could not be written")


def _full(*_: object) -> None:
    raise OSError(28, "No space left on device")


def _fill_the_disk_and_break(folder: Path, patch: pytest.MonkeyPatch) -> None:
    with attempts.only(folder, NOW, "drift"):
        patch.setattr(durable, "write_text", _full)
        raise ValueError("no rows")


def test_on_a_full_disk_the_error_is_told_and_the_attempt_reads_as_crashed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(ValueError, match="no rows"):
        _fill_the_disk_and_break(tmp_path, monkeypatch)
    found = attempts.last(tmp_path)
    assert found is not None
    assert found.outcome == "crashed"
    with pytest.raises(OSError, match="No space"), attempts.only(tmp_path, NOW, "next"):
        raise AssertionError("it began without a record")
    monkeypatch.undo()
    with attempts.only(tmp_path, NOW, "next"):
        pass


def test_a_second_one_is_kept_out_and_told_who_is_at_it(tmp_path: Path) -> None:
    with (
        attempts.only(tmp_path, NOW, "first"),
        pytest.raises(BusyError, match=f"process {os.getpid()}, since 2026-01-07"),
        attempts.only(tmp_path, NOW, "second"),
    ):
        pass
    found = attempts.last(tmp_path)
    assert found is not None
    assert found.reason == "first"


def test_a_damaged_record_does_not_stop_the_next(tmp_path: Path) -> None:
    (tmp_path / attempts.FILE).write_text('{"format": 1, "when": "tomorrow"')
    with pytest.warns(UserWarning, match="begins anew"):
        assert attempts.last(tmp_path) is None
    with attempts.only(tmp_path, NOW, "next") as note:
        note("refused")
    found = attempts.last(tmp_path)
    assert found is not None
    assert found.outcome == "refused"


def _train_for_ever(folder: Path, begun: Connection) -> None:
    with attempts.only(folder, NOW, "performance"):
        begun.send("begun")
        signal.pause()


@pytest.mark.slow
def test_a_killed_training_reads_as_crashed_and_keeps_nobody_out(tmp_path: Path) -> None:
    context = multiprocessing.get_context("spawn")
    mine, theirs = context.Pipe()
    process = context.Process(target=_train_for_ever, args=(tmp_path, theirs))
    process.start()
    assert mine.recv() == "begun"
    assert attempts.at_work(tmp_path)
    assert process.pid is not None
    os.kill(process.pid, signal.SIGKILL)
    process.join()
    assert not attempts.at_work(tmp_path)
    found = attempts.last(tmp_path)
    assert found is not None
    assert (found.outcome, found.pid) == ("crashed", process.pid)
    with attempts.only(tmp_path, NOW, "next") as note:
        note("refused")
