"""Files as data: which ones a path, a glob or a folder means, and a frame of all of them.

FORMATS is the table of formats: the end of a file's name → function (path, config.Data) → (frame,
what was found out). The ends `.gz` and `.zst` are looked through.
"""

from __future__ import annotations

import difflib
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import polars as pl

from keepfit import config
from keepfit.data import archive, decode, frames, idx, image_folder, texts
from keepfit.errors import DataError
from keepfit.extras import load, nearest

DELIMITED = "keepfit.data.delimited:read"
EXCEL = "keepfit.data.excel:read"
ARCHIVE = "keepfit.data.archive:read"
FORMATS = {
    "csv": DELIMITED,
    "tsv": DELIMITED,
    "tab": DELIMITED,
    "txt": DELIMITED,
    "data": DELIMITED,  # as UCI's archive names them
    "test": DELIMITED,
    "parquet": "keepfit.data.parquet:read",
    "pq": "keepfit.data.parquet:read",
    "json": "keepfit.data.objects:read",
    "ndjson": "keepfit.data.objects:read_lines",
    "jsonl": "keepfit.data.objects:read_lines",
    "xlsx": EXCEL,
    "xlsm": EXCEL,
    "xlsb": EXCEL,
    "xls": EXCEL,
    "ods": EXCEL,
    "zip": ARCHIVE,  # of pictures
    "tar": ARCHIVE,
    "tgz": ARCHIVE,
    "idx": "keepfit.data.idx:read",
}
COMPRESSED = ("gz", "zst")
ARCHIVES = ("zip", "tar", "tgz")
BINARY = ("zip", "tgz", "parquet", "pq", "xlsx", "xlsm", "xlsb", "xls", "ods")
SHOWN = 8
Reader = Callable[[Path, config.Data], tuple[pl.DataFrame, dict[str, str]]]


def read(source: str, data: config.Data, folder: Path) -> tuple[pl.DataFrame, dict[str, Any]]:
    """The frame of a path, a glob (`data/2024-*.csv`) or a folder, and its origin.

    Several files must have the same columns and are put under each other in the order of their
    names. A relative path starts at the project `folder`. Raises DataError for what is missing,
    unreadable or of an unknown format, and ConfigError where the config is wrong about it.
    """
    path = folder / Path(source.removeprefix("file:").removeprefix("//")).expanduser()
    try:
        shown = _shown(path, folder)
        if path.is_dir() and (images := idx.found_in(path)):
            frame, origin = load_all(images[:1], data, [_shown(images[0], folder)])
            held = idx.held(images)
            return frame, {**origin, "test": f"{shown}/{held}"} if held else origin
        where, names = pictures(path)
        if names:
            return image_folder.read(where, names, shown, data)
        if path.is_dir() and (found := _texts(path)):
            frame, origin = texts.read(path, found, data)
            return frame, {"format": "text files", **origin}
        paths = listed(path)
    except PermissionError as error:
        raise _forbidden(Path(error.filename or path)) from error
    return load_all(paths, data, [_shown(p, folder) for p in paths])


def load_all(paths: Sequence[Path], data: config.Data, shown: Sequence[str]) -> tuple[pl.DataFrame, dict[str, Any]]:
    """The files under each other, and their origin; `shown` is what the origin calls them."""
    parts: list[pl.DataFrame] = []
    found: dict[str, str] = {}
    for path in paths:
        frame, facts = one(path, data)
        if parts:
            same_columns(paths[0], parts[0].columns, path, frame.columns)
        parts.append(frame)
        found.update(facts)
    described = [(archive.place(path)[0], name) for path, name in zip(paths, shown, strict=True)]
    files = [{"path": name, "bytes": p.stat().st_size, "sha256": decode.sha256(p)} for p, name in described]
    origin = {"format": suffix(paths[0]), "files": files, "found": found}
    held = found.pop("held", None)
    return frames.stack(parts), {**origin, "test": f"{shown[0]}#{held}"} if held and len(paths) == 1 else origin


def one(path: Path, data: config.Data) -> tuple[pl.DataFrame, dict[str, str]]:
    """One file by its format. Raises DataError when it is unreadable, empty, or has no rows."""
    checked(path)
    reader: Reader = load(FORMATS[suffix(path)], f"data.source '{path.name}'")
    frame, found = reader(path, data)
    if not frame.height:
        raise DataError(
            f"{path} has no rows{': only the names ' + ', '.join(frame.columns[:SHOWN]) if frame.columns else ''}."
        )
    return frame, found


def suffix(path: Path) -> str:
    """The format that a file's name tells, or "".

    >>> suffix(Path("reviews.CSV.gz")), suffix(Path("a.parquet")), suffix(Path("notes"))
    ('csv', 'parquet', '')
    >>> suffix(Path("t10k-images-idx3-ubyte.gz")), suffix(Path("photos.zip#val"))
    ('idx', 'zip')
    """
    if idx.NAME.search(path.name):
        return "idx"
    if "#" in path.name and (end := suffix(Path(path.name.partition("#")[0]))) in ARCHIVES:
        return end
    ends = [end.lower() for end in path.name.split(".")[1:]]
    while ends and ends[-1] in COMPRESSED:
        ends.pop()
    return ends[-1] if ends else ""


def listed(path: Path) -> list[Path]:
    """The files that a path, a glob or a folder means; DataError where there are none."""
    try:
        return _listed(path)
    except PermissionError as error:
        raise _forbidden(Path(error.filename or path)) from error


