"""A running process follows the registry, whatever it is, without MLflow in it."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest

from keepfit import Project
from keepfit.config import Tracking
from keepfit.errors import TrackingError
from keepfit.tracking import mlflow, pointer
from tests.projects import project, table
from tests.tracking.conftest import registered


def test_the_projects_own_registry_is_followed(store: mlflow.Store, bundle: Path) -> None:
    ask = pointer.pointer(Tracking(), store.work, "churn")
    assert ask("champion") is None
    for _ in range(2):
        registered(store, bundle)
    assert ask("champion") is None
    for version in ("1", "2", "1"):  # the last is a rollback
        mlflow.move(store, "champion", version)
        found = ask("champion")
        assert found == pointer.Found(version, Path)
        assert (found.fetch() / "bundle.json").is_file()
        assert found.fetch().is_relative_to(store.work)
    assert ask("2") == pointer.Found("2", Path)
    assert ask("challenger") is None
    assert ask("9") is None
    mlflow.MlflowClient(store.tracking, store.registry).delete_model_version("churn", "1")
    assert ask("champion") is None
    assert ask("1") is None


def test_a_registry_that_comes_goes_and_is_damaged(store: mlflow.Store, bundle: Path, tmp_path: Path) -> None:
    registered(store, bundle)
    mlflow.move(store, "champion", "1")
    work = tmp_path / "later" / ".keepfit"
    ask = pointer.pointer(Tracking(), work, "churn")
    assert ask("champion") is None
    shutil.copytree(store.work, work)
    found = ask("champion")
    assert found is not None
    assert found.fetch().is_relative_to(work)  # a copy: its own files, not the original's
    content = (work / "mlflow.db").read_bytes()
    (work / "mlflow.db").write_bytes(b"no database" * 1000)
    with pytest.raises(TrackingError, match=r"The registry .*mlflow.db cannot be read: file is not a database"):
        ask("champion")
    (work / "mlflow.db").write_bytes(content)
    assert ask("champion") == found
    shutil.rmtree(work / "artifacts")
    shutil.rmtree(store.work / "artifacts")
    with pytest.raises(TrackingError, match=r"The files of the version are not there: .*/bundle"):
        found.fetch()


def test_asking_an_unchanged_registry_costs_two_looks_at_the_file(store: mlflow.Store, bundle: Path) -> None:
    registered(store, bundle)
    mlflow.move(store, "champion", "1")
    os.utime(store.work / "mlflow.db", (1, 1))
    ask = pointer.pointer(Tracking(), store.work, "churn")
    first, began = ask("champion"), time.process_time()
    for _ in range(1000):
        assert ask("champion") is first
    assert time.process_time() - began < 1.0  # 1 ms each; some 20 µs where nothing else runs


def test_a_sqlite_registry_elsewhere(store: mlflow.Store, bundle: Path, tmp_path: Path) -> None:
    registered(store, bundle)
    mlflow.move(store, "champion", "1")
    found = pointer.pointer(Tracking(uri=store.tracking), tmp_path / "other" / ".keepfit", "churn")("champion")
    assert found is not None
    assert found.fetch().is_relative_to(store.work)


LIGHT = """
import sys
from pathlib import Path
from keepfit.config import Tracking
from keepfit.tracking.pointer import pointer
found = pointer(Tracking(), Path(sys.argv[1]), "churn")("champion")
print(found.version, found.fetch())
heavy = {"mlflow", "sqlalchemy", "pandas", "polars", "sklearn", "onnxruntime"} & set(sys.modules)
assert not heavy, heavy
"""


def light(work: Path) -> str:
    done = subprocess.run([sys.executable, "-c", LIGHT, str(work)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_nothing_heavy_is_imported(store: mlflow.Store, bundle: Path) -> None:
    registered(store, bundle)
    mlflow.move(store, "champion", "1")
    assert light(store.work).startswith("1 /")


@pytest.mark.slow
def test_predict_needs_no_mlflow_also_where_the_project_was_moved(tmp_path: Path) -> None:
    made = Project(project(tmp_path, table(300)))
    made.run()
    code = (
        "import sys; from keepfit.cli import main\n"
        "try: main(sys.argv[1:])\n"
        "except SystemExit as stop: assert not stop.code\n"
        "assert not {'mlflow', 'sklearn', 'pandas', 'sqlalchemy'} & set(sys.modules)"
    )
    moved = tmp_path / "moved"
    moved.mkdir()
    for name in (".keepfit", "keepfit.yaml", "data.csv"):
        (tmp_path / name).rename(moved / name)
    arguments = ["-C", str(moved), "--set", f"project.name={made.config.project.name}"]
    command = ["predict", str(moved / "data.csv"), "-o", str(tmp_path / "out.csv"), *arguments]
    subprocess.run([sys.executable, "-c", code, *command], check=True)
    assert (tmp_path / "out.csv").is_file()
