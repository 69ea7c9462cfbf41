"""Wire protocols: a request's body as rows, and answers as a body.

Each is a module with

    decode(body, headers, schema) -> Asked           raises RequestError: 4xx, with every fault named
    encode(asked, answered) -> Reply
    error(RequestError) -> Reply's body               the form in which its clients expect an error

`headers` maps lower-case names to text. Rows are mappings (column → value), read afterwards by
`Runtime.rows`, so that a value means the same whatever protocol brought it. Nothing here knows of
sockets, models or logs; numpy, msgspec and the standard library are all that is imported.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from keepfit.data.rows import lists_of
from keepfit.models.fitted import Output
from keepfit.types import Schema

PROTOCOLS: dict[str, str] = {
    "keepfit": "keepfit.deployment.protocols.native",
    "mlflow": "keepfit.deployment.protocols.scoring",
    "v2": "keepfit.deployment.protocols.v2",
    "vertex": "keepfit.deployment.protocols.vertex",
}
JSON = "application/json"
# what answers have of their own, in any protocol
OWN = frozenset({"id", "prediction_id", "step", "prediction", "interval", "prediction_low", "prediction_high"})


class Note(NamedTuple):
    """What the client is to know of a series of its request: of how many `periods`, and what."""

    series: Mapping[str, Any]
    periods: int
    problem: str


class Asked(NamedTuple):
    """What a request asks. `context` is what `encode` must know of it: an id to echo, one object or a list.

    `observed` are the places of rows that are no questions (see `deployment.wishes`); `notes` what is to be told
    beside the answers, in every form that has a place for it.
    """

    rows: Sequence[Mapping[str, Any]]
    context: Any = None
    observed: tuple[int, ...] = ()
    notes: Sequence[Note] = ()


class Said(NamedTuple):
    """An Output as Python's own values, one a row; None for what the task does not have."""

    values: list[Any]
    sure: list[float] | None = None  # the probability of the value
    chances: list[tuple[float, ...]] | None = None  # of the classes
    low: list[float] | None = None
    high: list[float] | None = None
    step: list[float] | None = None
    scale: list[float] | None = None


def said(output: Output, classes: Sequence[str]) -> Said:
    """What an Output says.

    >>> import numpy as np
    >>> said(Output(np.array(["no", "yes"], object), np.array([[0.75, 0.25], [0.5, 0.5]])), ("no", "yes")).sure
    [0.75, 0.5]
    """
    values: list[Any] = output.values.tolist()
    if output.probabilities is not None:
        places = {name: k for k, name in enumerate(classes)}
        chances = [*zip(*output.probabilities.T.tolist(), strict=True)]
        return Said(values, [row[places[value]] for value, row in zip(values, chances, strict=True)], chances)
    ahead = {} if output.ahead is None else {"step": output.ahead.step.tolist(), "scale": output.ahead.scale.tolist()}
    if output.low is not None and output.high is not None:
        return Said(values, low=output.low.tolist(), high=output.high.tolist(), **ahead)
    return Said(values, **ahead)


@dataclass(frozen=True, slots=True)
class Answered:
    """The answers to the rows of one request: `ids` in the prediction log, and which model gave them.

    `said` is what `output` says, where that was worked out before.
    """

    ids: Sequence[str]
    output: Output
    classes: tuple[str, ...]
    name: str
    version: str
    said: Said | None = None
    keys: tuple[str, ...] = ()  # columns of the rows that are told with their answers


def keys(schema: Schema) -> tuple[str, ...]:
    """The columns that say which row of a forecast is answered: those of the series, and the time."""
    return (*schema.rhythm.series, schema.rhythm.time) if schema.rhythm else ()


def beside(names: Sequence[str]) -> tuple[str, ...]:
    """What columns of the caller's are called in an answer.

    >>> beside(("shop", "month")), beside(("step", "step_"))
    (('shop', 'month'), ('step__', 'step_'))
    """
    return tuple(_free(name, names) if name in OWN else name for name in names)


def _free(name: str, taken: Sequence[str]) -> str:
    return _free(f"{name}_", taken) if f"{name}_" in taken else f"{name}_"


def placed(asked: Asked, answered: Answered) -> dict[str, Sequence[Any]]:
    """What says which rows of a forecast are answered: its keys as they were sent, and the step; else nothing."""
    if not answered.keys:
        return {}
    told = dict(zip(beside(answered.keys), lists_of(answered.keys)(asked.rows), strict=True))
    ahead = answered.output.ahead
    return told if ahead is None else {**told, "step": [*map(round, ahead.step.tolist())]}


class Reply(NamedTuple):
    """The body of an answer. `headers` are added to those that every answer has."""

    body: bytes
    content_type: str = JSON
    headers: Mapping[str, str] = {}
