"""One input of the model on the page. What a role looks like there is a row of WIDGETS."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Any, NamedTuple

from nicegui.elements.mixins.value_element import ValueElement

from keepfit.data import parse
from keepfit.deployment.explain import DAY, quantile
from keepfit.types import Column
from keepfit.ui.picture import Picture
from keepfit.ui.views import number

CHOICES = 40  # levels that fit into a list to choose from; of more, the one that begins as typed is offered
OFFERED = 2_000  # levels that a page is sent
Reference = Mapping[str, Any]


class Field(ValueElement[str | None], component="field.js"):
    """The control of an input. Its value is text as a person writes it; None is unknown."""

    VALUE_PROP = "value"
    LOOPBACK = False

    def __init__(self, name: str, kind: str, value: str | None, **props: Any) -> None:
        super().__init__(value=value)
        self._props.update({"label": name, "kind": kind, "control": f"{self.html_id}-control", **props})

    def fault(self, problem: str | None) -> None:
        """Tell what is wrong with the value, beside it; None: nothing."""
        if self._props.get("problem") != (problem or ""):
            self._props["problem"] = problem or ""


Control = Field | Picture


class Widget(NamedTuple):
    """How a role is asked for: its field, what the text means, and a value as the field's text (or a file's bytes)."""

    kind: Callable[[Column, Reference], str]
    props: Callable[[Column, Reference], dict[str, Any]]
    read: Callable[[Any], Any]
    write: Callable[[Column, Any], Any]
    control: type[Control] = Field


def field(column: Column, reference: Reference, value: Any) -> Control:
    """The field of a column, with `value` in it."""
    widget = WIDGETS[column.role]
    kind, props = widget.kind(column, reference), widget.props(column, reference)
    return widget.control(column.name, kind, text(column, value), **props)


def text(column: Column, value: Any) -> Any:
    """A value as its field shows it."""
    return None if value is None or value == "" else WIDGETS[column.role].write(column, value)


def value(column: Column, written: Any) -> Any:
    """What a field's text means, as a request would bring it; text that makes no sense stays text."""
    return None if written is None else WIDGETS[column.role].read(written)


# --- number ---------------------------------------------------------------------------------------


def _number_props(column: Column, about: Reference) -> dict[str, Any]:
    if "low" not in about:
        return {"hint": "no value in training"}
    low, high = about["low"], about["high"]
    return {
        "low": low,
        "high": high,
        "quarters": [quantile(about, share) for share in (0.25, 0.5, 0.75)],
        "hint": f"{number(low)} to {number(high)}",
    }


def _number(written: str) -> Any:
    """
    >>> _number("41"), _number("1e3"), _number("4,1"), _number("inf")
    (41, 1000, '4,1', 'inf')
    """
    try:
        found = float(written)
    except ValueError:
        return written
    if not math.isfinite(found) or "_" in written:
        return written
    return int(found) if found.is_integer() and abs(found) < 2**53 else found


def _written_number(column: Column, value: Any) -> str:
    """
    >>> _written_number(Column("x", "number"), 5.0), _written_number(Column("x", "number"), "0.250")
    ('5', '0.25')
    """
    found = parse.number(value, column.tokens)
    return "" if found is None else str(_number(repr(found)))


# --- category -------------------------------------------------------------------------------------


def _category_props(column: Column, about: Reference) -> dict[str, Any]:
    levels = sorted(about["levels"], key=lambda level: -about["levels"][level])[:OFFERED]
    known = len(column.levels) or len(levels)
    whole = about["distinct"] <= len(levels)
    return {
        "levels": levels,
        "few": len(levels) <= CHOICES,
        "free": True,
        "unseen": "Not seen in training: the model takes it for something new." if whole else "",
        "hint": f"{max(known, about['distinct']):,} values in training" if len(levels) > CHOICES else "",
    }


# --- date -----------------------------------------------------------------------------------------


def _daily(about: Reference) -> bool:
    """Whether training had whole days only."""
    return all(edge % DAY == 0 for edge in about["edges"])


def _date_props(column: Column, about: Reference) -> dict[str, Any]:
    if "low" not in about:
        return {"hint": "no value in training"}
    span = [datetime.fromtimestamp(about[end], UTC).date().isoformat() for end in ("low", "high")]
    return {"span": span, "hint": f"{span[0]} to {span[1]}"}


def _written_date(column: Column, value: Any) -> str:
    """A date as the browser's own control takes it.

    >>> _written_date(Column("d", "date", formats=("%d/%m/%Y",)), "13/10/2014")
    '2014-10-13'
    """
    found = parse.date(value, column.formats, column.tokens)
    if found is None:
        return ""
    moment = datetime.fromtimestamp(found, UTC).replace(tzinfo=None)
    return moment.isoformat(timespec="seconds") if found % DAY else moment.date().isoformat()


# --- text -----------------------------------------------------------------------------------------


WIDGETS: Mapping[str, Widget] = {
    "number": Widget(lambda column, about: "number", _number_props, _number, _written_number),
    "category": Widget(lambda column, about: "category", _category_props, str, lambda column, value: str(value)),
    "date": Widget(
        lambda column, about: "date" if _daily(about) else "time", _date_props, str, _written_date
    ),
    "series": Widget(
        lambda column, about: "category", lambda column, about: {"levels": list(column.levels[:OFFERED]), "free": True},
        str, lambda column, value: str(value),
    ),
    "moment": Widget(lambda column, about: "line", lambda column, about: {}, _number, lambda column, value: str(value)),
    "past": Widget(lambda column, about: "number", lambda column, about: {}, _number, _written_number),
    "text": Widget(lambda column, about: "text", lambda column, about: {}, str, lambda column, value: str(value)),
    "image": Widget(
        lambda column, about: "image", lambda column, about: {}, bytes, lambda column, value: value, Picture
    ),
}  # fmt: skip
