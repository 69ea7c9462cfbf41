"""A pretrained network in two: what stays as it is, and the last blocks, which are trained. Imported to train only.

`below` is the network up to a block, from pictures to maps: what the block is given, of any form (channels, height,
width of a convolutional network; tokens, width of a transformer). `above` is the rest, from maps to pooled features.
Where a network has its blocks is all that is looked for: what is done before them is taken from one run of it.

`Tuned` joins `above` and a linear head to a network that `network_torch.train` trains. Batch norms keep the
statistics of the pretraining, as the few pictures of a step would spoil them, and nothing is dropped out.
"""

from __future__ import annotations

import copy
import math
import threading
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn
from torch.nn import functional

from keepfit.errors import ConfigError, ModelError
from keepfit.features.image import LENGTH
from keepfit.models import backbones, network_torch

Maps = tuple[int, ...]  # first column, views of a picture, and the shape of one view's maps
Matrix = NDArray[np.float32]
GENTLE = 0.1  # share of the head's rate of learning for what is pretrained
KEY = "model.blocks"
_reading = threading.Lock()  # folds read it side by side, and reading changes how much all of transformers tells


# --- in two ---------------------------------------------------------------------------------------


class _Reached(Exception):
    """The forward pass has come to a block; `args` is what the block is given."""


class Below(nn.Module):  # type: ignore[misc]
    """Pictures → what a block is given."""

    def __init__(self, pooled: nn.Module, block: nn.Module) -> None:
        super().__init__()
        self.pooled = pooled
        block.register_forward_pre_hook(_reached)

    def forward(self, pictures: torch.Tensor) -> torch.Tensor:
        try:
            self.pooled(pictures)
        except _Reached as found:
            maps: torch.Tensor = found.args[0]
            return maps
        raise ModelError("its blocks are not run")


def _reached(block: nn.Module, given: tuple[Any, ...]) -> None:
    raise _Reached(given[0])


class Above(nn.Module):  # type: ignore[misc]
    """What a block is given → pooled features."""

    def __init__(self, pooled: nn.Module, block: _Given, picture: torch.Tensor) -> None:
        super().__init__()
        self.pooled, self.block = pooled, [block]  # in a list: it stands within `pooled` already
        self.register_buffer("picture", picture)

    def forward(self, maps: torch.Tensor) -> torch.Tensor:
        self.block[0].maps = maps
        found: torch.Tensor = self.pooled(self.picture)
        return found


class _For(nn.Module):  # type: ignore[misc]
    """In the place of another module, whose other attributes it shows; `other` is in a tuple, so its weights are not
    this one's."""

    def __init__(self, other: nn.Module) -> None:
        super().__init__()
        self.other = (other,)

    def __getattr__(self, name: str) -> Any:
        try:
            return super().__getattr__(name)
        except AttributeError:
            return getattr(self.other[0], name)


class _Given(_For):
    """A block that takes `maps` in place of what it is given."""

    def __init__(self, block: nn.Module) -> None:
        super().__init__(block)
        self.block, self.maps = block, torch.empty(0)

    def forward(self, _: Any, *more: Any, **named: Any) -> Any:
        return self.block(self.maps, *more, **named)


class _Said(_For):
    """Says what a module said, whatever it is asked."""

    def __init__(self, module: nn.Module, said: Any) -> None:
        super().__init__(module)
        self.said = said

    def forward(self, *_: Any, **named: Any) -> Any:
        return self.said


def below(pooled: nn.Module, last: int, pictures: torch.Tensor) -> Below:
    """The module up to the last `last` blocks. Raises ConfigError where there are not so many, ModelError where
    the two parts together do not say what the whole says of `pictures`."""
    whole = pooled(pictures)
    apart = above(copy.deepcopy(pooled), last, pictures[:1])
    found = Below(pooled, _block(pooled, last))
    found.eval()
    gap = float((apart(found(pictures)) - whole).abs().max()) / max(float(whole.abs().max()), 1e-6)
    if not gap <= backbones.AGREE:
        raise ModelError(f"its last blocks cannot be parted from it: what they say differs by {gap:.2g} of the largest")
    return found


def above(pooled: nn.Module, last: int, picture: torch.Tensor) -> Above:
    """The last `last` blocks and what comes after them; `pooled` is used up. Raises ConfigError as `below`."""
    block = _block(pooled, last)
    before = _before(pooled, block, picture)
    names = {module: name for name, module in pooled.named_modules()}
    _put(pooled, names[block], given := _Given(block))
    for module, said in before.items():
        _put(pooled, names[module], _Said(module, said))
    found = Above(pooled, given, picture)
    found.eval()
    return found


def _block(pooled: nn.Module, last: int) -> nn.Module:
    """The first of the last blocks: layers of a MobileNet or a transformer, stages of a ResNet or ConvNeXt."""
    lists = [part for part in pooled.modules() if isinstance(part, nn.ModuleList) and len(part) > 1]
    kind = type(pooled.network).__name__
    if not lists:
        raise ConfigError(f"{KEY}: {kind} has no list of blocks, so it cannot be trained in part.")
    blocks = max(lists, key=lambda part: sum(weights.numel() for weights in part.parameters()))
    if last > len(blocks):
        raise ConfigError(f"{KEY}: {last} is too many: {kind} has {len(blocks)} blocks. Give 1 to {len(blocks)}.")
    found: nn.Module = blocks[len(blocks) - last]
    return found


