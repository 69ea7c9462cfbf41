"""What is done with registered versions: score with one, move the champion alias, list them."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

from keepfit import config as settings
from keepfit.config import Config
from keepfit.deployment import batch, runtime
from keepfit.errors import BundleError, TrackingError
from keepfit.models import bundle as bundles
from keepfit.progress import Tell
from keepfit.types import Bundle, Decision


def store(config: Config, project: Path) -> Any:
    """The connection to the tracking server and the registry."""
    from keepfit.tracking import mlflow

    return mlflow.connect(config.tracking, project / settings.WORK, config.project.name)


def champion(config: Config, project: Path) -> str:
    """The version that is champion. Raises TrackingError where there is none."""
    from keepfit.tracking import mlflow

    version = mlflow.alias(store(config, project), "champion")
    if version is None:
        raise TrackingError(
            f"'{config.project.name}' has no champion yet. Next: keepfit run, or 'keepfit promote VERSION --reason …'."
        )
    return version


def folder(config: Config, project: Path, version: str) -> Path:
    """The bundle folder of a version, fetched once."""
    from keepfit.tracking import mlflow

    return mlflow.download(store(config, project), version, project / settings.WORK / "models" / version)


def load(config: Config, project: Path, path: Path) -> runtime.Runtime:
    """The runtime of a bundle folder; its hooks come from the project, never from the bundle."""
    made = bundles.read(path)
    return runtime.load(path, hooks=code(config, project, made), trusted=config.model.trusted)


def code(config: Config, project: Path, made: Bundle) -> Path | None:
    """The file of hooks a bundle was trained with: today's, or the copy that its run kept.

    Raises BundleError where neither has the recorded hash.
    """
    recorded = made.manifest.get("hooks")
    if not recorded:
        return None
    kept = project / settings.WORK / "code" / f"{recorded['sha256']}.py"
    if not kept.exists():
        raise BundleError(
            f"The model needs the functions of {recorded['file']} as they were when it was trained "
            f"(sha256 {recorded['sha256'][:12]}…), and {kept} is not there. Put that version of the file there."
        )
    return kept


def keep(project: Path, file: Path, sha256: str) -> None:
    """Keep a copy of the hooks' file under its hash, so that older versions stay usable."""
    target = project / settings.WORK / "code" / f"{sha256}.py"
    target.parent.mkdir(parents=True, exist_ok=True)
    if not target.exists():
        partial = target.with_suffix(".partial")
        shutil.copyfile(file, partial)
        partial.replace(target)
