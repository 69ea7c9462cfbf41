"""A convolutional network and its training, in torch. Imported when a network is fitted, never to serve.

A matrix of features (n, d) holds pictures as runs of pixels, and what else a table has beside them. Each picture
goes through a body of its own (3 x 3 convolutions with batch normalisation, Ioffe and Szegedy 2015, and halving),
is averaged over its places, and joins the other features before one linear layer.

The rate of learning rises and falls in one cycle (Smith and Topin 2017) that ends with the last epoch, AdamW
(Loshchilov and Hutter 2019) does the steps. All that is drawn comes from one seeded generator, and nothing
from torch's own: on one CPU the same seed gives the same network, also beside other fits.
"""

from __future__ import annotations

import copy
import io
import itertools
import math
import threading
import time
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from functools import cache
from typing import Any

import numpy as np
import torch
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray
from torch import nn
from torch.nn import functional

Matrix = NDArray[np.float32]
Picture = tuple[int, int, int, int]  # first column of its pixels, height, width, channels
RISE = 0.25  # share of the steps in which the rate rises
DECAY = 0.05  # of the weights, by AdamW
JUDGED = 5_000  # held-back rows that are enough to tell whether an epoch was better
LEAST = 4  # pixels of a side, about, below which nothing is halved
LARGE = 16  # pixels of a side from which the first layer halves


class Network(nn.Module):  # type: ignore[misc]
    """Features (n, d) → log-odds of the classes or values, (n, outputs)."""

    ready = False  # whether it answers before it is trained
    at_once = 512  # rows of a pass that learns nothing

    def __init__(self, pictures: Sequence[Picture], columns: int, outputs: int, width: int) -> None:
        super().__init__()
        self.pictures = tuple(pictures)
        taken = {place for start, *shape in self.pictures for place in range(start, start + math.prod(shape))}
        self.beside = [place for place in range(columns) if place not in taken]
        made = [body(channels, min(height, breadth), width) for _, height, breadth, channels in self.pictures]
        self.bodies = nn.ModuleList(layers for layers, _ in made)
        self.head = nn.Linear(sum(size for _, size in made) + len(self.beside), outputs)
        self.register_buffer("mean", torch.zeros(columns))
        self.register_buffer("spread", torch.ones(columns))

    def scale(self, matrix: Matrix) -> None:
        """Learn from (n, d) training rows what brings features to mean 0 and spread 1: a channel's pixels alike."""
        mean, spread = (np.asarray(of(matrix, axis=0, dtype=np.float64)) for of in (np.mean, np.var))
        for start, *shape in self.pictures:
            pixels = slice(start, start + math.prod(shape))
            middle, size = (part[pixels].reshape(-1, shape[-1]) for part in (mean, spread))
            size[:] = size.mean(axis=0) + middle.var(axis=0)
            middle[:] = middle.mean(axis=0)
        self.mean.copy_(torch.from_numpy(mean))
        self.spread.copy_(torch.from_numpy(np.sqrt(np.where(spread > 0, spread, 1.0))))

    def begin(self, matrix: Matrix, random: np.random.Generator) -> None:
        """Weights and scales with which training begins on (n, d) rows."""
        draw(self, random)
        self.scale(matrix)

    def rates(self) -> list[tuple[list[nn.Parameter], float]]:
        """What is learned, and at which share of the rate."""
        return [(list(self.parameters()), 1.0)]

    def varied(self, features: Matrix, plan: Plan, random: np.random.Generator) -> Matrix:
        """Rows as one epoch sees them."""
        return moved(features, self.pictures, plan.shift, plan.mirror, random)

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        level = (features - self.mean) / self.spread
        parts = [level[:, self.beside]] if self.beside else []
        for (start, *shape), layers in zip(self.pictures, self.bodies, strict=True):
            pixels = level[:, start : start + math.prod(shape)].reshape(-1, *shape)
            parts.append(layers(pixels.permute(0, 3, 1, 2)))
        found: torch.Tensor = self.head(torch.cat(parts, dim=1))
        return found


