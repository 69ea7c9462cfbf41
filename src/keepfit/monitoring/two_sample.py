"""Two samples of counts, compared: is the second drawn from where the first came from?

Both samples are luck, the reference too, so every test is one of two samples. Counts of many signals
lie one after another in the last axis (`Layout`); leading axes are free, so that a simulation of a
thousand passes runs through the very code of one. p-values far in the tail are what counts here: a
budget of one false alarm in a month leaves a test 1e-6 or less, where Pearson's chi-square and normal
approximations of sparse cells are wrong by orders of magnitude, to the wrong side.

    chi_square     likelihood ratio (G, which is 2N times a weighted Jensen-Shannon divergence), sparse
                   cells pooled, with Williams' correction (Biometrika 63, 1976)
    ranks          Wilcoxon's rank sum of an ordered signal with ties as mid-ranks; its permutation
                   distribution as a gamma curve of the same skewness (Pearson type III; Mielke and
                   Berry, Permutation Methods, 2007, chapter 2)
    ks             Kolmogorov-Smirnov: 2 exp(-2 D² nR/(n + R)) bounds its p; few cells make D smaller
    cell           the cell that moved most, by the exact hypergeometric (Fisher) tail, times two for
                   the sides and times the cells (Bonferroni, nearly exact as cells are nearly independent)

Which cells are pooled must not depend on what is tested. Of nominal signals it depends on the sum of both
samples, which is fixed under the permutations that the tests argue with; of ordered ones on the
reference, whose quantiles made the cells, so that its counts are no chance.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.special import gammainc, gammaincc, gammaln, ndtr

Floats = NDArray[np.float64]
Array = NDArray[Any]
SPARSE = 5.0  # rows expected in a cell of the smaller sample; below they are pooled
TERMS = 300  # of a tail that are summed; what is left is bounded
NEAR = 2.0  # signed root of the deviance below which a tail is no news, and only approximated
LOG2 = float(np.log(2.0))


@dataclass(frozen=True)
class Layout:
    """Where the cells of signals lie in one flat axis of T cells.

    `sizes` (S,): cells of each signal, the first of which is "missing"; `ordered` (S,): have the
    others an order?
    """

    sizes: NDArray[np.intp]
    ordered: NDArray[np.bool_]

    @cached_property
    def starts(self) -> NDArray[np.intp]:
        return np.asarray(np.cumsum(self.sizes) - self.sizes, np.intp)

    @cached_property
    def owner(self) -> NDArray[np.intp]:
        """(T,) the signal of each cell."""
        return np.asarray(np.repeat(np.arange(len(self.sizes)), self.sizes), np.intp)

    @cached_property
    def ordinal(self) -> tuple[Layout, NDArray[np.intp]]:
        """The ordered signals without their missing values, and which of the T cells theirs are."""
        there = self.ordered[self.owner]
        there[self.starts] = False
        sizes = self.sizes[self.ordered] - 1
        return Layout(sizes, np.ones(len(sizes), np.bool_)), np.flatnonzero(there)

    def sums(self, cells: Array) -> Floats:
        """(…, T) → (…, S)."""
        if not len(self.sizes):
            return np.zeros((*cells.shape[:-1], 0))
        return np.asarray(np.add.reduceat(cells, self.starts, axis=-1), np.float64)

    def spread(self, signals: Array) -> Array:
        """(…, S) → (…, T): each cell gets what its signal has."""
        return np.take(signals, self.owner, axis=-1)


def layout(sizes: Sequence[int], ordered: Sequence[bool]) -> Layout:
    """The layout of signals with so many cells each."""
    return Layout(np.asarray(sizes, np.intp), np.asarray(ordered, np.bool_))


# --- how far apart --------------------------------------------------------------------------------


def shares(where: Layout, cells: Array) -> Floats:
    """(…, T) counts as shares of their signal; 0 where it has no rows."""
    return np.asarray(cells / np.maximum(where.spread(where.sums(cells)), 1), np.float64)


def psi(where: Layout, reference: Array, live: Array) -> Floats:
    """Population stability index (…, S): Σ (q - p) ln(q/p), with half a row added to each cell."""
    one, other = shares(where, reference + 0.5), shares(where, live + 0.5)
    return where.sums((other - one) * np.log(other / one))


def jensen_shannon(where: Layout, reference: Array, live: Array) -> Floats:
    """Jensen-Shannon distance (…, S): the root of the divergence in bits, from 0 to 1."""
    one, other = shares(where, reference), shares(where, live)
    both = (one + other) / 2
    divergence = where.sums(_xlogx(one) / 2 + _xlogx(other) / 2 - _xlogx(both)) / LOG2
    return np.asarray(np.sqrt(np.clip(divergence, 0, 1)), np.float64)


def ks(where: Layout, reference: Array, live: Array) -> Floats:
    """Largest distance of the cumulative shares of values that are there (…, S); 0 of nominal signals."""
    found = np.zeros((*np.broadcast_shapes(reference.shape, live.shape)[:-1], len(where.sizes)))
    inner, cells = where.ordinal
    if len(cells):
        apart = shares(inner, live[..., cells]) - shares(inner, reference[..., cells])
        found[..., where.ordered] = np.maximum.reduceat(np.abs(_running(inner, apart)), inner.starts, axis=-1)
    return found


# --- how likely by chance -------------------------------------------------------------------------


def chi_square(where: Layout, reference: Array, live: Array) -> Floats:
    """p (…, S) of the likelihood ratio of all cells of a signal, sparse ones as one."""
    both = reference + live
    n, total = where.sums(live), where.sums(both)
    smaller = np.minimum(n, total - n) / np.maximum(total, 1)
    known = np.where(where.spread(where.ordered), reference * where.spread(_ratio(total, total - n)), both)
    dense = (known * where.spread(smaller) >= SPARSE) & (both > 0)
    pooled = [where.sums(np.where(dense, 0, counts)) for counts in (live, reference, both)]
    terms = where.sums(np.where(dense, _xlogx(live) + _xlogx(reference) - _xlogx(both), 0.0))
    terms += _xlogx(pooled[0]) + _xlogx(pooled[1]) - _xlogx(pooled[2])
    deviance = 2 * (terms - _xlogx(n) - _xlogx(total - n) + _xlogx(total))
    free = where.sums(dense) + (pooled[2] > 0) - 1
    with np.errstate(divide="ignore", invalid="ignore"):
        inverse = where.sums(np.where(dense, 1 / both, 0.0)) + np.where(pooled[2] > 0, 1 / pooled[2], 0.0)
        samples = total / n + total / (total - n) - 1
        williams = 1 + samples * (total * inverse - 1) / (6 * total * free)
        p = gammaincc(free / 2, np.maximum(deviance, 0) / williams / 2)
    return np.where((free > 0) & (smaller > 0), p, 1.0)


def ranks(where: Layout, reference: Array, live: Array) -> Floats:
    """p (…, S) of Wilcoxon's rank sum, two-sided; 1 of nominal signals."""
    p = np.ones((*np.broadcast_shapes(reference.shape, live.shape)[:-1], len(where.sizes)))
    inner, cells = where.ordinal
    if not len(cells):
        return p
    here = live[..., cells].astype(np.float64)
    both = reference[..., cells] + here
    n, total = inner.sums(here), inner.sums(both)
    scores = (_running(inner, both) - both / 2 - inner.spread(total) / 2) / inner.spread(np.maximum(total, 1))
    squares = scores * scores * both
    with np.errstate(divide="ignore", invalid="ignore"):
        variance = n * (total - n) / (total * (total - 1)) * inner.sums(squares)
        third = n * (total - n) * (total - 2 * n) / (total * (total - 1) * (total - 2)) * inner.sums(squares * scores)
        z = inner.sums(scores * here) / np.sqrt(variance)
        tail = _pearson(z, third / variance**1.5)
    p[..., where.ordered] = np.where((n > 0) & (total - n > 2) & (variance > 0), np.minimum(1, 2 * tail), 1.0)
    return p


