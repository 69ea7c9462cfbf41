"""The prediction log as one frame: its Parquet parts, and what is not rolled yet.

Segments are read first and parts are listed after that: a row that is rolled in between is seen in
both, and taken from the part. So all that was acknowledged before the call is in the frame, once.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import polars as pl
import pyarrow as pa

from keepfit.data import log_parts, log_table, segments
from keepfit.data.log import tree
from keepfit.data.log_roll import FEEDBACK
from keepfit.errors import ConfigError
from keepfit.extras import nearest

MOMENT = pl.Datetime("us", "UTC")
Fresh = tuple[str, date, pa.Table]
EARLIEST, LATEST = datetime(1, 1, 1, tzinfo=UTC), datetime(9999, 12, 31, tzinfo=UTC)
TOLD = ["label", "label_value", "label_time"]
OBSERVED, KEY = " observed", " of the key"  # a key's columns may be called as those of the log are


def read(
    folder: Path,
    since: datetime | None = None,
    until: datetime | None = None,
    labels: bool = False,
    role: str | None = "champion",
    uri: str | None = None,
) -> pl.LazyFrame:
    """The rows of the log in `folder` from `since` on and before `until`, in no certain order.

    Columns: see `keepfit.data.log_table`; a column of `inputs` that only some versions have is null in
    the others, and one that changed its type is text. `role` is champion, canary or shadow; None is
    all that was answered. With `labels`, the last label of each id: `label`, `label_value` (the number,
    for regression) and `label_time`. A time without a zone is UTC. Files are opened when the frame is
    collected, so collect it before their retention ends. Raises DataError where `uri` cannot be read.
    """
    begin, end = _utc(since, EARLIEST), _utc(until, LATEST)
    rows = _all(tree(folder, role or ""), "predictions", begin, end, uri)
    rows = rows.filter(pl.col("time").is_between(begin, end, closed="left"))
    if role is not None:
        rows = rows.filter(pl.col("role") == role)
    if labels:
        rows = _labelled(rows, latest(folder.parent / FEEDBACK, uri).drop("caller"))
    return rows


def _labelled(rows: pl.LazyFrame, told: pl.DataFrame) -> pl.LazyFrame:
    """The rows with the last label of each: that of its id, or what was observed at its time of its series."""
    told = told.rename({"value": "label_value", "time": "label_time"})
    observed = told.filter(pl.col("row").is_not_null())
    rows = rows.join(told.filter(pl.col("row").is_null()).drop("row").lazy(), on="id", how="left")
    inputs = rows.collect_schema().get("inputs") if observed.height else None
    if not isinstance(inputs, pl.Struct):
        return rows
    for names, keys in keyed(observed, inputs):
        marked = [name + KEY for name in names]
        rows = rows.join(
            keys.lazy(), left_on=[pl.col("inputs").struct.field(name) for name in names], right_on=marked, how="left",
            suffix=OBSERVED,
        ).drop(marked)  # fmt: skip
        later = pl.col("label_time").is_null() | (pl.col("label_time" + OBSERVED) >= pl.col("label_time"))
        each = [pl.when(later).then(pl.coalesce(name + OBSERVED, name)).otherwise(name).alias(name) for name in TOLD]
        rows = rows.with_columns(each).drop(name + OBSERVED for name in TOLD)
    return rows


def keyed(observed: pl.DataFrame, inputs: pl.Struct) -> Iterator[tuple[list[str], pl.DataFrame]]:
    """The columns of keys and, in the types of `inputs`, their values (…KEY) with what was told, by kind of key."""
    kinds: dict[str, Any] = dict(inputs.to_schema())
    keys = [json.loads(key) for key in observed["id"]]
    for names in {tuple(key): None for key in keys}:
        if not kinds.keys() >= set(names):
            continue
        mine = [place for place, key in enumerate(keys) if tuple(key) == names]
        columns = [as_logged(name, [keys[place][name] for place in mine], kinds[name]) for name in names]
        marked = pl.DataFrame([column.alias(column.name + KEY) for column in columns])
        yield [*names], marked.hstack(observed[mine].select(TOLD))


def as_logged(name: str, values: Sequence[Any], kind: Any) -> pl.Series:
    """Values of JSON in the type that the log has them in."""
    if kind.is_temporal():
        return pl.Series(name, [_utc(datetime.fromisoformat(str(value)), EARLIEST) for value in values], MOMENT)
    return pl.Series(name, values, strict=False).cast(kind, strict=False)


def event(columns: pl.Schema, name: str | None) -> pl.Expr:
    """When each row happened: the time in the input `name`, and where that is missing or None, of the answer.

    `columns` are those of the log. Raises ConfigError where `name` is no date among its inputs.
    """
    inputs = columns.get("inputs")
    fields = {field.name: field.dtype for field in inputs.fields} if isinstance(inputs, pl.Struct) else {}
    if name is None or not fields:  # nothing is logged yet
        return pl.col("time")
    if name not in fields or not fields[name].is_temporal():
        dates = [field for field, kind in fields.items() if kind.is_temporal()]
        known = f"Columns with dates: {', '.join(dates) or 'none'}."
        raise ConfigError(f"monitoring.time: the log has no dates in '{name}'. {nearest(name, dates)}{known}")
    return pl.coalesce(pl.col("inputs").struct.field(name).cast(MOMENT), pl.col("time"))


def latest(folder: Path, uri: str | None = None) -> pl.DataFrame:
    """The last label of each id in the feedback of `folder`: id, time, label, value, caller, row."""
    return history(folder, uri).unique("id", keep="last", maintain_order=True)


def history(folder: Path, uri: str | None = None) -> pl.DataFrame:
    """All labels in the feedback of `folder`, oldest first, with the columns of `latest`."""
    return _all(folder, "feedback", EARLIEST, LATEST, uri).sort("time", maintain_order=True).collect()


def _utc(time: datetime | None, default: datetime) -> datetime:
    if time is None:
        return default
    return time.replace(tzinfo=UTC) if time.tzinfo is None else time.astimezone(UTC)


def _all(folder: Path, kind: str, begin: datetime, end: datetime, uri: str | None) -> pl.LazyFrame:
    """Each row of a tree once, of the days from `begin` to `end`."""
    fresh = _fresh(folder)
    parts = log_parts.listed(folder, uri)
    rolled = {(part.segment, part.day) for part in parts}
    wanted = [part for part in parts if begin.date() <= part.day <= end.date()]
    tables = [table for segment, day, table in fresh if (segment, day) not in rolled]
    frames = [_empty(kind), *log_parts.frames(wanted, uri), *map(_lazy, tables)]
    return pl.concat(frames, how="diagonal_relaxed")


def _fresh(folder: Path) -> list[Fresh]:
    """What the segments hold by now: a table for each and each day."""
    found: list[Fresh] = []
    for name in segments.names(folder):
        try:
            content = segments.path(folder, name).read_bytes()
        except FileNotFoundError:  # rolled since it was listed: its part is there
            continue
        line, _, rest = content[: content.rfind(b"\n") + 1].partition(b"\n")
        told = segments.header(line)
        if told is not None:
            rows, _ = log_table.decoded(told, rest)
            found += [(name, day, table) for day, table in log_table.daily(told, rows)]
    return found


def _lazy(table: pa.Table) -> pl.LazyFrame:
    frame = pl.from_arrow(table)
    return frame.lazy() if isinstance(frame, pl.DataFrame) else pl.LazyFrame(frame)


def _empty(kind: str) -> pl.LazyFrame:
    return _lazy(log_table.table(log_table.EMPTY[kind], ()))
