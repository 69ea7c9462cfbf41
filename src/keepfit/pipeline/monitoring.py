"""One monitoring pass: what was answered since, is it well, and what has to be told.

    counts      of the log's rows, in the cells of the champion's reference
    findings    quality and drift of the counts; performance of the labelled rows, and its estimate
    verdicts    at the thresholds that the budget of false alarms leaves
    alarms      what began and what is over: Decisions, and notices to whoever is to know
    told        the pass as JSON and HTML, its figures to MLflow

A pass is idempotent: it reads the log and writes its own files, so it may be run by `keepfit up`, by cron
or by hand, as often as one likes. Only one works at a time.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np

from keepfit import config as settings
from keepfit import durable, show
from keepfit.config import Config
from keepfit.data import traffic
from keepfit.errors import KeepfitError, TrackingError
from keepfit.models import bundle as bundles
from keepfit.monitoring import (
    alarms,
    budget,
    drift,
    estimate,
    figures,
    findings,
    implausible,
    labelled,
    latency,
    notices,
    outbox,
    performance,
    quality,
    reference,
    report,
    slices,
    strangest,
)
from keepfit.monitoring.alarms import Alarm
from keepfit.monitoring.counts import Counts, total
from keepfit.monitoring.findings import Family, Finding
from keepfit.monitoring.reference import Reference
from keepfit.pipeline import beside, champion, histories, live, settling
from keepfit.show import Record
from keepfit.tracking import decisions, lock, watched
from keepfit.types import Bundle, Verdict, plain

FORMAT = 1
FAMILIES: tuple[Family, ...] = ("performance", "estimated", "quality", "drift")
PASSES, REPORTS, SLICES = 2000, 200, 500  # that are kept
UNLOGGED = "serving.log.enabled is false, so what is answered cannot be watched"
BEFORE = 8  # windows before this one that tell how much traffic is usual


@dataclass(frozen=True)
class Watched:
    """What a pass looks at: the champion's bundle, its reference, and the stretch of time."""

    version: str
    bundle: Bundle
    reference: Reference
    since: datetime
    until: datetime
    metrics: Mapping[str, Any]


def monitor(config: Config, project: Path, now: datetime | None = None) -> Record:
    """One pass over the window that ends `now`; what it found, as its JSON has it.

    `now` defaults to the clock, or with `monitoring.time` to the newest event of the log. The record's
    `outcome` is healthy, unhealthy or "not checked". Raises TrackingError where there is no champion or
    the registry does not answer, BusyError while another pass is at work.
    """
    work = project / settings.WORK
    folder = work / "monitoring"
    with lock.held(folder / "monitor.lock", "A monitoring pass"):
        settling.finish(config, project, folder)
        until = now or live.moment(config, project)
        seen = subject(config, project, until)
        found = _look(config, project, seen)
        _decide(config, project, folder, seen, found)
        _write(folder, found)
        _tell(config, project, folder)
        _track(config, project, folder, seen.version, found)
        told = beside.evidently(config, work, seen.bundle, found)
        found |= {"evidently": told} if told else {}
        if {"untracked", "evidently"} & found.keys():
            _write(folder, found)
    return Record({key: value for key, value in found.items() if key != report.STRANGE})


def subject(config: Config, project: Path, until: datetime) -> Watched:
    """The champion and the window that ends `until`. Raises TrackingError where there is none."""
    at = champion.pointer(config, project)("champion")
    if at is None:
        raise TrackingError(f"'{config.project.name}' has no champion to watch. Next: keepfit run.")
    made = bundles.read(at.fetch())
    told = json.loads((made.path / "metrics.json").read_text(encoding="utf-8"))
    since = until - timedelta(seconds=config.monitoring.window)
    return Watched(at.version, made, reference.read(made), since, until, told)


# --- looking --------------------------------------------------------------------------------------