def _ratio(one: Floats, other: Floats) -> Floats:
    return np.asarray(one / np.maximum(other, 1), np.float64)


def _pearson(z: Floats, skewness: Floats) -> Floats:
    """The tail beyond z (mean 0, variance 1) of the gamma curve with that skewness."""
    z = np.where(skewness < 0, -z, z)
    shape = 4 / np.maximum(np.abs(skewness), 1e-3) ** 2
    at = np.maximum(shape + z * np.sqrt(shape), 0)
    tail = np.where(z > 0, gammaincc(shape, at), gammainc(shape, at))
    return np.where(np.abs(skewness) < 1e-3, ndtr(-np.abs(z)), np.where(np.isfinite(z), tail, 1.0))


def kolmogorov_smirnov(where: Layout, reference: Array, live: Array) -> Floats:
    """p (…, S) of the largest distance of cumulative shares, an upper bound; 1 of nominal signals."""
    n, rows = (where.sums(counts) - counts[..., where.starts] for counts in (live, reference))
    size = n * rows / np.maximum(n + rows, 1)
    return np.asarray(np.minimum(1.0, 2 * np.exp(-2 * size * ks(where, reference, live) ** 2)), np.float64)


def cell(where: Layout, reference: Array, live: Array) -> tuple[Floats, NDArray[np.intp]]:
    """p (…, S) of the cell that moved most, and which of the signal's cells that is."""
    both = reference + live
    n, total = where.spread(where.sums(live)), where.spread(where.sums(both))
    rest, others = n - live, total - n
    deviance = _xlogx(live) + _xlogx(reference) - _xlogx(both) + _xlogx(rest)
    deviance += _xlogx(others - reference) - _xlogx(total - both)
    most = np.maximum.reduceat(deviance, where.starts, axis=-1)
    there = np.where(deviance == where.spread(most), np.arange(len(where.owner)), len(where.owner))
    at = np.minimum.reduceat(there, where.starts, axis=-1)  # the first, where two moved alike
    picked = [np.take_along_axis(array, at, -1) for array in (live, reference, n, others)]
    p = np.asarray(either(*picked)) * where.sums(both > 0)
    return np.minimum(1.0, p), at - where.starts


