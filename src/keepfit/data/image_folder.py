"""A folder of pictures: one folder a class (`ants/…, bees/…`), or pictures alone; in an archive too.

Each file is a row: column `image` (its bytes), column `path` (relative to the folder) and, where the
files lie in folders, a column with the first folder's name: the label. A folder around everything is
looked through. Where there is a folder train/ beside test/ (or val/, valid/, validation/), those are the
publisher's parts: what is read is the part for training, and `held` names the other, which is the
official test set. Of all three, val/ is learned from, because validation is cross-validation here.

>>> found = layout(["set/train/ants/a.jpg", "set/train/bees/b.jpg", "set/val/ants/c.png", "set/readme.md"])
>>> found.rows[0], found.held, found.others
(Row(name='set/train/ants/a.jpg', path='train/ants/a.jpg', label='ants'), 'val', ['set/readme.md'])
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import Any, NamedTuple

import polars as pl

from keepfit import config
from keepfit.data import memory, pictures
from keepfit.errors import DataError
from keepfit.extras import nearest

ENDINGS = ("jpg", "jpeg", "jpe", "jfif", "png", "gif", "bmp", "webp", "tif", "tiff", "pgm", "ppm", "pbm", "pnm",
           "avif", "jp2", "mpo")  # fmt: skip
OTHERS = ("heic", "heif", "svg", "psd", "cr2", "nef", "arw", "dng", "jxl")  # of pictures that are not read
TRAIN = ("train", "training")
TEST = ("test", "testing", "val", "valid", "validation")  # the first that has classes is the test set
SHOWN = 5
AT_ONCE = 128  # pictures that are read before they become a part of a column
Left = list[tuple[str, str]]  # paths that could not be read, with the reason


class Row(NamedTuple):
    """One picture: its name where it lies, how it is called, and its class."""

    name: str
    path: str
    label: str | None


class Layout(NamedTuple):
    """The pictures of a folder or of one part of it; `held` is the part that is the official test set."""

    rows: list[Row]
    held: str | None
    others: list[str]  # files that are no pictures by their names


def is_picture(name: str) -> bool:
    """Whether a file is a picture by its name, and not one of those that programs leave behind."""
    parts = name.split("/")
    hidden = any(part.startswith(".") or part == "__MACOSX" for part in parts)
    return not hidden and parts[-1].rpartition(".")[2].lower() in ENDINGS and "." in parts[-1]


def layout(names: Iterable[str], part: str | None = None) -> Layout:
    """What lies where; `names` are relative to the folder, with slashes. `part` asks for one part alone.

    Raises DataError for a part that is not there.
    """
    every = sorted(set(names))
    found = [name for name in every if is_picture(name)]
    cut = _around(found)
    paths = {name: printable(name)[cut:] for name in found}
    parts = _parts(paths.values())
    if part is not None:
        kept = _asked(paths, parts, part)
        held = None
    else:
        held = _held(paths.values(), parts)
        kept = [name for name in found if paths[name].partition("/")[0] != held] if held else found
    inside = bool(parts) or part is not None
    rows = [Row(name, paths[name], _label(paths[name], inside)) for name in kept]
    return Layout(rows, held, [printable(name) for name in every if not is_picture(name)])


def printable(name: str) -> str:
    """A file's name as text: bytes of it that are no UTF-8 become question marks.

    >>> printable("caf\\udce9.jpg"), printable("é.jpg")
    ('caf?.jpg', 'é.jpg')
    """
    return name.encode("utf-8", "replace").decode()


def _around(names: Sequence[str]) -> int:
    """The length of the folders that lie around everything else."""
    cut = 0
    while names:
        first = {name[cut:].partition("/")[0] for name in names}
        deeper = all(name[cut:].count("/") >= 2 for name in names)
        if len(first) != 1 or not deeper or first <= {*TRAIN, *TEST}:
            break
        cut += len(first.pop()) + 1
    return cut


def _parts(paths: Iterable[str]) -> set[str]:
    """The publisher's parts; none where the folders are classes."""
    first = {path.partition("/")[0] for path in paths if "/" in path}
    whole = {name.lower() for name in first} <= {*TRAIN, *TEST}
    return first if whole and any(name.lower() in TRAIN for name in first) else set()


def _held(paths: Iterable[str], parts: set[str]) -> str | None:
    classes = {path.split("/")[0] for path in paths if path.count("/") >= 2}  # parts whose pictures have a label
    order = {name: TEST.index(name.lower()) for name in parts & classes if name.lower() in TEST}
    return min(order, key=order.__getitem__) if order else None


def _asked(paths: dict[str, str], parts: set[str], part: str) -> list[str]:
    kept = [name for name, path in paths.items() if path.startswith(f"{part.strip('/')}/")]
    if not kept:
        there = sorted(parts or {path.partition("/")[0] for path in paths.values() if "/" in path})
        raise DataError(f"There are no pictures in '{part}'. {nearest(part, there)}There are: {', '.join(there[:20])}")
    return kept


def _label(path: str, inside: bool) -> str | None:
    folders = path.split("/")[:-1][1 if inside else 0 :]
    return folders[0] if folders else None


def names_in(folder: Path) -> list[str]:
    """All files under a folder, relative to it, with slashes; links are followed once."""
    found: list[str] = []
    seen: set[Path] = set()
    stack = [folder]
    while stack:
        here = stack.pop()
        real = here.resolve()
        if real in seen:
            continue
        seen.add(real)
        for path in here.iterdir():
            if path.is_dir():
                stack.append(path)
            elif path.is_file() or path.is_symlink():  # one that leads nowhere is told when it is read
                found.append(path.relative_to(folder).as_posix())
    return found


