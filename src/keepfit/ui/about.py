"""What the page knows of the version at work: its bundle's numbers, and what a person would want of them."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cached_property
from typing import Any

from keepfit import config as settings
from keepfit.data.parse import PARSE
from keepfit.deployment import explain
from keepfit.deployment.served import Served
from keepfit.monitoring import reference
from keepfit.types import Column, Schema


@dataclass(frozen=True)
class About:
    """A version at work, and the files of its bundle that the page shows."""

    served: Served
    description: str
    reference: Mapping[str, Mapping[str, Any]]
    metrics: Mapping[str, Mapping[str, Any]]
    rows: int  # that it was judged on
    goals: Mapping[str, str]

    @property
    def schema(self) -> Schema:
        return self.served.runtime.schema

    @property
    def version(self) -> str:
        return self.served.version

    @property
    def manifest(self) -> Mapping[str, Any]:
        """The bundle's manifest."""
        return self.served.runtime.bundle.manifest

    @property
    def created(self) -> datetime:
        """When it was trained."""
        found = datetime.fromisoformat(self.manifest["created"])
        return found if found.tzinfo else found.replace(tzinfo=UTC)

    @cached_property
    def usual(self) -> Mapping[str, Any]:
        """Input → typical value."""
        return explain.typical(self.schema, self.reference)


def about(served: Served) -> About:
    """Read what the page shows of a version. The bundle was verified when it was loaded."""
    folder = served.runtime.bundle.path
    judged = json.loads((folder / "metrics.json").read_bytes())
    known = reference.summaries(json.loads((folder / "reference.json").read_bytes()))
    config, _ = settings.read(folder / "config.yaml")
    project = config.get("project") or {}
    goals = {name: str(goal) for name, goal in (config.get("goals") or {}).items()}
    return About(
        served,
        str(project.get("description") or ""),
        known,
        judged.get("metrics", {}),
        judged.get("rows", 0),
        goals,
    )


def example(told: About) -> dict[str, Any]:
    """A row for the form: each column's example from the training data, or what is typical.

    The examples are the first values that training saw, so that where nothing is missing they are one
    real row.
    """
    return {c.name: c.example if _readable(c) else told.usual.get(c.name) for c in told.schema.inputs}


def _readable(column: Column) -> bool:
    try:
        return PARSE[column.role](column.example, column) is not None
    except ValueError:
        return False


def age(seconds: float) -> str:
    """A time span in words, in its largest unit.

    >>> age(5), age(90), age(7200), age(3 * 86400)
    ('a moment', '1 minute', '2 hours', '3 days')
    """
    for size, unit in ((86_400, "day"), (3_600, "hour"), (60, "minute")):
        if seconds >= size:
            count = int(seconds // size)
            return f"{count} {unit}{'s' if count > 1 else ''}"
    return "a moment"
