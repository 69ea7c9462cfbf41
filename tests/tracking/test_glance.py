"""A version is found in SQLite without MLflow, also in a moved or read-only project, and never a deleted one."""

from __future__ import annotations

import os
import shutil
import sqlite3
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from keepfit.config import Tracking
from keepfit.tracking import glance, mlflow
from tests.tracking.conftest import registered


def test_an_alias_or_a_number_is_a_version_with_its_files(store: mlflow.Store, bundle: Path) -> None:
    database = store.work / "mlflow.db"
    assert glance.version(database, "churn", "champion") is None
    registered(store, bundle)
    assert glance.version(database, "churn", "champion") is None
    registered(store, bundle)
    mlflow.move(store, "champion", "2")
    number, source, root = glance.version(database, "churn", "champion") or ("", "", "")
    assert number == "2"
    assert source.startswith(f"{root}/")
    assert root == (store.work / "artifacts").as_uri()
    assert glance.version(database, "churn", "1") != glance.version(database, "churn", "2")
    assert glance.version(database, "churn", "9") is None
    assert glance.version(database, "another", "champion") is None


def test_a_deleted_version_is_none(store: mlflow.Store, bundle: Path) -> None:
    database = store.work / "mlflow.db"
    registered(store, bundle)
    mlflow.move(store, "champion", "1")
    mlflow.MlflowClient(store.tracking, store.registry).delete_model_version("churn", "1")
    assert glance.version(database, "churn", "champion") is None
    assert glance.version(database, "churn", "1") is None


def test_no_tables_yet_is_no_version_and_no_database_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "mlflow.db").write_bytes(b"")
    assert glance.version(tmp_path / "mlflow.db", "m", "champion") is None
    (tmp_path / "mlflow.db").write_bytes(b"no database at all" * 100)
    with pytest.raises(sqlite3.DatabaseError):
        glance.version(tmp_path / "mlflow.db", "m", "champion")


def test_what_a_killed_writer_left_is_rolled_back(store: mlflow.Store, bundle: Path, tmp_path: Path) -> None:
    """Database and journal as a kill in the middle of a commit leaves them."""
    registered(store, bundle)
    mlflow.move(store, "champion", "1")
    killed = tmp_path / "killed"
    killed.mkdir()
    writer = sqlite3.connect(store.work / "mlflow.db", isolation_level=None)
    writer.execute("PRAGMA cache_size = 1")
    writer.execute("BEGIN IMMEDIATE")
    writer.execute("DELETE FROM registered_model_aliases")
    writer.execute("CREATE TABLE filler AS SELECT zeroblob(4000) FROM registered_models, model_versions")
    writer.execute("INSERT INTO filler VALUES (zeroblob(2000000))")
    for name in ("mlflow.db", "mlflow.db-journal"):
        shutil.copy(store.work / name, killed / name)
    writer.execute("ROLLBACK")
    writer.close()
    assert (killed / "mlflow.db-journal").stat().st_size > 0
    assert (glance.version(killed / "mlflow.db", "churn", "champion") or ("",))[0] == "1"


NOBODY = """
import os, pathlib, sys
from keepfit.tracking import glance
if not os.getuid():
    os.setuid(65534)  # root may write everywhere
print(glance.version(pathlib.Path(sys.argv[1]), "churn", "champion")[0])
"""


@pytest.mark.parametrize("wal", [False, True])
def test_a_project_where_nobody_may_write(store: mlflow.Store, bundle: Path, wal: bool) -> None:
    registered(store, bundle)
    mlflow.move(store, "champion", "1")
    folder = Path(tempfile.mkdtemp(prefix="keepfit-"))  # pytest's own may be entered by its owner alone
    database = folder / "mlflow.db"
    shutil.copyfile(store.work / "mlflow.db", database)
    if wal:
        sqlite3.connect(database).execute("PRAGMA journal_mode=wal").connection.close()
    database.chmod(0o444)
    folder.chmod(0o555)
    try:
        command = [sys.executable, "-c", NOBODY, str(database)]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        assert done.stdout == "1\n", done.stderr
        assert [p.name for p in folder.iterdir()] == ["mlflow.db"]
    finally:
        folder.chmod(0o755)
        shutil.rmtree(folder)


def test_files_are_looked_for_where_the_project_is_now(tmp_path: Path) -> None:
    here = tmp_path / "new place" / ".keepfit"
    (here / "artifacts" / "1" / "model").mkdir(parents=True)
    old = "file:///old/.keepfit/artifacts"
    assert glance.placed(f"{old}/1/model", old, here) == (here / "artifacts" / "1" / "model").as_uri()
    assert glance.placed(f"{old}/2/model", old, here) == f"{old}/2/model"  # not there
    assert glance.placed("s3://bucket/1/model", "s3://bucket", here) == "s3://bucket/1/model"


def test_a_stamp_changes_with_the_database_and_is_not_relied_on_while_it_is_young(tmp_path: Path) -> None:
    database = tmp_path / "mlflow.db"
    assert glance.stamp(database) is None
    with sqlite3.connect(database) as writer:
        writer.execute("CREATE TABLE a (b)")
    before = glance.stamp(database)
    assert before is not None
    assert not glance.settled(before)
    (tmp_path / "mlflow.db-wal").write_bytes(b"x")
    assert glance.stamp(database) != before
    os.utime(database, (1, 1))
    os.utime(tmp_path / "mlflow.db-wal", (1, 1))
    assert glance.settled(glance.stamp(database) or ())


def test_whose_store_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    assert glance.own(Tracking())
    assert not glance.own(Tracking(uri="http://127.0.0.1:1"))
    monkeypatch.setenv("MLFLOW_REGISTRY_URI", "http://127.0.0.1:1")
    assert not glance.own(Tracking())
