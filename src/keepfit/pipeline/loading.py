"""A project's bundles as functions. Light: a server begins here, without polars and without MLflow."""

from __future__ import annotations

import hashlib
from pathlib import Path

from keepfit import config as settings
from keepfit import durable
from keepfit.config import Config
from keepfit.deployment import plausible, runtime
from keepfit.errors import BundleError
from keepfit.extras import importable
from keepfit.models import bundle as bundles
from keepfit.pipeline import observed
from keepfit.pipeline.observed import Follow
from keepfit.types import Bundle


def load(
    config: Config, project: Path, path: Path, threads: int = 1, later: bool = True, follow: Follow | None = None
) -> runtime.Runtime:
    """The runtime of a bundle folder; its hooks come from the project, never from the bundle.

    It goes on from all that was observed. Without `later` it knows no observation that came after its training,
    as when it was judged. `follow` knows what was observed, where the caller keeps an eye on it.
    """
    made = bundles.read(path)
    with importable(project):  # an estimator of the user's own stands beside keepfit.yaml
        found = runtime.load(made, code(project, made), config.model.trusted, threads, later)
    told = (follow or observed.follower(config, project))(made.schema) if later and found.after else ()
    return plausible.moved(found, told) if told else found


def code(project: Path, made: Bundle) -> Path | None:
    """The file of hooks a bundle was trained with: the copy that its run kept.

    Raises BundleError where it is gone.
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


def keep(project: Path, file: Path | None) -> Path | None:
    """Keep a copy of the hooks' file under its hash, so that older versions stay usable; gives `file` back."""
    if file is None:
        return None
    content = file.read_bytes()
    target = project / settings.WORK / "code" / f"{hashlib.sha256(content).hexdigest()}.py"
    if not target.exists():
        target.parent.mkdir(parents=True, exist_ok=True)
        durable.write_bytes(target, content)
    return file
