"""A column of pictures as a whole: what cannot be used, what is odd, what is nearly the same.

What a header cannot tell (damage in the middle of a file) is found by decoding each picture once, at a
small size; that gives its fingerprint too, which is kept for as long as the process lives. Sets of raw
pixels (IDX, PGM of one size) are done at once, by the arithmetic that Pillow uses for one.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence

import numpy as np
import polars as pl
from numpy.typing import NDArray

from keepfit.data import pictures
from keepfit.data.parse import Problem
from keepfit.data.pictures import Facts
from keepfit.types import Check, Schema

MANY = 32  # raw pictures of one size from which they are done at once
KEPT = 1_000_000  # fingerprints that are remembered
SHOWN = 20  # pictures that a check names
SMALL = 8  # pixels of a side under which a picture shows little
PATH = "path"  # the column that names a picture's file, where readers give one
# What the ending of a file's name says, where it is not what Pillow calls the format.
ENDINGS = {"jpg": "JPEG", "jpe": "JPEG", "jfif": "JPEG", "tif": "TIFF", "pgm": "PPM", "pbm": "PPM", "pnm": "PPM",
           "jp2": "JPEG2000", "j2k": "JPEG2000", "mpo": "JPEG"}  # fmt: skip
ODD: tuple[tuple[str, Callable[[Facts], bool]], ...] = (
    ("animated: the first frame counts", lambda f: f.frames > 1),
    ("turned upright by EXIF", lambda f: f.orientation > 1),
    ("CMYK, read as RGB", lambda f: f.mode == "CMYK"),
    ("more than 8 bits, of which 8 are kept", lambda f: f.mode.startswith(("I", "F"))),
    ("partly transparent, laid on white", lambda f: f.mode in ("RGBA", "LA", "PA")),
)
Found = Facts | str | None
_prints: dict[bytes, int | str] = {}


def facts(series: pl.Series) -> list[Found]:
    """What each picture's header says; why it is none, as text; None where it is missing."""
    return [None if data is None else _told(pictures.look, data) for data in series.to_list()]


def _told(look: Callable[[bytes], Facts], data: bytes) -> Facts | str:
    try:
        return look(data)
    except ValueError as error:
        return str(error)


def decoded(typed: pl.DataFrame, schema: Schema) -> tuple[pl.DataFrame, list[Problem]]:
    """A conformed frame without the pictures that cannot be decoded, and a Problem for each of them."""
    problems: list[Problem] = []
    for name in schema.role("image"):
        if name not in typed.columns:
            continue
        found = fingerprints(typed[name])
        bad = [row for row, told in enumerate(found) if isinstance(told, str)]
        problems += [Problem(row, name, str(found[row])) for row in bad]
        typed = typed.with_columns(without(typed[name], bad)) if bad else typed
    return typed, problems


def without(series: pl.Series, rows: Sequence[int]) -> pl.Series:
    """The series with null in some rows."""
    gone = np.zeros(len(series), bool)
    gone[list(rows)] = True
    found = pl.select(pl.when(pl.lit(pl.Series(gone))).then(None).otherwise(pl.lit(series))).to_series()
    return found.alias(series.name)


def usable(frame: pl.DataFrame, typed: pl.DataFrame, schema: Schema) -> NDArray[np.bool_]:
    """(n,) False for rows with a picture that cannot be used, and for rows that have nothing but a missing one.

    `frame` is as it was read, `typed` conformed.
    """
    names = [name for name in schema.role("image") if name in frame.columns and name in typed.columns]
    kept = np.ones(len(typed), bool)
    for name in names:
        kept &= (frame[name].is_null() | typed[name].is_not_null()).to_numpy()
    if names:
        there = [c.name for c in schema.features if c.name in typed.columns]
        kept &= ~typed.select(pl.all_horizontal(pl.col(there).is_null())).to_series().to_numpy()
    return kept


# --- what is said of it ---------------------------------------------------------------------------


