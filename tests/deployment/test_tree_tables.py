"""Tables of bit masks answer as onnxruntime does from the same file, and leave it what they cannot."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import lightgbm
import numpy as np
import onnx
import pytest
from lightgbm import LGBMClassifier, LGBMRegressor
from onnx import helper, numpy_helper
from sklearn.ensemble import ExtraTreesRegressor, HistGradientBoostingClassifier, RandomForestClassifier
from sklearn.tree import DecisionTreeRegressor

from keepfit.deployment import onnx_file, runtime_onnx, runtime_trees, tree_scores, tree_tables
from keepfit.errors import BundleError
from keepfit.features.sparse import compress
from keepfit.models import tree_graph, trees

BOOST = {"n_estimators": 25, "num_leaves": 15, "verbose": -1, "n_jobs": 1, "min_child_samples": 5}


def learned(random, rows=1500):
    matrix = (random.integers(-40, 40, (rows, 6)) / 10).astype(np.float32)
    matrix[:, 3], matrix[:, 4] = random.integers(0, 90, rows), random.integers(0, 6, rows)
    matrix[random.random(matrix.shape) < 0.07] = np.nan
    known = np.nan_to_num(matrix)
    return matrix, known[:, 0] * known[:, 1] + 2 * np.sin(known[:, 3]) + (known[:, 4] == 2)


MATRIX, TARGET = learned(np.random.default_rng(0))
CLASS = (TARGET > 0).astype(int)


def asked():
    """The rows, and rows with holes, unseen codes, extremes, thresholds and the neighbours of zero in them."""
    random = np.random.default_rng(1)
    odd = MATRIX.copy()
    values = [
        np.nan,
        -1,
        0,
        -0.0,
        1e-35,
        -1e-35,
        1.1e-35,
        1e-38,
        1.05,
        63,
        64,
        89,
        90,
        200,
        1e30,
        -1e30,
        np.inf,
        -np.inf,
    ]
    places = random.random(odd.shape) < 0.3
    odd[places] = random.choice(np.array(values, np.float32), places.sum())
    odd[:, 3:5] = np.trunc(odd[:, 3:5])
    return np.concatenate([MATRIX, odd])


def boosted(target=CLASS, categories=(), **options):
    kind = LGBMClassifier if target.dtype.kind == "i" else LGBMRegressor
    return kind(**{**BOOST, **options}).fit(MATRIX, target, categorical_feature=list(categories))


MODELS = {
    "numbers": lambda: [boosted()],
    "categories": lambda: [boosted(categories=[3, 4])],
    "no missing": lambda: [boosted(categories=[3], use_missing=False)],
    "zero is missing": lambda: [boosted(categories=[4], zero_as_missing=True)],
    "64 leaves": lambda: [boosted(categories=[3], num_leaves=64, min_child_samples=1)],
    "a bag": lambda: [boosted(categories=[3], random_state=k, subsample=0.6, subsample_freq=1) for k in range(3)],
    "three classes": lambda: [boosted(np.digitize(TARGET, [-1, 1]), [3]) for _ in range(2)],
    "a value": lambda: [boosted(TARGET)],
    "one leaf": lambda: [boosted(np.zeros(1500) + 3.5)],
    "histograms": lambda: [HistGradientBoostingClassifier(max_iter=20, categorical_features=[3, 4]).fit(MATRIX, CLASS)],
    "a small tree": lambda: [DecisionTreeRegressor(max_leaf_nodes=20).fit(MATRIX, TARGET)],
    "a small forest": lambda: [RandomForestClassifier(20, max_leaf_nodes=40).fit(MATRIX, CLASS)],
}


def stored(folder, models):
    path = folder / "trees.onnx"
    path.write_bytes(tree_graph.graph([trees.read(model) for model in models]).SerializeToString())
    return path


@pytest.mark.parametrize("name", MODELS)
def test_answers_are_those_of_onnxruntime(tmp_path, name):
    path, rows = stored(tmp_path, MODELS[name]()), asked()
    found = tree_tables.tables(onnx_file.read(path))
    assert found is not None
    got, expected = tree_scores.scorer(tree_scores.ready(found))(rows), runtime_onnx.load(path, None)(rows)
    assert got.dtype == np.float64
    np.testing.assert_allclose(got, expected, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("name", ["categories", "zero is missing", "64 leaves", "three classes"])
def test_rows_alone_together_and_in_threads_are_alike_to_the_last_bit(tmp_path, name):
    found = tree_tables.tables(onnx_file.read(stored(tmp_path, MODELS[name]())))
    rows = np.concatenate([asked()] * 2)
    score = tree_scores.scorer(tree_scores.ready(found))
    whole = score(rows)
    assert tree_scores.scorer(tree_scores.ready(found), threads=3)(rows).tobytes() == whole.tobytes()
    assert np.concatenate([score(rows[k : k + 1]) for k in range(2000)]).tobytes() == whole[:2000].tobytes()
    assert np.concatenate([score(rows[k : k + 7]) for k in range(0, 700, 7)]).tobytes() == whole[:700].tobytes()
    assert score(rows[:0]).shape == (0, whole.shape[1])


@pytest.mark.parametrize("name", ["categories", "zero is missing", "64 leaves", "three classes"])
@pytest.mark.parametrize(("setting", "value"), [("CELLS", 0), ("CELLS", 10**7), ("COUNTED", 0), ("BLOCK", 50)])
def test_the_ways_to_look_up_are_alike_to_the_last_bit(tmp_path, monkeypatch, name, setting, value):
    found = tree_tables.tables(onnx_file.read(stored(tmp_path, MODELS[name]())))
    rows = asked()
    whole = tree_scores.scorer(tree_scores.ready(found))(rows)
    monkeypatch.setattr(tree_scores, setting, value)
    assert tree_scores.scorer(tree_scores.ready(found))(rows).tobytes() == whole.tobytes()


def test_few_axes_are_taken_together_as_far_as_there_is_room(tmp_path, monkeypatch):
    found = tree_tables.tables(onnx_file.read(stored(tmp_path, MODELS["categories"]())))
    trees = found.masks.shape[1]
    for room in (0, 20_000, 10**9):
        monkeypatch.setattr(tree_scores, "CELLS", room)
        tables = tree_scores.ready(found).common
        assert sum(len(table) for table in tables) * trees <= max(room, found.masks.size)
        assert (len(tables) == len(found.axes)) == (room == 0)


@pytest.mark.parametrize("value", [0.5, -1.0, 1e9])
def test_sets_of_what_is_no_code_are_left_to_onnxruntime(tmp_path, value):
    graph = onnx_file.read(stored(tmp_path, MODELS["categories"]()))
    nodes = []
    for node in graph.nodes:
        given = dict(node.attributes)
        if "membership_values" in given:
            given["membership_values"] = np.where(np.isnan(given["membership_values"]), np.nan, value)
        nodes.append(node._replace(attributes=given))
    with pytest.raises(ValueError, match="no code"):
        tree_tables.tables(graph._replace(nodes=tuple(nodes)))


def test_trees_without_limit_and_wide_tables_are_left_to_onnxruntime(tmp_path, monkeypatch):
    deep = stored(tmp_path, [ExtraTreesRegressor(5).fit(np.nan_to_num(MATRIX), TARGET)])
    assert tree_tables.tables(onnx_file.read(deep)) is None
    rows = np.nan_to_num(asked())
    expected = runtime_onnx.load(deep, None)(rows)
    np.testing.assert_array_equal(runtime_trees.load(deep, None)(rows), expected)
    for name, limit in (("COLUMNS", 3), ("CELLS", 1000)):
        with monkeypatch.context() as patch:
            patch.setattr(tree_tables, name, limit)
            assert tree_tables.tables(onnx_file.read(stored(tmp_path, MODELS["numbers"]()))) is None


def test_several_values_a_leaf_are_left_to_onnxruntime(tmp_path):
    forest = RandomForestClassifier(5, max_leaf_nodes=9).fit(MATRIX, np.digitize(TARGET, [-1, 1]))
    path = stored(tmp_path, [forest])
    assert tree_tables.tables(onnx_file.read(path)) is None
    assert runtime_trees.load(path, None)(MATRIX[:2]).shape == (2, 2)


def test_a_graph_of_another_form_is_not_taken_for_trees(tmp_path):
    graph = onnx_file.read(stored(tmp_path, MODELS["categories"]()))
    ensemble = next(node for node in graph.nodes if node.kind == "TreeEnsemble")

    def changed(**attributes):
        nodes = [n._replace(attributes={**n.attributes, **attributes}) if n is ensemble else n for n in graph.nodes]
        return graph._replace(nodes=tuple(nodes))

    for odd in (
        graph._replace(nodes=graph.nodes[1:]),
        graph._replace(nodes=(*graph.nodes[:-1], graph.nodes[-1]._replace(inputs=("other",)))),
        graph._replace(constants={**graph.constants, "holes": np.full(len(graph.constants["places"]), 0.5)}),
        changed(post_transform=1),
        changed(n_targets=2),
        changed(nodes_modes=np.full_like(ensemble.attributes["nodes_modes"], 1)),
        changed(nodes_modes=np.zeros_like(ensemble.attributes["nodes_modes"])),
        changed(nodes_truenodeids=ensemble.attributes["nodes_truenodeids"] * 0),
    ):
        with pytest.raises(ValueError, match=r"."):
            tree_tables.tables(odd)
    assert tree_tables.tables(graph._replace(nodes=graph.nodes[:1])) is None


@pytest.mark.parametrize("content", [b"", b"nonsense", b"\xff" * 50, b"\x3a\x7f", b"\x3a\x02\x0a\x00"], ids=repr)
def test_what_is_no_onnx_file(tmp_path, content):
    path = tmp_path / "0.onnx"
    path.write_bytes(content)
    with pytest.raises(BundleError, match=r"0\.onnx cannot be opened by onnxruntime"):
        runtime_trees.load(path, None)


def test_a_file_that_is_cut_off_within_its_graph_is_an_error_of_the_bundle(tmp_path):
    path = stored(tmp_path, [boosted(n_estimators=2)])
    whole = path.read_bytes()
    for end in range(1, len(whole) - 40, max(len(whole) // 60, 1)):
        path.write_bytes(whole[:end])
        with pytest.raises(BundleError):
            runtime_trees.load(path, None)


def test_a_sparse_matrix_is_scored_in_pieces(tmp_path, monkeypatch):
    path, rows = stored(tmp_path, MODELS["a value"]()), np.nan_to_num(MATRIX)
    expected = runtime_trees.load(path, None)(rows)
    monkeypatch.setattr("keepfit.features.sparse.DENSE", 600)
    assert runtime_trees.load(path, None)(compress(rows)).tobytes() == expected.tobytes()


def test_several_threads_at_once_do_not_disturb_each_other(tmp_path):
    score = runtime_trees.load(stored(tmp_path, MODELS["a value"]()), None)
    expected = score(MATRIX)
    places = [slice(at, at + size) for size in (700, 100, 1500, 2) for at in range(0, 1400, max(size, 100))] * 5
    with ThreadPoolExecutor(4) as pool:
        found = [*pool.map(lambda place: score(MATRIX[place]), places)]
    for place, scores in zip(places, found, strict=True):
        assert scores.tobytes() == expected[place].tobytes()


def test_lists_of_numbers_are_read_as_they_are_written(tmp_path):
    path = stored(tmp_path, [lightgbm.LGBMRegressor(**BOOST | {"n_estimators": 200}).fit(MATRIX, TARGET)])
    ours = onnx_file.read(path)
    theirs = onnx.load(path).graph
    for mine, other in zip(ours.nodes, theirs.node, strict=True):
        assert (mine.kind, mine.inputs, mine.outputs) == (other.op_type, tuple(other.input), tuple(other.output))
        assert bool(mine.attributes) == (mine.kind == "TreeEnsemble")
        for given in other.attribute if mine.attributes else ():
            value = helper.get_attribute_value(given)
            expected = numpy_helper.to_array(value) if isinstance(value, onnx.TensorProto) else value
            np.testing.assert_array_equal(mine.attributes[given.name], expected)
    assert ours.width == 6
