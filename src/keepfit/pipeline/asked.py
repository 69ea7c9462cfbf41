"""Is everything known that the config names? Asked when the data are understood, and not after the training."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from datetime import UTC, datetime
from pathlib import Path

from keepfit import engine
from keepfit.config import Config
from keepfit.errors import ConfigError, KeepfitError
from keepfit.extras import importable, nearest
from keepfit.models import catalogue, metrics
from keepfit.models.trust import TRUSTED
from keepfit.monitoring import trigger
from keepfit.pipeline import given, measure
from keepfit.types import Schema

AUTO = ("nb_linear", "logistic_regression", "ridge", "lightgbm", "extra_trees")  # what `type: auto` may try
STORED = ("sklearn", "lightgbm", "keepfit")  # packages whose estimators are stored without a user's trust


def known(config: Config, project: Path, meaning: Schema, columns: list[str]) -> None:
    """Raises ConfigError for all that the config names and nobody knows, one line each."""
    mistakes = [*_names(config, meaning, columns), *_schedule(config), *_estimator(config, project, meaning.task)]
    mistakes += [*_features(config, project, meaning)]
    if mistakes:
        raise ConfigError("\n".join(mistakes))


def _names(config: Config, meaning: Schema, columns: list[str]) -> Iterator[str]:
    own = {name for name, metric in metrics.METRICS.items() if meaning.task in metric.tasks}
    told = sorted(own | {short for short, name in metrics.ALIASES.items() if name in own})
    scores = [name for name in told if metrics.METRICS[metrics.ALIASES.get(name, name)].ranks]
    models = sorted(["auto", *catalogue.CATALOGUE, *catalogue.ALIASES])
    asked: tuple[tuple[str, Iterable[str], list[str]], ...] = (
        ("model.type", [config.model.type] if ":" not in config.model.type else (), models),
        ("tuning.metric", [config.tuning.metric], ["auto", *scores]),
        ("gate.metric", [config.gate.metric], ["auto", *scores]),
        ("goals", config.goals, [*told, *measure.NAMES]),
        ("engine", [config.engine], list(engine.ENGINES)),
        ("gate.slices", config.gate.slices, columns),
        ("evaluation.slices", config.evaluation.slices or (), columns),
        ("monitoring.slices", config.monitoring.slices or (), columns),
        ("monitoring.time", [config.monitoring.time] if config.monitoring.time else (), columns),
    )
    for key, names, there in asked:
        for name in names:
            if name not in there:
                yield f"{key}: unknown name '{name}'. {nearest(name, there)}Known: {', '.join(there)}"


def _features(config: Config, project: Path, meaning: Schema) -> Iterator[str]:
    """What the features of a role cannot be made with, such as a backbone that is not there."""
    try:
        given.asked(config, project, meaning)
    except KeepfitError as error:
        yield str(error)


def _schedule(config: Config) -> Iterator[str]:
    if config.retraining.schedule:
        try:
            trigger.following(config.retraining.schedule, datetime.now(UTC))
        except ConfigError as error:
            yield str(error)


def _estimator(config: Config, project: Path, task: str) -> Iterator[str]:
    """What the estimator does not take, does not do, or is not trusted with. Its library is imported only if asked."""
    name, parameters = config.model.type, config.model.parameters
    if name != "auto" and ":" not in name and catalogue.ALIASES.get(name, name) not in catalogue.CATALOGUE:
        return  # told already
    try:
        with importable(project):  # an estimator of the user's own stands beside keepfit.yaml
            if name == "auto":
                tried = [one for one in AUTO if task in catalogue.CATALOGUE[one].factory]
                _ = parameters and catalogue.shared(parameters, tried, task)
                return
            catalogue.row(name, task)
            if parameters:
                catalogue.check(name, task, parameters)
            if ":" in name:
                yield from _trusted(config, task)
    except KeepfitError as error:
        yield str(error)
    except Exception as error:  # the user's code may raise anything
        if ":" not in name:
            raise
        yield f"model.type: {name} cannot be imported: {type(error).__name__}: {error}"


def _trusted(config: Config, task: str) -> Iterator[str]:
    made = catalogue.factory(config.model.type, task)
    full = f"{made.__module__}.{made.__qualname__}"
    if made.__module__.partition(".")[0] not in STORED and full not in {*TRUSTED, *config.model.trusted}:
        yield (
            f"model.type: {full} is not among the estimators that keepfit may rebuild from a stored model. "
            f"If you trust it, say so: model: {{trusted: [{full}]}}"
        )
