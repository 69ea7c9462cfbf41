"""Tree ensembles by tables of bit masks, in numpy: 5 to 7 times as fast as walking down the trees.

Lucchese et al., "QuickScorer: a fast algorithm to rank documents with additive ensembles of
regression trees", SIGIR 2015, with a table in place of its lists. Each tree has one bit for each of
its leaves. A split that is answered yes rules out the leaves on its no side, and the other way
round. What a row's value of one column answers to all splits on that column depends only on the bin
that the value is in, between two thresholds; so a table holds, for each bin of each column, the
leaves of every tree that are left. The `and` of the rows' entries over all columns leaves one bit a
tree: its leaf. No branch depends on the data, and numpy works on all trees at once.

The answers are those of the ONNX graph that the tables are made from: comparisons are of float64
with the thresholds as they were learned, NaN goes where each split says, and leaves are summed in
float64. Trees with more than 64 leaves, and very wide tables, are left to onnxruntime.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from keepfit.deployment.onnx_file import Graph, Node

Floats = NDArray[np.float64]
LEAVES = 64  # bits of the widest mask
CELLS = 8_000_000  # of all tables: 32 MB with 32-bit masks
COLUMNS = 64  # with more, most entries say nothing, and walking down the trees is faster
ROWS = 64  # rows worked on at once: their masks stay in the processor's cache
SHARE = 2_048  # rows that are worth a thread
ZERO = float(np.float32(1e-35))  # LightGBM takes everything from -ZERO to ZERO as 0
MEMBER = 6  # of nodes_modes: is the value in a set; 0 is <=
LEQ, SET, HOLED = range(3)  # how a column is asked: by threshold, by set, by threshold with 0 as missing


class Splits(NamedTuple):
    """The splits of all trees: tree, column, how it is asked, threshold, whether NaN goes to yes, and the sets
    of those that ask for one; `yes` and `no` are the leaves of its tree that a split leads to, as bit masks."""

    tree: NDArray[np.int64]
    column: NDArray[np.int64]
    way: NDArray[np.int64]
    threshold: Floats
    missing: NDArray[np.bool_]
    yes: NDArray[np.uint64]
    no: NDArray[np.uint64]
    sets: Mapping[int, Floats]


class Leaves(NamedTuple):
    """All leaves: tree, number within the tree (its bit), value."""

    tree: NDArray[np.int64]
    bit: NDArray[np.int64]
    value: Floats


class Axis(NamedTuple):
    """One column asked in one way. `grid` are its thresholds or codes; the bin `len(grid)` is what lies above
    (or in no set), the next one NaN. `start` is the place of its first bin among those of all axes."""

    column: int
    way: int
    grid: Floats
    start: int


class Tables(NamedTuple):
    """All that scoring needs. `masks` is (bins of all axes, trees); `leaves` are the values of all leaves,
    `bits` a tree; the trees of an output stand together, from its place in `first` on."""

    axes: tuple[Axis, ...]
    masks: NDArray[Any]
    leaves: Floats
    first: NDArray[np.int64]

    @property
    def bits(self) -> int:
        return int(self.masks.itemsize * 8)


# --- from the graph -----------------------------------------------------------------------------


def tables(graph: Graph) -> Tables | None:
    """The tables of a graph that `models.tree_graph` wrote; None where onnxruntime is the better choice.

    Raises ValueError for a graph of another form.
    """
    ensembles = [node for node in graph.nodes if node.kind == "TreeEnsemble"]
    if not ensembles:
        return None
    _familiar(graph, ensembles)
    if any(_splits_of_a_tree(node).max() >= LEAVES for node in ensembles):
        return None
    splits, leaves = _together([_splits(node, _views(graph)) for node in ensembles])
    axes, trees = _axes(splits), int(leaves.tree[-1]) + 1
    size = sum(len(axis.grid) + 2 for axis in axes)
    if len(axes) > COLUMNS or size * trees > CELLS:
        return None
    bits = 32 if leaves.bit.max() < 32 else 64
    masks = np.full((size, trees), -1, f"i{bits // 8}").view(f"u{bits // 8}")
    used = (np.uint64(2) << np.bincount(leaves.tree).astype(np.uint64) - np.uint64(1)) - np.uint64(1)
    masks[: len(axes[0].grid) + 2] &= used.astype(masks.dtype)  # every row has one bin of the first axis
    for axis in axes:
        _fill(masks[axis.start : axis.start + len(axis.grid) + 2], axis, splits)
    full = np.zeros((trees, bits))
    full[leaves.tree, leaves.bit] = leaves.value
    first = np.cumsum([0] + [len(node.attributes["tree_roots"]) for node in ensembles])[:-1]
    return Tables(tuple(axes), masks, full.ravel(), first)


def _familiar(graph: Graph, ensembles: Sequence[Node]) -> None:
    kinds = [node.kind for node in graph.nodes]
    after = ["TreeEnsemble"] * len(ensembles) + ["Concat"]
    fixed = {"n_targets": 1, "aggregate_function": 1, "post_transform": 0}
    odd = [name for n in ensembles for name, value in fixed.items() if n.attributes.get(name, value) != value]
    if kinds[: -len(after)] not in BEFORE or kinds[-len(after) :] != after or odd:
        raise ValueError("not a graph of trees as keepfit writes it")
    if graph.nodes[-1].inputs != tuple(n.outputs[0] for n in ensembles) or any(n.inputs != ("x",) for n in ensembles):
        raise ValueError("not a graph of trees as keepfit writes it")


BEFORE = (
    ["Cast"],
    ["Cast", "Gather", "Add", "Concat"],
    ["Cast", "Gather", "Add", "Abs", "LessOrEqual", "Where", "Concat"],
)


def _splits_of_a_tree(node: Node) -> NDArray[np.int64]:
    """For each tree, one less than its leaves."""
    return np.diff(np.append(node.attributes["tree_roots"], len(node.attributes["nodes_splits"])))


def _views(graph: Graph) -> tuple[NDArray[np.int64], Floats, NDArray[np.bool_]]:
    """For each column that the trees see: the matrix's column, what is added to it, whether 0 counts as missing."""
    plain = np.arange(graph.width)
    places = graph.constants.get("places", np.empty(0, np.int64))
    offsets = graph.constants.get("offsets", np.zeros(len(places)))
    holes = graph.constants.get("holes", np.full(len(places), -1.0))
    if not ((holes == -1.0) | (holes == ZERO)).all():
        raise ValueError("another zero")
    nothing = np.zeros(graph.width)
    return np.append(plain, places), np.append(nothing, offsets), np.append(nothing > 0, holes >= 0)


