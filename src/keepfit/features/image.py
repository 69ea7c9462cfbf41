"""Pictures as features: what a pretrained backbone sees in them, or small pixels.

Options (defaults in `DEFAULTS`):

    backbone    what `models.backbones.load` gives; None: the pixels themselves, 0 to 1, line by line
    size        of pixels: the side, or [height, width]; None: that of the pictures where they all have
                the same one of at most `OWN`, else `SIDE`. A backbone has its own.
    colours     of pixels: "RGB", "L", or None: "L" where all training pictures are grey
    how         of pixels: "squash", or "crop": the largest middle part
    augment     "mirror": the mean of the picture and its mirror image goes on from the backbone; "none";
                "auto" mirrors. Pixels are not mirrored here: networks that are trained on them do that.
    upper       of a backbone that gives maps: where the rest of the network is, for who trains it; not used here
    normalise   each row that a backbone gives has length `LENGTH`: its direction tells what is in a picture,
                its length how strongly
    components  so many principal components of a row that has four times as many numbers, for trees

A missing picture, or one that cannot be decoded, is a row of zeros; columns with such rows in training have a
0/1 feature that says so. Nothing here is learned from the target, so rows may be made before the folds
(`settled`, `ahead`), once for each picture and lens; the disk keeps those of backbones.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from keepfit.data import pictures
from keepfit.features import picture_cache, picture_rows
from keepfit.features.picture_rows import Rows
from keepfit.features.picture_signals import watch
from keepfit.features.values import Pictures
from keepfit.progress import Tell, silent

__all__ = ["DEFAULTS", "ahead", "compiled", "faults", "fit", "names", "settled", "watch"]

State = dict[str, Any]
Matrix = NDArray[np.float32]
DEFAULTS: dict[str, Any] = {
    "backbone": None, "size": None, "colours": None, "how": "squash", "augment": "auto", "normalise": True,
    "components": None, "upper": None,
}  # fmt: skip
SIDE = 32  # pixels
OWN = 64  # pixels of a side up to which a size that all pictures share is taken
SOME = 2_000  # pictures that are looked at for their size and colours
GREY = ("1", "L", "LA", "I", "I;16", "I;16B", "F")  # Pillow's modes without colours
LENGTH = 10.0  # so that the usual penalties of linear models fit
KEPT = 512  # rows that a kill may lose
PROOF = 300  # pictures that are enough to prove parity on


# --- before the folds ------------------------------------------------------------------------------


def settled(values: Mapping[str, Pictures], options: Mapping[str, Any]) -> dict[str, Any]:
    """The options with size and colours as the training pictures have them."""
    found = {**DEFAULTS, **options}
    if found["backbone"]:
        return dict(options)
    facts = _facts(values) if found["size"] is None or found["colours"] is None else []
    size, colours = found["size"] or _size(facts), found["colours"] or _colours(facts)
    return {**options, "size": [size, size] if isinstance(size, int) else list(size), "colours": colours}


def _facts(values: Mapping[str, Pictures]) -> list[pictures.Facts]:
    """What the headers of some pictures say; the others are as they are, sooner or later."""
    there = [data for column in values.values() for data in column.data if data is not None]
    found = []
    for data in there[:: len(there) // SOME + 1]:
        try:
            found.append(pictures.look(data))
        except ValueError:
            continue
    return found


def _size(facts: Sequence[pictures.Facts]) -> Any:
    sizes = {(one.height, one.width) for one in facts}
    return sizes.pop() if len(sizes) == 1 and max(max(size) for size in sizes) <= OWN else SIDE


def _colours(facts: Sequence[pictures.Facts]) -> str:
    return "L" if facts and all(one.mode in GREY for one in facts) else "RGB"


def ahead(
    values: Mapping[str, Pictures], options: Mapping[str, Any], folder: Path | None = None, tell: Tell = silent
) -> dict[str, Pictures]:
    """The pictures with their rows, for options that are `settled`; those of a backbone are kept in `folder`."""
    lens = _lens({**DEFAULTS, **options})
    key = picture_rows.name(lens)
    kept = folder / key[:32] if folder and lens["backbone"] else None
    made = {name: Pictures(column.data, {**column.made, key: _seen(lens, column.data, kept, tell)})
            for name, column in values.items()}  # fmt: skip
    if folder and kept:
        picture_cache.trim(folder)
    return made


def _seen(lens: picture_rows.Lens, data: Sequence[bytes | None], kept: Path | None, tell: Tell) -> Rows:
    """The rows of pictures; each is seen once, and not at all where the folder `kept` has its row."""
    keys = picture_cache.digests(data)
    known = picture_cache.known(kept, [key for key in keys if key]) if kept else {}
    new = {key: one for key, one in zip(keys, data, strict=True) if key and key not in known}
    batches = picture_rows.compiled(lens)(list(new.values()))
    waiting: list[tuple[bytes, Any]] = []
    done, order = 0, list(new)
    for rows in picture_rows.told(batches, len(new), tell):
        waiting += [(order[done + place], rows.values[place]) for place in np.flatnonzero(rows.there).tolist()]
        done += len(rows.there)
        if len(waiting) >= KEPT:
            known |= _kept(waiting, kept)
            waiting = []
    known |= _kept(waiting, kept)
    values, there = np.zeros((len(keys), *rows.values.shape[1:]), rows.values.dtype), np.zeros(len(keys), bool)
    for place, key in enumerate(keys):
        if key in known:
            values[place], there[place] = known[key], True
    return Rows(values, there)


def _kept(found: Sequence[tuple[bytes, Any]], folder: Path | None) -> dict[bytes, Any]:
    """The rows by their pictures' digests, and on the disk."""
    if found and folder:
        picture_cache.keep(folder, [key for key, _ in found], np.stack([row for _, row in found]))
    return dict(found)


