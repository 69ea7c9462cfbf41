"""Notices for tests: of a pass that found a worse model and a drifted column."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from keepfit.monitoring import alarms, notices
from keepfit.monitoring.notices import Notice
from keepfit.types import Check, Verdict

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
LINK = "https://ops.example.org/monitoring?slice=1&2"
WORSE = Verdict("performance", (Check("accuracy", "failed", 0.71, ">= 0.8", "<b>on</b> 900 rows"),))
DRIFTED = Verdict("drift", (Check("age <x>: ranks", "failed", 0.4, severity="warning"),))


def notice(after: timedelta = timedelta(0), worse: Verdict = WORSE, link: str = LINK) -> Notice:
    """What is told of a pass, `after` NOW."""
    found, told = alarms.update((), {"performance": worse, "drift": DRIFTED}, "churn", "3", NOW + after)
    made = notices.of("churn", told, found, link, "trains a challenger: performance (accuracy 0.71)")
    assert made is not None
    return made
