"""The page: who answers, what to do with it, the loop, and what happens when another version takes over."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from html import escape
from pathlib import Path
from typing import Any

from nicegui import ui

from keepfit import config as settings
from keepfit.deployment.rollout import CANARY, CHAMPION
from keepfit.deployment.routes import Service
from keepfit.errors import ConfigError
from keepfit.pipeline import state_of_loop
from keepfit.ui import ahead, ask, loop, many, recent, several, views
from keepfit.ui.about import About, about, age
from keepfit.ui.moving import Moves, Where

STYLES = [Path(__file__).with_name(name) for name in ("style.css", "loop.css", "ahead.css")]
EVERY = 0.5  # seconds between two looks at who is champion
AGAIN = 60.0  # seconds after which the ages are told anew
MANY, RECENT, MODEL, LOOP = "Many rows", "Recent", "Model", "Loop"
ROW = ("One row", ask.form)
# task → the first tab: its name, and the form in it
FORMS: Mapping[str, tuple[str, Callable[..., ask.Form | ahead.Form]]] = {"forecast": ("Forecast", ahead.form)}


@dataclass
class Page:
    """What one visitor looks at."""

    service: Service
    caller: str
    told: About
    where: Where | None = None  # whose loop is shown
    form: ask.Form | ahead.Form | None = None
    home: Any = None
    head: Any = None
    body: Any = None
    news: Any = None
    tab: str = ""
    drawn: float = 0.0  # when the head was, monotonic seconds


def build(service: Service, caller: str, leave: bool, where: Where | None = None) -> None:
    """Build the page for one visitor. `leave`: there is a session that can be ended. `where`: of a project's model."""
    for style in STYLES:
        ui.add_css(style)
    active = service.rollout.active.get(CHAMPION)
    if active is None:
        ui.html(views.notice("There is no champion. Next: keepfit run"))
        return
    page = Page(service, caller, about(active.served), where)
    page.tab = _tabs(page)[0]
    with ui.element("main").classes("kf-main") as page.home:
        page.head = ui.element("header").classes("kf-head")
        page.news = ui.element("div").classes("kf-news").props("role=status")
        page.body = ui.element("div").classes("kf-body")
    _head(page, leave)
    _body(page, {})
    ui.timer(EVERY, lambda: _follow(page, leave))


def _follow(page: Page, leave: bool) -> None:
    """Show the new version when the champion was swapped, with what was typed so far."""
    active = page.service.rollout.active.get(CHAMPION)
    if time.monotonic() - page.drawn > AGAIN:
        _head(page, leave)  # the ages in it have grown
    if active is None or active.served.version == page.told.version:
        return
    before, page.told = page.told, about(active.served)
    kept = page.form.texts if page.form else {}
    _head(page, leave)
    page.body.clear()
    _body(page, kept)
    now = datetime.now().astimezone()
    _tell(page, f"Version {page.told.version} took over from version {before.version} at {now:%H:%M:%S}.")


def _tell(page: Page, sentence: str) -> None:
    page.news.clear()
    with page.news:
        ui.html(views.notice(sentence))


def _head(page: Page, leave: bool) -> None:
    told, page.drawn = page.told, time.monotonic()
    page.head.clear()
    trained = age((datetime.now(UTC) - told.created).total_seconds())
    work = age(time.time() - told.served.since)
    with page.head:
        ui.html(f"<h1>{escape(told.served.name)}</h1><p>{escape(told.description)}</p>").classes("kf-title")
        with ui.element("div").classes("kf-who"):
            ui.html(
                f"<p><strong>version {escape(told.version)}</strong><span>trained {trained} ago</span>"
                f"<span>at work here for {work}</span></p>"
            ).classes("kf-version")
            if leave:
                with ui.element("form").props("method=post action=logout").classes("kf-leave"):
                    ask.button(f"Log out {escape(page.caller)}").props("type=submit")


