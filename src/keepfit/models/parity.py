"""Parity: the stored model says what the trained model says, proved on rows and told as a Verdict.

Real rows are asked as they are, and rows made from them are asked with missing values, unseen
categories, extreme numbers, empty, unknown and repeated text, and odd pictures, because those are where
conversions go wrong.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from keepfit.data import pictures
from keepfit.features.values import Coded, Columns, Pictures, Tokens
from keepfit.models.fitted import Fitted, Output
from keepfit.models.train import predict as trained
from keepfit.types import Check, Verdict

LIMIT = 1e-5  # probabilities: difference; values: difference relative to their size
ROWS = 10_000
MADE = 1_000  # rows made from real ones
ALONE = 50  # rows asked one at a time
EXTREMES = (0.0, -1.0, 0.5, 1e-35, -1e-35, 1e6, -1e6, 16_777_217.0, 1e12, -1e12, 1e30, -1e30)
UNSEEN = "\N{REPLACEMENT CHARACTER} never seen"
Predict = Callable[[Columns], Output]
# none; one grey pixel; a line; black and white fields; larger than any frame
PICTURES = (
    None,
    pictures.encoded(np.full((1, 1), 128, np.uint8)),
    pictures.encoded(np.arange(200, dtype=np.uint8)[None]),
    pictures.encoded(np.tile(np.array([[0, 255], [255, 0]], np.uint8), (20, 30))),
    pictures.encoded(np.full((600, 500, 3), 255, np.uint8)),
)


def parity(
    fitted: Fitted,
    predict: Predict,
    columns: Columns,
    limit: float = LIMIT,
    rows: int = ROWS,
    seed: int = 0,
    expected: Output | None = None,
    got: Output | None = None,
) -> Verdict:
    """Whether `predict`, the bundle's, agrees with the training pipeline on `columns`.

    Up to `rows` real rows, drawn with `seed` (all, where both were asked already), and rows made from
    them. The checks: the largest difference of real and of made rows against `limit` (probabilities
    as they are, values relative to their size), labels that differ, and rows asked alone against
    the same rows asked together.
    `expected` and `got` are what the training pipeline and `predict` answer for `columns`, where they
    were asked already.
    Without a row nothing is checked, and the Verdict says so.
    """
    random = np.random.default_rng(seed)
    if len(columns) > rows and (expected is None or got is None):
        some = np.sort(random.choice(len(columns), rows, replace=False))
        columns = columns[some]
        expected, got = (None if known is None else known[some] for known in (expected, got))
    checks = _compare("real rows", fitted, predict, columns, limit, expected, got)
    checks += _compare("made rows", fitted, predict, odd(columns, min(MADE, len(columns)), random), limit)
    return Verdict("parity", (*checks, _alone(predict, columns, limit)))


def _compare(
    what: str,
    fitted: Fitted,
    predict: Predict,
    columns: Columns,
    limit: float,
    expected: Output | None = None,
    got: Output | None = None,
) -> list[Check]:
    if not len(columns):
        return [Check(f"difference on {what}", "not checked", limit=limit, detail="no rows")]
    with np.errstate(over="ignore", invalid="ignore"):  # exp of an extreme number is infinite on both sides
        expected, got = expected or trained(fitted, columns), got or predict(columns)
    checks = [_difference(f"difference on {what}", expected, got, limit)]
    if fitted.classes:
        wrong = np.flatnonzero(expected.values != got.values)
        detail = f"{len(columns):,} {what}" if not len(wrong) else _shown(wrong[0], expected, got)
        checks.append(Check(f"labels on {what}", "failed" if len(wrong) else "passed", len(wrong), 0, detail))
    return checks


def _shown(row: int, expected: Output, got: Output) -> str:
    """One row with different labels, in words."""
    told = f"row {row}: trained {expected.values[row]!r}, stored {got.values[row]!r}"
    if expected.probabilities is None or got.probabilities is None:
        return told
    return f"{told}; probabilities {expected.probabilities[row].tolist()} and {got.probabilities[row].tolist()}"


def _difference(name: str, expected: Output, got: Output, limit: float) -> Check:
    gaps = differences(expected, got)
    worst = float(gaps.max())
    passed = worst <= limit  # a NaN on one side only is infinite
    detail = (
        f"{len(gaps):,} {name.removeprefix('difference on ')}"
        if passed
        else f"largest at row {int(gaps.argmax())} of {len(gaps)}"
    )
    return Check(name, "passed" if passed else "failed", worst, limit, detail)


def differences(expected: Output, got: Output) -> NDArray[np.float64]:
    """Per row: the largest difference of its probabilities, or of its values relative to their size.

    A value's size is its own or, if larger, the median size of all expected values. Where just one
    side is NaN, or the two are different infinities, the difference is infinite.
    """
    if (expected.probabilities is None) != (got.probabilities is None):
        return np.full(len(expected), np.inf)
    if expected.probabilities is not None and got.probabilities is not None:
        return np.asarray(_gap(expected.probabilities, got.probabilities).max(axis=1))
    sides = [(expected.values, got.values), (expected.low, got.low), (expected.high, got.high)]
    known = [
        (np.asarray(a, np.float64), np.asarray(b, np.float64)) for a, b in sides if a is not None and b is not None
    ]
    if len(known) != sum(a is not None or b is not None for a, b in sides):
        return np.full(len(expected), np.inf)
    sizes = np.abs(known[0][0])
    finite = sizes[np.isfinite(sizes)]
    size = np.maximum(sizes, np.median(finite) if len(finite) else 1.0)
    with np.errstate(invalid="ignore"):
        relative = [_gap(a, b) / np.where(size > 0, size, 1.0) for a, b in known]
    return np.asarray(np.nan_to_num(np.max(relative, axis=0), nan=0.0, posinf=np.inf))


def _gap(a: NDArray[Any], b: NDArray[Any]) -> NDArray[np.float64]:
    """|a - b|; 0 where both are NaN or the same infinity, infinite where only one is not finite."""
    with np.errstate(invalid="ignore"):
        gap = np.abs(a - b)
    same = (a == b) | (np.isnan(a) & np.isnan(b))
    return np.where(same, 0.0, np.where(np.isfinite(gap), gap, np.inf))


def _alone(predict: Predict, columns: Columns, limit: float) -> Check:
    name = "rows alone and together"
    count = min(ALONE, len(columns))
    if not count:
        return Check(name, "not checked", limit=limit, detail="no rows")
    places = np.linspace(0, len(columns) - 1, count).astype(np.intp)
    columns = columns[places]
    together = predict(columns)
    each = [predict(columns[np.array([k])]) for k in range(count)]
    return _difference(name, together, _joined(each), limit)


def _joined(outputs: list[Output]) -> Output:
    def join(parts: list[Any]) -> Any:
        return None if any(part is None for part in parts) else np.concatenate(parts)

    return Output(*(join([getattr(o, name) for o in outputs]) for name in ("values", "probabilities", "low", "high")))


# --- rows that are hard -------------------------------------------------------------------------


def odd(columns: Columns, count: int, random: np.random.Generator) -> Columns:
    """`count` rows drawn from `columns` with about a quarter of their values made hard."""
    if not count:
        return columns
    drawn = columns[random.integers(0, len(columns), count)]
    values = {name: _odd(value, random) for name, value in drawn.values.items()}
    return Columns(values, count)


def _odd(value: Any, random: np.random.Generator) -> Any:
    touched = np.flatnonzero(random.random(len(value)) < 0.25)
    if isinstance(value, Coded):
        return _odd_codes(value, touched, random)
    if isinstance(value, Tokens):
        return _odd_texts(value, touched, random)
    if isinstance(value, Pictures):
        hard = random.integers(0, len(PICTURES), len(touched))
        places = dict(zip(touched.tolist(), hard.tolist(), strict=True))
        return Pictures([PICTURES[places[i]] if i in places else data for i, data in enumerate(value.data)])
    changed = np.array(value, np.float64)
    known = changed[np.isfinite(changed)]
    near = known if len(known) else np.zeros(1)
    hard = np.array([np.nan, np.nan, np.nan, *EXTREMES, near.min() - 1, near.max() + 1, near.max() * 10, *near[:3]])
    changed[touched] = random.choice(hard, len(touched))
    return changed


def _odd_codes(value: Coded, touched: NDArray[np.intp], random: np.random.Generator) -> Coded:
    levels = [*value.levels, UNSEEN, ""]
    codes = value.codes.copy()
    codes[touched] = random.choice([-1, len(levels) - 2, len(levels) - 1], len(touched))
    return Coded(codes, levels)


def _odd_texts(value: Tokens, touched: NDArray[np.intp], random: np.random.Generator) -> Tokens:
    """Empty documents, documents of one unknown word, and documents that end after a few words."""
    ids = np.append(value.ids, np.int32(len(value.words))).astype(np.int32)
    starts, lengths = value.starts.copy(), value.lengths.copy()
    kind = random.integers(0, 3, len(touched))
    lengths[touched] = np.where(kind == 0, 0, np.where(kind == 1, 1, np.minimum(lengths[touched], 3)))
    starts[touched] = np.where(kind == 1, len(ids) - 1, starts[touched])
    return Tokens(ids, starts, lengths, [*value.words, UNSEEN])
