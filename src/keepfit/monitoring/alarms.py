"""Alarms: what is wrong with the champion now, told when it begins and when it is over.

An alarm is a failed check that lasts. Those of measured and estimated performance and of the data's
quality come first: they say what it costs. A drifted column is why, so it stands in their detail,
and is an alarm of its own only with severity "warning".

Nothing here depends on how much time passed: a clock that jumps raises no alarm and ends none.

>>> from datetime import UTC
>>> failed = Verdict("performance", (Check("accuracy", "failed", 0.7, ">= 0.8"),))
>>> now = datetime(2026, 1, 2, tzinfo=UTC)
>>> found, told = update((), {"performance": failed}, "churn", "3", now)
>>> [(alarm.subject, alarm.value) for alarm in found], [decision.kind for decision in told]
([('accuracy', 0.7)], ['alarmed'])
>>> update(found, {"performance": failed}, "churn", "3", now)[1]  # told once
()
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import groupby
from pathlib import Path
from typing import Any

from keepfit import show
from keepfit.monitoring import state
from keepfit.types import Check, Decision, Severity, Verdict, plain
from keepfit.types import read as made

FILE = "alarms.json"
FAMILIES = ("performance", "estimated", "quality", "drift")  # consequences first
WHY = "drift"  # the family that explains the others
BY = "keepfit"
NAMED = 3  # so many are named in a sentence
FORGOTTEN = timedelta(days=30)  # an alarm that nobody could check for so long is no news of today


@dataclass(frozen=True)
class Alarm:
    """A failed check that lasts. `since` and `last` are ISO 8601, UTC: when it began and was last seen.

    `moved` says of a drifted column how far that moved the mean output, as `update` was told.
    """

    key: str
    family: str
    subject: str  # the name of the check
    version: str
    since: str
    last: str
    detail: str = ""
    value: Any = None
    limit: Any = None
    severity: Severity = "error"
    moved: float | None = None


def update(
    known: Sequence[Alarm],
    verdicts: Mapping[str, Verdict],
    model: str,
    version: str,
    now: datetime,
    moved: Mapping[str, float] | None = None,
) -> tuple[tuple[Alarm, ...], tuple[Decision, ...]]:
    """The alarms that are open after a pass, consequences first, and what of that has to be told.

    `verdicts` maps a family to its Verdict; names of checks, "SIGNAL: TEST", are unique in it. `moved`
    maps a signal to how far its shift moved the mean output, in standard deviations of the reference's
    outputs. A check that passes ends its alarm; one that was not made, or is not there, leaves it as it
    is. A new champion ends the alarms of the old one. There is one Decision for what began, and one for
    what ended, of each family. Warnings of other families than drift are no alarms.
    """
    checks = {_key(version, family, c): (family, c) for family, v in verdicts.items() for c in v.checks}
    before = {alarm.key: alarm for alarm in known}
    failing = _failing(checks, verdicts, moved or {}, version, now)
    lasting = [_seen(before.get(alarm.key), alarm) for alarm in failing]
    seen = {alarm.key for alarm in lasting}
    gone = {alarm.key: _over(alarm, checks, version, now) for alarm in known if alarm.key not in seen}
    begun = [alarm for alarm in lasting if alarm.key not in before]
    kept = [alarm for alarm in known if gone.get(alarm.key) == ""]
    ended = [alarm for alarm in known if gone.get(alarm.key)]
    told = [*_begun(begun, model, now), *_ended(ended, gone, checks, model, now)]
    return tuple(sorted([*lasting, *kept], key=_rank)), tuple(told)


def _key(version: str, family: str, check: Check) -> str:
    return f"{version}/{family}/{check.name}"


def _rank(alarm: Alarm) -> int:
    return FAMILIES.index(alarm.family) if alarm.family in FAMILIES else len(FAMILIES) - 1


def _failing(
    checks: Mapping[str, tuple[str, Check]],
    verdicts: Mapping[str, Verdict],
    moved: Mapping[str, float],
    version: str,
    now: datetime,
) -> list[Alarm]:
    """Each failed check as an alarm that begins now; the drifted columns stand in the others' detail."""
    when, why, found = state.stamp(now), _explained(verdicts, moved), []
    for key, (family, check) in checks.items():
        if check.outcome != "failed" or (check.severity != "error" and family != WHY):
            continue
        alarm = Alarm(key, family, check.name, version, when, when, "", _finite(check.value), _finite(check.limit))
        if family == WHY:
            how_far = moved.get(signal(check.name))
            found.append(dataclasses.replace(alarm, detail=check.detail, severity="warning", moved=how_far))
        else:
            found.append(dataclasses.replace(alarm, detail="; ".join(filter(None, (check.detail, why)))))
    return found


