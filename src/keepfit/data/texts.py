"""A folder of text files: one folder a class (`pos/…, neg/…`), or texts alone.

Each file is a row: column `text`, column `path` (relative to the folder, unique, so that it can
serve as an id) and, where the files lie in folders, a column with the folder's name: the label.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from pathlib import Path
from typing import Any

import polars as pl

from keepfit import config
from keepfit.data import decode
from keepfit.errors import ConfigError, DataError

SUFFIX = ".txt"


def found_in(folder: Path) -> list[Path]:
    """The text files of a folder's folders, or of the folder itself; sorted by path."""
    nested = sorted(path for path in folder.glob(f"*/*{SUFFIX}") if not path.parent.name.startswith("."))
    return nested or sorted(folder.glob(f"*{SUFFIX}"))


def read(folder: Path, paths: list[Path], data: config.Data) -> tuple[pl.DataFrame, dict[str, Any]]:
    """The files as rows, and their origin: classes with counts, size and a hash over all of them.

    The label column is named by `data.target`, else `label`. Raises DataError for a file that is
    not text in `data.encoding`; without `data.encoding`, one that is not UTF-8 is read as
    Windows-1252, else Latin-1, and counted in the origin.
    """
    total, size, guessed = hashlib.sha256(), 0, 0
    texts, classes = [], []
    for path in paths:
        raw = path.read_bytes()
        text, guess = _decoded(path, raw, data.encoding)
        name = path.relative_to(folder).as_posix()
        total.update(f"{name}\0{hashlib.sha256(raw).hexdigest()}\n".encode())
        size, guessed = size + len(raw), guessed + guess
        texts.append(text)
        classes.append(path.parent.name)
    columns = {"text": texts, "path": [path.relative_to(folder).as_posix() for path in paths]}
    origin: dict[str, Any] = {"files": [{"path": str(folder), "bytes": size, "sha256": total.hexdigest()}], "found": {}}
    origin["found"]["texts"] = f"{len(paths):,} files"
    if guessed:
        origin["found"]["encoding"] = f"{guessed:,} files are not UTF-8 and were read as cp1252 or latin-1"
    if paths[0].parent != folder:
        columns[data.target or "label"] = classes
        origin["found"]["classes"] = ", ".join(f"{name}: {count:,}" for name, count in Counter(classes).items())
    return pl.DataFrame(columns), origin


def _decoded(path: Path, raw: bytes, encoding: str | None) -> tuple[str, bool]:
    """The text, and whether its encoding was guessed."""
    marked = next((name for mark, name in decode.MARKS.items() if raw.startswith(mark)), "utf-8")
    if b"\0" in raw and not (encoding or marked).lower().startswith(("utf-16", "utf16", "utf-32", "utf32")):
        raise DataError(
            f"{path} has a NUL byte at offset {raw.index(0)}: it is not text, or set data.encoding: utf-16."
        )
    try:
        return raw.decode(encoding or marked), False
    except LookupError as error:
        raise ConfigError(f"data.encoding: unknown encoding '{encoding}'.") from error
    except UnicodeDecodeError as error:
        if encoding:
            byte = f"byte 0x{raw[error.start]:02x} at offset {error.start}"
            raise DataError(f"{path}: data.encoding is {encoding}, but {byte} is not {encoding}.") from error
    try:
        return raw.decode("cp1252"), True
    except UnicodeDecodeError:
        return raw.decode("latin-1"), True
