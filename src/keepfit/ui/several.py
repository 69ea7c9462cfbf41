"""Several pictures at once, or a zip of them: a table with each of them small, its answer, and a CSV of the answers."""

from __future__ import annotations

import asyncio
import tempfile
from collections.abc import Iterator, Sequence
from html import escape
from pathlib import Path
from typing import Any, NamedTuple

from nicegui import ui
from nicegui.events import MultiUploadEventArguments

from keepfit import config as settings
from keepfit.data import image_folder, pictures, read
from keepfit.data.delimited import BadRow
from keepfit.data.parse import Problem
from keepfit.deployment.protocols import forms
from keepfit.deployment.routes import Service
from keepfit.errors import KeepfitError, RequestError
from keepfit.types import Schema
from keepfit.ui import asking, many, views
from keepfit.ui.about import About
from keepfit.ui.gate import UPLOAD
from keepfit.ui.many import Drop, Scored

FILES = 500  # pictures; more is work for `keepfit predict`
AT_ONCE = 32  # pictures of one question
SHOWN = 100  # rows of the table
SIDE = 96  # pixels of a picture in it
TOGETHER = 2 * UPLOAD  # bytes of all pictures, unpacked: they are in memory at once, and photographs do not shrink
NAME = 200  # bytes of a file's name: systems take 255
TABLES = (".csv", ".tsv")
ACCEPT = "image/*,.tif,.tiff,.pgm,.ppm,.jp2,.avif,.zip,.csv,.tsv"


class File(NamedTuple):
    """A picture as it was sent: its name, its bytes, and a small copy, or what is wrong with it."""

    name: str
    data: bytes
    small: str = ""
    problem: str = ""


def panel(service: Service, told: About, caller: str) -> None:
    """The place for pictures, and below it what became of them; a CSV with base64 text is taken as well."""
    ui.html(
        "<p class='kf-lead kf-above'>Some pictures, or a zip of them. For a folder: keepfit predict FOLDER -o OUT.</p>"
    )

    async def taken(event: MultiUploadEventArguments) -> None:
        place.clear()
        with place:
            sent = [(file.name, await file.read()) for file in event.files]
            await show(service, told, caller, sent)

    drop = Drop(on_multi_upload=taken, multiple=True, auto_upload=True, max_file_size=UPLOAD)
    drop.props["told"] = f"or drop them here · up to {FILES} pictures, {UPLOAD // 2**20} MB"
    drop.props["label"] = "Choose pictures"
    drop.props.update({"accept": ACCEPT, "most": UPLOAD - 1_000 * FILES, "count": FILES})
    place = ui.element("section").props('aria-label="Answers" aria-live=polite').classes("kf-many")


async def show(service: Service, told: About, caller: str, sent: Sequence[tuple[str, bytes]]) -> None:
    """The answers to what was sent, or what is wrong with it."""
    name = sent[0][0] if len(sent) == 1 else ""
    if len(sent) == 1 and Path(name).suffix.lower() in TABLES:
        return await many.show(service, told, caller, *sent[0])
    try:
        found, files = await answered(service, told, sent, caller)
    except KeepfitError as error:
        ui.html(views.notice(str(error)))
        return None
    ui.html(summary(found, files, name))
    if any(answer is not None for answer in found.answers):
        many.download(found, told, name or "pictures")
    ui.html(table(found, files, told))
    return None


def takes(schema: Schema) -> str:
    """The column of a model that is asked by pictures alone; "" of any other."""
    names = forms.files(schema)
    return names[0] if [column.name for column in schema.inputs] == names and len(names) == 1 else ""


def unpacked(sent: Sequence[tuple[str, bytes]]) -> tuple[list[File], list[BadRow]]:
    """The pictures among what was sent, those of archives too, each opened; and what could not be read.

    Raises DataError for an archive that is none, RequestError for too many pictures, or too large ones.
    """
    found: list[File] = []
    bad: list[BadRow] = []
    size = 0
    for name, data in sent:
        inside = _inside(name, data, bad) if name.lower().endswith(".zip") else iter([(name, data)])
        for one in inside:
            size += len(one[1])
            if len(found) >= FILES or size > TOGETHER:
                told = f"There are more than the {FILES} pictures, or the {TOGETHER >> 20} MB, that a page can show."
                raise RequestError(413, "too_many_rows", f"{told} Use: keepfit predict FOLDER -o OUT")
            found.append(_opened(*one))
    return found, bad


