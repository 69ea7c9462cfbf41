"""What was told: the champion in words, alarms that are open, and each decision with its evidence."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from html import escape
from typing import Any

from keepfit import show
from keepfit.pipeline.state_of_loop import Loop
from keepfit.types import Check, Decision, Verdict
from keepfit.ui import timeline, views
from keepfit.ui.about import age

CHECKS = 60  # of a decision that are shown
LONG = 400  # characters of a reason
KINDS: Mapping[str, Sequence[str]] = {  # what is listed under which word
    "everything": (),
    "champions": ("promoted", "refused", "rolled_back", "on_trial", "retrained"),
    "alarms": ("alarmed", "resolved", "undelivered"),
}
TONE = {"promoted": "well", "resolved": "well", "alarmed": "unwell", "rolled_back": "warned", "undelivered": "warned"}
ORDER = ("failed", "not checked", "passed")


def headline(found: Loop) -> str:
    """How the model is, by the newest pass, in a sentence."""
    latest, outcome = found.latest, str(found.latest.get("outcome") or "")
    if not outcome:
        return ""
    window = latest.get("window") or {}
    rows = f"{window.get('rows') or 0:,} rows, {window.get('labelled') or 0:,} with labels"
    span = f"{_minute(window.get('since'))} to {_minute(window.get('until'))}"
    kind = outcome if outcome in ("healthy", "unhealthy") else "unknown"
    prefix = f"{found.name}, version {(latest.get('model') or {}).get('version')}: "
    told = str(latest.get("headline") or "").removeprefix(prefix)
    return (
        f"<p class=kf-outcome><mark class='kf-pill {kind}'>{escape(outcome)}</mark> {escape(told[:LONG])}</p>"
        f"<p class=kf-note>{escape(span)} UTC: {rows}.</p>"
    )


def _minute(text: Any) -> str:
    """A time as people write it.

    >>> _minute("2026-01-31T05:06:07.8+00:00"), _minute(None)
    ('2026-01-31 05:06', '')
    """
    return str(text or "").replace("T", " ")[:16]


def _day(text: Any) -> str:
    """A time of this year, shorter.

    >>> _day("2026-01-31T05:06:07+00:00"), _day("soon")
    ('31 Jan 05:06', 'soon')
    """
    try:
        return f"{datetime.fromisoformat(str(text)):%d %b %H:%M}"
    except ValueError:
        return str(text)


def problems(found: Loop) -> str:
    """What could not be read."""
    return "".join(views.notice(problem[:LONG]) for problem in found.problems)


def champion(found: Loop) -> str:
    """Who serves: since when, how old, made of what."""
    model = found.model
    if model is None:
        return "<p class=kf-empty>There is no champion yet. Next: <code>keepfit run</code></p>"
    trained = f"{age((found.now - model.created).total_seconds())} ago" if model.created else ""
    trial = found.trial
    return views.facts([
        ("version", model.version), ("champion since", f"{model.since:%Y-%m-%d %H:%M} UTC" if model.since else ""),
        ("trained", trained), ("kind", ", ".join(model.kinds)),
        ("data", f"{model.rows:,} rows{f' of {model.source}' if model.source else ''}" if model.rows else ""),
        ("on trial", f"version {trial.get('version')} as {trial.get('mode')}" if trial else ""),
        *((f"goal {views.NAMES.get(name, name)}", said) for name, said in timeline.goals(found)),
        ("on probation", f"until {found.probation:%Y-%m-%d %H:%M} UTC" if found.probation else ""),
    ])  # fmt: skip


# --- alarms ---------------------------------------------------------------------------------------


def alarm(one: Mapping[str, Any]) -> str:
    """An open alarm in a line."""
    kind = "unwell" if one.get("severity") == "error" else "warned"
    value = f"<em>{escape(show.text(one.get('value')))}</em>" if one.get("value") is not None else ""
    return (
        f"<i class='kf-dot {kind}' title='{escape(str(one.get('severity') or ''))}'></i>"
        f"<span class=kf-name>{escape(str(one.get('subject') or '?')[:LONG])}</span>{value}"
        f"<small>{escape(str(one.get('family') or ''))}, since {escape(_day(one.get('since')))}</small>"
    )


def alarm_body(one: Mapping[str, Any]) -> str:
    """What is behind an alarm."""
    moved = one.get("moved")
    return views.facts([
        ("value", show.text(one.get("value"))), ("fine while", show.text(one.get("limit"))),
        ("what", str(one.get("detail") or "")[:LONG]), ("version", str(one.get("version") or "")),
        ("last seen", f"{_minute(one.get('last'))} UTC"),
        ("moved the mean output", f"{show.text(moved)} standard deviations" if moved is not None else ""),
    ])  # fmt: skip


# --- decisions ------------------------------------------------------------------------------------


def decision(given: Decision) -> str:
    """A decision in a line: when, what, about which version, why."""
    kind = str(given.kind)
    version = f"<b>version {escape(str(given.version))}</b>" if given.version else ""
    return (
        f"<time datetime='{escape(str(given.when))}'>{escape(_minute(given.when))}</time>"
        f"<mark class='kf-badge kf-{TONE.get(kind, 'quiet')}'>{escape(kind.replace('_', ' '))}</mark>"
        f"<span class=kf-name>{version} {escape(str(given.reason)[:LONG])}</span>"
    )


def decision_body(given: Decision) -> str:
    """Who decided, in whose place, and the checks that it rests on, those that failed first."""
    before = f"version {given.previous}" if given.previous else ""
    about = views.facts([
        ("by", str(given.by).partition(" <")[0]), ("champion before", before),
        ("tracking run", str(given.run or "")), ("reason", str(given.reason)),
    ])  # fmt: skip
    return about + evidence(given.verdict)


def evidence(given: Verdict) -> str:
    """The checks of a Verdict as a table."""
    ranked = sorted(given.checks, key=lambda c: ORDER.index(c.outcome) if c.outcome in ORDER else len(ORDER))
    if not ranked:
        return "<p class=kf-note>No checks: it was decided by hand.</p>"
    rows = "".join(_check(check) for check in ranked[:CHECKS])
    left = f"<p class=kf-note>and {len(ranked) - CHECKS} more</p>" if len(ranked) > CHECKS else ""
    return (
        f"<div class=kf-scroll tabindex=0 role=region aria-label='Evidence: {escape(str(given.subject), quote=True)}'>"
        "<table class=kf-checks><thead><tr><th scope=col>check</th><th scope=col>outcome</th><th scope=col>value</th>"
        f"<th scope=col>limit</th><th scope=col>detail</th></tr></thead><tbody>{rows}</tbody></table></div>{left}"
    )


def _check(check: Check) -> str:
    warned = check.outcome == "failed" and check.severity == "warning"
    kind = {"passed": "kf-met", "failed": "kf-missed"}.get(check.outcome, "") if not warned else "kf-mild"
    cells = (show.text(check.value), show.text(check.limit), check.detail)
    return (
        f"<tr><th scope=row>{escape(str(check.name))}</th><td class='{kind}'>"
        f"{escape('warned' if warned else str(check.outcome))}</td>"
        f"{''.join(f'<td>{escape(str(cell)[:LONG])}</td>' for cell in cells)}</tr>"
    )


def listed(found: Loop, word: str) -> list[Decision]:
    """The decisions of a kind (KINDS), newest first."""
    kinds = KINDS[word]
    return [one for one in found.decisions if not kinds or one.kind in kinds]
