"""What monitoring looks at in pictures: light, colours, sharpness, size, format, and how strange they are.

All of it comes from the header and one small copy of a picture (at most `SIDE` pixels a side, which JPEG
decodes at a fraction of its cost), about a millisecond for a photograph; a backbone would take twenty. So the
distance is measured on a description of that copy as well: colours of 8 x 8 fields, and directions of edges in
4 x 4 fields (as Dalal and Triggs, "Histograms of Oriented Gradients", 2005). The training pictures are a normal
distribution with a few free directions (Tipping and Bishop, "Probabilistic Principal Component Analysis",
1999); the distance of a picture is Mahalanobis' in it, near 1 for pictures like those of training.
"""

from __future__ import annotations

import base64
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from keepfit import engine
from keepfit.data import pictures
from keepfit.features.values import Coded, Pictures

Floats = NDArray[np.float64]
SIDE = 128
FIELDS, CELLS, DIRECTIONS = 8, 4, 8
EDGES = 32  # pixels of a side on which edges are looked at
DIMENSIONS = FIELDS * FIELDS * 3 + CELLS * CELLS * DIRECTIONS
FREE = 16  # directions in which training pictures may vary freely, at most
ROWS = 10  # pictures for each of them
FOLDS = 10
GREY = np.array([0.299, 0.587, 0.114], np.float32)  # of red, green and blue: ITU-R BT.601
NUMBERS = ("brightness", "contrast", "sharpness", "red", "green", "blue", "width", "height", "aspect")


class Seen(NamedTuple):
    """Of one picture: its NUMBERS, its format ("" of none that can be read), and its description."""

    numbers: Floats
    format: str
    description: NDArray[np.float32]


NOTHING = Seen(np.full(len(NUMBERS), np.nan), "", np.full(DIMENSIONS, np.nan, np.float32))


def watch(values: Pictures, memory: Mapping[str, Any] | None = None) -> tuple[dict[str, Any], dict[str, Any]]:
    """Signals: NUMBERS, "format" and "distance"; see `features.watch`.

    brightness and contrast: mean and deviation of grey, 0 to 1; sharpness: variance of the Laplacian of grey
    (0 to 255); red, green, blue: shares of the light; width, height: pixels; aspect: width / height. A picture
    that is missing or cannot be decoded is missing in all of them.

    Without `memory` the values are the training pictures: it is learned, and the distance of each is from the
    pictures of the other nine tenths, as a new picture's would be.
    """
    with ThreadPoolExecutor(engine.cores(), thread_name_prefix="pictures") as pool:
        seen = list(pool.map(_seen, values.data))
    numbers = np.array([one.numbers for one in seen]).reshape(-1, len(NUMBERS))
    found: dict[str, Any] = {name: numbers[:, place] for place, name in enumerate(NUMBERS)}
    found["format"] = _coded([one.format for one in seen])
    described = np.array([one.description for one in seen], np.float64).reshape(-1, DIMENSIONS)
    if memory is None:
        found["distance"], memory = _learned(described)
    else:
        found["distance"] = _distance(_read(memory), described)
    return found, dict(memory)


def _coded(names: list[str]) -> Coded:
    levels = sorted(set(filter(None, names)))
    place = {"": -1, **{name: code for code, name in enumerate(levels)}}
    return Coded(np.array([place[name] for name in names], np.int32), levels)


# --- one picture ----------------------------------------------------------------------------------


def _seen(data: bytes | None) -> Seen:
    try:
        facts = pictures.look(data) if data is not None else None
        if data is None or facts is None:
            return NOTHING
        side = min(SIDE, max(FIELDS, 1 << (max(facts.width, facts.height) - 1).bit_length()))
        small = pictures.pixels(data, side, side)
    except ValueError:
        return NOTHING
    fields = _fields(small, FIELDS)
    light = fields.mean(axis=(0, 1))
    grey = np.asarray(small @ GREY, np.float32)
    share = light / light.sum() if light.sum() else np.full(3, 1 / 3)
    size = facts.width, facts.height, facts.width / facts.height
    numbers = np.array([grey.mean() / 255, grey.std() / 255, _sharpness(grey), *share, *size])
    return Seen(numbers, facts.format, _description(fields, grey))


def _sharpness(grey: NDArray[np.float32]) -> float:
    around = grey[:-2, 1:-1] + grey[2:, 1:-1] + grey[1:-1, :-2] + grey[1:-1, 2:]
    return float((around - 4 * grey[1:-1, 1:-1]).var())


