"""Parts: the Parquet files of a log, a folder a day, here or on an object store.

    FOLDER/date=2026-11-20/SEGMENT-ROWS.parquet       local
    URI/NAME/date=2026-11-20/SEGMENT-ROWS.parquet     NAME is the folder's: predictions, shadow or feedback

A part is there whole or not at all, and is never changed: the same segment gives the same names, so
doing it twice is doing it once.
"""

from __future__ import annotations

import io
import os
import re
from collections.abc import Callable, Iterable, Sequence
from datetime import date
from pathlib import Path
from typing import IO, Any, NamedTuple

import polars as pl
import pyarrow.parquet

from keepfit import durable
from keepfit.extras import load

PART = re.compile(r"date=(\d{4}-\d{2}-\d{2})/([0-9a-z]{13})-(\d+)\.parquet")
KEY = "serving.log.uri"


class Part(NamedTuple):
    """One file: the segment it came from, the day (UTC) of its rows, how many, and its path or address."""

    segment: str
    day: date
    rows: int
    where: str


def listed(folder: Path, uri: str | None = None) -> list[Part]:
    """The parts that are there, oldest first. Raises DataError where the store cannot be read."""
    return sorted(_parts(_remote(folder, uri) if uri else _local(folder)))


def _local(folder: Path) -> Iterable[str]:
    return map(str, folder.glob("date=*/*.parquet"))


def _remote(folder: Path, uri: str) -> Iterable[str]:
    with _store(uri, "read") as (filesystem, path):
        try:
            found: list[str] = filesystem.find(_address(path, folder))
        except FileNotFoundError:
            return []
        return found


def _parts(paths: Iterable[str]) -> Iterable[Part]:
    for path in paths:
        found = PART.fullmatch("/".join(path.replace(os.sep, "/").split("/")[-2:]))
        if found:
            yield Part(found[2], date.fromisoformat(found[1]), int(found[3]), path)


def keep(folder: Path, uri: str | None, made: Path, part: str) -> None:
    """Give the file `made`, which is on the disk, its name `part` under `folder`, or on the store.

    Raises DataError where the store refuses.
    """
    if uri is None:
        target = folder / part
        target.parent.mkdir(parents=True, exist_ok=True)
        made.rename(target)
        durable.sync(target.parent)
        durable.sync(folder)
        return
    with _store(uri, "written") as (filesystem, path):
        filesystem.put_file(str(made), f"{_address(path, folder)}/{part}")
    made.unlink()


def remove(folder: Path, uri: str | None, parts: Sequence[Part]) -> None:
    """Remove parts, and folders that are empty then."""
    if uri is not None:
        if parts:
            with _store(uri, "written") as (filesystem, _):
                filesystem.rm([part.where for part in parts])
        return
    for part in parts:
        Path(part.where).unlink(missing_ok=True)
    for emptied in {Path(part.where).parent for part in parts}:
        if not any(emptied.iterdir()):
            emptied.rmdir()


def frames(parts: Sequence[Part], uri: str | None = None) -> list[pl.LazyFrame]:
    """The rows of parts, a lazy frame for each form that they have (a model's columns change).

    Local files are scanned when the frame is collected, objects are read now.
    """
    if uri is None:
        return _grouped([(part.where, part.where) for part in parts])
    with _store(uri, "read") as (filesystem, _):
        contents = [filesystem.cat_file(part.where) for part in parts]
    return _grouped([(io.BytesIO(content), content) for content in contents])


def opened(part: Part, uri: str | None = None) -> IO[bytes] | None:
    """A part to be read; None where its retention ended since it was listed. Raises DataError for the store."""
    try:
        if uri is None:
            return Path(part.where).open("rb")
        with _store(uri, "read") as (filesystem, _):
            return io.BytesIO(filesystem.cat_file(part.where)) if filesystem.exists(part.where) else None
    except FileNotFoundError:
        return None


def _grouped(sources: Iterable[tuple[Any, Any]]) -> list[pl.LazyFrame]:
    forms: dict[str, list[Any]] = {}
    for opened, scanned in sources:
        try:
            form = pyarrow.parquet.read_schema(opened).remove_metadata()
        except FileNotFoundError:  # its retention ended since it was listed
            continue
        forms.setdefault(str(form), []).append(scanned)
    return [pl.scan_parquet(group, hive_partitioning=False, glob=False) for group in forms.values()]


def _address(path: str, folder: Path) -> str:
    return f"{path.rstrip('/')}/{folder.name}"


def _store(uri: str, verb: str) -> Any:
    reached: Callable[..., Any] = load("keepfit.data.stores:reached", KEY)  # imports fsspec: only where it is used
    return reached(uri, KEY, verb)
