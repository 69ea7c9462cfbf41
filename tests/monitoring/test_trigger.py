"""The trigger: a reason must hold, nothing may speak against it, and the record says which did."""

from __future__ import annotations

import dataclasses
from datetime import UTC, datetime, timedelta

import pytest

from keepfit.errors import ConfigError
from keepfit.monitoring import trigger
from keepfit.monitoring.alarms import Alarm
from keepfit.monitoring.trigger import Facts
from keepfit.sections import Retraining
from keepfit.types import Check, Verdict

NOW = datetime(2026, 1, 7, 12, tzinfo=UTC)  # a Wednesday
DAY = timedelta(days=1)
MONDAYS = "0 3 * * 1"


def alarm(family: str, subject: str = "accuracy", moved: float | None = None) -> Alarm:
    when = NOW.isoformat()
    severity = "warning" if family == "drift" else "error"
    return Alarm(f"3/{family}/{subject}", family, subject, "3", when, when, "", 0.7, ">= 0.8", severity, moved)


ENOUGH = Facts((alarm("performance"),), rows=900, champion=NOW - 30 * DAY)


def made(verdict: Verdict, name: str) -> Check:
    return next(check for check in verdict.checks if check.name == name)


def test_no_reason_is_no_training_though_nothing_speaks_against_it() -> None:
    found = trigger.decide(Facts(rows=900, champion=NOW), Retraining(), NOW)
    assert found.outcome == "failed"
    assert [check.name for check in found.failures] == ["reason"]
    assert trigger.told(found) == "trains no challenger: there is no reason to"


@pytest.mark.parametrize("family", ["performance", "estimated"])
def test_a_worse_model_is_a_reason(family: str) -> None:
    found = trigger.decide(dataclasses.replace(ENOUGH, alarms=(alarm(family),)), Retraining(), NOW)
    assert found.outcome == "passed"
    assert made(found, "reason").value == "performance"
    assert trigger.told(found) == "trains a challenger: performance (accuracy 0.7)"


@pytest.mark.parametrize(
    ("subject", "moved", "expected"),
    [
        ("prediction: cell", None, "passed"),
        ("confidence: ranks", None, "passed"),
        ("age: ranks", 0.4, "passed"),
        ("age: ranks", -0.4, "passed"),
        ("age: ranks", 0.01, "failed"),
        ("age: ranks", None, "failed"),
    ],
)
def test_a_shift_is_a_reason_when_the_answers_moved_with_it(subject: str, moved: float | None, expected: str) -> None:
    facts = dataclasses.replace(ENOUGH, alarms=(alarm("drift", subject, moved),))
    assert trigger.decide(facts, Retraining(), NOW).outcome == expected
    assert trigger.decide(facts, Retraining(on=["performance"]), NOW).outcome == "failed"


def test_enough_new_rows_are_a_reason_where_they_are_asked_for() -> None:
    config = Retraining(on=["rows"], rows=1000, min_rows=10)
    assert not trigger.decide(Facts(rows=999), config, NOW)
    assert trigger.decide(Facts(rows=1000), config, NOW)
    assert not trigger.decide(Facts(rows=1000), Retraining(rows=1000, min_rows=10), NOW)


def scheduled(last: datetime | None, now: datetime, champion: datetime | None = NOW - 30 * DAY) -> Verdict:
    facts = Facts(rows=900, champion=champion, last=last)
    return trigger.decide(facts, Retraining(schedule=MONDAYS), now)


def test_the_schedule_counts_what_was_missed_once() -> None:
    monday = datetime(2026, 1, 5, 3, tzinfo=UTC)
    assert not scheduled(monday - DAY, monday - timedelta(seconds=1))
    assert scheduled(monday - DAY, monday)
    assert scheduled(monday - 100 * DAY, monday + 2 * DAY)  # fourteen Mondays were missed
    assert not scheduled(monday + timedelta(minutes=1), monday + 2 * DAY)
    assert scheduled(monday + timedelta(minutes=1), monday + 7 * DAY)


def test_a_new_champion_waits_for_the_next_occurrence() -> None:
    assert scheduled(None, NOW)
    assert not scheduled(None, NOW, champion=NOW - DAY)
    assert not scheduled(NOW - 20 * DAY, NOW, champion=NOW - DAY)


