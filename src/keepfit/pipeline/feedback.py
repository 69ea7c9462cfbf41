"""Labels that came later, from a file or a frame into the feedback of a project."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import polars as pl

from keepfit import config as settings
from keepfit.config import Config
from keepfit.data import files, frames, labels, observations
from keepfit.deployment import untaken
from keepfit.errors import DataError, KeepfitError
from keepfit.extras import nearest
from keepfit.models import bundle as bundles
from keepfit.pipeline import champion, loading
from keepfit.tracking import git

log = logging.getLogger("keepfit")
Entries = Callable[[], Iterator[dict[str, Any]]]


def take(config: Config, project: Path, source: Any, id: str = "id", label: str = "label") -> labels.Report:
    """Add the labels of a file (CSV, Parquet, NDJSON, …) or a frame; `id` and `label` name its columns.

    Without the column `label`, or with all that tells an observation, it holds rows that were observed, where the
    champion's task has such. Those that the champion does not go on from are `held_back` in the report.

    Raises DataError for a file that cannot be read, a column that is not there, and where no
    prediction was logged yet; RequestError where the disk refuses.
    """
    work = project / settings.WORK
    where = str(source) if isinstance(source, (str, Path)) else "the frame"
    frame = _frame(source, where, config.data)
    named = {id, label} == {*frame.columns}
    read = None if named else _observed(config, project)
    if read is not None and (label not in frame.columns or read.names <= {*frame.columns}):
        return _added(config, project, lambda: frame.iter_rows(named=True), read)
    missed = [f"'{name}'. {nearest(name, frame.columns)}" for name in (id, label) if name not in frame.columns]
    if missed:
        known = ", ".join(frame.columns[:30])
        raise DataError(
            f"{where} has no column {' and no column '.join(missed)}It has: {known}. Name them with --id and --label."
        )
    if not (work / "predictions").is_dir():
        raise DataError(f"No prediction was logged in {work / 'predictions'} yet. Serve the champion: keepfit serve.")
    return _added(config, project, partial(_entries, frame.select(id, label), id, label), None)


def _added(config: Config, project: Path, entries: Entries, read: labels.Read | None) -> labels.Report:
    work, retention = project / settings.WORK, config.serving.log.retention
    report = labels.add(work / "feedback", work / "predictions", entries(), git.author(project), retention, read)
    if not report.accepted or (read is None and config.task not in observations.READERS):
        return report
    try:
        return replace(report, held_back=_held(config, project, entries))
    except (KeepfitError, OSError) as error:  # what was accepted stays so
        log.warning("which of it is held back cannot be told: %s", error)
        return report


def _held(config: Config, project: Path, entries: Entries) -> tuple[labels.Invalid, ...]:
    """What the champion does not go on from; a server that runs finds the same."""
    read, found = _observed(config, project), champion.pointer(config, project)("champion")
    if read is None or found is None:
        return ()
    return untaken.held(loading.load(config, project, found.fetch()), entries(), read)


def _observed(config: Config, project: Path) -> labels.Read | None:
    found = champion.pointer(config, project)("champion")
    return observations.reader(bundles.read(found.fetch()).schema, config.serving.log.redact) if found else None


def _frame(source: Any, where: str, data: settings.Data) -> pl.DataFrame:
    """Numbers are written as in the source; names and order of the columns are the feedback's own."""
    if isinstance(source, (str, Path)):
        return files.read(where, settings.Data(source=where, decimal=data.decimal), Path())[0]
    return frames.to_polars(source)


def _entries(frame: pl.DataFrame, id: str, label: str) -> Iterator[dict[str, Any]]:
    for row in frame.iter_rows(named=True):
        yield {"id": row[id], "label": row[label]}