def _look(config: Config, project: Path, seen: Watched) -> dict[str, Any]:
    """Everything that is measured, and its Verdicts, as the JSON of a pass without its alarms."""
    work, section, schema = project / settings.WORK, config.monitoring, seen.bundle.schema
    counted = _counted(config, work, seen)
    window = total(count for start, count in counted.items() if start + timedelta(seconds=section.every) > seen.since)
    known = _labelled(config, work, seen)
    limits = budget.thresholds(seen.reference, max(window.rows, section.min_rows), section, work / "monitoring")
    columns = drift.ranked(seen.reference, window, limits.drift, section.smallest, section.min_rows)
    history = histories.before(config, project, seen.bundle, known)
    known, history, held = implausible.apart(known, history, schema, section.window)
    measured, of_labels = performance.measured(known, seen.metrics, config.goals, section, schema, history)
    before = _latest(work / "monitoring")
    agreed = _agreed(known, seen, section, before)
    guessed, of_estimate = estimate.estimated(window, seen.reference, config.goals, section, agreed, schema.task)
    asked: dict[Family, list[Finding]] = {
        "performance": of_labels,
        "estimated": of_estimate,
        "quality": held + _quality(work, seen, section, window, counted),
        "drift": drift.findings(seen.reference, window, section),
    }
    verdicts = {family: findings.verdict(family, asked[family], limits) for family in FAMILIES}
    outcome, headline = concluded(config, seen, window, verdicts)
    return {
        "format": FORMAT,
        "time": seen.until.isoformat(timespec="seconds"),
        "project": config.project.name,
        "model": {"name": config.project.name, "version": seen.version},
        "window": _window(seen, window.rows, measured["labelled"]),
        "outcome": outcome,
        "headline": headline,
        "verdicts": {family: {**plain(verdict), "outcome": verdict.outcome} for family, verdict in verdicts.items()},
        "performance": measured["performance"],
        "estimated": guessed,
        "agreed": agreed,
        "slices": _slices(before, seen.version, _live(config, work, seen, counted, agreed), measured["slices"]),
        "groups": measured["groups"],
        "steps": measured.get("steps", []),
        "naive": measured.get("naive", []),
        "steps_before": seen.metrics.get("by_step", []),
        "columns": columns,
        "budget": limits.plain(),
        report.STRANGE: _strangest(config, work, seen),
    }


def _quality(
    work: Path, seen: Watched, section: settings.Monitoring, window: Counts, counted: Mapping[datetime, Counts]
) -> list[Finding]:
    refused = _refused(work, seen) if section.time is None else {}
    past = _past(counted, seen, section)
    return quality.findings(seen.reference, window, section, refused, past, seen.until.timestamp())


def _counted(config: Config, work: Path, seen: Watched) -> dict[datetime, Counts]:
    """The counts of this window and of those before it, by time slice."""
    section = config.monitoring
    back = seen.since - timedelta(seconds=BEFORE * section.window)
    return slices.of_log(
        work / "predictions", seen.reference, seen.bundle.schema, seen.version, section.every, back, seen.until,
        section.time, work / "monitoring" / "counts", config.serving.log.uri,
    )  # fmt: skip


def _labelled(config: Config, work: Path, seen: Watched) -> labelled.Labelled:
    """All rows of the version that have a label by now."""
    interval = seen.bundle.manifest.get("interval")
    promised = {"coverage": interval["coverage"]} if isinstance(interval, Mapping) else {}
    return labelled.read(
        work / "predictions", seen.bundle.schema, until=seen.until, version=seen.version, time=config.monitoring.time,
        uri=config.serving.log.uri, **promised,
    )  # fmt: skip


def _strangest(config: Config, work: Path, seen: Watched) -> list[dict[str, Any]]:
    """The pictures of the window that are least like those of training."""
    return strangest.strangest(
        work / "predictions", seen.reference, seen.bundle.schema, seen.version, seen.since, seen.until,
        config.serving.log.uri,
    )  # fmt: skip


def _window(seen: Watched, rows: int, labels: Mapping[str, Any]) -> dict[str, Any]:
    """The stretch of time, and how much was answered and labelled in it."""
    since, until = (time.isoformat(timespec="seconds") for time in (seen.since, seen.until))
    return {"since": since, "until": until, "rows": rows, "labelled": labels["rows"], "labels": labels}