def _before(pooled: nn.Module, block: nn.Module, picture: torch.Tensor) -> Mapping[nn.Module, Any]:
    """The modules that have done their work when `block` begins, with what they say; the outermost of them."""
    said: dict[nn.Module, Any] = {}
    reached: list[nn.Module] = []

    def tell(module: nn.Module, _: Any, found: Any) -> None:
        if reached:
            said.pop(module, None)  # it works on both sides
        else:
            said[module] = found

    hooks = [module.register_forward_hook(tell) for module in pooled.modules()]
    hooks.append(block.register_forward_pre_hook(lambda module, _: reached.append(module)))
    with torch.no_grad():
        pooled(picture)
    for hook in hooks:
        hook.remove()
    within = {part for module in said for part in module.modules() if part is not module}
    return {module: found for module, found in said.items() if module not in within}


def _put(pooled: nn.Module, name: str, module: nn.Module) -> None:
    parent, _, child = name.rpartition(".")
    setattr(pooled.get_submodule(parent), child, module)


# --- a network to be trained ----------------------------------------------------------------------


def last(folder: str, blocks: int, height: int, width: int) -> Above:
    """The last blocks of the network in a folder that takes pictures of a size, from maps to pooled features."""
    with _reading:
        return above(backbones.pooled(Path(folder)), blocks, torch.zeros(1, 3, height, width))


class Tuned(nn.Module):  # type: ignore[misc]
    """Features (n, d) with the maps of pictures in them → log-odds of the classes or values, (n, outputs).

    The pooled features of a picture are averaged over its views and brought to the length `LENGTH`, as those of a
    backbone that stays as it is. `parts` has the last blocks for each picture of a row.
    """

    ready, at_once = True, 16  # rows: what the layers pass on is much larger than their input

    def __init__(self, pictures: Sequence[Maps], columns: int, outputs: int, parts: Sequence[Above]) -> None:
        super().__init__()
        self.pictures, self.columns, self.bodies = tuple(pictures), columns, nn.ModuleList(parts)
        taken = {place for start, *shape in self.pictures for place in range(start, start + math.prod(shape))}
        self.beside = [place for place in range(columns) if place not in taken]
        self.register_buffer("mean", torch.zeros(len(self.beside)))
        self.register_buffer("spread", torch.ones(len(self.beside)))
        with torch.no_grad():
            width = self.pooled(torch.zeros(1, columns)).shape[1]
        self.head = nn.Linear(width, outputs)

    def scale(self, matrix: Matrix) -> None:
        """Learn from (n, d) training rows what brings the features beside pictures to mean 0 and spread 1."""
        values = np.asarray(matrix[:, self.beside], np.float64)
        spread = values.std(axis=0)
        self.mean.copy_(torch.from_numpy(values.mean(axis=0)))
        self.spread.copy_(torch.from_numpy(np.where(spread > 0, spread, 1.0)))

    def begin(self, matrix: Matrix, random: np.random.Generator) -> None:
        """Nothing is drawn: it begins as it is."""

    def rates(self) -> list[tuple[list[nn.Parameter], float]]:
        """What is learned, and at which share of the rate."""
        return [(list(self.head.parameters()), 1.0), (list(self.bodies.parameters()), GENTLE)]

    def varied(self, features: Matrix, plan: network_torch.Plan, random: np.random.Generator) -> Matrix:
        """Rows as one epoch sees them: what is beside the pictures, and one view of each, drawn."""
        found = [features[:, self.beside]]
        for start, views, *shape in self.pictures:
            block = features[:, start : start + views * math.prod(shape)].reshape(len(features), views, -1)
            found.append(block[np.arange(len(features)), random.integers(0, views, len(features))])
        return np.concatenate(found, axis=1)

    def train(self, mode: bool = True) -> Tuned:
        """In training rows are as `varied` gives them; the blocks never leave their evaluation mode."""
        super().train(False)
        self.training = mode
        return self

    def pooled(self, features: torch.Tensor) -> torch.Tensor:
        """What the head is given, (n, width)."""
        start = len(self.beside)
        beside = features[:, :start] if self.training else features[:, self.beside]
        found = [(beside - self.mean) / self.spread]
        for (first, views, *shape), body in zip(self.pictures, self.bodies, strict=True):
            if self.training:
                first, views, start = start, 1, start + math.prod(shape)
            maps = features[:, first : first + views * math.prod(shape)].reshape(-1, *shape)
            seen = body(maps)
            seen = seen.reshape(-1, views, seen.shape[1]).mean(dim=1)
            found.append(LENGTH * functional.normalize(seen, dim=1))
        return torch.cat(found, dim=1)

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        found: torch.Tensor = self.head(self.pooled(features))
        return found


def pooled(network: Tuned, matrix: Matrix, device: str) -> Matrix:
    """What the head is given for (n, d) features, worked out on a device as `network_torch.device` means it."""
    place = network_torch.device(device)
    network.to(place).eval()
    with torch.inference_mode():
        parts = [
            network.pooled(torch.from_numpy(matrix[at : at + network.at_once]).to(place)).cpu().numpy()
            for at in range(0, len(matrix), network.at_once)
        ]
    return np.concatenate(parts)


def start(network: Tuned, weights: NDArray[Any], offsets: NDArray[Any]) -> None:
    """Give the head weights (outputs, width) and offsets (outputs,)."""
    with torch.no_grad():
        network.head.weight.copy_(torch.from_numpy(np.asarray(weights)))
        network.head.bias.copy_(torch.from_numpy(np.asarray(offsets)))
