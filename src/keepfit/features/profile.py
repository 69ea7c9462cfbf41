"""What texts are like, in any language: numbers of a document that need no word of it.

Each is a share of the document's characters, spaces left out:

    capitals        letters that are upper case, of all letters
    digits          digits, of all characters
    punctuation     what is neither letter nor digit, of all characters
    other letters   letters beyond ASCII (accented ones, other scripts), of all letters

>>> {name: share.tolist() for name, share in profile(["Ab 1!", "", None, "Ж"]).items()}["digits"]
[0.25, nan, nan, 0.0]
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
NAMES = ("capitals", "digits", "punctuation", "other letters")
LETTER, UPPER, DIGIT, OTHER, SPACE = 1, 2, 4, 8, 16
CHARACTERS = 1 << 20  # that are in memory at once, each as a number


def profile(texts: Sequence[str | None]) -> dict[str, Floats]:
    """The shares (n,) of each text; NaN where there is nothing to have a share of."""
    counted = [_counted(part) for part in _parts(texts)]
    letters, upper, digits, other, marks = np.concatenate(counted or [np.zeros((0, 5))]).T
    every = letters + digits + marks
    with np.errstate(invalid="ignore", divide="ignore"):
        found = (upper / letters, digits / every, marks / every, other / letters)
    return dict(zip(NAMES, found, strict=True))


def _parts(texts: Sequence[str | None]) -> Iterator[list[str]]:
    """The texts in runs of about so many characters."""
    part, size = [], 0
    for text in texts:
        part.append(text or "")
        size += len(part[-1])
        if size > CHARACTERS:
            yield part
            part, size = [], 0
    if part:
        yield part


def _counted(texts: list[str]) -> Floats:
    """Letters, upper-case letters, digits, letters beyond ASCII and marks of each text: (n, 5)."""
    points = np.frombuffer("".join(texts).encode("utf-32-le", "surrogatepass"), np.uint32)
    kinds = _kinds(points)
    ends = np.cumsum([len(text) for text in texts])
    marks = kinds == 0
    counts = []
    for flags in (kinds & LETTER, kinds & UPPER, kinds & DIGIT, kinds & OTHER, marks):
        reached = np.concatenate([[0], np.cumsum(flags != 0)])[np.concatenate([[0], ends])]
        counts.append(np.diff(reached))
    return np.array(counts, np.float64).T


def _kinds(points: NDArray[np.uint32]) -> NDArray[np.uint8]:
    """The flags of each character; 0 is a mark."""
    found = ASCII[np.minimum(points, 128)]
    beyond = np.flatnonzero(points >= 128)
    different, places = np.unique(points[beyond], return_inverse=True)
    found[beyond] = np.array([_kind(chr(point)) for point in different.tolist()], np.uint8)[places]
    return found


def _kind(sign: str) -> int:
    if sign.isspace():
        return SPACE
    if sign.isalpha():
        return LETTER | (UPPER if sign.isupper() else 0) | (0 if sign.isascii() else OTHER)
    return DIGIT if sign.isdigit() else 0


ASCII = np.array([_kind(chr(point)) for point in range(129)], np.uint8)