def described(found: Sequence[Found]) -> str:
    """Formats and sizes in a few words.

    >>> described([Facts("JPEG", "RGB", 500, 375), Facts("JPEG", "RGB", 200, 90), "0 bytes"])
    'JPEG, 200 x 90 to 500 x 375 pixels'
    """
    known = [f for f in found if isinstance(f, Facts)]
    if not known:
        return "none that can be read"
    formats = Counter(f.format for f in known)
    shown = ", ".join(name if len(formats) == 1 else f"{count:,} {name}" for name, count in formats.most_common())
    by_size = sorted({(f.width * f.height, f.width, f.height) for f in known})
    ends = [f"{width} x {height}" for _, width, height in (by_size[0], by_size[-1])]
    return f"{shown}, {' to '.join(dict.fromkeys(ends))} pixels"


def checks(frame: pl.DataFrame, typed: pl.DataFrame, problems: list[Problem], schema: Schema) -> list[Check]:
    """What is to be said of each column of pictures; `frame` is as it was read."""
    return [
        check
        for name in schema.role("image")
        if name in typed.columns
        for check in _column(frame, typed, [p for p in problems if p.column == name], schema, name)
    ]


def _column(
    frame: pl.DataFrame, typed: pl.DataFrame, problems: list[Problem], schema: Schema, name: str
) -> Iterator[Check]:
    found = facts(typed[name])
    known = sum(isinstance(f, Facts) for f in found)
    yield _readable(typed, schema, name, found, known)
    called = paths(frame)
    if problems:
        told = listed([(called[p.row], p.problem) for p in problems])
        one = "1 picture cannot be used, and its row is left out"
        many = f"{len(problems):,} pictures cannot be used, and their rows are left out"
        detail = f"{one if len(problems) == 1 else many}: {told}"
        yield Check(f"data.pictures.{name}.unusable", "failed", len(problems), 0, detail, "warning")
    else:
        yield Check(f"data.pictures.{name}.unusable", "passed", 0, 0)
    yield _noted(
        f"data.pictures.{name}.ending", "not of the format that the name's ending says", _endings(found, called)
    )
    small = [(called[row], f"{f.width} x {f.height} pixels") for row, f in enumerate(found)
             if isinstance(f, Facts) and min(f.width, f.height) < SMALL]  # fmt: skip
    yield _noted(f"data.pictures.{name}.small", f"smaller than {SMALL} pixels a side", small)
    yield _odd(name, found, called)


def _readable(typed: pl.DataFrame, schema: Schema, name: str, found: Sequence[Found], known: int) -> Check:
    """What the pictures are; an error where there is none, because then none can be learned from."""
    if known:
        detail = f"{described(found)}{_by_class(typed, schema, name)}"
        return Check(f"data.pictures.{name}", "passed", known, None, detail)
    detail = f"none of {typed.height:,} rows has a picture that can be read. Declare {name}: ignore to go on without"
    return Check(f"data.pictures.{name}", "failed", 0, 1, detail)


def _by_class(typed: pl.DataFrame, schema: Schema, name: str) -> str:
    if schema.task != "classification" or schema.target not in typed.columns:
        return ""
    known = typed.filter(pl.col(name).is_not_null())[str(schema.target)].drop_nulls()
    counts = known.value_counts(sort=True, name="count").rows()
    shown = ", ".join(
        f"{label} {count:,}" for label, count in sorted(counts, key=lambda row: (-row[1], row[0]))[:SHOWN]
    )
    return f"; by '{schema.target}': {shown}{', …' if len(counts) > SHOWN else ''}"


def paths(frame: pl.DataFrame, first: int = 0) -> list[str]:
    """What each row is called; `first` is the number of the first one."""
    named = frame[PATH].to_list() if frame.schema.get(PATH) == pl.String else [None] * len(frame)
    return [f"row {row}" if path is None else path for row, path in enumerate(named, first)]


