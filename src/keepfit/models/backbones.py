"""Backbones: pretrained networks that turn a picture into features, as ONNX graphs.

A backbone is named by a folder in the layout of Hugging Face's transformers (config.json, safetensors,
preprocessor_config.json), by the name of such a model on the hub, or by an .onnx file with one input for
pictures. `load` gives what features.image takes as its option `backbone`, a dict of plain values:

    graph          the ONNX file, uint8 (bytes,); pictures (n, 3, height, width) float32 → (n, …)
    name           what it was called
    layout         "NCHW" or "NHWC"; colours: "RGB", or "L" for one channel
    number         "float32" or "uint8", what a pixel is given as; batch: pictures a call, 0 = any
    height, width  of the picture that the graph sees
    frame          [height, width] to which a picture is brought before its middle is cut out
    how            "crop" or "squash": how it is brought there, see data.pictures
    factor, shift  float32 (channels,): a pixel x (0..255) goes in as x * factor + shift
    input, output  names in the graph

torch and transformers are needed once, to write a folder's graph; it is then kept in `.keepfit/cache/backbones/`
under the hash of its files. Weights are read from safetensors alone, never from a pickle, and no code of a
model's own is run.
"""

from __future__ import annotations

import hashlib
import io
import json
import re
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from keepfit import durable
from keepfit.errors import ConfigError, ModelError
from keepfit.extras import missing
from keepfit.features import graphs
from keepfit.sections import ImageFeatures

KEY = "features.image.backbone"
CACHE = Path(".keepfit") / "cache" / "backbones"
WRITTEN = 1  # raised when a graph of the same files is to be written anew
OPSET = 17
PICKLES = (".bin", ".pt", ".pth", ".ckpt", ".pkl", ".pickle", ".h5", ".msgpack")
HUB = re.compile(r"[\w.-]+(/[\w.-]+)?")
IMAGENET = {"image_mean": [0.485, 0.456, 0.406], "image_std": [0.229, 0.224, 0.225]}
USUAL = 224  # pixels of a side where a graph leaves its size open
AGREE = 1e-3  # difference of graph and network, relative to the largest feature
CONFIG, SETTINGS = "config.json", "preprocessor_config.json"
Backbone = dict[str, Any]


class Cut(NamedTuple):
    """A part of a network: `make(module, pictures)` gives the module of it; `name` tells its graph from others."""

    name: str
    make: Callable[[Any, Any], Any]


def load(name: str, project: Path, size: int | None = None, how: str = "auto", cut: Cut | None = None) -> Backbone:
    """The backbone `name`: a path (relative ones from `project`), or a model's name on the hub.

    `size` is the side of the picture that it sees, in pixels, where that may be chosen; `how` is "crop",
    "squash" or "auto" (as its settings say). Of a folder's network `cut` makes what is wanted instead of all of
    it. Raises ConfigError for one that is not there or cannot be used, MissingExtraError without torch where its
    graph has to be written first.
    """
    try:
        path = found(name, project)
        if path.is_file():
            return _graph(name, path, size, how)
        return _network(name, path, project / CACHE, size, how, cut)
    except (ModelError, OSError) as error:
        raise ConfigError(f"{KEY}: '{name}' cannot be used: {error}") from error


def options(section: ImageFeatures, project: Path) -> dict[str, Any]:
    """What features.image takes, from the section of the config. Raises ConfigError as `load`."""
    found: dict[str, Any] = {"augment": section.augment}
    if section.backbone:
        return {**found, "backbone": load(section.backbone, project, section.size, section.how)}
    return {**found, "size": section.size, "how": "crop" if section.how == "crop" else "squash"}


# --- where it is ----------------------------------------------------------------------------------


def found(name: str, project: Path) -> Path:
    """The folder or .onnx file of a backbone. Raises ConfigError as `load`."""
    path = (project / Path(name).expanduser()).resolve()
    if path.suffix == ".onnx" and path.is_file():
        return path
    if path.is_file() or path.suffix in PICKLES:
        raise ConfigError(f"{KEY}: {_pickled([path.name])}")
    return path if path.is_dir() else _fetched(name, path)


