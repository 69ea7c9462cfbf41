"""The monitoring run of a version: one MLflow run that each monitoring pass adds its figures to.

Which run it is stands in `.keepfit/monitoring/tracked.json`, so that a pass finds it with no search.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from keepfit import durable
from keepfit.errors import TrackingError
from keepfit.tracking import mlflow
from keepfit.tracking.store import Store

FILE = "tracked.json"


def log(store: Store, folder: Path, version: str, figures: Mapping[str, float]) -> str:
    """Add the figures of a pass to the monitoring run of `version`; the run's id.

    `folder` is where the run is remembered. A run that is gone is begun anew.
    Raises TrackingError where the tracking server cannot be reached.
    """
    known = _known(folder / FILE)
    before = known.get(version)
    if before:
        try:
            mlflow.log_run(store, before["run"], {}, figures, {}, step=before["passes"])
            return _note(folder, known, version, before["run"], before["passes"] + 1)
        except TrackingError:
            mlflow.runs(store, 1)  # away, or only the run gone? the former raises
    run = mlflow.start(store, f"monitoring of version {version}", {"keepfit.monitoring": version})
    mlflow.log_run(store, run, {}, figures, {})
    mlflow.end(store, run)  # figures may be added to a run that has ended; one left open would look killed
    return _note(folder, known, version, run, 1)


def _known(path: Path) -> dict[str, Any]:
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}


def _note(folder: Path, known: Mapping[str, Any], version: str, run: str, passes: int) -> str:
    durable.write_text(folder / FILE, json.dumps({**known, version: {"run": run, "passes": passes}}))
    return run
