"""Runs and versions in a real SQLite store."""

from __future__ import annotations

import os
import shutil
import socket
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import mlflow as library
import pytest

from keepfit import config
from keepfit.errors import BundleError, ConfigError, TrackingError
from keepfit.tracking import mlflow
from tests.processes import together
from tests.tracking.conftest import SCHEMA, registered


def client(store: mlflow.Store) -> library.MlflowClient:
    return library.MlflowClient(store.tracking, store.registry)


# where the store is


def test_the_environment_wins_over_the_config_and_the_config_over_the_default(
    tmp_path: Path, empty_store: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    paths = [tmp_path / name for name in ("default/.keepfit", "configured", "named")]
    for path in paths:
        shutil.copytree(empty_store, path)
    work, configured, named = paths
    assert mlflow.connect(config.Tracking(), work, "churn").database == work / "mlflow.db"
    given = config.Tracking(uri=f"sqlite:///{configured}/mlflow.db", experiment="trials")
    store = mlflow.connect(given, work, "churn")
    assert (store.database, store.experiment) == (configured / "mlflow.db", "trials")
    assert store.registry == store.tracking
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{named}/mlflow.db")
    monkeypatch.setenv("MLFLOW_EXPERIMENT_NAME", "night")
    monkeypatch.setenv("MLFLOW_REGISTRY_URI", f"sqlite:///{configured}/mlflow.db")
    store = mlflow.connect(given, work, "churn")
    assert (store.database, store.experiment) == (named / "mlflow.db", "night")
    assert store.registry == f"sqlite:///{configured}/mlflow.db"


def test_a_name_with_odd_characters_works_and_one_with_a_slash_is_refused(tmp_path: Path, empty_store: Path) -> None:
    work = tmp_path / "größe & 100% #1" / ".keepfit"
    shutil.copytree(empty_store, work)
    assert mlflow.versions(mlflow.connect(config.Tracking(), work, "it's größe #1")) == []
    for name in ("a/b", "a:b", " "):
        with pytest.raises(ConfigError, match="cannot name a registered model"):
            mlflow.connect(config.Tracking(), work, name)


def test_a_server_that_is_not_there_is_named_without_its_password(tmp_path: Path) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    for scheme in ("http", "postgresql"):
        uri = f"{scheme}://ann:s3cret@127.0.0.1:{port}/mlflow"
        with pytest.raises(
            TrackingError, match=rf"tracking store at {scheme}://127.0.0.1:{port}/mlflow.*refused"
        ) as told:
            mlflow.connect(config.Tracking(uri=uri), tmp_path, "churn")
        assert "s3cret" not in str(told.value)
        assert "MLFLOW_TRACKING_URI" in str(told.value)


def test_a_damaged_database_is_an_error_at_once(tmp_path: Path) -> None:
    (tmp_path / "mlflow.db").write_bytes(b"not a database, though it is as long as one" * 100)
    with pytest.raises(TrackingError, match=r"mlflow.db: .*file is not a database"):
        mlflow.connect(config.Tracking(), tmp_path, "churn")


def test_a_store_that_mlflow_does_not_know_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(TrackingError, match="Could not open the tracking store at gopher://old"):
        mlflow.connect(config.Tracking(uri="gopher://old"), tmp_path, "churn")


def test_a_folder_that_cannot_be_written_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(TrackingError, match=r"file/.keepfit.* cannot be written: Not a directory"):
        mlflow.connect(config.Tracking(), tmp_path / "file" / ".keepfit", "churn")


def test_a_deleted_experiment_says_how_to_restore_it(store: mlflow.Store) -> None:
    found = client(store).get_experiment_by_name("churn")
    client(store).delete_experiment(found.experiment_id)
    with pytest.raises(
        TrackingError, match=f"was deleted. Restore it with 'mlflow experiments restore -x {found.experiment_id}'"
    ):
        mlflow.connect(config.Tracking(), store.work, "churn")


def test_telemetry_is_off_unless_the_user_turned_it_on() -> None:
    code = "import keepfit.tracking, os; print(os.environ['MLFLOW_DISABLE_TELEMETRY'])"
    clean = {k: v for k, v in os.environ.items() if not k.startswith("MLFLOW")}
    for given, wanted in (({}, "true"), ({"MLFLOW_DISABLE_TELEMETRY": "false"}, "false")):
        done = subprocess.run(
            [sys.executable, "-c", code], env=clean | given, capture_output=True, text=True, check=True
        )
        assert done.stdout.strip() == wanted


@pytest.mark.slow
def test_nothing_is_printed_while_a_new_database_is_made(tmp_path: Path) -> None:
    code = (
        "import pathlib, sys; from keepfit import config; from keepfit.tracking import mlflow;"
        "mlflow.connect(config.Tracking(), pathlib.Path(sys.argv[1]), 'churn')"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path / "new")], capture_output=True, text=True, check=True
    )
    assert (done.stdout, done.stderr) == ("", "")


