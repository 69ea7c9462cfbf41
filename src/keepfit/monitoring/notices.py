"""A notice: what people are told of a pass, in words that can be read on a telephone.

What, how bad (the value against its limit), since when, which columns are behind it, what keepfit
does about it, and where to read more. `Notice` is the same for all channels; each sends it its way.
"""

from __future__ import annotations

import hashlib
import html
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from keepfit import show
from keepfit.monitoring.alarms import Alarm
from keepfit.types import Decision

SHOWN = 10  # alarms that are written out; the report has the rest
WIDEST = 300  # characters of one sentence
TITLE = 120


@dataclass(frozen=True)
class Notice:
    """`alarms` are those that began; `decision` the reasons of all that was decided; `open` counts.

    `severity` is "error" where something got worse, "warning" for drift alone, else "info".
    `id` is the same however often the notice is sent: receivers can tell a repetition by it.
    """

    id: str
    kind: str  # alarmed, resolved, or what else was decided
    severity: str
    project: str
    model: str
    version: str
    when: str  # ISO 8601, UTC
    title: str
    alarms: tuple[Alarm, ...] = ()
    decision: tuple[str, ...] = ()
    open: int = 0
    doing: str = ""
    link: str = ""


def of(
    project: str, decisions: Sequence[Decision], alarms: Sequence[Alarm], link: str = "", doing: str = ""
) -> Notice | None:
    """One notice of all that a pass decided; None where it decided nothing.

    `alarms` are the open ones; `link` leads to the report; `doing` says what keepfit does about it.
    """
    if not decisions:
        return None
    first = min(decisions, key=_weight)
    told = {(d.version, c.name) for d in decisions if d.kind == "alarmed" for c in d.verdict.checks}
    begun = tuple(alarm for alarm in alarms if (alarm.version, alarm.subject) in told)
    reasons = tuple(f"{d.kind.replace('_', ' ')}: {d.reason}" for d in decisions)
    version, when = first.version or "", first.when
    severity = ("error", "info", "warning", "info")[_weight(first)]
    voice = {"error": "ALARM ", "warning": "note "}.get(severity, "")
    title = _cut(f"{voice}{project}: version {version} {first.kind.replace('_', ' ')}: {first.reason}", TITLE)
    number = hashlib.blake2b("\n".join((project, version, when, *reasons)).encode(), digest_size=12).hexdigest()
    about = (number, first.kind, severity, project, first.subject, version, when, title)
    return Notice(*about, begun, reasons, len(alarms), doing, link)


def _weight(decision: Decision) -> int:
    """What the title is about: alarms of consequence, then what was done, then drift, then what is over."""
    if decision.kind == "alarmed":
        return 0 if decision.verdict.failures else 2
    return 3 if decision.kind == "resolved" else 1


def _cut(text: str, widest: int = WIDEST) -> str:
    line = " ".join(text.split())
    return line if len(line) <= widest else line[: widest - 1] + "…"


def clock(when: str) -> str:
    """A time for people.

    >>> clock("2026-01-02T03:04:05.000000+00:00")
    '2026-01-02 03:04 UTC'
    """
    return f"{when[:16].replace('T', ' ')} UTC" if when else ""


def sentences(notice: Notice) -> list[tuple[str, str]]:
    """The body: pairs of a name and what is said under it, most important first."""
    shown = [(_cut(_what(alarm)), _cut(alarm.detail)) for alarm in notice.alarms[:SHOWN]]
    more = len(notice.alarms) - SHOWN
    shown += [(f"and {more} more alarms", "")] if more > 0 else []
    named = {f"alarmed: {alarm.family}: " for alarm in notice.alarms}  # written out above
    shown += [("", _cut(reason)) for reason in notice.decision if not any(reason.startswith(n) for n in named)]
    standing = f"{show.counted(notice.open, 'alarm')} open"
    shown += [("Model", f"{notice.model}, version {notice.version}, {clock(notice.when)}; {standing}")]
    shown += [("What keepfit does", _cut(notice.doing))] if notice.doing else []
    return [*shown, ("Report", notice.link)] if notice.link else shown


def _what(alarm: Alarm) -> str:
    limit = f" (limit {show.text(alarm.limit)})" if alarm.limit is not None else ""
    measured = f": {show.text(alarm.value)}{limit}" if alarm.value is not None else ""
    return f"{'note' if alarm.severity == 'warning' else 'ALARM'} {alarm.subject}{measured}, since {clock(alarm.since)}"


def text(notice: Notice) -> str:
    """The notice as plain text, with its title."""
    lines = [": ".join(part for part in (name, said) if part) for name, said in sentences(notice)]
    return "\n".join([notice.title, "", *lines]) + "\n"


def as_html(notice: Notice) -> str:
    """The same for an e-mail; every value is escaped."""
    rows = []
    for name, said in sentences(notice):
        shown = html.escape(said)
        if name == "Report" and said.startswith(("http://", "https://")):
            shown = f'<a href="{shown}">{shown}</a>'
        rows.append(f"<p><b>{html.escape(name)}</b><br>{shown}</p>" if name else f"<p>{shown}</p>")
    return f"<!doctype html><html><body><h3>{html.escape(notice.title)}</h3>{''.join(rows)}</body></html>"


def read(values: Mapping[str, Any]) -> Notice:
    """A notice from what `types.plain` made of it."""
    alarms = tuple(Alarm(**alarm) for alarm in values["alarms"])
    return Notice(**{**values, "alarms": alarms, "decision": tuple(values["decision"])})
