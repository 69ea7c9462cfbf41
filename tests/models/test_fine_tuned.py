"""Fine-tuning: as an estimator, through the whole training, and what is told where it cannot be done."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest

from keepfit import features
from keepfit.deployment import runtime
from keepfit.errors import ConfigError, MissingExtraError, ModelError
from keepfit.features import ahead
from keepfit.models import bundle, fine_tuned, train
from keepfit.models.catalogue import PIXELS
from keepfit.models.export import parity
from keepfit.pipeline import given
from keepfit.sections import ImageFeatures
from keepfit.types import Column, Schema
from tests.models import fits
from tests.models.tables import config, folds
from tests.models.test_backbones import folder, graph
from tests.models.test_network_training import album

torch = pytest.importorskip("torch")

from keepfit.models import fine_tuned_torch  # noqa: E402
from tests.models.test_fine_tuned_torch import SIDE, above  # noqa: E402

SHAPE = 4, SIDE, SIDE
UPPER = {"folder": "", "blocks": 1, "height": SIDE, "width": SIDE}


@pytest.fixture
def toy(monkeypatch):
    """The last blocks are those of a toy, so that nothing has to be read."""
    monkeypatch.setattr(fine_tuned_torch, "last", lambda **told: above(told["blocks"]))


def estimator(kind=fine_tuned.FineTuned, **told):
    return kind(**{"pictures": [(0, 1, *SHAPE)], "upper": UPPER, "blocks": 1, "epochs": 4, **told})


def maps(count=60, classes="ab", seed=0):
    """Maps with one brighter channel for each class but the first."""
    draw = np.random.default_rng(seed)
    matrix, labels = draw.standard_normal((count, *SHAPE), np.float32), np.array(list(classes), object)
    codes = np.arange(count) % len(classes)
    for code in range(1, len(classes)):
        matrix[codes == code, code] += 0.4
    return matrix.reshape(count, -1), labels[codes]


# --- the estimator --------------------------------------------------------------------------------


@pytest.mark.parametrize("classes", ["ab", "abc"])
def test_classes_are_told_apart(toy, classes):
    found = estimator().fit(*maps(classes=classes))
    matrix, labels = maps(classes=classes, seed=1)
    assert (found.predict(matrix) == labels).mean() > 0.8
    assert np.allclose(found.predict_proba(matrix).sum(axis=1), 1)


def test_it_begins_with_the_head_of_a_backbone_that_stays(toy):
    """After no epoch that is better the answers are those of logistic regression on what the blocks say."""
    from sklearn.linear_model import LogisticRegression

    matrix, labels = maps(classes="abc")
    found = estimator(epochs=1, learning_rate=0.0).fit(matrix, labels, (matrix, labels))
    pooled = fine_tuned_torch.pooled(found.network_, matrix, "cpu")
    line = LogisticRegression(C=0.3, max_iter=1000).fit(pooled, labels)
    assert np.allclose(found.predict_proba(matrix), line.predict_proba(pooled), atol=1e-4)


def test_numbers_are_told(toy):
    matrix, labels = maps(120)
    y = np.where(labels == "b", 100.0, 20.0)
    found = estimator(fine_tuned.FineTunedRegressor, learning_rate=0.01, epochs=10).fit(matrix, y)
    assert np.corrcoef(found.predict(maps(seed=1)[0]), maps(seed=1)[1] == "b")[0, 1] > 0.7


def test_the_same_seed_gives_the_same_network(toy):
    matrix, labels = maps()
    said = [estimator(random_state=seed).fit(matrix, labels).predict_proba(matrix) for seed in (3, 3, 4)]
    assert np.array_equal(said[0], said[1])
    assert not np.array_equal(said[0], said[2])


def test_no_pictures_one_class_and_other_blocks_are_told(toy):
    matrix, labels = maps()
    with pytest.raises(ValueError, match="needs a column of pictures"):
        estimator(pictures=()).fit(matrix, labels)
    with pytest.raises(ValueError, match="all rows have the same class"):
        estimator().fit(matrix, np.full(len(labels), "a", object))
    with pytest.raises(ValueError, match="ready for blocks 1, not for 2"):
        estimator(blocks=2).fit(matrix, labels)


def test_without_torch_the_error_says_what_to_install(monkeypatch):
    for name in [name for name in sys.modules if name.partition(".")[0] == "torch"] + [fine_tuned.TORCH]:
        monkeypatch.delitem(sys.modules, name, raising=False)
    monkeypatch.setitem(sys.modules, "torch", None)
    with pytest.raises(MissingExtraError, match=r"pip install 'keepfit\[torch\]'"):
        estimator().fit(*maps())


def test_the_catalogue_and_the_estimator_do_not_import_torch():
    code = "import sys; import keepfit.models.fine_tuned; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


# --- what the config says -------------------------------------------------------------------------


def asked(project, backbone=None, **model):
    settings = config(model={"type": "fine_tuned", **model}, features={"image": {"backbone": backbone}})
    return given.asked(settings, project, album(4)[2])


def test_without_a_backbone_there_is_nothing_to_tune(tmp_path):
    with pytest.raises(ConfigError, match=r"features\.image\.backbone names none.*convolutional_network"):
        asked(tmp_path)


def test_a_graph_is_not_trained(tmp_path):
    graph(tmp_path / "net.onnx", ["n", 3, 8, 8])
    with pytest.raises(ConfigError, match=r"net\.onnx is a graph, and the weights of a graph are not trained"):
        asked(tmp_path, "net.onnx")


@pytest.mark.parametrize("blocks", [0, -1, "two", 1.5, True])
def test_blocks_is_a_number_from_1_on(tmp_path, blocks):
    with pytest.raises(ConfigError, match=r"model\.blocks: .* is no number of blocks"):
        asked(tmp_path, "anything", blocks=blocks)


def test_a_backbone_that_is_not_there_is_told_as_for_others(tmp_path):
    with pytest.raises(ConfigError, match=r"features\.image\.backbone: there is no .*absent/net"):
        asked(tmp_path, "./absent/net")


@pytest.mark.slow
def test_more_blocks_than_there_are_is_told_before_training(tmp_path):
    folder(tmp_path / "small")
    with pytest.raises(ConfigError, match=r"model\.blocks: 3 is too many: ResNetModel has 2 blocks"):
        asked(tmp_path, "small", blocks=3)


# --- the whole training ---------------------------------------------------------------------------


def ready(project, network, rows, blocks=1, **told):
    """A folder's options for some rows, and the rows with what lies below the cut worked out."""
    folder(project / network, network)
    found = fine_tuned.options(ImageFeatures(backbone=network, **told), project, {"blocks": blocks})
    columns, y, schema = rows
    options = ahead.settled(columns, schema, {"image": found})
    return (ahead.ahead(columns, schema, options, project / "cache"), y, schema), options


