"""IDX files, the form of MNIST and its kin: raw pixels in one file, labels in another, found by its name.

The format: two zero bytes, the type of the numbers (8: unsigned bytes), the number of dimensions, the
size of each as a big-endian int32, then the numbers (Yann LeCun, The MNIST database). Pictures become
PGM files, colour (a fourth dimension of 3) PPM.
"""

from __future__ import annotations

import gzip
import math
import re
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from keepfit import config
from keepfit.data import pictures
from keepfit.errors import DataError

NAME = re.compile(r"[-.]idx[134]-ubyte(\.gz)?$")
TEST = re.compile(r"^(t10k|test|val)\b", re.IGNORECASE)
BYTES = 8  # the type of numbers that is read
SIZE = 8_000_000_000  # bytes of numbers in one file


def found_in(folder: Path) -> list[Path]:
    """The files of pictures in a folder, those for training first."""
    found = sorted(path for path in folder.iterdir() if NAME.search(path.name) and "images" in path.name)
    return sorted(found, key=lambda path: bool(TEST.search(path.name)))


def read(path: Path, data: config.Data) -> tuple[pl.DataFrame, dict[str, str]]:
    """The pictures of an IDX file, with the labels of the file beside it: columns `image` and the label.

    The label column is named by `data.target`, else `label`. Raises DataError for a damaged file, for
    labels without pictures, and where there are not as many labels as pictures.
    """
    if "images" not in path.name:
        raise DataError(f"{path} holds labels or other numbers: name the file of the pictures, …images-idx3-ubyte.")
    array = _array(path)
    if array.ndim not in (3, 4) or (array.ndim == 4 and array.shape[3] != 3):
        raise DataError(f"{path} has numbers of the shape {array.shape}: pictures need (n, height, width) or (…, 3).")
    columns: dict[str, Any] = {"image": pl.Series(pictures.raws(array), dtype=pl.Binary)}
    found = {"pictures": f"{len(array):,} of {array.shape[2]} x {array.shape[1]} pixels"}
    beside = _labels(path)
    if beside is not None:
        labels = _array(beside)
        if labels.shape != (len(array),):
            raise DataError(f"{beside} has {labels.shape} labels for the {len(array):,} pictures of {path.name}.")
        columns[data.target or "label"] = pl.Series(labels.astype(np.int64)).cast(pl.String)
        found["labels"] = beside.name
    return pl.DataFrame(columns), found


def held(images: list[Path]) -> str | None:
    """The name of the file, of those of one folder, that is the official test set beside the first."""
    return next((path.name for path in images[1:] if TEST.search(path.name)), None)


def _labels(images: Path) -> Path | None:
    """The file of labels that belongs to one of pictures, zipped or not."""
    name = re.sub(r"idx[34]", "idx1", images.name.removesuffix(".gz")).replace("images", "labels")
    return next((path for end in ("", ".gz") if (path := images.with_name(name + end)).is_file()), None)


def _array(path: Path) -> NDArray[np.uint8]:
    """The numbers of an IDX file in their shape."""
    try:
        with gzip.open(path) if path.suffix == ".gz" else path.open("rb") as stream:
            start = stream.read(4)
            if len(start) < 4 or start[:2] != b"\0\0" or start[2] != BYTES:
                raise DataError(
                    f"{path} is no IDX file of unsigned bytes: it begins with {start.hex(' ') or 'nothing'}."
                )
            sizes = stream.read(4 * start[3])
            shape = tuple(np.frombuffer(sizes[: len(sizes) // 4 * 4], ">i4").tolist())
            count = math.prod(shape)
            if len(shape) != start[3] or min(shape, default=-1) < 0 or count > SIZE:
                raise DataError(f"{path} says that it holds numbers of the shape {shape}: it is damaged.")
            content = stream.read(count)
    except (EOFError, gzip.BadGzipFile, zlib.error) as error:
        raise DataError(f"{path} is no whole gzip file: {error}. Get it again.") from error
    if len(content) < count:
        raise DataError(f"{path} is cut off: {len(content):,} of {count:,} bytes of numbers. Get it again.")
    return np.frombuffer(content, np.uint8).reshape(shape)
