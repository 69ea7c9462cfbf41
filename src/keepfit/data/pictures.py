"""Pictures: what an encoded file holds, its pixels, its fingerprint. The one file of `data` with Pillow.

A value of a column with role `image` is the file's bytes. `look` reads the header and whether the end
is there, `pixels` is the one way from bytes to numbers (training, batch and serving share it),
`fingerprint` finds pictures that nearly are the same. Each raises ValueError with a plain reason, and
nothing else, whatever the bytes are. `given` reads a value of a request or a table. Raw pixels become a
file by `encoded`: a PGM or PPM header in front of them.

>>> import numpy as np
>>> grey = encoded(np.full((2, 3), 128, np.uint8))
>>> grey[:11], look(grey)
(b'P5 3 2 255\\n', Facts(format='PPM', mode='L', width=3, height=2, frames=1, orientation=1))
>>> pixels(grey, 1, 1, "RGB").tolist()
[[[128, 128, 128]]]
>>> look(b"")
Traceback (most recent call last):
    ...
ValueError: 0 bytes
"""

from __future__ import annotations

import base64
import binascii
import io
import re
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from keepfit.extras import missing

if TYPE_CHECKING:
    from PIL import Image

LARGEST = 50_000_000  # pixels of a picture that is opened: 200 MB as RGBA
HEAVIEST = 200_000_000  # bytes of a file that is opened
SMALLEST = 2  # pixels of a side: a line shows nothing
BIG = 10_000_000  # pixels, as decoded, from which few pictures are decoded at once: one may take 13 bytes a pixel
_turns = threading.BoundedSemaphore(2)
# Pillow's names of the formats that are opened. Others of its formats start programs (EPS) or are
# rarely tested; a file decides nothing beyond these, whatever its name is.
FORMATS = ("JPEG", "PNG", "PPM", "GIF", "BMP", "WEBP", "TIFF", "MPO", "AVIF", "JPEG2000")
# How the bytes of those formats begin, for a look at bytes without Pillow.
BEGINNINGS = re.compile(
    rb"\xff\xd8\xff|\x89PNG\r\n\x1a\n|P[1-6]\s|GIF8[79]a|BM....\x00{4}|RIFF....WEBP|II\x2a\x00|MM\x00\x2a"
    rb"|....ftypavi[fs]|\x00\x00\x00\x0cjP  |\xff\x4f\xff\x51",
    re.DOTALL,
)
RAW = re.compile(rb"P([56]) ([1-9][0-9]{0,7}) ([1-9][0-9]{0,7}) 255\n")  # as `header` writes it
# Format → what stands at the end of a whole file; nothing that a picture's own bytes can hold.
ENDS = {"JPEG": b"\xff\xd9", "PNG": b"IEND\xaeB`\x82", "MPO": b"\xff\xd9"}
PART = 1_000_000  # pixels that are worked on at a time where a picture would be in memory several times
TAIL = 4096  # bytes after which nothing is looked for behind the end: some cameras write there
URL = re.compile(r"data:[^,]*;base64,", re.IGNORECASE)  # RFC 2397
ORIENTATION = 0x0112  # the tag of EXIF 2.32, 4.6.4
# Orientation → how Pillow calls what turns the stored picture upright; from 5 on sides are exchanged.
TURNS = {
    2: "FLIP_LEFT_RIGHT",
    3: "ROTATE_180",
    4: "FLIP_TOP_BOTTOM",
    5: "TRANSPOSE",
    6: "ROTATE_270",
    7: "TRANSVERSE",
    8: "ROTATE_90",
}
Pixels = NDArray[np.uint8]


@dataclass(frozen=True)
class Facts:
    """What the header of a picture says. Width and height are those of the upright picture; `frames` is 2 where
    there are more than one: to count them may take minutes.
    """

    format: str
    mode: str
    width: int
    height: int
    frames: int = 1
    orientation: int = 1


