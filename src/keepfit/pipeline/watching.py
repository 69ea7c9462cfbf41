"""`keepfit predict --watch`: a folder's files are scored by whoever is champion when they come."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from keepfit.config import Config
from keepfit.data.image_paths import from_project
from keepfit.deployment import batch
from keepfit.deployment import watch as watches
from keepfit.errors import KeepfitError, TrackingError
from keepfit.pipeline import champion
from keepfit.pipeline.loading import load
from keepfit.tracking import lock

Say = Callable[[str], None]


def watch(
    config: Config,
    project: Path,
    folder: Path,
    output: Path,
    version: str | None,
    every: float,
    pattern: str | None,
    say: Say,
) -> dict[str, Any]:
    """Score what is and what comes into `folder` until Ctrl-C or SIGTERM; see `deployment.watch.watch`.

    Raises BusyError while another process does the same for `output`.
    """
    score = following(config, project, version, say)
    watches.ready(folder, output)
    holder = output / watches.OWN / "watch.lock"
    with lock.held(holder, f"Watching for {output}", 0), watches.stoppable() as stop:
        say(f"Watching {folder} → {output}. Ctrl-C ends it when the file at hand is done.")
        return watches.watch(folder, output, score, every, pattern, stop, say)


def following(config: Config, project: Path, version: str | None, say: Say) -> watches.Score:
    """Scores a file by the version that is champion at that moment (or by `version`).

    One that does not load, and a registry that does not answer, are told; the version at hand goes on.
    Raises what says why there is none to begin with.
    """
    number, made = champion.chosen(config, project, version, threads=0)
    ask, told = champion.pointer(config, project), ""

    def newest() -> None:
        nonlocal number, made, told
        try:
            found = ask(version or "champion")
            if found is None:
                raise TrackingError("There is no champion now.")
            if found.version != number:
                made = load(config, project, found.fetch(), threads=0)
                number = found.version
            told = ""
        except KeepfitError as error:
            if str(error) != told:  # once, not for each file
                say(f"Version {number} goes on: {error}")
            told = str(error)

    def score(source: Path, output: Path) -> Mapping[str, Any]:
        newest()
        return {**batch.predict(made, source, output, data=from_project(config.data, project)), "version": number}

    return score
