"""From pictures to rows of numbers, in threads: each decodes its pictures and asks onnxruntime about them.

A *lens* says how pictures are seen, as plain values: `backbone` (what models.backbones gives, or None),
`mirror`, and without a backbone `height`, `width`, `colours` and `how`. Through a backbone a row is its pooled
output, float32, the mean over the views; of one with `maps` (their shape) it is all of them, view after view.
Without a backbone it is the pixels themselves, uint8, line by line.
"""

from __future__ import annotations

import hashlib
import json
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from functools import cache, partial
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from keepfit import engine
from keepfit.data import pictures
from keepfit.features import graphs
from keepfit.progress import Tell

Lens = Mapping[str, Any]
BATCH = 8  # pictures that a thread takes at a time
CALL = 2  # pictures that a graph is asked about at once: what its layers pass on stays in the processor's cache
AHEAD = 2  # batches of each thread that wait for whoever takes them


class Rows(NamedTuple):
    """Rows (n, width), and which pictures could be seen (n,); a row of the others is zeros."""

    values: NDArray[Any]
    there: NDArray[np.bool_]


See = Callable[[Sequence[bytes | None]], Rows]
Fill = Callable[[bytes | None, NDArray[Any]], bool]  # writes a picture into an array; whether there was one


def name(lens: Lens) -> str:
    """What rows of a lens are found by again: a hash of all that they depend on but the picture."""
    backbone = lens["backbone"]
    told: dict[str, Any] = {key: lens[key] for key in sorted(lens) if key != "backbone"}
    if backbone:
        plain = {key: _plain(backbone[key]) for key in sorted(backbone) if key not in ("graph", "name")}
        told = {"mirror": lens["mirror"], "graph": graphs.digest(backbone["graph"]), **plain}
    return hashlib.sha256(json.dumps(told, sort_keys=True).encode()).hexdigest()


def _plain(value: Any) -> Any:
    return value.tolist() if isinstance(value, np.ndarray) else value


def compiled(lens: Lens) -> Callable[[Sequence[bytes | None]], Iterator[Rows]]:
    """The function from encoded pictures to their rows, batch by batch.

    None is a missing picture, and so is one that cannot be decoded. No picture gives one batch without a row.
    """
    see, least = cache(partial(_seeing, lens)), lens["backbone"]["batch"] if lens["backbone"] else 1
    see(engine.cores())  # a graph that cannot be opened is said here

    def rows(data: Sequence[bytes | None]) -> Iterator[Rows]:
        threads = engine.cores()
        if not data:
            yield Rows(*(part[:0] for part in see(threads)([None])))
        else:  # threads that work on pictures of their own need not wait for each other in a graph
            yield from _shared(see(1 if len(data) >= BATCH * threads else threads), data, least)

    return rows


def _seeing(lens: Lens, threads: int) -> See:
    """The way from a few pictures to their rows; `threads` that one call of a graph takes."""
    return _through(lens["backbone"], lens["mirror"], threads) if lens["backbone"] else _pixels(lens)


def joined(batches: Iterable[Rows]) -> Rows:
    """Batches as one."""
    found = list(batches)
    return found[0] if len(found) == 1 else Rows(*map(np.concatenate, zip(*found, strict=True)))


def told(batches: Iterable[Rows], total: int, tell: Tell) -> Iterator[Rows]:
    """The batches as they come; says how many of `total` pictures are done, and how many a second."""
    done, began = 0, time.monotonic()
    for rows in batches:
        yield rows
        done += len(rows.there)
        rate = done / max(time.monotonic() - began, 1e-6)
        left = (total - done) / max(rate, 1e-6)
        tell(done, total, f"{done:,} of {total:,} pictures, {rate:,.0f} a second, {left:,.0f} s left")


