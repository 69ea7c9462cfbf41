"""The project's own MLflow database: begun whole, and taken along when the folder is moved or copied.

MLflow keeps the full path of every run's artifacts. After a move they would not be found, and
after a copy the copy would write into the original. So the paths in the database of the project's
own store are set to where the database lies now.
"""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

from keepfit.tracking import tables

# table → columns that hold artifact URIs
PLACES = {
    "experiments": ("artifact_location",),
    "runs": ("artifact_uri",),
    "model_versions": ("source", "storage_location"),
}


def begin(database: Path) -> Path:
    """The mark of a database in the making; what was cut off half-made (a kill, a full disk) is made anew.

    Nothing can be in such a database yet: the mark goes before the store is first handed out.
    """
    mark = database.with_name(f"{database.name}.begun")
    if mark.exists():
        for end in ("", "-journal", "-wal", "-shm"):
            database.with_name(database.name + end).unlink(missing_ok=True)
    if not database.exists() or not database.stat().st_size:
        mark.touch()
        tables.make(database)
    return mark


def settle(database: Path, artifacts: str, experiment: str) -> bool:
    """Let `database` know that the artifacts of `experiment` are at the URI `artifacts` now.

    Returns whether something was changed. Call it under the store's lock.
    """
    if not database.exists():
        return False
    with closing(sqlite3.connect(database, timeout=20)) as connection, connection:
        if not connection.execute("SELECT 1 FROM sqlite_master WHERE name = 'experiments'").fetchone():
            return False  # MLflow has made no tables yet
        query = "SELECT artifact_location FROM experiments WHERE name = ?"
        found = connection.execute(query, (experiment,)).fetchone()
        if not found or found[0] == artifacts or not str(found[0]).startswith("file:"):
            return False
        for table, columns in PLACES.items():
            for column in columns:
                _rename(connection, table, column, str(found[0]), artifacts)
    return True


def _rename(connection: sqlite3.Connection, table: str, column: str, old: str, new: str) -> None:
    # the names come from PLACES, never from outside
    connection.execute(
        f"UPDATE {table} SET {column} = ? || substr({column}, ?) WHERE {column} = ? OR substr({column}, 1, ?) = ?",
        (new, len(old) + 1, old, len(old) + 1, old + "/"),
    )
