"""A store of its own for each test, and a bundle folder to register."""

from __future__ import annotations

import hashlib
import json
import shutil
from pathlib import Path

import pytest

from keepfit import config
from keepfit.tracking import mlflow
from keepfit.types import Column, Schema

SCHEMA = Schema(
    (
        Column("age", "number", "int"),
        Column("income", "number", "float", missing=0.1),
        Column("plan", "category", "str"),
        Column("left", "target"),
    ),
    "classification",
    "left",
    ("no", "yes"),
)


@pytest.fixture(autouse=True)
def no_servers_of_the_user(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("MLFLOW_TRACKING_URI", "MLFLOW_REGISTRY_URI", "MLFLOW_EXPERIMENT_NAME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("KEEPFIT_AUTHOR", "ann")


@pytest.fixture(scope="session")
def empty_store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A `.keepfit` with tables and nothing in them; copied, since MLflow takes long to make them."""
    work = tmp_path_factory.mktemp("empty") / ".keepfit"
    mlflow.connect(config.Tracking(), work, "churn")
    return work


@pytest.fixture
def store(empty_store: Path, tmp_path: Path) -> mlflow.Store:
    shutil.copytree(empty_store, tmp_path / "churn" / ".keepfit")
    return mlflow.connect(config.Tracking(), tmp_path / "churn" / ".keepfit", "churn")


@pytest.fixture
def bundle(tmp_path: Path) -> Path:
    folder = tmp_path / "bundle"
    (folder / "plots").mkdir(parents=True)
    (folder / "bundle.json").write_text(json.dumps({"format": 1}))
    (folder / "plots" / "roc.png").write_bytes(b"png")
    seal(folder)
    return folder


def seal(folder: Path) -> None:
    """Write the checksums of a bundle's files."""
    files = sorted(p for p in folder.rglob("*") if p.is_file() and p.name != "checksums.sha256")
    lines = [f"{hashlib.sha256(p.read_bytes()).hexdigest()}  {p.relative_to(folder).as_posix()}\n" for p in files]
    (folder / "checksums.sha256").write_text("".join(lines))


def registered(store: mlflow.Store, bundle: Path, accuracy: float = 0.9) -> str:
    """A finished run with one metric, its bundle registered: the new version."""
    run = mlflow.start(store, "a run")
    mlflow.log_run(store, run, {}, {"accuracy": accuracy}, {})
    version = mlflow.register(store, run, bundle, SCHEMA)
    mlflow.end(store, run)
    return version
