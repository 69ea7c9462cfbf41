"""Compressed rows without scipy: joining blocks side by side, products, choosing columns."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from keepfit.features.values import Sparse

Matrix = NDArray[np.float32] | Sparse
CELLS = 4_000_000  # products are made in slices of about so many cells, to bound the memory
DENSE = 50_000_000  # a sparse matrix is made dense in pieces of about so many cells


def width(block: Matrix) -> int:
    """Number of columns."""
    return block.width if isinstance(block, Sparse) else block.shape[1]


def rows(block: Matrix) -> int:
    """Number of rows."""
    return len(block.indptr) - 1 if isinstance(block, Sparse) else len(block)


def compress(block: NDArray[np.float32]) -> Sparse:
    """A dense block as compressed rows.

    >>> compress(np.array([[0, 2], [0, 0]], np.float32)).indptr.tolist()
    [0, 1, 1]
    """
    row, column = np.nonzero(block)
    indptr = np.zeros(len(block) + 1, np.int64)
    indptr[1:] = np.bincount(row, minlength=len(block)).cumsum()
    return Sparse(np.asarray(block[row, column], np.float32), column.astype(np.int32), indptr, block.shape[1])


def join(blocks: Sequence[Matrix]) -> Matrix:
    """Blocks of the same rows side by side; Sparse if one of them is."""
    if len(blocks) == 1:
        return blocks[0]
    dense = [block for block in blocks if not isinstance(block, Sparse)]
    if len(dense) == len(blocks):
        joined: NDArray[np.float32] = np.empty((len(dense[0]), sum(b.shape[1] for b in dense)), np.float32)
        np.concatenate(dense, axis=1, out=joined)
        return joined
    return _join_rows([b if isinstance(b, Sparse) else compress(b) for b in blocks])


def _join_rows(blocks: Sequence[Sparse]) -> Sparse:
    lengths = [np.diff(block.indptr) for block in blocks]
    indptr = np.zeros(len(blocks[0].indptr), np.int64)
    indptr[1:] = np.sum(lengths, axis=0).cumsum()
    data, indices = np.empty(indptr[-1], np.float32), np.empty(indptr[-1], np.int32)
    start, offset = indptr[:-1].copy(), 0
    for block, length in zip(blocks, lengths, strict=True):
        at = np.repeat(start - block.indptr[:-1], length) + np.arange(len(block.data))
        data[at], indices[at] = block.data, block.indices + np.int32(offset)
        start += length
        offset += block.width
    return Sparse(data, indices, indptr, offset)


def dense_product(block: Sparse, components: NDArray[np.float32]) -> NDArray[np.float32]:
    """`block @ components.T` for components (k, width), as a dense (n, k)."""
    weights = np.ascontiguousarray(components.T)
    count = rows(block)
    product = np.zeros((count, len(components)), np.float32)
    full = np.flatnonzero(np.diff(block.indptr))
    at = 0
    while at < len(full):
        first = block.indptr[full[at]]
        last = first + max(CELLS // max(len(components), 1), 1)
        end = int(np.searchsorted(block.indptr[full + 1], last, side="right"))
        some = full[at : max(end, at + 1)]
        cells = slice(first, block.indptr[some[-1] + 1])
        terms = weights[block.indices[cells]] * block.data[cells, None]
        product[some] = np.add.reduceat(terms, block.indptr[some] - first, axis=0)
        at += len(some)
    return product


def take(block: Sparse, keep: NDArray[np.int64]) -> Sparse:
    """The columns `keep`, ascending.

    >>> take(compress(np.array([[1, 2, 3]], np.float32)), np.array([0, 2])).data.tolist()
    [1.0, 3.0]
    """
    place = np.full(block.width, -1, np.int32)
    place[keep] = np.arange(len(keep), dtype=np.int32)
    indices = place[block.indices]
    there = indices >= 0
    indptr = np.concatenate(([0], there.cumsum()))[block.indptr]
    return Sparse(block.data[there], indices[there], indptr.astype(np.int64), len(keep))


def dense(matrix: Matrix) -> NDArray[np.float32]:
    """A float32 (rows, width) array of either form of a matrix."""
    if not isinstance(matrix, Sparse):
        return matrix
    full = np.zeros((rows(matrix), matrix.width), np.float32)
    full[np.repeat(np.arange(len(full)), np.diff(matrix.indptr)), matrix.indices] = matrix.data
    return full


def pieces(matrix: Matrix, function: Callable[[NDArray[np.float32]], Any]) -> Any:
    """`function` of the dense matrix, in pieces of rows if it would be large."""
    if not isinstance(matrix, Sparse):
        return function(matrix)
    step, count = max(DENSE // max(matrix.width, 1), 1), rows(matrix)
    return np.concatenate([function(dense(_some(matrix, at, at + step))) for at in range(0, max(count, 1), step)])


def _some(matrix: Sparse, start: int, end: int) -> Sparse:
    bounds = matrix.indptr[start : end + 1]
    cells = slice(bounds[0], bounds[-1])
    return Sparse(matrix.data[cells], matrix.indices[cells], bounds - bounds[0], matrix.width)
