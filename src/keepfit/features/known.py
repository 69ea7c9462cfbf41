"""Which texts training knew: their hashes as one sorted array, kept as a string of JSON.

>>> memory = packed(hashes(["red", "blue"]))
>>> within(hashes(["blue", "green"]), unpacked(memory)).tolist()
[True, False]
"""

from __future__ import annotations

import base64
import zlib
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

Hashes = NDArray[np.uint32]
MOST = 20_000  # texts that are remembered


def hashes(texts: Sequence[str]) -> Hashes:
    """A number for each text, the same everywhere. One of MOST texts takes a new one for known in 1 of 200,000."""
    return np.array([zlib.crc32(text.encode("utf-8", "surrogatepass")) for text in texts], np.uint32)


def within(some: Hashes, known: Hashes) -> NDArray[np.bool_]:
    """Which of `some` are among `known`, which ascend."""
    if not len(known):
        return np.zeros(len(some), bool)
    places = np.minimum(np.searchsorted(known, some), len(known) - 1)
    return np.asarray(known[places] == some)


def packed(numbers: Hashes) -> str:
    """Hashes in ascending order as base64 of little-endian 32-bit numbers."""
    return base64.b64encode(np.sort(numbers).astype("<u4").tobytes()).decode()


def unpacked(text: str) -> Hashes:
    """The hashes that `packed` wrote, ascending."""
    return np.frombuffer(base64.b64decode(text), "<u4").astype(np.uint32)