def _agreed(
    known: labelled.Labelled, seen: Watched, section: settings.Monitoring, before: Mapping[str, Any]
) -> Mapping[str, Any] | None:
    """How far the estimate agreed with the newest labels; without any, what the pass before found."""
    found = estimate.compared(_newest(known, section), seen.reference, seen.bundle.schema, section.min_rows)
    same = before.get("model", {}).get("version") == seen.version  # labels of another model say nothing of this one
    return found or (before.get("agreed") if same else None)


def _newest(known: labelled.Labelled, section: settings.Monitoring) -> labelled.Labelled:
    """The labelled rows of the last window that had any."""
    if not len(known):
        return known
    return known[known.times >= known.times[-1] - np.timedelta64(round(section.window * 1e6), "us")]


def _refused(work: Path, seen: Watched) -> dict[str, int]:
    """Column → values that servers refused in the window; a column with the time of events says nothing of these."""
    return traffic.read(work / "monitoring" / "traffic", seen.since.timestamp(), seen.until.timestamp())[1]


def _past(counted: Mapping[datetime, Counts], seen: Watched, section: settings.Monitoring) -> list[quality.Past]:
    """The traffic of the windows before this one, oldest first, from the first that had any."""
    rows = [0] * BEFORE
    for start, count in counted.items():
        back = (seen.since - start).total_seconds()
        if back > 0:
            rows[max(0, BEFORE - math.ceil(back / section.window))] += count.rows
    first = next((place for place, one in enumerate(rows) if one), BEFORE)
    return [quality.Past(one) for one in rows[first:]]


def concluded(config: Config, seen: Watched, window: Counts, verdicts: Mapping[Family, Verdict]) -> tuple[str, str]:
    """healthy, unhealthy or not checked; and that in a sentence."""
    name = f"{config.project.name}, version {seen.version}"
    bad = [check.name for verdict in verdicts.values() for check in verdict.failures]
    if bad:
        more = f" and {len(bad) - 2} more" if len(bad) > 2 else ""
        return "unhealthy", f"{name}: {', '.join(bad[:2])}{more}"
    if not any(verdict.outcome == "passed" for verdict in verdicts.values()):
        few = "too few to tell" if window.rows < config.monitoring.min_rows else "and no reference to compare them with"
        told = f"{show.counted(window.rows, 'row')} in the window, {few}"
        return "not checked", f"{name}: {told if config.serving.log.enabled or window.rows else UNLOGGED}"
    drifted = len(verdicts["drift"].warnings)
    told = f"; {show.counted(drifted, 'column')} drifted" if drifted else ""
    return "healthy", f"{name}: nothing wrong in {show.counted(window.rows, 'row')}{told}"


def _live(
    config: Config, work: Path, seen: Watched, counted: Mapping[datetime, Counts], agreed: Mapping[str, Any] | None
) -> list[dict[str, Any]]:
    """What needs no labels, of each slice that was counted: rows, latency, estimated performance."""
    section = config.monitoring
    took: Mapping[datetime, Mapping[str, float]] = {}
    if section.time is None:  # the time of an event says nothing of when it was answered
        uri = config.serving.log.uri
        took = latency.by_slice(work / "predictions", seen.since, seen.until, section.every, uri)
    found = []
    for start, count in counted.items():
        told: dict[str, Any] = {"since": start.isoformat(), "rows": count.rows, **took.get(start, {})}
        if count.rows >= section.min_rows:
            guessed, _ = estimate.estimated(count, seen.reference, config.goals, section, agreed)
            told["estimated"] = {name: one for name, one in guessed.items() if one["value"] is not None}
        found.append(told)
    return found


