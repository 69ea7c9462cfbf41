"""Trees as one ONNX graph: a `TreeEnsemble` node of ai.onnx.ml for each output, side by side.

A converter that rounds a split's threshold to the *nearest* float32 sends rows to the wrong side.
The features are float32 already, so comparing them in float64 with the threshold as it was learned
is exact; leaves are summed in float64 as well. However many models the trees belong to, they are
one session and one call: a fold bag of five costs little more than one.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from keepfit.models.trees import ZERO, Forest, Tree, leaf

MEMBER = 6  # code of nodes_modes in ai.onnx.ml 5; 0 is <=
RUN = 32  # codes that one bit mask of onnxruntime holds


def graph(forests: Sequence[Forest]) -> onnx.ModelProto:
    """One ONNX model of several forests on one matrix.

    Input `features` (rows, width) float32; output `scores` (rows, sum of outputs) float64: the
    forests' raw scores side by side, in their order. Either all or none are `shared`.
    """
    trees: list[Tree] = []
    total = 0
    for each in forests:
        trees += _folded(each, total)
        total += each.outputs
    width = max(each.width for each in forests)
    trees, copies = _views(trees, width)
    nodes, constants = _inputs(copies)
    shared = any(each.shared for each in forests)
    nodes += (_regressor if shared else _ensembles)(trees, total)
    body = helper.make_graph(
        nodes,
        "trees",
        [helper.make_tensor_value_info("features", TensorProto.FLOAT, ["rows", width])],
        [helper.make_tensor_value_info("scores", TensorProto.DOUBLE, ["rows", total])],
        constants,
    )
    opsets = [helper.make_opsetid("", 20), helper.make_opsetid("ai.onnx.ml", 3 if shared else 5)]
    return helper.make_model(body, opset_imports=opsets, ir_version=10, producer_name="keepfit")


def _folded(forest: Forest, shift: int) -> list[Tree]:
    """The trees with scale and base in their leaves, and the outputs moved by `shift`."""
    trees = [tree._replace(leaves=tree.leaves * forest.scale, target=tree.target + shift) for tree in forest.trees]
    extra = [leaf(np.array([base]), k + shift) for k, base in enumerate(forest.base) if base]
    return trees + extra


class _Copy(NamedTuple):
    """A copy of column `feature` beside the matrix: moved by `offset`, or with NaN for zero."""

    feature: int
    offset: float = 0.0
    holes: bool = False


def _views(trees: Sequence[Tree], width: int) -> tuple[list[Tree], list[_Copy]]:
    """The trees on the matrix with copies of some columns to its right, and the copies."""
    copies: dict[_Copy, int] = {}
    return [_with_sets(_with_holes(tree, width, copies), width, copies) for tree in trees], list(copies)


def _place(copy: _Copy, width: int, copies: dict[_Copy, int]) -> int:
    return width + copies.setdefault(copy, len(copies))


def _with_holes(tree: Tree, width: int, copies: dict[_Copy, int]) -> Tree:
    """Nodes that take zero as missing look at copies with NaN for zero."""
    if tree.zero is None:
        return tree
    moved = [
        _place(_Copy(int(f), holes=True), width, copies) if z else f
        for f, z in zip(tree.feature, tree.zero, strict=True)
    ]
    return tree._replace(feature=np.array(moved, np.int64))


def _with_sets(tree: Tree, width: int, copies: dict[_Copy, int]) -> Tree:
    """Each set on a copy of its column on which most of the set's codes are 1 to 32.

    onnxruntime asks for those at once, by a bit mask, and for any other number by number.
    """
    if not tree.sets:
        return tree
    feature, threshold, sets = tree.feature.copy(), tree.threshold.copy(), {}
    for node, codes in tree.sets.items():
        if not len(codes):
            threshold[node] = -np.inf  # nothing is in the empty set, and nothing is less than that
            continue
        runs, counts = np.unique(codes // RUN, return_counts=True)
        offset = 1 - RUN * float(runs[counts.argmax()])
        feature[node] = _place(_Copy(int(feature[node]), offset), width, copies)
        sets[node] = codes + offset
    return tree._replace(feature=feature, threshold=threshold, sets=sets)


def _inputs(copies: Sequence[_Copy]) -> tuple[list[onnx.NodeProto], list[onnx.TensorProto]]:
    """The nodes from `features` to `x`, float64, with the copies to the right."""
    make = helper.make_node
    if not copies:
        return [make("Cast", ["features"], ["x"], to=TensorProto.DOUBLE)], []
    holes = np.array([ZERO if copy.holes else -1.0 for copy in copies])
    arrays = {
        "places": np.array([copy.feature for copy in copies], np.int64),
        "offsets": np.array([copy.offset for copy in copies]),
        "holes": holes,
        "nan": np.array(np.nan),
    }
    nodes = [
        make("Cast", ["features"], ["plain"], to=TensorProto.DOUBLE),
        make("Gather", ["plain", "places"], ["picked"], axis=1),
        make("Add", ["picked", "offsets"], ["copied"]),
    ]
    last = "copied"
    if (holes >= 0).any():
        nodes += [
            make("Abs", ["picked"], ["size"]),
            make("LessOrEqual", ["size", "holes"], ["is_zero"]),
            make("Where", ["is_zero", "nan", "copied"], ["holed"]),
        ]
        last = "holed"
    nodes.append(make("Concat", ["plain", last], ["x"], axis=1))
    used = {name for node in nodes for name in node.input}
    return nodes, [numpy_helper.from_array(array, name) for name, array in arrays.items() if name in used]


def _ensembles(trees: Sequence[Tree], outputs: int) -> list[onnx.NodeProto]:
    """One node an output: onnxruntime is up to 1.6 times as fast with one output as with several."""
    names = [f"scores_{k}" for k in range(outputs)]
    mine = [[tree for tree in trees if tree.target == k] or [leaf(np.zeros(1))] for k in range(outputs)]
    nodes = [_ensemble(some, name) for some, name in zip(mine, names, strict=True)]
    return [*nodes, helper.make_node("Concat", names, ["scores"], axis=1)]


def _ensemble(trees: Sequence[Tree], result: str) -> onnx.NodeProto:
    """TreeEnsemble of ai.onnx.ml 5: sets of categories, one output a leaf."""
    trees = [tree if len(tree.feature) else _with_node(tree) for tree in trees]
    nodes = np.cumsum([0] + [len(tree.feature) for tree in trees])
    leaves = np.cumsum([0] + [len(tree.leaves) for tree in trees])
    modes = np.zeros(nodes[-1], np.uint8)
    members: list[NDArray[np.float64]] = []
    for start, tree in zip(nodes, trees, strict=False):
        for node in sorted(tree.sets):
            modes[start + node] = MEMBER
            members += [tree.sets[node], np.array([np.nan])]
    weights = np.concatenate([tree.leaves for tree in trees])
    sides: dict[str, Any] = {}
    for name, side in (("true", "yes"), ("false", "no")):
        goes = [getattr(tree, side) for tree in trees]
        leaf = np.concatenate(goes) < 0
        ids = [np.where(g < 0, ~g + b, g + a) for g, a, b in zip(goes, nodes, leaves, strict=False)]
        sides |= {f"nodes_{name}nodeids": np.concatenate(ids).tolist(), f"nodes_{name}leafs": leaf.astype(int).tolist()}
    node = helper.make_node(
        "TreeEnsemble",
        ["x"],
        [result],
        domain="ai.onnx.ml",
        n_targets=1,
        tree_roots=nodes[:-1].tolist(),
        nodes_featureids=np.concatenate([tree.feature for tree in trees]).tolist(),
        nodes_splits=numpy_helper.from_array(np.concatenate([tree.threshold for tree in trees]), "splits"),
        nodes_modes=numpy_helper.from_array(modes, "modes"),
        nodes_missing_value_tracks_true=np.concatenate([tree.missing for tree in trees]).astype(int).tolist(),
        leaf_targetids=[0] * len(weights),
        leaf_weights=numpy_helper.from_array(weights, "weights"),
        **sides,
    )
    if members:
        node.attribute.append(
            helper.make_attribute("membership_values", numpy_helper.from_array(np.concatenate(members), "members"))
        )
    return node


def _with_node(tree: Tree) -> Tree:
    """The standard has no tree of one leaf: a node both of whose sides are that leaf."""
    first = np.zeros(1, np.int64)
    return tree._replace(feature=first, threshold=np.zeros(1), yes=~first, no=~first, missing=np.zeros(1, bool))


def _regressor(trees: Sequence[Tree], outputs: int) -> list[onnx.NodeProto]:
    """TreeEnsembleRegressor of ai.onnx.ml 3: several outputs a leaf, no sets; its result is float32."""
    parts = [_numbered(tree, number) for number, tree in enumerate(trees)]
    columns = {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}
    tensors = {name: columns.pop(name) for name in ("nodes_values_as_tensor", "target_weights_as_tensor")}
    branch = columns.pop("branch")
    node = helper.make_node(
        "TreeEnsembleRegressor",
        ["x"],
        ["single"],
        domain="ai.onnx.ml",
        n_targets=outputs,
        nodes_modes=np.where(branch, "BRANCH_LEQ", "LEAF").tolist(),
        **{name: numpy_helper.from_array(values, name) for name, values in tensors.items()},
        **{name: values.astype(np.int64).tolist() for name, values in columns.items()},
    )
    return [node, helper.make_node("Cast", ["single"], ["scores"], to=TensorProto.DOUBLE)]


def _numbered(tree: Tree, number: int) -> dict[str, NDArray[Any]]:
    """The node and target columns of one tree: inner nodes first, then leaves; its root is node 0."""
    inner, outer = len(tree.feature), len(tree.leaves)
    nothing, count = np.zeros(outer, np.int64), inner + outer
    shares = tree.leaves.reshape(outer, -1)
    leaf, output = np.nonzero(shares)
    if not len(leaf):
        leaf, output = np.zeros(1, np.int64), np.zeros(1, np.int64)
    return {
        "nodes_treeids": np.full(count, number),
        "nodes_nodeids": np.arange(count),
        "nodes_featureids": np.concatenate([tree.feature, nothing]),
        "nodes_values_as_tensor": np.concatenate([tree.threshold, np.zeros(outer)]),
        "nodes_truenodeids": np.concatenate([np.where(tree.yes < 0, ~tree.yes + inner, tree.yes), nothing]),
        "nodes_falsenodeids": np.concatenate([np.where(tree.no < 0, ~tree.no + inner, tree.no), nothing]),
        "nodes_missing_value_tracks_true": np.concatenate([tree.missing, nothing]),
        "branch": np.arange(count) < inner,
        "target_treeids": np.full(len(leaf), number),
        "target_nodeids": leaf + inner,
        "target_ids": output + tree.target,
        "target_weights_as_tensor": shares[leaf, output],
    }