def look(data: bytes) -> Facts:
    """The facts of an encoded picture, from its header; ValueError with the reason if it is none.

    A file whose end is not where its format has it is decoded to see whether it is whole.
    """
    if found := RAW.match(data):
        return _raw(data, found)
    with _opened(data) as image:
        turned = _orientation(image)
        width, height = image.size if turned < 5 else image.size[::-1]
        moving = image.format != "MPO" and getattr(image, "is_animated", False)
        facts = Facts(str(image.format), image.mode, width, height, 2 if moving else 1, turned)
    end = ENDS.get(facts.format)
    if end is None or end not in data[-TAIL:]:
        pixels(data, SMALLEST, SMALLEST, "L")
    return facts


def given(value: Any) -> bytes | None:
    """A picture as bytes, base64 or a data: URL, looked at; None for a missing one. Raises ValueError.

    >>> given("  "), given("data:image/x-portable-graymap;base64,UDUgMiAyIDI1NQoAAAAA")
    (None, b'P5 2 2 255\\n\\x00\\x00\\x00\\x00')
    """
    if value is None or value == "":
        return None
    data = _decoded(value) if isinstance(value, str) else value
    if data is None:
        return None
    if not isinstance(data, (bytes, bytearray, memoryview)):
        raise ValueError(f"no picture but {type(value).__name__}; send bytes or base64")
    found = bytes(data)
    look(found)
    return found


def area(value: Any) -> int:
    """The pixels of a picture as `given` takes it, by its header alone; 0 of what would not be opened.

    >>> area("UDUgMiAyIDI1NQoAAAAA"), area("no picture"), area(None), area(7)
    (4, 0, 0, 0)
    """
    try:
        data = _decoded(value) if isinstance(value, str) else value
        if not isinstance(data, (bytes, bytearray, memoryview)):
            return 0
        if found := RAW.match(data):
            return int(found[2]) * int(found[3])
        with _opened(bytes(data)) as image:
            return int(image.size[0] * image.size[1])
    except ValueError:
        return 0


def _decoded(text: str) -> bytes | None:
    """The bytes of base64 in either alphabet, with or without line ends and padding."""
    core = "".join(URL.sub("", text.lstrip()[:200], count=1).split()) + "".join(text.lstrip()[200:].split())
    if not core:
        return None
    core = core.replace("-", "+").replace("_", "/").rstrip("=")
    try:
        return base64.b64decode(core + "=" * (-len(core) % 4), validate=True)
    except (binascii.Error, ValueError):
        raise ValueError("neither bytes nor base64") from None


def pixels(
    data: bytes, width: int, height: int, mode: str = "RGB", how: str = "squash", part: tuple[float, float] = (1.0, 1.0)
) -> Pixels:
    """The picture upright in a given size: uint8 (height, width, 3), or (height, width, 1) for mode "L".

    `how` is "squash" (both sides to the size) or "crop" (the largest middle part of the wanted
    shape); of what that gives, the middle `part` of its width and height is kept. The first frame
    counts; what is transparent lies on white; 16 bits become 8; CMYK and palettes become `mode`.
    Bilinear, over all pixels that fall into one (antialiased). JPEG is decoded at the smallest of
    its own scales that is not below the size. Raises ValueError.
    """
    whole = part == (1.0, 1.0)
    if whole and (found := RAW.match(data)) and _raw(data, found) == Facts("PPM", mode, width, height):
        return np.frombuffer(data, np.uint8, offset=found.end()).reshape(height, width, -1)
    frame = round(width / part[0]), round(height / part[1])
    with _opened(data) as image:
        stored = _as_stored(frame, _orientation(image))
        image.draft("L" if mode == "L" else "RGB", _covering(image.size, stored))
        with _turns if image.size[0] * image.size[1] > BIG else nullcontext():
            image.load()
            turned = _orientation(image)  # TIFF turns itself while it loads
            plain = _plain(image, mode)
            box = _inner(BOXES[how](plain.size, _as_stored(frame, turned)), _as_stored(part, turned))
            size = _as_stored((width, height), turned)
            if plain.size != size or box != (0, 0, *plain.size):
                plain = plain.resize(size, _pillow().Resampling.BILINEAR, box=box)
        if turned in TURNS:
            plain = plain.transpose(_pillow().Transpose[TURNS[turned]])
        return np.asarray(plain, dtype=np.uint8).reshape(height, width, -1)


def _as_stored(upright: tuple[Any, Any], turned: int) -> tuple[Any, Any]:
    """Across and down, as the picture lies in its file."""
    return upright if turned < 5 else upright[::-1]