def _fetched(name: str, path: Path) -> Path:
    """The folder of a model of the hub, as huggingface_hub keeps it. HF_HUB_OFFLINE=1 asks nobody."""
    if path.suffix == ".onnx" or not HUB.fullmatch(name):
        raise ConfigError(f"{KEY}: there is no {path}. {_known(path.parent)}")
    try:
        from huggingface_hub import snapshot_download
        from huggingface_hub.errors import HfHubHTTPError, HFValidationError, LocalEntryNotFoundError
    except ModuleNotFoundError as error:
        raise ConfigError(
            f"{KEY}: there is no folder {path}; for a model of a hub, {missing(error, KEY)}. {_known(path.parent)}"
        ) from error
    kinds = ["*.json", "*.safetensors"]
    try:
        return Path(snapshot_download(name, allow_patterns=kinds))
    except (HfHubHTTPError, HFValidationError, LocalEntryNotFoundError, OSError) as error:
        reason = str(error).strip().splitlines()[0].rstrip(".")
        raise ConfigError(
            f"{KEY}: there is no folder {path}, and the hub does not give '{name}': {reason}. {_known(path.parent)}"
        ) from error


def _known(folder: Path) -> str:
    """What a message says of the backbones that there are."""
    there = sorted(p.parent.name for p in folder.glob(f"*/{CONFIG}")) + sorted(p.name for p in folder.glob("*.onnx"))
    found = f"In {folder}: {', '.join(there[:10])}. " if there else ""
    return (
        f"{found}Known: a folder with {CONFIG} and model.safetensors (as transformers writes it), an .onnx file, "
        "a model's name on the hub such as google/mobilenet_v2_1.0_224, or nothing."
    )


def _pickled(names: Sequence[str]) -> str:
    return (
        f"{', '.join(names)} is no safetensors: weights in a pickle can run code when they are read, so they are not. "
        "Save them again with transformers' save_pretrained, which writes model.safetensors, or give an .onnx file."
    )


# --- a folder as transformers writes it -------------------------------------------------------------


def _network(name: str, folder: Path, cache: Path, size: int | None, how: str, cut: Cut | None) -> Backbone:
    """The backbone in a folder; its graph from `cache`, or written into it."""
    files = _files(folder)
    seen = _seen(_json(folder / SETTINGS), size, how)
    kept = cache / f"{_hash(files, seen)}{cut.name if cut else ''}.onnx"
    if not kept.is_file():
        cache.mkdir(parents=True, exist_ok=True)
        durable.write_bytes(kept, _exported(folder, seen, cut))
    return _described(name, _bytes(kept), seen)


def _files(folder: Path) -> list[Path]:
    """The config and the weights of a folder."""
    weights = sorted(folder.glob("*.safetensors"))
    if not (folder / CONFIG).is_file():
        raise ConfigError(f"{KEY}: {folder} has no {CONFIG}. {_known(folder.parent)}")
    if not weights:
        others = sorted(p.name for p in folder.iterdir() if p.suffix in PICKLES)
        raise ConfigError(f"{KEY}: {_pickled(others) if others else f'{folder} has no model.safetensors.'}")
    return [folder / CONFIG, *weights]


def _json(path: Path) -> dict[str, Any]:
    try:
        found = json.loads(path.read_bytes())
    except FileNotFoundError as error:
        raise ConfigError(
            f"{KEY}: {path} is not there. It says how pictures are made ready for the network."
        ) from error
    except ValueError as error:
        raise ConfigError(f"{KEY}: {path} is not JSON: {error}") from error
    return found if isinstance(found, dict) else {}


def _hash(files: Sequence[Path], seen: Mapping[str, Any]) -> str:
    """Of the files and the size of the picture: what the graph is made of."""
    told = hashlib.sha256(f"{WRITTEN} {seen['height']} {seen['width']} {seen['reversed']}".encode())
    for path in files:
        with path.open("rb") as file:
            told.update(hashlib.file_digest(file, "sha256").digest())
    return told.hexdigest()


def _seen(settings: Mapping[str, Any], size: int | Sequence[int] | None, how: str) -> dict[str, Any]:
    """How a picture is made ready, from the settings of a transformers image processor.

    `size`, a side or [height, width], is what the network is to see instead of what they say.
    """
    frame = _sides(settings.get("size", USUAL))
    squash = isinstance(settings.get("size"), Mapping) and "height" in settings["size"]
    cut = frame
    if settings.get("do_center_crop") and "crop_size" in settings:
        cut = _sides(settings["crop_size"])
    elif "crop_pct" in settings and frame[0] < 384:  # ConvNeXt: the side is that of the middle, cut out of a larger one
        frame = (round(frame[0] / settings["crop_pct"]), round(frame[1] / settings["crop_pct"]))
        squash = False
    if size is not None:
        wanted = _sides(size)
        frame = (round(frame[0] * wanted[0] / cut[0]), round(frame[1] * wanted[1] / cut[1]))
        cut = wanted
    if how == "squash":
        frame = cut
    scale = float(settings.get("rescale_factor", 1 / 255)) if settings.get("do_rescale", True) else 1.0
    normal = settings.get("do_normalize", True)
    mean = np.array(settings.get("image_mean", IMAGENET["image_mean"]) if normal else [0.0] * 3)
    deviation = np.array(settings.get("image_std", IMAGENET["image_std"]) if normal else [1.0] * 3)
    return {
        "height": cut[0],
        "width": cut[1],
        "frame": [max(frame[0], cut[0]), max(frame[1], cut[1])],
        "how": how if how != "auto" else "squash" if squash else "crop",
        "factor": np.asarray(scale / deviation, np.float32),
        "shift": np.asarray(-mean / deviation, np.float32),
        "reversed": bool(settings.get("do_flip_channel_order")),
    }


