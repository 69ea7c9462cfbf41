"""tracking/tables.py: the shortcut makes the very database that MLflow's migrations make, or does nothing."""

import importlib.util
import sqlite3
import sys
import tempfile
from contextlib import closing
from pathlib import Path

import pytest
import sqlalchemy
from mlflow.store.db.utils import _initialize_tables

from keepfit.tracking import moved, tables


def migrated(database: Path) -> None:
    """Let MLflow's migrations make the tables in `database`."""
    engine = sqlalchemy.create_engine(f"sqlite:///{database}")
    try:
        _initialize_tables(engine)
    finally:
        engine.dispose()


def contents(database: Path) -> dict[str, object]:
    """Every table, index and trigger with its text, columns in order, every row, and what SQLite keeps of a file.

    The lines of a text are sorted: MLflow's migrations write a table's constraints in the order of a set.
    """
    with closing(sqlite3.connect(database)) as connection:
        ask = connection.execute
        made = ask("SELECT type, name, tbl_name, sql FROM sqlite_master ORDER BY type, name").fetchall()
        texts = [(*names, sorted(part.strip(" \t,") for part in str(sql).splitlines())) for *names, sql in made]
        columns = {name: ask(f'PRAGMA table_xinfo("{name}")').fetchall() for kind, name, *_ in made if kind == "table"}
        rows = {name: ask(f'SELECT * FROM "{name}"').fetchall() for kind, name, *_ in made if kind == "table"}
        pragmas = ("user_version", "application_id", "encoding", "page_size", "journal_mode", "auto_vacuum")
        kept = {name: ask(f"PRAGMA {name}").fetchone() for name in pragmas}
        return {"made": texts, "columns": columns, "rows": rows, "kept": kept}


@pytest.mark.slow
def test_the_database_is_the_one_that_the_migrations_make(tmp_path: Path) -> None:
    """If this fails after an update of MLflow: python tests/tracking/test_tables.py."""
    migrated(tmp_path / "migrated.db")
    assert tables.make(tmp_path / "made.db"), "tables.sql is of another MLflow"
    made = contents(tmp_path / "made.db")
    assert len(made["rows"]) > 20  # type: ignore[arg-type]
    assert made == contents(tmp_path / "migrated.db")


def test_the_dump_of_other_migrations_is_not_used(tmp_path: Path) -> None:
    dump = tmp_path / "tables.sql"
    dump.write_text(f"{tables.MARK}{'0' * 64}\nCREATE TABLE t (x);\n")
    assert not tables.make(tmp_path / "mlflow.db", dump)
    assert not (tmp_path / "mlflow.db").exists()


def test_a_dump_that_fails_half_way_leaves_nothing(tmp_path: Path) -> None:
    dump = tmp_path / "tables.sql"
    dump.write_text(f"{tables.MARK}{tables.migrations()}\nBEGIN TRANSACTION;\nCREATE TABLE t (x);\nNO SQL;\nCOMMIT;\n")
    assert not tables.make(tmp_path / "mlflow.db", dump)
    assert not (tmp_path / "mlflow.db").exists()


def test_a_new_database_begins_with_its_tables_and_an_old_one_is_left_alone(tmp_path: Path) -> None:
    database = tmp_path / "mlflow.db"
    moved.begin(database).unlink()
    with closing(sqlite3.connect(database)) as connection, connection:
        connection.execute("INSERT INTO workspaces (name, description) VALUES ('ours', 'kept')")
    moved.begin(database)
    assert ("ours", "kept") in [row[:2] for row in contents(database)["rows"]["workspaces"]]  # type: ignore[index]


def test_no_mlflow_no_shortcut(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "mlflow", None)
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    assert not tables.make(tmp_path / "mlflow.db")


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as folder:
        database = Path(folder) / "mlflow.db"
        migrated(database)
        with closing(sqlite3.connect(database)) as connection:
            script = "\n".join(connection.iterdump())
    tables.DUMP.write_text(f"{tables.MARK}{tables.migrations()}\n{script}\n", encoding="utf-8")
