"""Data made ready for the stages: understood, hooked, checked, split, and as arrays."""

from __future__ import annotations

import dataclasses
import hashlib
import os
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import polars as pl
from numpy.typing import NDArray

from keepfit import durable
from keepfit.config import Config, Data, masked, parse, put
from keepfit.data import (
    decimal,
    forecast,
    gallery,
    image_paths,
    leakage,
    read,
    schema,
    split,
    template,
    validate,
    version,
    wide,
)
from keepfit.data.conform import asking, conform
from keepfit.errors import ConfigError, DataError
from keepfit.features import hooks
from keepfit.features.frame import from_frame
from keepfit.features.prepare import derive, prepare, seen
from keepfit.features.values import Columns
from keepfit.models import tasks
from keepfit.models.fitted import Output
from keepfit.pipeline import asked, templates
from keepfit.types import Check, Column, Dataset, Schema, Split, Verdict

HOOKS = "features.py"
EXAMPLE_ROWS = 3
PROOF_ROWS = 10_000  # the promise of the parity check
UNSEEN = 0.01  # share of test rows with a category unknown in training that is worth a warning
LEVELS = 1000  # a schema lists no more levels than this


class Rows(NamedTuple):
    """A Dataset as what models take: the conformed frame, its Columns, and the target (n,)."""

    frame: pl.DataFrame
    columns: Columns
    y: NDArray[Any]  # labels as text, or float64


class Part(NamedTuple):
    """Rows with a known target: as they were read, and conformed."""

    data: Dataset
    typed: pl.DataFrame

    def only(self, rows: NDArray[np.bool_]) -> Part:
        """The rows for which the mask (n,) is true."""
        return self.at(np.flatnonzero(rows))

    def at(self, rows: NDArray[np.intp]) -> Part:
        """The rows at these places, in this order."""
        if np.array_equal(rows, np.arange(self.typed.height)):
            return self
        return Part(dataclasses.replace(self.data, frame=self.data.frame[rows]), self.typed[rows])


def examine(config: Config, project: Path, now: datetime | None = None) -> tuple[Split, Verdict]:
    """The data split into training and test, and everything that is wrong with them.

    With `now`, without the rows that became known (data.known_at) only after that.
    """
    if config.data.target is None:
        raise ConfigError("data.target is not set. Name the column to predict, as in 'data: {target: churn}'.")
    functions = functions_of(config, project)
    frame, origin, config, shape = source(config, project)
    meaning = understand(frame, config, functions)
    train, verdict = _part(frame, origin, meaning, config, functions, now)
    if not train.typed.height:
        raise DataError(_nothing_left(origin, verdict))
    verdict = Verdict("data", shape) + verdict
    verdict += Verdict("data", (*_suspects(frame, config.data), *split.history(train.typed, meaning)))
    asked.known(config, project, meaning, train.typed.columns)
    verdict += hooks.rowwise(seen(train.typed, meaning), functions)
    official = config.data.test or origin.get("test")
    if official:
        frame, origin, _, shape = source(config, project, official, train)
        test, found = _part(frame, origin, meaning, config, functions, now)
        found = Verdict("test", shape) + found
        verdict += Verdict("test", tuple(dataclasses.replace(c, name=f"test: {c.name}") for c in found.checks))
        how = "official test set" if config.data.test else "official test set, found in the source"
        verdict += Verdict("split", (Check("split.official", "passed", test.typed.height, None, f"{how}: {official}"),))
    else:
        if not meaning.features:
            raise DataError(f"{config.data.source}: {validate.nothing(meaning)}.")
        late, how = split.split(train.typed, meaning, config.data)
        verdict += Verdict("split", (split.fair(late, train.typed, meaning, config.data),))
        train, test = train.only(~late), train.only(late)
    train = train.only(~leakage.known_too_late(train.typed, test.typed, config.data))
    named = (train.data.frame, test.data.frame)
    verdict += leakage.leakage(train.typed, test.typed, meaning, config.data, named)
    told = of_training(meaning, train.typed)
    verdict += Verdict("test", tuple(_unseen(told, test.typed)))
    return Split(_versioned(train, told), _versioned(test, told), how), dataclasses.replace(verdict, subject="data")


def source(
    config: Config, project: Path, name: str | None = None, after: Part | None = None
) -> tuple[pl.DataFrame, Mapping[str, Any], Config, tuple[Check, ...]]:
    """The frame of data.source (or of `name`) in the shape of the task, its origin, the config with the names that the
    columns then have, and what was made of it. A test set without times goes on where the rows of `after` end."""
    frame, origin = read.read(config.data, project, name)
    if config.task not in wide.SHAPES:
        return frame, origin, config, ()
    ends = None if after is None else wide.ends(after.typed, after.data.schema)
    data = config.data if ends is None else config.data.model_copy(update={"time": ends.rhythm.time})
    made = wide.SHAPES[config.task](frame, data, config.forecast, ends)
    return made.frame, origin, config.model_copy(update={"data": made.data, "forecast": made.forecast}), made.said


