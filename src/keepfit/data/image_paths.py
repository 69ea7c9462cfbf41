"""A column of paths becomes a column of pictures, as soon as a table is read.

A column is opened where `data.columns` declares it `image`, or where nearly all of its texts end like
pictures and those looked at lie beside the table. Paths start at the table's folder and never lead out of
it; `image:FOLDER` starts at that folder (relative to the project) and stays inside it. A column of which
nothing can be opened is a mistake of the config; `suspects` hints at names that nobody declared.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path

import polars as pl

from keepfit import config
from keepfit.data import image_folder, memory, pictures
from keepfit.data.gallery import PATH
from keepfit.data.image_folder import SHOWN, Left
from keepfit.errors import ConfigError
from keepfit.types import Check

LOOKED = 50  # paths whose endings and files are looked at
MOSTLY = 0.9  # share of them that makes a column one of pictures
FEW = 0.1  # share of a column's files below which those that are there are told


def opened(
    frame: pl.DataFrame, data: config.Data, beside: Path | None, project: Path, whole: bool = False
) -> tuple[pl.DataFrame, dict[str, str]]:
    """The frame with pictures in place of their paths, and what was left out, as found out.

    `beside` is the folder of the table, None where the table does not lie in one. What cannot be opened is
    null: gone, without read permission, or outside the folder. Of a `whole` frame that is every file of a column:
    ConfigError.
    """
    every: Left = []
    told = ""
    for name, root in _roots(frame, data.columns, beside, project).items():
        left: Left = []
        names, frame = frame[name], frame.with_columns(_contents(frame[name], root, left))
        there = names.filter(frame[name].is_not_null())
        where = f"{root.absolute()}{'' if root.is_dir() else ' (there is no such folder)'}"
        if whole and left and not len(there):
            raise ConfigError(_nothing(name, left, where, project))
        told += _few(there, left, where)
        every += left
    told += f"{image_folder.counted(every)}: {image_folder.listed(every)}"
    return frame, {"left_out": told} if every else {}


def from_project(data: config.Data, project: Path) -> config.Data:
    """`data` with the folders of pictures that it names found from wherever keepfit is called."""
    roles = {name: declared.partition(":") for name, declared in data.columns.items()}
    found = {name: f"image:{project.absolute() / folder}" for name, (role, _, folder) in roles.items()
             if folder and role == "image"}  # fmt: skip
    return data.model_copy(update={"columns": {**data.columns, **found}})


def _nothing(name: str, left: Left, where: str, project: Path) -> str:
    return (
        f"data.columns.{name}: none of its {image_folder.counted(left)} can be opened in {where}, such as "
        f"'{left[0][0]}' ({left[0][1]}). Declare the folder that they lie in, {name}: 'image:FOLDER', from "
        f"{project.absolute()}, or 'ignore' to leave the column out."
    )


def _few(there: pl.Series, left: Left, where: str) -> str:
    """The files that are there, where they are few."""
    count = len(there) + len(left)
    if not left or len(there) >= FEW * count:
        return ""
    shown = ", ".join(there.head(SHOWN).to_list()) + (", …" if len(there) > SHOWN else "")
    told = f"only {len(there):,} of the {count:,} files of '{there.name}' can be opened in {where}"
    return f"{told}, {shown}: is it the right folder? "


def suspects(frame: pl.DataFrame, data: config.Data) -> Iterator[Check]:
    """A warning that names the columns of texts that end as pictures do, and are declared as nothing."""
    texts = [name for name, kind in frame.schema.items() if kind == pl.String and name not in (PATH, data.target)]
    named = [name for name in texts if name not in data.columns and _end_so(_some(frame[name]))]
    named = [name for name in named if not frame[name].drop_nulls().str.contains("://", literal=True).any()]
    if not named:
        return
    shown = ", ".join(f"'{name}' ({frame[name].drop_nulls()[0]})" for name in named[:SHOWN])
    detail = (
        f"{shown} looks like names of pictures, and is read as texts: no picture is looked at. If they are, declare "
        f"the folder that they lie in, data.columns: {{{named[0]}: 'image:FOLDER'}}; if not, declare what they are"
    )
    yield Check("data.pictures.names", "failed", len(named), 0, detail, "warning")


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
    some = _some(series)
    if not _end_so(some):
        return False
    return declared or sum(_inside(root, text) is not None for text in some) >= MOSTLY * len(some)


def _some(series: pl.Series) -> list[str]:
    known = series.drop_nulls()
    return known.gather_every(max(1, len(known) // LOOKED)).to_list()


def _end_so(some: list[str]) -> bool:
    """Do nearly all of these texts end as pictures do?"""
    ends = [text for text in some if len(text) < 4096 and image_folder.is_picture(text.strip().replace("\\", "/"))]
    return bool(some) and len(ends) >= MOSTLY * len(some)


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
