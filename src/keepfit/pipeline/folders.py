"""Where the stages keep their work: a folder a run, a folder a stage, finished or not there at all.

A stage writes into `NAME.partial`, which is renamed to `NAME` when everything in it is on the disk.
A killed run so leaves only whole stages behind, and the next one can go on from them.

    .keepfit/runs/20261121-031500-123456/run.json     config, when, by which code
                                         ingest/      train.parquet, test.parquet, dataset.json, verdict.json
                                         train/       bundle/, plots/, measured.json, answers for the test rows
                                         promote/     decision.json
                                         report.html
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

from keepfit import durable
from keepfit.errors import BusyError, DataError
from keepfit.types import Dataset, Schema, Split, Verdict, plain, read


@contextmanager
def whole(folder: Path) -> Iterator[Path]:
    """A folder to write into that gets its name only when all of it is written."""
    partial = folder.with_name(folder.name + ".partial")
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir(parents=True)
    yield partial
    durable.settle(partial, folder)


def drop(folder: Path) -> None:
    """Take a finished folder away, at once: a half-removed one is never taken for a whole one."""
    if folder.is_dir():
        gone = folder.with_name(folder.name + ".partial")
        shutil.rmtree(gone, ignore_errors=True)
        folder.rename(gone)
        shutil.rmtree(gone, ignore_errors=True)


@contextmanager
def alone(work: Path) -> Iterator[None]:
    """Keeps a second run of the same project out. Raises BusyError that names the first."""
    path = work / "run.lock"
    with ExitStack() as stack:
        try:
            file = stack.enter_context(durable.locked(path))
        except BlockingIOError:
            holder = path.read_text(encoding="utf-8").strip() or "unknown"
            raise BusyError(
                f"Another run works in this project (process {holder}, {work}). "
                "Wait for it, or stop it; only one run at a time can write there."
            ) from None
        file.truncate(0)
        file.write(str(os.getpid()))
        file.flush()
        yield


def busy(work: Path) -> bool:
    """Whether a run works in this project now. Writes nothing."""
    return durable.held(work / "run.lock")


def write_json(path: Path, value: Any) -> None:
    """Nouns and plain values as JSON; the file is whole or not there."""
    durable.write_text(path, json.dumps(plain(value), ensure_ascii=False, indent=1, default=str))


def read_json(path: Path) -> Any:
    return json.loads(path.read_text(encoding="utf-8"))


def save_split(split: Split, folder: Path) -> None:
    """Both frames as Parquet, the rest as JSON."""
    split.train.frame.write_parquet(folder / "train.parquet")
    split.test.frame.write_parquet(folder / "test.parquet")
    train, test = (
        {"version": part.version, "origin": part.origin, "rows": part.frame.height}
        for part in (split.train, split.test)
    )
    write_json(folder / "dataset.json", {**train, "schema": split.train.schema, "test": test, "how": split.how})


def load_split(folder: Path) -> Split:
    """What `save_split` wrote."""
    import polars as pl

    try:
        about = read_json(folder / "dataset.json")
        frames = [pl.read_parquet(folder / name) for name in ("train.parquet", "test.parquet")]
    except FileNotFoundError as error:
        raise DataError(f"{error.filename} is gone: run without --resume to make it again.") from error
    schema = read(Schema, about["schema"])
    test = about["test"]
    return Split(
        Dataset(frames[0], schema, about["version"], about["origin"]),
        Dataset(frames[1], schema, test["version"], test["origin"]),
        about["how"],
    )


def read_verdict(path: Path) -> Verdict:
    """A Verdict that was written as JSON."""
    verdict: Verdict = read(Verdict, read_json(path))
    return verdict


def runs(work: Path) -> list[Path]:
    """The folders of past runs, newest first."""
    return sorted((p for p in (work / "runs").glob("*") if (p / "run.json").exists()), reverse=True)


def about(folder: Path) -> dict[str, Any]:
    """A run's record so far."""
    found: dict[str, Any] = read_json(folder / "run.json")
    return found


def note(folder: Path, **what: Any) -> None:
    """Add to a run's record; timings are gathered."""
    path = folder / "run.json"
    known = read_json(path) if path.exists() else {}
    timings = {**known.get("timings", {}), **what.pop("timings", {})}
    write_json(path, {**known, **what, "timings": timings})
