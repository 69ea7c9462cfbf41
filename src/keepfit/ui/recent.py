"""The latest predictions of the log, whoever asked, and a place to say what was true."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from html import escape
from pathlib import Path
from typing import Any

import polars as pl
from nicegui import ui

from keepfit.data import log_read, pictures
from keepfit.deployment.routes import Service
from keepfit.errors import DataError
from keepfit.ui import views
from keepfit.ui.about import About, age
from keepfit.ui.ask import button, truth

ROWS = 25
DAYS = 7  # how far back is looked
INPUTS = 3  # values that tell a row from the others
SIDE = 96  # pixels of a picture that is shown at half of that
Found = tuple[list[dict[str, Any]], str]  # rows, or what is wrong


def panel(service: Service, told: About, caller: str) -> Any:
    """The list; gives the function that reads it anew."""

    async def refresh() -> None:
        if told.served.writer is None:
            found: Found = [], "The prediction log is off (serving.log.enabled: false): there is nothing to show."
        else:
            found = await asyncio.to_thread(_latest, service.predictions)
        place.clear()
        with place:
            _list(service, told, caller, *found)

    with ui.element("div").classes("kf-bar"):
        button("Refresh").on("click", refresh)
        ui.html(f"<p class=kf-note>The last {ROWS} of {DAYS} days, from this page and over HTTP.</p>")
    place = ui.element("div").classes("kf-recent")
    return refresh


def latest(folder: Path) -> list[dict[str, Any]]:
    """The latest rows of the prediction log with their labels, newest first. Raises DataError.

    `pictures` of a row has the inputs that are bytes, as small pictures (data: URLs); `inputs` the others.
    """
    since = datetime.now(UTC) - timedelta(days=DAYS)
    times: list[datetime] = log_read.read(folder, since=since, role=None).select("time").collect()["time"].to_list()
    if not times:
        return []
    first = sorted(times)[-ROWS:][0]
    rows = log_read.read(folder, since=first, labels=True, role=None)  # what is older is not even unpacked
    return [_small(row) for row in rows.sort("time", descending=True).head(ROWS).collect().iter_rows(named=True)]


def _small(row: dict[str, Any]) -> dict[str, Any]:
    inputs: Mapping[str, Any] = row.get("inputs") or {}
    files = {name: value for name, value in inputs.items() if isinstance(value, bytes)}
    small = {name: url for name, data in files.items() if (url := _thumbnail(data))}
    return {**row, "pictures": small, "inputs": {name: inputs[name] for name in inputs if name not in files}}


def _thumbnail(data: bytes) -> str:
    try:
        return pictures.thumbnail(data, SIDE)
    except ValueError:
        return ""


def _latest(folder: Path) -> Found:
    try:
        return latest(folder), ""
    except (DataError, OSError, pl.exceptions.PolarsError) as error:
        return [], f"The prediction log cannot be read: {error}"


def _list(service: Service, told: About, caller: str, rows: list[dict[str, Any]], fault: str) -> None:
    if not rows:
        ui.html(views.notice(fault) if fault else "<p class=kf-empty>No predictions yet.</p>")
    for row in rows:
        with ui.element("article").classes("kf-row"):
            ui.html(_line(row))
            _label(service, told, caller, row)


def _line(row: Mapping[str, Any]) -> str:
    """One prediction: when, what, how sure, of what, by which version."""
    ago = (datetime.now(UTC) - row["time"]).total_seconds()
    inputs = [f"{name} {_plain(value)}" for name, value in (row.get("inputs") or {}).items() if value is not None]
    sure = views.percent(row["confidence"]) if row["confidence"] is not None else ""
    value = views.number(row["value"]) if row["value"] is not None else views.shown(row["prediction"])
    images = "".join(f"<img src='{url}' alt='{escape(name)}'>" for name, url in row["pictures"].items())
    values = f"<span>{views.shown(' · '.join(inputs[:INPUTS]))}</span>" if inputs or not images else ""
    return (
        f"<p>{images}<time datetime='{row['time'].isoformat()}' title='{row['time'].isoformat(timespec='seconds')}'>"
        f"{age(ago)} ago</time><strong>{value}</strong><em>{sure}</em>"
        f"{values}"
        f"<small>version {views.shown(row['version'])} · {views.shown(row['route'])} · "
        f"{views.shown(row['caller'])}</small></p>"
    )


def _plain(value: Any) -> Any:
    """The log has numbers as floats and dates as moments; people write them shorter.

    >>> _plain(3.0), _plain(0.25), _plain(datetime(2026, 1, 31, tzinfo=UTC))
    ('3', '0.25', '2026-01-31')
    """
    if isinstance(value, float):
        return views.number(value)
    if isinstance(value, datetime):
        return str(value.replace(tzinfo=None)).removesuffix(" 00:00:00")
    return value


def _label(service: Service, told: About, caller: str, row: Mapping[str, Any]) -> None:
    """What was true of a row, or a button that asks for it."""
    known = row.get("label_value") if row.get("label_value") is not None else row.get("label")
    place = ui.element("div").classes("kf-known")

    def ask() -> None:
        place.clear()
        with place:
            truth(service, caller, row["id"], told.served)

    with place:
        if known is not None:
            right = str(row["label"]) == str(row["prediction"]) if told.schema.classes else None
            mark = {True: "kf-met", False: "kf-missed", None: ""}[right]
            ui.html(f"<p class='kf-label {mark}'>was {views.shown(known)}</p>")
        button("Correct" if known is not None else "What was true?").on("click", ask)
