"""A linear model over features, folded into the columns themselves.

The score of a linear model is a sum over features, and each feature is made of one column. So what
a column adds to the score is a function of that column alone: a straight line and a line that bends
at the quantiles for a number, a number per level for a category. `fold` works these functions out
once; scoring then needs no matrix of features: a number is a look-up between two knots instead of a
row of ramps, a category one look-up instead of a row of zeros, a text the sum of its terms' weights.

What has no such form (dates, components of texts) keeps its block of features, with its part of the coefficients.
Plain features are rounded to float32 as in training; the sums are float64.
"""

from __future__ import annotations

import struct
from bisect import bisect_right
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from keepfit.extras import pick
from keepfit.features import ROLES, category
from keepfit.features.number import FAR, LARGEST
from keepfit.features.values import Sparse

Floats = NDArray[np.float64]
SINGLE = struct.Struct("f")


class Term(NamedTuple):
    """What `columns` add to the score.

    `many` takes the values of all columns (as in `Columns.values`) and gives what is to be added one
    after the other, (n,) float64 each. `one` has a function for each of the columns and of these: from a
    parsed value (a finite float, a level, or None) to the very same number. It is None where the
    features of a row need more than that. `some`, for numbers, takes places of `columns` and gives the
    function from their values alone, (k, n) with NaN for None, to these numbers.
    """

    columns: tuple[str, ...]
    many: Callable[[Mapping[str, Any]], Iterable[Floats]]
    one: Sequence[Callable[[Any], float]] | None
    some: Callable[[Sequence[int]], Callable[[Floats], Floats]] | None = None


def fold(state: Mapping[str, Any], coefficients: Floats) -> list[Term] | None:
    """The terms of a model with `coefficients` (width,) over the features of `state`; None if it has no such form.

    >>> block = {"columns": ["age"], "flags": np.array([]), "plain": np.array([0]), "fill": np.array([30.0])}
    >>> [term] = fold({"blocks": [{"role": "number", "state": {**block, "width": 1}}], "select": None}, np.array([2.0]))
    >>> term.one[0](4.0), term.one[0](None), [part.tolist() for part in term.many({"age": np.array([4.0, np.nan])})]
    (8.0, 60.0, [[8.0, 60.0]])
    """
    weights = _unselected(state, coefficients)
    if weights is None:
        return None
    terms: list[Term] = []
    start = 0
    for block in state["blocks"]:
        inner = block["state"]
        end = start + inner["width"]
        found = FOLDS.get(block["role"], _whole)(block["role"], inner, weights[start:end])
        if found is None:
            return None
        terms += found
        start = end
    return terms


def _unselected(state: Mapping[str, Any], coefficients: Floats) -> Floats | None:
    """Coefficients of all features; those that were not chosen have none."""
    if not state["select"]:
        return coefficients
    if "keep" not in state["select"]:
        return None  # principal components: every feature is in each
    weights = np.zeros(sum(block["state"]["width"] for block in state["blocks"]))
    weights[state["select"]["keep"]] = coefficients
    return weights


# --- numbers ------------------------------------------------------------------------------------


def _numbers(role: str, state: Mapping[str, Any], weights: Floats) -> list[Term] | None:
    """One term for all columns, as `features.number` makes their features."""
    if "fill" not in state:
        return None  # a missing value has no score
    columns, plain, flags = state["columns"], state["plain"].tolist(), state["flags"].tolist()
    low, step, bent = (state.get(key, np.empty(0)) for key in ("bin_low", "bin_scale", "bin_column"))
    lines = []
    for i in range(len(columns)):
        mine = np.flatnonzero(bent == i)
        line = _line(low[mine], step[mine], weights[len(plain) + mine])
        if line is None:
            return None
        lines.append(line)
    slopes, gaps = np.zeros(len(columns)), np.zeros(len(columns))
    slopes[plain], gaps[flags] = weights[: len(plain)], weights[len(plain) + len(low) :]
    scaled = (state["mean"], state["scale"]) if "mean" in state else None
    known = _known(scaled, slopes, lines)
    gaps += known(state["fill"][:, None])[:, 0]

    def some(at: Sequence[int]) -> Callable[[Floats], Floats]:
        its = (scaled[0][at], scaled[1][at]) if scaled else None
        return _filled(_known(its, slopes[at], [lines[i] for i in at]), gaps[at, None])

    every = some(range(len(columns)))
    ones = [_one(i, gaps, scaled, slopes, lines) for i in range(len(columns))]
    return [Term(tuple(columns), lambda values: every(_stack(values, columns)), ones, some)]


