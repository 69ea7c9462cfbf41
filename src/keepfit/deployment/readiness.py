"""Whether requests may come, and who answers them: what /ready tells."""

from __future__ import annotations

from typing import Any

from keepfit.deployment.rollout import CANARY, CHAMPION, SHADOW, Rollout


def unwritten(rollout: Rollout) -> list[str]:
    """Why answers cannot be logged and so are not given, by role; empty where all is well. A shadow answers nobody."""
    return [
        f"{role}: {active.served.writer.fault}"
        for role, active in sorted(rollout.active.items())
        if role != SHADOW and active.served.writer and active.served.writer.fault
    ]


def status(rollout: Rollout) -> str:
    """`ready` where requests may come; else what is in the way."""
    if CHAMPION not in rollout.active:
        return "no_model"
    return "log_unwritable" if unwritten(rollout) else "ready"


def state(rollout: Rollout, everything: bool) -> dict[str, Any]:
    """Who is at work and what was refused, for /ready. `everything`: also the reasons, which name files."""
    told: dict[str, Any] = {"status": status(rollout)}
    for role, active in sorted(rollout.active.items()):
        told["model" if role == CHAMPION else role] = {
            "name": active.served.name, "version": active.served.version, "since": round(active.served.since, 3),
        }  # fmt: skip
    if CANARY in rollout.active:
        told[CANARY]["share"] = rollout.running.share
    told["refused"] = [
        {"role": r.role, "version": r.version, "time": round(r.time, 3), **({"reason": r.reason} if everything else {})}
        for r in list(rollout.refused.values())
    ]
    if faults := unwritten(rollout):
        told["log"] = "; ".join(faults) if everything else "unwritable"
    if rollout.unreachable:
        told["registry"] = rollout.unreachable if everything else "unreachable"
    return told
