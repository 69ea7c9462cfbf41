"""Pictures made for the tests: encoded files of any format, mode and size."""

from __future__ import annotations

import io
import zlib
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from keepfit.data.pictures import ORIENTATION


def noise(width: int = 40, height: int = 30, seed: int = 0) -> Image.Image:
    """A smooth RGB picture, different for each seed: near pixels are alike, as in photographs."""
    small = np.random.default_rng(seed).integers(0, 256, (5, 6, 3), dtype=np.uint8)
    return Image.fromarray(small).resize((width, height), Image.Resampling.BICUBIC)


def file(image: Image.Image, form: str = "PNG", **options: Any) -> bytes:
    """The picture as a file of a format of Pillow's."""
    stream = io.BytesIO()
    image.save(stream, form, **options)
    return stream.getvalue()


def picture(seed: int = 0, form: str = "PNG", width: int = 40, height: int = 30) -> bytes:
    return file(noise(width, height, seed), form)


def turned(image: Image.Image, orientation: int, form: str = "JPEG") -> bytes:
    """The picture as it is stored, with EXIF's word on how it is to be turned."""
    exif = Image.Exif()
    exif[ORIENTATION] = orientation
    return file(image, form, exif=exif, **({"quality": 95} if form == "JPEG" else {}))


def header_only(width: int, height: int) -> bytes:
    """A PNG of a size that its bytes do not hold: what a decompression bomb looks like from outside."""
    data = bytearray(file(Image.new("1", (8, 8))))
    data[16:24] = width.to_bytes(4, "big") + height.to_bytes(4, "big")
    data[29:33] = zlib.crc32(bytes(data[12:29])).to_bytes(4, "big")
    return bytes(data)


def folder(where: Path, per_class: int = 12, classes: tuple[str, ...] = ("ants", "bees"), seed: int = 0) -> Path:
    """A folder by class of small PNG files, each different."""
    for place, label in enumerate(classes):
        (where / label).mkdir(parents=True, exist_ok=True)
        for n in range(per_class):
            (where / label / f"{n:03}.png").write_bytes(picture(seed + 1000 * place + n, width=24, height=20))
    return where
