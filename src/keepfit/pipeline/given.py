"""What the config says of the features of a role, as options of its file; and rows made ready with them."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from keepfit.config import WORK, Config
from keepfit.extras import load, pick
from keepfit.features import ahead
from keepfit.features.values import Columns
from keepfit.models import catalogue
from keepfit.models.fitted import Fitted, Output
from keepfit.progress import Tell
from keepfit.types import Schema

# role → function(its section of config.features, project) → options
OPTIONS: dict[str, str] = {"image": "keepfit.models.backbones:options"}
# role of all features → function(model, columns, answers, path) that writes the whole model as one ONNX graph
GRAPHS: dict[str, str] = {"image": "keepfit.models.fused:write"}
FUSED = "model.onnx"


def asked(config: Config, project: Path, schema: Schema) -> dict[str, dict[str, Any]]:
    """Role → options as the config says. Raises ConfigError as the functions of OPTIONS do."""
    roles = [role for role in OPTIONS if any(column.role == role for column in schema.features)]
    return {role: _asked(config, project, role) for role in roles}


def _asked(config: Config, project: Path, role: str) -> dict[str, Any]:
    """As the estimator wants the role's features, where it wants them in its own way."""
    section, own = getattr(config.features, role), catalogue.asked(config.model.type)
    if role in own:
        return dict(load(own[role], catalogue.KEY)(section, project, config.model.parameters))
    return dict(pick(OPTIONS, role, "features")(section, project))


def options(config: Config, project: Path, schema: Schema, known: Columns) -> dict[str, dict[str, Any]]:
    """Role → options for all folds, settled on the training rows `known`. Raises ConfigError as `asked`."""
    return ahead.settled(known, schema, asked(config, project, schema))


def seen(
    columns: Columns, schema: Schema, found: Mapping[str, Mapping[str, Any]], project: Path, tell: Tell
) -> Columns:
    """Columns with all that no fold changes worked out; what was worked out before is found in the project's cache."""
    return ahead.ahead(columns, schema, found, project / WORK / "cache", tell)


def fused(fitted: Fitted, columns: Columns, expected: Output, schema: Schema, folder: Path) -> dict[str, Path]:
    """The model as one graph for other tools, as a file of the bundle, where it has that form."""
    roles = {column.role for column in schema.features}
    if len(roles) != 1 or not roles <= GRAPHS.keys():
        return {}
    path = pick(GRAPHS, roles.pop(), "model.type")(fitted, columns, expected, folder / FUSED)
    return {FUSED: path} if path else {}
