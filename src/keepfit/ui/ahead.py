"""Forecasts: the form (which series, how far, what was observed since), charts, and tables beneath."""

from __future__ import annotations

import asyncio
import re
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from html import escape
from pathlib import Path
from typing import Any

import numpy as np
from nicegui import ui
from nicegui.events import UploadEventArguments

from keepfit.data import parse
from keepfit.data import rhythm as calendar
from keepfit.deployment.routes import Service
from keepfit.deployment.wishes import FARTHEST, HISTORY, HORIZON, SERIES, Key, Known
from keepfit.errors import DataError, KeepfitError, RequestError
from keepfit.ui import ahead_chart, ahead_rows, asking, field, many, views
from keepfit.ui.about import About
from keepfit.ui.ahead_chart import Point
from keepfit.ui.ask import button, sentence
from keepfit.ui.field import Field

SEASONS, LEAST, MOST = 3, 24, 240  # of history that are drawn; periods at least and at most
OFFERED = 200  # series that the list offers for what was typed
SHOWN = 6  # series that are drawn; the download has all
LONGEST = 200_000  # characters of what was observed; a longer file is work for `keepfit predict`
ROWS = many.ROWS  # forecasts that are asked for at once
Row = Mapping[str, Any]
DAY_ONE = re.compile(r"[0-9]{4}-[0-9]{2}-01")
WORDS = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days", "b": "business days", "w": "weeks", "mo": "months",
         "q": "quarters", "y": "years"}  # fmt: skip


@dataclass
class Form:
    """The form of one version on one visitor's page."""

    service: Service
    told: About
    caller: str
    known: Known
    names: Mapping[str, Key]
    fields: dict[str, Field]
    result: Any = None

    @property
    def texts(self) -> dict[str, Any]:
        """Field → what it holds."""
        return {name: its.value for name, its in self.fields.items()}


def form(service: Service, told: About, caller: str, before: Mapping[str, Any] | None = None) -> Form:
    """Build the form; `before` is what the fields held, where another version's form was there."""
    known = told.served.runtime.wish
    assert known is not None
    made = Form(service, told, caller, known, {name(key): key for key in sorted(known.ends, key=name)}, {})
    with ui.element("div").classes("kf-ahead"):
        with ui.element("form").classes("kf-form").on("submit.prevent", lambda: ask(made)):
            _fields(made, before or {})
            with ui.element("div").classes("kf-bar"):
                button("Forecast", primary=True).props("type=submit")
        with ui.element("section").classes("kf-result").props('aria-label="Answer" aria-live=polite') as made.result:
            _before(made)
    return made


def name(key: Key) -> str:
    """
    >>> name(("north", "tea")), name(())
    ('north / tea', '')
    """
    return " / ".join("unknown" if part is None else part for part in key)


def offered(names: Sequence[str], typed: str | None) -> list[str]:
    """The series that a list offers for what was typed: those that begin so, then those that have it within.

    >>> offered(["tea north", "north", "south"], "Nor")
    ['north', 'tea north']
    """
    text = (typed or "").strip().lower()
    starts = [name for name in names if name.lower().startswith(text)]
    within = [name for name in names if text in name.lower()[1:] and not name.lower().startswith(text)]
    return [*starts, *within][:OFFERED]


def worded(frequency: str) -> str:
    """A frequency as what is counted.

    >>> worded("1mo"), worded("15m"), worded("1b"), worded("1i")
    ('months', 'times 15 minutes', 'business days', 'periods')
    """
    count, unit = calendar.step(frequency)
    return WORDS.get(unit, "periods") if count == 1 or unit not in WORDS else f"times {count:g} {WORDS[unit]}"


def shortened(points: Sequence[Point]) -> list[Point]:
    """Points whose times are as people read them: months without their day, where that is always the first.

    >>> [point.time for point in shortened([Point(0, "1961-01-01", 1.0), Point(1, "1961-02-01", 2.0)])]
    ['1961-01', '1961-02']
    """
    months = len(points) > 1 and all(DAY_ONE.fullmatch(point.time) for point in points)
    return [point._replace(time=point.time[:7]) for point in points] if months else [*points]


# --- the form -------------------------------------------------------------------------------------


