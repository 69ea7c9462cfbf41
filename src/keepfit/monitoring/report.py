"""The report of a monitoring pass: one HTML file under 2 MB whatever the data, from the pass's JSON.

What it means comes first: is the model well, how did it do, what would explain it. Then each column
as it was at training and as it is now, those first whose shift moved the predictions most.
"""

from __future__ import annotations

import dataclasses
import html
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from pathlib import Path, PurePath
from typing import Any

from keepfit import durable, show
from keepfit.monitoring.charts import Line, Point, spread, timeline
from keepfit.monitoring.performance import DECIDING
from keepfit.page import page, section, table, verdict
from keepfit.types import Check, Verdict, read

LIMIT = 1_900_000  # bytes
COLUMNS, CHECKS, SLICES = 200, 400, 400  # that are shown, at most; halved until the page is small enough
OPEN = 12  # columns that are listed without a click, at most
STRANGE = "strangest"  # small pictures in a pass, for its report alone
LONGEST = 240  # characters of a name or a reason
WIDTH = 480.0  # of a chart; about what it gets, so that its words can be read on a phone too
FAMILIES = {
    "performance": "Performance",
    "estimated": "Estimated performance",
    "quality": "Data quality",
    "drift": "Drift",
}
ROUNDED = 12  # decimals of what a shift moved: what is beyond them is the rounding of a sum
STATE = {"passed": "well", "failed": "not well", "not checked": "not checked"}


def write(path: Path, found: Mapping[str, Any]) -> Path:
    """Write the report of a pass to `path`."""
    share, told = 1.0, {**_bounded(found), STRANGE: found.get(STRANGE, ())}
    while len(text := _page(told, share).encode()) > LIMIT and share > 0.01:
        share /= 2
    path.parent.mkdir(parents=True, exist_ok=True)
    durable.write_bytes(path, text)
    return path


def _bounded(value: Any) -> Any:
    """A pass with no text longer than LONGEST: names and levels come from whoever sends requests.

    >>> len(_bounded({"columns": [{"name": "x" * 1000}]})["columns"][0]["name"])
    240
    """
    if isinstance(value, str):
        return value if len(value) <= LONGEST else f"{value[: LONGEST - 1]}…"
    if isinstance(value, Mapping):
        return {key: _bounded(inner) for key, inner in value.items()}
    return [_bounded(inner) for inner in value] if isinstance(value, (list, tuple)) else value


def _page(found: Mapping[str, Any], share: float) -> str:
    most = [max(3, int(count * share)) for count in (COLUMNS, CHECKS, SLICES)]
    parts = [
        _head(found),
        _tiles(found),
        _alarms(found["alarms"], most[1]),
        _measured(found, most[1]),
        *_over_time(found, most[2]),
        _columns(found["columns"], most[0]),
        _strangest(found[STRANGE]),
        *_verdicts(found, most[1]),
        _budget(found.get("budget")),
    ]
    return page(f"keepfit: {found['model']['name']}, {found['time'][:16]}", "".join(parts))


def _head(found: Mapping[str, Any]) -> str:
    model, window, outcome = found["model"], found["window"], html.escape(found["outcome"])
    where = html.escape(found.get("data") or _span(window))
    return (
        f"<h1>{html.escape(model['name'])}, version {html.escape(str(model['version']))}</h1>"
        f"<p><span class='outcome {outcome}'>{outcome}</span> {html.escape(found['headline'])}</p>"
        f"<p class='soft'>{where}: {show.counted(window['rows'], 'row')}, {_labels(window)}.</p>{_beside(found)}"
    )


def _labels(window: Mapping[str, Any]) -> str:
    """How many labels performance was measured with, and of when: they come late."""
    labels = window.get("labels") or {}
    known = show.counted(window["labelled"], "labelled row")
    return known + (f" of {html.escape(_span(labels))}" if labels.get("since") and labels.get("until") else "")


def _beside(found: Mapping[str, Any]) -> str:
    """Evidently's report, or why there is none; and what the tracking server was not told."""
    told = found.get("evidently") or {}
    name = html.escape(PurePath(told.get("report") or "").name, quote=True)
    lines = [f"<a href='{name}'>Evidently's report</a> of a sample"] if name else []
    lines += [f"No report of Evidently's: {html.escape(told['why'])}"] if told.get("why") else []
    lines += [f"Not told to MLflow: {html.escape(found['untracked'])}"] if found.get("untracked") else []
    return "".join(f"<p class='soft'>{line}.</p>" for line in lines)


def _span(part: Mapping[str, Any]) -> str:
    """From when to when.

    >>> _span({"since": "2026-03-02T00:00:00+00:00", "until": "2026-03-03T08:30:00+00:00"})
    '2026-03-02 00:00 to 2026-03-03 08:30 UTC'
    """
    return f"{_when(part['since'])} to {_when(part['until'])} UTC"