def _part(
    frame: pl.DataFrame, origin: Mapping[str, Any], meaning: Schema, config: Config,
    functions: Mapping[str, hooks.Hook], now: datetime | None,
) -> tuple[Part, Verdict]:  # fmt: skip
    if meaning.target not in frame.columns:
        raise DataError(f"The test set {config.data.test} has no column '{meaning.target}', which is data.target.")
    conformed = prepare(frame, meaning, functions)
    typed, undecoded = gallery.decoded(conformed[0], meaning)
    conformed = typed, conformed[1] + undecoded
    verdict = validate.validate(frame, meaning, config.checks, config.data, conformed) + validate.left_out(origin)
    whole = Part(Dataset(frame, meaning, "", masked(config, origin)), conformed[0])
    kept = conformed[0][str(meaning.target)].is_not_null() & pl.Series(gallery.usable(frame, conformed[0], meaning))
    if now is not None and config.data.known_at in conformed[0].columns:
        kept &= (conformed[0][str(config.data.known_at)] <= now.timestamp()).fill_null(True)
    known = whole.only(kept.to_numpy())
    return known.at(split.order(known.typed, meaning, config.data)), verdict


def _suspects(frame: pl.DataFrame, data: Data) -> Iterator[Check]:
    """Columns that seem to hold something else than they are read as."""
    yield from decimal.suspects(frame, data)
    yield from image_paths.suspects(frame, data)


def _nothing_left(origin: Mapping[str, Any], verdict: Verdict) -> str:
    """Why none of the rows can be used: all that was found wrong with them."""
    found = [f"  {check.name}: {check.detail}" for check in verdict.checks if check.outcome == "failed"]
    return "\n".join((f"{origin['source']}: no row is left to learn from.", *found))


def understand(frame: pl.DataFrame, config: Config, functions: Mapping[str, hooks.Hook]) -> Schema:
    """The Schema of the frame and of what the hooks add to it."""
    base = schema.infer(frame, config.data, config.task, forecast=config.forecast)
    if not functions:
        return base
    made, makers = derive(conform(frame, base)[0], base, functions)
    whole = schema.infer(made, _only(config, made.columns), hooks=makers)
    added = tuple(column for column in whole.columns if column.name in makers)
    return dataclasses.replace(base, columns=base.columns + added)


def _only(config: Config, names: list[str]) -> Any:
    """The data section without what it says of columns that the hooks did not make."""
    roles = {name: role for name, role in config.data.columns.items() if name in names}
    keys = dict.fromkeys(("target", "time", "group", "known_at"))
    return config.data.model_copy(update={"columns": roles, **keys})


def _unseen(told: Schema, test: pl.DataFrame) -> Iterator[Check]:
    """A warning for each category that has levels in the test rows which the training rows lack."""
    for column in told.columns:
        if column.role != "category" or len(column.levels) >= LEVELS or column.name not in test.columns:
            continue
        values = test[column.name].drop_nulls()
        new = values.filter(~values.is_in(pl.Series(column.levels, dtype=pl.String).implode()))
        if len(new) > UNSEEN * max(len(values), 1):
            shown = ", ".join(repr(level) for level in new.unique().sort().to_list()[:5])
            detail = f"{len(new):,} of {len(values):,} test rows have levels that no training row has: {shown}"
            yield Check(f"test.unseen.{column.name}", "failed", len(new) / len(values), UNSEEN, detail, "warning")


def _versioned(part: Part, meaning: Schema) -> Dataset:
    return dataclasses.replace(part.data, schema=meaning, version=version.fingerprint(part.data.frame))


def of_training(meaning: Schema, typed: pl.DataFrame) -> Schema:
    """The schema with the ranges and levels of the training rows alone: the test rows stay unknown."""
    return dataclasses.replace(meaning, columns=tuple(_of_training(column, typed) for column in meaning.columns))


def _of_training(column: Column, typed: pl.DataFrame) -> Column:
    if column.name not in typed.columns or column.role not in ("number", "category"):
        return column
    values = typed[column.name].drop_nulls()
    if column.role == "number":
        numbers = values.to_numpy()
        low, high = (float(numbers.min()), float(numbers.max())) if len(numbers) else (None, None)
        return dataclasses.replace(column, low=low, high=high)
    there = set(values.unique())
    return dataclasses.replace(column, levels=tuple(level for level in column.levels if level in there))


def rows(config: Config, project: Path, data: Dataset) -> Rows:
    """A Dataset as arrays; the columns are those that a model may know when it is asked."""
    frame = typed(config, project, data).frame
    columns = from_frame(asking(frame, data.schema), data.schema)
    return Rows(frame, columns, _values(frame[str(data.schema.target)], data.schema))


def observed(rows: Rows, meaning: Schema) -> Columns:
    """The columns of rows as they turned out, the target among them where it is an input too."""
    return from_frame(rows.frame, meaning)


