"""MLflow: runs, registered versions and their aliases. The only file that imports it.

A run is written in a few batches when its results are there, not value by value while it works.
What MLflow itself is told by the environment is in the package's `__init__`.
"""

from __future__ import annotations

import os
import socket
import tempfile
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import mlflow.artifacts
import sqlalchemy.exc
from mlflow import MlflowClient
from mlflow.entities import Metric, Param, RunTag
from mlflow.exceptions import MlflowException

from keepfit import config, durable
from keepfit.errors import BundleError, TrackingError
from keepfit.tracking import copies, git, lock, mlmodel, moved
from keepfit.tracking.flatten import TAG, batches, marks, numbers, parameters
from keepfit.tracking.places import copy, local, redacted
from keepfit.tracking.reach import reach
from keepfit.tracking.store import Store, database, named
from keepfit.types import Schema

PAGE = 200
ENDINGS = ("FINISHED", "FAILED", "KILLED")


def connect(tracking: config.Tracking, work: Path, name: str) -> Store:
    """The store of a project, reachable and ready. `name` is the project's, and the registered model's.

    Raises TrackingError when it cannot be reached or opened, ConfigError for a name that MLflow refuses.
    """
    store = named(tracking, work, name)
    work = store.work
    # several processes that open a new database at once would all create its tables, and die
    with lock.held(work / "mlflow.lock", "Opening the tracking database", 120), _told(store, "open the tracking store"):
        own = work / "mlflow.db"
        begun = moved.begin(own) if store.database == own else None
        for address in store.addresses:
            reach(address)
        if store.database == own:
            moved.settle(own, store.artifacts, store.experiment)
        client = _client(store)
        client.search_registered_models(max_results=1)
        _experiment(store, client)
        if begun:
            begun.unlink(missing_ok=True)
    return store


def readable(tracking: config.Tracking, work: Path, name: str) -> None:
    """Ask tracking store and registry once, and make nothing there; a SQLite file that is not there yet is fine.

    Raises TrackingError when one cannot be reached or read.
    """
    store = named(tracking, work, name)
    with _told(store, "read the registry"):
        for address in store.addresses:
            if (file := database(address)) and not file.exists():
                return
            reach(address)
        _client(store).search_registered_models(max_results=1)


def _client(store: Store) -> MlflowClient:
    return MlflowClient(store.tracking, store.registry)


def _experiment(store: Store, client: MlflowClient) -> str:
    """The experiment's id; it is made where it is not there."""
    found = client.get_experiment_by_name(store.experiment)
    if found is None:
        # a server knows where artifacts belong; a bare database would put them where we stand
        place = None if store.tracking.startswith("http") else store.artifacts
        try:
            return str(client.create_experiment(store.experiment, place))
        except MlflowException as error:
            found = client.get_experiment_by_name(store.experiment)  # another process was first
            if found is None:
                raise error
    if found.lifecycle_stage == "deleted":
        raise TrackingError(
            f"The experiment '{store.experiment}' at {store.where} was deleted. Restore it with "
            f"'mlflow experiments restore -x {found.experiment_id}', or set another tracking.experiment."
        )
    return str(found.experiment_id)


@contextmanager
def _told(store: Store, doing: str) -> Iterator[None]:
    """Errors of MLflow and of what it stands on, as TrackingError without credentials."""
    try:
        yield
    except (MlflowException, sqlalchemy.exc.SQLAlchemyError, OSError, ImportError) as error:
        told = str(error).strip().splitlines() or [type(error).__name__]
        what = redacted(told[0], store.tracking, store.registry).rstrip(".")
        raise TrackingError(
            f"Could not {doing} at {store.where}: {what}. "
            "Check MLFLOW_TRACKING_URI or tracking.uri, and that the server is up and its disk is not full."
        ) from error


# runs


def start(store: Store, name: str, tags: Mapping[str, Any] | None = None) -> str:
    """Begin a run and give its id. Runs of this project that died half-way are marked KILLED first."""
    with _told(store, "begin a run"):
        client = _client(store)
        experiment = _experiment(store, client)
        _bury(store, client, experiment)
        own = {"keepfit.host": socket.gethostname(), "keepfit.work": str(store.work), "keepfit.pid": os.getpid()}
        made = client.create_run(
            experiment, tags=marks({**git.tags(store.work.parent), **own, **(tags or {})}), run_name=name
        )
        return str(made.info.run_id)


def _bury(store: Store, client: MlflowClient, experiment: str) -> None:
    """Mark runs of this folder whose process is gone. Those of other machines are not ours to judge."""
    query = f"attributes.status = 'RUNNING' and tags.`keepfit.host` = '{socket.gethostname()}'"
    for run in client.search_runs([experiment], query, max_results=1000):
        mine = run.data.tags.get("keepfit.work") == str(store.work)
        if mine and not durable.alive(int(run.data.tags.get("keepfit.pid", 0))):
            client.set_terminated(run.info.run_id, "KILLED")


