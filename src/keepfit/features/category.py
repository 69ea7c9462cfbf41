"""Categories as features: one 0/1 feature a level, codes for trees, or the target's mean.

Options (defaults in `DEFAULTS`):

    encode       "onehot", "codes" or "target"
    min_count    a level that fewer training rows have is rare
    max_levels   so many levels are kept, the most frequent; the others are rare
    smooth       of "target": as many rows of the overall mean are mixed into each level's mean

onehot: one feature a level, one for the rare ones together and one for missing values, if the
training rows have any. An unseen level counts as rare. codes: the place of the level by falling
frequency; rare, unseen and missing are NaN, and nothing of the target is used. target: the mean of
the target over the level's rows (of each class's share, with three classes or more); the rows it
was fitted on get the means that the other four fifths of the rows give, so that a row never sees
its own answer (Micci-Barreca, "A preprocessing scheme for high-cardinality categorical
attributes", 2001; cross-fitting as in scikit-learn's TargetEncoder).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from keepfit.errors import ConfigError, ModelError
from keepfit.extras import nearest
from keepfit.features.values import Coded

Floats = NDArray[np.float64]
Matrix = NDArray[np.float32]
State = dict[str, Any]
DEFAULTS: dict[str, Any] = {"encode": "onehot", "min_count": 1, "max_levels": None, "smooth": 20.0}
FOLDS = 5


def fit(
    values: Mapping[str, Coded], target: Floats | None, options: Mapping[str, Any], seed: int
) -> tuple[State, Matrix]:
    """State and matrix of category columns; `target` (n, k) as `features.fit` makes it."""
    encode = options["encode"]
    if encode not in LEARN:
        known = f"{nearest(encode, LEARN)}Known: {', '.join(sorted(LEARN))}"
        raise ConfigError(f"features of role category, encode: unknown name '{encode}'. {known}")
    learn = LEARN[encode]
    if learn is not _target:
        state = learn(values, options)
        return state, compiled(state)(values)
    if target is None:
        raise ModelError("encode: target needs a target, and there is none. Use onehot or codes.")
    return _crossed(values, target, options, seed)


def ranked(column: Coded, options: Mapping[str, Any]) -> tuple[list[str], bool, bool]:
    """The kept levels by falling frequency (then by name), and whether there are rare and missing ones."""
    counts = _counts(column)
    seen = np.flatnonzero(counts[:-1])
    order = sorted(seen.tolist(), key=lambda code: (-counts[code], column.levels[code]))
    kept = [code for code in order if counts[code] >= options["min_count"]][: options["max_levels"]]
    return [column.levels[code] for code in kept], len(kept) < len(order), bool(counts[-1])


def _counts(column: Coded) -> NDArray[np.int64]:
    """Rows of each level, then of missing values."""
    size = len(column.levels)
    return np.bincount(np.where(column.codes < 0, size, column.codes), minlength=size + 1)


def _onehot(values: Mapping[str, Coded], options: Mapping[str, Any]) -> State:
    state: State = {"encode": "onehot", "columns": list(values), "levels": [], "rare": [], "missing": [], "width": 0}
    for column in values.values():
        levels, rare, missing = ranked(column, options)
        end = state["width"] + len(levels)
        state["levels"].append(levels)
        state["rare"].append(end if rare else -1)
        state["missing"].append(end + rare if missing else -1)
        state["width"] = end + rare + missing
    return state


def _codes(values: Mapping[str, Coded], options: Mapping[str, Any]) -> State:
    levels = [ranked(column, options)[0] for column in values.values()]
    categorical = [[i, len(of)] for i, of in enumerate(levels)]
    return {
        "encode": "codes",
        "columns": list(values),
        "levels": levels,
        "width": len(levels),
        "categorical": categorical,
    }


def _target(values: Mapping[str, Coded], options: Mapping[str, Any], target: Floats, rows: Any = slice(None)) -> State:
    """The smoothed mean of each level over `rows`; the last row of a table is that of missing values."""
    prior = target[rows].mean(axis=0)
    state: State = {"encode": "target", "columns": list(values), "levels": [], "tables": [], "prior": prior}
    smooth = float(options["smooth"])
    for column in values.values():
        some = column[rows]
        levels, _, _ = ranked(some, options)
        code = by_level({level: i for i, level in enumerate(levels)}, len(levels) + 1, len(levels))(some)
        size = len(levels) + 2
        total = np.stack([np.bincount(code, of, minlength=size) for of in target[rows].T], axis=1)
        means = (total + smooth * prior) / (np.bincount(code, minlength=size)[:, None] + max(smooth, 1e-9))
        means[-1] = prior  # rare and unseen levels
        state["levels"].append(levels)
        state["tables"].append(means.astype(np.float32))
    state["width"] = len(values) * target.shape[1]
    return state


def _crossed(
    values: Mapping[str, Coded], target: Floats, options: Mapping[str, Any], seed: int
) -> tuple[State, Matrix]:
    state = _target(values, options, target)
    rows = len(target)
    fold = np.random.default_rng(seed).permutation(rows) % min(FOLDS, max(rows, 1))
    matrix = np.empty((rows, state["width"]), np.float32)
    for number in range(int(fold.max(initial=-1)) + 1):
        others, held = np.flatnonzero(fold != number), np.flatnonzero(fold == number)
        inner = _target(values, options, target, others) if len(others) else state
        matrix[held] = compiled(inner)({name: column[held] for name, column in values.items()})
    return state, matrix


LEARN: Mapping[str, Callable[..., State]] = {"onehot": _onehot, "codes": _codes, "target": _target}


def by_level(index: Mapping[str, float], unseen: float, missing: float) -> Callable[[Coded], NDArray[Any]]:
    """The function from a column to what `index` says of each row's level; `unseen` where it knows none,
    `missing` where there is none.

    What it says of all levels of the newest column is kept: a server's columns share theirs (`rows.levels`).

    >>> by_level({"a": 0, "b": 1}, 7, 8)(Coded(np.array([1, -1, 0], np.int32), ["b", "c"])).tolist()
    [7, 8, 1]
    """
    kept: tuple[list[str], NDArray[Any]] = ([], np.array((missing,)))

    def find(column: Coded) -> NDArray[Any]:
        nonlocal kept
        codes, levels = column.codes, column.levels
        if len(codes) == 1:  # a served row: no tables for one value
            return np.array((index.get(levels[codes[0]], unseen) if codes[0] >= 0 else missing,))
        known, table = kept
        if known is not levels or len(table) <= len(levels):  # they may have become more
            table = np.array([*(index.get(level, unseen) for level in levels), missing])  # code -1 is the last
            kept = levels, table
        return table.take(codes)

    return find


def compiled(state: State) -> Callable[[Mapping[str, Coded]], Matrix]:
    """The function from columns to the matrix."""
    return COMPILED[state["encode"]](state)


def _compiled_onehot(state: State) -> Callable[[Mapping[str, Coded]], Matrix]:
    start, plan, width = 0, [], state["width"]
    for name, levels, rare, missing in zip(*(state[k] for k in ("columns", "levels", "rare", "missing")), strict=True):
        index = {level: start + i for i, level in enumerate(levels)}
        plan.append((name, index, rare, missing, by_level(index, rare, missing)))
        start += len(levels) + (rare >= 0) + (missing >= 0)

    def encode(values: Mapping[str, Coded]) -> Matrix:
        found = [find(values[name]) for name, *_, find in plan]
        rows = len(found[0])
        matrix = np.zeros((rows, width + 1), np.float32)  # one more feature takes what is none: position -1
        flat, starts = matrix.reshape(-1), np.arange(0, rows * (width + 1), width + 1)
        for at in found:
            flat[starts + np.where(at < 0, width, at)] = 1.0
        return matrix[:, :width]

    def encode_row(values: Mapping[str, Coded]) -> Matrix:
        matrix = np.zeros((1, width + 1), np.float32)
        row = matrix[0]
        for name, index, rare, missing, _ in plan:
            column = values[name]
            code = column.codes[0]
            row[index.get(column.levels[code], rare) if code >= 0 else missing] = 1.0
        return matrix[:, :width]

    return lambda values: encode_row(values) if len(values[plan[0][0]].codes) == 1 else encode(values)


def _compiled_codes(state: State) -> Callable[[Mapping[str, Coded]], Matrix]:
    plan = _plan(state)
    finds = [by_level(index, np.nan, np.nan) for _, index in plan]

    def encode(values: Mapping[str, Coded]) -> Matrix:
        rows = len(values[plan[0][0]].codes)
        matrix = np.empty((rows, len(plan)), np.float32)
        for i, (name, _) in enumerate(plan):
            matrix[:, i] = finds[i](values[name])
        return matrix

    def encode_row(values: Mapping[str, Coded]) -> Matrix:
        found = []
        for name, index in plan:
            column = values[name]
            code = column.codes[0]
            found.append(index.get(column.levels[code], np.nan) if code >= 0 else np.nan)
        return np.array((found,), np.float32)

    return lambda values: encode_row(values) if len(values[plan[0][0]].codes) == 1 else encode(values)


def _compiled_target(state: State) -> Callable[[Mapping[str, Coded]], Matrix]:
    plan = [
        (name, by_level(index, len(index) + 1, len(index)), table)
        for (name, index), table in zip(_plan(state), state["tables"], strict=True)
    ]

    def encode(values: Mapping[str, Coded]) -> Matrix:
        return np.concatenate([table[find(values[name])] for name, find, table in plan], axis=1)

    return encode


def _plan(state: State) -> list[tuple[str, dict[str, int]]]:
    pairs = zip(state["columns"], state["levels"], strict=True)
    return [(name, {level: i for i, level in enumerate(levels)}) for name, levels in pairs]


COMPILED = {"onehot": _compiled_onehot, "codes": _compiled_codes, "target": _compiled_target}


def names(state: State) -> list[str]:
    """Names of the features: `column=level`, `column=(rare)`, `column=(missing)`, or the column's own."""
    if state["encode"] == "target":
        wide = len(state["prior"])
        return [f"{c}: target {i}" if wide > 1 else f"{c}: target" for c in state["columns"] for i in range(wide)]
    if state["encode"] == "codes":
        return list(state["columns"])
    found = []
    for name, levels, rare, missing in zip(*(state[k] for k in ("columns", "levels", "rare", "missing")), strict=True):
        found += [f"{name}={level}" for level in levels]
        found += [f"{name}=(rare)"] * (rare >= 0) + [f"{name}=(missing)"] * (missing >= 0)
    return found


def watch(values: Coded, memory: Any = None) -> tuple[dict[str, Coded], dict[str, Any]]:
    """One signal, the level itself; see `features.watch`."""
    return {"": values}, {}
