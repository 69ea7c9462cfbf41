"""Tree ensembles as tables of bit masks: `deployment.tree_scores` adds up what they say.

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

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from keepfit.deployment.onnx_file import Graph, Node

Floats = NDArray[np.float64]
LEAVES = 64  # bits of the widest mask
CELLS = 8_000_000  # of all tables: 32 MB with 32-bit masks
COLUMNS = 64  # with more, most entries say nothing, and walking down the trees is faster
CODES = 65_536  # of a column that is asked by sets: there is a table with a place for each
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

    @property
    def bins(self) -> int:
        return len(self.grid) + 2

    @property
    def missing(self) -> int:
        """The bin of NaN."""
        return len(self.grid) + 1


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
    size = sum(axis.bins for axis in axes)
    if len(axes) > COLUMNS or size * trees > CELLS:
        return None
    bits = 32 if leaves.bit.max() < 32 else 64
    masks = np.full((size, trees), -1, f"i{bits // 8}").view(f"u{bits // 8}")
    used = (np.uint64(2) << np.bincount(leaves.tree).astype(np.uint64) - np.uint64(1)) - np.uint64(1)
    masks[: axes[0].bins] &= used.astype(masks.dtype)  # every row has one bin of the first axis
    for axis in axes:
        _fill(masks[axis.start : axis.start + axis.bins], axis, splits)
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
        if way == SET and not (grid == np.clip(np.trunc(grid), 0, CODES - 1)).all():
            raise ValueError("sets of what is no code")
        axes.append(Axis(column, way, grid, start))
        start += axes[-1].bins
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
