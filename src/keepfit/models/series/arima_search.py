"""The orders of a seasonal ARIMA model, stepwise, and its coefficients by conditional least squares.

Hyndman and Khandakar, "Automatic time series forecasting: the forecast package for R", Journal of
Statistical Software 27, 2008: differences by tests, then from a few models on to the neighbour with the
lowest corrected AIC until none is lower. Residuals are those of the recursion begun with zeros; their
sum of squares is minimised by Levenberg's and Marquardt's method, whose derivatives are themselves
residuals of the same filters.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np
from scipy.signal import lfilter

from keepfit import engine
from keepfit.models.series.panel import Floats

Order = tuple[int, int, int, int]  # p, q, P, Q
MOST = (5, 3, 3)  # p + q + P + Q, p, and q
STARTS: tuple[Order, ...] = ((2, 2, 1, 1), (0, 0, 0, 0), (1, 0, 1, 0), (0, 1, 0, 1))
KPSS = 0.463  # 5 % point of the test for a level (Kwiatkowski, Phillips, Schmidt, Shin 1992)
LEAST = 10  # values below which the last one is repeated
ROUNDS = 15
CLOSE = 1e-5  # relative gain of a round below which the fit is done
EDGE = 0.99  # largest inverse root of a polynomial


class Found(NamedTuple):
    """y = constant + lags · (past values) + weights · (past errors), both the latest first, as are `values` and
    `errors`. `order` is p, d, q, P, D, Q and whether there is a constant."""

    order: tuple[int, ...]
    constant: float
    lags: Floats
    weights: Floats
    values: Floats
    errors: Floats


class Fit(NamedTuple):
    """One model: corrected AIC, coefficients (phi, theta, Phi, Theta, mean), residuals."""

    criterion: float
    coefficients: Floats
    residuals: Floats


def search(
    series: Floats, period: int, strong: bool, most: tuple[int, int, int] = MOST, orders: Sequence[Order] = ()
) -> Found:
    """The best model of a series without gaps; `strong` is whether its season is differenced.

    `most` bounds p + q + P + Q, p, and q; with `orders` these are tried and no others.
    """
    engine.look()
    if len(series) < LEAST or np.ptp(series) < 1e-12:
        last = series[-1:] if len(series) else np.array([np.nan])
        return Found((0, 1, 0, 0, 0, 0, 0), 0.0, np.ones(1), np.zeros(0), last, np.zeros(0))
    period = period if len(series) >= 3 * period else 1
    seasonal = int(strong and period > 1)
    rest = series[period:] - series[:-period] if seasonal else series
    plain = _differences(rest, 1 if seasonal else 2)
    rest = np.diff(rest, plain)
    if len(rest) < LEAST or np.ptp(rest) < 1e-12:
        return _stored(series, (0, 0, 0, 0), period, plain, seasonal, Fit(0.0, np.zeros(1), np.zeros(len(rest))))
    free = plain + seasonal == 0  # a drift leads astray: 3 to 7 % worse
    order, best = _of(orders, rest, period, free) if orders else _stepwise(rest, period, free, most)
    return _stored(series, order, period, plain, seasonal, best)


def _differences(series: Floats, most: int) -> int:
    """How many differences make the series stationary by the KPSS test."""
    for count in range(most):
        rest = np.diff(series, count)
        if len(rest) < LEAST or np.ptp(rest) < 1e-12 or kpss(rest) < KPSS:
            return count
    return most


def kpss(series: Floats) -> float:
    """The statistic of the test that a series has a level; large where it has none.

    >>> kpss(np.tile([1.0, -1.0], 50)) < 0.463 < kpss(np.arange(100.0))
    True
    """
    count = len(series)
    apart = series - series.mean()
    lags = int(4 * (count / 100) ** 0.25)
    products = [float(apart[lag:] @ apart[: count - lag]) for lag in range(lags + 1)]
    power = products[0] + 2 * sum((1 - lag / (lags + 1)) * products[lag] for lag in range(1, lags + 1))
    return float((apart.cumsum() ** 2).sum() / (count * max(power, 1e-300)))


# --- orders ---------------------------------------------------------------------------------------


def _of(orders: Sequence[Order], rest: Floats, period: int, free: bool) -> tuple[Order, Fit]:
    """The best of some orders and its fit; seasonal parts are none where there is no season."""
    allowed = dict.fromkeys(order if period > 1 else (*order[:2], 0, 0) for order in orders)
    fits = {order: fit(rest, order, period, free) for order in allowed}
    best = min(fits, key=lambda order: fits[order].criterion)
    return best, fits[best]


def _stepwise(rest: Floats, period: int, free: bool, most: tuple[int, int, int]) -> tuple[Order, Fit]:
    """The best order and its fit; `free` is whether a constant is allowed."""
    seen: dict[tuple[Order, bool], Fit] = {}

    def tried(order: Order, constant: bool) -> Fit:
        key = (order, constant)
        if key not in seen:
            seen[key] = fit(rest, order, period, constant)
        return seen[key]

    allowed = [_within(order, period, most) for order in STARTS]
    best = min(((order, free) for order in allowed), key=lambda key: tried(*key).criterion)
    while True:
        order, constant = best
        around = [(near, constant) for near in _neighbours(order, period, most)] + [(order, not constant)] * free
        nearer = next((key for key in around if tried(*key).criterion < tried(*best).criterion), None)
        if nearer is None:
            return best[0], tried(*best)
        best = nearer


def _within(order: Order, period: int, most: tuple[int, int, int]) -> Order:
    p, q, large_p, large_q = order
    return (min(p, most[1]), min(q, most[2]), *((large_p, large_q) if period > 1 else (0, 0)))


def _neighbours(order: Order, period: int, most: tuple[int, int, int]) -> Iterator[Order]:
    """Orders one step away: one of them, or both of a kind."""
    steps = [(0, 0, 1, 0), (0, 0, 0, 1), (0, 0, 1, 1)] if period > 1 else []
    steps += [(1, 0, 0, 0), (0, 1, 0, 0), (1, 1, 0, 0)]
    for step, sign in itertools.product(steps, (-1, 1)):
        p, q, large_p, large_q = (a + sign * b for a, b in zip(order, step, strict=True))
        small = min(p, q, large_p, large_q) >= 0 and max(large_p, large_q) <= 2
        if small and p <= most[1] and q <= most[2] and p + q + large_p + large_q <= most[0]:
            yield p, q, large_p, large_q


# --- coefficients ---------------------------------------------------------------------------------


def fit(rest: Floats, order: Order, period: int, constant: bool) -> Fit:
    """The coefficients of one order for a differenced series; criterion infinite where there are too many."""
    count, number = len(rest), sum(order) + constant
    if count <= number + 3:
        return Fit(np.inf, np.zeros(number), rest)
    found = np.zeros(sum(order) + 1)
    found[-1] = rest.mean() if constant else 0.0
    residuals, damping = _residuals(rest, found, order, period), 1e-3
    for _ in range(ROUNDS):
        slopes = _slopes(rest, found, residuals, order, period)[:, :number]
        found, residuals, damping, gain = _round(rest, order, period, found, residuals, slopes, damping)
        if gain < CLOSE:
            break
    room = count - number - 2
    variance = max(float(residuals @ residuals) / count, 1e-300)
    return Fit(count * np.log(variance) + 2 * (number + 1) * count / room, found, residuals)


def _round(
    rest: Floats, order: Order, period: int, found: Floats, residuals: Floats, slopes: Floats, damping: float
) -> tuple[Floats, Floats, float, float]:
    """Coefficients, residuals and damping after a step downwards, and the relative gain of it: 0 for none."""
    power = float(residuals @ residuals)
    square, down = slopes.T @ slopes, slopes.T @ residuals
    for _ in range(6):
        step = np.linalg.solve(square + damping * np.diag(np.diag(square) + 1e-12) + 1e-12 * np.eye(len(square)), down)
        tried = found.copy()
        tried[: len(step)] -= step
        if _stable(tried, order):
            new = _residuals(rest, tried, order, period)
            gain = (power - float(new @ new)) / max(power, 1e-300)
            if gain > 0:
                return tried, new, damping / 5, gain
        damping *= 10
    return found, residuals, damping, 0.0


def _parts(found: Floats, order: Order) -> list[Floats]:
    """phi, theta, Phi, Theta."""
    return np.split(found[:-1], np.cumsum(order)[:-1])


def _stable(found: Floats, order: Order) -> bool:
    """Whether each polynomial's inverse roots are inside the circle of radius EDGE."""
    phi, theta, large_phi, large_theta = _parts(found, order)
    return all(_inside(part) for part in (phi, -theta, large_phi, -large_theta))