def _splits(node: Node, views: tuple[Any, Any, Any]) -> tuple[Splits, Leaves]:
    """The splits and the leaves of one ensemble."""
    given = node.attributes
    roots, seen, threshold = given["tree_roots"], given["nodes_featureids"], given["nodes_splits"]
    tree = np.searchsorted(roots, np.arange(len(seen)), side="right") - 1
    sides = [(given[f"nodes_{s}nodeids"], given[f"nodes_{s}leafs"].astype(bool)) for s in ("true", "false")]
    owner = np.full(len(given["leaf_weights"]), -1)
    for to, is_leaf in sides:
        owner[to[is_leaf]] = tree[is_leaf]
        if (to[~is_leaf] <= np.flatnonzero(~is_leaf)).any():
            raise ValueError("a split that stands before the one it is reached from")
    if owner.min() < 0 or (np.diff(owner) < 0).any():
        raise ValueError("leaves that are not in the order of their trees")
    starts = np.searchsorted(owner, np.arange(len(roots)))
    leaves = Leaves(owner, np.arange(len(owner)) - starts[owner], given["leaf_weights"])
    yes, no = _reached(sides, leaves.bit)
    sets = _sets(given)
    column, offset, hole = (part[seen] for part in views)
    way = np.where(hole, HOLED, LEQ)
    way[list(sets)] = SET
    if (offset[way != SET] != 0).any():
        raise ValueError("a threshold on a column that was moved")
    codes = {at: values - offset[at] for at, values in sets.items()}
    missing = given["nodes_missing_value_tracks_true"].astype(bool)
    return Splits(tree, column, way, threshold, missing, yes, no, codes), leaves


def _reached(sides: Sequence[tuple[Any, Any]], bit: NDArray[np.int64]) -> tuple[Any, Any]:
    """For each split the leaves beyond its yes and its no side; those after it are known before it."""
    (yes, yes_leaf), (no, no_leaf) = ((to.tolist(), is_leaf.tolist()) for to, is_leaf in sides)
    single = [1 << place for place in bit.tolist()]
    left, right, below = [0] * len(yes), [0] * len(yes), [0] * len(yes)
    for at in range(len(yes) - 1, -1, -1):
        left[at] = single[yes[at]] if yes_leaf[at] else below[yes[at]]
        right[at] = single[no[at]] if no_leaf[at] else below[no[at]]
        below[at] = left[at] | right[at]
    return np.array(left, np.uint64), np.array(right, np.uint64)


