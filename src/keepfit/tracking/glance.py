"""A version in a SQLite registry, read without importing MLflow.

MLflow's import costs more than scoring a hundred thousand rows, and whoever scores or serves needs
one line of the registry. Nothing is written: the project may be a copy, or lie where nobody may
write. Where it was moved or copied, MLflow's own paths name the old place (see `moved`); `placed`
finds the files in the new one.
"""

from __future__ import annotations

import os
import sqlite3
import time
from contextlib import closing
from pathlib import Path

from keepfit import config
from keepfit.tracking.places import local

CHAMPION = "champion"
QUERY = (
    "SELECT v.version, COALESCE(NULLIF(v.storage_location, ''), v.source), e.artifact_location FROM model_versions v "
    "LEFT JOIN runs r ON r.run_uuid = v.run_id LEFT JOIN experiments e ON e.experiment_id = r.experiment_id "
    # a deleted version stays as a tombstone
    "WHERE v.name = ? AND v.status = 'READY' AND COALESCE(v.current_stage, '') <> 'Deleted_Internal' AND v.version = "
)
ALIAS = "(SELECT a.version FROM registered_model_aliases a WHERE a.name = v.name AND a.alias = ?)"
ELSEWHERE = ("MLFLOW_TRACKING_URI", "MLFLOW_REGISTRY_URI")
WAIT = 5.0  # seconds for a writer to finish
YOUNG = 2.0  # seconds in which a file system may give two writes the same time
Stamp = tuple[tuple[int, int, int], ...]


def version(database: Path, model: str, which: str) -> tuple[str, str, str] | None:
    """The version that carries the alias `which`, or of that number: (number, URI of its files, artifacts' root).

    None where there is none, or no tables yet. Raises sqlite3.Error for what is no database, is
    damaged, or stays locked.
    """
    try:
        found = _row(database, QUERY + ("?" if which.isdigit() else ALIAS), (model, which))
    except sqlite3.OperationalError as error:
        if "no such table" not in str(error):
            raise
        return None
    return (str(found[0]), str(found[1]), str(found[2] or "")) if found else None


def _row(database: Path, query: str, values: tuple[str, ...]) -> tuple[object, ...] | None:
    """Reading needs to write where a writer was killed (its journal is rolled back), and must not where it may not."""
    writable = os.access(database, os.W_OK) and os.access(database.parent, os.W_OK)
    for mode in ("mode=ro", "mode=rw" if writable else "immutable=1"):
        try:
            address = f"{database.resolve().as_uri()}?{mode}"
            with closing(sqlite3.connect(address, timeout=WAIT, uri=True)) as registry:
                row: tuple[object, ...] | None = registry.execute(query, values).fetchone()
                return row
        except sqlite3.OperationalError as error:
            if mode != "mode=ro" or "locked" in str(error) or "no such" in str(error):
                raise
    raise AssertionError("the second way returns or raises")


def stamp(database: Path) -> Stamp | None:
    """What changes when a database changes; None where there is none. Costs two questions to the file system."""
    found = []
    for path in (database, database.with_name(f"{database.name}-wal")):
        try:
            state = path.stat()
        except FileNotFoundError:
            continue
        found.append((state.st_ino, state.st_size, state.st_mtime_ns))
    return tuple(found) if found else None


def settled(stamp: Stamp) -> bool:
    """Whether a stamp is so old that another change would have given another one."""
    now = time.time()
    return all(abs(now - changed / 1e9) > YOUNG for _, _, changed in stamp)


def placed(source: str, root: str, work: Path) -> str:
    """The URI of a version's files in a project at `work`, which may have been elsewhere when `root` was noted."""
    if root.startswith("file:") and source.startswith(f"{root}/"):
        here = (work.resolve() / "artifacts").as_uri() + source[len(root) :]
        return here if local(here) else source
    return source


def own(tracking: config.Tracking) -> bool:
    """Whether the store is the project's own, and not one that others write to as well."""
    return not tracking.uri and not any(config.environment(name) for name in ELSEWHERE)
