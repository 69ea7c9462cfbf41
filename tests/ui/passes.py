"""State files as the loop leaves them: passes, alarms, a trial, a supervisor."""

from __future__ import annotations

import json
import os
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

NOON = datetime(2026, 11, 20, 12, tzinfo=UTC)
SCRIPT = "<script>window.hurt = 1</script><img src=x onerror='window.hurt = 1'>"


def verdict(family: str, outcome: str = "passed") -> dict[str, Any]:
    check = {
        "name": f"{family} check",
        "outcome": outcome,
        "value": 0.5,
        "limit": "< 1",
        "detail": "",
        "severity": "error",
    }
    return {"subject": family, "checks": [check], "outcome": outcome}


def figure(value: float, **more: Any) -> dict[str, Any]:
    return {"value": value, "low": value - 0.03, "high": value + 0.03, "rows": 200, **more}


def slices(until: datetime, count: int) -> list[dict[str, Any]]:
    found = []
    for at in range(count):
        since = until - timedelta(hours=count - at)
        found.append({
            "since": since.isoformat(), "until": (since + timedelta(hours=1)).isoformat(), "rows": 100 + 10 * at,
            "labelled": 80, "performance": {"accuracy": figure(0.9 - 0.01 * at)},
            "estimated": {"accuracy": figure(0.88)}, "latency_p50": 0.0006, "latency_p99": 0.004,
        })  # fmt: skip
    return found


def column(name: str, moved: float, outcome: str = "passed", **more: Any) -> dict[str, Any]:
    return {
        "name": name, "column": name, "kind": "nominal", "psi": abs(moved) * 10, "js": 0.1, "ks": None, "p": 1e-9,
        "moved": moved, "missing": 0.0, "unseen": 0.25, "outside": 0.0, "outcome": outcome,
        "cells": ["missing", "basic", SCRIPT, "rare", "unseen"], "reference": [0, 60, 40, 0, 0],
        "now": [1, 40, 30, 0, 25], **more,
    }  # fmt: skip


def one(until: datetime = NOON, outcome: str = "unhealthy", **more: Any) -> dict[str, Any]:
    """A pass."""
    since = (until - timedelta(days=1)).isoformat()
    return {
        "format": 1, "time": until.isoformat(), "model": {"name": "shop", "version": "1"},
        "window": {"since": since, "until": until.isoformat(), "rows": 2400, "labelled": 1900},
        "outcome": outcome, "headline": f"shop, version 1: accuracy is too low {SCRIPT}",
        "verdicts": {family: verdict(family) for family in ("performance", "estimated", "quality", "drift")},
        "performance": {"accuracy": figure(0.74, goal=">= 0.8", reference=0.9), "recall": figure(0.6, goal=None)},
        "estimated": {"accuracy": figure(0.76, goal=">= 0.8", void="", reference=0.9)},
        "slices": slices(until, 12),
        "groups": [{"column": "plan", "value": SCRIPT, "rows": 300, "accuracy": figure(0.5, reference=0.8)}],
        "columns": [column("plan", 0.04, "failed"), column(SCRIPT, -0.02), column("age", 0.001)],
        "budget": {}, "alarms": [], "report": "",
        **more,
    }  # fmt: skip


ALARMS = [
    {"key": "1/performance/accuracy", "family": "performance", "subject": "accuracy", "version": "1",
     "since": NOON.isoformat(), "last": NOON.isoformat(), "detail": f"drifted: {SCRIPT}", "value": 0.74,
     "limit": ">= 0.8", "severity": "error", "moved": None},
    {"key": f"1/drift/{SCRIPT}", "family": "drift", "subject": SCRIPT, "version": "1", "since": NOON.isoformat(),
     "last": NOON.isoformat(), "detail": "", "value": 0.4, "limit": None, "severity": "warning", "moved": 0.2},
]  # fmt: skip


def write(project: Path, name: str, values: Any) -> Path:
    """A file of `.keepfit/monitoring/`: values, or text as it is."""
    path = project / ".keepfit" / "monitoring" / name
    path.parent.mkdir(parents=True, exist_ok=True)
    new = path.with_name(f".{path.name}.new")
    new.write_text(values if isinstance(values, str) else json.dumps(values), encoding="utf-8")
    new.replace(path)
    return path


def passed(project: Path, until: datetime = NOON, **more: Any) -> None:
    """A pass as it is left: in its own file, and as the latest."""
    found = one(until, **more)
    write(project, f"passes/{until:%Y%m%dT%H%M%S-%f}.json", found)
    write(project, "latest.json", found)


def up(**more: Any) -> dict[str, Any]:
    """up.json of a supervisor that is this very machine's, and alive: our parent."""
    children = {"serve": {"pid": os.getppid(), "since": 0.0, "restarts": 0, "exit": None, "url": None, "told": ""}}
    return {
        "format": 1,
        "pid": os.getppid(),
        "since": 0.0,
        "status": "running",
        "passes": {},
        "children": children,
        **more,
    }


def alarms(found: list[dict[str, Any]]) -> dict[str, Any]:
    return {"format": 1, "alarms": found}