def _sides(size: Any) -> tuple[int, int]:
    """Height and width of a size as transformers writes it: a number, {shortest_edge} or {height, width}."""
    if isinstance(size, Mapping):
        size = [size["height"], size["width"]] if "height" in size else size.get("shortest_edge", USUAL)
    height, width = size if isinstance(size, (list, tuple)) else (size, size)
    return int(height), int(width)


# --- torch ----------------------------------------------------------------------------------------


def pooled(folder: Path, swapped: bool = False) -> Any:
    """The network in a folder as a torch module from pictures to pooled features, in evaluation mode.

    `swapped`: it takes blue, green and red. Raises ModelError for one that cannot be read.
    """
    torch, transformers = _libraries()
    with _quiet(torch, transformers):
        return _pooled(torch, *_read(folder, transformers), swapped)


def _exported(folder: Path, seen: Mapping[str, Any], cut: Cut | None) -> bytes:
    """The graph of the network in a folder, or of what `cut` makes of it, proved on a random picture."""
    torch, transformers = _libraries()
    with _quiet(torch, transformers):
        network = pooled(folder, seen["reversed"])
        random = torch.Generator().manual_seed(0)
        pictures = torch.randn(2, 3, seen["height"], seen["width"], generator=random)
        try:
            with torch.no_grad():
                module = cut.make(network, pictures) if cut else network
                graph, expected = _traced(torch, module, pictures), module(pictures[:1]).numpy()
        except ConfigError:
            raise
        except Exception as error:  # whatever a network may raise on pictures of another size, or that has no ONNX form
            reason = (str(error).strip() or type(error).__name__).splitlines()[0]
            size = f"{seen['width']} x {seen['height']}"
            raise ModelError(
                f"{type(network.network).__name__} gives no graph for pictures of {size} pixels: {reason}"
            ) from error
    _agree(graph, pictures[:1].numpy(), expected)
    return graph


def _traced(torch: Any, module: Any, pictures: Any) -> bytes:
    """The module as ONNX, for any number of pictures."""
    file = io.BytesIO()
    names = {"input_names": ["pictures"], "output_names": ["features"]}
    axes = {"pictures": {0: "n"}, "features": {0: "n"}}
    torch.onnx.export(module, (pictures,), file, dynamo=False, opset_version=OPSET, dynamic_axes=axes, **names)
    return file.getvalue()


def _libraries() -> tuple[Any, Any]:
    try:
        import torch
        import transformers
    except ModuleNotFoundError as error:
        raise missing(error, KEY) from error
    return torch, transformers


@contextmanager
def _quiet(torch: Any, transformers: Any) -> Iterator[None]:
    """Without the reports of loading and tracing: what matters of them is checked here."""
    log = transformers.utils.logging
    before, bar = log.get_verbosity(), log.is_progress_bar_enabled()
    log.set_verbosity_error()
    log.disable_progress_bar()
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        log.set_verbosity(before)
        if bar:
            log.enable_progress_bar()


def _read(folder: Path, transformers: Any) -> tuple[Any, bool]:
    """The network of a folder in evaluation mode, and whether its pooler was learned."""
    settings = {"use_safetensors": True, "local_files_only": True, "trust_remote_code": False}
    try:
        network, told = transformers.AutoModel.from_pretrained(
            folder, **settings, attn_implementation="eager", output_loading_info=True, dtype="float32"
        )
    except Exception as error:  # safetensors, JSON and transformers raise what they like for a damaged folder
        raise ModelError(f"transformers {transformers.__version__} cannot read it: {error}") from error
    pooler = not any("pooler" in key for key in told["missing_keys"])
    absent = sorted(key for key in told["missing_keys"] if "pooler" not in key)
    if absent or told["mismatched_keys"]:
        shown = ", ".join(map(str, [*absent, *told["mismatched_keys"]][:3]))
        raise ModelError(f"its weights do not fit its {CONFIG}: {shown}")
    return getattr(network, "vision_model", network).eval(), pooler