def _fields(made: Form, before: Mapping[str, Any]) -> None:
    with ui.element("div").classes("kf-fields"):
        if made.known.rhythm.series:
            _series(made)
        most = FARTHEST * made.known.rhythm.horizon
        hint = f"up to {most:,}"
        made.fields[HORIZON] = Field(
            f"How many {worded(made.known.rhythm.frequency)} ahead", "number", str(made.known.rhythm.horizon), hint=hint
        )
    _history(made, before)
    for key, its in made.fields.items():
        if before.get(key) is not None:
            its.value = before[key]


def _series(made: Form) -> None:
    names = list(made.names)
    few, title = len(names) <= field.CHOICES, " / ".join(made.known.rhythm.series)
    hint = f"{len(names):,} series are known; none chosen: all of them"
    levels = names if few else offered(names, "")
    its = made.fields[SERIES] = Field(
        title, "category", names[0] if names else None, levels=levels, few=few, free=True, hint=hint, none="all"
    )

    def typed() -> None:
        if not few:
            its.props["levels"] = offered(names, its.value)
        made.result.clear()
        with made.result:
            _before(made)

    its.on_value_change(typed)


def _history(made: Form, before: Mapping[str, Any]) -> None:
    columns = [*made.known.rhythm.series, made.known.rhythm.time, made.known.target]
    columns += [*covariates(made), *made.known.rhythm.past]
    sample = ",".join(columns)
    with ui.element("details").props("open" if before.get(HISTORY) or covariates(made) else ""):
        ui.html("What is known ahead, and was observed since" if covariates(made) else "What was observed since",
                tag="summary")  # fmt: skip
        ui.html(_about(made))
        with ui.element("div").classes("kf-fields"):
            hint = f"A CSV with the header {sample}"
            its = made.fields[HISTORY] = Field("Rows", "text", None, hint=hint, none=sample)

        async def taken(event: UploadEventArguments) -> None:
            text = (await event.file.read()).decode("utf-8", "replace")
            its.fault(None)
            if len(text) > LONGEST:
                its.fault(f"{event.file.name} has more than {LONGEST:,} characters: keepfit predict takes it.")
                return
            its.value = text

        drop = many.Drop(on_upload=taken, auto_upload=True, max_file_size=4 * LONGEST)
        drop.props.update({"told": "or drop it here", "label": "Choose a CSV file", "most": 4 * LONGEST})
        drop.props.update({"accept": ".csv,.tsv,.txt,text/csv"})
        if covariates(made):
            told = "A row for each time ahead; fill in what is known"
            button("Prepare rows").on("click", lambda: begin(made)).tooltip(told)


def begin(made: Form) -> None:
    """Write the rows that are to be forecast of the chosen series, with what must be known ahead left open."""
    try:
        key, ahead = chosen(made), field.value(made.told.schema[made.known.target], made.fields[HORIZON].value)
    except RequestError:
        key, ahead = None, None
    keys = list(made.known.ends) if key is None else [key]
    steps = int(ahead) if isinstance(ahead, (int, float)) and ahead >= 1 else made.known.rhythm.horizon
    steps = min(steps, FARTHEST * made.known.rhythm.horizon)
    made.fields[HISTORY].value = ahead_rows.begun(made.known, covariates(made), keys, steps, LONGEST)


def covariates(made: Form) -> list[str]:
    """The columns that must be known ahead."""
    own = (*made.known.rhythm.series, made.known.rhythm.time, made.known.target)
    return [column.name for column in made.told.schema.required if column.name not in own]


def _about(made: Form) -> str:
    target = escape(made.known.target)
    told = f"Rows with a value of {target} move the model on, for this answer alone; those of a new series are enough."
    told += f" Rows without a value of {target} are the ones to forecast; then the number of periods does not count."
    if needed := covariates(made):
        told += f" This model needs {escape(', '.join(needed))} of the rows to forecast, so they must be written here."
    return f"<p class=kf-note>{told}</p>"


# --- what is asked --------------------------------------------------------------------------------


def chosen(made: Form) -> Key | None:
    """The series that was chosen; None for all. Raises RequestError for a name that cannot be one."""
    typed = made.fields[SERIES].value if SERIES in made.fields else ""
    columns = made.known.rhythm.series
    if not typed:
        return None if columns else ()
    if typed in made.names:
        return made.names[typed]
    parts = tuple(part.strip() for part in typed.split(" / ")) if len(columns) > 1 else (typed,)
    if len(parts) != len(columns):
        raise _wrong(SERIES, f"write {' / '.join(columns)}")
    return parts


