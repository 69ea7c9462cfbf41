"""The monitoring run of a version: one run, a step a pass; begun anew where it is gone."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from mlflow.tracking import MlflowClient

from keepfit.errors import TrackingError
from keepfit.tracking import mlflow, watched


def history(store: mlflow.Store, run: str, name: str) -> list[tuple[int, float]]:
    client = MlflowClient(store.tracking, store.registry)
    return [(entry.step, entry.value) for entry in client.get_metric_history(run, name)]


def runs(store: mlflow.Store) -> list[str]:
    return [run["run"] for run in mlflow.runs(store)]


def test_two_passes_are_two_steps_of_one_run(store: mlflow.Store, tmp_path: Path) -> None:
    first = watched.log(store, tmp_path, "3", {"rows": 10.0, "drift.age.psi": 0.1})
    again = watched.log(store, tmp_path, "3", {"rows": 20.0})
    assert first == again
    assert runs(store) == [first]
    assert history(store, first, "rows") == [(0, 10.0), (1, 20.0)]
    assert history(store, first, "drift.age.psi") == [(0, 0.1)]


def test_the_run_says_what_it_is_and_has_ended(store: mlflow.Store, tmp_path: Path) -> None:
    run = MlflowClient(store.tracking).get_run(watched.log(store, tmp_path, "3", {"rows": 1.0}))
    assert run.info.run_name == "monitoring of version 3"
    assert run.data.tags["keepfit.monitoring"] == "3"
    assert run.info.status == "FINISHED"  # one left open would be taken for a killed one


def test_columns_of_any_script_keep_their_own_figures(store: mlflow.Store, tmp_path: Path) -> None:
    """MLflow takes letters and digits of any script; what else two names differ in must not make them one."""
    told = {f"drift.{name}.psi": float(n) for n, name in enumerate(("年龄", "性别", "a?", "a!", "größe (m)"))}
    for _ in range(2):
        run = watched.log(store, tmp_path, "3", told)
        told = dict(reversed(told.items()))
    kept = MlflowClient(store.tracking).get_run(run).data.metrics
    assert sorted(kept.values()) == [0.0, 1.0, 2.0, 3.0, 4.0]
    assert kept["drift.年龄.psi"] == 0.0
    assert [value for _, value in history(store, run, "drift.a_.psi")] == [3.0, 3.0]


def test_each_version_has_its_own(store: mlflow.Store, tmp_path: Path) -> None:
    one, two = (watched.log(store, tmp_path, version, {"rows": 1.0}) for version in ("1", "2"))
    assert one != two
    assert watched.log(store, tmp_path, "1", {"rows": 2.0}) == one
    assert history(store, two, "rows") == [(0, 1.0)]


def test_a_run_that_was_deleted_is_begun_anew(store: mlflow.Store, tmp_path: Path) -> None:
    gone = watched.log(store, tmp_path, "3", {"rows": 1.0})
    MlflowClient(store.tracking).delete_run(gone)
    new = watched.log(store, tmp_path, "3", {"rows": 2.0})
    assert new != gone
    assert watched.log(store, tmp_path, "3", {"rows": 3.0}) == new
    assert history(store, new, "rows") == [(0, 2.0), (1, 3.0)]
    assert history(store, gone, "rows") == [(0, 1.0)]


@pytest.mark.parametrize("content", [None, "", "{", "[]"])
def test_what_is_remembered_may_be_lost_or_damaged(store: mlflow.Store, tmp_path: Path, content: str | None) -> None:
    first = watched.log(store, tmp_path, "3", {"rows": 1.0})
    path = tmp_path / watched.FILE
    path.unlink() if content is None else path.write_text(content)
    assert watched.log(store, tmp_path, "3", {"rows": 2.0}) != first
    assert list(json.loads(path.read_text())) == ["3"]


def test_a_server_that_is_away_costs_no_run(store: mlflow.Store, tmp_path: Path, monkeypatch: Any) -> None:
    run = watched.log(store, tmp_path, "3", {"rows": 1.0})

    def away(*_: Any, **__: Any) -> None:
        raise TrackingError("no answer")

    for name in ("log_run", "runs"):
        monkeypatch.setattr(mlflow, name, away)
    with pytest.raises(TrackingError, match="no answer"):
        watched.log(store, tmp_path, "3", {"rows": 2.0})
    monkeypatch.undo()
    assert watched.log(store, tmp_path, "3", {"rows": 3.0}) == run
    assert history(store, run, "rows") == [(0, 1.0), (1, 3.0)]
