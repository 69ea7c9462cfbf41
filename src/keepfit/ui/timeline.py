"""Performance, traffic and latency over time: what was measured and estimated, beside the goals."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from html import escape
from typing import Any

from keepfit import config as settings
from keepfit.errors import ConfigError
from keepfit.monitoring.charts import Bar, Line, Mark, Point, amounts, timeline
from keepfit.monitoring.report import series
from keepfit.pipeline.state_of_loop import MOVES, Loop
from keepfit.ui import views

CHARTS = 4  # metrics that are drawn
DECIDING = ("accuracy", "roc_auc", "log_loss", "mase", "interval_coverage", "rmse", "mae")  # where no goal names any
LEAST = 2  # that are drawn, where so many are known
SLICES = 240  # that are drawn, the newest
GROUPS = 10  # that are listed
WIDE, SLIM = 600.0, 330.0  # the same chart for two widths of the page: letters keep their size
LATENCY = (("latency_p50", "median"), ("latency_p99", "99 % within"))
Values = Mapping[str, Any]
Draw = Callable[[float], str]


def both(draw: Draw) -> str:
    """A chart as it is drawn for wide and for narrow pages; the style shows one of them."""
    return f"<div class=kf-wide>{draw(WIDE)}</div><div class=kf-slim>{draw(SLIM)}</div>"


def slices(found: Loop) -> list[Values]:
    """What is known of each stretch of time, oldest first."""
    known = [one for one in found.latest.get("slices") or () if isinstance(one, Mapping) and one.get("since")]
    return [{"performance": {}, "estimated": {}, **one} for one in known[-SLICES:]]


def marks(found: Loop) -> list[Mark]:
    """The moments when champions changed and alarms began; what began at once is one mark."""
    told: dict[tuple[datetime, str], list[str]] = defaultdict(list)
    labels: dict[tuple[datetime, str], str] = {}
    for decision in found.decisions:
        kind = "champion" if decision.kind in MOVES else "alarm" if decision.kind == "alarmed" else ""
        if not kind or not decision.when:
            continue
        key = datetime.fromisoformat(decision.when), kind
        what = f"version {decision.version} {decision.kind.replace('_', ' ')}" if kind == "champion" else "alarm"
        told[key].append(f"{what}: {decision.reason[:160]}")
        labels[key] = f"v{decision.version}" if kind == "champion" else "alarm"
    return [
        Mark(time, "\n".join([f"{time:%Y-%m-%d %H:%M}", *lines]), kind, labels[time, kind])
        for (time, kind), lines in told.items()
    ]


# --- performance ----------------------------------------------------------------------------------


def performance(found: Loop) -> str:
    """A chart for each metric with a goal, then all figures in a table."""
    blocks = "".join(_metric(found, name) for name in _chosen(found))
    key = "<p class=kf-note>Bands are 95 % intervals; the dotted line is the goal. Times are UTC.</p>"
    return f"<div class=kf-charts>{blocks}</div>{key}" if blocks else _unmeasured()


def _unmeasured() -> str:
    return (
        "<p class=kf-empty>Nothing was measured yet: labels are sent to <code>/feedback</code>, with "
        "<code>keepfit feedback</code>, or under “Recent”. "
        "Until they come, performance is estimated where that can be done.</p>"
    )


def _figures(found: Loop, part: str) -> Mapping[str, Values]:
    given = found.latest.get(part)
    return {name: v for name, v in given.items() if isinstance(v, Mapping)} if isinstance(given, Mapping) else {}


def _chosen(found: Loop) -> list[str]:
    known = {**_figures(found, "estimated"), **_figures(found, "performance")}
    wanted = [name for name, value in known.items() if value.get("goal")]
    rest = [name for name in (*DECIDING, *known) if name in known and name not in wanted]
    return [*wanted, *[*dict.fromkeys(rest)][: max(0, LEAST - len(wanted))]][:CHARTS]


def _metric(found: Loop, name: str) -> str:
    measured, guess = _figures(found, "performance").get(name, {}), _figures(found, "estimated").get(name, {})
    goal = measured.get("goal") or guess.get("goal")
    lines = [*series(slices(found), name)]
    if not any(line.dashed for line in lines):
        lines += _estimates(found, name)
    void = guess.get("void")
    note = f"<p class=kf-note>Not estimated now: {escape(str(void)[:240])}.</p>" if void else ""
    title, seen = views.NAMES.get(name, name.replace("_", " ")), marks(found)
    chart = both(lambda width: timeline(lines, _limit(goal), seen, f"{title} over time", width))
    return f"<section class=kf-chart>{_title(title, measured, guess, goal)}{chart}{note}</section>"


def _title(title: str, measured: Values, guess: Values, goal: str | None) -> str:
    shown = measured if measured.get("value") is not None else guess
    value, low, high = (shown.get(part) for part in ("value", "low", "high"))
    how = "" if shown is measured or value is None else "about "
    span = f"{views.figure(low)} to {views.figure(high)}" if low is not None and high is not None else ""
    verdict = {True: "<b class=kf-met>met</b>", False: "<b class=kf-missed>missed</b>", None: ""}[met(value, goal)]
    told = f"<span>goal {views.limit(goal)} {verdict}</span>" if goal and _limit(goal) is not None else ""
    return f"<h4>{escape(title)} <strong>{how}{views.figure(value)}</strong><small>{span}</small>{told}</h4>"


def met(value: Any, goal: str | None) -> bool | None:
    """Whether a value meets a goal; None where there is none of either.

    >>> met(0.9, ">= 0.8"), met(0.9, "<= 0.8"), met(None, ">= 0.8"), met(0.9, "soon")
    (True, False, None, None)
    """
    if value is None or goal is None:
        return None
    try:
        sign, least = settings.goal(goal)
    except ConfigError:
        return None
    return bool(views.COMPARE[sign](value, least))


def goals(found: Loop) -> list[tuple[str, str]]:
    """Metric → what became of its goal, in words."""
    measured, guesses = _figures(found, "performance"), _figures(found, "estimated")
    told = []
    for name in {**measured, **guesses}:
        goal = measured.get(name, {}).get("goal") or guesses.get(name, {}).get("goal")
        value = measured.get(name, {}).get("value")
        verdict = {True: "met", False: "missed", None: "not measured"}[met(value, goal)]
        if goal:
            told.append((name, f"{goal}: {verdict}{f', {views.figure(value)}' if value is not None else ''}"))
    return told


def _limit(goal: str | None) -> float | None:
    try:
        return settings.goal(goal)[1] if goal else None
    except ConfigError:
        return None


def _estimates(found: Loop, name: str) -> list[Line]:
    """What the passes estimated, where the slices of time do not say."""
    points = []
    for one in found.passes:
        value = (one.get("estimated") or {}).get(name) or {}
        if value.get("value") is not None and one.get("time"):
            time = datetime.fromisoformat(one["time"])
            points.append(Point(time, value["value"], value.get("low"), value.get("high")))
    return [Line("estimated", points, True)] if points else []


def table(found: Loop) -> str:
    """All figures of the newest pass."""
    measured, guesses = _figures(found, "performance"), _figures(found, "estimated")
    head = ("metric", "measured", "95 % interval", "estimated", "at training", "goal")
    rows = [_row(name, measured.get(name, {}), guesses.get(name, {})) for name in {**measured, **guesses}]
    if not rows:
        return ""
    return views.plain_table(head, rows, "All figures") + _groups(found)


def _row(name: str, measured: Values, guess: Values) -> list[str]:
    low, high = measured.get("low"), measured.get("high")
    span = f"{views.figure(low)} to {views.figure(high)}" if low is not None and high is not None else ""
    before = measured.get("reference", guess.get("reference"))
    goal = measured.get("goal") or guess.get("goal") or ""
    title = views.NAMES.get(name, name.replace("_", " "))
    return [
        title,
        views.figure(measured.get("value")),
        span,
        views.figure(guess.get("value")),
        views.figure(before),
        goal,
    ]


def _groups(found: Loop) -> str:
    """The groups of rows in which it does worst."""
    rows = []
    for group in _mappings(found.latest.get("groups"))[:GROUPS]:
        for name, value in group.items():
            if isinstance(value, Mapping):
                low, high = value.get("low"), value.get("high")
                rows.append([
                    f"{group.get('column')}: {group.get('value')}", f"{group.get('rows', 0):,}",
                    views.NAMES.get(name, name), views.figure(value.get("value")),
                    f"{views.figure(low)} to {views.figure(high)}", views.figure(value.get("reference")),
                ])  # fmt: skip
    head = ("group", "rows", "metric", "measured", "95 % interval", "at training")
    return f"<h4>Weakest groups</h4>{views.plain_table(head, rows, 'Weakest groups')}" if rows else ""


def _mappings(values: Any) -> list[Values]:
    return [value for value in values if isinstance(value, Mapping)] if isinstance(values, list) else []


# --- traffic --------------------------------------------------------------------------------------


def traffic(found: Loop) -> str:
    """Rows answered in each stretch of time and, where it is known, how long an answer took."""
    known = slices(found)
    if not known:
        return "<p class=kf-empty>No pass has counted rows yet.</p>"
    bars = [
        Bar(datetime.fromisoformat(o["since"]), float(o.get("rows") or 0), float(o.get("labelled") or 0)) for o in known
    ]
    seen, last = [mark for mark in marks(found) if mark.kind == "champion"], bars[-1]
    rows = sum(bar.value for bar in bars)
    told = f"in {len(bars)} stretches of time, {last.value:,.0f} in the last" if len(bars) > 1 else ""
    title = f"<h4>rows <strong>{rows:,.0f}</strong><small>{told}</small></h4>"
    chart = both(lambda width: amounts(bars, ("rows", "with labels"), seen, "Rows over time", width))
    return f"<div class=kf-charts><section class=kf-chart>{title}{chart}</section>{_latency(known)}</div>"


def _time(one: Values) -> datetime:
    return datetime.fromisoformat(one["since"])


def _latency(known: Sequence[Values]) -> str:
    """In milliseconds; the passes have seconds."""
    lines = [
        Line(name, [Point(_time(one), one[key] * 1000) for one in known if one.get(key) is not None])
        for key, name in LATENCY
    ]
    lines = [line for line in lines if line.points]
    if not lines:
        return ""
    latest = " · ".join(f"{line.name} {views.figure(line.points[-1].value)}" for line in lines)
    chart = both(lambda width: timeline(lines, None, (), "Latency over time", width))
    return f"<section class=kf-chart><h4>latency, ms <small>{escape(latest)}</small></h4>{chart}</section>"
