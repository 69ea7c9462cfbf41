"""From pictures to rows of numbers: decoded in threads while onnxruntime works on those before them.

A *lens* says how pictures are seen, as plain values: `backbone` (what models.backbones gives, or None),
`mirror`, and without a backbone `height`, `width`, `colours` and `how`. Through a backbone a row is its pooled
output, float32, the mean over the views; of one with `maps` (their shape) it is all of them, view after view.
Without a backbone it is the pixels themselves, uint8, line by line.
"""

from __future__ import annotations

import hashlib
import itertools
import json
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from keepfit.data import pictures
from keepfit.features import graphs
from keepfit.progress import Tell

Lens = Mapping[str, Any]
BATCH = 8  # pictures a call: more bring nothing but memory
AHEAD = 3  # batches that are decoded before they are needed


class Rows(NamedTuple):
    """Rows (n, width), and which pictures could be seen (n,); a row of the others is zeros."""

    values: NDArray[Any]
    there: NDArray[np.bool_]


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
    decode, show = decoder(lens), _graph(lens)

    def rows(data: Sequence[bytes | None]) -> Iterator[Rows]:
        if not data:
            yield Rows(show(decode(None)[0][None])[:0], np.zeros(0, bool))
        for tensors, there in _decoded(decode, data):
            yield _shown(show, tensors, there)

    return rows


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


def _shown(show: Callable[[NDArray[Any]], NDArray[Any]], tensors: NDArray[Any], there: NDArray[np.bool_]) -> Rows:
    values = show(tensors)
    values[~there] = 0
    return Rows(values, there)


# --- decoding -------------------------------------------------------------------------------------

Decode = Callable[[bytes | None], tuple[NDArray[Any], bool]]


def decoder(lens: Lens) -> Decode:
    """From an encoded picture to what the graph takes of one picture, or to its pixels; and whether it could be."""
    ready = _for_graph(lens["backbone"]) if lens["backbone"] else _for_matrix(lens)
    blank = np.zeros_like(ready(pictures.encoded(np.zeros((8, 8), np.uint8))))

    def decode(data: bytes | None) -> tuple[NDArray[Any], bool]:
        try:
            return (blank, False) if data is None else (ready(data), True)
        except ValueError:  # a header that promised more than the bytes hold
            return blank, False

    return decode


def _for_matrix(lens: Lens) -> Callable[[bytes], NDArray[Any]]:
    width, height, colours, how = (lens[key] for key in ("width", "height", "colours", "how"))
    return lambda data: pictures.pixels(data, width, height, colours, how).reshape(-1)


def _for_graph(backbone: Mapping[str, Any]) -> Callable[[bytes], NDArray[Any]]:
    """The middle of the frame, as the numbers and in the order that the graph takes."""
    (tall, wide), height, width = backbone["frame"], backbone["height"], backbone["width"]
    part = width / wide, height / tall
    colours, how, first = backbone["colours"], backbone["how"], backbone["layout"] == "NCHW"
    factor, shift = (backbone[key][:, None, None] if first else backbone[key] for key in ("factor", "shift"))
    whole = backbone["number"] == "uint8"

    def ready(data: bytes) -> NDArray[Any]:
        seen = pictures.pixels(data, width, height, colours, how, part)
        seen = np.ascontiguousarray(seen.transpose(2, 0, 1) if first else seen)
        if whole:
            return seen
        numbers = seen.astype(np.float32)
        numbers *= factor
        numbers += shift
        return numbers

    return ready


def _decoded(decode: Decode, data: Sequence[bytes | None]) -> Iterator[tuple[NDArray[Any], NDArray[np.bool_]]]:
    """Batches in order. More than one are decoded in threads, a few batches ahead of whoever takes them."""
    batches = itertools.batched(data, BATCH) if hasattr(itertools, "batched") else _batched(data)
    if len(data) <= 1:
        yield from (_stacked([decode(one) for one in batch]) for batch in batches)
        return
    with ThreadPoolExecutor(graphs.processors(), thread_name_prefix="pictures") as pool:
        waiting: deque[list[Future[tuple[NDArray[Any], bool]]]] = deque()
        for batch in batches:
            waiting.append([pool.submit(decode, one) for one in batch])
            if len(waiting) > AHEAD:
                yield _stacked([one.result() for one in waiting.popleft()])
        while waiting:
            yield _stacked([one.result() for one in waiting.popleft()])


def _batched(data: Sequence[bytes | None]) -> Iterator[Sequence[bytes | None]]:
    return (data[at : at + BATCH] for at in range(0, len(data), BATCH))


def _stacked(decoded: Sequence[tuple[NDArray[Any], bool]]) -> tuple[NDArray[Any], NDArray[np.bool_]]:
    return np.stack([one for one, _ in decoded]), np.array([there for _, there in decoded], bool)


# --- the graph ------------------------------------------------------------------------------------


def _graph(lens: Lens) -> Callable[[NDArray[Any]], NDArray[Any]]:
    """From a batch of what `decode` gives to rows."""
    backbone = lens["backbone"]
    if not backbone:
        return lambda batch: batch
    run, wanted = graphs.session(backbone["graph"]).run, [backbone["output"]]
    maps = backbone.get("maps")
    single, side = backbone["batch"], 3 if backbone["layout"] == "NCHW" else 2

    def once(batch: NDArray[Any]) -> NDArray[np.float32]:
        if single and len(batch) != single:
            return np.concatenate([once(_filled(batch[at : at + single], single))[: len(batch) - at]
                                   for at in range(0, len(batch), single)])  # fmt: skip
        said = run(wanted, {backbone["input"]: batch})[0]
        return said.reshape(len(said), -1) if maps else _pooled(said, backbone["layout"])

    def both(batch: NDArray[Any]) -> NDArray[np.float32]:
        views = once(batch), once(np.ascontiguousarray(np.flip(batch, side)))
        return np.concatenate(views, axis=1) if maps else (views[0] + views[1]) / np.float32(2)

    return both if lens["mirror"] else once


def _filled(batch: NDArray[Any], size: int) -> NDArray[Any]:
    """A batch of `size`, its last picture repeated."""
    return np.concatenate([batch, np.repeat(batch[-1:], size - len(batch), axis=0)])


def _pooled(said: NDArray[Any], layout: str) -> NDArray[np.float32]:
    """(n, width) of a graph's output: the mean over tokens (n, k, width), or over places in the graph's layout."""
    over: dict[int, tuple[int, ...]] = {3: (1,), 4: (2, 3) if layout == "NCHW" else (1, 2)}
    return np.asarray(said.mean(axis=over[said.ndim]) if said.ndim in over else said, np.float32)
