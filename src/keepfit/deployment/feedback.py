"""Feedback to a server: labels that came later and what was observed, kept and gone on from."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from keepfit.data import labels, observations
from keepfit.deployment import rollout, untaken

if TYPE_CHECKING:
    from keepfit.deployment.routes import Service


def take(service: Service, entries: Sequence[Any], caller: str | None) -> labels.Report:
    """Keep entries (see `labels.add`) and let what is served go on from them, as far as it does; count them.

    Not for the event loop. Raises RequestError (503) where they cannot be written.
    """
    observed = _reader(service)
    report = labels.add(service.feedback, service.predictions, entries, caller, service.retention, observed)
    if report.accepted:
        service.rollout.refresh()
        champion = service.rollout.active.get(rollout.CHAMPION)
        if champion and observed:
            report = replace(report, held_back=untaken.held(champion.served.runtime, entries, observed))
    for outcome in ("accepted", "repeated"):
        service.metrics.feedback[outcome] += getattr(report, outcome)
    for outcome in ("unknown", "expired", "invalid", "held_back"):
        service.metrics.feedback[outcome] += len(getattr(report, outcome))
    return report


def refused(service: Service) -> str:
    """What is said of entries none of which was accepted."""
    observed = _reader(service)
    if observed is None:
        return "None of these is a label of a prediction."
    *names, last = sorted(observed.names)
    row = ", ".join(f"'{name}'" for name in names) + f" and '{last}'"
    return f"None of these is the label of a prediction ('id' and 'label'), or a row that was observed ({row})."


def _reader(service: Service) -> labels.Read | None:
    champion = service.rollout.active.get(rollout.CHAMPION)
    return observations.reader(champion.served.runtime.schema, service.redact) if champion else None