# --- fit and apply ---------------------------------------------------------------------------------


def fit(values: Mapping[str, Pictures], target: Any, options: Mapping[str, Any], seed: int) -> tuple[State, Matrix]:
    """State and matrix of picture columns."""
    options = {**options, **settled(values, options)}
    lens = _lens(options)
    state: State = {"columns": list(values), "lens": lens, "key": picture_rows.name(lens), "parts": [], "pictures": []}
    state |= {"normalise": bool(options["normalise"] and lens["backbone"]), "width": 0}
    see, found = _looked(state), []
    for column in values.values():
        rows = see(column)
        part, matrix = _part(state, rows, options["components"], seed)
        if (shape := _shape(lens)) and "components" not in part:
            state["pictures"].append([state["width"], *shape])
        state["parts"].append(part)
        state["width"] += matrix.shape[1]
        found.append(matrix)
    return state, np.concatenate(found, axis=1)


def _lens(options: Mapping[str, Any]) -> dict[str, Any]:
    """How pictures are seen, see `features.picture_rows`."""
    if options["backbone"]:
        return {"backbone": options["backbone"], "mirror": options["augment"] in ("auto", "mirror")}
    height, width = options["size"]
    return {"backbone": None, "mirror": False, "height": height, "width": width} | {
        key: options[key] for key in ("colours", "how")
    }


def _shape(lens: Mapping[str, Any]) -> tuple[int, ...]:
    """What a network can be trained on: pixels (height, width, colours), or maps (views, …); () of pooled features."""
    backbone = lens["backbone"]
    if not backbone:
        return lens["height"], lens["width"], len(lens["colours"])
    return (1 + lens["mirror"], *backbone["maps"]) if backbone.get("maps") else ()


def _looked(state: State) -> Callable[[Pictures], Rows]:
    """The function from pictures to rows: those that were made ahead, or new ones."""
    key, new = state["key"], picture_rows.compiled(state["lens"])

    def see(column: Pictures) -> Rows:
        if key not in column.made:
            column.made[key] = tuple(picture_rows.joined(new(column.data)))
        return Rows(*column.made[key])

    return see


