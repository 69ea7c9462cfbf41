"""The report of a monitoring pass: one HTML file under 2 MB whatever the data, from the pass's JSON.

What it means comes first: is the model well, how did it do, what would explain it. Then each column
as it was at training and as it is now, those first whose shift moved the predictions most.
"""

from __future__ import annotations

import html
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

from keepfit import durable, show
from keepfit.monitoring.charts import Line, Point, spread, timeline
from keepfit.monitoring.performance import DECIDING
from keepfit.page import page, section, table, verdict
from keepfit.types import Verdict, read

LIMIT = 1_900_000  # bytes
COLUMNS, CHECKS, SLICES = 200, 400, 400  # that are shown, at most; halved until the page is small enough
FAMILIES = {
    "performance": "Performance",
    "estimated": "Estimated performance",
    "quality": "Data quality",
    "drift": "Drift",
}
STATE = {"passed": "well", "failed": "not well", "not checked": "not checked"}


def write(path: Path, found: Mapping[str, Any]) -> Path:
    """Write the report of a pass to `path`."""
    share = 1.0
    while len(text := _page(found, share).encode()) > LIMIT and share > 0.01:
        share /= 2
    path.parent.mkdir(parents=True, exist_ok=True)
    durable.write_bytes(path, text)
    return path


def _page(found: Mapping[str, Any], share: float) -> str:
    most = [max(3, int(count * share)) for count in (COLUMNS, CHECKS, SLICES)]
    parts = [
        _head(found),
        _tiles(found),
        _alarms(found["alarms"]),
        _measured(found),
        *_over_time(found, most[2]),
        _columns(found["columns"], most[0]),
        *_verdicts(found, most[1]),
    ]
    return page(f"keepfit: {found['model']['name']}, {found['time'][:16]}", "".join(parts))


def _head(found: Mapping[str, Any]) -> str:
    model, window, outcome = found["model"], found["window"], html.escape(found["outcome"])
    rows = f"{show.text(window['rows'])} rows, {show.text(window['labelled'])} of them with labels"
    return (
        f"<h1>{html.escape(model['name'])}, version {html.escape(str(model['version']))}</h1>"
        f"<p><span class='outcome {outcome}'>{outcome}</span> {html.escape(found['headline'])}</p>"
        f"<p class='soft'>{_when(window['since'])} to {_when(window['until'])}: {rows}.</p>"
    )


def _when(time: str | None) -> str:
    return html.escape((time or "").replace("T", " ")[:16])


def _tiles(found: Mapping[str, Any]) -> str:
    tiles = []
    for family, title in FAMILIES.items():
        given = verdict_of(found, family)
        state = "warned" if given and given.warnings else given.outcome.partition(" ")[0]
        told = "with warnings" if state == "warned" else STATE[given.outcome]
        tiles.append(f"<div class='tile {state}'>{title}<b>{told}</b><span class='soft'>{_few(given)}</span></div>")
    return f"<div class='tiles'>{''.join(tiles)}</div>"


def verdict_of(found: Mapping[str, Any], family: str) -> Verdict:
    """The Verdict of one family in the JSON of a pass."""
    given: Verdict = read(Verdict, found["verdicts"][family])
    return given


def _few(given: Verdict) -> str:
    unknown = [check.detail for check in given.checks if check.outcome == "not checked"]
    if given.outcome == "not checked" and unknown:
        return html.escape(unknown[0])
    named = [check.name for check in (*given.failures, *given.warnings)]
    if named:
        return html.escape(", ".join(named[:2]) + (f" and {len(named) - 2} more" if len(named) > 2 else ""))
    return show.counted(sum(check.outcome == "passed" for check in given.checks), "check")


def _alarms(alarms: Sequence[Mapping[str, Any]]) -> str:
    if not alarms:
        return ""
    rows = [{name: alarm.get(name) for name in ("subject", "since", "value", "detail")} for alarm in alarms]
    return section("Open alarms", table([{**row, "since": _when(str(row["since"]))} for row in rows]))


