"""The tables of a new MLflow database in one go, where MLflow runs some seventy migrations to make the same.

`tables.sql` is the dump of a database that the migrations made, and names them by a hash. Where the
installed MLflow brings other migrations, nothing is done here and MLflow makes its tables itself.

    python tests/tracking/test_tables.py       writes tables.sql anew, by the installed MLflow's migrations
"""

from __future__ import annotations

import hashlib
import importlib.util
import sqlite3
from contextlib import closing
from pathlib import Path

DUMP = Path(__file__).with_suffix(".sql")
MARK = "-- migrations "


def make(database: Path, dump: Path = DUMP) -> bool:
    """Make the tables in `database`, which is empty or not there, all or none; whether that was done.

    Not where `dump` was made by other migrations than the installed MLflow's, nor where the disk is full.
    """
    head, _, script = dump.read_text(encoding="utf-8").partition("\n")
    if head != MARK + migrations():
        return False
    try:
        with closing(sqlite3.connect(database, timeout=20)) as connection:
            connection.executescript(script)  # one transaction, as a dump is
    except sqlite3.Error:
        database.unlink(missing_ok=True)  # MLflow meets the same, and its way of telling is known
        return False
    return True


def migrations() -> str:
    """The sha256 of the names and texts of the installed MLflow's migrations, and of the tables they begin with."""
    spec = importlib.util.find_spec("mlflow")
    store = Path(str(spec.origin)).parent / "store" if spec else Path()
    files = sorted((store / "db_migrations" / "versions").glob("*.py"))
    found = hashlib.sha256()
    for file in (*files, store / "tracking" / "dbmodels" / "initial_models.py"):
        text = file.read_bytes() if file.is_file() else b""
        found.update(f"{file.name} {len(text)}\n".encode() + text)
    return found.hexdigest()