def _inside(name: str, data: bytes, bad: list[BadRow]) -> Iterator[tuple[str, bytes]]:
    """Names and bytes of the pictures in a zip, read as `keepfit predict` reads it."""
    with tempfile.TemporaryDirectory(prefix="keepfit-") as folder:
        stem = Path(image_folder.printable(name).replace("\0", "")).stem.encode()[:NAME].decode("utf-8", "ignore")
        path = Path(folder) / f"{stem}.zip"
        path.write_bytes(data)
        for frame in read.batches(settings.Data(source=path.name), path, 1, bad.append):  # one may be 200 MB
            yield from frame.select("path", "image").iter_rows()


def _opened(name: str, data: bytes) -> File:
    try:
        return File(name, data, pictures.thumbnail(data, SIDE))
    except ValueError as error:
        return File(name, b"", problem=str(error))


async def score(
    service: Service, told: About, files: Sequence[File], bad: Sequence[BadRow], caller: str
) -> tuple[Scored, list[File]]:
    """The answers to pictures, in their order, and the pictures; what could not be read is told."""
    every = [*files, *(File(row.text, b"", problem=row.problem) for row in bad)]
    if not every:
        raise RequestError(422, "no_rows", "There is no picture in it.")
    column, good = takes(told.schema), [place for place, one in enumerate(every) if not one.problem]
    answers: list[Any] = [None] * len(every)
    version = told.version
    for places in parted([pictures.area(every[place].data) for place in good], service):
        part = await asking.predict(service, [{column: every[good[place]].data} for place in places], caller)
        version = part.served.version
        for place, answer in zip(places, part.predictions, strict=True):
            answers[good[place]] = answer
    problems = [Problem(place, column, one.problem) for place, one in enumerate(every) if one.problem]
    rows = [{"file": one.name} for one in every]
    return Scored(["file"], rows, answers, problems, [], version), every


def parted(areas: Sequence[int], service: Service) -> Iterator[list[int]]:
    """Places of pictures that one request may have together."""
    rules = service.rules
    part: list[int] = []
    for place, area in enumerate(areas):
        if part and (len(part) >= min(AT_ONCE, rules.rows) or sum(areas[p] for p in part) + area > rules.pixels):
            yield part
            part = []
        part.append(place)
    if part:
        yield part


def summary(found: Scored, files: Sequence[File], name: str) -> str:
    """How many pictures were answered, and what is wrong with the others."""
    good = sum(answer is not None for answer in found.answers)
    count = "1 picture" if len(files) == 1 else f"{len(files):,} pictures"
    head = f"<h3>{escape(name)}{': ' if name else ''}{count}, {good:,} answered by version {escape(found.version)}</h3>"
    wrong = [one for one in files if one.problem]
    if not wrong:
        return head
    listed = "".join(f"<li><strong>{escape(one.name)}</strong>: {escape(one.problem)}</li>" for one in wrong[:SHOWN])
    told = "1 cannot be read" if len(wrong) == 1 else f"{len(wrong):,} cannot be read"
    return f"{head}<div class=kf-notice role=status><p>{told}; the download has them too.</p><ul>{listed}</ul></div>"


def table(found: Scored, files: Sequence[File], told: About) -> str:
    """The answers as a table: the picture, what it is, how sure that is, and the file's name."""
    target = escape(told.schema.target or "prediction")
    sure = "<th scope=col class=kf-right>sure</th>" if told.schema.classes else ""
    pairs = [(one, answer) for one, answer in zip(files, found.answers, strict=True) if answer is not None]
    rows = "".join(_row(one, answer) for one, answer in pairs[:SHOWN])
    note = f"<p class=kf-note>The first {SHOWN} of {len(pairs):,}; the download has all.</p>"
    return (
        "<div class=kf-scroll tabindex=0 role=region aria-label=Answers><table class=kf-pictures><thead><tr>"
        f"<th scope=col>picture</th><th scope=col>{target}</th>{sure}<th scope=col>file</th></tr></thead>"
        f"<tbody>{rows}</tbody></table></div>{note if len(pairs) > SHOWN else ''}"
    )


def _row(one: File, answer: Any) -> str:
    sure = f"<td class=kf-right>{views.percent(answer['confidence'])}</td>" if "confidence" in answer else ""
    image = f"<img src='{one.small}' alt=''>"
    said = views.shown(answer["prediction"])
    return f"<tr><td>{image}</td><td><strong>{said}</strong></td>{sure}<td>{views.shown(one.name)}</td></tr>"


async def answered(
    service: Service, told: About, sent: Sequence[tuple[str, bytes]], caller: str
) -> tuple[Scored, list[File]]:
    """What was sent, with answers. Raises KeepfitError."""
    return await score(service, told, *await asyncio.to_thread(unpacked, sent), caller)
