import subprocess
import sys
import threading
import time

import numpy as np
import pytest

from keepfit.errors import MissingExtraError
from keepfit.models import networks
from keepfit.models.networks import ConvolutionalNetwork, ConvolutionalRegressor

pytest.importorskip("torch")
SHAPE = (8, 8, 1)
PICTURES = [(0, *SHAPE)]


def bars(count=16, seed=0, shape=SHAPE):
    """Grey noise with a bright bar: upright in class "a", lying in class "b"."""
    random = np.random.default_rng(seed)
    pixels = random.random((count, *shape), np.float32) * np.float32(0.3)
    labels = np.array(["a", "b"] * (count // 2), object)
    for picture, label, place in zip(pixels, labels, random.integers(1, min(shape[:2]) - 1, count), strict=True):
        picture[(slice(None), place) if label == "a" else (place, slice(None))] += 0.6
    return pixels.reshape(count, -1), labels


def network(**given):
    return ConvolutionalNetwork(**{"pictures": PICTURES, "epochs": 40, "width": 8, **given})


def told(deadline=float("inf"), stop_after=None):
    """Arguments of `networks.fit` behind the rows, and what is told."""
    said, stop = [], threading.Event()

    def tell(done, total, message, best):
        said.append((done, total, message))
        if done == stop_after:
            stop.set()

    return ([], stop, deadline, tell), said


def test_sixteen_pictures_are_enough_to_learn_two_classes():
    X, y = bars()
    found = network().fit(X, y)
    assert list(found.classes_) == ["a", "b"]
    assert (found.predict(X) == y).all()
    more, truth = bars(40, seed=1)
    assert (found.predict(more) == truth).mean() > 0.9
    chances = found.predict_proba(more)
    assert chances.shape == (40, 2)
    np.testing.assert_allclose(chances.sum(axis=1), 1)


def test_a_number_is_learned_on_its_own_scale():
    X, _ = bars(40)
    X *= np.linspace(0.2, 1, 40, dtype=np.float32)[:, None]
    y = 1000 + 500 * X.mean(axis=1)
    found = ConvolutionalRegressor(pictures=PICTURES, width=8, augment="none").fit(X, y)
    assert np.abs(found.predict(X) - y).mean() < 0.3 * y.std()


def test_the_same_seed_gives_the_same_network_to_the_last_bit():
    X, y = bars()
    one, same, other = (network(epochs=3, random_state=seed).fit(X, y).predict_proba(X) for seed in (1, 1, 2))
    assert np.array_equal(one, same)
    assert not np.array_equal(one, other)


def test_beside_other_fits_too():
    X, y = bars()
    alone = network(epochs=5).fit(X, y).predict_proba(X)
    found = {}
    threads = [
        threading.Thread(target=lambda at=at: found.update({at: network(epochs=5).fit(X, y).predict_proba(X)}))
        for at in range(2)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert np.array_equal(found[0], alone)
    assert np.array_equal(found[1], alone)


def test_what_stands_beside_the_picture_is_learned_from():
    X, _ = bars(60)
    y = np.arange(60) % 3
    X = np.column_stack([y == 0, X, y == 1]).astype(np.float32)
    found = network(pictures=[(1, *SHAPE)]).fit(X, y)
    assert (found.predict(X) == y).all()


def test_two_pictures_in_a_row_are_both_looked_at():
    X, y = bars(24)
    other, truth = bars(24, seed=5)
    both = np.array([f"{a}{b}" for a, b in zip(y, truth[::-1], strict=True)])
    found = network(pictures=[(0, *SHAPE), (64, *SHAPE)]).fit(np.column_stack([X, other[::-1]]), both)
    assert (found.predict(np.column_stack([X, other[::-1]])) == both).mean() > 0.9


def test_pictures_of_any_shape_are_taken():
    for shape in ((1, 1, 1), (2, 5, 3), (9, 30, 3)):
        X = np.random.default_rng(0).random((10, int(np.prod(shape))), np.float32)
        found = network(pictures=[(0, *shape)], epochs=1).fit(X, np.arange(10) % 2)
        assert np.isfinite(found.predict_proba(X)).all()


def test_rows_that_are_held_back_end_it_early_and_the_best_network_is_kept():
    X, y = bars(40)
    noise = np.random.default_rng(3).permutation(y)
    found = network(patience=3, epochs=200, augment="none").fit(X, y, (X, noise))
    assert len(found.losses_) < 200
    assert found.n_iter_ == int(np.argmin(found.losses_)) + 1
    assert len(found.losses_) - found.n_iter_ == 3
    assert not found.cut_


def test_each_epoch_is_told():
    X, y = bars()
    rest, said = told()
    networks.fit(network(epochs=3), X, y, None, *rest)
    assert [line[:2] for line in said] == [(1, 3), (2, 3), (3, 3)]
    assert "epoch 2 of 3" in said[1][2]
    assert "pictures/s" in said[1][2]


def test_a_stop_keeps_the_best_so_far():
    X, y = bars()
    rest, said = told(stop_after=2)
    found = networks.fit(network(epochs=100), X, y, None, *rest)
    assert found.cut_
    assert (networks.rounds(found), len(said)) == (2, 2)
    assert found.predict_proba(X).shape == (16, 2)


def test_a_stop_within_the_first_epoch_is_an_interruption():
    X, y = bars()
    rest, _ = told()
    rest[1].set()
    with pytest.raises(KeyboardInterrupt):
        networks.fit(network(), X, y, None, *rest)


def test_when_time_is_up_the_epochs_that_are_there_are_enough():
    X, y = bars()
    rest, said = told(deadline=time.monotonic() - 1)
    found = networks.fit(network(epochs=50), X, y, (X, y), *rest)
    assert found.cut_
    assert len(said) == 1


def test_what_cannot_be_trained_is_told():
    X, y = bars()
    with pytest.raises(ValueError, match="needs a column of pictures"):
        network(pictures=()).fit(X, y)
    with pytest.raises(ValueError, match="do not fit into 64 columns"):
        network(pictures=[(1, *SHAPE)]).fit(X, y)
    with pytest.raises(ValueError, match="augment 'turn' is none of auto, none, shift"):
        network(augment="turn").fit(X, y)


def test_colours_are_mirrored_letters_are_not():
    assert not network()._mirrored([(0, 8, 8, 1)])
    assert network()._mirrored([(0, 8, 8, 3)])
    assert network(augment="shift and mirror")._mirrored([(0, 8, 8, 1)])


def test_classes_can_be_weighed_alike():
    random = np.random.default_rng(0)
    X, y = random.random((200, 64), np.float32), np.array([0] * 180 + [1] * 20)
    plain, even = (
        network(epochs=4, class_weight=weight).fit(X, y).predict_proba(X)[:, 1].mean() for weight in (None, "balanced")
    )
    assert even > plain + 0.1


def test_importing_brings_no_torch():
    code = "import sys; import keepfit.models.networks, keepfit.models.catalogue; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_without_torch_the_error_says_what_to_install(monkeypatch):
    for name in [name for name in sys.modules if name.partition(".")[0] == "torch"] + [networks.TORCH]:
        monkeypatch.delitem(sys.modules, name, raising=False)
    monkeypatch.setitem(sys.modules, "torch", None)
    with pytest.raises(MissingExtraError, match=r"pip install 'keepfit\[torch\]'"):
        network().fit(*bars())