def fingerprint(data: bytes) -> int:
    """64 bits that nearly equal pictures share but for a few: is a pixel brighter than its left neighbour,
    on a grey copy of 9 x 8 pixels (the difference hash). Raises ValueError.
    """
    grey = pixels(data, 9, 8, "L")[:, :, 0]
    return int.from_bytes(np.packbits(grey[:, 1:] > grey[:, :-1]).tobytes(), "big")


def thumbnail(data: bytes, side: int = 64) -> str:
    """A small copy as a data: URL, a JPEG whose longer side has at most `side` pixels. Raises ValueError."""
    facts = look(data)
    scale = min(1.0, side / max(facts.width, facts.height))
    small = pixels(data, max(1, round(facts.width * scale)), max(1, round(facts.height * scale)))
    file = io.BytesIO()
    _pillow().fromarray(small).save(file, "JPEG", quality=80)
    return f"data:image/jpeg;base64,{base64.b64encode(file.getvalue()).decode()}"


def encoded(array: Pixels) -> bytes:
    """Raw pixels, uint8 (height, width) or (height, width, 3), as a PGM or PPM file."""
    height, width = array.shape[:2]
    return header(width, height, array.ndim == 3) + array.tobytes()


def header(width: int, height: int, colour: bool = False) -> bytes:
    """What stands before raw pixels in a PGM or PPM file."""
    return b"P%d %d %d 255\n" % (6 if colour else 5, width, height)


def raws(array: Pixels) -> list[bytes]:
    """Many raw pictures of one size, uint8 (n, height, width) or (n, height, width, 3), as PGM or PPM files."""
    count, height, width = array.shape[:3]
    start = np.frombuffer(header(width, height, array.ndim == 4), np.uint8)
    whole = np.concatenate([np.tile(start, (count, 1)), array.reshape(count, -1)], axis=1)
    content, step = whole.tobytes(), whole.shape[1]
    return [content[at : at + step] for at in range(0, len(content), step)]


def begins(data: bytes) -> bool:
    """Whether bytes begin as a picture does; says nothing of the rest, and needs no Pillow."""
    return BEGINNINGS.match(data) is not None


def _raw(data: bytes, found: re.Match[bytes]) -> Facts:
    """The facts of a file that `encoded` made: the same as Pillow's, at a tenth of the time."""
    colour, width, height = found[1] == b"6", int(found[2]), int(found[3])
    _check_size(width, height)
    if len(data) != found.end() + width * height * (3 if colour else 1):
        raise ValueError(f"broken or cut off: {width} x {height} pixels are other than {len(data):,} bytes")
    return Facts("PPM", "RGB" if colour else "L", width, height)


@contextmanager
def _opened(data: bytes) -> Iterator[Image.Image]:
    """A picture whose header was read and is not too large; all that goes wrong is a ValueError."""
    if not data:
        raise ValueError("0 bytes")
    if len(data) > HEAVIEST:
        raise ValueError(f"{len(data):,} bytes: more than the {HEAVIEST // 1_000_000} million that are opened")
    pillow = _pillow()
    try:
        with pillow.open(io.BytesIO(data), formats=_formats()) as image:
            _check_size(*image.size)
            yield image
    except ValueError:
        raise
    except (pillow.DecompressionBombError, pillow.DecompressionBombWarning) as error:
        raise ValueError(f"more than the {LARGEST // 1_000_000} million pixels that are opened") from error
    except pillow.UnidentifiedImageError as error:
        raise ValueError("no picture that can be read") from error
    except Exception as error:  # a decoder met bytes that anybody may have written: any error can come out
        raise ValueError(f"broken or cut off: {error or type(error).__name__}") from error


def _check_size(width: int, height: int) -> None:
    if min(width, height) < SMALLEST:
        raise ValueError(f"{width:,} x {height:,} pixels: fewer than {SMALLEST} a side")
    if width * height > LARGEST:
        limit = f"more than the {LARGEST // 1_000_000} million that are opened"
        raise ValueError(f"{width:,} x {height:,} pixels: {limit}")


def _orientation(image: Image.Image) -> int:
    """EXIF's orientation, 1 to 8. A PNG's is taken only if it stands before the pixels."""
    if image.format == "PNG" and "exif" not in image.info:
        return 1  # Pillow would decode all of it to look behind them
    found = image.getexif().get(ORIENTATION, 1)
    return found if found in TURNS else 1


