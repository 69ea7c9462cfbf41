import numpy as np

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