def _line(low: Floats, step: Floats, weights: Floats) -> tuple[Floats, Floats] | None:
    """Knots and heights of the weighted sum of one column's ramps; None if they do not meet."""
    if not len(low):
        return np.empty(0), np.empty(0)
    knots = np.append(low, low[-1] + 1 / step[-1])
    if not (np.diff(knots) > 0).all() or not np.allclose(low[:-1] + 1 / step[:-1], low[1:], rtol=1e-9, atol=1e-300):
        return None
    return knots, np.append(0.0, weights.cumsum())


Line = tuple[Floats, Floats]
Scaled = tuple[Floats, Floats]


def _known(scaled: Scaled | None, slopes: Floats, lines: Sequence[Line]) -> Callable[[Floats], Floats]:
    """The function from stacked columns (k, n) to what their known values add; NaN for NaN."""
    mean, scale = (part[:, None] for part in scaled) if scaled else (None, None)
    steep, far = slopes[:, None], FAR if scaled else LARGEST
    bent = [(i, *line) for i, line in enumerate(lines) if len(line[0])]

    def known(stack: Floats) -> Floats:
        shown = np.minimum(stack, LARGEST)
        np.maximum(shown, -LARGEST, out=shown)
        if scaled:
            shown -= mean
            shown *= scale
            np.minimum(shown, far, out=shown)
            np.maximum(shown, -far, out=shown)
        total: Floats = shown.astype(np.float32).astype(np.float64)
        total *= steep
        for i, knots, heights in bent:
            total[i] += np.interp(stack[i], knots, heights)
        return total

    return known


def _stack(values: Mapping[str, Any], columns: Sequence[str]) -> Floats:
    return np.concatenate([values[name] for name in columns]).reshape(len(columns), -1)


def _filled(known: Callable[[Floats], Floats], gaps: Floats) -> Callable[[Floats], Floats]:
    """`known` for stacked columns; where a value is missing, what its gap adds."""

    def filled(stack: Floats) -> Floats:
        found, missing = known(stack), np.isnan(stack)
        return np.where(missing, gaps, found) if missing.any() else found

    return filled


def _one(
    i: int, gaps: Floats, scaled: Scaled | None, slopes: Floats, lines: Sequence[Line]
) -> Callable[[float | None], float]:
    """The same arithmetic for column `i`, to the last bit, on one Python float."""
    gap, slope = float(gaps[i]), float(slopes[i])
    knots: list[float] = lines[i][0].tolist()
    heights: list[float] = lines[i][1].tolist()
    rises = (np.diff(lines[i][1]) / np.diff(lines[i][0])).tolist()
    last = len(knots) - 1
    mean, scale = (float(part[i]) for part in scaled) if scaled else (0.0, 1.0)
    far = FAR if scaled else LARGEST
    pack, unpack = SINGLE.pack, SINGLE.unpack

    def one(value: float | None) -> float:
        if value is None:
            return gap
        total = 0.0
        if slope:
            shown = (min(max(value, -LARGEST), LARGEST) - mean) * scale
            rounded: float = unpack(pack(min(max(shown, -far), far)))[0]
            total = rounded * slope
        if last > 0:
            at = bisect_right(knots, value) - 1
            if at < 0:
                return total + heights[0]
            total += heights[last] if at >= last else rises[at] * (value - knots[at]) + heights[at]
        return total

    return one