def listed(told: Sequence[tuple[str, str]]) -> str:
    """Pictures with what is said of them, cut.

    >>> listed([("a.jpg", "0 bytes"), ("b.jpg", "0 bytes")])
    'a.jpg (0 bytes), b.jpg (0 bytes)'
    """
    more = f" and {len(told) - SHOWN:,} more" if len(told) > SHOWN else ""
    return ", ".join(f"{path} ({why})" for path, why in told[:SHOWN]) + more


def _noted(name: str, what: str, told: list[tuple[str, str]]) -> Check:
    if not told:
        return Check(name, "passed", 0, 0)
    return Check(name, "failed", len(told), 0, f"{len(told):,} {what}: {listed(told)}", "warning")


def _endings(found: list[Found], paths: list[str]) -> list[tuple[str, str]]:
    wrong = []
    for path, facts in zip(paths, found, strict=True):
        end = path.rpartition(".")[2].lower()
        if isinstance(facts, Facts) and "." in path:
            said = ENDINGS.get(end, end.upper())
            format = ENDINGS.get(facts.format.lower(), facts.format)
            wrong += [(path, f"is {facts.format}")] if said in pictures.FORMATS and said != format else []
    return wrong


def _odd(name: str, found: list[Found], paths: list[str]) -> Check:
    parts = []
    for what, is_odd in ODD:
        rows = [row for row, f in enumerate(found) if isinstance(f, Facts) and is_odd(f)]
        parts += [f"{len(rows):,} {what} (first: {paths[rows[0]]})"] if rows else []
    return Check(f"data.pictures.{name}.odd", "passed", len(parts), None, "; ".join(parts))


def sides(series: pl.Series) -> pl.Series:
    """The longer side of each picture, in pixels (Float64)."""
    found = [max(f.width, f.height) if isinstance(f, Facts) else None for f in facts(series)]
    return pl.Series(series.name, found, dtype=pl.Float64)


# --- fingerprints ---------------------------------------------------------------------------------


def fingerprints(series: pl.Series) -> list[int | str | None]:
    """`pictures.fingerprint` of each; why it cannot be decoded, as text; None where it is missing.

    Raw pictures of which there are many of one size may differ from it in a bit, by rounding.
    """
    values = series.to_list()
    found: list[int | str | None] = [None] * len(values)
    raw: dict[bytes, list[int]] = {}
    for row, data in enumerate(values):
        if data is not None and (head := pictures.RAW.match(data)):
            raw.setdefault(head[0], []).append(row)
    done: set[int] = set()
    for start, rows in raw.items():
        if len(rows) >= MANY and (prints := _at_once(start, [values[row] for row in rows])) is not None:
            done.update(rows)
            for row, number in zip(rows, prints.tolist(), strict=True):
                found[row] = number
    for row, data in enumerate(values):
        if data is not None and row not in done:
            found[row] = _remembered(data)
    return found


def _remembered(data: bytes) -> int | str:
    key = hashlib.blake2b(data, digest_size=16).digest()
    if key not in _prints:
        if len(_prints) >= KEPT:
            _prints.clear()
        try:
            _prints[key] = pictures.fingerprint(data)
        except ValueError as error:
            _prints[key] = str(error)
    return _prints[key]