def _over_time(found: Mapping[str, Any], most: int) -> Iterator[str]:
    """A chart for each metric that tells most, where it was measured or estimated more than once."""
    slices = found["slices"][-most:]
    goals = {name: value.get("goal") for name, value in found["performance"].items()}
    charts = [
        f"<div><h3>{html.escape(name)}</h3>{timeline(lines, limit(goals.get(name)))}</div>"
        for name in telling(slices, goals)
        if (lines := series(slices, name)) and max(len(line.points) for line in lines) > 1
    ]
    if charts:
        yield section("Over time", f"<div class='charts'>{''.join(charts)}</div>")


def telling(slices: Sequence[Mapping[str, Any]], goals: Mapping[str, str | None]) -> list[str]:
    """The metrics that are drawn: those with a goal, then those that decide."""
    there = dict.fromkeys(name for one in slices for part in ("performance", "estimated") for name in one[part])
    ranked = sorted(there, key=lambda name: (not goals.get(name), name not in DECIDING))
    return [name for name in ranked if goals.get(name) or name in DECIDING]


def series(slices: Sequence[Mapping[str, Any]], name: str) -> list[Line]:
    """What was measured and what was estimated of one metric, slice by slice."""
    found = []
    for part, told, dashed in (("performance", "measured", False), ("estimated", "estimated", True)):
        points = [_point(one, one[part][name]) for one in slices if one[part].get(name, {}).get("value") is not None]
        found += [Line(told, points, dashed)] if points else []
    return found


def _point(one: Mapping[str, Any], value: Mapping[str, Any]) -> Point:
    return Point(datetime.fromisoformat(one["since"]), value["value"], value.get("low"), value.get("high"))


def limit(goal: str | None) -> float | None:
    """The number of a goal such as ">= 0.9"."""
    digits = (goal or "").lstrip("<>= ")
    return float(digits) if digits else None


def _measured(found: Mapping[str, Any]) -> str:
    rows = []
    for part, how in (("performance", "measured"), ("estimated", "estimated")):
        for name, value in found[part].items():
            low, high = value.get("low"), value.get("high")
            around = f"{show.text(low)} to {show.text(high)}" if low is not None and high is not None else ""
            told = {"metric": name, "how": how, "value": value.get("value"), "95 % interval": around}
            told |= {"at training": value.get("reference"), "goal": value.get("goal"), "": value.get("void", "")}
            rows.append(told)
    parts = [section("How well it does", table(rows))] if rows else []
    if found["groups"]:
        parts.append(section("Weakest groups", table(found["groups"])))
    return "".join(parts)


def _columns(columns: Sequence[Mapping[str, Any]], most: int) -> str:
    if not columns:
        return ""
    rows = "".join(_column(column) for column in columns[:most])
    left = f"<p class='soft'>and {len(columns) - most} more, which moved less</p>" if len(columns) > most else ""
    key = "<p class='soft'>Bars: the share of rows now; outlines: at training. Ranked by what a shift moved.</p>"
    return section("Columns, now and at training", key + rows + left)


def _column(column: Mapping[str, Any]) -> str:
    failed = column["outcome"] == "failed"
    figures = {"PSI": column["psi"], "p": column["p"], "moved predictions by": column["moved"]}
    told = ", ".join(f"{name} {show.text(value)}" for name, value in figures.items() if value is not None)
    mark = "<b class='bad'>shifted</b> " if failed else ""
    picture = spread(column["cells"], column["reference"], column["now"])
    return (
        f"<details{' open' if failed else ''}><summary>{mark}{html.escape(column['name'])}<em>{told}</em></summary>"
        f"{picture}</details>"
    )


def _verdicts(found: Mapping[str, Any], most: int) -> Iterator[str]:
    for family, title in FAMILIES.items():
        given = verdict_of(found, family)
        ranked = sorted(given.checks, key=lambda check: ("failed", "not checked", "passed").index(check.outcome))
        yield section(f"{title}: every check", verdict(Verdict(given.subject, tuple(ranked[:most]))))