def log_run(
    store: Store,
    run: str,
    params: Mapping[str, Any],
    metrics: Mapping[str, Any],
    tags: Mapping[str, Any],
    artifacts: Iterable[Path] = (),
    step: int = 0,
) -> None:
    """Write the results of a run in as few requests as MLflow allows. The run stays open: see `end`.

    `params` may be nested: the resolved config. A metric is a number or a mapping with `value`,
    `low`, `high` and `baseline`; `step` is its place in its history. Files of `artifacts` go to the
    run's root, folders under their name.
    """
    now = int(datetime.now(UTC).timestamp() * 1000)
    with _told(store, f"log run {run}"):
        client = _client(store)
        rows = [Metric(name, value, now, step) for name, value in numbers(metrics).items()]
        given = [Param(name, value) for name, value in parameters(params).items()]
        told = [RunTag(name, value) for name, value in marks(tags).items()]
        for metric, param, tag in batches(rows, given, told):
            client.log_batch(run, metric, param, tag)
        for path in artifacts:
            if path.is_dir():
                client.log_artifacts(run, str(path), path.name)
            else:
                client.log_artifact(run, str(path))


def end(store: Store, run: str, status: str = "FINISHED", error: str = "") -> None:
    """Close a run as FINISHED, FAILED or KILLED; `error` is kept with it."""
    if status not in ENDINGS:
        raise ValueError(f"status is one of {', '.join(ENDINGS)}, not {status!r}")
    with _told(store, f"close run {run}"):
        client = _client(store)
        if error:
            client.set_tag(run, "keepfit.error", error[:TAG])
        client.set_terminated(run, status)


def runs(store: Store, limit: int = PAGE) -> list[dict[str, Any]]:
    """The newest runs of the experiment: run, name, status, started, seconds, metrics, tags."""
    with _told(store, "list the runs"):
        client = _client(store)
        found = client.search_runs(
            [_experiment(store, client)], max_results=limit, order_by=["attributes.start_time DESC"]
        )
    return [_run(run) for run in found]


def _run(run: Any) -> dict[str, Any]:
    ended = run.info.end_time
    return {
        "run": run.info.run_id,
        "name": run.info.run_name,
        "status": run.info.status,
        "started": _time(run.info.start_time),
        "seconds": (ended - run.info.start_time) / 1000 if ended else None,
        "metrics": dict(run.data.metrics),
        "tags": {k: v for k, v in run.data.tags.items() if not k.startswith("mlflow.log-model")},
    }


def _time(milliseconds: int) -> str:
    return datetime.fromtimestamp(milliseconds / 1000, UTC).isoformat(timespec="seconds")


# versions


def register(
    store: Store,
    run: str,
    bundle: Path,
    schema: Schema,
    example: Mapping[str, Iterable[Any]] | None = None,
    tags: Mapping[str, Any] | None = None,
    description: str = "",
) -> str:
    """Store a bundle with its run as an MLflow model and register it. Gives the new version's number.

    `example` is a few rows as column → values. A version exists only when all its files are there.
    A run has one version: registered again, it is the same. Raises BundleError where `bundle` is none.
    """
    if not (bundle / "bundle.json").is_file():
        raise BundleError(f"{bundle} is no bundle: it has no bundle.json. Nothing was registered.")
    with _told(store, f"register the model '{store.model}'"), tempfile.TemporaryDirectory() as folder:
        client = _client(store)
        for version in client.search_model_versions(f"run_id='{run}'"):
            if version.name == store.model:
                return str(version.version)
        about = {"keepfit": True, "task": schema.task, "target": schema.target}
        mlmodel.write(Path(folder), schema, example or {}, run, about)
        client.log_artifacts(run, str(bundle), "model/bundle")
        client.log_artifacts(run, folder, "model")
        _registered(store, client)
        source = f"{client.get_run(run).info.artifact_uri}/model"
        made = client.create_model_version(
            store.model, source, run, tags=marks(tags or {}), description=description or None
        )
    return str(made.version)


def _registered(store: Store, client: MlflowClient) -> None:
    try:
        client.create_registered_model(store.model, tags={"keepfit": "true"})
    except MlflowException as error:
        if error.error_code != "RESOURCE_ALREADY_EXISTS":
            raise