def found_in(folder: Path, is_table: Callable[[Path], bool]) -> list[str]:
    """The files of a folder that is meant as pictures: some lie in it, and no table does; else none."""
    if any(map(is_table, folder.iterdir())):
        return []
    names = names_in(folder)
    return names if any(map(is_picture, names)) else []


def read(folder: Path, names: list[str], shown: str, data: config.Data) -> tuple[pl.DataFrame, dict[str, Any]]:
    """The pictures of a folder as rows, and their origin; `names` are its files, `shown` what it is called.

    A file that is gone, or may not be read, by the time it is wanted is left out and told.
    """
    found = layout(names)
    left: Left = []
    memory.room(sum(length(folder / row.name) for row in found.rows), str(folder))
    read = ((row.name, _content(folder, row.name, left)) for row in found.rows)
    contents = ((name, content) for name, content in read if content is not None)
    frame, facts = table(found, contents, left, data, str(folder))
    total, size = digest(frame)
    origin = {"format": "pictures", "files": [{"path": shown, "bytes": size, "sha256": total}], "found": facts}
    held = facts.pop("held", None)
    return frame, {**origin, "test": f"{shown.rstrip('/')}/{_held_folder(names, held)}"} if held else origin


def _held_folder(names: Iterable[str], held: str) -> str:
    """The official test set's folder, with those that lie around it."""
    found = sorted(name for name in names if is_picture(name))
    return found[0][: _around(found)] + held


def length(path: Path) -> int:
    """The bytes of a file; 0 of one that is gone."""
    try:
        return path.stat().st_size
    except OSError:
        return 0  # told when it is read


def _content(folder: Path, name: str, left: Left) -> bytes | None:
    try:
        with (folder / name).open("rb") as file:
            return file.read(pictures.HEAVIEST + 1)
    except FileNotFoundError:
        link = (folder / name).is_symlink()
        left.append((printable(name), "a link that leads nowhere" if link else "is gone since the folder was listed"))
    except OSError as error:
        left.append((printable(name), (error.strerror or str(error)).lower()))
    return None


def table(
    found: Layout, contents: Iterator[tuple[str, bytes]], left: Left, data: config.Data, where: str
) -> tuple[pl.DataFrame, dict[str, str]]:
    """The rows whose content was read as a frame, and what was found out: classes, parts, what was left out.

    `contents` is names and contents in any order. They are made columns some at a time: all are in memory once.
    The label column is named by `data.target`, else `label`. Raises DataError where nothing was read.
    """
    names: list[str] = []
    parts: list[pl.Series] = []
    while some := [*islice(contents, AT_ONCE)]:
        names += [name for name, _ in some]
        parts.append(pl.Series([content for _, content in some], dtype=pl.Binary))
    place = {name: number for number, name in enumerate(names)}
    rows = [row for row in found.rows if row.name in place]
    if not rows:
        told = f": {listed(left)}" if left else ""
        raise DataError(f"{where} has no pictures that can be read{told}. Known endings: .{', .'.join(ENDINGS)}")
    columns = {
        "image": _ordered(pl.concat(parts), [place[row.name] for row in rows]),
        "path": [row.path for row in rows],
    }
    facts = {"pictures": f"{len(rows):,} files"}
    classes = Counter(row.label for row in rows if row.label is not None)
    if classes:
        columns[data.target or "label"] = [row.label for row in rows]
        facts["classes"] = ", ".join(f"{name}: {count:,}" for name, count in classes.items())
    if found.others:
        more = ", …" if len(found.others) > SHOWN else ""
        odd = sorted(found.others, key=lambda name: name.rpartition(".")[2].lower() not in OTHERS)  # may be missed
        first = f"{', '.join(odd[:SHOWN])}{more}"
        facts["other_files"] = f"{counted(found.others)} not read as pictures, by their names: {first}"
    if left:
        facts["left_out"] = f"{counted(left)}: {listed(left)}"
    if found.held:
        facts["held"] = found.held
    return pl.DataFrame(columns), facts


def _ordered(series: pl.Series, order: list[int]) -> pl.Series:
    """The values in another order; as they are where it is theirs, for to gather is to copy."""
    return series if order == [*range(len(series))] else series.gather(order)


def counted(files: Sequence[Any]) -> str:
    """
    >>> counted(["a"]), counted(["a", "b"])
    ('1 file', '2 files')
    """
    return "1 file" if len(files) == 1 else f"{len(files):,} files"


def listed(left: Left) -> str:
    """What was left out, cut."""
    more = f" and {len(left) - SHOWN:,} more" if len(left) > SHOWN else ""
    return ", ".join(f"{name} ({why})" for name, why in left[:SHOWN]) + more


def digest(frame: pl.DataFrame) -> tuple[str, int]:
    """SHA-256 over names and contents, and the bytes of all contents."""
    total, size = hashlib.sha256(), 0
    for path, content in frame.select("path", "image").iter_rows(buffer_size=AT_ONCE):
        total.update(f"{path}\0{hashlib.sha256(content).hexdigest()}\n".encode())
        size += len(content)
    return total.hexdigest(), size


def batches(folder: Path, names: list[str], rows: int, bad: Callable[[str, str], None]) -> Iterator[pl.DataFrame]:
    """All pictures of a folder, of every part, in frames of at most `rows`: columns `image` and `path`.

    `bad` is given each file that cannot be read, and why.
    """
    wanted = sorted(filter(is_picture, names))
    for at in range(0, len(wanted), rows):
        left: Left = []
        read = ((name, _content(folder, name, left)) for name in wanted[at : at + rows])
        some = {name: content for name, content in read if content is not None}
        for name, why in left:
            bad(name, why)
        if some:
            contents = pl.Series(list(some.values()), dtype=pl.Binary)
            yield pl.DataFrame({"image": contents, "path": [*map(printable, some)]})
