"""keepfit.yaml as frozen values: the only reader of the config file and of the environment.

All mistakes are reported at once, each with its line and the nearest known name. `${VAR}` (or
`${VAR:-default}`) is read from the environment when the file is loaded; what is recorded with a run
keeps `${VAR}`, so that no secret reaches a bundle, a log or the tracking server.

>>> config = parse({"data": {"source": "sklearn:iris"}, "model": {"type": "random_forest"}})
>>> config.model.type, config.tuning.cv
('random_forest', 5)
>>> parse({"data": {"sorce": "a.csv"}})
Traceback (most recent call last):
    ...
keepfit.errors.ConfigError: keepfit.yaml has 2 mistakes:
  data.source: is missing
  data.sorce: unknown key. Did you mean 'source'? Known: source, query, test, target, test_size, ...
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import yaml
from pydantic import Field, PrivateAttr, ValidationError, field_validator

from keepfit.errors import ConfigError
from keepfit.extras import nearest
from keepfit.sections import (
    Action,
    Alert,
    Canary,
    Data,
    Evaluation,
    Expectation,
    Features,
    Forecast,
    Gate,
    ImageFeatures,
    Leakage,
    Log,
    Model,
    Monitoring,
    ProjectSection,
    Retraining,
    Section,
    Serving,
    Tracking,
    Trial,
    Tuning,
)

__all__ = [
    "NAMES",
    "VARIABLE",
    "WORK",
    "Action",
    "Alert",
    "Canary",
    "Config",
    "Data",
    "Evaluation",
    "Expectation",
    "Features",
    "Forecast",
    "Gate",
    "ImageFeatures",
    "Leakage",
    "Log",
    "Model",
    "Monitoring",
    "ProjectSection",
    "Retraining",
    "Section",
    "Serving",
    "Tracking",
    "Trial",
    "Tuning",
    "environment",
    "find",
    "goal",
    "load",
    "masked",
    "parse",
    "put",
    "read",
    "recorded",
    "schema",
]

NAMES = ("keepfit.yaml", "config/config.yaml")
WORK = ".keepfit"
VARIABLE = re.compile(r"\$\{([A-Za-z_][A-Za-z0-9_]*)(?::-([^}]*))?\}")  # ${NAME} or ${NAME:-default}
NO_NAME = re.compile(r"[^A-Za-z0-9_]")  # what no variable's name has
SECRETS = (("serving", "keys"), ("serving", "admin_key"))  # no message tells what stands there
GOAL = re.compile(r"^\s*(>=|<=|>|<)\s*([-+0-9.eE]+)\s*$")


class Config(Section):
    """keepfit.yaml."""

    version: Literal[1] = 1
    project: ProjectSection = ProjectSection()
    task: Literal["auto", "classification", "regression", "forecast"] = "auto"
    data: Data
    checks: dict[str, Expectation] = Field({})
    features: Features = Features()
    model: Model = Model()
    tuning: Tuning = Tuning()
    forecast: Forecast = Forecast()
    evaluation: Evaluation = Evaluation()
    goals: dict[str, str] = Field({}, description='metric → ">= 0.9"; a model that misses one is never promoted')
    gate: Gate = Gate()
    tracking: Tracking = Tracking()
    serving: Serving = Serving()
    monitoring: Monitoring = Monitoring()
    retraining: Retraining = Retraining()
    alerts: list[Alert] = Field([], description="where alarms are sent")
    engine: str = "local"
    _written: Mapping[str, Any] = PrivateAttr(default_factory=dict)  # as in the file: ${VAR} unfilled
    _filled: Mapping[str, str] = PrivateAttr(default_factory=dict)  # variable → what the environment gave for it

    @field_validator("goals", mode="before")
    @classmethod
    def _goals(cls, goals: Any) -> Any:
        for name, goal in goals.items() if isinstance(goals, Mapping) else ():
            if not GOAL.match(str(goal)):
                raise ValueError(f"'{name}: {goal}' is no goal; write '{name}: \">= {goal or 0.9}\"'")
        return goals


class Loader(yaml.SafeLoader):
    """YAML in which only true and false are truth values, as in version 1.2: `on`, `yes` and `no` are words."""

    yaml_implicit_resolvers = {  # noqa: RUF012 - the library's own name
        first: [pair for pair in pairs if pair[0] != "tag:yaml.org,2002:bool"]
        for first, pairs in yaml.SafeLoader.yaml_implicit_resolvers.items()
    }


Loader.add_implicit_resolver(
    "tag:yaml.org,2002:bool", re.compile(r"(?:true|True|TRUE|false|False|FALSE)$"), list("tTfF")
)


def _yaml(text: str) -> Any:
    return yaml.load(text, Loader=Loader)  # noqa: S506 - a safe one


def goal(text: str) -> tuple[str, float]:
    """The comparison and the number of a goal.

    >>> goal(">= 0.90")
    ('>=', 0.9)
    """
    found = GOAL.match(text)
    if not found:
        raise ConfigError(f"'{text}' is no goal; write '>= 0.9'")
    return found[1], float(found[2])


def environment(name: str) -> str | None:
    """A variable of the environment; None when it is unset or blank."""
    return os.environ.get(name, "").strip() or None


def find(folder: Path) -> Path:
    """The config file of a project folder."""
    for name in NAMES:
        if (folder / name).is_file():
            return folder / name
    raise ConfigError(
        f"No {' or '.join(NAMES)} in {folder}. Make one with 'keepfit init', or name the project's folder with -C."
    )


def load(folder: Path | str = ".", sets: Sequence[str] = ()) -> Config:
    """The config of a project folder, with `--set key=value` applied and `${VAR}` filled in."""
    path = find(Path(folder))
    values, lines = read(path)
    for assignment in sets:
        put(values, assignment)
    name = path.parent if path.name == "keepfit.yaml" else path.parent.parent
    section = values.setdefault("project", {})
    if isinstance(section, dict):
        section.setdefault("name", name.resolve().name)
    return parse(values, lines, str(path))


def read(path: Path) -> tuple[dict[str, Any], dict[tuple[str, ...], int]]:
    """The values of a YAML file, and the line of each key."""
    try:
        text = path.read_text(encoding="utf-8-sig")
        values = _yaml(text)
        lines = _lines(yaml.compose(text, Loader=Loader))
    except UnicodeDecodeError as error:
        raise ConfigError(f"{path} is not UTF-8 text (byte {error.start}). Save it as UTF-8.") from error
    except yaml.YAMLError as error:
        raise ConfigError(f"{path} is not YAML: {error}") from error
    if not isinstance(values, dict):
        raise ConfigError(f"{path} holds no sections. It needs at least 'data: {{source: …}}'.")
    return values, lines


def _lines(node: Any, path: tuple[str, ...] = ()) -> dict[tuple[str, ...], int]:
    found: dict[tuple[str, ...], int] = {}
    if isinstance(node, yaml.MappingNode):
        for key, value in node.value:
            inner = (*path, str(key.value))
            if inner in found:
                raise ConfigError(f"line {key.start_mark.line + 1}: '{'.'.join(inner)}' stands twice.")
            found[inner] = key.start_mark.line + 1
            found.update(_lines(value, inner))
    return found


def put(values: dict[str, Any], assignment: str) -> None:
    """Apply one `key.inner=value`; the value is read as YAML, or is text where it is none (`>= 0.9`)."""
    key, equals, text = assignment.partition("=")
    if not equals or not key.strip():
        raise ConfigError(f"--set {assignment}: write it as --set key=value, as in --set data.test_size=0.3")
    *path, last = key.strip().split(".")
    for name in path:
        values = values.setdefault(name, {})
        if not isinstance(values, dict):
            raise ConfigError(f"--set {assignment}: '{name}' is a value, not a section")
    try:
        values[last] = _yaml(text)
    except yaml.YAMLError:
        values[last] = text


def parse(
    values: Mapping[str, Any], lines: Mapping[tuple[str, ...], int] | None = None, where: str = "keepfit.yaml"
) -> Config:
    """Plain values as a Config; every mistake at once."""
    used: dict[str, str | None] = {}
    filled = _fill(values, used)
    mistakes = [f"  ${{{name}}} is not set in the environment" for name, value in used.items() if value is None]
    try:
        config = Config.model_validate(filled)
    except ValidationError as error:
        mistakes += [_mistake(e, lines or {}, values) for e in error.errors()]
    if mistakes:
        count = "1 mistake" if len(mistakes) == 1 else f"{len(mistakes)} mistakes"
        raise ConfigError(f"{where} has {count}:\n" + "\n".join(mistakes))
    config._written, plain = _veiled(values)
    config._filled = {**{name: value for name, value in used.items() if value}, **plain}
    return config


def _veiled(values: Mapping[str, Any]) -> tuple[Mapping[str, Any], dict[str, str]]:
    """The values as they may be stored, and what that hides: keys of the server that stand in the file itself.

    A bundle that is served by itself so asks for them in the environment, and is never open for want of them.
    """
    serving, plain = values.get("serving"), dict[str, str]()
    if not isinstance(serving, Mapping):
        return values, plain

    def veil(name: str, key: Any) -> Any:
        if not isinstance(key, str) or not key.strip():
            return key
        if VARIABLE.search(key):
            return VARIABLE.sub(r"${\1}", key)  # without what is written for want of it
        plain[name] = key
        return f"${{{name}}}"

    hidden: dict[str, Any] = {}
    if "admin_key" in serving:
        hidden["admin_key"] = veil("KEEPFIT_ADMIN_KEY", serving["admin_key"])
    if isinstance(keys := serving.get("keys"), Mapping):
        hidden["keys"] = {who: veil(f"KEY_OF_{re.sub(NO_NAME, '_', str(who)).upper()}", keys[who]) for who in keys}
    return {**values, "serving": {**serving, **hidden}}, plain


def _fill(value: Any, used: dict[str, str | None]) -> Any:
    """`value` with the variables filled in; `used` gets what each was in the environment, None where it is missed."""
    if isinstance(value, Mapping):
        return {k: _fill(v, used) for k, v in value.items()}
    if isinstance(value, list):
        return [_fill(v, used) for v in value]
    if not isinstance(value, str):
        return value
    used.update({v[1]: os.environ.get(v[1], None if v[2] is None else "") for v in VARIABLE.finditer(value)})
    return VARIABLE.sub(lambda found: os.environ.get(found[1]) or found[2] or "", value)


def _mistake(error: Any, lines: Mapping[tuple[str, ...], int], values: Mapping[str, Any]) -> str:
    path = tuple(str(part) for part in error["loc"])
    line = next((f" (line {lines[path[:n]]})" for n in range(len(path), 0, -1) if path[:n] in lines), "")
    what = error["msg"].removeprefix("Value error, ")
    if error["type"] == "missing":
        what = "is missing"
    elif error["type"] == "extra_forbidden":
        known = _keys(path[:-1])
        shown = ", ".join(known[:5]) + (", ..." if len(known) > 5 else "")
        what = f"unknown key. {nearest(path[-1], known)}Known: {shown}"
    elif "input" in error and not isinstance(error["input"], (Mapping, list)) and path[:2] not in SECRETS:
        written = _written(values, path)
        secret = isinstance(written, str) and VARIABLE.search(written)
        what = f"{what[0].lower()}{what[1:]}, not {written if secret else error['input']!r}"
    return f"  {'.'.join(path)}{line}: {what}"


def _written(value: Any, path: Sequence[str]) -> Any:
    """What the file says at `path`, `${VAR}` unfilled; or at the part of it that the file has."""
    for part in path:
        if isinstance(value, Mapping) and part in value:
            value = value[part]
        elif isinstance(value, list) and part.isdigit() and int(part) < len(value):
            value = value[int(part)]
    return value


def _keys(path: tuple[str, ...]) -> list[str]:
    """Known keys of the section at `path`."""
    section: Any = Config
    for name in path:
        known = getattr(section, "model_fields", {}).get(name)
        section = Expectation if path[0] == "checks" else known.annotation if known else section
    return list(section.model_fields)


def recorded(config: Config) -> dict[str, Any]:
    """The resolved config as plain values, for bundles and runs; `${VAR}` stays unfilled."""
    dumped: dict[str, Any] = _unfill(config.model_dump(mode="json"), config._written)
    return dumped


def _unfill(value: Any, written: Any) -> Any:
    if isinstance(written, str) and VARIABLE.search(written):
        return written
    if isinstance(value, dict) and isinstance(written, Mapping):
        return {k: _unfill(v, written.get(k)) for k, v in value.items()}
    if isinstance(value, list) and isinstance(written, list):
        return [_unfill(*pair) for pair in zip(value, written, strict=True)]
    return value


def masked(config: Config, value: Any) -> Any:
    """Text, or nested plain values, in which what `${VAR}` brought is `${VAR}` again: fit to be stored.

    Values of under four characters are no secrets, and stay.
    """
    if isinstance(value, Mapping):
        return {k: masked(config, v) for k, v in value.items()}
    if isinstance(value, (list, tuple)):
        return [masked(config, v) for v in value]
    if isinstance(value, str):
        for name, secret in sorted(config._filled.items(), key=lambda pair: -len(pair[1])):
            value = value.replace(secret, f"${{{name}}}") if len(secret) > 3 else value
    return value


def schema() -> dict[str, Any]:
    """The JSON Schema of keepfit.yaml, for editors."""
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **Config.model_json_schema()}
