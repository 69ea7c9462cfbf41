import threading

import numpy as np
import pytest

from keepfit import engine
from keepfit.models.series import search


def test_each_series_finds_its_own_minimum_within_the_bounds() -> None:
    draw = np.random.default_rng(0)
    wanted = draw.uniform(-1.5, 1.5, size=(50, 3))

    def loss(points: np.ndarray, rows: np.ndarray) -> np.ndarray:
        apart = points - wanted[rows][:, None]
        return (apart**2 * [1.0, 10.0, 3.0]).sum(axis=2) + apart[..., 0] * apart[..., 1]

    grid = np.repeat(draw.uniform(-1, 1, size=(1, 8, 3)), 50, axis=0)
    low, high = np.full(3, -1.0), np.full(3, 1.0)
    found, value = search.minimise(loss, grid, low, high, steps=400, tolerance=1e-12)
    assert (found >= low).all()
    assert (found <= high).all()
    inside = (np.abs(wanted) < 1).all(axis=1)
    assert inside.sum() > 5
    assert np.abs(found - wanted)[inside].max() < 1e-3
    assert np.allclose(value, loss(found[:, None], np.arange(50))[:, 0])


def test_places_without_a_loss_are_avoided() -> None:
    def loss(points: np.ndarray, rows: np.ndarray) -> np.ndarray:
        with np.errstate(invalid="ignore", divide="ignore"):
            return np.asarray(np.log(points[..., 0]) ** 2 + (points[..., 1] - 1) ** 2)

    grid = np.array([[[-1.0, 0.0], [2.0, 0.0]]])
    found, _ = search.minimise(loss, grid, np.array([-5.0, -5.0]), np.array([5.0, 5.0]), steps=200, tolerance=1e-12)
    assert np.allclose(found, 1, atol=1e-3)


def test_a_glance_comes_near_in_a_few_calls() -> None:
    draw = np.random.default_rng(1)
    wanted, calls = draw.uniform(-0.9, 0.9, size=(50, 3)), []

    def loss(points: np.ndarray, rows: np.ndarray) -> np.ndarray:
        calls.append(points.shape)
        return ((points - wanted[rows][:, None]) ** 2).sum(axis=2)

    grid = np.repeat(draw.uniform(-1, 1, size=(1, 40, 3)), 50, axis=0)
    found, value = search.glance(loss, grid, np.full(3, -1.0), np.full(3, 1.0))
    assert len(calls) == 1 + len(search.REACHES)
    assert np.abs(found - wanted).max() < 0.3
    assert np.abs(found - wanted).mean() < 0.06
    assert np.allclose(value, ((found - wanted) ** 2).sum(axis=1))
    assert (np.abs(found) <= 1).all()


def test_a_grid_of_what_others_have_leaves_out_what_is_unknown() -> None:
    known = np.arange(200.0).reshape(100, 2)
    known[3] = np.nan
    found = search.usual(known)
    assert np.isfinite(found).all()
    assert 30 < len(found) <= search.SHOWN
    assert search.usual(known[3:4]).shape == (0, 2)


def test_a_search_that_is_asked_to_stop_ends_at_its_next_step() -> None:
    stop, calls = threading.Event(), []

    def loss(points: np.ndarray, rows: np.ndarray) -> np.ndarray:
        calls.append(len(rows))
        if len(calls) == 4:
            stop.set()
        return (points**2).sum(axis=2)

    def searched(item: int) -> tuple[np.ndarray, np.ndarray]:
        return search.minimise(loss, np.full((5, 2, 2), 3.0), np.full(2, -9.0), np.full(2, 9.0), 200, 0.0)

    with pytest.raises(engine.Stopped):
        engine.local(searched, [0, 1], stop=stop)
    assert len(calls) < 20
    assert np.isfinite(searched(0)[1]).all()  # and nobody asked this one