def either(live: Array, reference: Array, n: Array, rows: Array) -> Floats:
    """p, two-sided, of `live` events in n rows against `reference` events in `rows` rows."""
    more = live * rows >= reference * n
    a, size = np.where(more, live, reference), np.where(more, n, rows)
    return np.asarray(np.minimum(1.0, 2 * surplus(a, np.where(more, reference, live), size, n + rows - size)))


def surplus(live: Array, reference: Array, n: Array, rows: Array) -> Floats:
    """The chance of at least `live` events in n rows, given `reference` events in `rows` others.

    The hypergeometric tail of Fisher's exact test, one-sided: exact to rounding where 300 terms reach
    (far in the tail, and always where there are few events or few rows), else an upper bound. Arrays of one shape.

    >>> surplus(np.array([3]), np.array([0]), np.array([10]), np.array([10])).round(6).tolist()  # 2/19
    [0.105263]
    """
    a, b, n, rows = (np.asarray(x, np.float64) for x in np.broadcast_arrays(live, reference, n, rows))
    p = np.ones(a.shape)
    root = _root(a, b, n, rows)
    p[...] = np.where(root > 0, ndtr(-root) * 2, 1.0)  # what is no news is said a little too large
    near = np.minimum(1.0, p)
    far = (root >= NEAR) | ((a * rows > b * n) & (np.minimum(b, n - a) < TERMS))
    near[far] = _tail(a[far], b[far], n[far], rows[far])
    return near


def _root(a: Floats, b: Floats, n: Floats, rows: Floats) -> Floats:
    """The signed root of the deviance of two shares."""
    both, total = a + b, n + rows
    deviance = _xlogx(a) + _xlogx(b) - _xlogx(both) + _xlogx(n - a) + _xlogx(rows - b) - _xlogx(total - both)
    deviance += _xlogx(total) - _xlogx(n) - _xlogx(rows)
    return np.asarray(np.sqrt(np.maximum(0, 2 * deviance)) * np.sign(a * rows - b * n), np.float64)


def _tail(a: Floats, b: Floats, n: Floats, rows: Floats) -> Floats:
    """Σ over k ≥ a of the hypergeometric probability of k among a + b events."""
    first = np.exp(_choose(n, a) + _choose(rows, b) - _choose(n + rows, a + b))
    term, found = np.ones(len(a)), np.ones(len(a))
    for k in range(TERMS):
        ratio = (b - k) * (n - a - k) / ((a + k + 1) * (rows - b + k + 1))
        term = term * np.maximum(ratio, 0)
        found += term
        if not (term > 1e-17 * found).any():
            break
    with np.errstate(divide="ignore", invalid="ignore"):
        left = np.where(term > 0, term * ratio / (1 - ratio), 0.0) if len(a) else found  # ratios only get smaller
    return np.asarray(np.minimum(1.0, first * (found + np.where(left >= 0, left, np.inf))), np.float64)


def _choose(n: Floats, k: Floats) -> Floats:
    return np.asarray(gammaln(n + 1) - gammaln(k + 1) - gammaln(n - k + 1), np.float64)


def _xlogx(counts: Array) -> Floats:
    return np.asarray(counts * np.log(np.where(counts > 0, counts, 1)), np.float64)


def _running(where: Layout, cells: Array) -> Floats:
    """(…, T) cumulative sums, begun anew at each signal."""
    total = np.cumsum(cells, axis=-1, dtype=np.float64)
    before = np.concatenate([np.zeros((*total.shape[:-1], 1)), total], axis=-1)[..., where.starts]
    return np.asarray(total - where.spread(before), np.float64)
