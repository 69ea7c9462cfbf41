"""Evidently's drift report of a sample, in a process of its own: `python -m keepfit.monitoring.evidently`.

The request is one JSON object on stdin (`Asked`), the answer one on stdout: how many rows of each side and
which columns were compared. Its import alone takes seconds and a hundred megabytes, which nobody
but this process pays; it ends by itself when its time is up, also when nobody waits for it any more.
"""

from __future__ import annotations

import dataclasses
import itertools
import json
import os
import signal
import sys
import warnings
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from keepfit import durable
from keepfit.data import log_read
from keepfit.data.conform import conform
from keepfit.errors import KeepfitError
from keepfit.types import Column, Schema, read

NICE = 10  # who serves comes first
MOMENT = pl.Datetime("us", "UTC")
# role → what Evidently calls such columns, and how many are compared: a text costs it ten seconds; it tests no dates
KINDS = {"number": ("numerical_columns", 20), "category": ("categorical_columns", 20), "text": ("text_columns", 2)}


@dataclass(frozen=True)
class Asked:
    """What to compare: `rows` of the file `reference` and the newest of the log, at most; the report's path.

    `columns` are inputs of `schema`, those first that matter most. `log`, `uri`, `version` and `time` are as
    for a monitoring pass, `since` and `until` are ISO times, `seconds` is how long it may take.
    """

    reference: str
    log: str
    uri: str | None
    version: str
    since: str
    until: str
    time: str | None
    schema: Schema
    columns: Sequence[str]
    rows: int
    seconds: int
    output: str


def main() -> int:
    """Answer the request on stdin: 0, or 1 with the reason on stderr."""
    os.environ.setdefault("DO_NOT_TRACK", "1")
    os.nice(NICE)
    given = json.load(sys.stdin)
    asked = Asked(**{**given, "schema": read(Schema, given["schema"])})
    signal.alarm(asked.seconds)
    schema = dataclasses.replace(asked.schema, columns=tuple(_kept(asked)), target=None)
    try:
        now, before = _now(asked, schema), _reference(asked, schema)
    except (KeepfitError, OSError, pl.exceptions.PolarsError) as error:
        print(error, file=sys.stderr)
        return 1
    names = [name for name in before.columns if name in now.columns and _known(now[name]) and _known(before[name])]
    compared = _written(Path(asked.output), before.select(names), now.select(names), schema)
    if not compared:
        return 1
    print(json.dumps({"rows": len(now), "reference_rows": len(before), "columns": compared}))
    return 0


def _kept(asked: Asked) -> Iterator[Column]:
    """The first columns of each role."""
    ranked = [asked.schema[name] for name in asked.columns]
    for role, (_, most) in KINDS.items():
        yield from itertools.islice((column for column in ranked if column.role == role), most)


def _written(path: Path, before: pl.DataFrame, now: pl.DataFrame, schema: Schema) -> list[str]:
    """Write the report of two frames with the same columns to `path`; the columns that are in it, if there are any.

    Evidently's test of texts asks for more different words than some columns have. These are left out then.
    """
    other = [name for name in before.columns if schema[name].role != "text"]
    why: object = "it can compare no column"
    for names in filter(None, (before.columns, other)):
        try:
            durable.write_text(path, report(before.select(names), now.select(names), schema))
            return list(names)
        except ValueError as error:
            why = error
    print(f"{len(now):,} rows: {why}", file=sys.stderr)
    return []


def _known(values: pl.Series) -> bool:
    """Whether any value is known: Evidently fails on a column of which none is."""
    return values.null_count() < len(values)


def _reference(asked: Asked, schema: Schema) -> pl.DataFrame:
    """Rows drawn from the training rows, always the same ones."""
    whole = pl.scan_parquet(asked.reference)
    height = int(whole.select(pl.len()).collect().item())
    drawn = np.random.default_rng(0).choice(height, min(height, asked.rows), replace=False)
    picked = whole.select(c.name for c in schema.columns).with_row_index("\0row")
    found = picked.filter(pl.col("\0row").is_in(pl.Series(drawn, dtype=pl.UInt32).implode()))
    return conform(found.drop("\0row").collect(engine="streaming"), schema)[0]


def _now(asked: Asked, schema: Schema) -> pl.DataFrame:
    """The newest rows of the window that this version answered; without the columns that the log does not hold."""
    begin, end = (datetime.fromisoformat(moment) for moment in (asked.since, asked.until))
    since, until = (begin, end) if asked.time is None else (None, None)
    rows = log_read.read(Path(asked.log), since, until, uri=asked.uri).filter(pl.col("version") == asked.version)
    inputs = rows.collect_schema().get("inputs")
    if not isinstance(inputs, pl.Struct):
        return pl.DataFrame()
    at = pl.col("time")
    if asked.time is not None:
        at = pl.coalesce(pl.col("inputs").struct.field(asked.time).cast(MOMENT), at)
    within = rows.select(at.alias("at"), "inputs").filter(pl.col("at").is_between(begin, end, closed="left"))
    found = within.top_k(asked.rows, by="at").select("inputs").collect(engine="streaming").unnest("inputs")
    held = tuple(column for column in schema.columns if column.name in found.columns)
    return conform(found, dataclasses.replace(schema, columns=held))[0]


def report(before: pl.DataFrame, now: pl.DataFrame, schema: Schema) -> str:
    """Evidently's drift preset of two frames with the same columns of `schema`, as HTML."""
    warnings.simplefilter("ignore")  # of the libraries below it; nobody here can heed them
    from evidently import DataDefinition, Dataset, Report
    from evidently.presets import DataDriftPreset

    definition = DataDefinition(**_named(before.columns, schema))
    sides = [Dataset.from_pandas(frame.to_pandas(), data_definition=definition) for frame in (now, before)]
    text: str = Report([DataDriftPreset()]).run(*sides).get_html_str(as_iframe=False)
    return text


def _named(columns: Sequence[str], schema: Schema) -> Mapping[str, Any]:
    """The columns by what Evidently calls their kind.

    >>> from keepfit.types import Column
    >>> _named(["b", "a"], Schema((Column("a", "number"), Column("b", "text")), "regression"))
    {'numerical_columns': ['a'], 'categorical_columns': [], 'text_columns': ['b']}
    """
    return {kind: [name for name in columns if schema[name].role == role] for role, (kind, _) in KINDS.items()}


if __name__ == "__main__":
    sys.exit(main())