def _part(state: State, rows: Rows, components: int | None, seed: int) -> tuple[State, Matrix]:
    """What is learned of one column, and its matrix."""
    part: State = {"flag": bool(not rows.there.all())}
    plain = _plain(state, rows)
    if components and plain.shape[1] >= 4 * components:
        part |= _components(plain[rows.there], components, seed)
    return part, _matrix(part, plain, rows.there)


def _components(plain: Matrix, size: int, seed: int) -> State:
    """Mean (width,) and principal components (width, size), by a randomised range finder (Halko, Martinsson and
    Tropp, "Finding Structure with Randomness", 2011, algorithm 4.4)."""
    size = min(size, *plain.shape)
    mean = plain.mean(axis=0) if len(plain) else np.zeros(plain.shape[1], np.float32)
    values = plain - mean
    basis = np.random.default_rng(seed).standard_normal((values.shape[1], size + 8), np.float32)
    for _ in range(4):
        basis, _ = np.linalg.qr(values.T @ (values @ basis))
    _, _, turned = np.linalg.svd(values @ basis, full_matrices=False)
    found = basis @ turned[:size].T
    largest = np.abs(found).argmax(axis=0)
    return {"mean": mean, "components": found * np.sign(found[largest, np.arange(size)])}


def _plain(state: State, rows: Rows) -> Matrix:
    """Rows as they go on: 0 to 1, or of one length."""
    if not state["lens"]["backbone"]:
        return np.asarray(rows.values * np.float32(1 / 255), np.float32)
    if not state["normalise"]:
        return np.asarray(rows.values, np.float32)
    lengths = np.sqrt(np.square(rows.values, dtype=np.float64).sum(axis=1, keepdims=True))
    return np.asarray(rows.values * (LENGTH / np.maximum(lengths, 1e-12)), np.float32)


def _matrix(part: Mapping[str, Any], plain: Matrix, there: NDArray[np.bool_]) -> Matrix:
    if "components" in part:
        plain = np.where(there[:, None], (plain - part["mean"]) @ part["components"], np.float32(0))
    return np.column_stack([plain, ~there]).astype(np.float32) if part["flag"] else plain


def compiled(state: State) -> Callable[[Mapping[str, Pictures]], Matrix]:
    """The function from columns to the matrix."""
    see, plan = _looked(state), list(zip(state["columns"], state["parts"], strict=True))

    def matrix(values: Mapping[str, Pictures]) -> Matrix:
        found = []
        for name, part in plan:
            rows = see(values[name])
            found.append(_matrix(part, _plain(state, rows), rows.there))
        return found[0] if len(found) == 1 else np.concatenate(found, axis=1)

    return matrix


def faults(values: Pictures) -> dict[int, str]:
    """Row → what is wrong with a picture that could not be decoded when it was seen, whatever its header promised."""
    seen = [there for _, there in values.made.values()]
    bad = np.flatnonzero(~np.all(seen, axis=0)).tolist() if seen else []
    found = {row: _fault(data) for row in bad if (data := values.data[row]) is not None}
    return {row: told for row, told in found.items() if told}


def _fault(data: bytes) -> str:
    try:
        pictures.pixels(data, pictures.SMALLEST, pictures.SMALLEST)
    except ValueError as error:
        return str(error)
    return ""


def names(state: State) -> list[str]:
    """Names of the features: `column: 17` of a backbone, `column: row, place[, colour]` of pixels,
    `column: component 3`, `column is missing`."""
    found = []
    for column, part in zip(state["columns"], state["parts"], strict=True):
        found += [f"{column}: {name}" for name in _names(state, part)]
        found += [f"{column} is missing"] * part["flag"]
    return found


def _names(state: State, part: Mapping[str, Any]) -> list[str]:
    lens = state["lens"]
    if "components" in part:
        return [f"component {i}" for i in range(part["components"].shape[1])]
    if lens["backbone"]:
        count = (state["width"] - sum(one["flag"] for one in state["parts"])) // len(state["parts"])
        return [str(i) for i in range(count)]
    colours = [f", {name}" for name in ("red", "green", "blue")] if lens["colours"] == "RGB" else [""]
    return [f"{y}, {x}{name}" for y in range(lens["height"]) for x in range(lens["width"]) for name in colours]