def _finite(value: Any) -> Any:
    """JSON knows no NaN and no infinity."""
    value = plain(value)
    return str(value) if isinstance(value, float) and not math.isfinite(value) else value


def _seen(before: Alarm | None, now: Alarm) -> Alarm:
    """The alarm as it is now, with its beginning, which is never later than it was last seen."""
    return dataclasses.replace(now, since=min(before.since, now.last)) if before else now


def _explained(verdicts: Mapping[str, Verdict], moved: Mapping[str, float]) -> str:
    """The drifted columns that moved the output most, in words."""
    drifted = verdicts[WHY].checks if WHY in verdicts else ()
    values = {signal(c.name): c.value for c in reversed(drifted) if c.outcome == "failed"}
    ranked = sorted(reversed(values), key=lambda name: -abs(moved.get(name, 0.0)))
    return f"drifted: {_some(_measured(name, values[name]) for name in ranked)}" if ranked else ""


def signal(check: str) -> str:
    """What a check was made of.

    >>> signal("age: ranks"), signal("accuracy")
    ('age', 'accuracy')
    """
    return check.rpartition(": ")[0] or check


def _some(names: Iterable[str]) -> str:
    names = list(names)
    more = f" and {len(names) - NAMED} more" if len(names) > NAMED else ""
    return ", ".join(names[:NAMED]) + more


def _measured(name: str, value: Any, limit: Any = None) -> str:
    beside = f" ({show.text(limit)})" if limit is not None else ""
    return f"{name} {show.text(value)}{beside}".strip()


def _over(alarm: Alarm, checks: Mapping[str, tuple[str, Check]], version: str, now: datetime) -> str:
    """Why an alarm is over; empty while it is not, or while nobody can tell."""
    if alarm.version != version:
        return f"version {version} took the place of version {alarm.version}"
    if alarm.key in checks:
        return "passed again" if checks[alarm.key][1].outcome == "passed" else ""
    return "was not checked for a month" if now - state.moment(alarm.last) > FORGOTTEN else ""


def _begun(alarms: Sequence[Alarm], model: str, now: datetime) -> list[Decision]:
    found = []
    for family, group in groupby(sorted(alarms, key=_rank), key=lambda alarm: alarm.family):
        of = list(group)
        checks = tuple(Check(a.subject, "failed", a.value, a.limit, a.detail, a.severity) for a in of)
        named = _some(_measured(a.subject, a.value, a.limit) for a in of)
        found.append(_decision("alarmed", model, f"{family}: {named}", Verdict(family, checks), of[0].version, now))
    return found


def _ended(
    alarms: Sequence[Alarm],
    why: Mapping[str, str],
    checks: Mapping[str, tuple[str, Check]],
    model: str,
    now: datetime,
) -> list[Decision]:
    found = []
    order = sorted(alarms, key=lambda a: (_rank(a), a.family, why[a.key]))
    for (family, reason), group in groupby(order, key=lambda a: (a.family, why[a.key])):
        of = list(group)
        shown = tuple(checks[a.key][1] if a.key in checks else _unchecked(a) for a in of)
        told = f"{family}: {_some(_measured(c.name, c.value, c.limit) for c in shown)}: {reason}"
        found.append(_decision("resolved", model, told, Verdict(family, shown), of[0].version, now))
    return found


def _unchecked(alarm: Alarm) -> Check:
    return Check(alarm.subject, "not checked", None, alarm.limit, f"{show.text(alarm.value)} when last seen")


def _decision(kind: str, model: str, reason: str, verdict: Verdict, version: str, now: datetime) -> Decision:
    return Decision(kind, model, reason, verdict, version, by=BY, when=state.stamp(now))


def load(folder: Path) -> tuple[Alarm, ...]:
    """The open alarms of `.keepfit/monitoring/`. A damaged file is set aside with a warning."""
    return state.read(folder / FILE, _alarms, ())


def _alarms(values: Mapping[str, Any]) -> tuple[Alarm, ...]:
    found = tuple(made(Alarm, entry) for entry in values["alarms"])
    for alarm in found:
        _ = state.moment(alarm.since), state.moment(alarm.last)
    return found


def save(folder: Path, alarms: Sequence[Alarm]) -> None:
    """Keep the open alarms. Raises OSError as the system does; the file is then as it was."""
    state.write(folder / FILE, {"alarms": list(alarms)})
