"""Numbers as features: imputed, scaled or bent along their quantiles, or as they are.

Options (defaults in `DEFAULTS`):

    impute   "median", "mean", or None: NaN passes (for trees)
    flag     one 0/1 feature for each column that has missing values in the training rows
    scale    mean 0 and standard deviation 1, clipped at 100 000 deviations so that scores stay finite
    bins     None, a number, or "auto": a fifth of the root of the rows, between 3 and 32.
             With n bins, each column is also written as n ramps along its quantiles: the share of
             each bin that the value has passed, from 0 to 1. A linear model then draws a line that
             may bend at each quantile, and no outlier pulls at it (Gorishniy, Rubachev and Babenko,
             "On Embeddings for Numerical Features in Tabular Deep Learning", 2022, section 3.2).
             A value that fills more than one bin counts as one, so that the many zeros of a gain or
             a price do not eat the bins.
    linear   keep the plain column beside its ramps

All arithmetic is float64 and ends in one cast to float32, before any model sees the values.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
State = dict[str, Any]
DEFAULTS: dict[str, Any] = {"impute": None, "flag": False, "scale": False, "bins": None, "linear": True}
FAR = 1e5  # standard deviations
LARGEST = float(np.finfo(np.float32).max)


def fit(
    values: Mapping[str, Floats], target: Any, options: Mapping[str, Any], seed: int
) -> tuple[State, NDArray[np.float32]]:
    """State and matrix of number columns; each (n,) float64, NaN = missing."""
    state = learn(list(values), [np.asarray(v) for v in values.values()], options)
    return state, compiled(state)(values)


def learn(names: Sequence[str], values: Sequence[Floats], options: Mapping[str, Any]) -> State:
    """The tables of the columns `names`; infinities count as missing here."""
    finite = [_within(column[np.isfinite(column)]) for column in values]
    gaps = np.array([np.isnan(column).any() for column in values], bool)
    state: State = {"columns": list(names), "flags": np.flatnonzero(gaps & bool(options["flag"]))}
    if options["impute"] is not None:
        middle = np.median if options["impute"] == "median" else np.mean
        state["fill"] = np.array([middle(x) if len(x) else 0.0 for x in finite], np.float64)
    if options["scale"]:
        filled = state.get("fill", np.zeros(len(names)))
        spread = [_spread(x, len(v), f) for x, v, f in zip(finite, values, filled, strict=True)]
        state["mean"] = np.array([mean for mean, _ in spread], np.float64)
        state["scale"] = np.array([1.0 / deviation for _, deviation in spread], np.float64)
    if options["bins"]:
        state |= _ramps([knots(x, _bins(options["bins"], len(x))) for x in finite])
    bent = set(state["bin_column"].tolist()) if options["bins"] and not options["linear"] else set()
    state["plain"] = np.array([i for i in range(len(names)) if i not in bent], np.int64)
    state["width"] = len(state["plain"]) + len(state.get("bin_column", ())) + len(state["flags"])
    return state


def _bins(wanted: int | str, rows: int) -> int:
    return min(max(int(rows**0.5 / 5), 3), 32) if wanted == "auto" else int(wanted)


def _spread(finite: Floats, rows: int, fill: float) -> tuple[float, float]:
    """Mean and standard deviation of the imputed column; 1 for a column that does not vary."""
    gaps = rows - len(finite)
    if not rows:
        return 0.0, 1.0
    mean = (float(finite.sum()) + gaps * fill) / rows
    variance = (float(((finite - mean) ** 2).sum()) + gaps * (fill - mean) ** 2) / rows
    # What is left of a constant column after rounding is no spread.
    deviation = variance**0.5
    return mean, deviation if deviation > 1e-12 * abs(mean) + 1e-300 else 1.0


def knots(finite: Floats, bins: int) -> Floats:
    """Ascending quantiles of a column, where no value has more weight than one bin.

    >>> knots(np.array([0.0] * 90 + [1, 2, 3, 4, 5, 6, 7, 8, 9, 10]), 3)
    array([ 0.,  5., 10.])
    """
    distinct, counts = np.unique(finite, return_counts=True)
    if len(distinct) < 2:
        return np.empty(0)
    if len(distinct) <= bins:
        return np.asarray(distinct, np.float64)
    weight = np.minimum(counts, _share(counts, bins))
    share = weight.cumsum() / weight.sum()
    at = np.searchsorted(share, np.arange(1, bins) / bins)
    return np.asarray(distinct[np.unique(np.r_[0, at, len(distinct) - 1])], np.float64)


def _share(counts: NDArray[np.int64], bins: int) -> float:
    """The size of a bin when each value that would fill more than one has one to itself."""
    rest = float(counts.sum())
    heaviest = np.sort(counts)[::-1][:bins].tolist()
    for taken, heavy in enumerate(heaviest):
        if heavy <= rest / (bins - taken):
            return rest / (bins - taken)
        rest -= heavy
    return rest


def _ramps(found: Sequence[Floats]) -> State:
    low = np.concatenate([k[:-1] for k in found] or [np.empty(0)])
    high = np.concatenate([k[1:] for k in found] or [np.empty(0)])
    column = np.repeat(np.arange(len(found)), [max(len(k) - 1, 0) for k in found])
    return {"bin_low": low, "bin_scale": 1.0 / np.maximum(high - low, 1e-150), "bin_column": column}


def compiled(state: State) -> Callable[[Mapping[str, Floats]], NDArray[np.float32]]:
    """The function from columns to the matrix; all columns go through each step at once."""
    columns = state["columns"]
    transform = compiled_stack(state)
    return lambda values: transform(np.concatenate([values[c] for c in columns]).reshape(len(columns), -1))


def compiled_stack(state: State) -> Callable[[Floats], NDArray[np.float32]]:
    """The function from stacked columns (k, n) to the matrix (n, width)."""
    flags, plain, width = state["flags"], state["plain"], state["width"]
    fill = state["fill"][:, None] if "fill" in state else None
    mean, scale = (state[k][:, None] for k in ("mean", "scale")) if "mean" in state else (None, None)
    every = len(plain) == len(state["columns"])
    bins = "bin_low" in state and len(state["bin_low"]) > 0
    low, step, bent = (state[k] for k in ("bin_low", "bin_scale", "bin_column")) if bins else (None, None, None)

    def transform(stack: Floats) -> NDArray[np.float32]:
        gaps = np.isnan(stack)
        values = _within(stack if fill is None else np.where(gaps, fill, stack))
        out = np.empty((width, stack.shape[1]), np.float32)
        shown = values if mean is None else _scaled(values, mean, scale)
        out[: len(plain)] = shown if every else shown[plain]
        if bins:
            _ramp(values, low, step, bent, out[len(plain) : width - len(flags)])
        if len(flags):
            out[width - len(flags) :] = gaps[flags]
        return out.T

    return transform


def _within(values: Floats) -> Floats:
    """What float32 can hold; NaN passes."""
    clipped = np.minimum(values, LARGEST)
    return np.asarray(np.maximum(clipped, -LARGEST, out=clipped))


def _scaled(values: Floats, mean: Any, scale: Any) -> Floats:
    scaled = values - mean
    scaled *= scale
    np.minimum(scaled, FAR, out=scaled)
    return np.asarray(np.maximum(scaled, -FAR, out=scaled))


def _ramp(values: Floats, low: Any, step: Any, bent: Any, out: NDArray[np.float32]) -> None:
    ramp = values[bent]
    ramp -= low[:, None]
    ramp *= step[:, None]
    np.minimum(ramp, 1.0, out=ramp)
    out[:] = np.maximum(ramp, 0.0, out=ramp)


def names(state: State) -> list[str]:
    """Names of the features: the column, `column[low, high]` for a ramp, `column is missing`."""
    columns = state["columns"]
    found = [columns[i] for i in state["plain"]]
    for i, low, step in zip(*(state.get(k, ()) for k in ("bin_column", "bin_low", "bin_scale")), strict=True):
        found.append(f"{columns[i]}[{low:.6g}, {low + 1 / step:.6g}]")
    return found + [f"{columns[i]} is missing" for i in state["flags"]]


def watch(values: Floats, memory: Any = None) -> tuple[dict[str, Floats], dict[str, Any]]:
    """One signal, the number itself; see `features.watch`."""
    return {"": values}, {}