def _body(page: Page, kept: Mapping[str, Any]) -> None:
    """The tabs. What was typed before another version came stays."""
    names = _tabs(page)
    first, form = _first(page)
    with page.body:
        with ui.tabs(on_change=lambda event: setattr(page, "tab", event.value)).props(
            "no-caps inline-label align=left outside-arrows mobile-arrows"
        ) as tabs:
            for name in names:
                ui.tab(name)
        with ui.tab_panels(tabs, value=page.tab, animated=False).props("keep-alive").classes("kf-panels"):
            with ui.tab_panel(first):
                page.form = form(page.service, page.told, page.caller, kept)
            with ui.tab_panel(MANY):
                here = several if several.takes(page.told.schema) else many
                here.panel(page.service, page.told, page.caller)
            with ui.tab_panel(RECENT):
                refresh = recent.panel(page.service, page.told, page.caller)
            with ui.tab_panel(MODEL):
                _model(page)
            if page.where:
                with ui.tab_panel(LOOP):
                    moves = Moves(page.where, page.service, page.caller, page.home, lambda told: _tell(page, told))
                    loop.panel(moves, bool(page.told.schema.classes), lambda: page.tab == LOOP)

        async def shown() -> None:
            if tabs.value == RECENT:
                await refresh()

        tabs.on_value_change(shown)


def _tabs(page: Page) -> tuple[str, ...]:
    """The loop comes first where it was begun; a bundle's folder has none."""
    names = (_first(page)[0], MANY, RECENT, MODEL)
    if page.where is None:
        return names
    return (LOOP, *names) if state_of_loop.begun(page.where.project) else (*names, LOOP)


def _first(page: Page) -> tuple[str, Callable[..., ask.Form | ahead.Form]]:
    return FORMS.get(page.told.schema.task, ROW)


# --- the model ------------------------------------------------------------------------------------


def _model(page: Page) -> None:
    told, rollout = page.told, page.service.rollout
    for refused in rollout.refused.values():
        ui.html(views.notice(f"Version {refused.version} was not made {refused.role}: {refused.reason}"))
    if rollout.unreachable:
        ui.html(views.notice(f"The registry cannot be asked, version {told.version} goes on: {rollout.unreachable}"))
    if told.metrics:
        ui.html(f"<h3>How good it is, on {told.rows:,} rows it was not trained on</h3>")
        ui.html(views.metrics(told.metrics, told.goals, met(told)))
    ui.html("<h3>Where it comes from</h3>" + views.facts(_facts(page)))


def met(told: About) -> dict[str, bool | None]:
    """Goal → whether the version met it when it was judged; None where its metrics do not say."""
    found: dict[str, bool | None] = {}
    for name, text in told.goals.items():
        value = told.metrics.get(name, {}).get("value")
        try:
            sign, limit = settings.goal(text)
        except ConfigError:
            continue
        found[name] = None if value is None else bool(views.COMPARE[sign](value, limit))
    return found


def _facts(page: Page) -> list[tuple[str, str]]:
    manifest, told = page.told.manifest, page.told
    data, code = manifest["data"], manifest["code"] or {}
    origin = data.get("origin") or {}
    canary = page.service.rollout.active.get(CANARY)
    share = page.service.rollout.plan.share
    commit = str(code.get("commit") or "")[:12]
    members = dict.fromkeys(member["name"] for member in manifest["members"])
    return [
        ("trained", f"{told.created:%Y-%m-%d %H:%M} UTC"),
        ("kind", ", ".join(members)),
        ("predicts", f"{told.schema.target} ({told.schema.task})"),
        ("classes", ", ".join(told.schema.classes[:20])),
        ("inputs", str(len(told.schema.inputs))),
        ("data", Path(str(origin.get("source", ""))).name),
        ("rows", f"{origin['rows']:,}" if "rows" in origin else ""),
        ("data version", str(data.get("version") or "")[:19]),
        ("split", str(data.get("split") or "")),
        ("code", f"{commit}{' (changed since)' if code.get('dirty') else ''}" if commit else ""),
        ("keepfit", str(manifest["keepfit"])),
        ("canary", f"version {canary.served.version}, {share:.0%} of requests" if canary else ""),
    ]  # fmt: skip
