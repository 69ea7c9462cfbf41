"""Whether to train a challenger now: a reason must hold, and nothing may speak against it.

Reasons, those of `retraining.on`: the champion does worse, what it sees has shifted so that its answers
moved, the schedule says so, or enough new labels came. Against it speak: too few new labelled rows, the
cool-down, a training at work, a challenger on trial, and data that is broken right now, as a model
trained on that would learn the fault. Values out of range and levels not seen before are no fault by
themselves: a world that has changed looks like that, and training is the remedy; whether they are
another unit, the gathering of the rows finds out.

The answer is a Verdict, "passed" meaning train: the check `reason` and each veto must pass. The reasons
one by one are warnings, so that the record shows which held.

>>> from keepfit.sections import Retraining
>>> now = datetime(2026, 1, 5, 12, tzinfo=UTC)
>>> asked = Facts(rows=800, champion=datetime(2026, 1, 1, tzinfo=UTC))
>>> found = decide(asked, Retraining(schedule="0 3 * * 1"), now)
>>> found.outcome, told(found)
('passed', 'trains a challenger: schedule (was due on 2026-01-05 03:00 UTC)')
>>> told(decide(asked, Retraining(schedule="0 3 * * 1", min_rows=1000), now))
'trains no challenger, although schedule (was due on 2026-01-05 03:00 UTC): min_rows (800 of 1000 new labelled rows)'
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from keepfit import show
from keepfit.errors import ConfigError
from keepfit.extras import load
from keepfit.monitoring.alarms import Alarm, signal
from keepfit.sections import Retraining
from keepfit.types import Check, Outcome, Verdict

MOVED = 0.1  # standard deviations of the reference's outputs that a column's shift must move their mean by
OUTPUTS = frozenset({"prediction", "confidence"})  # signals of the model itself
NEW = ("above the range", "below the range", "unseen levels")  # tests of quality that a changed world fails too
KEY = "retraining.schedule"


@dataclass(frozen=True)
class Facts:
    """What is known when it is asked. Times are aware; None where there is none.

    `rows` counts the labelled rows that came after those the champion was trained on, and after those
    of the last attempt. `champion` is since when there is this champion, `last` when the last attempt
    began, `trial` the version on trial.
    """

    alarms: tuple[Alarm, ...] = ()
    rows: int = 0
    champion: datetime | None = None
    last: datetime | None = None
    at_work: bool = False
    trial: str | None = None


def decide(facts: Facts, config: Retraining, now: datetime) -> Verdict:
    """Train now? The Verdict is "passed" for yes. Raises ConfigError for a schedule that is none."""
    reasons = [_asked(name, ask(facts, config, now), config) for name, ask in REASONS.items()]
    held = [check.name for check in reasons if check.outcome == "passed"]
    reason = Check("reason", "passed" if held else "failed", ", ".join(held) or None, detail="" if held else "none")
    vetoes = [veto(facts, config, now) for veto in VETOES]
    return Verdict("retraining", (reason, *reasons, *vetoes))


def told(verdict: Verdict) -> str:
    """The answer in a sentence."""
    held = [c for c in verdict.checks if c.name in REASONS and c.outcome == "passed"]
    why = ", ".join(_named(check) for check in held)
    if verdict:
        return f"trains a challenger: {why}"
    against = [check for check in verdict.failures if check.name != "reason"]
    if not held:
        return "trains no challenger: there is no reason to"
    return f"trains no challenger, although {why}: {', '.join(map(_named, against))}"


def _named(check: Check) -> str:
    return f"{check.name} ({check.detail})" if check.detail else check.name


def _asked(name: str, found: tuple[Outcome, str], config: Retraining) -> Check:
    if name not in config.on:
        return Check(name, "not checked", detail="retraining.on does not name it", severity="warning")
    return Check(name, found[0], detail=found[1], severity="warning")


def _performance(facts: Facts, _: Retraining, __: datetime) -> tuple[Outcome, str]:
    return _alarmed([alarm for alarm in facts.alarms if alarm.family in ("performance", "estimated")])


def _drift(facts: Facts, _: Retraining, __: datetime) -> tuple[Outcome, str]:
    """A shift counts when the answers moved with it: theirs was alarmed, or the column's is known to."""
    return _alarmed([alarm for alarm in facts.alarms if alarm.family == "drift" and _moving(alarm)])


