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

from keepfit.models.fitted import Output

PROTOCOLS: dict[str, str] = {
    "keepfit": "keepfit.deployment.protocols.native",
    "mlflow": "keepfit.deployment.protocols.scoring",
    "v2": "keepfit.deployment.protocols.v2",
    "vertex": "keepfit.deployment.protocols.vertex",
}
JSON = "application/json"


class Asked(NamedTuple):
    """What a request asks. `context` is what `encode` must know of it: an id to echo, one object or a list."""

    rows: Sequence[Mapping[str, Any]]
    context: Any = None


@dataclass(frozen=True, slots=True)
class Answered:
    """The answers to the rows of one request: `ids` in the prediction log, and which model gave them."""

    ids: Sequence[str]
    output: Output
    classes: tuple[str, ...]
    name: str
    version: str


class Reply(NamedTuple):
    """The body of an answer. `headers` are added to those that every answer has."""

    body: bytes
    content_type: str = JSON
    headers: Mapping[str, str] = {}