def _sets(given: Mapping[str, Any]) -> dict[int, Floats]:
    """Split → its set; the sets stand one after the other, with NaN after each."""
    modes = np.asarray(given["nodes_modes"])
    asking = np.flatnonzero(modes == MEMBER)
    if not ((modes == 0) | (modes == MEMBER)).all():
        raise ValueError("another kind of split")
    if not len(asking):
        return {}
    values = given["membership_values"]
    ends = np.flatnonzero(np.isnan(values))
    parts = np.split(values, ends + 1)[: len(ends)]
    return {int(at): part[:-1] for at, part in zip(asking, parts, strict=True)}


def _together(parts: Sequence[tuple[Splits, Leaves]]) -> tuple[Splits, Leaves]:
    """The splits and leaves of all ensembles, their trees numbered on."""
    sets: dict[int, Floats] = {}
    splits, leaves = [], []
    before = trees = 0
    for some, ends in parts:
        sets |= {at + before: codes for at, codes in some.sets.items()}
        splits.append(some._replace(tree=some.tree + trees))
        leaves.append(ends._replace(tree=ends.tree + trees))
        before += len(some.tree)
        trees += int(ends.tree[-1]) + 1
    columns = {name: np.concatenate([getattr(part, name) for part in splits]) for name in Splits._fields[:-1]}
    return Splits(**columns, sets=sets), Leaves(*(np.concatenate(arrays) for arrays in zip(*leaves, strict=True)))


def _axes(splits: Splits) -> list[Axis]:
    axes: list[Axis] = []
    start = 0
    for column, way in sorted(set(zip(splits.column.tolist(), splits.way.tolist(), strict=True))):
        mine = np.flatnonzero((splits.column == column) & (splits.way == way))
        asked = [splits.sets[at] for at in mine.tolist()] if way == SET else [splits.threshold[mine]]
        grid = np.sort(np.concatenate(asked))
        grid = grid[_firsts(grid)]
        axes.append(Axis(column, way, grid, start))
        start += len(grid) + 2
    return axes


def _firsts(ordered: NDArray[Any]) -> NDArray[np.intp]:
    """The first place of each value in ascending ones. `np.unique` would import `numpy.ma`: 15 ms of each start.

    >>> _firsts(np.array([3, 3, 5, 7, 7])).tolist()
    [0, 2, 3]
    """
    new = np.ones(len(ordered), bool)
    np.not_equal(ordered[1:], ordered[:-1], out=new[1:])
    return np.flatnonzero(new)


def _fill(block: NDArray[Any], axis: Axis, splits: Splits) -> None:
    """Rule out leaves in the bins (rows) of one axis. A side that both answers lead to (the one leaf of a
    tree that asks nothing) is never ruled out."""
    mine = np.flatnonzero((splits.column == axis.column) & (splits.way == axis.way))
    tree, yes, no = splits.tree[mine], splits.yes[mine], splits.no[mine]
    if_yes, if_no = (~(no & ~yes)).astype(block.dtype), (~(yes & ~no)).astype(block.dtype)
    np.bitwise_and.at(block[-1], tree, np.where(splits.missing[mine], if_yes, if_no))
    if axis.way == SET:
        _by_sets(block[:-1], axis.grid, [splits.sets[at] for at in mine.tolist()], tree, if_yes, if_no)
    else:
        _by_thresholds(block[:-1], np.searchsorted(axis.grid, splits.threshold[mine]), tree, if_yes, if_no)


def _by_thresholds(block: NDArray[Any], last: NDArray[np.intp], tree: Any, if_yes: Any, if_no: Any) -> None:
    """A split is answered yes in all bins up to its `last`, and no in those after it."""
    above = np.full(block.shape, -1, f"i{block.itemsize}").view(block.dtype)
    np.bitwise_and.at(above, (last + 1, tree), if_no)
    np.bitwise_and.at(block, (last, tree), if_yes)
    for at in range(1, len(block)):  # row by row: several times as fast as `accumulate` along columns
        np.bitwise_and(above[at], above[at - 1], out=above[at])
        np.bitwise_and(block[-at - 1], block[-at], out=block[-at - 1])
    block &= above


def _by_sets(
    block: NDArray[Any], grid: Floats, sets: Sequence[Floats], tree: NDArray[np.int64], if_yes: Any, if_no: Any
) -> None:
    """A split is answered yes in the bins of its set; the splits come in the order of their trees."""
    owner = np.repeat(np.arange(len(sets)), [len(codes) for codes in sets])
    place = np.searchsorted(grid, np.concatenate(sets))
    order = np.argsort(place, kind="stable")
    inside = np.split(owner[order], np.searchsorted(place[order], np.arange(1, len(block))))
    starts = _firsts(tree)
    trees = tree[starts]
    for row, asking in zip(block, inside, strict=True):
        answer = if_no.copy()
        answer[asking] = if_yes[asking]
        row[trees] &= np.bitwise_and.reduceat(answer, starts)


