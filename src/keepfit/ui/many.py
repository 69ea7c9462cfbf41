"""Many rows: a CSV in, a table of answers and a CSV out. Rows that cannot be read are told, never lost."""

from __future__ import annotations

import asyncio
import csv
import io
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from html import escape
from pathlib import Path
from typing import Any

from nicegui import ui
from nicegui.elements.upload import Upload
from nicegui.events import UploadEventArguments

from keepfit import config as settings
from keepfit.data import read
from keepfit.data.parse import Problem
from keepfit.deployment.protocols import forms
from keepfit.deployment.routes import Service
from keepfit.deployment.runtime import Runtime
from keepfit.errors import KeepfitError, RequestError
from keepfit.types import Schema
from keepfit.ui import asking, views
from keepfit.ui.about import About
from keepfit.ui.ask import button
from keepfit.ui.gate import UPLOAD

ROWS = 50_000  # rows of a file; more is work for `keepfit predict`
AT_ONCE = 1_000  # rows of one question
SHOWN = 25  # rows of the table
TOLD = 20  # faults that are listed
INPUTS = 4  # input columns beside the answer in the table


class Drop(Upload, component="drop.js"):
    """A place for files, without the look of the framework's own."""


@dataclass(frozen=True)
class Scored:
    """A file with its answers. `answers` has None where a row cannot be read; `problems` says why."""

    columns: Sequence[str]
    rows: Sequence[Mapping[str, Any]]
    answers: Sequence[Mapping[str, Any] | None]
    problems: Sequence[Problem]
    ignored: Sequence[str]
    version: str


def panel(service: Service, told: About, caller: str) -> None:
    """The place for a file, and below it what became of it."""
    names = ", ".join(needed(told))
    files = " Pictures are base64 text in it; for a folder of them: keepfit predict FOLDER -o OUT." if (
        forms.files(told.schema)) else ""  # fmt: skip
    ui.html(
        "<p class=kf-lead>A CSV with a header and a row for each question. Other columns are kept, in the download too."
        f"{files}{_observing(told)}</p><details class=kf-columns><summary>{len(needed(told))} columns are needed"
        f"</summary><p>{escape(names)}</p></details>"
    )

    async def taken(event: UploadEventArguments) -> None:
        place.clear()
        with place:
            await show(service, told, caller, event.file.name, await event.file.read())

    drop = Drop(on_upload=taken, auto_upload=True, max_file_size=UPLOAD)
    drop.props["told"] = f"or drop it here · up to {ROWS:,} rows"
    drop.props["label"] = "Choose a CSV file"
    drop.props.update({"accept": ".csv,.tsv,.txt,text/csv", "most": UPLOAD - 65_536})
    with ui.element("div").classes("kf-link"):
        ui.link("A file to begin with", "#").on("click.prevent", lambda: _template(told))
    place = ui.element("section").props('aria-label="Answers" aria-live=polite').classes("kf-many")


def needed(told: About) -> list[str]:
    """The columns that a file must have: what was observed may be left out."""
    return [column.name for column in told.schema.inputs if column.name != told.schema.target]


def _observing(told: About) -> str:
    if not told.schema.observes:
        return ""
    return f" Rows with a value of {escape(str(told.schema.target))} are observations: they are taken up, not answered."


def _template(told: About) -> None:
    """Download a file with the header and one typical row, if there is such a thing."""
    out = io.StringIO()
    writer = csv.writer(out)
    names = [column.name for column in told.schema.inputs]
    writer.writerow(names)
    if any(value is not None for value in told.usual.values()):
        writer.writerow(["" if told.usual.get(name) is None else told.usual[name] for name in names])
    ui.download.content(out.getvalue(), f"{told.served.name}.csv", "text/csv")


async def show(service: Service, told: About, caller: str, name: str, content: bytes) -> None:
    """The answers to the rows of a file, or what is wrong with it."""
    try:
        columns, rows = await asyncio.to_thread(parsed, content, name)
        found = await score(service, told, columns, rows, caller)
    except KeepfitError as error:
        ui.html(views.notice(str(error)))
        return
    good = [answer for answer in found.answers if answer is not None]
    ui.html(_summary(found, len(good), name))
    if good:
        download(found, told, name)
        ui.html(_table(found, told))


def download(found: Scored, told: About, name: str) -> None:
    """A button that saves the answers."""
    to = f"{Path(name).stem}-predictions.csv"
    save = lambda: ui.download.content(written(found, told.schema.classes), to, "text/csv")
    button("Download CSV", primary=True).on("click", save)


def parsed(content: bytes, name: str) -> tuple[list[str], list[dict[str, Any]]]:
    """Columns and rows of a file, read as `keepfit predict` reads it. Raises DataError."""
    suffix = Path(name).suffix.lower()
    with tempfile.TemporaryDirectory(prefix="keepfit-") as folder:
        path = Path(folder) / f"file{suffix if suffix in ('.csv', '.tsv', '.txt') else '.csv'}"
        path.write_bytes(content)
        try:
            frame, _ = read.read(settings.Data(source=path.name), Path(folder))
        except KeepfitError as error:
            raise type(error)(str(error).replace(str(path), name).replace(path.name, name)) from error
    return frame.columns, frame.to_dicts()


