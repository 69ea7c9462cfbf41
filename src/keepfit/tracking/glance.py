"""Who is champion, read from the project's own SQLite registry without importing MLflow.

MLflow's import costs more than scoring a hundred thousand rows, and a scoring process needs one
line of the registry. Any other store, and anything that is not as expected, is left to
`tracking.mlflow`: None says "ask there".
"""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

from keepfit import config
from keepfit.tracking.places import local

QUERY = (
    "SELECT v.version, v.source FROM model_versions v LEFT JOIN registered_model_aliases a "
    "ON a.name = v.name AND a.version = v.version AND a.alias = 'champion' "
    "WHERE v.name = ? AND v.status = 'READY' AND {which}"
)
ELSEWHERE = ("MLFLOW_TRACKING_URI", "MLFLOW_REGISTRY_URI")


def bundle(tracking: config.Tracking, work: Path, model: str, version: str | None = None) -> tuple[str, Path] | None:
    """The champion's (or a version's) number and bundle folder, if the store is the project's own."""
    database = work / "mlflow.db"
    if not own(tracking) or not database.is_file():
        return None
    query = QUERY.format(which="v.version = ?" if version else "a.alias IS NOT NULL")
    try:
        with closing(sqlite3.connect(f"{database.resolve().as_uri()}?mode=ro", uri=True)) as registry:
            found = registry.execute(query, (model, version) if version else (model,)).fetchone()
    except sqlite3.Error:
        return None
    folder = local(f"{found[1]}/bundle") if found else None
    if not folder or not folder.resolve().is_relative_to(work.resolve()):
        return None  # nothing yet, or the project was copied or moved: MLflow's side puts the paths right
    return str(found[0]), folder


def own(tracking: config.Tracking) -> bool:
    """Whether the store is the project's own, and not one that others write to as well."""
    return not tracking.uri and not any(config.environment(name) for name in ELSEWHERE)
