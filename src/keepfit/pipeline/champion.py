"""What is done with registered versions: score with one, move the champion alias, list them."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import polars as pl

from keepfit import config as settings
from keepfit.config import Config
from keepfit.data import trace
from keepfit.data.conform import asking
from keepfit.data.image_paths import from_project
from keepfit.deployment import batch, runtime
from keepfit.errors import BundleError, ConfigError, DataError, TrackingError
from keepfit.features.frame import from_frame
from keepfit.features.prepare import prepare
from keepfit.models import metrics
from keepfit.models.fitted import Output
from keepfit.pipeline.loading import load
from keepfit.progress import Tell
from keepfit.tracking import glance
from keepfit.tracking import pointer as pointers
from keepfit.types import Check, Dataset, Decision


def store(config: Config, project: Path) -> Any:
    """The connection to the tracking server and the registry."""
    from keepfit.tracking import mlflow

    return mlflow.connect(config.tracking, project / settings.WORK, config.project.name)


def readable(config: Config, work: Path) -> None:
    """Ask the registry once, making nothing there. Raises TrackingError where it cannot be reached or read."""
    from keepfit.tracking import mlflow

    mlflow.readable(config.tracking, work, config.project.name)


def track(config: Config, project: Path, name: str, version: str) -> str:
    """Begin a tracking run called `name` for a data version; its id."""
    from keepfit.tracking import mlflow

    return mlflow.start(store(config, project), name, {"keepfit.data": version})


def current(config: Config, project: Path) -> str | None:
    """The version that is champion, if there is one."""
    from keepfit.tracking import mlflow

    return mlflow.alias(store(config, project), "champion")


def folder(config: Config, project: Path, version: str) -> Path:
    """The bundle folder of a version, fetched once."""
    from keepfit.tracking import mlflow

    return mlflow.download(store(config, project), version, project / settings.WORK / "models")


def pointer(config: Config, project: Path) -> pointers.Pointer:
    """Asks, without MLflow, which version carries an alias or a number now."""
    return pointers.pointer(config.tracking, project / settings.WORK, config.project.name)


def chosen(config: Config, project: Path, version: str | None, threads: int = 1) -> tuple[str, runtime.Runtime]:
    """The number and the runtime of a version, or of the champion. Raises TrackingError where there is none."""
    found = pointer(config, project)(version or "champion")
    if found:
        return found.version, load(config, project, found.fetch(), threads)
    number = version or current(config, project)
    if number is None:
        raise TrackingError(
            f"'{config.project.name}' has no champion yet. Next: keepfit run, or 'keepfit promote VERSION --reason …'."
        )
    return number, load(config, project, folder(config, project, number), threads)


class Asked(NamedTuple):
    """The champion's answers for some rows; or None, and why it cannot be compared with. Had it `seen` the rows?"""

    output: Output | None
    why: str = ""
    seen: Check | None = None


def answers(config: Config, project: Path, data: Dataset, before: Dataset | None = None) -> Asked:
    """The champion asked about the rows of a Dataset.

    Where observations are an input, those of `before` are told to it, and none that it got after its training:
    it is to know what the challenger knew.
    """
    version = current(config, project)
    if version is None:
        return Asked(None)
    made = load(config, project, folder(config, project, version), later=False)
    if (made.schema.task, made.schema.classes) != (data.schema.task, data.schema.classes):
        differs = f"predicts something else ({made.schema.task}, {made.schema.classes})"
        return Asked(None, f"champion version {version} {differs}")
    try:
        frame, _ = prepare(data.frame, made.schema, made.hooks)
    except DataError as error:  # a column of the champion's is gone
        return Asked(None, f"champion version {version} cannot be asked: {error}")
    known = [] if before is None or not made.schema.observes else [prepare(before.frame, made.schema, made.hooks)[0]]
    rows = pl.concat([*known, asking(frame, made.schema)])
    output = made.predict(from_frame(rows, made.schema))
    return Asked(output[slice(len(rows) - len(frame), None)], "", _seen(version, made, data, frame))


