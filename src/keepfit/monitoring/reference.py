"""The reference of a bundle: how training rows are spread over the cells of its signals.

    reference.json   {"format": 2, "rows", "signals", "memory", "outcomes", "sketch"}

Columns are counted on the training rows, what the model says and how well it did on the test rows: a
model is surer of rows that it was trained on. Format 1 (numbers and categories alone) is still read.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from keepfit import features
from keepfit.errors import BundleError
from keepfit.features.values import Coded, Columns
from keepfit.models.calibrate import TINY
from keepfit.models.fitted import Output
from keepfit.monitoring import signals, sketch
from keepfit.monitoring.signals import Floats, Longs, Signal
from keepfit.types import Bundle, Schema

__all__ = ["FILE", "Outcomes", "Reference", "Signal", "make", "plain", "read", "said", "summaries"]

FILE = "reference.json"
FORMAT = 2
PREDICTION, CONFIDENCE = "prediction", "confidence"


@dataclass(frozen=True)
class Outcomes:
    """How well the model did on the test rows, by the cells of one signal.

    `signal` is "confidence" (classification) or "prediction" (regression). `rows`: test rows a cell.
    `sums` and `squares`: loss → sum over a cell's rows of the loss, and of its square. Losses are
    "error" (0 or 1), "log_loss" and "brier" (for two classes (p - y)² of the second one, else the sum
    over the classes), or "absolute_error" and "squared_error". `probability`: for two classes the sum
    of the second one's probability. Rows whose target is missing or of an unknown class are left out.
    """

    signal: str
    rows: Longs
    sums: Mapping[str, Floats]
    squares: Mapping[str, Floats]
    probability: Floats | None = None

    def mean(self, loss: str) -> float:
        """The mean loss of all test rows; NaN without any."""
        total = int(self.rows.sum())
        return float(self.sums[loss].sum() / total) if total else float("nan")

    def variance(self, loss: str) -> float:
        """The variance of the loss over the test rows (of the sample: n - 1); NaN of fewer than two."""
        total = int(self.rows.sum())
        if total < 2:
            return float("nan")
        return max(0.0, float(self.squares[loss].sum() - total * self.mean(loss) ** 2) / (total - 1))


@dataclass(frozen=True)
class Reference:
    """What live rows are compared with.

    `rows`: training rows. `signals`: those of the columns, then "prediction" and "confidence" (not in
    format 1). `memory`: column → what its role's `watch` has to be handed back. `sketch`: the smallest
    hashes of the training rows, see `keepfit.monitoring.sketch`; empty where it is not known. `key`
    changes when anything here does: what was counted for another reference is never mixed with it.
    """

    rows: int
    signals: tuple[Signal, ...]
    memory: Mapping[str, Mapping[str, Any]]
    outcomes: Outcomes | None
    sketch: NDArray[np.uint64]
    key: str = ""


# tasks whose answers move on with time, and whose rows are asked for again and again: neither what they said at
# training nor that a row comes twice is a measure of today; what came true is. Nor is how their columns are spread:
# these are of the moments that a window holds, and of these it has a day or a month, and training had years
MOVING = frozenset({"forecast"})


# --- at training ----------------------------------------------------------------------------------


def make(known: Columns, asked: Columns, schema: Schema, output: Output, y: NDArray[Any]) -> Reference:
    """The reference of a model.

    Args:
        known: the training rows, `asked`: the test rows; texts as `Documents`.
        output: what the model says of the test rows. y: (n,) their labels as text, or numbers.

    Only columns that callers have to bring are watched: what hooks make of them follows.
    """
    bare = replace(schema, columns=schema.required)
    found, memory = features.watch(known, bare)
    later, _ = features.watch(asked, bare, memory)
    told = said(output, schema)
    effect = outputs(output)
    made = []
    for column in bare.features:
        for part, values in found[column.name].items():
            name = f"{column.name}: {part}" if part else column.name
            steady = features.steady(column.role) and schema.task not in MOVING
            signal = signals.learn(name, column.name, part, values, steady)
            made.append(_moved(signal, later[column.name][part], effect))
    if schema.task in MOVING:
        return _keyed(Reference(len(known), tuple(made), memory, None, np.empty(0, np.uint64)))
    mine = [_moved(signal, told[signal.name], effect) for signal in _own(told, schema)]
    inputs = {column.name: known.values[column.name] for column in bare.features}
    rows = sketch.smallest(sketch.hashed(inputs, len(known)))
    return _keyed(Reference(len(known), (*made, *mine), memory, _outcomes(mine, told, schema, output, y), rows))


def said(output: Output, schema: Schema) -> dict[str, Any]:
    """The model's own signals of some rows: name → (n,) values.

    "prediction" is Coded (the classes) or numbers; "confidence" the probability of the predicted class.

    >>> schema = Schema((), "classification", classes=("no", "yes"))
    >>> told = said(Output(np.array(["yes"], object), np.array([[0.25, 0.75]])), schema)
    >>> told["prediction"].codes.tolist(), told["confidence"].tolist()
    ([1], [0.75])
    """
    if output.probabilities is None:
        return {PREDICTION: np.asarray(output.values, np.float64)}
    place = {label: code for code, label in enumerate(schema.classes)}
    codes = np.fromiter((place[label] for label in output.values), np.int32, len(output))
    sure = np.asarray(output.probabilities[np.arange(len(output)), codes], np.float64)
    return {PREDICTION: Coded(codes, list(schema.classes)), CONFIDENCE: sure}


def outputs(output: Output) -> Floats:
    """The number that stands for an answer: see `Signal.moves`."""
    p = output.probabilities
    if p is None:
        return np.asarray(output.values, np.float64)
    return np.asarray(p[:, 1] if p.shape[1] == 2 else p.max(axis=1), np.float64)


def _own(told: Mapping[str, Any], schema: Schema) -> Iterator[Signal]:
    for name, values in told.items():
        if isinstance(values, Coded):
            yield signals.fixed(name, schema.classes, values)
        else:
            yield signals.learn(name, "", "", values)


def _moved(signal: Signal, values: Any, effect: Floats) -> Signal:
    """The signal with its `moves`. Beyond either end the model is taken to say what it says at that end."""
    cells = signals.place(signal, values)
    size = len(signal.cells)
    rows = np.bincount(cells, minlength=size)
    total = np.bincount(cells, effect - effect.mean() if len(effect) else effect, size)
    if signal.kind == "ordered":
        for outside, inside in ((1, 2), (size - 1, size - 2)):
            rows[outside] += rows[inside]
            total[outside] += total[inside]
    return replace(signal, moves=total / np.maximum(rows, 1))


def _outcomes(
    mine: list[Signal], told: Mapping[str, Any], schema: Schema, output: Output, y: NDArray[Any]
) -> Outcomes | None:
    signal = mine[-1]  # confidence, or the predicted number
    each = _losses(output, y, schema)
    known = np.isfinite(next(iter(each.values())))
    cells, size = signals.place(signal, told[signal.name])[known], len(signal.cells)
    if not len(cells):
        return None

    def add(values: NDArray[np.floating[Any]]) -> Floats:
        return np.bincount(cells, values[known], size).astype(np.float64)

    p = output.probabilities
    two = add(p[:, 1]) if p is not None and p.shape[1] == 2 else None
    sums = {name: add(loss) for name, loss in each.items()}
    squares = {name: add(loss**2) for name, loss in each.items()}
    return Outcomes(signal.name, np.bincount(cells, minlength=size), sums, squares, two)


def _losses(output: Output, y: NDArray[Any], schema: Schema) -> dict[str, Floats]:
    """Loss → (n,) of each row; NaN where the truth is not known."""
    p = output.probabilities
    if p is None:
        gap: Floats = np.asarray(y, np.float64) - np.asarray(output.values, np.float64)
        return {"absolute_error": np.abs(gap), "squared_error": gap * gap}
    place = {label: code for code, label in enumerate(schema.classes)}
    truth = np.fromiter((place.get(label, -1) for label in y), np.intp, len(y))
    unknown = np.where(truth < 0, np.nan, 0.0)
    mine = np.clip(p[np.arange(len(p)), truth] / p.sum(axis=1), TINY, 1.0)
    squared = np.square(p - (truth[:, None] == np.arange(p.shape[1])))
    wrong = np.asarray(output.values != np.array([*schema.classes, None], object)[truth], np.float64)
    brier = squared[:, 1] if p.shape[1] == 2 else squared.sum(axis=1)
    return {"error": wrong + unknown, "log_loss": -np.log(mine) + unknown, "brier": brier + unknown}


# --- as JSON --------------------------------------------------------------------------------------


def plain(reference: Reference) -> dict[str, Any]:
    """What is written to reference.json."""
    return {
        "format": FORMAT,
        "rows": reference.rows,
        "signals": [signals.plain(signal) for signal in reference.signals],
        "memory": {name: dict(kept) for name, kept in reference.memory.items() if kept},
        "outcomes": None if reference.outcomes is None else _plain_outcomes(reference.outcomes),
        "sketch": sketch.packed(reference.sketch),
    }


def _plain_outcomes(found: Outcomes) -> dict[str, Any]:
    two = None if found.probability is None else found.probability.tolist()
    tables = {key: {name: of.tolist() for name, of in getattr(found, key).items()} for key in ("sums", "squares")}
    return {"signal": found.signal, "rows": found.rows.tolist(), **tables, "probability": two}


def read(bundle: Bundle) -> Reference:
    """The reference of a bundle, of any format. Raises BundleError where it cannot be read."""
    path = bundle.path / FILE
    try:
        told = json.loads(path.read_bytes())
        if not isinstance(told.get("format"), int):  # format 1 described dates as numbers, and these go on
            watched = {column.name for column in bundle.schema.columns if column.role in FIRST}
            told = {name: about for name, about in told.items() if name in watched}
        return of_plain(told)
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise BundleError(
            f"{path} cannot be read: {error}. The bundle is damaged, or of a newer keepfit: without its reference "
            "a model can serve, but not be monitored. Get the bundle again, or train again."
        ) from error


def of_plain(told: Mapping[str, Any]) -> Reference:
    """A reference from what `plain` made of it, or from format 1. Raises ValueError for a newer format."""
    if not isinstance(told.get("format"), int):
        return _format1(told)
    if told["format"] > FORMAT:
        raise ValueError(f"its format is {told['format']}, and the newest known here is {FORMAT}")
    outcomes = told["outcomes"]
    return _keyed(
        Reference(
            told["rows"],
            tuple(signals.read(signal) for signal in told["signals"]),
            told["memory"],
            None if outcomes is None else _read_outcomes(outcomes),
            sketch.unpacked(told["sketch"]),
        )
    )


def _read_outcomes(told: Mapping[str, Any]) -> Outcomes:
    two = None if told["probability"] is None else np.array(told["probability"], np.float64)
    sums, squares = ({name: np.array(of, np.float64) for name, of in told[key].items()} for key in ("sums", "squares"))
    return Outcomes(told["signal"], np.array(told["rows"], np.int64), sums, squares, two)


def _keyed(made: Reference) -> Reference:
    """With the hash of all that is written."""
    written = json.dumps(plain(made), sort_keys=True).encode()
    return replace(made, key=hashlib.blake2b(written, digest_size=12).hexdigest())


# --- format 1 -------------------------------------------------------------------------------------


def _format1(told: Mapping[str, Any]) -> Reference:
    """Column → its histogram. Dates and texts had others than now, and are not watched."""
    made = [FIRST[about["kind"]](name, about) for name, about in told.items() if about["kind"] in FIRST]
    rows = max((about["rows"] for about in told.values()), default=0)
    return _keyed(Reference(rows, tuple(made), {}, None, np.empty(0, np.uint64)))


def _first_number(name: str, about: Mapping[str, Any]) -> Signal:
    edges = np.array(about["edges"] or [0.0], np.float64)
    edges = np.unique(np.append(edges[:-1] if len(edges) > 1 else edges, signals.after(edges[-1])))
    counts = np.array([about["missing"], 0, *(about["counts"] or [0]), 0], np.int64)
    return Signal(name, name, "", "ordered", edges, (), counts, np.zeros(len(counts)))


def _first_category(name: str, about: Mapping[str, Any]) -> Signal:
    """Which levels were rare was not kept: where there were some, all others count as rare."""
    levels = about["levels"]
    counts = np.array([about["missing"], *levels.values(), about["other"], 0], np.int64)
    rare = None if about["other"] else np.empty(0, np.uint32)
    return Signal(name, name, "", "nominal", np.empty(0), tuple(levels), counts, np.zeros(len(counts)), rare)


FIRST = {"number": _first_number, "category": _first_category}


# --- for people -----------------------------------------------------------------------------------


def summaries(told: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """Column → what a form or a page tells of its training values, from reference.json of any format.

    Of a number or a date: rows, missing, edges, counts, low and high; of a category: rows, missing,
    levels with their rows, other and distinct; nothing of a text.
    """
    if not isinstance(told.get("format"), int):
        return dict(told)
    found = [signals.read(signal) for signal in told["signals"]]
    return {signal.column: _summary(signal, told["rows"]) for signal in found if signal.column and not signal.part}


def _summary(signal: Signal, rows: int) -> dict[str, Any]:
    counts = signal.counts.tolist()
    about: dict[str, Any] = {"rows": rows, "missing": counts[0]}
    if signal.kind == "nominal":
        levels = {level: max(count, 1) for level, count in zip(signal.levels, counts[1:], strict=False)}
        distinct = len(levels) + (0 if signal.rare is None else len(signal.rare))
        return about | {"kind": "category", "levels": levels, "other": rows - counts[0] - sum(levels.values()),
                        "distinct": distinct}  # fmt: skip
    inside = counts[2:-1]
    inside[0] += counts[1]  # the smallest and the largest value of training
    inside[-1] += counts[-1]
    if not sum(inside):
        return about | {"kind": "number", "edges": [], "counts": []}
    edges = [*signal.edges[:-1].tolist(), float(signals.before(signal.edges[-1]))]
    edges[1:] = [low if edge == signals.after(low) else edge for low, edge in pairwise(edges)]
    return about | {"kind": "number", "edges": edges, "counts": inside, "low": edges[0], "high": edges[-1]}