def _inside(part: Floats) -> bool:
    """Of 1 - a1 z - a2 z² - …"""
    if not len(part):
        return True
    if len(part) == 1:
        return bool(abs(part[0]) <= EDGE)
    if len(part) == 2:  # the stationary triangle, drawn in
        one, two = part[0] / EDGE, part[1] / EDGE**2
        return bool(abs(two) < 1 and two + one < 1 and two - one < 1)
    return bool(np.abs(np.roots(np.concatenate([[1.0], -part]))).max() < EDGE)


def _polynomial(part: Floats, sign: float, period: int = 1) -> Floats:
    """1 + sign (a1 z^period + a2 z^(2 period) + …)"""
    result = np.zeros(len(part) * period + 1)
    result[0] = 1.0
    result[period::period] = sign * part
    return result


def _filters(found: Floats, order: Order, period: int) -> tuple[Floats, Floats, Floats, Floats]:
    """The polynomials of phi, Phi, theta, Theta."""
    phi, theta, large_phi, large_theta = _parts(found, order)
    return (
        *(_polynomial(phi, -1.0), _polynomial(large_phi, -1.0, period)),
        *(_polynomial(theta, 1.0), _polynomial(large_theta, 1.0, period)),
    )


def _through(numerator: Floats, denominator: Floats, values: Floats) -> Floats:
    if len(numerator) == len(denominator) == 1:
        return values
    return np.asarray(lfilter(numerator, denominator, values))


