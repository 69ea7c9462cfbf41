"""`keepfit monitor --data FILE`: are these rows of the kind that the champion was trained on?

The rows take the place of the window: quality, drift, and the performance that may be expected of the
champion on them, at the thresholds of a pass. Lines, files and pictures that cannot be used are left out, named
and counted as rows that a server refuses. Nothing is kept but the report: no alarm begins or ends.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import polars as pl

from keepfit import config as settings
from keepfit import show
from keepfit.config import Config
from keepfit.data import gallery
from keepfit.data.image_paths import from_project
from keepfit.features.frame import from_frame
from keepfit.features.prepare import prepare
from keepfit.models.fitted import Output
from keepfit.monitoring import budget, drift, estimate, files, findings, quality, report
from keepfit.monitoring.counts import Counts
from keepfit.monitoring.findings import Family, Finding
from keepfit.pipeline import loading, monitoring
from keepfit.pipeline.monitoring import Watched
from keepfit.show import Record
from keepfit.types import plain

REPORT = "monitoring-file.html"


def monitor(config: Config, project: Path, path: Path) -> Record:
    """What a pass finds in a file, glob or folder of rows instead of the log, as its JSON has it.

    The report is written to `.keepfit/reports`. Raises TrackingError where there is no champion,
    DataError for what is no table, or lacks columns.
    """
    work = project / settings.WORK
    seen = monitoring.subject(config, project, datetime.now(UTC))
    made = loading.load(config, project, seen.bundle.path)

    def answer(frame: pl.DataFrame) -> Output:
        typed, _ = prepare(frame, made.schema, made.hooks)
        return made.predict(from_frame(typed, made.schema))

    data = from_project(config.data, project).model_copy(update={"source": str(path), "query": None})
    left: list[tuple[str, str, str]] = []  # column, name, why
    counts = files.of_file(
        path, seen.reference, seen.bundle.schema, answer, data, config.monitoring.time,
        lambda *one: left.append(one),
    )  # fmt: skip
    found = {**_found(config, work, seen, counts, left), "data": str(path)}
    report.write(work / "reports" / REPORT, found)
    return Record(found)


def _unusable(left: Sequence[tuple[str, str, str]], rows: int) -> list[Finding]:
    """What was left out, by name, where anything was: a warning, whatever its share."""
    if not left:
        return []
    asked = rows + len(left)
    told = gallery.listed([(name, why) for _, name, why in left])
    detail = f"{len(left):,} of {show.counted(asked, 'row')} cannot be used and were left out: {told}"
    count = float(len(left))
    return [Finding("quality", "rows", "unusable", None, count, None, count, asked, 1.0, detail, severity="warning")]


def _found(
    config: Config, work: Path, seen: Watched, counts: Counts, left: Sequence[tuple[str, str, str]]
) -> dict[str, Any]:
    section = config.monitoring
    limits = budget.thresholds(seen.reference, max(counts.rows, section.min_rows), section, work / "monitoring")
    guessed, of_estimate = estimate.estimated(counts, seen.reference, config.goals, section)
    asked: dict[Family, Sequence[Finding]] = {
        "performance": (),
        "estimated": of_estimate,
        "quality": [
            *_unusable(left, counts.rows),
            *quality.findings(seen.reference, counts, section, Counter(column or "lines" for column, _, _ in left)),
        ],
        "drift": drift.findings(seen.reference, counts, section),
    }
    verdicts = {family: findings.verdict(family, found, limits) for family, found in asked.items()}
    outcome, headline = monitoring.concluded(config, seen, counts, verdicts)
    since, until = (None if at is None else datetime.fromtimestamp(at, UTC) for at in (counts.first, counts.last))
    return {
        "format": monitoring.FORMAT,
        "time": seen.until.isoformat(timespec="seconds"),
        "project": config.project.name,
        "model": {"name": config.project.name, "version": seen.version},
        "window": {"since": plain(since), "until": plain(until), "rows": counts.rows, "labelled": 0, "labels": {}},
        "outcome": outcome,
        "headline": headline,
        "verdicts": {family: {**plain(verdict), "outcome": verdict.outcome} for family, verdict in verdicts.items()},
        "performance": {},
        "estimated": guessed,
        "slices": [],
        "groups": [],
        "columns": drift.ranked(seen.reference, counts, limits.drift, section.smallest, section.min_rows),
        "budget": limits.plain(),
        "alarms": [],
        "report": str(work / "reports" / REPORT),
    }