@pytest.mark.slow
@pytest.mark.parametrize("network", ["resnet", "vit"])
def test_maps_of_both_views_are_the_features(tmp_path, network):
    (columns, y, schema), options = ready(tmp_path, network, album(6))
    state, matrix = features.fit_apply(columns, schema, y, {**PIXELS, **options})
    ((start, views, *shape),) = state["pictures"]
    assert (start, views) == (0, 2)
    assert matrix.shape == (6, 2 * int(np.prod(shape)))
    assert not any("upper" in str(key) or str(tmp_path) in str(value) for key, value in state["blocks"][0].items())
    assert len(list((tmp_path / ".keepfit" / "cache" / "backbones").glob("*-below-1.onnx"))) == 1


@pytest.mark.slow
@pytest.mark.parametrize("network", ["resnet", "vit"])
@pytest.mark.parametrize("shape", ["classes", "values", "with a number beside"])
def test_a_bundle_answers_like_the_trained_network(tmp_path, network, shape):
    plain = album(60, values=shape == "values", beside=shape == "with a number beside")
    rows, options = ready(tmp_path, network, plain)
    model = train.train(*rows, config(model={"type": "fine_tuned", "blocks": 1, "epochs": 2}), folds(rows[1]), 7,
                        options=options)  # fmt: skip
    proofs = []

    def prove(path):
        proofs.append(parity(model, runtime.load(path).predict, plain[0]))
        return proofs[-1]

    found = bundle.write(tmp_path / "bundle", model, plain[2], fits.ABOUT, prove=prove, **fits.REST)
    assert [verdict.outcome for verdict in proofs] == ["passed"], proofs[0].failures
    assert (found.manifest["runtime"], len(found.manifest["models"])) == ("onnx", 5)
    assert {entry["kind"] for entry in found.manifest["models"]} == {"network"}
    assert str(tmp_path / network) not in (tmp_path / "bundle" / "bundle.json").read_text()


@pytest.mark.slow
def test_blocks_are_not_searched(tmp_path):
    rows, options = ready(tmp_path, "resnet", album(40))
    space = {"trials": 3, "space": {"blocks": [1, 2]}}
    with pytest.raises(ModelError, match="ready for blocks 1, not for 2"):
        train.train(*rows, config(model={"type": "fine_tuned", "blocks": 1}, tuning=space), folds(rows[1]), 7,
                    options=options)  # fmt: skip


def test_a_table_without_pictures_has_nothing_to_tune():
    schema = Schema((Column("x", "number", "float"), Column("y", "target")), "classification", "y", ("a", "b"))
    y = np.array(["a", "b"] * 20, object)
    columns = features.values.Columns({"x": np.arange(40.0)}, 40)
    with pytest.raises(ModelError, match=r"fine_tuned could not be fitted: .*column of pictures"):
        train.train(columns, y, schema, config(model={"type": "fine_tuned"}), folds(y), 7)