def _seen(version: str, made: runtime.Runtime, data: Dataset, typed: pl.DataFrame) -> Check:
    """Was the champion trained on some of the rows that it is now compared on? That would favour it."""
    name, file = "the champion was not trained on the test rows", made.bundle.path / trace.FILE
    if made.bundle.manifest["data"].get("test_version") == data.version:
        return Check(name, "passed", 0, 0, "the same test rows as it was judged by")
    if not file.is_file():
        return Check(name, "not checked", detail=f"version {version} does not say which rows it was trained on")
    again, asked = trace.known(np.load(file, allow_pickle=False), typed, made.schema)
    if not asked:
        return Check(name, "not checked", detail="too few rows to tell")
    told = f"{again:,} of {asked:,} test rows were among the training rows of version {version}"
    if not again:
        return Check(name, "passed", 0.0, 0, told)
    told += (
        ", which the comparison flatters: data.random_state, test_size, group or test were others then. Set them back, "
        "or promote by hand what is better on new rows"
    )
    return Check(name, "failed", again / asked, 0, told, "warning")


def score_file(
    config: Config, project: Path, source: Path, output: Path, version: str | None, progress: Tell
) -> dict[str, Any]:
    """Score a file as a stream with a version, or with the champion; the report of it."""
    number, made = chosen(config, project, version, threads=0)
    report = batch.predict(made, source, output, data=from_project(config.data, project), progress=progress)
    return {**report, "version": number, "model": config.project.name}


def score_frame(config: Config, project: Path, frame: Any, version: str | None) -> Any:
    """A frame of the kind of `frame`, with the prediction columns beside its own."""
    return batch.frame(chosen(config, project, version)[1], frame)


def score_ahead(
    config: Config, project: Path, output: Path | None, horizon: int | None, version: str | None, progress: Tell
) -> Any:
    """The forecasts of all known series: written to `output`, with a report; or as a polars frame."""
    number, made = chosen(config, project, version, threads=0)
    if output is None:
        return batch.following(made, horizon)
    return {**batch.ahead(made, output, horizon, progress), "version": number, "model": config.project.name}


def promote(config: Config, project: Path, version: str, reason: str, by: str = "") -> Decision:
    """Make a version the champion after it was loaded and tried. Reason and author (default: git's) are recorded."""
    from keepfit.tracking import registry

    _reasoned(reason)
    judged = [d.verdict for d in history(config, project) if d.version == version and d.verdict.checks]
    proof = dataclasses.replace(judged[-1], subject="promotion by hand; the gate had said") if judged else None
    tried = lambda path: attempt(config, project, path)
    return registry.promote(store(config, project), version, reason, tried, proof, by)


def rollback(config: Config, project: Path, to: str | None, reason: str, by: str = "") -> Decision:
    """Back to version `to` or the previous champion, after it was loaded and tried."""
    from keepfit.tracking import registry

    _reasoned(reason)
    return registry.rollback(store(config, project), lambda path: attempt(config, project, path), to, reason, by)


def history(config: Config, project: Path) -> list[Decision]:
    """Every decision, oldest first; from a shared registry those of others too."""
    from keepfit.tracking import decisions

    if glance.own(config.tracking):
        return decisions.history(project / settings.WORK)
    from keepfit.tracking import registry

    return registry.history(store(config, project))


def versions(config: Config, project: Path) -> list[dict[str, Any]]:
    """The registered versions, newest first."""
    from keepfit.tracking import mlflow

    first = (config.gate.metric, *config.goals)
    found = mlflow.versions(store(config, project))
    return [{**version, "metrics": metrics.ranked(version["metrics"], first)} for version in found]


def _reasoned(reason: str) -> None:
    if not reason.strip():
        raise ConfigError("Give a reason: it is written down with the decision, for whoever asks later.")


def attempt(config: Config, project: Path, path: Path) -> None:
    """Verify, load and ask a bundle once. Raises BundleError when it does not answer."""
    made = load(config, project, path)
    output, _ = made.rows([dict.fromkeys((c.name for c in made.schema.inputs), None)])
    if len(output) != 1:
        raise BundleError(f"The model in {path} gave {len(output)} answers to one row; it is not put to work.")