async def score(
    service: Service, told: About, columns: Sequence[str], rows: Sequence[Mapping[str, Any]], caller: str
) -> Scored:
    """The answers to the rows of a file; those that cannot be read are left out and told.

    Raises RequestError for a file that lacks columns or has too many rows.
    """
    _complete(told, columns, len(rows))
    known = {c.name for c in told.schema.columns if c.role not in ("target", "ignore") and c.hook is None}
    sent = [name for name in columns if name in known]  # ids and times too: the log keeps them
    asked = [{name: row[name] for name in sent} for row in rows]
    problems = await asyncio.to_thread(_problems, told.served.runtime, asked)
    bad = {problem.row for problem in problems}
    good = [place for place in range(len(rows)) if place not in bad]
    answers: list[Mapping[str, Any] | None] = [None] * len(rows)
    version, most = told.version, _at_once(told.schema, len(rows), service.rules.rows)
    for start in range(0, len(good), most):
        places = good[start : start + most]
        part = await asking.predict(service, [asked[place] for place in places], caller)
        version = part.served.version
        wanted = [place for place in places if not _observed(told.schema, asked[place])]
        for place, answer in zip(wanted, part.predictions, strict=True):
            answers[place] = answer
    named = {column.name for column in told.schema.columns}
    return Scored(columns, rows, answers, problems, [name for name in columns if name not in named], version)


def _at_once(schema: Schema, rows: int, most: int) -> int:
    """Rows of one question: all, where what some of them observed bears on the others."""
    return max(1, rows) if schema.observes else min(AT_ONCE, most)


def _observed(schema: Schema, row: Mapping[str, Any]) -> bool:
    return schema.observes and row.get(str(schema.target)) is not None


def _complete(told: About, columns: Sequence[str], rows: int) -> None:
    """Raises RequestError for a file that a page cannot score."""
    absent = [name for name in needed(told) if name not in columns]
    if absent:
        raise RequestError(422, "no_columns", f"The file lacks {', '.join(absent)}. Leave cells empty where unknown.")
    if rows > ROWS:
        more = f"{rows:,} rows are more than the {ROWS:,} that a page can show. Use: keepfit predict FILE -o OUT"
        raise RequestError(413, "too_many_rows", more)


def _problems(runtime: Runtime, rows: Sequence[Mapping[str, Any]]) -> list[Problem]:
    most = _at_once(runtime.schema, len(rows), AT_ONCE)
    return [problem for start in range(0, len(rows), most)
            for problem in (Problem(p.row + start, p.column, p.problem)
                            for p in runtime.rows(rows[start : start + most])[1])]  # fmt: skip


def _summary(found: Scored, good: int, name: str) -> str:
    """How many rows were answered, and the faults of the others by row and column."""
    rows = "1 row" if len(found.rows) == 1 else f"{len(found.rows):,} rows"
    head = f"<h3>{escape(name)}: {rows}, {good:,} answered by version {escape(found.version)}</h3>"
    if found.ignored:
        head += f"<p class=kf-note>Not known to the model: {escape(', '.join(found.ignored))}.</p>"
    if not found.problems:
        return head
    bad = len({problem.row for problem in found.problems})
    listed = "".join(
        f"<li>row {p.row + 1:,}, <strong>{escape(p.column)}</strong>: {escape(p.problem)}</li>"
        for p in found.problems[:TOLD]
    )
    more = f"<li>and {len(found.problems) - TOLD:,} more; the download has them all</li>"
    told = "1 row cannot be read" if bad == 1 else f"{bad:,} rows cannot be read"
    return (
        f"{head}<div class=kf-notice role=status><p>{told}. Rows are counted from 1, below the header.</p>"
        f"<ul>{listed}{more if len(found.problems) > TOLD else ''}</ul></div>"
    )


def _table(found: Scored, told: About) -> str:
    sure = ["sure"] if told.schema.classes else ["from", "to"] if told.manifest.get("interval") else []
    names = [name for name in needed(told) if name in found.columns][:INPUTS]
    rows = [
        [place + 1, answer["prediction"], *_surely(answer), *(found.rows[place][name] for name in names)]
        for place, answer in enumerate(found.answers)
        if answer is not None
    ]
    more = f" of {len(rows):,}; the download has all" if len(rows) > SHOWN else ""
    note = f"<p class=kf-note>The first {min(SHOWN, len(rows))}{more}.</p>" if more else ""
    return views.table(["row", told.schema.target or "prediction", *sure, *names], rows[:SHOWN], "Answers", 1) + note


def _surely(answer: Mapping[str, Any]) -> list[Any]:
    if "confidence" in answer:
        return [views.percent(answer["confidence"])]
    return list(answer.get("interval", ()))


def written(found: Scored, classes: Sequence[str]) -> str:
    """The file with its answers, as `keepfit predict` names them; `problem` where a row cannot be read."""
    ends = any("interval" in answer for answer in found.answers if answer)
    added = ["prediction_id", "prediction"]
    added += ["confidence", *(f"probability_{label}" for label in classes)] if classes else []
    added += ["prediction_low", "prediction_high"] if ends else []
    told: dict[int, str] = {}
    for p in found.problems:
        told[p.row] = "; ".join(filter(None, (told.get(p.row), f"{p.column}: {p.problem}")))
    added += ["problem"] if told else []
    out = io.StringIO()
    writer = csv.writer(out)
    writer.writerow([*found.columns, *added])
    for place, (row, answer) in enumerate(zip(found.rows, found.answers, strict=True)):
        cells = _cells(answer, classes, ends) if answer else [""] * (len(added) - bool(told))
        writer.writerow([*map(_cell, row.values()), *cells, *([told.get(place, "")] if told else [])])
    return out.getvalue()


def _cells(answer: Mapping[str, Any], classes: Sequence[str], ends: bool) -> list[Any]:
    chances = [answer["confidence"], *(answer["probabilities"][label] for label in classes)] if classes else []
    return [answer["id"], answer["prediction"], *chances, *(answer["interval"] if ends else ())]


def _cell(value: Any) -> Any:
    return "" if value is None else value
