"""The control of an input that is a picture: a place to drop it, and what the server made of it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any, NamedTuple

from nicegui.elements.upload import Upload
from nicegui.events import UploadEventArguments

from keepfit.data import pictures

MOST = 16 * 2**20  # bytes of a file; as serving.max_body_mb has it by default
SIDE = 320  # pixels of what is shown
ACCEPT = "image/*,.tif,.tiff,.pgm,.ppm,.jp2,.avif"
HINT = f"JPEG, PNG, WebP, TIFF and others, up to {MOST // 2**20} MB"


class Shown(NamedTuple):
    """What the page shows of a file: a small picture, its facts in words, or what is wrong with it."""

    picture: str = ""
    told: str = ""
    problem: str = ""


class Picture(Upload, component="picture.js"):
    """The control of a picture. Its value is the file's bytes; None is unknown."""

    def __init__(self, name: str, kind: str, value: bytes | None, **props: Any) -> None:
        super().__init__(on_upload=self._taken, auto_upload=True, max_file_size=MOST)
        self._props.update({"label": name, "kind": kind, "control": f"{self.html_id}-control"})
        self._props.update({"accept": ACCEPT, "hint": HINT, "most": MOST, **props})
        self.taken: Callable[[], Any] | None = None  # called when a visitor has chosen a file
        self.on("empty", lambda: self._show(None, Shown()))
        self.value = value

    @property
    def value(self) -> bytes | None:
        """The file's bytes."""
        return self._value

    @value.setter
    def value(self, data: bytes | None) -> None:
        self._show(data, shown(data))

    def fault(self, problem: str | None) -> None:
        """Tell what is wrong with the picture, beside it; None: nothing."""
        if self._props.get("problem") != (problem or ""):
            self._props["problem"] = problem or ""

    def _show(self, data: bytes | None, told: Shown) -> None:
        self._value = data
        self._props.update(told._asdict())

    async def _taken(self, event: UploadEventArguments) -> None:
        data = await event.file.read()
        told = await asyncio.to_thread(shown, data)
        self._show(data, told)
        if self.taken:
            await self.taken()


def shown(data: bytes | None) -> Shown:
    """What is shown of a file.

    >>> import numpy as np
    >>> shown(pictures.encoded(np.zeros((20, 30), np.uint8))).told, shown(b"no picture").problem
    ('PPM, 30 × 20 pixels', 'No picture that can be read.')
    """
    if data is None:
        return Shown()
    try:
        facts = pictures.look(data)
        told = f"{facts.format}, {facts.width:,} × {facts.height:,} pixels"
        return Shown(pictures.thumbnail(data, SIDE), told)
    except ValueError as error:
        return Shown(problem=f"{str(error)[:1].upper()}{str(error)[1:]}.")