def _description(fields: NDArray[np.float32], grey: NDArray[np.float32]) -> NDArray[np.float32]:
    """(DIMENSIONS,): the mean colours of fields, 0 to 1, and the roots of the shares of edges by cell and direction."""
    few = _fields(grey[:, :, None], min(EDGES, len(grey)))[:, :, 0]
    down, right = few[2:, 1:-1] - few[:-2, 1:-1], few[1:-1, 2:] - few[1:-1, :-2]
    direction = np.minimum((np.arctan2(down, right) % np.pi / np.pi * DIRECTIONS).astype(np.intp), DIRECTIONS - 1)
    cell = np.arange(len(direction)) * CELLS // len(direction)
    place = (cell[:, None] * CELLS + cell) * DIRECTIONS + direction
    weight = np.hypot(down, right).ravel()
    edges = np.bincount(place.ravel(), weight, CELLS * CELLS * DIRECTIONS) / max(float(weight.sum()), 1.0)
    return np.concatenate([fields.ravel() / 255, np.sqrt(edges)]).astype(np.float32)


def _fields(values: NDArray[Any], count: int) -> NDArray[np.float32]:
    """Means of count x count fields of (side, side, channels), for a side that is a multiple of `count`."""
    side = len(values) // count
    lines = values.reshape(count, side, -1).sum(axis=1, dtype=np.float32)
    return np.asarray(lines.reshape(count, count, side, -1).sum(axis=2) / np.float32(side * side))


# --- the distance ---------------------------------------------------------------------------------


class Normal(NamedTuple):
    """A mean (DIMENSIONS,), free directions (DIMENSIONS, k) over their deviations, and the deviation of the rest."""

    mean: Floats
    axes: Floats
    lengths: Floats
    rest: float


def _learned(rows: Floats) -> tuple[Floats, dict[str, Any]]:
    """The distance of each row from the other folds' rows, and what is remembered of all."""
    from threadpoolctl import threadpool_limits  # at training alone: what serves and monitors does without

    known = rows[~np.isnan(rows[:, 0])]
    with threadpool_limits(limits=1):  # several threads on such small matrices cost ten times as much
        return _crossed(rows), _plain(_normal(len(known), known.sum(axis=0), known.T @ known))


def _normal(count: int, total: Floats, squares: Floats) -> Normal:
    """The distribution of `count` rows, from their sum and the sum of their outer products."""
    mean = total / max(count, 1)
    variance, axes = np.linalg.eigh(squares / max(count, 1) - np.outer(mean, mean))
    free = min(FREE, count // ROWS)
    rest = float(np.maximum(variance[: DIMENSIONS - free], 0).mean()) + 1e-6
    lengths = np.sqrt(np.maximum(variance[DIMENSIONS - free :], rest))
    return Normal(mean, axes[:, DIMENSIONS - free :], lengths, rest**0.5)


def _distance(learned: Normal, rows: Floats) -> Floats:
    """(n,): Mahalanobis' distance over the root of the dimensions; NaN of rows that are."""
    gaps = rows - learned.mean
    along = gaps @ learned.axes
    beside = np.maximum(np.square(gaps).sum(axis=1) - np.square(along).sum(axis=1), 0) / learned.rest**2
    return np.asarray(np.sqrt((np.square(along / learned.lengths).sum(axis=1) + beside) / DIMENSIONS))


def _crossed(rows: Floats) -> Floats:
    """The distance of each row from the rows of other folds."""
    found = np.full(len(rows), np.nan)
    places = np.flatnonzero(~np.isnan(rows[:, 0]))
    folds = [places[start::FOLDS] for start in range(FOLDS)]
    parts = [(len(fold), rows[fold].sum(axis=0), rows[fold].T @ rows[fold]) for fold in folds]
    count, total, squares = len(places), sum(part[1] for part in parts), sum(part[2] for part in parts)
    for fold, part in zip(folds, parts, strict=True):
        if len(fold):
            found[fold] = _distance(_normal(count - part[0], total - part[1], squares - part[2]), rows[fold])
    return found


def _plain(learned: Normal) -> dict[str, Any]:
    """As texts and numbers, for JSON: arrays are base64 of float32."""
    arrays = {name: np.asarray(getattr(learned, name), "<f4").tobytes() for name in ("mean", "axes", "lengths")}
    return {**{name: base64.b64encode(data).decode() for name, data in arrays.items()}, "rest": learned.rest}


def _read(memory: Mapping[str, Any]) -> Normal:
    """What `_plain` wrote."""
    mean, axes, lengths = (
        np.frombuffer(base64.b64decode(memory[name]), "<f4").astype(np.float64) for name in ("mean", "axes", "lengths")
    )
    return Normal(mean, axes.reshape(DIMENSIONS, -1), lengths, float(memory["rest"]))