def _when(time: str | None) -> str:
    return (time or "").replace("T", " ")[:16]


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


def _alarms(alarms: Sequence[Mapping[str, Any]], most: int) -> str:
    if not alarms:
        return ""
    rows = [
        {
            "subject": alarm["subject"], "since, UTC": _when(alarm["since"]), "value": alarm.get("value"),
            "why": alarm["detail"],
        }
        for alarm in alarms[:most]
    ]  # fmt: skip
    return section("Open alarms", table(rows) + _more(len(alarms) - most))


def _more(count: int) -> str:
    return f"<p class='soft'>and {count:,} more</p>" if count > 0 else ""


def _over_time(found: Mapping[str, Any], most: int) -> Iterator[str]:
    """A chart for each metric that tells most, where it was measured or estimated more than once."""
    slices = found["slices"][-most:]
    goals = {name: value.get("goal") for name, value in found["performance"].items()}
    charts = [
        f"<div><h3>{html.escape(name)}</h3>{timeline(lines, limit(goals.get(name)), width=WIDTH)}</div>"
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


def _measured(found: Mapping[str, Any], most: int) -> str:
    rows = []
    for part, how in (("performance", "measured"), ("estimated", "estimated")):
        for name, value in found[part].items():
            told = {"metric": name, "how": how, "value": value.get("value"), "95 % interval": _around(value)}
            told |= {"at training": value.get("reference"), "goal": value.get("goal"), "": value.get("void", "")}
            rows.append(told)
    parts = [section("How well it does", table(rows))] if rows else []
    if found["groups"]:
        groups = table([_group(group) for group in found["groups"][:most]])
        parts.append(section("Weakest groups", groups + _more(len(found["groups"]) - most)))
    if found.get("naive"):
        parts.append(section("Beside seasonal naive", table([_beside_naive(one) for one in found["naive"]])))
    if found.get("steps"):
        parts.append(section("By step ahead", _steps(found["steps"], found.get("steps_before", ()))))
    return "".join(parts)


# metric that is told by steps ahead → its title, and its name in the evaluation
AHEAD = {"mase": ("MASE", "mase"), "bias": ("bias", "bias"), "interval_coverage": ("coverage", "coverage")}


def _beside_naive(one: Mapping[str, Any]) -> dict[str, Any]:
    """A metric of forecasts and of what was a season ago, on the same rows.

    >>> _beside_naive({"metric": "mase", "rows": 12, "value": 0.6, "naive": 0.8})
    {'metric': 'mase', 'forecasts': 0.6, 'seasonal naive': 0.8, 'rows': 12}
    """
    return {"metric": one["metric"], "forecasts": one["value"], "seasonal naive": one["naive"], "rows": one["rows"]}


def _steps(steps: Sequence[Mapping[str, Any]], before: Sequence[Mapping[str, Any]]) -> str:
    """Error and coverage of forecasts by how far ahead they were, beside what training measured so far ahead."""
    rows = []
    for one in steps:
        told: dict[str, Any] = {"step": one["step"], "rows": one["rows"]}
        for name, (title, then) in AHEAD.items():
            if name in one:
                told |= {title: one[name].get("value"), f"{title}, 95 %": _around(one[name])}
                told |= {f"{title} at training": _step_before(one["step"], then, before)}
        told |= {"MASE of seasonal naive": one["naive"]} if one.get("naive") is not None else {}
        rows.append(told)
    return table(rows)


def _step_before(steps: str, name: str, before: Sequence[Mapping[str, Any]]) -> float | None:
    """The mean of what training measured at these steps, by rows; None where it measured none.

    >>> told = [{"step": "1", "rows": 2, "mase": 0.5}, {"step": "2 to 3", "rows": 2, "mase": 0.7}]
    >>> _step_before("1 to 2", "mase", told), _step_before("9", "mase", told)
    (0.6, None)
    """
    first, last = _reach(steps)
    near = [one for one in before if name in one and _reach(one["step"])[0] <= last and _reach(one["step"])[1] >= first]
    values = [one[name]["value"] if isinstance(one[name], Mapping) else one[name] for one in near]
    rows = [one.get("rows", 1) for one in near]
    pairs = [(value, n) for value, n in zip(values, rows, strict=True) if value is not None]
    return sum(value * n for value, n in pairs) / sum(n for _, n in pairs) if pairs else None


def _reach(steps: str) -> tuple[int, int]:
    first, _, last = str(steps).partition(" to ")
    return int(first), int(last or first)


def _around(value: Mapping[str, Any]) -> str:
    low, high = value.get("low"), value.get("high")
    return f"{show.text(low)} to {show.text(high)}" if low is not None and high is not None else ""


def _group(group: Mapping[str, Any]) -> dict[str, Any]:
    """A group of rows with each of its metrics in columns.

    >>> _group({"column": "age", "value": "> 72", "auc": {"value": 0.7, "low": 0.6, "high": 0.8, "reference": 0.9}})
    {'group': 'age: > 72', 'auc': 0.7, 'auc, 95 %': '0.6 to 0.8', 'auc at training': 0.9}
    """
    told: dict[str, Any] = {"group": f"{group['column']}: {show.text(group['value'])}"}
    for name, value in group.items():
        if isinstance(value, Mapping):
            told |= {name: value.get("value"), f"{name}, 95 %": _around(value)}
            told |= {f"{name} at training": value["reference"]} if value.get("reference") is not None else {}
        elif name not in ("column", "value"):
            told[name] = value
    return told


def _columns(columns: Sequence[Mapping[str, Any]], most: int) -> str:
    """Those that shifted, then those whose shift moved the predictions most; the rest at a click."""
    if not columns:
        return ""
    ranked = sorted(columns, key=lambda column: column["outcome"] != "failed")[:most]
    shifted = sum(column["outcome"] == "failed" for column in ranked)
    drawn = [_column(column, at < OPEN) for at, column in enumerate(ranked)]
    first = max(OPEN, shifted)
    rest = _folded(f"{show.counted(len(drawn[first:]), 'column')} that moved less", "".join(drawn[first:]))
    key = "<p class='soft'>Bars: the share of rows now; outlines: at training. Ranked by what a shift moved.</p>"
    return section("Columns, now and at training", key + "".join(drawn[:first]) + rest + _more(len(columns) - most))


def _strangest(found: Sequence[Mapping[str, Any]]) -> str:
    """The pictures that are farthest from those of training, small."""
    figures = "".join(
        f"<figure><img src='{html.escape(one['picture'], quote=True)}' alt='{html.escape(one['id'], quote=True)}'>"
        f"<figcaption><b>{html.escape(one['prediction'][:LONGEST])}</b> {html.escape(show.text(one['distance']))}, "
        f"{_when(one['time'])}</figcaption></figure>"
        for one in found
    )
    key = "<p class='soft'>What was predicted, and the distance from the training set: about 1 is usual.</p>"
    return section("Strangest pictures", f"{key}<div class='small'>{figures}</div>") if found else ""


def _folded(told: str, parts: str) -> str:
    """What is shown at a click."""
    return f"<details><summary>{told}</summary>{parts}</details>" if parts else ""


def _column(column: Mapping[str, Any], wide: bool) -> str:
    """One column; what shifted is open where there is room (`wide`)."""
    failed = column["outcome"] == "failed"
    moved = None if column["moved"] is None else round(column["moved"], ROUNDED) + 0.0
    figures = {"PSI": column["psi"], "moved predictions by": moved}
    told = [f"{name} {show.text(value)}" for name, value in figures.items() if value is not None]
    told[1:1] = [show.chance(column["p"])] if column["p"] is not None else []
    mark = "<b class='bad'>shifted</b> " if failed else ""
    picture = spread(column["cells"], column["reference"], column["now"])
    return (
        f"<details{' open' if failed and wide else ''}><summary>{mark}{html.escape(column['name'])}"
        f"<em>{html.escape(', '.join(told))}</em></summary>{picture}</details>"
    )


def _budget(told: Mapping[str, Any] | None) -> str:
    """What the budget of false alarms allows, and what was achieved where nothing had changed."""
    if not told:
        return ""
    month, rate = 2629746.0, told["achieved"]
    around = f"{rate['low']:.2g} to {rate['high']:.2g}, from {show.text(rate['passes'])} passes"
    lines = {
        "bearable false alarms": f"{told['false_alarms'] * month:.3g} a month",
        "so a pass may raise one with a chance of": f"{told['level']:.2g}",
        "of which drift has": f"{told['allowed']:.2g}, alarmed up to p = {told['threshold']:.2g}",
        "drift raised one in simulated passes without a change": f"{rate['rate']:.2g} of them ({around})",
    }
    return section("False alarms", show.html_table(["", ""], lines.items()))


def _verdicts(found: Mapping[str, Any], most: int) -> Iterator[str]:
    """Every check: those that say something at once, those that passed at a click."""
    for family, title in FAMILIES.items():
        given = verdict_of(found, family)
        telling = [check for outcome in ("failed", "not checked") for check in given.checks if check.outcome == outcome]
        passed = [check for check in given.checks if check.outcome == "passed"]
        room = max(0, most - len(telling))
        shown = verdict(_part(given, telling[:most])) if telling or not passed else ""
        well = verdict(_part(given, passed[:room])) if passed[:room] else ""
        left = _more(max(0, len(telling) - most) + max(0, len(passed) - room))
        yield section(
            f"{title}: every check", shown + _folded(f"{show.counted(len(passed), 'check')} passed", well) + left
        )


def _part(given: Verdict, checks: Sequence[Check]) -> Verdict:
    return dataclasses.replace(given, checks=tuple(checks))
