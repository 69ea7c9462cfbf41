"""Backbones: folders of transformers, graphs, and what is refused."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from onnx import TensorProto, helper

from keepfit import features
from keepfit.data import pictures
from keepfit.errors import ConfigError
from keepfit.features.values import Columns, Pictures
from keepfit.models import backbones
from keepfit.sections import ImageFeatures
from keepfit.types import Column, Schema

REAL = "imagenet_backbone/mobilenet_v2_1.0_224"  # in the folder of data sets
SETTINGS = {
    "do_resize": True, "size": {"shortest_edge": 36}, "do_center_crop": True, "crop_size": {"height": 32, "width": 32},
    "do_rescale": True, "rescale_factor": 1 / 255, "do_normalize": True, "image_mean": [0.5, 0.4, 0.3],
    "image_std": [0.2, 0.3, 0.4],
}  # fmt: skip


def photos(count: int = 5) -> list[bytes]:
    random = np.random.default_rng(0)
    return [pictures.encoded(random.integers(0, 256, (40, 50, 3), dtype=np.uint8)) for _ in range(count)]


def folder(path: Path, network: str = "resnet", settings: dict | None = None) -> Path:
    """A small random network as transformers writes it."""
    torch = pytest.importorskip("torch")
    transformers = pytest.importorskip("transformers")
    made = {
        "resnet": lambda: transformers.ResNetModel(
            transformers.ResNetConfig(embedding_size=8, hidden_sizes=[8, 12], depths=[1, 1], layer_type="basic")
        ),
        "vit": lambda: transformers.ViTModel(
            transformers.ViTConfig(
                hidden_size=16, num_hidden_layers=2, num_attention_heads=2, intermediate_size=20, image_size=32,
                patch_size=8,
            ),
            add_pooling_layer=False,
        ),
    }  # fmt: skip
    torch.manual_seed(0)
    network = made[network]()
    network.save_pretrained(path)
    (path / backbones.SETTINGS).write_text(json.dumps(settings or SETTINGS))
    return path


def seen(backbone: dict, data: list[bytes]) -> np.ndarray:
    schema = Schema((Column("photo", "image"),), "classification")
    options = {"image": {"backbone": backbone, "augment": "none", "normalise": False}}
    return features.fit_apply(Columns({"photo": Pictures(data)}, len(data)), schema, None, options)[1]


@pytest.mark.slow
@pytest.mark.parametrize("network", ["resnet", "vit"])
def test_a_folder_gives_what_transformers_gives(tmp_path, network):
    path = folder(tmp_path / "small", network)
    found = backbones.load("small", tmp_path)
    assert (found["height"], found["width"], found["frame"], found["how"]) == (32, 32, [36, 36], "crop")
    import torch
    from transformers import AutoModel

    data = photos()
    tensors = np.stack([pictures.pixels(one, 32, 32, "RGB", "crop", (32 / 36, 32 / 36)) for one in data]) / 255
    tensors = (tensors - SETTINGS["image_mean"]) / SETTINGS["image_std"]
    extra = {"add_pooling_layer": False} if network == "vit" else {}
    with torch.no_grad():
        said = AutoModel.from_pretrained(path, **extra).eval()(torch.tensor(tensors.transpose(0, 3, 1, 2)).float())
    expected = said.last_hidden_state[:, 0] if network == "vit" else said.pooler_output.flatten(1)
    assert np.allclose(seen(found, data), expected.numpy(), atol=1e-4)


@pytest.mark.slow
def test_a_folder_is_exported_once_and_torch_is_not_needed_again(tmp_path, monkeypatch):
    folder(tmp_path / "small")
    first = backbones.load("small", tmp_path)
    assert len(list((tmp_path / backbones.CACHE).glob("*.onnx"))) == 1
    monkeypatch.setattr(backbones, "_exported", lambda *_: pytest.fail("exported again"))
    again = backbones.load(str(tmp_path / "small"), tmp_path)
    assert np.array_equal(first["graph"], again["graph"])
    with pytest.raises(pytest.fail.Exception, match="exported again"):
        backbones.load("small", tmp_path, size=48)
    weights = tmp_path / "small" / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-4] + b"\0\0\0\0")
    with pytest.raises(pytest.fail.Exception, match="exported again"):
        backbones.load("small", tmp_path)


@pytest.mark.slow
def test_another_size_and_way_are_taken_where_the_network_can(tmp_path):
    folder(tmp_path / "small")
    found = backbones.load("small", tmp_path, size=48, how="squash")
    assert (found["height"], found["frame"], found["how"]) == (48, [48, 48], "squash")
    assert seen(found, photos()).shape == (5, 12)
    folder(tmp_path / "fixed", "vit")
    with pytest.raises(ConfigError, match=r"'fixed' cannot be used: .* no graph for pictures of 48 x 48 pixels"):
        backbones.load("fixed", tmp_path, size=48)


@pytest.mark.slow
def test_a_damaged_folder_is_told(tmp_path):
    path = folder(tmp_path / "small")
    weights = path / "model.safetensors"
    whole = weights.read_bytes()
    weights.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(ConfigError, match="cannot be used"):
        backbones.load("small", tmp_path)
    weights.write_bytes(whole)
    config = json.loads((path / "config.json").read_text())
    (path / "config.json").write_text(json.dumps({**config, "hidden_sizes": [8, 14]}))
    with pytest.raises(ConfigError, match="cannot be used"):
        backbones.load("small", tmp_path)
    (path / backbones.SETTINGS).unlink()
    with pytest.raises(ConfigError, match=r"preprocessor_config.json is not there"):
        backbones.load("small", tmp_path)


def test_pickles_are_refused_by_name(tmp_path):
    (tmp_path / "old").mkdir()
    (tmp_path / "old" / "config.json").write_text("{}")
    (tmp_path / "old" / "pytorch_model.bin").write_bytes(b"\x80\x04.")
    (tmp_path / "net.pt").write_bytes(b"\x80\x04.")
    for name in ("old", "net.pt", "not-there.pth"):
        with pytest.raises(ConfigError, match="is no safetensors: weights in a pickle can run code"):
            backbones.load(name, tmp_path)


def _unreachable(name: str, **asked: object) -> str:
    raise OSError("[Errno -2] Name or service not known")


def test_what_is_not_there_is_told_with_what_is(tmp_path, monkeypatch):
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    (tmp_path / "resnet").mkdir()
    (tmp_path / "resnet" / "config.json").write_text("{}")
    with pytest.raises(ConfigError, match=r"there is no folder .*resnt, and the hub does not give 'resnt'.*: resnet\."):
        backbones.load("resnt", tmp_path)
    monkeypatch.setattr("huggingface_hub.snapshot_download", _unreachable)
    with pytest.raises(ConfigError, match=r"service not known\. In .*: resnet\. Known: a folder with config.json"):
        backbones.load("resnt", tmp_path)
    with pytest.raises(ConfigError, match=r"resnet has no model.safetensors"):
        backbones.load("resnet", tmp_path)
    with pytest.raises(ConfigError, match=r"there is no .*nothing.onnx"):
        backbones.load("nothing.onnx", tmp_path)
    (tmp_path / "empty").mkdir()
    with pytest.raises(ConfigError, match=r"empty has no config.json.*a model's name on the hub"):
        backbones.load("empty", tmp_path)


# --- graphs -----------------------------------------------------------------------------------------


def graph(path: Path, shape: list, kind: int = TensorProto.FLOAT, inputs: int = 1) -> Path:
    """The mean of each channel, for pictures of any layout."""
    given = [helper.make_tensor_value_info(f"x{i}", kind, shape) for i in range(inputs)]
    made = helper.make_tensor_value_info("f", 1, None)
    axes = [2, 3] if shape[1] in (1, 3) else [1, 2]
    nodes = [
        helper.make_node("Cast", ["x0"], ["float"], to=1),
        helper.make_node("ReduceMean", ["float"], ["f"], axes=axes, keepdims=0),
    ]
    model = helper.make_model(
        helper.make_graph(nodes, "means", given, [made]), opset_imports=[helper.make_opsetid("", 13)], ir_version=8
    )
    path.write_bytes(model.SerializeToString())
    return path


@pytest.mark.parametrize(
    ("shape", "size", "layout"),
    [
        (["n", 3, 16, 20], [16, 20], "NCHW"),
        ([1, 24, 24, 3], [24, 24], "NHWC"),
        (["n", 3, "h", "w"], [224, 224], "NCHW"),
        ([None, 1, 8, 8], [8, 8], "NCHW"),
    ],
)
def test_layout_and_size_are_read_from_a_graph(tmp_path, shape, size, layout):
    graph(tmp_path / "net.onnx", shape)
    found = backbones.load("net.onnx", tmp_path)
    assert [found["height"], found["width"]] == size
    assert found["layout"] == layout
    data = photos(3)
    colours = "L" if shape[1] == 1 else "RGB"
    assert found["colours"] == colours
    part = size[1] / found["frame"][1], size[0] / found["frame"][0]
    middle = [pictures.pixels(one, size[1], size[0], colours, found["how"], part) for one in data]
    expected = np.stack(middle).mean(axis=(1, 2)) * found["factor"] + found["shift"]
    assert np.allclose(seen(found, data), expected, atol=1e-4)


def test_settings_beside_a_graph_are_taken(tmp_path):
    graph(tmp_path / "net.onnx", ["n", 3, "h", "w"])
    (tmp_path / backbones.SETTINGS).write_text(json.dumps({"size": {"height": 40, "width": 30}, "do_normalize": False}))
    found = backbones.load("net.onnx", tmp_path)
    assert (found["height"], found["width"], found["how"]) == (40, 30, "squash")
    assert np.allclose(found["factor"], 1 / 255)


def test_graphs_of_something_else_are_refused(tmp_path):
    graph(tmp_path / "two.onnx", ["n", 3, 8, 8], inputs=2)
    graph(tmp_path / "five.onnx", ["n", 5, 8, 8])
    graph(tmp_path / "ids.onnx", ["n", 3, 8, 8], TensorProto.INT64)
    (tmp_path / "text.onnx").write_text("no graph")
    for name, told in {
        "two": "one input of pictures",
        "five": "no side of 3 colours",
        "ids": "one input",
        "text": "cannot be opened",
    }.items():
        with pytest.raises(ConfigError, match=rf"'{name}.onnx' cannot be used: .*{told}"):
            backbones.load(f"{name}.onnx", tmp_path)


def test_options_of_the_config(tmp_path):
    assert backbones.options(ImageFeatures(size=24), tmp_path) == {"augment": "auto", "size": 24, "how": "squash"}
    graph(tmp_path / "net.onnx", ["n", 3, 8, 8])
    found = backbones.options(ImageFeatures(backbone="net.onnx", augment="none"), tmp_path)
    assert found["augment"] == "none"
    assert found["backbone"]["name"] == "net.onnx"


@pytest.mark.slow
def test_the_real_backbone_gives_1280_features(tmp_path, shared_data):
    pytest.importorskip("transformers")
    found = backbones.load(str(shared_data / REAL), tmp_path)
    assert (found["frame"], found["height"], found["how"]) == ([256, 256], 224, "crop")
    assert np.allclose(found["factor"], 2 / 255)
    assert seen(found, photos(2)).shape == (2, 1280)
