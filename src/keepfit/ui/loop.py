"""The loop on one tab: where it stands, how the model does, what drifted, what was decided; and the way back.

Every part is HTML made of one `Loop` value. When the files say something new each part is made again,
and those that differ are sent; what somebody opened stays open.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from functools import partial
from typing import Any, NamedTuple

from nicegui import ui

from keepfit.pipeline import state_of_loop
from keepfit.pipeline.state_of_loop import Loop
from keepfit.ui import drift_view, moving, ring, timeline, told, views
from keepfit.ui.ask import button
from keepfit.ui.moving import Moves, Where

EVERY = 2.0  # seconds between two looks at the files
FEW = {"alarms": 6, "columns": 12, "decisions": 10, "figures": 1}  # that are shown before somebody asks for all
MOST = {"alarms": 100, "columns": 500, "decisions": state_of_loop.DECISIONS}
WAITING = (
    "<p class=kf-empty>Nothing was watched yet. <code>keepfit up</code> runs the whole loop: server, this page, a "
    "monitoring pass every so often, and training when it is needed. <code>keepfit monitor</code> makes one pass. Then "
    "here is how well the model does against its goals, what drifted and how far, and which alarms are open.</p>"
)
Make = Callable[[], str]


class Entry(NamedTuple):
    """A row of a list: its line, and the function that makes what is shown below it when it is opened."""

    line: str
    body: Make


@dataclass
class Row:
    """An entry on the page; `body` was made when it is `open`."""

    details: Any
    line: Any
    body: Any
    make: Make
    open: bool = False


@dataclass
class Rows:
    """A list on the page: key → row; `all` says whether somebody asked for more than the first few."""

    box: Any
    more: Any
    told: Any  # the words on `more`
    few: int
    empty: str
    known: dict[str, Row] = field(default_factory=dict)
    all: bool = False
    entries: dict[str, Entry] = field(default_factory=dict)


@dataclass
class Panel:
    """The tab of one visitor."""

    where: Where
    share: bool  # of the model's output: is it a probability?
    parts: dict[str, Any] = field(default_factory=dict)
    rows: dict[str, Rows] = field(default_factory=dict)
    word: str = "everything"  # of the decisions
    seen: Any = None
    found: Loop | None = None
    tell: Callable[[Loop], None] = lambda found: None


def panel(moves: Moves, share: bool, visible: Callable[[], bool]) -> None:
    """Build the tab. It looks at the files while it is `visible`. `share`: the model's output is a probability."""
    made = Panel(moves.where, share)

    def moved(sentence: str) -> None:
        moves.done(sentence)
        made.seen = None  # look at once

    with ui.element("div").classes("kf-loop"):
        _part(made, "problems", "div")
        with ui.element("section").classes("kf-card kf-stand").props('aria-label="Where the loop stands"'):
            _part(made, "picture", "div")
            with ui.element("div"):
                _part(made, "headline", "div")
                _part(made, "steps", "div")
        with ui.element("div").classes("kf-pair"):
            with _card("Champion"):
                _part(made, "champion", "div")
                made.tell = moving.buttons(replace(moves, done=moved))
            with _card("Open alarms"):
                made.rows["alarms"] = _rows(FEW["alarms"], "No alarm is open.")
        with _card("Performance"):
            _part(made, "performance", "div")
            made.rows["figures"] = _rows(FEW["figures"], "")
        with _card("Traffic"):
            _part(made, "traffic", "div")
        with _card("Columns, now and at training"):
            _part(made, "drifted", "div")
            made.rows["columns"] = _rows(FEW["columns"], "No pass has compared columns yet.")
        with _card("Decisions"):
            _words(made)
            made.rows["decisions"] = _rows(FEW["decisions"], "Nothing was decided yet.")
            _part(made, "older", "div")
    ui.timer(EVERY, partial(_look, made, visible))


def _card(title: str) -> Any:
    made = ui.element("section").classes("kf-card").props(f'aria-label="{title}"')
    with made:
        ui.html(title, tag="h3")
    return made


def _part(made: Panel, name: str, tag: str, kind: str = "") -> None:
    made.parts[name] = ui.html("", tag=tag).classes(kind)


def _put(part: Any, content: str) -> None:
    if part.content != content:
        part.set_content(content)


# --- looking --------------------------------------------------------------------------------------


async def _look(made: Panel, visible: Callable[[], bool]) -> None:
    """Read the files if one of them changed, and show what is new."""
    now = datetime.now(UTC)
    signature = state_of_loop.signature(made.where.project, now)
    if signature == made.seen or not visible():
        return
    made.seen = signature
    made.found = await asyncio.to_thread(state_of_loop.loop, made.where.config, made.where.project, now)
    _draw(made, made.found)


def _draw(made: Panel, found: Loop) -> None:
    made.tell(found)
    parts: Mapping[str, Callable[[Loop], str]] = {
        "problems": told.problems, "picture": ring.picture, "headline": _headline, "steps": ring.steps,
        "champion": told.champion, "performance": timeline.performance, "traffic": timeline.traffic,
        "drifted": _drifted, "older": _older,
    }  # fmt: skip
    for name, make in parts.items():
        _put(made.parts[name], _whole(partial(make, found)))
    lists: Mapping[str, Callable[[], Iterable[tuple[str, Entry]]]] = {
        "alarms": lambda: _alarms(found), "figures": lambda: _figures(found),
        "columns": lambda: _columns(found, made.share), "decisions": lambda: _decisions(found, made.word),
    }  # fmt: skip
    for name, entries in lists.items():
        _fill(made.rows[name], dict(_entries(entries)))


