"""The Schema of a frame: the role of each column, and the task.

>>> from keepfit.config import Data
>>> frame = pl.DataFrame({"age": [20, 31] * 20, "plan": ["a", "b"] * 20, "paid": ["yes", "no"] * 20})
>>> schema = infer(frame, Data(source="x.csv", target="paid"))
>>> [(c.name, c.role) for c in schema.columns], schema.task, schema.classes
([('age', 'number'), ('plan', 'category'), ('paid', 'target')], 'classification', ('no', 'yes'))
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping

import polars as pl

from keepfit.config import Data, Forecast
from keepfit.data import forecast as ahead
from keepfit.data import roles, target
from keepfit.data.columns import look
from keepfit.errors import ConfigError, DataError
from keepfit.extras import nearest
from keepfit.types import Column, Schema

FEWEST_ROWS = 10
FORMED = ("date", "image")  # roles that may say more behind a colon
NOTHING: Mapping[str, str] = {}
FORECAST = Forecast()
# config key → the role it gives, and what `why` says
KEYS = {
    "time": ("time", "data.time: the split follows its order"),
    "known_at": ("time", "data.known_at: when a row became known"),
    "group": ("group", "data.group: its rows stay on one side of a split"),
}


def infer(
    frame: pl.DataFrame, data: Data, task: str = "auto", hooks: Mapping[str, str] = NOTHING,
    forecast: Forecast = FORECAST,
) -> Schema:  # fmt: skip
    """The Schema of `frame`, whose values may all be text (CSV) or typed.

    `hooks` maps columns that features.py made to the functions that made them. What the config
    says of a column wins over what is found in it. Raises ConfigError, with all mistakes, for
    names that the data do not have and roles that are not known; DataError for fewer than ten
    rows and for targets that cannot be predicted. `forecast` says what is forecast, and how far.
    """
    _check_names(frame, data)
    if len(frame) < FEWEST_ROWS:
        rows = "1 row" if len(frame) == 1 else f"{len(frame)} rows"
        raise DataError(f"{data.source} has {rows}. A model needs at least {FEWEST_ROWS} to be trained and tested.")
    return MEANINGS.get(task, _table)(frame, data, task, hooks, forecast)


def _table(frame: pl.DataFrame, data: Data, task: str, hooks: Mapping[str, str], forecast: Forecast) -> Schema:
    """The Schema of rows that stand for themselves."""
    tokens = tuple(data.missing)
    given = {getattr(data, key): key for key in reversed(KEYS) if getattr(data, key) is not None}
    columns: list[Column | None] = []
    for series in frame.iter_columns():
        if series.name == data.target:
            columns.append(None)
        elif series.name in given:
            columns.append(_keyed(series, given[series.name], tokens, data.columns.get(series.name, "")))
        else:
            found = roles.column(series, tokens, data.columns.get(series.name))
            columns.append(dataclasses.replace(found, hook=hooks.get(series.name)))
    return _with_target(frame, data, task, _keep_one_feature(columns, data))


def _ahead(frame: pl.DataFrame, data: Data, task: str, hooks: Mapping[str, str], forecast: Forecast) -> Schema:
    """The Schema of rows that follow each other, with their rhythm."""
    if data.target is None:
        raise ConfigError("task: forecast needs data.target. Name the column to forecast: 'data: {target: sales}'.")
    facts = look(frame[data.target], tuple(data.missing))
    why = ahead.target(facts)
    column = roles.describe(facts, "past", f"data.target: {why}", tuple(data.missing))
    columns = tuple(column if c is None else c for c in ahead.columns(frame, data, forecast, hooks))
    return ahead.complete(frame, Schema(columns, task, data.target, why_task=why), data, forecast)


# task → what its columns mean
MEANINGS = {"forecast": _ahead}


def _keyed(series: pl.Series, key: str, tokens: tuple[str, ...], declared: str) -> Column:
    role, why = KEYS[key]
    form = declared.partition(":")[2]
    facts = look(series, tokens, (form,) if form else None)
    if role == "time" and facts.kind not in ("date", "int", "float"):
        raise DataError(
            f"data.{key}: column '{series.name}' holds no dates that keepfit can read, such as '{facts.example}'. "
            f"Name its format with data.columns: {{{series.name}: 'date:%d/%m/%Y'}} (strptime directives)."
        )
    return roles.describe(facts, role, why, tokens)


def _keep_one_feature(columns: list[Column | None], data: Data) -> list[Column | None]:
    """A frame whose only columns count up (1, 2, 3 …) means them as numbers, not as ids."""
    if any(c is not None and c.role in ("number", "category", "text", "image", "date") for c in columns):
        return columns
    counters = [c for c in columns if c is not None and c.role == "id" and c.why == "counts the rows"]
    if not counters:
        return columns
    why = "counts the rows, but is the only column there is to learn from"
    return [dataclasses.replace(c, role="number", why=why) if c in counters and c else c for c in columns]


def _with_target(frame: pl.DataFrame, data: Data, task: str, columns: list[Column | None]) -> Schema:
    if data.target is None:
        return Schema(tuple(c for c in columns if c is not None), "none", why_task="no data.target is set")
    tokens = tuple(data.missing)
    facts = look(frame[data.target], tokens)
    declared = data.columns.get(data.target)
    if task == "auto" and declared is not None:
        task = "regression" if declared == "number" else "classification"
    found, why = target.task(facts, task)
    labels = target.classes(facts, tokens) if found == "classification" else ()
    column = roles.describe(facts, "target", f"data.target: {why}", tokens)
    column = dataclasses.replace(column, levels=tuple(roles.levels(facts, tokens)[: roles.LEVELS]) if labels else ())
    return Schema(tuple(column if c is None else c for c in columns), found, data.target, labels, why)


def _check_names(frame: pl.DataFrame, data: Data) -> None:
    """Every name in the data section is a column, every role is a role."""
    mistakes = []
    asked = {f"data.{key}": getattr(data, key) for key in ("target", *KEYS) if getattr(data, key) is not None}
    asked.update({f"data.columns.{name}": name for name in data.columns})
    known = frame.columns
    shown = ", ".join(known[:30]) + (f", … ({len(known):,} in all)" if len(known) > 30 else "")
    for key, name in asked.items():
        if name not in known:
            mistakes.append(f"  {key}: the data have no column '{name}'. {nearest(name, known)}Columns: {shown}")
    mistakes += _clashes(data)
    for name, role in data.columns.items():
        wrong = _role_mistake(name, role, data)
        mistakes += [f"  data.columns.{name}: {wrong}"] if wrong else []
    if mistakes:
        raise ConfigError("The config and the data do not fit together:\n" + "\n".join(mistakes))


def _clashes(data: Data) -> list[str]:
    """Keys that name the same column; only time and known_at may."""
    found = []
    for key in KEYS:
        name = getattr(data, key)
        if name is not None and name == data.target:
            found.append(f"  data.{key}: '{name}' is the target")
    if data.group is not None and data.group in (data.time, data.known_at):
        found.append(f"  data.group: '{data.group}' is the time too, so each moment would be a group")
    return found


def _role_mistake(name: str, role: str, data: Data) -> str | None:
    plain, _, form = role.partition(":")
    if plain not in roles.ROLES or (form and plain not in FORMED):
        for key in ("time", "group", "target"):
            if plain == key:
                return f"'{key}' is not set here: write 'data: {{{key}: {name}}}'"
        known = f"{', '.join(roles.ROLES)}, date:FORMAT, image:FOLDER"
        return f"unknown role '{role}'. {nearest(plain, roles.ROLES)}Known: {known}"
    if name == data.target and plain not in ("number", "category"):
        return f"the target cannot be '{role}': declare it number (regression) or category (classification)"
    return None