def body(channels: int, side: int, width: int) -> tuple[nn.Sequential, int]:
    """The layers from a picture whose shorter side has `side` pixels to its features, and how many these are.

    The first layer halves all but small pictures: at full size it would cost as much as all others together.
    """
    layers: list[nn.Module] = []
    size = width
    if side >= LARGE:
        layers.append(_convolution(channels, size, 6, 2))
        side //= 2
    else:
        layers.append(_convolution(channels, size))
    while side >= 2 * LEAST - 1:
        before, size, side = size, min(2 * size, 4 * width), side // 2
        layers += [nn.MaxPool2d(2), _convolution(before, size)]
        if side >= LEAST:  # below, one sees all of it
            layers.append(_convolution(size, size))
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten()), size


def _convolution(channels: int, size: int, window: int = 3, step: int = 1) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(channels, size, window, stride=step, padding=(window - 1) // 2, bias=False),
        nn.BatchNorm2d(size),
        nn.ReLU(inplace=True),
    )


def draw(network: nn.Module, random: np.random.Generator) -> None:
    """Weights anew: normal with variance 2 / inputs (He et al. 2015), the last layer's 1 / inputs; no offsets."""
    with torch.no_grad():
        for layer in network.modules():
            if isinstance(layer, nn.Conv2d | nn.Linear):
                gain = 2.0 if isinstance(layer, nn.Conv2d) else 1.0
                spread = math.sqrt(gain / math.prod(layer.weight.shape[1:]))
                drawn = random.standard_normal(layer.weight.shape, np.float32) * np.float32(spread)
                layer.weight.copy_(torch.from_numpy(drawn))
                if layer.bias is not None:
                    layer.bias.zero_()


# --- training -------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Plan:
    """How a network is trained; see `keepfit.models.networks` for what the numbers mean."""

    epochs: int
    patience: int
    learning_rate: float
    batch: int
    shift: int  # pixels, at most
    mirror: bool
    smoothing: float
    seed: int
    device: str
    weights: NDArray[np.float32] | None = None  # of the classes; None in a regression
    classes: int = 0


@dataclass
class Watch:
    """Who looks on. `stop` ends it, and is set by Ctrl-C; `deadline` is on the monotonic clock.

    `tell` is told the epoch, all epochs, pictures a second and the lowest loss so far.
    """

    stop: threading.Event = field(default_factory=threading.Event)
    deadline: float = math.inf
    tell: Callable[[int, int, float, float], None] = lambda *told: None


@dataclass
class Trained:
    """The network as it was best, on the CPU, and how it came to be: loss of the held-back rows by epoch."""

    network: Network
    losses: list[float]
    best: int  # epoch, from 1
    cut: bool = False  # there was no time for all epochs, or training was interrupted


def train(
    network: Network,
    matrix: Matrix,
    target: NDArray[Any],
    held: tuple[Matrix, NDArray[Any]] | None,
    plan: Plan,
    watch: Watch,
) -> Trained:
    """Train on (n, d) features; `target` are codes of classes (n,) int64, or standardised values (n,) float32.

    With `held` rows the network is kept as it was best on them (one that is `ready` may be best before the first
    epoch), and `patience` epochs without a better one end it; without, as it was last. When the deadline comes
    nearer than the epochs need, there are fewer of them, and the rate falls sooner. Raises KeyboardInterrupt if it
    was interrupted before there was anything to keep.
    """
    run = _Run(network, matrix, target, plan)
    judge = _judge(network, held, plan) if held is not None and len(held[1]) else None
    done = Trained(network, [], 0)
    least = judge() if judge and network.ready else math.inf
    best, began = copy.deepcopy(network.state_dict()), time.monotonic()
    try:
        while len(done.losses) < run.epochs and not done.cut and len(done.losses) - done.best < plan.patience:
            learned = run.epoch(watch.stop)
            done.losses.append(judge() if judge else learned)
            if judge is None or done.losses[-1] <= least:
                best, done.best = copy.deepcopy(network.state_dict()), len(done.losses)
            least = min(least, done.losses[-1])
            each = (time.monotonic() - began) / len(done.losses)
            watch.tell(len(done.losses), run.epochs, len(matrix) / each, least)
            done.cut = run.shorten(watch.deadline - time.monotonic(), each)
    except KeyboardInterrupt:
        watch.stop.set()
        if not done.best and not network.ready:
            raise
        done.cut = True
    network.load_state_dict(best)
    network.to("cpu").eval()
    return done


