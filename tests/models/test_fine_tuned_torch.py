"""A network in two: parts that say together what the whole says, and what training leaves alone."""

from __future__ import annotations

import copy
import threading

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from torch import nn  # noqa: E402

from keepfit.errors import ConfigError, ModelError  # noqa: E402
from keepfit.models import fine_tuned_torch as parts  # noqa: E402
from keepfit.models import network_torch  # noqa: E402

SIDE, COUNT = 8, 3


class Block(nn.Module):
    """A residual block with a batch norm, as networks of pictures have them."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.Sequential(nn.Conv2d(4, 4, 3, padding=1), nn.BatchNorm2d(4), nn.ReLU())

    def forward(self, maps):
        return maps + self.layers(maps)


class Body(nn.Module):
    """A stem, blocks, and with `around` a way from the stem past all of them."""

    def __init__(self, blocks: int = COUNT, around: bool = False) -> None:
        super().__init__()
        self.stem, self.around = nn.Conv2d(3, 4, 3, padding=1), around
        self.blocks = nn.ModuleList(Block() for _ in range(blocks))

    def forward(self, pictures):
        first = maps = self.stem(pictures)
        for block in self.blocks:
            maps = block(maps)
        return maps + first if self.around else maps


class Toy(nn.Module):
    """What `backbones.pooled` gives, of a small network."""

    def __init__(self, **given) -> None:
        super().__init__()
        self.network = Body(**given)

    def forward(self, pictures):
        return self.network(pictures).mean((2, 3))


def toy(seed: int = 0, **given) -> Toy:
    torch.manual_seed(seed)
    return Toy(**given).eval()


def seen(count: int = 4) -> torch.Tensor:
    return torch.from_numpy(np.random.default_rng(1).standard_normal((count, 3, SIDE, SIDE), np.float32))


def above(last: int = 1) -> parts.Above:
    return parts.above(toy(), last, torch.zeros(1, 3, SIDE, SIDE))


def tuned(views: int = 2, beside: int = 1, outputs: int = 2) -> parts.Tuned:
    """A network of one picture with `views`, and `beside` other features behind it."""
    columns = views * 4 * SIDE * SIDE + beside
    return parts.Tuned([(0, views, 4, SIDE, SIDE)], columns, outputs, [above()])


def rows(network: parts.Tuned, count: int = 40) -> tuple[np.ndarray, np.ndarray]:
    """Maps that are brighter in one channel of class 1."""
    draw = np.random.default_rng(2)
    matrix, codes = draw.standard_normal((count, network.columns), np.float32), np.arange(count) % 2
    views = matrix[:, : 2 * 4 * SIDE * SIDE].reshape(count, 2, 4, -1)
    views[codes == 1, :, 0] += 0.5
    return matrix, codes.astype(np.int64)


def plan(**given) -> network_torch.Plan:
    told = {"epochs": 3, "patience": 3, "learning_rate": 0.01, "batch": 8, "shift": 0, "mirror": False}
    return network_torch.Plan(**{**told, "smoothing": 0.0, "seed": 0, "device": "cpu", "classes": 2, **given})


@pytest.mark.parametrize("last", [1, 2, 3])
def test_both_parts_say_what_the_whole_says(last):
    whole, pictures = toy(), seen()
    with torch.no_grad():
        below, rest = parts.below(copy.deepcopy(whole), last, pictures), above(last)
        assert torch.allclose(rest(below(pictures)), whole(pictures), atol=1e-6)


def test_the_rest_holds_the_weights_of_its_blocks_alone():
    one = sum(weights.numel() for weights in Block().parameters())
    assert [sum(weights.numel() for weights in above(last).parameters()) for last in (1, 2)] == [one, 2 * one]


def test_more_blocks_than_there_are_is_told():
    with pytest.raises(ConfigError, match=r"model\.blocks: 4 is too many: Body has 3 blocks\. Give 1 to 3"):
        parts.below(toy(), 4, seen())


def test_a_network_without_blocks_is_told():
    with pytest.raises(ConfigError, match="Body has no list of blocks"):
        parts.below(toy(blocks=1), 1, seen())


def test_a_network_with_a_way_around_the_cut_is_refused():
    with pytest.raises(ModelError, match="cannot be parted"), torch.no_grad():
        parts.below(toy(around=True), 1, seen())


def test_training_moves_the_blocks_and_leaves_what_batch_norms_know():
    network = tuned()
    before = copy.deepcopy(network.bodies.state_dict())
    network_torch.train(network, *rows(network), None, plan(), network_torch.Watch())
    after = network.bodies.state_dict()
    same = {name for name in after if torch.equal(after[name], before[name])}
    assert {name.rpartition(".")[2] for name in same} == {
        "running_mean",
        "running_var",
        "num_batches_tracked",
        "picture",
    }


def test_an_epoch_sees_one_view_of_each_row():
    network = tuned()
    matrix, _ = rows(network)
    drawn = network.varied(matrix, plan(), np.random.default_rng(0))
    size = 4 * SIDE * SIDE
    assert drawn.shape == (len(matrix), 1 + size)
    assert np.array_equal(drawn[:, 0], matrix[:, -1])
    first, second = ((drawn[:, 1:] == matrix[:, at : at + size]).all(axis=1) for at in (0, size))
    assert (first ^ second).all()
    assert 5 < first.sum() < 35


def test_it_learns_what_there_is_to_learn():
    network = tuned()
    matrix, codes = rows(network)
    done = network_torch.train(
        network, matrix, codes, (matrix, codes), plan(epochs=20, learning_rate=0.1), network_torch.Watch()
    )
    assert done.losses[-1] < 0.8 * done.losses[0]
    assert (network_torch.answers(network, matrix).argmax(axis=1) == codes).mean() > 0.9


def test_where_no_epoch_is_better_it_stays_what_it_was():
    network = tuned()
    matrix, codes = rows(network)
    network_torch.train(network, matrix, codes, None, plan(epochs=20), network_torch.Watch())
    before = network_torch.answers(network, matrix)
    done = network_torch.train(network, matrix, 1 - codes, (matrix, codes), plan(), network_torch.Watch())
    assert (done.best, len(done.losses)) == (0, 3)
    assert np.array_equal(network_torch.answers(network, matrix), before)


def test_interrupted_in_its_first_epoch_it_stays_what_it_was():
    network, stop = tuned(), threading.Event()
    stop.set()
    matrix, codes = rows(network)
    before = network_torch.answers(network, matrix)
    done = network_torch.train(network, matrix, codes, None, plan(), network_torch.Watch(stop))
    assert done.cut
    assert np.array_equal(network_torch.answers(network, matrix), before)


def test_what_stands_beside_pictures_is_brought_to_one_scale():
    network = tuned()
    matrix, _ = rows(network)
    matrix[:, -1] = 1000 + 50 * matrix[:, -1]
    network.scale(matrix)
    found = parts.pooled(network, matrix, "cpu")[:, 0]
    assert abs(found.mean()) < 1e-3
    assert abs(found.std() - 1) < 1e-3


def test_the_graph_says_what_the_network_says():
    import onnxruntime

    network = tuned(outputs=3)
    matrix, _ = rows(network, 5)
    graph = network_torch.onnx(network, network.columns, None, 17)
    said = onnxruntime.InferenceSession(graph, providers=["CPUExecutionProvider"]).run(None, {"features": matrix})[0]
    scores = torch.from_numpy(network_torch.answers(network, matrix)).softmax(1).numpy()
    assert np.abs(said - scores).max() < 1e-5


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU on this machine")
def test_a_gpu_is_used_where_there_is_one():
    network = tuned()
    matrix, codes = rows(network)
    assert np.allclose(parts.pooled(network, matrix, "auto"), parts.pooled(network, matrix, "cpu"), atol=1e-3)
    done = network_torch.train(network, matrix, codes, None, plan(device="cuda"), network_torch.Watch())
    assert next(done.network.parameters()).device.type == "cpu"