def _open(work: Path) -> None:
    store = mlflow.connect(config.Tracking(), work, "churn")
    run = mlflow.start(store, str(os.getpid()))
    mlflow.log_run(store, run, {"a": 1}, {"accuracy": 0.5}, {})
    mlflow.end(store, run)


@pytest.mark.slow
def test_processes_that_open_a_new_database_at_once_all_succeed(tmp_path: Path) -> None:
    assert together(_open, [(tmp_path,)] * 4) == [0] * 4
    found = mlflow.runs(mlflow.connect(config.Tracking(), tmp_path, "churn"))
    assert [(r["status"], r["metrics"]) for r in found] == [("FINISHED", {"accuracy": 0.5})] * 4


def test_a_moved_project_finds_its_models_and_a_copy_leaves_the_original_alone(
    store: mlflow.Store, bundle: Path, tmp_path: Path
) -> None:
    version = registered(store, bundle)
    copy = tmp_path / "copy"
    shutil.copytree(store.work.parent, copy)
    again = mlflow.connect(config.Tracking(), copy / ".keepfit", "churn")
    assert mlflow.download(again, version, tmp_path / "x").is_relative_to(copy)
    registered(again, bundle)
    assert len(list((store.work / "artifacts").iterdir())) == 1
    assert len(list((copy / ".keepfit" / "artifacts").iterdir())) == 2
    shutil.rmtree(store.work)
    assert (mlflow.download(again, version, tmp_path / "x") / "bundle.json").exists()


# runs


def test_a_run_comes_back_with_all_that_was_logged(store: mlflow.Store, bundle: Path, tmp_path: Path) -> None:
    report = tmp_path / "report.html"
    report.write_text("<p>")
    run = mlflow.start(store, "first", {"stage": "train"})
    metrics = {"accuracy": {"value": 0.9, "low": 0.8, "high": 0.95, "baseline": 0.5}, "nothing": float("nan")}
    params = {"model": {"type": "auto", "long": "x" * 9000}, **{f"p{n}": n for n in range(250)}}
    mlflow.log_run(store, run, params, metrics, {"data.version": "sha256:1", "none": None}, [report, bundle / "plots"])
    mlflow.end(store, run)
    [found] = mlflow.runs(store)
    assert (found["run"], found["name"], found["status"]) == (run, "first", "FINISHED")
    assert found["metrics"] == {
        "accuracy": 0.9,
        "accuracy_low": 0.8,
        "accuracy_high": 0.95,
        "baseline_accuracy": 0.5,
    }
    assert found["tags"]["data.version"] == "sha256:1"
    assert found["tags"]["stage"] == "train"
    assert found["tags"]["mlflow.user"] == "ann"
    logged = client(store).get_run(run)
    assert len(logged.data.params) == 252
    assert len(logged.data.params["model.long"]) == 6000
    assert {a.path for a in client(store).list_artifacts(run)} == {"report.html", "plots"}


def test_a_failed_run_is_kept_with_its_error(store: mlflow.Store) -> None:
    run = mlflow.start(store, "bad")
    mlflow.end(store, run, "FAILED", "the target has one class only")
    [found] = mlflow.runs(store)
    assert (found["status"], found["tags"]["keepfit.error"]) == ("FAILED", "the target has one class only")
    with pytest.raises(ValueError, match="status is one of"):
        mlflow.end(store, run, "BROKEN")


def test_a_run_whose_process_died_is_marked_by_the_next_start(store: mlflow.Store) -> None:
    dead = subprocess.Popen([sys.executable, "-c", ""])
    dead.wait()
    living = mlflow.start(store, "living", {"keepfit.pid": os.getppid()})
    elsewhere = mlflow.start(store, "elsewhere", {"keepfit.pid": dead.pid, "keepfit.host": "another"})
    other_folder = mlflow.start(store, "folder", {"keepfit.pid": dead.pid, "keepfit.work": "/another"})
    killed = mlflow.start(store, "killed", {"keepfit.pid": dead.pid})
    new = mlflow.start(store, "new")
    status = {r["run"]: r["status"] for r in mlflow.runs(store)}
    assert status[killed] == "KILLED"
    assert {status[r] for r in (living, elsewhere, other_folder, new)} == {"RUNNING"}