def test_the_schedule_is_in_utc_whatever_the_zone_of_the_clock() -> None:
    from zoneinfo import ZoneInfo

    tokyo = datetime(2026, 1, 5, 3, tzinfo=ZoneInfo("Asia/Tokyo"))  # Sunday 18:00 UTC
    assert not scheduled(tokyo - 2 * DAY, tokyo)
    assert scheduled(tokyo - 2 * DAY, tokyo + timedelta(hours=9))


def test_without_a_schedule_or_a_champion_it_is_not_checked() -> None:
    found = trigger.decide(Facts(rows=900, champion=NOW), Retraining(), NOW)
    assert made(found, "schedule").outcome == "not checked"
    assert made(scheduled(None, NOW, champion=None), "schedule").outcome == "not checked"


@pytest.mark.parametrize("schedule", ["", "every monday", "0 3 * *", "61 * * * *", "0 3 31 2 *"])
def test_a_schedule_that_is_none_is_an_error_that_says_how_to_write_one(schedule: str) -> None:
    with pytest.raises(ConfigError, match=r"retraining.schedule: '.*' is no cron expression.*0 3 \* \* 1"):
        trigger.decide(ENOUGH, Retraining(schedule=schedule), NOW)


@pytest.mark.parametrize(
    ("facts", "veto", "said"),
    [
        ({"rows": 499}, "min_rows", "499 of 500 new labelled rows"),
        ({"last": NOW - timedelta(hours=23)}, "cooldown", "until 2026-01-07 13:00 UTC"),
        ({"at_work": True}, "at_work", "a training is at work"),
        ({"trial": "7"}, "trial", "version 7 is on trial"),
        ({"alarms": (alarm("performance"), alarm("quality", "age: missing"))}, "quality", "age: missing 0.7"),
    ],
)
def test_each_veto_alone_stops_it_and_is_named(facts: dict[str, object], veto: str, said: str) -> None:
    assert trigger.decide(ENOUGH, Retraining(), NOW)
    found = trigger.decide(dataclasses.replace(ENOUGH, **facts), Retraining(), NOW)
    assert [check.name for check in found.failures] == [veto]
    assert said in made(found, veto).detail
    assert trigger.told(found).startswith("trains no challenger, although performance (accuracy 0.7): " + veto)


@pytest.mark.parametrize("test", ["above the range", "below the range", "unseen levels"])
def test_what_a_changed_world_brings_speaks_against_no_training(test: str) -> None:
    alarms = (alarm("performance"), alarm("quality", f"price: {test}"))
    assert trigger.decide(dataclasses.replace(ENOUGH, alarms=alarms), Retraining(), NOW)
    broken = (*alarms, alarm("quality", "price: missing"))
    assert not trigger.decide(dataclasses.replace(ENOUGH, alarms=broken), Retraining(), NOW)


def test_the_cool_down_ends() -> None:
    assert trigger.decide(dataclasses.replace(ENOUGH, last=NOW - DAY), Retraining(), NOW)


def test_a_clock_set_back_does_not_hold_training_up_for_ever() -> None:
    config = Retraining(schedule=MONDAYS, cooldown="2d")
    soon = dataclasses.replace(ENOUGH, last=NOW + timedelta(minutes=5))
    assert not trigger.decide(soon, config, NOW)  # it was a moment ago
    ahead = dataclasses.replace(ENOUGH, last=NOW + 365 * DAY)
    assert trigger.decide(ahead, config, NOW)
    assert made(trigger.decide(ahead, config, NOW), "schedule").outcome == "failed"  # Monday is over two days ago
    tuesday = NOW - DAY
    assert made(trigger.decide(ahead, config, tuesday), "schedule").outcome == "passed"


def test_all_reasons_and_vetoes_are_told_at_once() -> None:
    facts = Facts((alarm("performance"), alarm("drift", "prediction: cell"), alarm("quality", "b")), 0, NOW, NOW, True)
    found = trigger.decide(facts, Retraining(), NOW)
    assert made(found, "reason").value == "performance, drift"
    assert [check.name for check in found.failures] == ["min_rows", "cooldown", "at_work", "quality"]