def _shared(see: See, data: Sequence[bytes | None], least: int) -> Iterator[Rows]:
    """Batches in order. More than one are seen in threads, a few before whoever takes them asks for them."""
    threads = engine.cores()
    size = max(least, min(BATCH, -(-len(data) // threads)))
    batches = (data[at : at + size] for at in range(0, len(data), size))
    if len(data) <= size:
        yield from map(see, batches)
        return
    with ThreadPoolExecutor(threads, thread_name_prefix="pictures") as pool:
        waiting: deque[Future[Rows]] = deque()
        for batch in batches:
            waiting.append(pool.submit(see, batch))
            if len(waiting) > AHEAD * threads:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()


# --- decoding -------------------------------------------------------------------------------------


def decoder(backbone: Mapping[str, Any]) -> tuple[tuple[int, ...], Fill]:
    """The shape of one picture as the graph takes it, and what writes one into an array of that shape.

    That is the middle of the frame, as the numbers and in the order that the graph takes.
    """
    (tall, wide), height, width = backbone["frame"], backbone["height"], backbone["width"]
    part = width / wide, height / tall
    colours, how, first = backbone["colours"], backbone["how"], backbone["layout"] == "NCHW"
    factor, shift = (backbone[key][:, None, None] if first else backbone[key] for key in ("factor", "shift"))
    whole, channels = backbone["number"] == "uint8", 3 if colours == "RGB" else 1

    def write(data: bytes, numbers: NDArray[Any]) -> None:
        seen = pictures.pixels(data, width, height, colours, how, part)
        numbers[...] = seen.transpose(2, 0, 1) if first else seen
        if not whole:
            numbers *= factor
            numbers += shift

    return (channels, height, width) if first else (height, width, channels), _fill(write)


def _fill(write: Callable[[bytes, NDArray[Any]], None]) -> Fill:
    """`write` where there is a picture; says whether there was one."""

    def fill(data: bytes | None, numbers: NDArray[Any]) -> bool:
        try:
            if data is not None:
                write(data, numbers)
        except ValueError:  # a header that promised more than the bytes hold
            return False
        return data is not None

    return fill


def _pixels(lens: Lens) -> See:
    """From pictures to their pixels."""
    width, height, colours, how = (lens[key] for key in ("width", "height", "colours", "how"))

    def write(data: bytes, numbers: NDArray[Any]) -> None:
        numbers[:] = pictures.pixels(data, width, height, colours, how).reshape(-1)

    fill = _fill(write)

    def see(data: Sequence[bytes | None]) -> Rows:
        values = np.zeros((len(data), height * width * len(colours)), np.uint8)
        return Rows(values, np.array([fill(one, row) for one, row in zip(data, values, strict=True)], bool))

    return see


# --- the graph ------------------------------------------------------------------------------------


def _through(backbone: Mapping[str, Any], mirror: bool, threads: int) -> See:
    """From pictures to what a backbone says of them.

    What it is shown is written into the same memory each time: new memory costs more.
    """
    shape, fill = decoder(backbone)
    ask, fixed = _asked(backbone, threads), backbone["batch"]
    side = 3 if backbone["layout"] == "NCHW" else 2

    def see(data: Sequence[bytes | None]) -> Rows:
        size = fixed or CALL
        views = np.zeros((1 + mirror, size, *shape), backbone["number"])
        there, found = list[bool](), []
        for at in range(0, len(data), size):
            some = data[at : at + size]
            there += [fill(one, numbers) for one, numbers in zip(some, views[0], strict=False)]
            if mirror:
                views[1] = np.flip(views[0], side)
            found.append(ask(views if fixed else views[:, : len(some)])[: len(some)])
        rows = Rows(np.concatenate(found), np.array(there, bool))
        rows.values[~rows.there] = 0
        return rows

    return see


def _asked(backbone: Mapping[str, Any], threads: int) -> Callable[[NDArray[Any]], NDArray[np.float32]]:
    """From views (views, n, …), as the graph takes them, to rows: their maps side by side, or their mean."""
    run, maps, layout = graphs.session(backbone["graph"], threads).run, backbone.get("maps"), backbone["layout"]

    def ask(views: NDArray[Any]) -> NDArray[np.float32]:
        said = [run([backbone["output"]], {backbone["input"]: view})[0] for view in views]
        if maps:
            return np.concatenate([one.reshape(len(one), -1) for one in said], axis=1)
        return np.asarray(np.mean([_pooled(one, layout) for one in said], axis=0))

    return ask


def _pooled(said: NDArray[Any], layout: str) -> NDArray[np.float32]:
    """(n, width) of a graph's output: the mean over tokens (n, k, width), or over places in the graph's layout."""
    over: dict[int, tuple[int, ...]] = {3: (1,), 4: (2, 3) if layout == "NCHW" else (1, 2)}
    return np.asarray(said.mean(axis=over[said.ndim]) if said.ndim in over else said, np.float32)
