"""Notices: they read well, and hold no markup of others."""

from __future__ import annotations

import json
from datetime import timedelta

from keepfit.monitoring import alarms, notices
from keepfit.types import Check, Decision, Verdict, plain
from tests.monitoring.notes import NOW, WORSE, notice


def test_it_says_what_how_bad_since_when_why_and_what_is_done() -> None:
    assert notices.text(notice()).splitlines() == [
        "ALARM churn: version 3 alarmed: performance: accuracy 0.71 (>= 0.8)",
        "",
        "ALARM accuracy: 0.71 (limit >= 0.8), since 2026-03-01 12:00 UTC: <b>on</b> 900 rows; drifted: age <x> 0.4",
        "note age <x>: ranks: 0.4, since 2026-03-01 12:00 UTC",
        "Model: churn, version 3, 2026-03-01 12:00 UTC; 2 alarms open",
        "What keepfit does: trains a challenger: performance (accuracy 0.71)",
        "Report: https://ops.example.org/monitoring?slice=1&2",
    ]


def test_html_escapes_every_value_and_links_web_addresses_alone() -> None:
    shown = notices.as_html(notice())
    assert "<b>on</b>" not in shown
    assert "&lt;b&gt;on&lt;/b&gt; 900 rows" in shown
    assert '<a href="https://ops.example.org/monitoring?slice=1&amp;2">' in shown
    assert "<a " not in notices.as_html(notice(link="javascript:alert(1)"))


def test_what_is_over_is_said() -> None:
    found, _ = alarms.update((), {"performance": WORSE}, "churn", "3", NOW)
    passed = Verdict("performance", (Check("accuracy", "passed", 0.9, ">= 0.8"),))
    left, told = alarms.update(found, {"performance": passed}, "churn", "3", NOW + timedelta(hours=3))
    made = notices.of("churn", told, left)
    assert made is not None
    assert (made.kind, made.alarms, made.open) == ("resolved", (), 0)
    assert "resolved: performance: accuracy 0.9 (>= 0.8): passed again" in notices.text(made)


def test_other_decisions_are_told_too_and_lead_before_drift() -> None:
    back = Decision("rolled_back", "churn", "worse than version 2", Verdict("probation"), "2", when=NOW.isoformat())
    drift = Verdict("drift", (Check("age: ranks", "failed", 0.4, severity="warning"),))
    found, told = alarms.update((), {"drift": drift}, "churn", "3", NOW)
    made = notices.of("churn", [*told, back], found)
    assert made is not None
    assert made.kind == "rolled_back"
    assert made.title == "churn: version 2 rolled back: worse than version 2"
    assert "rolled back: worse than version 2" in notices.text(made)


def test_drift_alone_is_told_in_a_lower_voice() -> None:
    drift = Verdict("drift", (Check("age: ranks", "failed", 0.4, severity="warning"),))
    found, told = alarms.update((), {"drift": drift}, "churn", "3", NOW)
    made = notices.of("churn", told, found)
    assert made is not None
    assert (made.kind, made.severity, notice().severity) == ("alarmed", "warning", "error")
    assert made.title == "note churn: version 3 alarmed: drift: age: ranks 0.4"


def test_a_pass_that_decided_nothing_tells_nothing() -> None:
    assert notices.of("churn", (), ()) is None


def test_many_alarms_with_long_names_stay_readable() -> None:
    checks = tuple(Check(f"{'x' * 500}\n{number}", "failed", 1, detail="y\n" * 500) for number in range(300))
    made = notice(worse=Verdict("performance", checks))
    text = notices.text(made)
    assert "and 291 more alarms" in text
    assert len(text) < 10_000
    assert len(made.title) <= 120
    assert "\n" not in made.title


def test_the_id_is_that_of_what_is_told() -> None:
    assert notice().id == notice().id
    assert notice(timedelta(seconds=1)).id != notice().id


def test_it_comes_back_from_json() -> None:
    assert notices.read(json.loads(json.dumps(plain(notice())))) == notice()