class _Run:
    """Where a training stands: its steps, and how many there will be."""

    def __init__(self, network: Network, matrix: Matrix, target: NDArray[Any], plan: Plan) -> None:
        self.network, self.matrix, self.target, self.plan = network, matrix, target, plan
        self.random = np.random.default_rng(plan.seed)
        network.begin(matrix, self.random)
        network.to(plan.device, memory_format=torch.channels_last)
        groups = [{"params": some, "share": share} for some, share in network.rates()]
        self.optimiser = torch.optim.AdamW(groups, lr=0.0, weight_decay=DECAY)
        self.loss = loss(plan)
        self.cuts = np.linspace(0, len(matrix), max(1, round(len(matrix) / plan.batch)) + 1).astype(int)
        self.epochs, self.done = plan.epochs, 0

    def epoch(self, stop: threading.Event) -> float:
        """One pass over all rows in a new order; the mean loss. Raises KeyboardInterrupt when `stop` is set."""
        self.network.train()
        order, total = self.random.permutation(len(self.matrix)), 0.0
        for start, end in itertools.pairwise(self.cuts.tolist()):
            if stop.is_set():
                raise KeyboardInterrupt
            rows = order[start:end]
            total += self._step(rows) * len(rows)
        return total / len(self.matrix)

    def _step(self, rows: NDArray[np.intp]) -> float:
        for group in self.optimiser.param_groups:
            share = group["share"] * cycle(self.done / (self.epochs * (len(self.cuts) - 1)))
            group["lr"] = self.plan.learning_rate * share
        features = self.network.varied(self.matrix[rows], self.plan, self.random)
        given = torch.from_numpy(features).to(self.plan.device)
        wanted = torch.from_numpy(self.target[rows]).to(self.plan.device)
        with halved(self.plan.device):
            found = self.network(given)
        value = self.loss(found.float(), wanted)
        self.optimiser.zero_grad(set_to_none=True)
        value.backward()
        self.optimiser.step()
        self.done += 1
        return float(value.detach())

    def shorten(self, left: float, each: float) -> bool:
        """Plan as many epochs as fit into the seconds that are left, if that is fewer; are there none any more?"""
        finished = self.done // (len(self.cuts) - 1)
        self.epochs = max(finished, min(self.epochs, finished + int(min(left / each, self.epochs))))
        return self.epochs < self.plan.epochs and self.epochs == finished


def cycle(share: float) -> float:
    """The rate of learning as a share of its highest, when `share` of the steps are done.

    >>> [cycle(share) for share in (0.0, RISE, (1 + RISE) / 2, 1.0)]
    [0.04, 1.0, 0.5, 0.0]
    """
    return 0.04 + 0.96 * share / RISE if share < RISE else (1 - share) / (1 - RISE)


def moved(
    features: Matrix, pictures: Sequence[Picture], shift: int, mirror: bool, random: np.random.Generator
) -> Matrix:
    """Rows with their pictures shifted by up to `shift` pixels (the border is repeated), half of them mirrored."""
    for start, *shape in pictures if shift or mirror else ():
        block = features[:, start : start + math.prod(shape)]
        pixels = block.reshape(-1, *shape)
        if shift:
            padded = np.pad(pixels, ((0, 0), (shift, shift), (shift, shift), (0, 0)), mode="edge")
            seen = sliding_window_view(padded, tuple(shape[:2]), axis=(1, 2))
            down, across = random.integers(0, 2 * shift + 1, (2, len(features)))
            pixels = np.moveaxis(seen[np.arange(len(features)), down, across], 1, -1)
        if mirror:
            turned = random.random(len(features)) < 0.5
            pixels = np.where(turned[:, None, None, None], pixels[:, :, ::-1], pixels)
        block[...] = pixels.reshape(len(features), -1)
    return features


