"""Which inputs moved a prediction most: each is replaced by what is typical, and the model is asked again.

Occlusion, one input at a time. It needs nothing but answers, so it is the same for every model, and
one batch of k + 1 rows tells it. What it says is exact and narrow: "had this input alone been typical,
the answer would have been that much lower". It does not share an effect out between inputs that work
together: where either of two inputs would do alone, neither shows an effect; where only both together
do, each shows all of it. So the effects need not add up to anything, and none of them is a cause.

A text is left out as a whole, and then word by word (every place of the word at once). Of a picture
nothing is told: one that is not there is no typical one.

>>> schema = Schema((Column("plan", "category"),), "regression")
>>> typical(schema, {"plan": {"kind": "category", "levels": {"pro": 7, "basic": 3}, "missing": 0}})
{'plan': 'pro'}
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from itertools import accumulate
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from keepfit.deployment.protocols.forms import FILES
from keepfit.deployment.runtime import Runtime
from keepfit.errors import RequestError
from keepfit.models.fitted import Output
from keepfit.types import Column, Schema

EDGES = 20  # up to so many edges of a histogram are the values themselves
WORDS = 200  # words of a text that are left out in turn
DAY = 86_400.0
WORD = re.compile(r"\w+")
Row = Mapping[str, Any]


class Effect(NamedTuple):
    """What an input did: the answer as it is, less the answer with `typical` in the place of `value`."""

    column: str
    value: Any
    typical: Any
    effect: float


class Word(NamedTuple):
    """What a word of a text column did, wherever it stands: the answer less the answer without it."""

    column: str
    word: str
    effect: float


class Explanation(NamedTuple):
    """Effects by size. `label` is the class whose probability they are of; None where they are of the value.

    `answer` is that probability, or the value. `left` counts the words that were not tried.
    """

    label: str | None
    answer: float
    effects: tuple[Effect, ...]
    words: tuple[Word, ...] = ()
    left: int = 0


def explain(runtime: Runtime, row: Row, usual: Row, label: str | None = None, words: int = WORDS) -> Explanation:
    """What each input did to the answer for `row`.

    Args:
        usual: column → typical value (see `typical`); a column that is not there counts as missing.
        label: the class whose probability is looked at; default: the predicted one.
        words: at most so many different words, the first ones, are left out in turn.

    Raises RequestError (422) for values that cannot be read, and ValueError for an unknown label.
    """
    inputs = [column for column in runtime.schema.inputs if column.role not in FILES]
    texts = [column.name for column in inputs if column.role == "text" and isinstance(row.get(column.name), str)]
    found = [(name, word) for name in texts for word in _words(row[name])]
    tried = found[:words]
    less_one = [{**row, column.name: usual.get(column.name)} for column in inputs]
    less_word = [{**row, name: _less(row[name], word)} for name, word in tried]
    output, problems = runtime.rows([row, *less_one, *less_word])
    if wrong := [problem for problem in problems if problem.row == 0]:
        details = [{"row": 0, "column": p.column, "problem": p.problem} for p in wrong]
        raise RequestError(422, "bad_values", "The row has values that cannot be read.", details)
    label, scores = _scores(output, runtime.schema, label)
    gaps = (scores[0] - scores[1:]).tolist()
    effects = [
        Effect(c.name, row.get(c.name), usual.get(c.name), gap) for c, gap in zip(inputs, gaps, strict=False)
    ]  # fmt: skip
    parts = [Word(name, word, gap) for (name, word), gap in zip(tried, gaps[len(inputs) :], strict=True)]
    return Explanation(label, float(scores[0]), _ranked(effects), _ranked(parts), len(found) - len(tried))


def _ranked(effects: Sequence[Any]) -> tuple[Any, ...]:
    return tuple(sorted(effects, key=lambda effect: -abs(effect.effect)))


def _scores(output: Output, schema: Schema, label: str | None) -> tuple[str | None, NDArray[np.float64]]:
    """The class that is looked at and its probability in each row; or None and the values."""
    if output.probabilities is None:
        return None, np.asarray(output.values, np.float64)
    label = str(output.values[0]) if label is None else label
    if label not in schema.classes:
        raise ValueError(f"{label!r} is no class of the model: {', '.join(schema.classes)}")
    return label, np.asarray(output.probabilities[:, schema.classes.index(label)], np.float64)


def _words(text: str) -> list[str]:
    """The different words of a text, in lower case, in the order they come.

    >>> _words("So good, so GOOD!")
    ['so', 'good']
    """
    return list(dict.fromkeys(found.lower() for found in WORD.findall(text)))


def _less(text: str, word: str) -> str:
    """A text without a word.

    >>> _less("Good, not so good. Goodness!", "good")
    ', not so . Goodness!'
    """
    return WORD.sub(lambda found: "" if found[0].lower() == word else found[0], text)


def typical(schema: Schema, reference: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    """Input → its typical value in training, as a caller would send it; from a bundle's reference.json.

    The median of numbers and dates, the most frequent level of a category, None where most rows had no
    value, and None for a text: an empty one is what a text is compared with.
    """
    return {c.name: TYPICAL[c.role](c, reference[c.name]) for c in schema.inputs if c.name in reference}


def _number(column: Column, about: Mapping[str, Any]) -> float | None:
    """A whole number in a column of whole numbers, four digits in others."""
    found = _median(about)
    if found is None:
        return None
    return round(found) if column.dtype in ("int", "bool") else float(f"{found:.4g}")


def _date(column: Column, about: Mapping[str, Any]) -> str | None:
    """ISO 8601, which every column of dates takes."""
    found = _median(about)
    return None if found is None else datetime.fromtimestamp(found // DAY * DAY, UTC).date().isoformat()


def quantile(about: Mapping[str, Any], share: float = 0.5) -> float | None:
    """A quantile as near as a histogram (`monitoring.reference.summaries`) tells it. None without values.

    Up to EDGES edges are the values themselves. More are quantiles; what a bin then holds beyond the
    usual is one value that repeats, its lower edge.

    >>> quantile({"edges": [0.0, 10.0, 20.0], "counts": [4, 5]}), quantile({"edges": [], "counts": []})
    (10.0, None)
    >>> quantile({"edges": [*range(0, 220, 10)], "counts": [900, *[10] * 20]})
    0.0
    """
    counts: Sequence[int] = about["counts"]
    edges: Sequence[float] = about["edges"]
    if not counts:
        return None
    wanted, reached = sum(counts) * share, [0, *accumulate(counts)]
    place = next(n for n in range(len(counts)) if reached[n + 1] >= wanted)
    low, high = edges[place], edges[min(place + 1, len(edges) - 1)]
    if len(edges) == 2 and "mean" in about:  # one bin of two values: the mean tells how many rows have each
        return float(low if about["mean"] <= low + (high - low) * (1 - share) else high)
    if len(edges) <= EDGES:
        return float(low)
    repeated = max(0, counts[place] - sorted(counts)[len(counts) // 2])
    inside = max(0.0, wanted - reached[place] - repeated) / max(counts[place] - repeated, 1)
    return float(low + (high - low) * inside)


def _median(about: Mapping[str, Any]) -> float | None:
    return None if about["missing"] > sum(about["counts"]) else quantile(about)


def _most_frequent(column: Column, about: Mapping[str, Any]) -> str | None:
    levels: Mapping[str, int] = about["levels"]
    found = max(levels, key=levels.__getitem__, default=None)
    return found if found is not None and levels[found] >= about["missing"] else None


# role → typical value of a column
TYPICAL: Mapping[str, Callable[[Column, Mapping[str, Any]], Any]] = {
    "number": _number,
    "date": _date,
    "category": _most_frequent,
    "text": lambda column, about: None,
    "image": lambda column, about: None,
}
