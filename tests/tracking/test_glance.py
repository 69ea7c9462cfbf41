"""The champion is found without MLflow, and never where MLflow would find another."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from keepfit import Project
from keepfit.config import Tracking
from keepfit.tracking import glance
from tests.projects import project, table


@pytest.mark.slow
def test_it_sees_what_the_registry_says_and_predict_needs_no_mlflow(tmp_path: Path) -> None:
    made = Project(project(tmp_path, table(300)))
    made.run()
    name, work = made.config.project.name, tmp_path / ".keepfit"
    version, folder = glance.bundle(Tracking(), work, name) or ("", Path())
    assert version == "1"
    assert (folder / "bundle.json").is_file()
    assert glance.bundle(Tracking(), work, name, "1") == (version, folder)
    assert glance.bundle(Tracking(), work, name, "9") is None
    assert glance.bundle(Tracking(), work, "another") is None
    code = (
        "import sys; from keepfit.cli import main\n"
        "try: main(sys.argv[1:])\n"
        "except SystemExit as stop: assert not stop.code\n"
        "assert not {'mlflow', 'sklearn', 'pandas', 'sqlalchemy'} & set(sys.modules)"
    )
    arguments = ["predict", str(tmp_path / "data.csv"), "-o", str(tmp_path / "out.csv"), "-C", str(tmp_path)]
    subprocess.run([sys.executable, "-c", code, *arguments], check=True)


def test_another_store_is_left_to_mlflow(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "mlflow.db").write_bytes(b"")
    assert glance.bundle(Tracking(), tmp_path / "nowhere", "m") is None
    assert glance.bundle(Tracking(), tmp_path, "m") is None  # no tables
    assert glance.bundle(Tracking(uri="http://127.0.0.1:1"), tmp_path, "m") is None
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://127.0.0.1:1")
    assert glance.bundle(Tracking(), tmp_path, "m") is None