def observed(made: Form, key: Key | None) -> list[dict[str, Any]]:
    """The rows that were written, those without a series as rows of `key`. Raises RequestError."""
    text = made.fields[HISTORY].value
    if not text:
        return []
    try:
        columns, rows = many.parsed(text.encode(), "rows.csv")
    except DataError as error:
        raise _wrong(HISTORY, str(error)) from None
    rhythm, names = made.known.rhythm, {column.name for column in made.told.schema.inputs}
    lacking = [name for name in (rhythm.time, made.known.target) if name not in columns]
    unnamed = [name for name in rhythm.series if name not in columns]
    if unnamed and (key is None or len(unnamed) < len(rhythm.series)):
        lacking = [*unnamed, *lacking]
    if lacking:
        raise _wrong(HISTORY, f"there is no column {', '.join(lacking)}; the first line has the names of the columns")
    mine = dict(zip(rhythm.series, key or (), strict=False)) if unnamed else {}
    return [{**mine, **{name: value for name, value in row.items() if name in names}} for row in rows]


def wishes(made: Form) -> list[list[Row]]:
    """What is asked for, request by request. Raises RequestError for what cannot be read."""
    key = chosen(made)
    rows = observed(made, key)
    if not rows and (needed := covariates(made)):
        raise _wrong(HISTORY, f"the model looks at {', '.join(needed)}: write what is known of them, a row for each of "
                     f"the {worded(made.known.rhythm.frequency)} ahead")  # fmt: skip
    ahead = field.value(made.told.schema[made.known.target], made.fields[HORIZON].value)
    if any(row[made.known.target] is None for row in rows):
        return [[*rows]]
    wish: dict[str, Any] = {} if ahead is None else {HORIZON: ahead}
    wish |= {HISTORY: rows}
    names = made.known.rhythm.series
    if key is not None:
        return [[{**wish, **({SERIES: dict(zip(names, key, strict=True))} if names else {})}]]
    if rows:
        return [[wish]]
    return _all(made, wish)