def _moving(alarm: Alarm) -> bool:
    return signal(alarm.subject) in OUTPUTS or abs(alarm.moved or 0.0) >= MOVED


def _alarmed(alarms: list[Alarm]) -> tuple[Outcome, str]:
    if not alarms:
        return "failed", "no such alarm"
    first = alarms[0]
    more = f" and {len(alarms) - 1} more" if len(alarms) > 1 else ""
    return "passed", f"{first.subject} {show.text(first.value)}{more}".strip()


def _schedule(facts: Facts, config: Retraining, now: datetime) -> tuple[Outcome, str]:
    """Occurrences since the last attempt, and since there is this champion, count once."""
    begun = [when for when in (facts.last, facts.champion) if when]
    if config.schedule is None or not begun:
        return "not checked", "there is no champion" if config.schedule else "there is no retraining.schedule"
    since = max(begun)
    if since > now:  # the clock was set back
        since = now - timedelta(seconds=config.cooldown)
    due = following(config.schedule, since)
    if due is None:
        return "failed", "never due"
    return ("passed", f"was due on {_clock(due)}") if due <= now else ("failed", f"due on {_clock(due)}")


def following(schedule: str, since: datetime) -> datetime | None:
    """The first time after `since`, in UTC, that the cron expression names.

    >>> following("30 2 1 * *", datetime(2026, 1, 31, tzinfo=UTC)).isoformat()
    '2026-02-01T02:30:00+00:00'
    """
    try:
        found: datetime | None = next(load("cronsim:CronSim", KEY)(schedule, since.astimezone(UTC)), None)
    except load("cronsim:CronSimError", KEY) as error:
        raise ConfigError(
            f"{KEY}: '{schedule}' is no cron expression ({error}). "
            'Write minute, hour, day, month and weekday, in UTC, as "0 3 * * 1" for Mondays at 3.'
        ) from None
    return found


def _clock(when: datetime) -> str:
    return f"{when:%Y-%m-%d %H:%M} UTC"


def _rows(facts: Facts, config: Retraining, _: datetime) -> tuple[Outcome, str]:
    return "passed" if facts.rows >= config.rows else "failed", f"{facts.rows} of {config.rows} new labelled rows"


def _few(facts: Facts, config: Retraining, _: datetime) -> Check:
    told = f"{facts.rows} of {config.min_rows} new labelled rows"
    return _veto("min_rows", facts.rows < config.min_rows, told)


def _cooling(facts: Facts, config: Retraining, now: datetime) -> Check:
    """A last attempt that is further in the future than a cool-down lasts is a clock that was set back."""
    if facts.last is None:
        return _veto("cooldown", False, "nothing was tried yet")
    until = facts.last + timedelta(seconds=config.cooldown)
    cooling = abs((now - facts.last).total_seconds()) < config.cooldown
    return _veto("cooldown", cooling, f"until {_clock(until)}" if cooling else "")


def _working(facts: Facts, _: Retraining, __: datetime) -> Check:
    return _veto("at_work", facts.at_work, "a training is at work" if facts.at_work else "")


def _on_trial(facts: Facts, _: Retraining, __: datetime) -> Check:
    return _veto("trial", facts.trial is not None, f"version {facts.trial} is on trial" if facts.trial else "")


def _broken(facts: Facts, _: Retraining, __: datetime) -> Check:
    wrong = [alarm for alarm in facts.alarms if alarm.family == "quality" and alarm.severity == "error"]
    broken = [alarm for alarm in wrong if not alarm.subject.endswith(NEW)]
    detail = f"the data is broken now: {_alarmed(broken)[1]}" if broken else ""
    return _veto("quality", bool(broken), detail)


def _veto(name: str, speaks: bool, detail: str) -> Check:
    return Check(name, "failed" if speaks else "passed", detail=detail)


REASONS: Mapping[str, Callable[[Facts, Retraining, datetime], tuple[Outcome, str]]] = {
    "performance": _performance,
    "drift": _drift,
    "schedule": _schedule,
    "rows": _rows,
}
VETOES = (_few, _cooling, _working, _on_trial, _broken)
