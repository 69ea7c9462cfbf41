"""Batch scoring: a file in, the same file with predictions out, in constant memory.

Reading, predicting and writing run side by side, a few frames ahead of each other. The columns of
the input are kept as they are and in order; to their right stand

    prediction              the label, or the value
    confidence              the probability of the predicted label (classification)
    probability_<class>     of each class (classification)
    prediction_low / _high  the interval's ends (where the model has an interval)
    step                    periods after the last observation (forecast), before the prediction

A forecast needs no input: `ahead` writes what comes of all known series. Of an input's rows those with a value of
the target are observations: they move the model on, are kept in the output, and are their own prediction. They may
stand anywhere, so such an input is in memory as a whole.

Of pictures the output has the paths, and not the bytes: `predict` takes a folder or an archive of them.

A row that cannot be read (a cell that is no number where one is needed, a line with too few fields)
is not guessed at: it goes to a file beside the output, with its place and the reason.
"""

from __future__ import annotations

import contextlib
import csv
import dataclasses
import json
import queue
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import polars as pl
from numpy.typing import NDArray

from keepfit import config, durable
from keepfit.data import files, frames, read
from keepfit.data.delimited import BadRow
from keepfit.data.parse import Problem
from keepfit.deployment import untaken
from keepfit.deployment.protocols import Note, forms
from keepfit.deployment.runtime import Runtime
from keepfit.deployment.sinks import sink
from keepfit.deployment.wishes import HORIZON, SERIES, unanswered
from keepfit.errors import ConfigError, DataError, RequestError
from keepfit.features.frame import asked
from keepfit.features.prepare import prepare
from keepfit.models.fitted import Output
from keepfit.progress import Tell, silent
from keepfit.types import Schema

ROWS = 50_000  # rows of a frame
LARGE: Mapping[str, int] = {"text": 5_000, "image": 128}  # the same where a column has such a role
WHOLE = 10_000_000  # rows read at once where what some observed bears on the others
FEW = 5_000  # rows whose answers go through a list
AHEAD = 2  # frames that a stage may be ahead of the next
SHOWN = 5  # unreadable cells shown in an error
T = TypeVar("T")


def predict(
    runtime: Runtime,
    source: Path,
    output: Path,
    rows: int | None = None,
    data: config.Data | None = None,
    progress: Tell = silent,
) -> dict[str, Any]:
    """Score a file (or glob, or folder) and write `output`, in the format of its name.

    Args:
        rows: rows of a frame; default by what the columns hold.
        data: how the files are written (separator, header, encoding), as in the config.
        progress: told rows done, rows in all (0: unknown) and a message.

    The report: `rows` scored, `rejected` and `rejected_file`, `output`, `columns` (what was added,
    by its name in the output), `notes` (see `untaken.notes`), `seconds`, `rows_per_second`. Raises
    DataError for input that cannot be read or lacks columns (all named), and for output that cannot
    be written; then no output is left, and an older one stays.
    """
    began = time.monotonic()
    _apart(source, output)
    schema = _asked(runtime)
    rows = rows or min((LARGE.get(column.role, ROWS) for column in runtime.schema.features), default=ROWS)
    total, done, names, notes = _size(source), 0, dict[str, str](), list[Note]()
    with _Rejected(output) as rejected, sink(output) as write:
        at_once = WHOLE if schema.observes else rows
        read_in = read.batches(data or config.Data(source=str(source)), source, at_once, rejected.line)
        parts = _ahead(_named(_whole(read_in) if schema.observes else read_in, runtime.schema))
        for frame in _ahead(_scored(runtime, schema, parts, rejected, names, notes)):
            write(frame)
            done += frame.height
            progress(done, total, f"{done:,} rows scored")
        if not names:
            none = f"no row that could be scored: {rejected.count:,} cannot be read" if rejected.count else "no rows"
            raise DataError(f"{source} has {none}. Nothing was written.")
    seconds = time.monotonic() - began
    return {
        "rows": done,
        "rejected": rejected.count,
        "rejected_file": str(rejected.path) if rejected.count else None,
        "output": str(output),
        "columns": names,
        "notes": [note._asdict() for note in notes],
        "seconds": round(seconds, 3),
        "rows_per_second": round(done / seconds) if seconds else None,
    }


