"""Known words of whole texts, found on their bytes: what `text.words_of` and a dict say, without a Python word.

A text without signs beyond ASCII is scanned as it is; any other is cut into words by `text.cut` first and
joined with blanks. Then every byte from 128 on belongs to a word, and the rules left are those of
ASCII. A word is looked up by its first 16 bytes as two integers, which is exact, as they are compared; the
few longer ones go through a dict.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

from keepfit.features import lookup
from keepfit.features.text import cut, plain

WIDE = 16  # bytes of a word that are looked at as two integers
EIGHT = np.dtype("<u8")  # the first byte is the lowest, on every machine
END = b"\xff"  # closes a text: no UTF-8 has this byte
WORD, MARK = 1, 2
MASKS = np.array([(1 << 8 * min(size, 8)) - 1 for size in range(WIDE + 1)], np.uint64)  # the first bytes of eight
FACTOR = np.uint64(0xD6E8FEB86659FD93)  # odd and without a pattern: mixes the second integer into the first
Ranks = NDArray[np.int32]


def _classes(mark: int) -> bytes:
    """A table for `bytes.translate`: WORD, 0 between words, and `mark` for bytes that are a word each."""
    table = bytearray(256)
    for byte in range(256):
        table[byte] = WORD if byte >= 128 or chr(byte).isalnum() or byte == ord("_") else 0
    for byte in b"!?" + END:
        table[byte] = mark
    return bytes(table)


HERE, BESIDE = _classes(MARK), _classes(0)  # a word begins, or ends, where HERE is more than BESIDE of the neighbour


def encoded(text: str | None) -> bytes:
    """A text ready for the scan: lower case, without tags, closed by END."""
    text = plain(text) if text else ""
    if not text.isascii():
        text = " ".join(cut(text))
    return text.encode("utf-8", "surrogatepass") + END


def scanner(words: Sequence[str]) -> Callable[[Sequence[str | None]], tuple[Ranks, NDArray[np.int64]]] | None:
    """The function from texts to the places of their words in `words` (-1: not there), all in one run.

    A -1 follows each text. Also given: the first place of each text, and at the end the length of the run.
    None where the words cannot be put into a table.

    >>> ranks, starts = scanner(["good", "film", "!"])(["A good film!", None, "Film<br />"])
    >>> ranks.tolist(), starts.tolist()
    ([-1, 0, 1, 2, -1, -1, 1, -1], [0, 5, 6, 8])
    """
    spelled = [word.encode("utf-8", "surrogatepass") for word in words]
    sizes = np.fromiter(map(len, spelled), np.int64, len(spelled))
    places = (sizes <= WIDE).nonzero()[0].astype(np.int32)
    long = {spelled[place]: place for place in (sizes > WIDE).nonzero()[0].tolist()}
    packed = np.array([spelled[place] for place in places.tolist()] or [b""], f"S{WIDE}").view(EIGHT)
    low, high = packed[::2].copy(), packed[1::2].copy()
    places = places if len(places) else np.array([-1], np.int32)
    table = lookup.build(low + high * FACTOR)
    if table is None:
        return None

    def scan(texts: Sequence[str | None]) -> tuple[Ranks, NDArray[np.int64]]:
        parts = [encoded(text) for text in texts]
        raw = parts[0] if len(parts) == 1 else b"".join(parts)
        starts, sizes = _words(raw)
        first, second = _packed(raw, starts, sizes)
        at = lookup.candidates(table, first + second * FACTOR)
        found = places.take(at, mode="clip")
        found[(low.take(at, mode="clip") != first) | (high.take(at, mode="clip") != second)] = -1
        for place in (sizes > WIDE).nonzero()[0].tolist():
            found[place] = long.get(raw[starts[place] : starts[place] + sizes[place]], -1)
        return found, _bounds(starts, parts)

    return scan


def _words(raw: bytes) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Where words begin in `raw`, and how many bytes they have. The last byte is END."""
    here, beside = np.frombuffer(raw.translate(HERE), np.uint8), np.frombuffer(raw.translate(BESIDE), np.uint8)
    edge = np.empty(len(raw), bool)
    edge[0] = here[0] > 0
    np.greater(here[1:], beside[:-1], out=edge[1:])
    starts = edge.nonzero()[0]
    edge[-1] = True
    np.greater(here[:-1], beside[1:], out=edge[:-1])
    return starts, edge.nonzero()[0] - starts + 1


def _packed(raw: bytes, starts: NDArray[np.int64], sizes: NDArray[np.int64]) -> tuple[lookup.Codes, lookup.Codes]:
    """The first and the next eight bytes of each word as integers; bytes after its end count as 0."""
    eights: lookup.Codes = np.ndarray((len(raw) + 8,), EIGHT, raw + bytes(WIDE), 0, (1,))
    first = eights[starts] & MASKS.take(sizes, mode="clip")
    second = np.zeros(len(starts), np.uint64)
    more = (sizes > 8).nonzero()[0]
    second[more] = eights[starts[more] + 8] & MASKS.take(sizes[more] - 8, mode="clip")
    return first, second


def _bounds(starts: NDArray[np.int64], parts: Sequence[bytes]) -> NDArray[np.int64]:
    """The first word of each text, and the number of all words."""
    if len(parts) == 1:
        return np.array((0, len(starts)))
    ends = np.cumsum([0, *map(len, parts)])
    return starts.searchsorted(ends)