def _all(made: Form, wish: Row) -> list[list[Row]]:
    """All known series, in requests of no more rows than one may have."""
    rhythm, keys = made.known.rhythm, list(made.known.ends)
    steps = wish.get(HORIZON, rhythm.horizon)
    steps = steps if isinstance(steps, int) and steps > 0 else 1
    if len(keys) * steps > ROWS:
        raise RequestError(413, "too_many_rows", f"{len(keys) * steps:,} forecasts are more than the {ROWS:,} that a "
                           "page can show. Use: keepfit predict -o forecasts.parquet")  # fmt: skip
    count = max(1, made.service.rules.rows // steps)
    parts = [keys[start : start + count] for start in range(0, len(keys), count)]
    return [[{**wish, SERIES: [dict(zip(rhythm.series, key, strict=True)) for key in part]}] for part in parts]


async def ask(made: Form) -> None:
    """Ask for forecasts and show them, or what is wrong, beside the field that it is about."""
    try:
        asked = await asyncio.to_thread(wishes, made)
        parts = [await asking.predict(made.service, one, made.caller) for one in asked]
    except KeepfitError as fault:
        _faults(made, fault)
        return
    for its in made.fields.values():
        its.fault(None)
    found = [answer for part in parts for answer in part.predictions]
    rows = [row for one in asked for wish in one for row in wish.get(HISTORY, [wish] if HORIZON not in wish else [])]
    made.result.clear()
    with made.result:
        for note in (note for part in parts for note in part.notes):
            ui.html(views.notice(f"{note['problem']}."))
        _answers(made, found, rows)
        ui.html(f"<p class=kf-note>version {views.shown(parts[-1].served.version)}. What came true is told under "
                "“Recent”, or sent as feedback with the ids of the download.</p>")  # fmt: skip


def _faults(made: Form, fault: KeepfitError) -> None:
    """Each problem to its field: what is about rows to those that were written."""
    details = fault.details if isinstance(fault, RequestError) else []
    told: dict[str, list[str]] = defaultdict(list)
    for detail in details:
        column = str(detail.get("column"))
        place = column if column in made.fields else HISTORY
        where = "" if place == column else f"row {(detail.get('row') or 0) + 1}, {column}: "
        told[place].append(f"{where}{detail['problem']}")
    for key, its in made.fields.items():
        its.fault(sentence("; ".join(told[key][: field.CHOICES])) if key in told else None)
    made.result.clear()
    with made.result:
        ui.html(views.notice("This cannot be forecast: see the marked field." if told else str(fault)))


def _wrong(place: str, problem: str) -> RequestError:
    return RequestError(422, "bad_values", problem, [{"row": 0, "column": place, "problem": problem}])


# --- what is shown --------------------------------------------------------------------------------


def past(known: Known, key: Key, rows: Sequence[Row] = (), steps: int = 0) -> list[Point]:
    """What was observed of a series lately: known to the model, or in `rows` and later."""
    lately = max(LEAST, min(MOST, SEASONS * max(known.rhythm.season, default=1)), 2 * steps)
    found = known.past(key, lately)
    column = known.columns[known.target]
    for place, row in enumerate(rows):
        value = parse.PARSE["past"](row.get(known.target), column)
        if value is not None and known.key(row) == key:
            period = known.period(row, place)
            if key not in known.ends or period > known.ends[key]:
                found[period] = float(value)
    periods = [period for period in sorted(found) if period > max(found) - lately]
    times = calendar.written(known.rhythm, np.array(periods, np.int64))
    return [Point(period, str(time), found[period]) for period, time in zip(periods, times, strict=True)]


def placed(known: Known, answers: Sequence[Row]) -> dict[Key, list[Point]]:
    """The forecasts of each series, in the order of time."""
    names, found = (*known.rhythm.series, known.rhythm.time), dict[Key, list[Point]]()
    for place, answer in enumerate(answers):
        row = dict(zip(names, [*answer.values()][1 : 1 + len(names)], strict=True))  # they stand behind the id
        value, (low, high) = answer["prediction"], answer.get("interval") or (None, None)
        point = Point(known.period(row, place), str(row[known.rhythm.time]), _real(value), low, high, True)
        found.setdefault(known.key(row), []).append(point)
    return {key: sorted(points) for key, points in found.items()}


def _real(value: Any) -> float:
    return float("nan") if value is None else float(value)


def _before(made: Form) -> None:
    """What was observed of the chosen series, before anything is asked."""
    try:
        key = chosen(made)
    except RequestError:
        key = None
    points = [] if key is None else shortened(past(made.known, key))
    if not points or key is None:
        ui.html("<p class=kf-empty>Choose a series, or none for all, and ask.</p>")
        return
    last = f"Observed up to {points[-1].time}. Ask what comes."
    ui.html(f"<article>{_head(made, key)}{ahead_chart.both(points, _title(made, key))}"
            f"<p class=kf-empty>{escape(last)}</p></article>")  # fmt: skip


def _head(made: Form, key: Key) -> str:
    named = f"<h3>{escape(name(key))}</h3>" if key else ""
    return f"{named}<p class=kf-target>{escape(made.known.target)}</p>"


def _title(made: Form, key: Key) -> str:
    return " of ".join(filter(None, (made.known.target, name(key))))


def _band(made: Form) -> str:
    """What the interval is called, by what it is to hold."""
    coverage = (made.told.manifest.get("interval") or {}).get("coverage")
    return f"{coverage * 100:g} % interval" if coverage else "interval"


def _answers(made: Form, answers: Sequence[Row], rows: Sequence[Row]) -> None:
    found = placed(made.known, answers)
    if len(found) > SHOWN:
        ui.html(f"<p class=kf-lead>{len(answers):,} forecasts of {len(found):,} series. The first {SHOWN} are drawn; "
                "the download has all.</p>")  # fmt: skip
    for key, points in [*found.items()][:SHOWN]:
        drawn = shortened(sorted([*past(made.known, key, rows, len(points)), *points]))
        ahead = [point for point in drawn if point.ahead]
        body = _head(made, key) + ahead_chart.both(drawn, _title(made, key), _band(made)) + _table(made, ahead)
        ui.html(f"<article>{body}</article>")
    with ui.element("div").classes("kf-bar"):
        file = f"{Path(made.told.served.name).name}-forecasts.csv"
        button("Download CSV").on("click", lambda: ui.download.content(ahead_rows.written(answers), file))


def _table(made: Form, points: Sequence[Point]) -> str:
    ends = any(point.low is not None for point in points)
    head = [made.known.rhythm.time, made.known.target, *(("from", "to") if ends else ())]
    rows = [[point.time, point.value, *((point.low, point.high) if ends else ())] for point in points]
    return views.table(head, rows, "Forecasts")