def ahead(runtime: Runtime, output: Path, horizon: int | None = None, progress: Tell = silent) -> dict[str, Any]:
    """Write the forecasts of all known series, `horizon` periods ahead (default: the model's), and no input read.

    Columns: the series', the time, step, prediction, prediction_low and prediction_high. The report as of `predict`.
    Raises ConfigError for a model that forecasts nothing, and for a horizon that makes no sense.
    """
    began = time.monotonic()
    done, names = 0, dict[str, str]()
    with sink(output) as write:
        for part in _next(runtime, horizon):
            made = _forecast(runtime, part, names)
            write(made)
            done += made.height
            progress(done, 0, f"{done:,} rows forecast")
    seconds = time.monotonic() - began
    return {
        "rows": done, "rejected": 0, "rejected_file": None, "output": str(output), "columns": names, "notes": [],
        "seconds": round(seconds, 3), "rows_per_second": round(done / seconds) if seconds else None,
    }  # fmt: skip


def following(runtime: Runtime, horizon: int | None = None) -> pl.DataFrame:
    """`ahead` as a frame."""
    return pl.concat([_forecast(runtime, part, {}) for part in _next(runtime, horizon)])


def _forecast(runtime: Runtime, rows: list[dict[str, Any]], names: dict[str, str]) -> pl.DataFrame:
    output, _ = runtime.rows(rows)
    return _beside(pl.DataFrame(rows, infer_schema_length=None), answers(output, ()), names)