def _whole(make: Make) -> str:
    """A part of the page; what was written by another version, or by hand, costs that part alone."""
    try:
        return make()
    except (KeyError, IndexError, TypeError, ValueError, AttributeError) as error:
        return views.notice(f"This part cannot be shown: the files say what is not understood ({error!r}).")


def _entries(make: Callable[[], Iterable[tuple[str, Entry]]]) -> list[tuple[str, Entry]]:
    try:
        return list(make())
    except (KeyError, IndexError, TypeError, ValueError, AttributeError) as error:
        told = f"This list cannot be shown: the files say what is not understood ({error!r})."
        return [("wrong", Entry(views.notice(told), str))]


def _headline(found: Loop) -> str:
    return told.headline(found) if found.latest else WAITING


def _drifted(found: Loop) -> str:
    if not found.latest.get("columns"):
        return ""
    shifted = [c for c in found.latest["columns"] if c.get("outcome") == "failed"]
    return (
        f"<p class=kf-note>{len(shifted)} of {len(found.latest['columns'])} shifted. Filled: now; outline: then. "
        "Those that shifted come first, then by how far that moved the predictions.</p>"
    )


def _older(found: Loop) -> str:
    return f"<p class=kf-note>{found.older:,} older ones: <code>keepfit history</code></p>" if found.older else ""


def _alarms(found: Loop) -> Iterable[tuple[str, Entry]]:
    for one in found.alarms[: MOST["alarms"]]:
        yield str(one.get("key")), Entry(told.alarm(one), partial(told.alarm_body, one))


def _figures(found: Loop) -> Iterable[tuple[str, Entry]]:
    if found.latest.get("performance") or found.latest.get("estimated"):
        yield "all", Entry("<span class=kf-name>All figures</span>", partial(timeline.table, found))


def _columns(found: Loop, share: bool) -> Iterable[tuple[str, Entry]]:
    columns: Sequence[Mapping[str, Any]] = found.latest.get("columns") or ()
    most = max((abs(float(column.get("moved") or 0.0)) for column in columns), default=0.0)
    for column in columns[: MOST["columns"]]:
        line = drift_view.summary(column, most, share)
        yield str(column.get("name")), Entry(line, partial(drift_view.body, column, share))


def _decisions(found: Loop, word: str) -> Iterable[tuple[str, Entry]]:
    for one in told.listed(found, word):
        key = f"{one.when} {one.kind} {one.version} {one.reason}"
        yield key, Entry(told.decision(one), partial(told.decision_body, one))


def _words(made: Panel) -> None:
    """Which decisions are shown."""
    buttons: dict[str, Any] = {}

    def choose(word: str) -> None:
        made.word = word
        for name, each in buttons.items():
            each.props(f"aria-pressed={'true' if name == word else 'false'}")
        if made.found:
            _fill(made.rows["decisions"], dict(_entries(partial(_decisions, made.found, word))))

    with ui.element("div").classes("kf-bar kf-words-of").props('role=group aria-label="Which decisions"'):
        for word in told.KINDS:
            pressed = "true" if word == made.word else "false"
            buttons[word] = button(word).props(f"aria-pressed={pressed}").on("click", partial(choose, word))


# --- lists ----------------------------------------------------------------------------------------


def _rows(few: int, empty: str) -> Rows:
    """An empty list; `empty` is what it says then."""
    box = ui.element("div").classes("kf-list")
    more = button("").classes("kf-more")
    more.set_visibility(False)
    with more:
        words = ui.html("", tag="span")
    made = Rows(box, more, words, few, empty)
    made.more.on("click", lambda: _all(made))
    with box:
        _note(made)
    return made


def _all(rows: Rows) -> None:
    rows.all = True
    _fill(rows, rows.entries)


def _note(rows: Rows) -> None:
    if rows.empty:
        ui.html(f"<p class=kf-empty>{rows.empty}</p>")


def _fill(rows: Rows, entries: dict[str, Entry]) -> None:
    """Make the list show `entries`, in their order; rows that stay keep what is open."""
    rows.entries = entries
    shown = dict(list(entries.items())[: None if rows.all else rows.few])
    left = len(entries) - len(shown)
    rows.more.set_visibility(left > 0)
    _put(rows.told, f"Show all {len(entries)}")
    if bool(rows.known) != bool(shown):
        rows.box.clear()
        rows.known.clear()
    if not shown and not rows.box.default_slot.children:
        with rows.box:
            _note(rows)
    for key in [key for key in rows.known if key not in shown]:
        rows.known.pop(key).details.delete()
    for place, (key, entry) in enumerate(shown.items()):
        if key not in rows.known:
            rows.known[key] = _row(rows.box)
        _set(rows.known[key], entry, place)


def _row(box: Any) -> Row:
    with box, ui.element("details").classes("kf-entry") as details:
        line = ui.html("", tag="summary")
        body = ui.html("").classes("kf-entry-body")
    made = Row(details, line, body, str)

    def toggled(event: Any) -> None:
        made.open = bool(event.args)
        if made.open:
            _put(made.body, _whole(made.make))

    details.on("toggle", toggled, js_handler="(event) => emit(event.target.open)")
    return made


def _set(row: Row, entry: Entry, place: int) -> None:
    _put(row.line, entry.line)
    row.make = entry.body
    if row.open:
        _put(row.body, _whole(entry.body))
    siblings = row.details.parent_slot.children
    if siblings.index(row.details) != place:
        row.details.move(target_index=place)