def _plain(image: Image.Image, mode: str) -> Image.Image:
    """The first frame in `mode`, whatever mode it is stored in."""
    if image.mode in ("I", "F") or image.mode.startswith("I;16"):
        image = _eight_bits(image)
    if image.mode in ("LA", "PA", "RGBA", "La", "RGBa") or "transparency" in image.info:
        image = _on_white(image)
    if image.mode == mode:
        return image
    if image.mode not in ("1", "L", "P", "RGB", "RGBA"):
        image = image.convert("RGB")  # CMYK, LAB and others have no way to grey of their own
    return image if image.mode == mode else image.convert(mode)


def _on_white(image: Image.Image) -> Image.Image:
    """The picture as RGB on white. Part by part: the whole would be in memory four times as RGBA."""
    found: Image.Image = _pillow().new("RGB", image.size)
    width, height = image.size
    step = max(1, PART // width)
    for top in range(0, height, step):
        seen = image.crop((0, top, width, min(height, top + step))).convert("RGBA")
        white = _pillow().new("RGBA", seen.size, "white")
        found.paste(_pillow().alpha_composite(white, seen).convert("RGB"), (0, top))
    return found


def _eight_bits(image: Image.Image) -> Image.Image:
    """Grey of 16 bits divided by 257; numbers of any other range stretched from darkest to brightest.

    Part by part: as float64 the whole would take eight times its memory.
    """
    stored = np.asarray(image).reshape(-1)
    parts = [stored[at : at + PART] for at in range(0, len(stored), PART)]
    ends = [(float(values.min()), float(values.max())) for values in map(_finite, parts)]
    low, high = min(low for low, _ in ends), max(high for _, high in ends)
    stretched = image.mode == "F" or low < 0 or high > 65535
    found = []
    for values in map(_finite, parts):
        if stretched:
            values = (values - low) / max(high - low, 1e-300) * 65535
        found.append(np.rint(values / 257).astype(np.uint8))
    grey: Image.Image = _pillow().fromarray(np.concatenate(found).reshape(image.size[::-1]))
    return grey


def _finite(values: NDArray[Any]) -> NDArray[np.float64]:
    plain = values.astype(np.float64)
    return np.where(np.isfinite(plain), plain, 0.0)


def _covering(size: tuple[int, int], wanted: tuple[int, int]) -> tuple[int, int]:
    """The smallest size of the picture's own shape that covers `wanted`."""
    scale = max(wanted[0] / size[0], wanted[1] / size[1])
    return max(1, round(size[0] * scale)), max(1, round(size[1] * scale))


def _whole(size: tuple[int, int], wanted: tuple[int, int]) -> tuple[float, float, float, float]:
    return (0, 0, *size)


def _middle(size: tuple[int, int], wanted: tuple[int, int]) -> tuple[float, float, float, float]:
    scale = min(size[0] / wanted[0], size[1] / wanted[1])
    width, height = wanted[0] * scale, wanted[1] * scale
    left, top = max(0.0, (size[0] - width) / 2), max(0.0, (size[1] - height) / 2)
    return (left, top, min(size[0], left + width), min(size[1], top + height))


def _inner(box: tuple[float, float, float, float], part: tuple[float, float]) -> tuple[float, float, float, float]:
    """The middle of a box: so much of its width and of its height."""
    left, top, right, bottom = box
    across, down = (right - left) * (1 - part[0]) / 2, (bottom - top) * (1 - part[1]) / 2
    return (left + across, top + down, right - across, bottom - down)


BOXES: dict[str, Callable[[tuple[int, int], tuple[int, int]], tuple[float, float, float, float]]] = {
    "squash": _whole,
    "crop": _middle,
}


@cache
def _formats() -> tuple[str, ...]:
    """FORMATS that this Pillow was built with."""
    pillow = _pillow()
    pillow.init()
    return tuple(name for name in FORMATS if name in pillow.OPEN)


@cache
def _pillow() -> Any:
    try:
        from PIL import Image
    except ModuleNotFoundError as error:
        raise missing(error, "a column of pictures") from error
    return Image
