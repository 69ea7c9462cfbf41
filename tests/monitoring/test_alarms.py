"""Alarms: told once, ended by a check that passes, and by nothing else but a new champion."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from keepfit.monitoring import alarms
from keepfit.types import Check, Decision, Outcome, Verdict

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
HOUR = timedelta(hours=1)


def check(name: str, outcome: Outcome = "failed", value: object = 0.7) -> Check:
    return Check(name, outcome, value, ">= 0.8")


def verdicts(**families: tuple[Check, ...]) -> dict[str, Verdict]:
    return {family: Verdict(family, checks) for family, checks in families.items()}


BAD = verdicts(performance=(check("accuracy"),))


def kinds(told: tuple[Decision, ...]) -> list[str]:
    return [decision.kind for decision in told]


def test_an_alarm_is_told_once_and_keeps_its_beginning_while_its_value_moves() -> None:
    first, told = alarms.update((), BAD, "churn", "3", NOW)
    assert kinds(told) == ["alarmed"]
    assert "accuracy 0.7 (>= 0.8)" in told[0].reason
    assert (told[0].version, told[0].verdict.outcome) == ("3", "failed")
    worse = verdicts(performance=(check("accuracy", value=0.6),))
    second, told = alarms.update(first, worse, "churn", "3", NOW + HOUR)
    assert told == ()
    assert (second[0].since, second[0].value) == (first[0].since, 0.6)
    assert second[0].last > first[0].last


def test_a_check_that_passes_ends_its_alarm_and_one_that_was_not_made_does_not() -> None:
    found, _ = alarms.update((), BAD, "churn", "3", NOW)
    for silent in (
        {},
        verdicts(performance=(check("accuracy", "not checked", None),)),
        verdicts(performance=()),
        verdicts(performance=(Check("accuracy", "failed", 0.7, severity="warning"),)),
    ):
        assert alarms.update(found, silent, "churn", "3", NOW + HOUR) == (found, ())
    left, told = alarms.update(found, verdicts(performance=(check("accuracy", "passed", 0.9),)), "churn", "3", NOW)
    assert left == ()
    assert kinds(told) == ["resolved"]
    assert told[0].reason == "performance: accuracy 0.9 (>= 0.8): passed again"
    assert told[0].verdict.outcome == "passed"


@pytest.mark.parametrize("outcome", ["passed", "not checked"])
def test_what_did_not_fail_raises_nothing(outcome: Outcome) -> None:
    assert alarms.update((), verdicts(quality=(check("age: missing", outcome),)), "churn", "3", NOW) == ((), ())


def test_warnings_of_the_data_are_no_alarms_and_drift_is_one_in_a_lower_voice() -> None:
    volume = Check("volume", "failed", 3, severity="warning")
    moved = Check("age: ranks", "failed", 0.4, severity="warning")
    found, told = alarms.update((), verdicts(quality=(volume,), drift=(moved,)), "churn", "3", NOW, {"age": 0.3})
    assert [(a.subject, a.severity, a.moved) for a in found] == [("age: ranks", "warning", 0.3)]
    assert kinds(told) == ["alarmed"]
    assert not told[0].verdict.failures


def test_consequences_come_first_and_name_the_columns_that_moved_the_predictions_most() -> None:
    drift = tuple(check(f"{name}: {test}", value=0.1) for name in "abcde" for test in ("ranks", "cell"))
    given = verdicts(drift=drift, quality=(check("a: missing"),), performance=(check("accuracy"),))
    found, told = alarms.update((), given, "churn", "3", NOW, {"e": -0.9, "b": 0.5, "c": 0.1})
    assert [alarm.family for alarm in found[:3]] == ["performance", "quality", "drift"]
    assert found[0].detail == "drifted: e 0.1, b 0.1, c 0.1 and 2 more"
    assert found[2].detail == ""
    assert [d.reason.partition(":")[0] for d in told] == ["performance", "quality", "drift"]


def test_two_hundred_broken_columns_are_one_decision() -> None:
    given = verdicts(quality=tuple(check(f"c{number}: missing") for number in range(200)))
    found, told = alarms.update((), given, "churn", "3", NOW)
    assert (len(found), len(told), len(told[0].verdict.checks)) == (200, 1, 200)
    assert told[0].reason.endswith("and 197 more")


def test_a_new_champion_ends_the_alarms_of_the_old_one() -> None:
    found, _ = alarms.update((), BAD, "churn", "3", NOW)
    left, told = alarms.update(found, {}, "churn", "4", NOW + HOUR)
    assert left == ()
    assert kinds(told) == ["resolved"]
    assert "version 4 took the place of version 3" in told[0].reason
    left, told = alarms.update(found, BAD, "churn", "4", NOW + HOUR)
    assert [(alarm.version, alarm.key) for alarm in left] == [("4", "4/performance/accuracy")]
    assert sorted(kinds(told)) == ["alarmed", "resolved"]


@pytest.mark.parametrize("jump", [timedelta(days=-400), -HOUR, timedelta(days=400)])
def test_a_clock_that_jumps_neither_raises_nor_ends_an_alarm(jump: timedelta) -> None:
    found, _ = alarms.update((), BAD, "churn", "3", NOW)
    later, told = alarms.update(found, BAD, "churn", "3", NOW + jump)
    assert told == ()
    assert later[0].since <= later[0].last


def test_an_alarm_that_nobody_could_check_for_a_month_is_forgotten() -> None:
    found, _ = alarms.update((), BAD, "churn", "3", NOW)
    assert alarms.update(found, {}, "churn", "3", NOW + timedelta(days=29))[0] == found
    left, told = alarms.update(found, {}, "churn", "3", NOW + timedelta(days=31))
    assert left == ()
    assert "was not checked for a month" in told[0].reason
    assert told[0].verdict.outcome == "not checked"


def test_the_state_comes_back_and_is_json_whatever_the_value(tmp_path: Path) -> None:
    given = verdicts(performance=(check("rmse", value=float("nan")),), drift=(check("age: ranks"),))
    found, _ = alarms.update((), given, "churn", "3", NOW)
    alarms.save(tmp_path, found)
    assert alarms.load(tmp_path) == found

    def refuse(name: str) -> None:
        raise AssertionError(f"{name} is no JSON")

    json.loads((tmp_path / alarms.FILE).read_text(), parse_constant=refuse)
    assert alarms.update(alarms.load(tmp_path), given, "churn", "3", NOW + HOUR)[1] == ()


def test_no_file_is_no_alarm(tmp_path: Path) -> None:
    assert alarms.load(tmp_path / "nowhere") == ()


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b'{"format": 1, "alarms": [{"key"',
        b"\xff\xfe",
        b"[]",
        b'{"format": 99, "alarms": []}',
        b'{"format": 1, "alarms": [{"key": 1}]}',
        b'{"format": 1, "alarms": [{"key": "", "family": "", "subject": "", "version": "", "since": 5, "last": 6}]}',
    ],
)
def test_a_torn_or_foreign_file_is_set_aside_and_kept(tmp_path: Path, content: bytes) -> None:
    (tmp_path / alarms.FILE).write_bytes(content)
    with pytest.warns(UserWarning, match="alarms.json.damaged now, and begins anew"):
        assert alarms.load(tmp_path) == ()
    assert (tmp_path / "alarms.json.damaged").read_bytes() == content
    alarms.save(tmp_path, ())
    assert alarms.load(tmp_path) == ()
