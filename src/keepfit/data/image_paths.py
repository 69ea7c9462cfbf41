"""A column of paths becomes a column of pictures, as soon as a table is read.

A column is opened where `data.columns` declares it `image`, or where nearly all of its texts end like
pictures and those looked at lie beside the table. Paths start at the table's folder and never lead out of
it; `image:FOLDER` starts at that folder (relative to the project) and stays inside it.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import polars as pl

from keepfit import config
from keepfit.data import image_folder, memory, pictures
from keepfit.data.image_folder import Left

LOOKED = 50  # paths whose endings and files are looked at
MOSTLY = 0.9  # share of them that makes a column one of pictures


def opened(
    frame: pl.DataFrame, data: config.Data, beside: Path | None, project: Path
) -> tuple[pl.DataFrame, dict[str, str]]:
    """The frame with pictures in place of their paths, and what was left out, as found out.

    `beside` is the folder of the table, None where the table does not lie in one. What cannot be opened is
    null: gone, without read permission, or outside the folder.
    """
    left: Left = []
    for name, root in _roots(frame, data.columns, beside, project).items():
        frame = frame.with_columns(_contents(frame[name], root, left))
    told = f"{image_folder.counted(left)}: {image_folder.listed(left)}"
    return frame, {"left_out": told} if left else {}


def _roots(frame: pl.DataFrame, declared: Mapping[str, str], beside: Path | None, project: Path) -> dict[str, Path]:
    """Each column of paths, with the folder that they start at."""
    found: dict[str, Path] = {}
    for name in (name for name, kind in frame.schema.items() if kind == pl.String):
        role, _, folder = declared.get(name, "").partition(":")
        if folder and role == "image":
            found[name] = project / folder
        elif beside is not None and role in ("", "image") and _are_paths(frame[name], beside, role == "image"):
            found[name] = beside
    return found


def _are_paths(series: pl.Series, root: Path, declared: bool) -> bool:
    known = series.drop_nulls()
    some = known.gather_every(max(1, len(known) // LOOKED)).to_list()
    ends = [text for text in some if len(text) < 4096 and image_folder.is_picture(text.strip().replace("\\", "/"))]
    if not some or len(ends) < MOSTLY * len(some):
        return False
    return declared or sum(_inside(root, text) is not None for text in ends) >= MOSTLY * len(some)


def _inside(root: Path, text: str) -> Path | None:
    """The file that a path means, if it is there and inside the folder, wherever links lead."""
    try:
        path = (root / text.strip().replace("\\", "/")).resolve()
        return path if path.is_relative_to(root.resolve()) and path.is_file() else None
    except (OSError, ValueError):  # too long, or with a NUL
        return None


def _contents(series: pl.Series, root: Path, left: Left) -> pl.Series:
    texts = [text if text and text.strip() else None for text in series.to_list()]
    paths = [text and _inside(root, text) for text in texts]
    memory.room(sum(image_folder.length(path) for path in paths if path), f"Column '{series.name}'")
    found = [_content(root, text, path, left) for text, path in zip(texts, paths, strict=True)]
    return pl.Series(series.name, found, dtype=pl.Binary)


def _content(root: Path, text: str | None, path: Path | None, left: Left) -> bytes | None:
    if text is None:
        return None
    if path is None:
        left.append((text, f"there is no such file inside {root}"))
        return None
    try:
        with path.open("rb") as file:
            return file.read(pictures.HEAVIEST + 1)
    except OSError as error:
        left.append((text, (error.strerror or str(error)).lower()))
        return None