def test_names_that_mlflow_refuses_are_made_legal(store: mlflow.Store) -> None:
    run = mlflow.start(store, "odd", {"a tag/with: signs?": 1})
    mlflow.log_run(store, run, {"checks": {"Größe (m)/x": {"max": 3}}, "a?": 1, "a!": 2}, {"f1 [%]": 1}, {})
    logged = client(store).get_run(run).data
    assert logged.params == {"checks.Größe _m__x.max": "3", "a_": "1", "a__2": "2"}
    assert logged.metrics == {"f1 ___": 1.0}


# versions


def test_a_version_has_metrics_run_and_aliases(store: mlflow.Store, bundle: Path) -> None:
    assert mlflow.versions(store) == []
    assert mlflow.alias(store, "champion") is None
    first, second = registered(store, bundle, 0.8), registered(store, bundle, 0.9)
    assert (first, second) == ("1", "2")
    mlflow.move(store, "champion", first)
    mlflow.move(store, "previous", first)
    newest, oldest = mlflow.versions(store)
    assert (newest["version"], newest["aliases"], newest["metrics"]) == ("2", [], {"accuracy": 0.9})
    assert (oldest["aliases"], oldest["status"]) == (["champion", "previous"], "READY")
    assert oldest["run"] == mlflow.runs(store)[1]["run"]
    assert mlflow.alias(store, "champion") == "1"
    mlflow.move(store, "previous", None)
    mlflow.move(store, "previous", None)
    assert mlflow.aliases(store) == {"champion": "1"}


def test_the_bundle_of_a_local_store_is_used_where_it_lies(store: mlflow.Store, bundle: Path, tmp_path: Path) -> None:
    version = registered(store, bundle)
    found = mlflow.download(store, version, tmp_path / "copy")
    assert found.is_relative_to(store.work / "artifacts")
    assert (found / "plots" / "roc.png").read_bytes() == b"png"
    assert not (tmp_path / "copy").exists()


def test_an_unknown_version_lists_the_known_ones(store: mlflow.Store, bundle: Path, tmp_path: Path) -> None:
    with pytest.raises(
        TrackingError, match=r"'churn' has no version 1 at sqlite.*Nothing is registered yet: keepfit run"
    ):
        mlflow.download(store, "1", tmp_path)
    registered(store, bundle)
    registered(store, bundle)
    for wrong in ("7", "latest"):
        with pytest.raises(TrackingError, match=f"has no version {wrong} .*Known: 2, 1"):
            mlflow.download(store, wrong, tmp_path)
    with pytest.raises(TrackingError, match="Could not move the alias 'champion' of 'churn'"):
        mlflow.move(store, "champion", "7")


def test_a_version_whose_files_are_gone_is_an_error(store: mlflow.Store, bundle: Path, tmp_path: Path) -> None:
    version = registered(store, bundle)
    shutil.rmtree(store.work / "artifacts")
    with pytest.raises(TrackingError, match=f"Could not download version {version} of 'churn'"):
        mlflow.download(store, version, tmp_path / "copy")
    assert [path.name for path in (tmp_path / "copy").iterdir()] == ["copies.lock"]


def test_a_run_has_one_version(store: mlflow.Store, bundle: Path) -> None:
    run = mlflow.start(store, "a run")
    assert [mlflow.register(store, run, bundle, SCHEMA) for _ in range(2)] == ["1", "1"]
    assert len(mlflow.versions(store)) == 1


def test_a_bundle_that_cannot_be_read_registers_nothing(store: mlflow.Store, tmp_path: Path) -> None:
    run = mlflow.start(store, "a run")
    with pytest.raises(BundleError, match=r"nowhere is no bundle: it has no bundle.json"):
        mlflow.register(store, run, tmp_path / "nowhere", SCHEMA)
    assert mlflow.versions(store) == []


@pytest.mark.slow
def test_a_database_that_a_full_disk_or_a_kill_left_half_made_is_made_anew(tmp_path: Path) -> None:
    database, mark = tmp_path / "mlflow.db", tmp_path / "mlflow.db.begun"
    with closing(sqlite3.connect(database)) as half:
        half.execute("CREATE TABLE _alembic_tmp_experiments (id INTEGER)")
    mark.touch()  # as the attempt that was cut off left it
    store = mlflow.connect(config.Tracking(), tmp_path, "churn")
    assert client(store).get_experiment_by_name("churn") is not None
    assert not mark.exists()
    assert client(mlflow.connect(config.Tracking(), tmp_path, "churn")).get_experiment_by_name("churn") is not None
