"""One row: the form made from the schema, the answer, what moved it, and what was true in the end."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from nicegui import ui

from keepfit.data.parse import PARSE
from keepfit.deployment.explain import explain
from keepfit.deployment.routes import Service
from keepfit.errors import KeepfitError, RequestError
from keepfit.types import Column, Schema
from keepfit.ui import asking, field, views
from keepfit.ui.about import About, example
from keepfit.ui.field import Control, Field
from keepfit.ui.picture import Picture

# where the answer stands below the form, go there
NEAR = (
    "matchMedia('(max-width: 62rem)').matches && document.getElementById('{id}').scrollIntoView({{behavior: 'smooth'}})"
)
FIELDS = 200  # inputs that get a field; a model with more is asked by a file


@dataclass
class Form:
    """The form of one version on one visitor's page."""

    service: Service
    told: About
    caller: str
    fields: dict[str, Control]
    result: Any = None  # the element with the answer

    @property
    def texts(self) -> dict[str, Any]:
        """Input → what its field holds."""
        return {name: field.value for name, field in self.fields.items()}


def form(service: Service, told: About, caller: str, before: Mapping[str, Any] | None = None) -> Form:
    """Build the form; `before` is what the fields held, where another version's form was there."""
    made = Form(service, told, caller, {})
    with ui.element("div").classes("kf-ask"):
        with ui.element("form").classes("kf-form").on("submit.prevent", lambda: ask(made)):
            _fields(made, before or {})
            _buttons(made)
        with ui.element("section").classes("kf-result").props('aria-label="Answer" aria-live=polite') as made.result:
            _empty()
    return made


def _fields(made: Form, before: Mapping[str, Any]) -> None:
    inputs = made.told.schema.inputs
    if len(inputs) > FIELDS:
        ui.html(views.notice(f"This model has {len(inputs):,} inputs: ask it with a file, under “Many rows”."))
        return
    with ui.element("div").classes("kf-fields"):
        for column in inputs:
            about = made.told.reference.get(column.name, {})
            made.fields[column.name] = field.field(column, about, made.told.usual.get(column.name))
            if column.name in before:
                made.fields[column.name].value = before[column.name]
    for its in made.fields.values():
        if isinstance(its, Picture) and len(made.fields) == 1:
            its.taken = lambda: ask(made)  # there is nothing else to say


def _buttons(made: Form) -> None:
    with ui.element("div").classes("kf-bar"):
        button("Predict", primary=True).props("type=submit")
        if any(value is not None for value in example(made.told).values()):  # of pictures there is none
            told = "A row as training saw it"
            button("Example").on("click", lambda: fill(made, example(made.told) | pictured(made))).tooltip(told)
            told = "Medians and most frequent values"
            button("Typical").on("click", lambda: fill(made, {**made.told.usual} | pictured(made))).tooltip(told)
        button("Clear").on("click", lambda: fill(made, {})).tooltip("Everything unknown")


def button(label: str, primary: bool = False) -> Any:
    """A plain button."""
    kind = "kf-primary" if primary else "kf-plain"
    made = ui.element("button").classes(kind).props("type=button")
    with made:
        ui.html(label, tag="span", sanitize=False)
    return made


def fill(made: Form, row: Mapping[str, Any]) -> None:
    """Put the values of a row into the fields; what it lacks is unknown."""
    for column in made.told.schema.inputs:
        if column.name in made.fields:
            made.fields[column.name].value = field.text(column, row.get(column.name))
            made.fields[column.name].fault(None)


def pictured(made: Form) -> dict[str, Any]:
    """The pictures that the fields hold: of them there is no example, and so they stay."""
    return {name: its.value for name, its in made.fields.items() if isinstance(its, Picture)}


def row(made: Form) -> dict[str, Any]:
    """The row that the fields hold. Raises RequestError that names each field that cannot be read."""
    found: dict[str, Any] = {}
    wrong: list[dict[str, Any]] = []
    for column in made.told.schema.inputs:
        found[column.name] = field.value(column, made.fields[column.name].value)
        problem = _problem(column, found[column.name])
        wrong += [{"row": 0, "column": column.name, "problem": problem}] if problem else []
    if wrong:
        raise RequestError(422, "bad_values", "", wrong)
    return found


