"""Findings: what a pass measured, one test each, and the Verdicts that come of them.

A finding fails when it is both no chance (its p is at most the threshold that the budget of false
alarms leaves it, see `keepfit.monitoring.budget`) and no trifle (its effect is at least `least`).
Consequences are errors, drift alone is a warning: it explains.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Literal

from keepfit import show
from keepfit.types import Check, Severity, Verdict

if TYPE_CHECKING:
    from keepfit.monitoring.budget import Thresholds

Family = Literal["performance", "estimated", "quality", "drift"]
SEVERITY: Mapping[str, Severity] = {
    "performance": "error",
    "estimated": "error",
    "quality": "error",
    "drift": "warning",
}


@dataclass(frozen=True)
class Finding:
    """One question asked of a window, with its answer.

    `subject` is a signal, column or metric, `test` what was asked of it. `p` is the chance to see as
    much where nothing has changed; None where the effect alone decides. `value` is that of the window,
    `reference` what it is compared with, `effect` how far apart they are, in the test's own unit, and
    `least` the effect under which it is no matter. `rows`: of the window, that the value rests on.
    `severity`: None for that of the family.
    """

    family: Family
    subject: str
    test: str
    p: float | None
    value: float | None
    reference: float | None
    effect: float
    rows: int
    least: float = 0.0
    detail: str = ""
    severity: Severity | None = None
    unknown: str = ""  # why this cannot be answered, if so

    def check(self, level: float, min_rows: int = 0) -> Check:
        """The answer at a threshold for p; "not checked" where it is unknown or of too few rows.

        >>> shift = Finding("drift", "age", "ranks", 1e-9, 0.2, None, effect=0.2, rows=900, least=0.005)
        >>> shift.check(1e-6).outcome, shift.check(1e-12).outcome, shift.check(1e-6, min_rows=1000).outcome
        ('failed', 'passed', 'not checked')
        """
        name = f"{self.subject}: {self.test}"
        severity = self.severity or SEVERITY[self.family]
        few = f"{self.rows:,} rows; at least {min_rows:,} are needed" if self.rows < min_rows else ""
        if self.unknown or few:
            return Check(name, "not checked", self.value, None, self.unknown or few, severity)
        beyond = self.p is None or self.p <= level
        failed = beyond and self.effect >= self.least
        limit = f"effect < {self.least:g}" if self.p is None else None
        return Check(name, "failed" if failed else "passed", self.value, limit, self._told(level), severity)

    def _told(self, level: float) -> str:
        chance = [] if self.p is None else [f"{show.chance(self.p)} (alarm at {level:.2g})"]
        before = [] if self.reference is None else [f"was {self.reference:.4g}"]
        return "; ".join([*([self.detail] if self.detail else []), *before, *chance])


def verdict(family: Family, found: Sequence[Finding], thresholds: Thresholds) -> Verdict:
    """The Verdict of one family: each of its findings as a Check, those that failed first.

    Findings that decide by effect alone (p None) do not share the family's budget: they are warnings, and
    where nothing else could be checked their passing vouches for nothing.
    """
    tests = sum(finding.p is not None for finding in found)
    level = thresholds.of(family, tests)
    checks = [finding.check(level, thresholds.min_rows if finding.p is not None else 0) for finding in found]
    order = {"failed": 0, "passed": 1, "not checked": 2}
    told = {c.outcome for finding, c in zip(found, checks, strict=True) if finding.p is not None}
    if not told - {"not checked"}:
        checks = [replace(c, outcome="not checked") if c.outcome == "passed" else c for c in checks]
    return Verdict(family, tuple(sorted(checks, key=lambda check: order[check.outcome])))


def plain(finding: Finding) -> dict[str, Any]:
    """The finding as a dict of strings and numbers."""
    names = ("family", "subject", "test", "p", "value", "reference", "effect", "rows", "least", "detail")
    return {name: getattr(finding, name) for name in names}
