"""Promotions, rollbacks and refusals: tried first, recorded always, whole after a crash."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from pathlib import Path

import pytest

from keepfit import config
from keepfit.errors import BundleError, BusyError, TrackingError
from keepfit.tracking import decisions, lock, mlflow, registry
from keepfit.types import Check, Decision, Verdict
from tests.processes import together
from tests.tracking.conftest import registered

VERDICT = Verdict("promotion gate", (Check("goal accuracy", "passed", 0.9, ">= 0.8"),))


def fine(folder: Path) -> None:
    assert (folder / "bundle.json").is_file()


def damaged(folder: Path) -> None:
    raise BundleError("checksum of model.onnx differs")


@pytest.fixture
def three(store: mlflow.Store, bundle: Path) -> mlflow.Store:
    """A store with the versions 1, 2 and 3."""
    for _ in range(3):
        registered(store, bundle)
    return store


def test_the_first_champion_has_no_predecessor(three: mlflow.Store) -> None:
    decision = registry.promote(three, "1", "first", fine, VERDICT, run="r")
    assert (decision.kind, decision.version, decision.previous, decision.by) == ("promoted", "1", None, "ann")
    assert decision.run == "r"
    assert decision.verdict == VERDICT + Verdict("", (registry.TRIED,))
    assert mlflow.aliases(three) == {"champion": "1"}
    assert decisions.history(three.work) == [decision]


def test_the_champion_before_becomes_previous_and_the_challenger_is_no_more(three: mlflow.Store) -> None:
    registry.promote(three, "1", "first", fine)
    registry.refuse(three, "2", "worse", Verdict("gate", (Check("accuracy", "failed"),)))
    assert mlflow.aliases(three) == {"champion": "1", "challenger": "2"}
    registry.promote(three, "2", "I know better", fine)
    assert mlflow.aliases(three) == {"champion": "2", "previous": "1"}
    assert [d.kind for d in decisions.history(three.work)] == ["promoted", "refused", "promoted"]
    assert [d.previous for d in decisions.history(three.work)] == [None, "1", "1"]


def test_a_bundle_that_does_not_load_moves_nothing(three: mlflow.Store) -> None:
    registry.promote(three, "1", "first", fine)
    before = decisions.history(three.work)
    for attempt in (
        lambda: registry.promote(three, "2", "new", damaged),
        lambda: registry.rollback(three, damaged, to="2"),
    ):
        with pytest.raises(BundleError, match="checksum"):
            attempt()
    assert mlflow.aliases(three) == {"champion": "1"}
    assert decisions.history(three.work) == before


def test_an_unknown_version_and_the_champion_itself_are_errors(three: mlflow.Store) -> None:
    with pytest.raises(TrackingError, match=r"has no version 9 .*Known: 3, 2, 1"):
        registry.promote(three, "9", "x", fine)
    with pytest.raises(TrackingError, match="has no version 9"):
        registry.refuse(three, "9", "x", VERDICT)
    registry.promote(three, "1", "first", fine)
    with pytest.raises(TrackingError, match="Version 1 of 'churn' is the champion already"):
        registry.promote(three, "1", "again", fine)
    with pytest.raises(TrackingError, match="Version 1 of 'churn' is the champion already"):
        registry.rollback(three, fine, to="1")


def test_rollback_goes_back_and_a_second_one_returns(three: mlflow.Store) -> None:
    registry.promote(three, "1", "first", fine)
    registry.promote(three, "2", "second", fine)
    back = registry.rollback(three, fine, reason="too slow")
    assert (back.kind, back.version, back.previous, back.reason) == ("rolled_back", "1", "2", "too slow")
    assert mlflow.aliases(three) == {"champion": "1", "previous": "2"}
    again = registry.rollback(three, fine, reason="it was the network")
    assert (again.version, again.previous) == ("2", "1")
    named = registry.rollback(three, fine, to="3", reason="the newest")
    assert (named.version, named.previous) == ("3", "2")
    assert [d.kind for d in decisions.history(three.work)] == ["promoted"] * 2 + ["rolled_back"] * 3


def test_without_a_previous_champion_rollback_lists_the_versions(three: mlflow.Store) -> None:
    with pytest.raises(TrackingError, match=r"no previous champion.*\(champion: none, versions: 3, 2, 1\)"):
        registry.rollback(three, fine)
    registry.promote(three, "1", "first", fine)
    with pytest.raises(TrackingError, match="keepfit rollback --to VERSION"):
        registry.rollback(three, fine)


def test_refusing_the_champion_itself_leaves_it_champion_alone(three: mlflow.Store) -> None:
    registry.promote(three, "1", "first", fine)
    registry.refuse(three, "1", "drifted", Verdict("gate"))
    assert mlflow.aliases(three) == {"champion": "1"}


# the story in a shared registry


def test_another_machine_reads_the_story_from_the_registry(three: mlflow.Store, tmp_path: Path) -> None:
    many = Verdict("gate", tuple(Check(f"check {n}", "passed", n, n, "detail " * 20) for n in range(100)))
    made = [
        registry.promote(three, "1", "first", fine, VERDICT),
        registry.promote(three, "2", "second", fine, many),
        registry.rollback(three, fine, reason="slow"),
    ]
    assert registry.history(three) == made
    elsewhere = mlflow.connect(config.Tracking(uri=three.tracking), tmp_path / "elsewhere", "churn")
    told = registry.history(elsewhere)
    assert [(d.kind, d.version, d.when, d.by, d.reason) for d in told] == [
        (d.kind, d.version, d.when, d.by, d.reason) for d in made
    ]
    assert told[0] == made[0]
    assert len(told[1].verdict.checks) < 100 or told[1].verdict.checks[0].detail == ""
    registry.promote(elsewhere, "3", "from elsewhere", fine)
    assert [d.version for d in registry.history(three)] == ["1", "2", "1", "3"]


# crashes


class Crash(BaseException):
    """Ends the process at some point, as kill -9 would: nothing after it runs."""


def crash_after(monkeypatch: pytest.MonkeyPatch, module: object, name: str, calls: int) -> None:
    real: Callable[..., object] = getattr(module, name)
    count = [0]

    def counted(*arguments: object, **named: object) -> object:
        if count[0] == calls:
            raise Crash
        count[0] += 1
        return real(*arguments, **named)

    monkeypatch.setattr(module, name, counted)


@pytest.mark.parametrize(
    ("module", "name", "calls", "happened"),
    [
        (mlflow, "move", 0, False),  # before anything
        (mlflow, "move", 1, False),  # previous is set, the champion is not
        (mlflow, "move", 2, True),  # the champion is set, the challenger still there
        (mlflow, "tag", 0, True),  # not told to the registry
        (decisions, "record", 0, True),  # not recorded
        (Path, "unlink", 0, True),  # recorded, the note is still there
    ],
)
def test_a_move_that_was_cut_off_is_made_whole(
    three: mlflow.Store, monkeypatch: pytest.MonkeyPatch, module: object, name: str, calls: int, happened: bool
) -> None:
    registry.promote(three, "1", "first", fine)
    registry.promote(three, "2", "second", fine)
    registry.refuse(three, "3", "not yet", Verdict("gate"))
    with monkeypatch.context() as patch:
        crash_after(patch, module, name, calls)
        with pytest.raises(Crash):
            registry.promote(three, "3", "third", fine)
    assert mlflow.alias(three, "champion") == ("3" if happened else "2")
    again = registry.promote(three, "3", "third", fine)
    assert mlflow.aliases(three) == {"champion": "3", "previous": "2"}
    assert [d.version for d in decisions.history(three.work)] == ["1", "2", "3", "3"]
    assert decisions.history(three.work)[-1] == again
    assert registry.history(three) == decisions.history(three.work)
    assert not (three.work / registry.JOURNAL).exists()


def test_a_move_that_never_happened_is_undone_before_the_next(
    three: mlflow.Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    registry.promote(three, "1", "first", fine)
    registry.promote(three, "2", "second", fine)
    with monkeypatch.context() as patch:
        crash_after(patch, mlflow, "move", 1)
        with pytest.raises(Crash):
            registry.promote(three, "3", "third", fine)
    assert registry.rollback(three, fine).version == "1"
    assert mlflow.aliases(three) == {"champion": "1", "previous": "2"}


def test_a_rollback_that_was_cut_off_is_not_done_twice(three: mlflow.Store, monkeypatch: pytest.MonkeyPatch) -> None:
    registry.promote(three, "1", "first", fine)
    registry.promote(three, "2", "second", fine)
    with monkeypatch.context() as patch:
        crash_after(patch, decisions, "record", 0)
        with pytest.raises(Crash):
            registry.rollback(three, fine, reason="slow")
    assert registry.rollback(three, fine, reason="slow").version == "1"
    assert mlflow.aliases(three) == {"champion": "1", "previous": "2"}
    assert len(decisions.history(three.work)) == 3


# several at once


def test_a_champion_moved_from_elsewhere_meanwhile_stops_the_move(three: mlflow.Store) -> None:
    registry.promote(three, "1", "first", fine)

    def meanwhile(folder: Path) -> None:
        mlflow.move(three, "champion", "3")

    with pytest.raises(BusyError, match="Somebody else moved the champion of 'churn' meanwhile, to version 3"):
        registry.promote(three, "2", "second", meanwhile)
    assert mlflow.aliases(three) == {"champion": "3"}


def test_the_lock_names_its_holder(three: mlflow.Store) -> None:
    path = three.work / "registry.lock"
    with (
        lock.held(path, "outer"),
        pytest.raises(BusyError, match=f"Moving: process {os.getpid()} is at it"),
        lock.held(path, "Moving", seconds=0.1),
    ):
        pass
    with lock.held(path, "after"):
        pass


def _promote(work: Path, version: str) -> None:
    store = mlflow.connect(config.Tracking(), work, "churn")
    registry.promote(store, version, f"from {version}", fine)


def _die_at_the_champion(work: Path) -> None:
    real = mlflow.move

    def killed(store: mlflow.Store, name: str, version: str | None) -> None:
        if name == "champion":
            os.kill(os.getpid(), signal.SIGKILL)
        real(store, name, version)

    mlflow.move = killed
    _promote(work, "2")


@pytest.mark.slow
def test_processes_that_promote_at_once_come_one_after_the_other(three: mlflow.Store) -> None:
    assert together(_promote, [(three.work, version) for version in "123"]) == [0] * 3
    told = decisions.history(three.work)
    assert sorted(d.version or "" for d in told) == ["1", "2", "3"]
    assert [d.previous for d in told] == [None, told[0].version, told[1].version]
    assert mlflow.aliases(three) == {"champion": told[2].version, "previous": told[1].version}


@pytest.mark.slow
def test_a_killed_promotion_frees_the_lock_and_the_next_one_works(three: mlflow.Store) -> None:
    registry.promote(three, "1", "first", fine)
    assert together(_die_at_the_champion, [(three.work,)]) == [-signal.SIGKILL]
    assert (three.work / registry.JOURNAL).exists()
    decision: Decision = registry.promote(three, "2", "second", fine)
    assert decision.previous == "1"
    assert mlflow.aliases(three) == {"champion": "2", "previous": "1"}