def trivial(data: Dataset, asked: Columns) -> Output:
    """What the trivial baseline, learned from a Dataset, answers: cheap where the features are not."""
    looks, target = tasks.task(data.schema).looks, str(data.schema.target)
    kept = tuple(column for column in data.schema.columns if column.name == target or column.role in looks)
    alone = dataclasses.replace(data.schema, columns=kept)
    frame = conform(data.frame, alone)[0]
    known = from_frame(asking(frame, alone), alone)
    return tasks.baseline(known, _values(frame[target], data.schema), asked, data.schema)


def _values(known: pl.Series, meaning: Schema) -> NDArray[Any]:
    return np.array(known.to_list(), dtype=object) if meaning.classes else known.to_numpy()


def proof(known: Rows, asked: Rows, meaning: Schema, count: int = PROOF_ROWS) -> Columns:
    """Real rows to prove parity on: the test rows, and where those are under `count` training rows after them."""
    if len(asked.frame) >= count:
        return asked.columns
    more = known.frame.head(count - len(asked.frame))
    return from_frame(asking(pl.concat([asked.frame, more]), meaning), meaning)


def typed(config: Config, project: Path, data: Dataset) -> Dataset:
    """A Dataset with its frame conformed to the schema, the hooks' columns included."""
    return dataclasses.replace(data, frame=prepare(data.frame, data.schema, functions_of(config, project))[0])


def hooks_file(config: Config, project: Path) -> Path | None:
    """The file of hooks: `features.code`, or features.py where there is one."""
    if config.features.code:
        return project / config.features.code
    return project / HOOKS if (project / HOOKS).is_file() else None


def hooks_hash(config: Config, project: Path) -> str | None:
    """The sha256 of the hooks' file; None where there is none."""
    file = hooks_file(config, project)
    return hashlib.sha256(file.read_bytes()).hexdigest() if file and file.is_file() else None


def functions_of(config: Config, project: Path) -> Mapping[str, hooks.Hook]:
    """The functions of the hooks' file; none where there is no file."""
    file = hooks_file(config, project)
    return hooks.load(file) if file else {}


def example(data: Dataset) -> dict[str, list[Any]]:
    """A few rows as they come, column by column: what callers are shown."""
    names = [column.name for column in data.schema.inputs]
    return data.frame.select(names).head(EXAMPLE_ROWS).to_dict(as_series=False)


def look(config: Config, project: Path, path: Path) -> Path:
    """Write the EDA report of all rows to `path`."""
    from keepfit.data import profile

    functions = functions_of(config, project)
    frame, origin, config, _ = source(config, project)
    meaning = understand(frame, config, functions)
    path.parent.mkdir(parents=True, exist_ok=True)
    typed = prepare(frame, meaning, functions)[0]
    profile.profile(Dataset(typed, meaning, version.fingerprint(frame), masked(config, origin)), path)
    return path


def begin(folder: Path, name: str) -> Path:
    """Write the files of a template and its keepfit.yaml. Raises ConfigError where one of them is there already."""
    made = templates.find(name)
    files = made.files()
    there = [path for path in files if (folder / path).exists()]
    if there:
        raise ConfigError(f"{folder / there[0]} is there already; nothing was written. Choose another folder.")
    for path, text in files.items():
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_text(text, encoding="utf-8")
    return init(folder, str(folder / made.source) if files else made.source, made.target, made.sections)


def init(
    folder: Path, named: str, target: str | None, sections: Mapping[str, Any] = template.NOTHING,
    sets: Sequence[str] = (),
) -> Path:  # fmt: skip
    """Write a commented keepfit.yaml for a source that was looked at; what `sections` and `sets` say is set in it."""
    values: dict[str, Any] = {"data": {"source": named, "target": target}, **sections}
    for assignment in sets:
        put(values, assignment)
    config = parse(values)
    frame, origin, shaped, _ = source(config, Path())
    if config.data.target is None and "target" in frame.columns:  # as in every data set of scikit-learn
        config, shaped = (_with(one, target="target") for one in (config, shaped))
    if Path(named).exists() or not read.SCHEME.match(
        named
    ):  # it was named from here, but is written into a file that stands elsewhere
        found = {"source": named, "test": config.data.test or origin.get("test")}
        beside = {key: Path(os.path.relpath(where, folder)).as_posix() for key, where in found.items() if where}
        config = _with(config, **beside)
    if config.task in wide.SHAPES and not shaped.forecast.series and (names := forecast.told_apart(frame, shaped.data)):
        shaped = shaped.model_copy(update={"forecast": shaped.forecast.model_copy(update={"series": names})})
        values.setdefault("forecast", {})["series"] = names
    meaning = schema.infer(frame, shaped.data, config.task, forecast=shaped.forecast)
    path = folder / "keepfit.yaml"
    folder.mkdir(parents=True, exist_ok=True)
    name = config.project.name or folder.resolve().name
    set_in_it = {key: value for key, value in values.items() if key not in ("data", "project", "task", "version")}
    durable.write_text(path, template.template(name, meaning, config.data, set_in_it))
    return path


def _with(config: Config, **data: Any) -> Config:
    return config.model_copy(update={"data": config.data.model_copy(update=data)})