def versions(store: Store) -> list[dict[str, Any]]:
    """The registered versions, newest first: version, aliases, run, metrics, created, status, tags."""
    with _told(store, "list the versions"):
        client = _client(store)
        names: dict[str, list[str]] = {}
        for alias_, version in aliases(store).items():
            names.setdefault(version, []).append(alias_)
        found = sorted(_pages(store, client), key=lambda v: -int(v.version))
        measured = _metrics(store, client, [v.run_id for v in found if v.run_id])
    return [
        {
            "version": str(v.version),
            "aliases": sorted(names.get(str(v.version), [])),
            "run": v.run_id,
            "metrics": measured.get(v.run_id, {}),
            "created": _time(v.creation_timestamp),
            "status": v.status,
            "tags": dict(v.tags),
        }
        for v in found
    ]


def _pages(store: Store, client: MlflowClient) -> list[Any]:
    found: list[Any] = []
    token = None
    quoted = store.model.replace("'", "''")
    while True:
        page = client.search_model_versions(f"name='{quoted}'", max_results=PAGE, page_token=token)
        found += page
        token = page.token
        if not token:
            return found


def _metrics(store: Store, client: MlflowClient, wanted: list[str]) -> dict[str, dict[str, float]]:
    """Metrics of runs, a hundred runs a request: the registry may be far away."""
    experiment = _experiment(store, client)
    found: dict[str, dict[str, float]] = {}
    for first in range(0, len(wanted), 100):
        quoted = ", ".join(f"'{run}'" for run in wanted[first : first + 100])
        page = client.search_runs([experiment], f"attributes.run_id IN ({quoted})", max_results=100)
        found.update({run.info.run_id: dict(run.data.metrics) for run in page})
    return found


def aliases(store: Store) -> dict[str, str]:
    """Alias → version. Empty where nothing was registered yet."""
    with _told(store, f"read the aliases of '{store.model}'"):
        try:
            found = _client(store).get_registered_model(store.model)
        except MlflowException as error:
            if error.error_code != "RESOURCE_DOES_NOT_EXIST":
                raise
            return {}
    return {name: str(version) for name, version in dict(found.aliases).items()}


def alias(store: Store, name: str) -> str | None:
    """The version that carries an alias."""
    return aliases(store).get(name)


def find(store: Store, which: str) -> str | None:
    """The version that carries the alias `which`, or of that number. A store that is away is told within seconds."""
    with _told(store, f"look up '{which}' of '{store.model}'"):
        for address in store.addresses:
            reach(address)
    if which.isdigit():
        return which if there(store, which) else None
    return alias(store, which)


def move(store: Store, name: str, version: str | None) -> None:
    """Point an alias at a version, or take it away (None). Doing it again changes nothing."""
    with _told(store, f"move the alias '{name}' of '{store.model}'"):
        client = _client(store)
        if version is None:
            client.delete_registered_model_alias(store.model, name)
        else:
            client.set_registered_model_alias(store.model, name, version)


def tag(store: Store, version: str, tags: Mapping[str, Any]) -> None:
    """Set tags of a version."""
    with _told(store, f"tag version {version} of '{store.model}'"):
        client = _client(store)
        for name, value in marks(tags).items():
            client.set_model_version_tag(store.model, version, name, value)


def download(store: Store, version: str, folder: Path) -> Path:
    """The bundle of a version as a local folder: its own place in a local store, else a copy inside `folder`.

    A copy is made once, and is there whole and verified or not at all. Raises TrackingError that lists
    the known versions where there is no such one.
    """
    known(store, version)
    with _told(store, f"download version {version} of '{store.model}'"):
        source = str(_client(store).get_model_version_download_uri(store.model, version))
        here = local(f"{source}/bundle")
        return here or copies.whole(
            copy(folder, store.model, version, store.registry, source), lambda empty: _fetch(store, source, empty)
        )


def known(store: Store, version: str) -> None:
    """Raises TrackingError that lists the versions there are, unless `version` is one of them."""
    if not there(store, version):
        listed = ", ".join(v["version"] for v in versions(store))
        told = f"Known: {listed}" if listed else "Nothing is registered yet: keepfit run"
        raise TrackingError(f"'{store.model}' has no version {version} at {store.where}. {told}.")


def there(store: Store, version: str) -> bool:
    """Whether a version is registered, and not deleted."""
    with _told(store, f"look up version {version} of '{store.model}'"):
        try:
            _client(store).get_model_version(store.model, version)
        except MlflowException as error:
            if error.error_code not in ("RESOURCE_DOES_NOT_EXIST", "INVALID_PARAMETER_VALUE"):
                raise
            return False
    return True


def _fetch(store: Store, source: str, folder: Path) -> Path:
    got = mlflow.artifacts.download_artifacts(f"{source}/bundle", dst_path=str(folder), tracking_uri=store.tracking)
    return Path(got)
