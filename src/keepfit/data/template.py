"""The keepfit.yaml that `keepfit init` writes: what was found in the data, and every line explained.

Only what differs from the defaults is set; what one may want to set next stands there as a comment,
with the columns and values of the data at hand.

>>> from keepfit.config import Data
>>> from keepfit.types import Column
>>> schema = Schema((Column("age", "number", why="numbers from 18 to 90", low=18.0, high=90.0),), "regression", "age")
>>> print(template("ages", schema, Data(source="a.csv", target="age")).splitlines()[2])
version: 1                      # format of this file
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import yaml

from keepfit.config import Data, Forecast
from keepfit.data import roles
from keepfit.types import Schema

WIDTH = 32  # where comments begin
LONGEST = 100  # of what stands in a comment
COLUMNS = 200  # columns in the table
CHECKED, LEVELS = 2, 6  # numbers and categories in the example of checks; levels that are written out
GOALS = {
    "classification": ('accuracy: ">= 0.90"', 'roc_auc: ">= 0.85"'),
    "regression": ('r2: ">= 0.80"', 'rmse: "<= 100"'),
    "forecast": ('mase: "<= 1"', 'smape: "<= 15"'),
}
MODELS_OF = {"forecast": "seasonal_naive, theta, auto_ets, auto_arima, ces, boosted_lags"}
MODELS = "logistic_regression, ridge, random_forest, lightgbm, …, or module:Class"
MONITORING = (
    ("every: 1h", "between two passes; window: 1d is what each looks at"),
    ("false_alarms: 1 per month", "how many are bearable; thresholds follow from it"),
)
RETRAINING = (
    ("on: [performance, drift, schedule]", "or rows: when enough new labelled rows came"),
    ('schedule: "0 3 * * 1"', "cron, UTC: Mondays at 3"),
    ("min_rows: {}", "new labelled rows without which nothing is trained unasked"),
)
ALERTS = (("- webhook: ${ALERT_URL}", "or slack: ${SLACK_URL}; or email: team@example.com with smtp: smtp://mail:587"),)
SERVING = (
    ("port: 8080", "on this machine alone, until host: 0.0.0.0 and KEEPFIT_API_KEY are set"),
    ("log: {retention: 90d}", "every answer is logged; days older than this are deleted; default: kept"),
)
IMAGES = (("image: {backbone: FOLDER}", "a pretrained network: folder, name on the hub, or .onnx; default: none"),)
NOTHING: Mapping[str, Mapping[str, Any]] = {}
SET = {
    "type": f"or auto, {MODELS}",
    "trials": "0: the estimator's parameters as they are, cross-validated once",
    "time_budget": "seconds",
}
EXPLAINED = {
    "source": "where the data is: path, glob, folder, URI, sklearn:NAME or python:module:function",
    "target": "the column to predict",
    "test_size": "share of the rows that the model is judged by",
    "random_state": "another number is another split and another model",
    "drop_missing_target": "rows without a target are left out; else they stop the run",
    "leakage": "what to do about each kind of leak: stop, warn or ignore",
}


def template(name: str, schema: Schema, data: Data, sections: Mapping[str, Mapping[str, Any]] = NOTHING) -> str:
    """keepfit.yaml for a project called `name`, from the Schema that was inferred.

    Reading it back gives `data`, the name, what `sections` set of model, tuning and goals, and the
    defaults for everything else.
    """
    lines = [
        "# What keepfit trains, serves and watches in this project. 'keepfit schema' lists every key,",
        "# 'keepfit check' shows what is made of the data, 'keepfit run' does it all.",
        _line("version: 1", "format of this file"),
        _line("project:", "names the project"),
        _line(f"  name: {_yaml(name)}", "also the name of the registered model"),
        *_task(schema, sections),
        *_data(schema, data),
        *_wishes(schema, sections),
        *_found(schema),
    ]
    return "\n".join(lines) + "\n"


def _task(schema: Schema, sections: Mapping[str, Mapping[str, Any]]) -> Iterator[str]:
    """The task and its section, where rows follow each other: that cannot be read off the target."""
    if schema.rhythm is None:
        if schema.task == "regression" and (dates := schema.role("date")):
            yield _line("# task: forecast", f"if '{dates[0]}' tells when: what comes after each series' last value")
        return
    rhythm, given = schema.rhythm, dict(sections.get("forecast", {}))
    season = " and ".join(map(str, rhythm.season)) or "none"
    yield _line(f"task: {schema.task}", "the last periods of each series are the test")
    yield _line("forecast:", "what is forecast, and how far")
    yield _line(f"  horizon: {given.pop('horizon', rhythm.horizon)}", "periods ahead")
    fields = Forecast.model_fields
    yield from (_line(f"  {key}: {_yaml(value)}", fields[key].description or "") for key, value in given.items())
    if "frequency" not in given:
        yield _line("  # frequency: auto", f"{rhythm.frequency}, by the times in '{rhythm.time}'")
    if "season" not in given:
        yield _line("  # season: auto", f"periods of a season: {season}, by frequency and values")


def _data(schema: Schema, data: Data) -> Iterator[str]:
    yield _line("data:", "where it is and what its columns are")
    given = data.model_dump(mode="json", exclude_defaults=True)
    for key, value in given.items():
        why = EXPLAINED.get(key) or Data.model_fields[key].description or ""
        if key == "target":
            why += f": {schema.task}, because {schema.why_task}" if schema.why_task else ""
        yield _line(f"  {key}: {_yaml(value)}", why)
    if not {"test", "test_size"} & set(given) and schema.rhythm is None:
        yield _line("  # test_size: 0.2", "share of the rows that the model is judged by; or test: a separate file")
    if "columns" not in given:
        yield _line(f"  # columns: {{{_example(schema)}}}", "roles that were taken wrongly in the table below")


def _example(schema: Schema) -> str:
    names = [column.name for column in schema.features if column.role in roles.ROLES] or ["age"]
    return f"{_yaml(names[0])}: category"


def _wishes(schema: Schema, given: Mapping[str, Mapping[str, Any]]) -> Iterator[str]:
    """What is set beside the data; and, as comments, what one may want to set next."""
    if checks := list(_checks(schema)):
        yield _line("# checks:", "what is expected of the data; all violations are reported at once")
        yield from checks
    models = MODELS_OF.get(schema.task, MODELS)
    shown = {"forecast"}
    least = schema.rhythm.horizon if schema.rhythm else 500  # as `retraining.min_rows` where nobody sets it
    retraining = tuple((line.format(least), why) for line, why in RETRAINING)
    goals = tuple((goal, "a metric and its limit") for goal in GOALS.get(schema.task, ()))
    images = (("features", "how pictures become numbers", IMAGES),) if schema.role("image") else ()
    for section, why, lines in (
        *images,
        ("model", "default: a small portfolio, blended by what helps", (("type: auto", models),)),
        ("tuning", "search inside cross-validation", (("time_budget: 60", "seconds"),)),
        ("goals", "a model that misses one is never promoted", goals),
        ("serving", "the champion over HTTP, by keepfit serve", SERVING),
        ("monitoring", "what is watched in production, by keepfit monitor or keepfit up", MONITORING),
        ("retraining", "when a challenger is trained, by keepfit up", retraining),
        ("alerts", "where alarms are sent", ALERTS),
    ):
        shown.add(section)
        if section in given:
            yield _line(f"{section}:", why)
            yield from (
                _line(f"  {key}: {_yaml(value)}", SET.get(key, "a metric and its limit"))
                for key, value in given[section].items()
            )
        else:
            yield _line(f"# {section}:", why)
            yield from (_line(f"#   {text}", told) for text, told in lines)
    yield from (f"{section}: {_yaml(value)}" for section, value in given.items() if section not in shown)


def _checks(schema: Schema) -> Iterator[str]:
    numbers = [column for column in schema.features if column.role == "number" and column.low is not None]
    categories = [c for c in schema.features if c.role == "category" and 0 < len(c.levels) <= LEVELS]
    for column in numbers[:CHECKED]:
        low, high = (_yaml(_whole(value or 0.0)) for value in (column.low, column.high))
        yield _line(f"#   {_yaml(column.name)}: {{min: {low}, max: {high}}}", "as seen in the data")
    lists = [f"#   {_yaml(column.name)}: {{values: {_yaml(list(column.levels))}}}" for column in categories]
    for text in [text for text in lists if len(text) <= LONGEST][:CHECKED]:
        yield _line(text, "as seen in the data")


def _whole(value: float) -> float:
    return int(value) if value.is_integer() and abs(value) < 1e15 else value


def _found(schema: Schema) -> Iterator[str]:
    """The roles that were inferred, as a table of comments."""
    yield "#"
    yield "# What was found in the data:"
    rows = [("column", "role", "missing", "why")]
    rows += [(_plain(c.name, 40), c.role, f"{c.missing:.1%}", _plain(c.why, 120)) for c in schema.columns[:COLUMNS]]
    widths = [max(len(row[at]) for row in rows) for at in range(3)]
    for row in rows:
        yield (
            "#   "
            + "  ".join([*(cell.ljust(width) for cell, width in zip(row, widths, strict=False)), row[3]]).rstrip()
        )
    if len(schema.columns) > COLUMNS:
        yield f"#   … and {len(schema.columns) - COLUMNS:,} more"


def _line(text: str, comment: str) -> str:
    # What stands in a comment is cut and cleaned; what is set is left whole.
    shown = _plain(text, LONGEST) if text.lstrip().startswith("#") else text
    return f"{shown.ljust(WIDTH - 1)} # {_plain(comment, 160)}"


def _plain(text: str, longest: int) -> str:
    """Text that can stand in a YAML comment: on one line, printable, and cut."""
    line = "".join(c if c.isprintable() else " " for c in text[: 2 * longest])
    return line if len(line) <= longest else f"{line[: longest - 1]}…"


def _yaml(value: Any) -> str:
    """A value as YAML on one line."""
    if isinstance(value, Mapping):
        return "{" + ", ".join(f"{_yaml(key)}: {_yaml(inner)}" for key, inner in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(_yaml(inner) for inner in value) + "]"
    style = '"' if isinstance(value, str) and not _is_plain(value) else None
    dumped: str = yaml.safe_dump(value, default_style=style, width=10**9, allow_unicode=True)
    return dumped.removesuffix("\n").removesuffix("\n...")


def _is_plain(text: str) -> bool:
    """Whether a text can stand without quotes, in lists and mappings too."""
    if not text.isprintable() or any(c in text for c in ",[]{}#&*!|>'\"%@`:?-=<~ \t") or text != text.strip():
        path = all(c.isalnum() or c in "/._-:" for c in text)
        return (
            path and text[:1].isalpha() and ": " not in text and not text.endswith(":") and yaml.safe_load(text) == text
        )
    return bool(text) and yaml.safe_load(text) == text
