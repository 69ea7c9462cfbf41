"""A small model's prediction log, for the tests of the log."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from keepfit.data.log import Line, Writer, open_log
from keepfit.data.log import logged as kept
from keepfit.data.rows import values_of
from keepfit.types import Column, Schema

CLASSES = ("no", "yes")
SCHEMA = Schema(
    (
        Column("customer", "id"),
        Column("age", "number", "int"),
        Column("plan", "category", tokens=("?",), levels=("secret-level",), example="secret-example"),
        Column("since", "date", "date", formats=("%d/%m/%Y",)),
        Column("note", "text"),
        Column("senior", "number", hook="senior"),
        Column("seen", "ignore"),
        Column("churn", "target"),
    ),
    "classification",
    "churn",
    CLASSES,
)
PRICES = Schema((Column("rooms", "number"),), "regression", "price")
ROW = {
    "customer": "Customer 1",
    "age": 41,
    "plan": " pro",
    "since": "13/10/2014",
    "note": "  Fine\n",
    "seen": "x",
    "more": 1,
}


INPUTS = values_of([column.name for column in kept(SCHEMA)])  # of a log that redacts nothing


def line(key: str, values: Sequence[Any], at: float | None = None, **fields: Any) -> Line:
    given = {"prediction": "no", "confidence": 0.75, "probabilities": [0.75, 0.25], **fields}
    moment = time.time() if at is None else at
    return Line(key, moment, "request-1", "ann", "/predict", 0.002, values, **given)


def record(key: str, inputs: Mapping[str, Any] = ROW, at: float | None = None, **fields: Any) -> Line:
    return line(key, INPUTS([inputs])[0], at, **fields)


def price(key: str, value: float, **fields: Any) -> Line:
    return Line(key, time.time(), "request-1", None, "/predict", 0.002, [3], value, **fields)


def write(log: Writer, n: int, at: float | None = None, inputs: Mapping[str, Any] = ROW) -> list[str]:
    """Write `n` rows; their ids."""
    keys = log.ids(n)
    [values] = log.inputs([inputs])
    log.write([line(key, values, at) for key in keys])
    return keys


def logged(folder: Path, n: int, at: float | None = None, schema: Schema = SCHEMA, **options: Any) -> list[str]:
    """Write `n` rows by a Writer that is closed after that; their ids."""
    log = open_log(folder, schema, "churn", options.pop("version", "1"), **options)
    keys = write(log, n, at)
    log.close()
    return keys


def contents(folder: Path) -> bytes:
    """All bytes and names under a folder."""
    files: Sequence[Path] = [path for path in folder.rglob("*") if path.is_file()]
    return b"".join(path.name.encode() + path.read_bytes() for path in files)