# --- scoring ------------------------------------------------------------------------------------


def scorer(found: Tables, threads: int = 1) -> Callable[[NDArray[np.float32]], Floats]:
    """The function from a matrix (rows, width) to raw scores (rows, outputs) float64."""
    alone = _one(found)

    def score(matrix: NDArray[np.float32]) -> Floats:
        if len(matrix) == 1:
            return alone(matrix)
        scores = np.empty((len(matrix), len(found.first)))
        step = max(-(-len(matrix) // threads), SHARE)
        parts = [(matrix[at : at + step], scores[at : at + step]) for at in range(0, len(matrix), step)]
        if len(parts) < 2:
            for part in parts:
                _some(found, *part)
            return scores
        with ThreadPoolExecutor(threads) as pool:
            for done in [pool.submit(_some, found, *part) for part in parts]:
                done.result()
        return scores

    return score


def _some(found: Tables, matrix: NDArray[np.float32], scores: Floats) -> None:
    """Fills `scores` for the rows of `matrix`."""
    values = np.ascontiguousarray(matrix.T, np.float64)
    gone = np.isnan(values)
    holes = np.asarray(gone.any(axis=1)).tolist()
    bins = [
        (found.masks[a.start : a.start + len(a.grid) + 2], _bins(a, values[a.column], gone[a.column], holes[a.column]))
        for a in found.axes
    ]
    trees = found.masks.shape[1]
    left, entry = (np.empty((ROWS, trees), found.masks.dtype) for _ in range(2))
    exponent, values = np.empty((ROWS, trees), f"f{found.bits // 8}"), np.empty((ROWS, trees))
    for at in range(0, len(matrix), ROWS):
        rows = min(ROWS, len(matrix) - at)
        mine, other = left[:rows], entry[:rows]
        mine.fill(~mine.dtype.type(0))
        for table, place in bins:
            np.take(table, place[at : at + rows], axis=0, out=other, mode="clip")
            np.bitwise_and(mine, other, out=mine)
        leaf = _leaf(found, mine, exponent[:rows])
        np.take(found.leaves, leaf, out=values[:rows], mode="clip")
        np.add.reduceat(values[:rows], found.first, axis=1, out=scores[at : at + rows])


def _leaf(found: Tables, left: NDArray[Any], exponent: NDArray[Any]) -> NDArray[Any]:
    """The places of the leaves; the number of the one bit that is left is the exponent of the mask as a float."""
    np.copyto(exponent, left, casting="unsafe")
    places = exponent.view(f"i{found.bits // 8}")
    mantissa, bias = (23, 127) if found.bits == 32 else (52, 1023)
    np.right_shift(places, mantissa, out=places)
    places += np.arange(-bias, left.shape[-1] * found.bits - bias, found.bits, dtype=places.dtype)
    return places


def _bins(axis: Axis, values: Floats, gone: NDArray[np.bool_], some: bool) -> NDArray[np.intp]:
    """The bins of a column's values; `gone` says which are NaN, `some` whether any is."""
    found = axis.grid.searchsorted(values)  # thresholds below the value: x <= t goes with t
    if axis.way == SET:
        near = np.minimum(found, len(axis.grid) - 1)
        found = np.where(axis.grid[near] == values, near, len(axis.grid))
    elif axis.way == HOLED:
        gone, some = gone | (np.abs(values) <= ZERO), True
    if some:
        found[gone] = len(axis.grid) + 1
    return found


def _one(found: Tables) -> Callable[[NDArray[np.float32]], Floats]:
    """The same for a single row, without numpy where a value is looked up."""
    plan = [(a.column, a.way, a.grid.tolist(), len(a.grid), a.start) for a in found.axes]
    exponent = np.empty((1, found.masks.shape[1]), f"f{found.bits // 8}")

    def bins(row: list[float]) -> Iterator[int]:
        for column, way, grid, end, start in plan:
            value = row[column]
            place = bisect_left(grid, value)
            if value != value or (way == HOLED and abs(value) <= ZERO):
                place = end + 1
            elif way == SET and (place == end or grid[place] != value):
                place = end
            yield start + place

    def score(matrix: NDArray[np.float32]) -> Floats:
        left = np.bitwise_and.reduce(found.masks[[*bins(matrix[0].tolist())]], axis=0)
        leaf = _leaf(found, left[None], np.empty_like(exponent))
        scores: Floats = np.add.reduceat(found.leaves[leaf], found.first, axis=1)
        return scores

    return score