def _problem(column: Column, value: Any) -> str | None:
    try:
        PARSE[column.role](value, column)
    except ValueError as error:
        return str(error)
    return None


async def ask(made: Form) -> None:
    """Ask for a prediction, and show it or what is wrong, beside the field that it is about."""
    if not made.fields:
        return
    try:
        asked = row(made)
        told = await asking.predict(made.service, [asked], made.caller)
    except RequestError as fault:
        _faults(made, fault)
        return
    _faults(made, None)
    made.result.clear()
    with made.result:
        answer = told.predictions[0]
        ui.html(views.answer(answer, told.served.runtime.schema))
        reasons = ui.element("div").classes("kf-reasons")
        with ui.element("footer"):
            truth(made.service, made.caller, answer["id"], told.served)
            ui.html(f"<p class=kf-note>version {views.shown(told.served.version)} · {views.shown(answer['id'])}</p>")
    ui.run_javascript(NEAR.format(id=made.result.html_id))
    if made.told.served.version == told.served.version:
        with reasons:
            await _why(made, asked, told.served)


async def _why(made: Form, asked: Mapping[str, Any], served: Any) -> None:
    try:
        found = await asyncio.to_thread(explain, served.runtime, asked, made.told.usual)
    except KeepfitError as error:  # the answer stands, whatever became of its reasons
        ui.html(views.notice(f"What moved it cannot be told: {error}"))
        return
    target = served.runtime.schema.target or "the value"
    if not found.effects:  # files alone: which of their parts count is not told by leaving them out
        return
    ui.html(
        views.moved(found, f"the probability of “{views.shown(found.label)}”" if found.label else views.shown(target))
    )


def _empty() -> None:
    ui.html("<p class=kf-empty>Fill in what you know, leave the rest unknown, and ask.</p>")


def _faults(made: Form, fault: RequestError | None) -> None:
    """Each problem to its field; what belongs to none into the result's place."""
    problems = {d["column"]: d["problem"] for d in fault.details if d.get("column")} if fault else {}
    for name, its in made.fields.items():
        its.fault(sentence(problems[name]) if name in problems else None)
    if fault is None:
        return
    made.result.clear()
    with made.result:
        many = sum(name in made.fields for name in problems)
        count = "One value" if many == 1 else f"{many} values"
        ui.html(views.notice(f"{count} cannot be read: see the marked fields." if many else fault.message))


def sentence(problem: str) -> str:
    """
    >>> sentence("not a number: 'old'"), sentence("It has no rows.")
    ("Not a number: 'old'.", 'It has no rows.')
    """
    return f"{problem[:1].upper()}{problem[1:].removesuffix('.')}."


# --- what was true --------------------------------------------------------------------------------


def truth(service: Service, caller: str, key: str, served: Any) -> None:
    """A place to say what was true of a prediction."""
    if served.writer is None:
        ui.html("<p class=kf-note>The prediction log is off: nothing can be said about it later.</p>")
        return
    with ui.element("form").classes("kf-truth") as place:
        its = _truth_field(served.runtime.schema)
        button("Send").props("type=submit")
        said = ui.element("p").classes("kf-said").props("role=status")

    async def send() -> None:
        if its.value is None:
            its.fault("Choose what it was." if served.runtime.schema.classes else "Say what it was.")
            return
        try:
            thanks = await asking.label(service, key, its.value, caller)
        except RequestError as fault:
            its.fault(sentence(fault.message))
            return
        its.fault(None)
        said.clear()
        with said:
            ui.html(thanks, tag="span")

    place.on("submit.prevent", send)


def _truth_field(schema: Schema) -> Field:
    title, none = f"True {schema.target or 'value'}", "not known yet"
    if not schema.classes:
        return Field(title, "number", None, none=none)
    few = len(schema.classes) <= field.CHOICES
    return Field(title, "category", None, none=none, levels=list(schema.classes), few=few)