def _residuals(rest: Floats, found: Floats, order: Order, period: int) -> Floats:
    phi, large_phi, theta, large_theta = _filters(found, order, period)
    return _through(large_phi, large_theta, _through(phi, theta, rest - found[-1]))


def _slopes(rest: Floats, found: Floats, residuals: Floats, order: Order, period: int) -> Floats:
    """Derivatives of the residuals (n, coefficients and mean)."""
    p, q, large_p, large_q = order
    phi, large_phi, theta, large_theta = _filters(found, order, period)
    one = np.ones(1)
    columns = [np.zeros((len(rest), 0))]
    for count, lag, divisor, sign in ((p, 1, phi, -1), (q, 1, theta, -1), (large_p, period, large_phi, -1),
                                      (large_q, period, large_theta, -1)):  # fmt: skip
        if count:
            base = sign * _through(one, divisor, residuals)
            columns.append(np.stack([_shifted(base, lag * (k + 1)) for k in range(count)], axis=1))
    mean = -_through(large_phi, large_theta, _through(phi, theta, np.ones(len(rest))))
    return np.concatenate([*columns, mean[:, None]], axis=1)


def _shifted(values: Floats, lag: int) -> Floats:
    result = np.zeros(len(values))
    if lag < len(values):
        result[lag:] = values[:-lag]
    return result


# --- the model as one recursion -------------------------------------------------------------------


def _stored(series: Floats, order: Order, period: int, plain: int, seasonal: int, best: Fit) -> Found:
    """Differences multiplied in: the recursion over the series itself."""
    phi, large_phi, theta, large_theta = _filters(best.coefficients, order, period)
    own = np.convolve(phi, large_phi)
    constant = best.coefficients[-1] * own.sum()
    for _ in range(plain):
        own = np.convolve(own, [1.0, -1.0])
    if seasonal:
        own = np.convolve(own, _polynomial(np.ones(1), -1.0, period))
    weights = np.convolve(theta, large_theta)[1:]
    count, errors = len(own) - 1, len(weights)
    values = np.concatenate([series[::-1], np.full(max(count - len(series), 0), series[0])])[:count]
    residuals = np.concatenate([best.residuals[::-1], np.zeros(errors)])[:errors]
    p, q, large_p, large_q = order
    orders = (p, plain, q, large_p, seasonal, large_q, int(best.coefficients[-1] != 0))
    return Found(orders, float(constant), -own[1:], weights, values, residuals)