def _next(runtime: Runtime, horizon: int | None) -> Iterator[list[dict[str, Any]]]:
    """The rows that come next of all known series, some series at a time."""
    known = runtime.wish
    if known is None:
        raise ConfigError(
            f"The model predicts rows ({runtime.schema.task}) and needs an input: keepfit predict INPUT -o OUTPUT. "
            "Only a forecast (task: forecast) tells what comes without one."
        )
    needed = [c.name for c in runtime.schema.required if c.role not in ("series", "moment")]
    if needed:
        raise ConfigError(
            f"The forecast needs {', '.join(needed)} of the rows to come. Give a file with them, and with "
            f"{', '.join([*known.rhythm.series, known.rhythm.time])}: keepfit predict INPUT -o OUTPUT."
        )
    asked: dict[str, Any] = {HORIZON: known.rhythm.horizon if horizon is None else horizon}
    keys, many = list(known.ends), max(1, ROWS // max(1, asked[HORIZON]))
    for start in range(0, len(keys), many):
        picked = [dict(zip(known.rhythm.series, key, strict=True)) for key in keys[start : start + many]]
        try:
            rows = known([{**asked, **({SERIES: picked} if known.rhythm.series else {})}]).rows
        except RequestError as error:
            raise ConfigError(str(error)) from None
        yield [dict(row) for row in rows]


def frame(runtime: Runtime, given: Any) -> Any:
    """Any frame with the prediction columns beside its own; the kind of frame that it was.

    Raises DataError for absent columns and for cells that cannot be read: a row is never lost.
    """
    return frames.like(scored(runtime, given)[0], given)


def scored(runtime: Runtime, given: Any) -> tuple[pl.DataFrame, dict[str, str]]:
    """`frame` as a polars frame, and what each added column is called in it."""
    table, features = frames.to_polars(given), _features(runtime.schema)
    typed, problems = prepare(table, _asked(runtime), runtime.hooks)
    columns = asked(typed, runtime.schema)
    output = runtime.predict(columns)
    wrong = [problem for problem in problems if problem.column in features] + runtime.faults(columns)
    if wrong:
        shown = "".join(f"\n  row {p.row}, column '{p.column}': {p.problem}" for p in wrong[:SHOWN])
        cells = "1 cell" if len(wrong) == 1 else f"{len(wrong):,} cells"
        raise DataError(f"{cells} cannot be read; correct them, or leave them empty if the value is unknown.{shown}")
    found = answers(output, runtime.schema.classes)
    names: dict[str, str] = {}
    return _beside(table, found, names), names


def answers(output: Output, classes: tuple[str, ...]) -> dict[str, Any]:
    """An Output as named columns: arrays of its rows.

    >>> answers(Output(np.array(["no"], object), np.array([[0.75, 0.25]])), ("no", "yes"))["confidence"].tolist()
    [0.75]
    """
    if output.probabilities is None:
        step = {} if output.ahead is None else {"step": pl.Series(output.ahead.step).fill_nan(None).cast(pl.Int64)}
        values: dict[str, Any] = {**step, "prediction": np.asarray(output.values, np.float64)}
        ends = {"prediction_low": output.low, "prediction_high": output.high}
        return values | {name: end for name, end in ends.items() if end is not None}
    code = {name: place for place, name in enumerate(classes)}
    picked = np.fromiter((code[label] for label in output.values), np.intp, len(output))
    confidence = output.probabilities[np.arange(len(output)), picked]
    each = {f"probability_{name}": output.probabilities[:, place] for place, name in enumerate(classes)}
    few = len(output) <= FEW
    labels = pl.Series(output.values.tolist(), dtype=pl.String) if few else pl.Series(classes).gather(picked)
    return {"prediction": labels, "confidence": confidence, **each}


def _apart(source: Path, output: Path) -> None:
    if (
        output.exists()
        and not files.pictures(source)[1]
        and any(path.samefile(output) for path in files.listed(source))
    ):
        raise DataError(f"{output} is the input. Choose another name for the output: the input is never written over.")


def _asked(runtime: Runtime) -> Schema:
    """The schema of what is read: no target that is no input, and of what is no feature only what hooks may look at."""
    kept = [c for c in runtime.schema.columns if c.role not in ("target", "ignore")]
    if not runtime.hooks:
        kept = list(runtime.schema.features)
    return dataclasses.replace(
        runtime.schema, columns=tuple(kept), target=runtime.schema.target if runtime.schema.observes else None
    )


def _features(schema: Schema) -> frozenset[str]:
    return frozenset(column.name for column in schema.features)


def _size(source: Path) -> int:
    """Rows of a Parquet file; 0 where only reading would tell."""
    if not source.is_file() or files.suffix(source) not in ("parquet", "pq"):
        return 0
    from keepfit.data import parquet  # brings pyarrow

    return parquet.rows(source)


def _scored(
    runtime: Runtime, schema: Schema, parts: Iterator[pl.DataFrame], rejected: _Rejected, names: dict[str, str],
    notes: list[Note],
) -> Iterator[pl.DataFrame]:  # fmt: skip
    """The frames with their answers; rows that cannot be read go to `rejected`. Fills `names` and `notes`."""
    first = 1
    features = _features(runtime.schema)
    for part in parts:
        typed, problems = prepare(part, schema, runtime.hooks)
        problems = [problem for problem in problems if problem.column in features]
        good = _others(part.height, problems)
        columns = asked(typed if not problems else typed[good], runtime.schema)
        output = runtime.predict(columns)
        rhythm = runtime.schema.rhythm
        gone = unanswered(rhythm, columns.values[rhythm.time], output) if rhythm else ()
        if late := [*runtime.faults(columns), *gone]:
            problems += [dataclasses.replace(p, row=int(good[p.row])) for p in late]
            kept = _others(len(output), late)
            output, good = output[kept], good[kept]
        if problems:
            rejected.cells(part, sorted(problems, key=lambda p: p.row), first)
        first += part.height
        part = part[good] if problems else part
        notes += _untaken(runtime, part)
        yield _beside(_without_files(part), answers(output, runtime.schema.classes), names)


def _untaken(runtime: Runtime, part: pl.DataFrame) -> list[Note]:
    """What of the observed rows of a forecast's input was not taken."""
    known = runtime.wish
    if known is None or known.target not in part.columns:
        return []
    return untaken.notes(known, part.filter(pl.col(known.target).is_not_null()).iter_rows(named=True))


def _others(count: int, problems: Sequence[Problem]) -> NDArray[np.intp]:
    """The rows, of so many, that have no problem."""
    return np.delete(np.arange(count), [problem.row for problem in problems])


def _whole(parts: Iterator[pl.DataFrame]) -> Iterator[pl.DataFrame]:
    """One frame of all, of several files too."""
    if found := [*parts]:
        yield frames.stack(found)


def _named(parts: Iterator[pl.DataFrame], schema: Schema) -> Iterator[pl.DataFrame]:
    """The frames of a folder of pictures with the model's name for the column, where it has one of them."""
    names = forms.files(schema)
    for part in parts:
        other = len(names) == 1 and names[0] not in part.columns and part.schema.get("image") == pl.Binary
        yield part.rename({"image": names[0]}) if other else part


def _without_files(part: pl.DataFrame) -> pl.DataFrame:
    """Without the bytes of files."""
    return part.drop(name for name, kind in part.schema.items() if kind == pl.Binary)


def _beside(table: pl.DataFrame, found: Mapping[str, Any], names: dict[str, str]) -> pl.DataFrame:
    """The table with the answers to its right. A name that the table has already gets `keepfit_` before it."""
    for name in found:
        if name not in names:
            free = name
            while free in table.columns or free in names.values():
                free = f"keepfit_{free}"
            names[name] = free
    return table.with_columns(_series(names[name], values) for name, values in found.items())


def _series(name: str, values: Any) -> pl.Series:
    """A column of the answers. To look at an array polars imports numpy.ma, which takes longer than few rows do."""
    plain = isinstance(values, np.ndarray) and values.dtype == np.float64 and len(values) <= FEW
    return pl.Series(name, values.tolist(), pl.Float64) if plain else pl.Series(name, values)


def _ahead(items: Iterator[T]) -> Iterator[T]:
    """The same items, made in a thread of its own, up to AHEAD in advance."""
    made: queue.Queue[tuple[T | None, BaseException | None, bool]] = queue.Queue(AHEAD)
    stop = threading.Event()

    def put(item: T | None, error: BaseException | None, last: bool) -> None:
        while not stop.is_set():
            try:
                return made.put((item, error, last), timeout=0.1)
            except queue.Full:
                continue

    def work() -> None:
        try:
            for item in items:
                put(item, None, False)
                if stop.is_set():
                    return
            put(None, None, True)
        except BaseException as error:  # noqa: BLE001 - whatever it is, it is raised where it is waited for
            put(None, error, True)

    thread = threading.Thread(target=work, daemon=True)
    thread.start()
    try:
        while True:
            item, error, last = made.get()
            if error is not None:
                raise error
            if last:
                return
            yield item  # type: ignore[misc]
    finally:
        stop.set()
        thread.join()


class _Rejected:
    """The side file of rows that could not be read; it is there only if there are such rows."""

    HEAD = ("row", "line", "column", "problem", "text")

    def __init__(self, output: Path) -> None:
        self.path = output.with_name(f"{output.name}.rejected.csv")
        self.count = 0
        self.lock = threading.Lock()
        self.open = contextlib.ExitStack()
        self.writer: Any = None

    def line(self, bad: BadRow) -> None:
        """A line that is no row."""
        self._write([("", bad.line or "", "", bad.problem, bad.text)], 1)

    def cells(self, part: pl.DataFrame, problems: list[Any], first: int) -> None:
        """Rows with cells that cannot be read; `first` is the number of the part's first row."""
        part = _without_files(part)
        texts = {
            row: json.dumps(part.row(row, named=True), ensure_ascii=False, default=str)
            for row in {p.row for p in problems}
        }
        self._write([(first + p.row, "", p.column, p.problem, texts[p.row]) for p in problems], len(texts))

    def _write(self, records: list[tuple[Any, ...]], rows: int) -> None:
        with self.lock:
            if self.writer is None:
                self.writer = csv.writer(self.open.enter_context(durable.replacing(self.path, text=True)))
                self.writer.writerow(self.HEAD)
            self.writer.writerows(records)
            self.count += rows

    def __enter__(self) -> _Rejected:
        return self

    def __exit__(self, kind: Any, error: Any, trace: Any) -> None:
        if self.writer is None and kind is None:
            self.path.unlink(missing_ok=True)  # of an earlier run
        self.open.__exit__(kind, error, trace)