def _listed(path: Path) -> list[Path]:
    if archive.place(path)[0].is_file():
        return [path]
    if path.is_dir():
        return _in_folder(path)
    pattern = str(path)
    if any(sign in pattern for sign in "*?["):
        root = Path(path.anchor) if path.is_absolute() else Path()
        found = sorted(p for p in root.glob(str(path.relative_to(path.anchor))) if p.is_file() and not _hidden(p))
        if not found:
            raise DataError(f"No file matches {path.absolute()}. {_neighbours(_existing(path), path.name)}")
        return found
    if path.exists():
        raise DataError(f"{path.absolute()} is neither a file nor a folder.")
    raise DataError(f"No file at {path.absolute()}. {_neighbours(_existing(path), path.name)}")


def checked(path: Path) -> None:
    """Raises DataError for a file of an unknown format, without bytes, or that may not be read."""
    kind = suffix(path)
    if kind in image_folder.OTHERS:
        raise DataError(f"{path} is a picture of a format that is not read. Convert it to JPEG or PNG.")
    if kind not in FORMATS:
        end = f"the ending '.{kind}'" if kind else "no ending that tells its format"
        raise DataError(
            f"{path} has {end}. {nearest(kind, FORMATS)}Known: {', '.join('.' + known for known in FORMATS)}, "
            "each also with .gz or .zst. Rename it, or read it yourself: data.source: python:module:function."
        )
    if kind in BINARY and path.suffix.lower()[1:] in COMPRESSED:
        raise DataError(
            f"{path}: unpack it first; a {kind} file is compressed inside and is not read from {path.suffix}."
        )
    try:
        with archive.place(path)[0].open("rb") as file:
            if not file.read(1):
                raise DataError(f"{path} is empty: it has 0 bytes.")
    except PermissionError as error:
        raise _forbidden(path) from error


def _in_folder(folder: Path) -> list[Path]:
    found = sorted(p for p in folder.iterdir() if p.is_file() and not _hidden(p) and suffix(p) in FORMATS)
    kinds = sorted({suffix(p) for p in found})
    if not found:
        raise DataError(
            f"{folder.absolute()} is a folder without files that can be read. {_neighbours(folder, '')}"
            f" Known endings: {', '.join('.' + known for known in FORMATS)}; files deeper down: 'folder/**/*.parquet'. "
            f"Of pictures: .{', .'.join(image_folder.ENDINGS)}."
        )
    if len({FORMATS[kind] for kind in kinds}) > 1:
        shown = ", ".join(p.name for p in found[:SHOWN])
        raise DataError(
            f"{folder.absolute()} holds files of several formats ({', '.join(kinds)}): {shown}. "
            f"Name those that are meant: data.source: {folder.name}/*.{kinds[0]}"
        )
    return found


def _texts(folder: Path) -> list[Path]:
    """The text files of a folder that is meant as texts: no table lies in it."""
    return [] if any(map(is_table, folder.iterdir())) else texts.found_in(folder)


def pictures(path: Path) -> tuple[Path, list[str]]:
    """A folder, and the files in it by their relative names, where a path means a folder of pictures or one picture."""
    try:
        if path.is_dir():
            return path, image_folder.found_in(path, is_table) or []
        return path.parent, [path.name] if image_folder.is_picture(path.name) and path.is_file() else []
    except PermissionError as error:
        raise _forbidden(Path(error.filename or path)) from error


def is_table(path: Path) -> bool:
    """Whether a file is a table by its name; a .txt can be anything."""
    return path.is_file() and suffix(path) in FORMATS and suffix(path) != "txt"


def _hidden(path: Path) -> bool:
    return path.name.startswith((".", "_"))


def _existing(path: Path) -> Path:
    """The nearest folder above a path that is there and is named without signs of a glob."""
    return next(parent for parent in path.absolute().parents if parent.is_dir())


def _neighbours(folder: Path, name: str) -> str:
    """What lies in a folder, and of what could be data the name that is nearest to `name`."""
    names = sorted(p.name + ("/" if p.is_dir() else "") for p in folder.iterdir() if not p.name.startswith("."))
    if not names:
        return f"{folder} is empty."
    # the endings are left out: 'x.csv' and 'a.csv' are alike in nothing else
    readable = {*FORMATS, suffix(Path(name))} - {""}
    stems = {n.partition(".")[0].lower(): n for n in names if n.endswith("/") or suffix(Path(n)) in readable}
    near = difflib.get_close_matches(name.partition(".")[0].lower(), stems, n=1)
    meant = f"Did you mean '{stems[near[0]]}'? " if near else ""
    more = ", …" if len(names) > SHOWN else ""
    return f"{meant}In {folder} there are: {', '.join(names[:SHOWN])}{more}."


def same_columns(first: Path, wanted: Sequence[str], path: Path, columns: Sequence[str]) -> None:
    """Raises DataError that names the columns in which two files of one source differ."""
    lacks = [f"'{name}'" for name in wanted if name not in columns]
    more = [f"'{name}'" for name in columns if name not in wanted]
    if lacks or more:
        parts = [f"lacks {', '.join(lacks[:SHOWN])}"] if lacks else []
        parts += [f"has {', '.join(more[:SHOWN])} besides"] if more else []
        raise DataError(
            f"{path} has other columns than {first}: it {' and '.join(parts)}. "
            "All files of one source need the same columns."
        )


def _forbidden(path: Path) -> DataError:
    return DataError(f"{path.absolute()} may not be read by this user. Give it read permission (chmod +r).")


def _shown(path: Path, folder: Path) -> str:
    return str(path.relative_to(folder) if path.is_relative_to(folder) else path)