def _at_once(head: bytes, values: list[bytes]) -> NDArray[np.uint64] | None:
    """Fingerprints (n,) of raw pictures with one header; None where one of them is not as long as it says."""
    told = pictures.RAW.match(head)
    if told is None:
        return None
    width, height, depth = int(told[2]), int(told[3]), 3 if told[1] == b"6" else 1
    size = len(head) + width * height * depth
    if min(width, height) < pictures.SMALLEST or any(len(data) != size for data in values):
        return None
    step = max(1, (1 << 25) // size)  # 32 MB at a time
    parts = [
        _prints_of(values[at : at + step], len(head), (height, width, depth)) for at in range(0, len(values), step)
    ]
    return np.concatenate(parts)


def _prints_of(values: list[bytes], start: int, shape: tuple[int, int, int]) -> NDArray[np.uint64]:
    stored = np.frombuffer(b"".join(values), np.uint8).reshape(len(values), -1)[:, start:].reshape(-1, *shape)
    grey = (stored @ np.array([0.299, 0.587, 0.114], np.float32)) if shape[2] == 3 else stored[..., 0]
    wide = np.rint(np.rint(grey).astype(np.float32) @ _weights(shape[1], 9).T)
    small = np.rint(_weights(shape[0], 8) @ wide)
    bits = np.packbits((small[:, :, 1:] > small[:, :, :-1]).reshape(len(values), -1), axis=1)
    return bits.view(">u8")[:, 0].astype(np.uint64)


def _weights(size: int, wanted: int) -> NDArray[np.float32]:
    """(wanted, size) what each pixel adds to each of a resized row: a triangle over all that fall into it."""
    scale = size / wanted
    reach = max(scale, 1.0)
    centre = (np.arange(wanted)[:, None] + 0.5) * scale
    near = np.clip(1 - np.abs(np.arange(size) + 0.5 - centre) / reach, 0, None)
    found: NDArray[np.float32] = (near / near.sum(axis=1, keepdims=True)).astype(np.float32)
    return found


# --- the same picture, nearly ---------------------------------------------------------------------

NEAR = 4  # bits of 64 in which two fingerprints of one picture may differ
ALIKE = 6.0  # mean difference of their grey levels (0 to 255) up to which they are taken for one
TRIED = 3  # nearest pictures that are compared pixel by pixel
SIDE = 32  # pixels of a side that are compared
PAIRS = 200_000_000  # that are looked at: more test pictures than that allows are sampled


def near(train: pl.Series, test: pl.Series) -> tuple[list[tuple[int, int]], int]:
    """(row of test, row of train) of pictures that nearly are the same, but not to the byte; how many were looked at.

    Candidates differ in few bits of the fingerprint, and are then compared on 32 x 32 grey pixels.
    """
    ours, theirs = _known(train), _known(test)
    every = max(1, -(-len(theirs[0]) * max(len(ours[0]), 1) // PAIRS))
    rows, prints = theirs[0][::every], theirs[1][::every]
    found = []
    for row, candidates in zip(rows.tolist(), _candidates(prints, *ours), strict=True):
        found += [(row, other) for other in _alike(test[row], {other: train[other] for other in candidates})]
    return found, len(rows)


def _known(series: pl.Series) -> tuple[NDArray[np.intp], NDArray[np.uint64]]:
    found = [(row, told) for row, told in enumerate(fingerprints(series)) if isinstance(told, int)]
    rows, prints = zip(*found, strict=True) if found else ((), ())
    return np.array(rows, np.intp), np.array(prints, np.uint64)


def _candidates(asked: NDArray[np.uint64], rows: NDArray[np.intp], prints: NDArray[np.uint64]) -> Iterator[list[int]]:
    """For each fingerprint the rows of the nearest others, if they are near."""
    step = max(1, (1 << 22) // max(len(prints), 1))
    for at in range(0, len(asked), step):
        apart = np.bitwise_count(asked[at : at + step, None] ^ prints[None, :])
        for distances in apart:
            places = np.flatnonzero(distances <= NEAR)
            yield rows[places[np.argsort(distances[places], kind="stable")[:TRIED]]].tolist()


def _alike(one: bytes, others: Mapping[int, bytes]) -> list[int]:
    """The first of the others that looks the same; none where one of them is the same to the byte."""
    if not others or one in others.values():
        return []
    grey = _grey(one)
    return next(([name] for name, other in others.items() if np.abs(grey - _grey(other)).mean() <= ALIKE), [])


def _grey(data: bytes) -> NDArray[np.float32]:
    return pictures.pixels(data, SIDE, SIDE, "L").astype(np.float32)
