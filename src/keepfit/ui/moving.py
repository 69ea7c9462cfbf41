"""Promote a version or roll back from the web app: with a reason, by whoever has the admin key.

The key is sent with the one request that needs it and kept nowhere.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from html import escape
from pathlib import Path
from typing import Any, NamedTuple

from nicegui import ui

from keepfit.config import Config
from keepfit.deployment import access
from keepfit.deployment.access import LOCAL, Keys
from keepfit.deployment.routes import Service
from keepfit.errors import KeepfitError, RequestError
from keepfit.pipeline import champion
from keepfit.pipeline.state_of_loop import Loop
from keepfit.types import Decision
from keepfit.ui import views
from keepfit.ui.ask import button
from keepfit.ui.gate import PAUSE

CLOSED = "Promoting and rolling back are closed here: KEEPFIT_ADMIN_KEY was not set when the web app was started."
FIELDS = "(event) => emit(Object.fromEntries(new FormData(event.target)))"
DONE = {"promoted": "promoted", "rolled_back": "back at work"}
Say = Callable[[str], Any]


class Where(NamedTuple):
    """Whose loop it is."""

    config: Config
    project: Path


@dataclass(frozen=True)
class Moves:
    """What the two buttons need: whose champion, which keys, who asks. `done` is told a sentence when it was moved.

    The dialog lies in `home`, which stays when the page is made anew for another version.
    """

    where: Where
    service: Service
    caller: str
    home: Any
    done: Callable[[str], Any]


def buttons(moves: Moves) -> Callable[[Loop], None]:
    """Promote and roll back; gives the function that tells them what is known of the versions."""
    known: dict[str, Loop] = {}
    with ui.element("div").classes("kf-bar kf-moves"):
        closed = moves.service.keys.admin is None
        promote = button("Promote …").on("click", lambda: _dialog(moves, known.get("now"), "promote"))
        rollback = button("Roll back …").on("click", lambda: _dialog(moves, known.get("now"), "rollback"))
        if closed:
            for each in (promote, rollback):
                each.props("disabled aria-describedby=kf-closed")
            ui.html(f"<p class=kf-note id=kf-closed>{CLOSED}</p>", sanitize=False)
    return lambda found: known.update(now=found)


def _dialog(moves: Moves, found: Loop | None, what: str) -> None:
    """Ask which version, why and by what right; and do it."""
    versions = _versions(found) if found else []
    title = {"promote": "Promote a version", "rollback": "Roll back"}[what]
    with moves.home:
        dialog = ui.dialog().props(f'aria-label="{title}"')
    with dialog, ui.element("form").classes("kf-dialog") as form:
        ui.html(_fields(what, found, versions), sanitize=False)
        said = ui.element("div").props("role=alert")
        with ui.element("div").classes("kf-bar"):
            go = button(title if what == "rollback" else "Promote", primary=True).props("type=submit")
            button("Cancel").on("click", dialog.close)

    async def submitted(event: Any) -> None:
        go.props("disabled")
        said.clear()
        try:
            decision = await move(moves, what, event.args)
        except KeepfitError as error:
            with said:
                ui.html(views.notice(str(error)))
            return
        finally:
            go.props(remove="disabled")
        dialog.close()
        before = f" in place of version {decision.previous}" if decision.previous else ""
        moves.done(f"Version {decision.version} is {DONE.get(decision.kind, decision.kind)}{before}.")

    form.on("submit.prevent", submitted, js_handler=FIELDS)
    dialog.on("hide", dialog.delete)
    dialog.open()


def _versions(found: Loop) -> list[str]:
    """The versions that decisions speak of, newest first, without the champion."""
    at_work = found.model.version if found.model else None
    named = [v for d in found.decisions for v in (d.version, d.previous) if v and v != at_work]
    return list(dict.fromkeys(named))


def _fields(what: str, found: Loop | None, versions: list[str]) -> str:
    at_work = found.model.version if found and found.model else None
    now = f"Version {escape(at_work)} is champion." if at_work else "There is no champion."
    told = {
        "promote": "The version is loaded and tried first; then it answers, here and at every server of this project.",
        "rollback": "Without a version the champion before this one comes back. It is loaded and tried first.",
    }[what]
    options = "".join(f"<option value='{escape(version)}'></option>" for version in versions)
    need = {"promote": " required", "rollback": ""}[what]
    none = {"promote": "", "rollback": " placeholder='the one before'"}[what]
    return (
        f"<h3>{'Promote a version' if what == 'promote' else 'Roll back'}</h3><p>{now} {told}</p>"
        f"<label>Version<input name=version list=kf-versions autocomplete=off{need}{none}></label>"
        f"<datalist id=kf-versions>{options}</datalist>"
        "<label>Reason<textarea name=reason rows=2 required maxlength=500></textarea></label>"
        "<label>Admin key<input name=key type=password autocomplete=off required></label>"
    )


async def move(moves: Moves, what: str, given: Mapping[str, Any]) -> Decision:
    """Promote or roll back, as the form says. Raises RequestError for a wrong key, KeepfitError with what is wrong."""
    await allowed(moves.service.keys, str(given.get("key") or ""))
    version, reason = str(given.get("version") or "").strip(), str(given.get("reason") or "").strip()
    by = "" if moves.caller == LOCAL else f"{moves.caller} (web app)"
    if what == "promote":
        return await asyncio.to_thread(champion.promote, *moves.where, version, reason, by)
    return await asyncio.to_thread(champion.rollback, *moves.where, version or None, reason, by)


async def allowed(keys: Keys, key: str) -> None:
    """Raises RequestError unless this is the admin key; a wrong one waits."""
    try:
        access.administrator(keys, {b"x-api-key": key.strip().encode()})
    except RequestError as error:
        await asyncio.sleep(PAUSE)
        told = (
            CLOSED if error.code == "no_admin_key" else "This is not the admin key (KEEPFIT_ADMIN_KEY). Nothing moved."
        )
        raise RequestError(error.status, error.code, told) from None
