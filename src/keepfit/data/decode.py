"""From the bytes of a file to text: compression and encoding, found out and proved before use.

Compression is told by the first bytes, not by the name. A text is UTF-8, or UTF-16/32 with a byte
order mark, or what `data.encoding` says; where nothing is said and it is not UTF-8, it is taken as
Windows-1252 (else Latin-1) and the caller is told. The whole file is looked at once, in blocks, so
that a wrong byte is reported with its place before anything is made of the text.
"""

from __future__ import annotations

import codecs
import hashlib
import io
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

from keepfit.errors import ConfigError, DataError

BLOCK = 1 << 20
COMPRESSIONS = {b"\x1f\x8b": "gzip", b"\x28\xb5\x2f\xfd": "zstd"}
MARKS = {  # the longer ones first: UTF-32's little-endian mark begins with UTF-16's
    codecs.BOM_UTF32_LE: "utf-32",
    codecs.BOM_UTF32_BE: "utf-32",
    codecs.BOM_UTF16_LE: "utf-16",
    codecs.BOM_UTF16_BE: "utf-16",
    codecs.BOM_UTF8: "utf-8-sig",
}
PLAIN = ("ascii", "utf-8", "utf-8-sig")  # what the readers take without transcoding


@dataclass(frozen=True)
class Text:
    """What is known about a text file; `tail` is the last text in it, at most 64 characters."""

    path: Path
    encoding: str
    tail: str
    found: dict[str, str] = field(default_factory=dict)


def sha256(path: Path) -> str:
    """The SHA-256 of a file as it lies on the disk, in hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def unpacked(path: Path) -> Any:
    """The file as a stream of bytes, with gzip or zstd taken off (by pyarrow, which only such files need)."""
    file = path.open("rb")
    start = file.read(4)
    file.seek(0)
    for magic, name in COMPRESSIONS.items():
        if start.startswith(magic):
            import pyarrow as pa

            file.close()
            return pa.input_stream(str(path), compression=name)
    return file


def content(path: Path) -> bytes:
    """The whole file, uncompressed. Raises DataError when the compression is damaged or cut off."""
    try:
        with unpacked(path) as stream:
            return bytes(stream.read())
    except OSError as error:
        raise broken(path, error) from error


def utf8(text: Text) -> Any:
    """The file as a stream of UTF-8 bytes."""
    stream = unpacked(text.path)
    if text.encoding in PLAIN:
        return stream
    import pyarrow as pa

    native = stream if isinstance(stream, pa.NativeFile) else pa.PythonFile(stream, "r")
    return pa.transcoding_input_stream(native, text.encoding, "utf-8")


def characters(text: Text) -> io.TextIOWrapper:
    """The file as a text stream, line ends untouched, without a byte order mark."""
    encoding = "utf-8-sig" if text.encoding in PLAIN else text.encoding
    return io.TextIOWrapper(unpacked(text.path), encoding=encoding, newline="")


def broken(path: Path, error: Exception) -> DataError:
    """The error for a file that cannot be unpacked or read to its end."""
    return DataError(f"{path} cannot be read to its end: {error}. The file is damaged or cut off; get it again.")


def look(path: Path, encoding: str | None = None) -> Text:
    """Finds or proves the encoding of a whole text file.

    Raises DataError for an empty file, for NUL bytes (not text, or UTF-16 without its mark) and for
    a byte that the encoding does not have; ConfigError for an encoding that does not exist.
    """
    try:
        return _look(path, encoding)
    except OSError as error:
        raise broken(path, error) from error


def _look(path: Path, encoding: str | None) -> Text:
    with unpacked(path) as stream:
        start = stream.read(4)
    if not start:
        raise DataError(f"{path} is empty: it has no bytes.")
    if encoding:
        proof = _prove(path, _known(encoding))
        if proof.damage:
            what = f"{path}: data.encoding is {encoding}, but {proof.damage}"
            raise DataError(f"{what}. Correct data.encoding or the file.")
        return Text(path, _known(encoding), proof.tail)
    marked = next((name for mark, name in MARKS.items() if start.startswith(mark)), "utf-8")
    proof = _prove(path, marked)
    if not proof.damage:
        found = {} if marked in PLAIN else {"encoding": f"{marked}, by its byte order mark"}
        return Text(path, marked, proof.tail, found)
    if marked != "utf-8" or proof.foreign:
        raise DataError(
            f"{path} is {marked.removesuffix('-sig')} text with damage: {proof.damage}. "
            "Repair the file, or set data.encoding (for instance cp1252) to read every byte as that."
        )
    return _older(path, proof.damage)


def _older(path: Path, damage: str) -> Text:
    """The text as Windows-1252, or as Latin-1 (which has every byte) where that does not do."""
    name = "cp1252"
    proof = _prove(path, name)
    if proof.damage:
        name = "latin-1"
        proof = _prove(path, name)
    found = {"encoding": f"{name}, taken because {damage}; set data.encoding if it is another"}
    return Text(path, name, proof.tail, found)


def _known(encoding: str) -> str:
    try:
        return codecs.lookup(encoding).name
    except LookupError as error:
        raise ConfigError(
            f"data.encoding: unknown encoding '{encoding}'. Known are for instance utf-8, utf-16, cp1252, latin-1."
        ) from error


class _Proof(NamedTuple):
    damage: str  # the first damage in words, or nothing
    foreign: bool = False  # characters beyond ASCII came before it: the encoding is right, the file is hurt
    tail: str = ""


def _prove(path: Path, encoding: str) -> _Proof:
    """Decodes the whole file, block by block, and keeps nothing of it."""
    decoder = codecs.getincrementaldecoder(encoding)()
    wide = decoder.__module__.startswith(("encodings.utf_16", "encodings.utf_32"))
    offset, lines, foreign, tail = 0, 0, False, ""
    with unpacked(path) as stream:
        while True:
            block = stream.read(BLOCK)
            if not wide:
                _no_nul(path, block, offset, lines)
            pending = len(decoder.getstate()[0])
            try:
                text = decoder.decode(block, not block)
            except UnicodeDecodeError as error:
                foreign = foreign or not error.object[: error.start].isascii()
                return _Proof(_place(error, encoding, offset - pending, lines), foreign)
            if not block:
                return _Proof("", foreign, tail)
            offset, lines = offset + len(block), lines + block.count(b"\n")
            foreign, tail = foreign or not text.isascii(), (tail + text[-64:])[-64:]


def _place(error: UnicodeDecodeError, encoding: str, offset: int, lines: int) -> str:
    line = lines + error.object.count(b"\n", 0, error.start) + 1
    byte = error.object[error.start]
    return f"byte 0x{byte:02x} at offset {offset + error.start} (line {line}) is not {encoding}"


def _no_nul(path: Path, block: bytes, offset: int, lines: int) -> None:
    place = block.find(0)
    if place >= 0:
        line = lines + block.count(b"\n", 0, place) + 1
        raise DataError(
            f"{path} has a NUL byte at offset {offset + place} (line {line}): it is not text, or it is "
            "UTF-16 without a byte order mark (then set data.encoding: utf-16-le)."
        )
