import threading
import time

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from keepfit.models import network_torch as nets  # noqa: E402 - it imports torch

PICTURE = (2, 6, 6, 1)  # behind two other columns


def dots(count=50):
    """One bright pixel in the middle of each picture, and two columns before it."""
    features = np.zeros((count, 2 + 36), np.float32)
    features[:, :2] = 7
    features[:, 2 + 2 * 6 + 3] = 1
    return features


def places(features):
    """Row and column of the bright pixel."""
    return np.divmod(features[:, 2:].argmax(axis=1), 6)


def test_pictures_are_shifted_by_no_more_than_asked():
    moved = nets.moved(dots(), [PICTURE], 2, False, np.random.default_rng(0))
    down, across = places(moved)
    assert set(down - 2) == set(across - 3) == {-2, -1, 0, 1, 2}
    assert (moved[:, :2] == 7).all()
    assert (moved[:, 2:].sum(axis=1) == 1).all()


def test_what_a_shift_uncovers_repeats_the_border():
    bright = np.ones((9, 38), np.float32)
    assert (nets.moved(bright, [PICTURE], 2, False, np.random.default_rng(0)) == 1).all()


def test_half_of_the_pictures_are_mirrored():
    down, across = places(nets.moved(dots(), [PICTURE], 0, True, np.random.default_rng(0)))
    assert set(down) == {2}
    assert set(across) == {2, 3}
    assert 10 < (across == 2).sum() < 40


def test_nothing_moves_unless_asked():
    assert np.array_equal(nets.moved(dots(), [PICTURE], 0, False, np.random.default_rng(0)), dots())


def test_colours_stay_together():
    features = np.zeros((20, 6 * 6 * 3), np.float32)
    features.reshape(20, 6, 6, 3)[:, 2, 3] = (0.2, 0.4, 0.6)
    moved = nets.moved(features, [(0, 6, 6, 3)], 1, True, np.random.default_rng(0)).reshape(20, 36, 3)
    for picture in moved:
        assert [picture[picture.any(axis=1)].tolist()] == [np.float32([[0.2, 0.4, 0.6]]).tolist()]


def test_larger_pictures_get_more_layers_and_no_size_is_too_small():
    depth = {}
    for side in (1, 4, 8, 16, 28, 64):
        layers, size = nets.body(3, side, 4)
        depth[side] = sum(isinstance(layer, torch.nn.Conv2d) for layer in layers.modules())
        assert layers.eval()(torch.zeros(2, 3, side, side)).shape == (2, size)
    assert list(depth.values()) == sorted(depth.values())
    assert depth[1] == 1
    assert depth[64] > depth[8]


def test_features_are_scaled_by_column_and_pixels_by_channel():
    random = np.random.default_rng(0)
    matrix = np.column_stack([random.normal(5, 3, 400), random.normal(2, 0.5, (400, 8)), np.full(400, 9.0)])
    matrix[:, 1:9:2] += 10  # one of two channels
    network = nets.Network([(1, 2, 2, 2)], 10, 2, 4)
    network.scale(matrix.astype(np.float32))
    level = (matrix - network.mean.numpy()) / network.spread.numpy()
    assert len(np.unique(network.mean.numpy()[1:9])) == 2
    np.testing.assert_allclose(level[:, 0].std(), 1, atol=1e-3)
    np.testing.assert_allclose(level[:, 1:9].reshape(-1, 2).std(axis=0), 1, atol=1e-3)
    assert (level[:, 9] == 0).all()


def plan(**given):
    about = {"epochs": 10, "patience": 10, "learning_rate": 0.01, "batch": 10, "shift": 0, "mirror": False}
    return nets.Plan(**{**about, "smoothing": 0.0, "seed": 0, "device": "cpu", "classes": 2, **given})


def trained(watch, **given):
    features = np.random.default_rng(0).random((40, 38), np.float32)
    network = nets.Network([PICTURE], 38, 2, 4)
    return nets.train(network, features, np.arange(40) % 2, None, plan(**given), watch)


def test_fewer_epochs_are_planned_where_time_is_short():
    tell = lambda *told: time.sleep(0.2)
    done = trained(nets.Watch(deadline=time.monotonic() + 1.2, tell=tell), epochs=1000)
    assert done.cut
    assert 1 <= len(done.losses) <= 10


def test_all_epochs_are_done_where_there_is_time():
    done = trained(nets.Watch(deadline=time.monotonic() + 600))
    assert (done.cut, len(done.losses), done.best) == (False, 10, 10)


def test_a_stop_is_seen_between_two_steps():
    stop = threading.Event()
    stop.set()
    with pytest.raises(KeyboardInterrupt):
        trained(nets.Watch(stop))


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU on this machine")
def test_a_gpu_is_used_where_there_is_one():
    assert nets.device("auto") == "cuda"
    done = trained(nets.Watch(), device="cuda")
    assert next(done.network.parameters()).device.type == "cpu"


def test_the_device_that_was_asked_for_is_taken():
    assert nets.device("cpu") == "cpu"