# --- categories and the rest --------------------------------------------------------------------


def _categories(role: str, state: Mapping[str, Any], weights: Floats) -> list[Term] | None:
    """One term a column: a number per level, one for unseen levels, one for missing values."""
    if state["encode"] == "codes":
        return None  # places of levels: made for trees
    tables = _onehot(state, weights) if state["encode"] == "onehot" else _means(state, weights)
    triples = zip(state["columns"], state["levels"], tables, strict=True)
    return [_category(name, {level: i for i, level in enumerate(levels)}, table) for name, levels, table in triples]


def _onehot(state: Mapping[str, Any], weights: Floats) -> list[Floats]:
    tables, start = [], 0
    for levels, rare, missing in zip(state["levels"], state["rare"], state["missing"], strict=True):
        ends = [weights[at] if at >= 0 else 0.0 for at in (rare, missing)]
        tables.append(np.append(weights[start : start + len(levels)], ends))
        start += len(levels) + (rare >= 0) + (missing >= 0)
    return tables


def _means(state: Mapping[str, Any], weights: Floats) -> list[Floats]:
    """Target means times their coefficients; the stored tables end with missing, then unseen."""
    wide, tables = len(state["prior"]), []
    for i, means in enumerate(state["tables"]):
        table = np.asarray(means, np.float64) @ weights[i * wide : (i + 1) * wide]
        tables.append(np.append(table[:-2], table[:-3:-1]))
    return tables


def _category(name: str, index: Mapping[str, int], table: Floats) -> Term:
    scores: dict[str, float] = dict(zip(index, table.tolist(), strict=False))
    stranger, gap = float(table[-2]), float(table[-1])
    find = category.by_level(scores, stranger, gap)

    def one(level: str | None) -> float:
        return gap if level is None else scores.get(level, stranger)

    return Term((name,), lambda values: (find(values[name]),), (one,))


def _texts(role: str, state: Mapping[str, Any], weights: Floats) -> list[Term] | None:
    """One term a column that sums its words and runs of words; the block as it is where one has another form."""
    from keepfit.features import term_scores  # only models of texts need it

    terms, start = [], 0
    for name, part in zip(state["columns"], state["parts"], strict=True):
        score = term_scores.scorer(part, weights[start : start + part["width"]])
        if score is None:
            return _whole(role, state, weights)
        terms.append(Term((name,), _of(name, score), None))
        start += part["width"]
    return terms


def _of(name: str, score: Callable[[Any], Floats]) -> Callable[[Mapping[str, Any]], Iterable[Floats]]:
    return lambda values: (score(values[name]),)


def _whole(role: str, state: Mapping[str, Any], weights: Floats) -> list[Term] | None:
    """A block of features that stays as it is."""
    features = pick(ROLES, role, "role").compiled(state)

    return [Term(tuple(state["columns"]), lambda values: (product(features(values), weights),), None)]


def product(matrix: NDArray[np.float32] | Sparse, weights: Floats) -> Floats:
    """`matrix @ weights` in float64, row by row the same whatever rows stand beside it.

    >>> product(Sparse(np.array([2, 3], np.float32), np.array([0, 1], np.int32), np.array([0, 0, 2]), 2),
    ...         np.array([1.0, 10.0])).tolist()
    [0.0, 32.0]
    """
    if not isinstance(matrix, Sparse):
        return np.asarray((matrix.astype(np.float64) * weights).sum(axis=1))
    total = np.zeros(len(matrix.indptr) - 1)
    full = np.flatnonzero(np.diff(matrix.indptr))  # reduceat has no empty runs
    if len(full):
        terms = weights[matrix.indices] * matrix.data
        total[full] = np.add.reduceat(terms, matrix.indptr[full])
    return total


FOLDS: Mapping[str, Callable[[str, Mapping[str, Any], Floats], list[Term] | None]] = {
    "number": _numbers,
    "category": _categories,
    "text": _texts,
}