def loss(plan: Plan, smoothing: float | None = None) -> Callable[[torch.Tensor, torch.Tensor], torch.Tensor]:
    """Cross-entropy with smoothed labels, or in a regression half the squared error."""
    if not plan.classes:
        return lambda found, wanted: functional.mse_loss(found[:, 0], wanted)
    weight = None if plan.weights is None else torch.from_numpy(plan.weights).to(plan.device)
    smooth = plan.smoothing if smoothing is None else smoothing
    return lambda found, wanted: functional.cross_entropy(found, wanted, weight, label_smoothing=smooth)


def _judge(network: Network, held: tuple[Matrix, NDArray[Any]], plan: Plan) -> Callable[[], float]:
    """The function to the loss of held-back rows, from all over them where there are many."""
    some = np.linspace(0, len(held[1]) - 1, min(len(held[1]), JUDGED)).astype(int)
    matrix, target = held[0][some], torch.from_numpy(held[1][some])
    measure = loss(replace(plan, device="cpu"), 0.0)

    def judge() -> float:
        with halved(plan.device):
            return float(measure(torch.from_numpy(answers(network, matrix, plan.device)), target))

    return judge


def answers(network: Network, matrix: Matrix, device: str = "cpu") -> NDArray[np.float32]:
    """Outputs (n, outputs) for features (n, d), as the network answers: nothing is learned."""
    network.eval()
    with torch.inference_mode():
        parts = [
            network(torch.from_numpy(matrix[at : at + network.at_once]).to(device)).float().cpu().numpy()
            for at in range(0, len(matrix), network.at_once)
        ]
    return np.concatenate(parts) if parts else np.empty((0, network.head.out_features), np.float32)


# --- the machine ----------------------------------------------------------------------------------


def device(asked: str) -> str:
    """The device that "auto" means: a GPU where there is one."""
    if asked != "auto":
        return asked
    return "cuda" if torch.cuda.is_available() else "cpu"


def halved(device: str) -> Any:
    """A context for training: products of 16 bits (bfloat16) where the machine has instructions for them."""
    return torch.autocast(device, dtype=torch.bfloat16, enabled=_sixteen(device))


@cache
def _sixteen(device: str) -> bool:
    if device != "cpu":
        return bool(torch.cuda.is_bf16_supported())
    told: dict[str, Any] = getattr(torch.cpu, "get_capabilities", dict)()
    return bool(told.get("avx512_bf16") or told.get("amx_bf16"))


@contextmanager
def threads(count: int) -> Iterator[None]:
    """Torch with so many threads inside. Few pictures at a time: more threads wait for each other."""
    before = torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)


# --- the stored form ------------------------------------------------------------------------------


class _Scored(nn.Module):  # type: ignore[misc]
    """A network with its last step: probabilities, or values on the target's own scale."""

    def __init__(self, network: Network, scale: tuple[float, float] | None) -> None:
        super().__init__()
        self.network, self.scale = network, scale

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        found: torch.Tensor = self.network(features)
        return found.softmax(dim=1) if self.scale is None else found * self.scale[1] + self.scale[0]


def onnx(network: Network, columns: int, scale: tuple[float, float] | None, opset: int) -> bytes:
    """The network as an ONNX file: input `features` (rows, columns), output `scores`.

    `scale` is mean and spread of a regression's target; without it scores are probabilities.
    """
    file = io.BytesIO()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # this exporter is the old one: the new needs a package more, for no gain here
        torch.onnx.export(
            _Scored(network, scale).eval(),
            (torch.zeros(2, columns),),
            file,
            input_names=["features"],
            output_names=["scores"],
            dynamic_axes={"features": {0: "rows"}, "scores": {0: "rows"}},
            opset_version=opset,
            dynamo=False,
        )
    return file.getvalue()
