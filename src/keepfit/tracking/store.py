"""Where runs and versions are kept: the noun that every function of the registry takes. Light, it asks nobody.

The store is named, in this order, by MLFLOW_TRACKING_URI, by `tracking.uri`, or it is SQLite in
the project: `.keepfit/mlflow.db`, with the artifacts in `.keepfit/artifacts`. MLFLOW_EXPERIMENT_NAME
and `tracking.experiment` stand in the same order; the registry is the tracking store unless
MLFLOW_REGISTRY_URI says otherwise.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from keepfit import config
from keepfit.errors import ConfigError
from keepfit.tracking.places import shown, stores

SQLITE = "sqlite:///"


@dataclass(frozen=True)
class Store:
    """Where runs and versions are kept. The URIs may hold credentials: show `where`."""

    tracking: str
    registry: str
    experiment: str
    model: str  # registered model
    work: Path

    @property
    def where(self) -> str:
        """The tracking URI without credentials."""
        return shown(self.tracking)

    @property
    def addresses(self) -> list[str]:
        """Of tracking and registry, each once."""
        return [*dict.fromkeys((self.tracking, self.registry))]

    @property
    def database(self) -> Path | None:
        """The file of a SQLite store."""
        return database(self.tracking)

    @property
    def artifacts(self) -> str:
        """The project's own place for them."""
        return (self.work / "artifacts").as_uri()


def database(address: str) -> Path | None:
    """The file of a SQLite store.

    >>> database("sqlite:///mlflow.db").as_posix()
    'mlflow.db'
    >>> database("https://mlflow.example")
    """
    return Path(address.removeprefix(SQLITE)) if address.startswith(SQLITE) else None


def named(tracking: config.Tracking, work: Path, name: str) -> Store:
    """The store of a project, which need not be there. Raises ConfigError for a name that MLflow refuses."""
    if any(c in name for c in "/:") or not name.strip():
        raise ConfigError(f"project.name: '{name}' cannot name a registered model: leave out '/' and ':'.")
    work = work.resolve()
    experiment = config.environment("MLFLOW_EXPERIMENT_NAME") or tracking.experiment or name
    return Store(*stores(tracking, work), experiment, name, work)