def _pooled(torch: Any, network: Any, pooler: bool, swapped: bool) -> Any:
    """A module from pictures to pooled features: what the network pools, else its class token, else the mean."""
    token = any(name.endswith(("cls_token", "class_embedding")) for name, _ in network.named_parameters())

    class Pooled(torch.nn.Module):  # type: ignore[misc]
        def __init__(self) -> None:
            super().__init__()
            self.network = network

        def forward(self, pictures: Any) -> Any:
            said = self.network(pictures.flip(1) if swapped else pictures)
            known = getattr(said, "pooler_output", None) if pooler else None
            if known is None:
                last = said.last_hidden_state
                known = last.mean((2, 3)) if last.ndim == 4 else last[:, 0] if token else last.mean(1)
            return known.flatten(1)

    return Pooled().eval()


def _agree(graph: bytes, pictures: NDArray[np.float32], expected: NDArray[np.float32]) -> None:
    """Raises ModelError where the graph does not say what the network says."""
    said = graphs.opened(np.frombuffer(graph, np.uint8)).run(["features"], {"pictures": pictures})[0]
    gap = float(np.abs(said - expected).max()) / max(float(np.abs(expected).max()), 1e-6)
    if not gap <= AGREE:
        raise ModelError(f"its graph differs from the network by {gap:.2g} of the largest feature")


# --- any graph ------------------------------------------------------------------------------------


def _graph(name: str, path: Path, size: int | None, how: str) -> Backbone:
    """The backbone of an .onnx file, made ready as a preprocessor_config.json beside it says, or as for ImageNet."""
    beside = path.with_name(SETTINGS)
    settings = _json(beside) if beside.is_file() else {"do_center_crop": True, "size": USUAL}
    graph = _bytes(path)
    shape = _input(graph)[0].shape
    sides = shape[2:] if _layout(shape) == "NCHW" else shape[1:3]
    fixed = [side for side in sides if isinstance(side, int) and side > 0]
    seen = _seen(settings, fixed if len(fixed) == 2 else size, how)
    return _described(name, graph, seen)


def _bytes(path: Path) -> NDArray[np.uint8]:
    return np.fromfile(path, np.uint8)


def _described(name: str, graph: NDArray[np.uint8], seen: Mapping[str, Any]) -> Backbone:
    """All that features.image needs of a backbone, from its graph and how pictures are made ready."""
    port, output = _input(graph)
    layout = _layout(port.shape)
    channels = port.shape[1 if layout == "NCHW" else 3]
    grey = channels == 1
    found: Backbone = {
        "graph": graph,
        "name": name,
        "layout": layout,
        "colours": "L" if grey else "RGB",
        "number": "uint8" if "uint8" in port.type else "float32",
        "batch": port.shape[0] if isinstance(port.shape[0], int) and port.shape[0] > 0 else 0,
        "input": port.name,
        "output": output,
        **{key: seen[key] for key in ("height", "width", "frame", "how")},
        **{key: seen[key].mean(keepdims=True) if grey else seen[key] for key in ("factor", "shift")},
    }
    return found


def _input(graph: NDArray[np.uint8]) -> tuple[graphs.Port, str]:
    """The input for pictures and the output of the features. Raises ModelError where there is no one such input."""
    inputs, outputs = graphs.ports(graph)
    told = "; ".join(f"{p.name} {p.type} {list(p.shape)}" for p in inputs)
    if len(inputs) != 1 or len(inputs[0].shape) != 4 or inputs[0].type not in ("tensor(float)", "tensor(uint8)"):
        raise ModelError(f"a graph with one input of pictures (n, 3, height, width) is wanted; it has {told}")
    _layout(inputs[0].shape)
    wanted = [p.name for p in outputs if p.name in ("features", "pooler_output", "image_embeds")]
    return inputs[0], (wanted or [outputs[0].name])[0]


def _layout(shape: Sequence[Any]) -> str:
    """Where the channels stand. Raises ModelError where neither place has 1 or 3."""
    if shape[1] in (1, 3):
        return "NCHW"
    if shape[3] in (1, 3):
        return "NHWC"
    raise ModelError(f"its input {list(shape)} has no side of 3 colours, or of 1")
