"""Rows of pictures on the disk, found again by what is in the picture: FOLDER/LENS/PART.npy.

A part is an array of (sha256 of the picture's bytes, row). It is written under another name first, so that a
kill leaves whole parts alone. Rows of lenses that were used last stay: together they have `MOST` bytes.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import shutil
import uuid
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from keepfit import durable

MOST = 2_000_000_000  # bytes
KEY, ROW = "sha256", "row"


def digests(data: Iterable[bytes | None]) -> list[bytes | None]:
    """The sha256 of each picture; None of a missing one."""
    return [None if one is None else hashlib.sha256(one).digest() for one in data]


def known(folder: Path, wanted: Sequence[bytes]) -> dict[bytes, NDArray[np.float32]]:
    """Digest → row, of the `wanted` ones that the parts in `folder` have. Damaged parts are removed."""
    found: dict[bytes, NDArray[np.float32]] = {}
    asked = np.array(wanted, "V32")
    for path in sorted(folder.glob("[!.]*.npy")):
        part = _part(path)
        if part is None:
            continue
        for place in np.flatnonzero(np.isin(_sortable(part[KEY]), _sortable(asked))).tolist():
            found[part[KEY][place].tobytes()] = part[ROW][place]
    if folder.is_dir():
        os.utime(folder)  # used just now
    return found


def _sortable(keys: NDArray[Any]) -> NDArray[Any]:
    """Digests by their first eight bytes: enough to be told apart."""
    return np.ascontiguousarray(keys).view(np.uint8).reshape(-1, 32)[:, :8].copy().view(np.uint64).ravel()


def _part(path: Path) -> NDArray[Any] | None:
    try:
        part: NDArray[Any] = np.load(path, allow_pickle=False)
    except (OSError, ValueError, EOFError):
        part = np.empty(0)
    if part.dtype.names == (KEY, ROW):
        return part
    path.unlink(missing_ok=True)
    return None


def keep(folder: Path, found: Sequence[bytes], rows: NDArray[np.float32]) -> None:
    """Write a part with the rows (n, width) of the digests `found`."""
    part = np.empty(len(rows), [(KEY, "V32"), (ROW, "<f4", rows.shape[1:])])
    part[KEY], part[ROW] = np.array(found, "V32"), rows
    folder.mkdir(parents=True, exist_ok=True)
    with durable.replacing(folder / f"{uuid.uuid4().hex}.npy") as file:
        np.save(file, part, allow_pickle=False)


def trim(root: Path, most: int = MOST) -> None:
    """Remove the folders of the lenses used longest ago until `root` has no more than `most` bytes.

    The lens used last stays, however many pictures it saw.
    """
    with contextlib.suppress(FileNotFoundError):  # another process trims too
        folders = sorted((path for path in root.iterdir() if path.is_dir()), key=lambda path: path.stat().st_mtime)
        sizes = [sum(file.stat().st_size for file in folder.iterdir()) for folder in folders]
        for folder in folders[:-1]:
            if sum(sizes) <= most:
                break
            sizes.pop(0)
            shutil.rmtree(folder, ignore_errors=True)