def _slices(before: Mapping[str, Any], version: str, *told: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """What is known of each stretch of time; of older ones what an earlier pass told."""
    known: dict[str, dict[str, Any]] = {one["since"]: one for one in before.get("slices", ())}
    for one in (one for part in told for one in part):
        known[one["since"]] = {**_slice(one["since"]), **known.get(one["since"], {}), **one, "version": version}
    return [known[stamp] for stamp in sorted(known)][-SLICES:]


def _slice(since: str) -> dict[str, Any]:
    return {"since": since, "rows": 0, "labelled": 0, "performance": {}, "estimated": {}}


def _latest(folder: Path) -> dict[str, Any]:
    """The last pass; nothing where there was none, or its file is no longer whole."""
    try:
        found = json.loads((folder / "latest.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) and found.get("format") == FORMAT else {}


# --- deciding -------------------------------------------------------------------------------------


def _decide(config: Config, project: Path, folder: Path, seen: Watched, found: dict[str, Any]) -> None:
    """Open and close alarms; adds them to what was found. The Decisions are on the disk when this returns."""
    verdicts: dict[str, Verdict] = {family: report.verdict_of(found, family) for family in FAMILIES}
    unit = _unit(seen.reference)
    moved = {column["name"]: column["moved"] / unit for column in found["columns"]}
    known, told = alarms.update(alarms.load(folder), verdicts, config.project.name, seen.version, seen.until, moved)
    found["alarms"] = [plain(alarm) for alarm in known]
    found["report"] = str(folder / "reports" / f"{_stamp(seen.until)}.html")
    notice = notices.of(config.project.name, told, known, str(Path(found["report"]).resolve()), _doing(config, known))
    settling.settle(config, project, folder, settling.Settled(known, told, notice))


def _doing(config: Config, known: Sequence[Alarm]) -> str:
    """What keepfit does about the alarms that are open."""
    families = {"performance": ("performance", "estimated"), "drift": ("drift",)}
    asked = [
        name for name, its in families.items() if name in config.retraining.on and any(a.family in its for a in known)
    ]
    if not asked:
        return ""
    return f"{' and '.join(asked)} may start a retraining (retraining.on), at the next 'keepfit retrain --if-needed'."


def _unit(made: Reference) -> float:
    """About a standard deviation of the model's output: how it varies between the cells of what it says."""
    spreads = [
        math.sqrt(float((signal.counts * signal.moves**2).sum()) / max(1, int(signal.counts.sum())))
        for signal in made.signals
        if not signal.column
    ]
    return max([*spreads, 1e-12])


def _tell(config: Config, project: Path, folder: Path) -> None:
    """Deliver what waits. What was given up is a Decision too."""
    for decision in outbox.deliver(config.alerts, folder, datetime.now(UTC)):
        decisions.record(project / settings.WORK, decision)


# --- writing --------------------------------------------------------------------------------------


def _stamp(time: datetime) -> str:
    return f"{time.astimezone(UTC):%Y%m%dT%H%M%S-%f}"


def _write(folder: Path, found: Mapping[str, Any]) -> None:
    """The pass as JSON, without pictures, and as a report; the oldest give way."""
    report.write(Path(found["report"]), found)
    kept = {key: value for key, value in found.items() if key != report.STRANGE}
    text = json.dumps(_finite(plain(kept)), ensure_ascii=False)
    path = folder / "passes" / f"{Path(found['report']).stem}.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    durable.write_text(path, text)
    durable.write_text(folder / "latest.json", text)
    reports = (folder / "reports").glob("*[0-9].html")  # Evidently's beside them give way earlier
    for old in [*sorted(path.parent.glob("*.json"))[:-PASSES], *sorted(reports)[:-REPORTS]]:
        old.unlink(missing_ok=True)


def _finite(value: Any) -> Any:
    """JSON has no NaN and no infinity: null stands for both."""
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, dict):
        return {key: _finite(inner) for key, inner in value.items()}
    return [_finite(inner) for inner in value] if isinstance(value, list) else value


def _track(config: Config, project: Path, folder: Path, version: str, found: dict[str, Any]) -> None:
    """The figures to MLflow. A tracking server that is away costs this pass its line there, and is told."""
    numbers = {figures.named(figure): figure.value for figure in figures.figures(found)}
    try:
        watched.log(champion.store(config, project), folder, version, numbers)
    except KeepfitError as error:
        found["untracked"] = settings.masked(config, str(error))
