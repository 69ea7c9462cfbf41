"""Tensors of the Open Inference Protocol as lists of plain values, and back.

A tensor of a request is a JSON object with name, shape, datatype and either `data`, flat or nested, or
`parameters.binary_data_size` bytes after the JSON part. Raises RequestError (400) for everything that is
not exactly that. `null` in `data` is a missing value, as are NaN and, for categories and texts, "".
"""

from __future__ import annotations

import math
import struct
from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import islice
from typing import Any, NamedTuple

import numpy as np

from keepfit.deployment.protocols.shapes import fault
from keepfit.errors import RequestError

# datatype → numpy's, little-endian as the wire is
NUMPY: Mapping[str, str] = {
    "BOOL": "|u1", "UINT8": "|u1", "UINT16": "<u2", "UINT32": "<u4", "UINT64": "<u8",
    "INT8": "|i1", "INT16": "<i2", "INT32": "<i4", "INT64": "<i8",
    "FP16": "<f2", "FP32": "<f4", "FP64": "<f8", "BF16": "<u2",
}  # fmt: skip
KNOWN = (*NUMPY, "BYTES")
# kinds of JSON values that elements of a datatype are; INT and UINT have whole numbers only
KINDS: Mapping[str, frozenset[type]] = {
    "BOOL": frozenset({type(None), bool}),
    "BYTES": frozenset({type(None), str}),
    **dict.fromkeys(("FP16", "FP32", "FP64", "BF16"), frozenset({type(None), int, float})),
}
WHOLE: frozenset[type] = frozenset({type(None), int})
LENGTH = struct.Struct("<I")


class Tensor(NamedTuple):
    """A column, or a matrix row by row: `values` has the elements in order."""

    name: str
    shape: tuple[int, ...]
    values: list[Any]


def read(given: Any, take: Callable[[int, str], bytes], files: Sequence[str] = ()) -> Tensor:
    """One tensor. `take` gives the next so many bytes of the binary part, for the tensor of that name.

    Binary elements of the tensors named in `files` stay bytes; those of others are text.
    """
    name, datatype, shape = _head(given)
    count = math.prod(shape)
    parameters = given.get("parameters") or {}
    if type(parameters) is not dict:
        raise fault(f"input '{name}': 'parameters' must be an object.")
    if "shared_memory_region" in parameters:
        raise fault(f"input '{name}': shared memory is not supported; send the data.", "no_shared_memory")
    size = parameters.get("binary_data_size")
    if size is not None:
        if type(size) is not int or size < 0:
            raise fault(f"input '{name}': 'binary_data_size' must be a number of bytes, 0 or more.")
        raw = take(size, name)
        if datatype == "BYTES":
            return Tensor(name, shape, (_elements if name in files else _texts)(raw, count, name))
        return Tensor(name, shape, _unpacked(raw, datatype, count, name))
    if "data" not in given:
        raise fault(f"input '{name}' has neither 'data' nor a 'binary_data_size'.")
    return Tensor(name, shape, _plain(given["data"], datatype, shape, count, name))


def _head(given: Any) -> tuple[str, str, tuple[int, ...]]:
    if type(given) is not dict or type(given.get("name")) is not str:
        raise fault("Each input must be an object with 'name', 'shape', 'datatype' and 'data'.")
    name, datatype, shape = given["name"], given.get("datatype"), given.get("shape")
    if datatype not in KNOWN:
        raise fault(f"input '{name}': the datatype must be one of {', '.join(KNOWN)}.", "unknown_datatype")
    if type(shape) is not list or not all(type(side) is int and side >= 0 for side in shape):
        raise fault(f"input '{name}': 'shape' must be a list of whole numbers, 0 or more.")
    if len(shape) not in (1, 2):
        raise fault(f"input '{name}': the shape must be [rows] or [rows, 1], not {len(shape)} dimensions.")
    return name, datatype, tuple(shape)


def _plain(data: Any, datatype: str, shape: tuple[int, ...], count: int, name: str) -> list[Any]:
    """The elements of `data`, checked."""
    if type(data) is not list:
        raise fault(f"input '{name}': 'data' must be a list.")
    flat = data
    if len(shape) == 2 and data and type(data[0]) is list:
        if not all(type(row) is list and len(row) == shape[1] for row in data):
            raise fault(f"input '{name}': each row of 'data' must be a list of {shape[1]:,} values.")
        flat = [value for row in data for value in row]
    if len(flat) != count:
        raise fault(f"input '{name}': 'data' has {len(flat):,} elements, its shape {list(shape)} says {count:,}.")
    kinds = KINDS.get(datatype, WHOLE)
    if not kinds.issuperset(map(type, flat)):
        place = next(k for k, value in enumerate(flat) if type(value) not in kinds)
        raise fault(f"input '{name}': element {place} of 'data' is no {datatype}.", "wrong_datatype")
    if "INT" in datatype:
        _fits(flat, datatype, name)
    return flat


def _fits(flat: Sequence[Any], datatype: str, name: str) -> None:
    limits = np.iinfo(NUMPY[datatype])
    low, high = int(limits.min), int(limits.max)
    for place, value in enumerate(flat):
        if value is not None and not low <= value <= high:
            raise fault(f"input '{name}': element {place} of 'data' does not fit {datatype}.", "wrong_datatype")


def _unpacked(raw: bytes, datatype: str, count: int, name: str) -> list[Any]:
    """The numbers of a binary tensor."""
    width = np.dtype(NUMPY[datatype]).itemsize
    if len(raw) != count * width:
        raise fault(
            f"input '{name}': {count:,} elements of {datatype} are {count * width:,} bytes, "
            f"'binary_data_size' says {len(raw):,}."
        )
    found = np.frombuffer(raw, NUMPY[datatype])
    if datatype == "BOOL":
        found = found != 0
    elif datatype == "BF16":  # the upper half of a float32
        found = (found.astype(np.uint32) << 16).view(np.float32)
    values: list[Any] = found.tolist()
    return values


def _texts(raw: bytes, count: int, name: str) -> list[str]:
    """Texts that each have their length before them, in 4 bytes."""
    found: list[str] = []
    try:
        for piece in _elements(raw, count, name):
            found.append(piece.decode())
    except UnicodeDecodeError as error:
        told = f"element {len(found)} is not UTF-8 text (byte {error.start})"
        raise fault(f"input '{name}': {told}.", "not_text") from None
    return found


def _elements(raw: bytes, count: int, name: str) -> list[bytes]:
    """The bytes of so many elements, which each have their length before them."""
    found = [*islice(_pieces(raw, name), count + 1)]
    if len(found) != count:
        many = f"{len(found):,}" if len(found) < count else f"more than {count:,}"
        raise fault(f"input '{name}': the binary data has {many} elements, its shape says {count:,}.")
    return found


def _pieces(raw: bytes, name: str) -> Iterator[bytes]:
    start = 0
    while start < len(raw):
        end = start + LENGTH.size
        if end <= len(raw):
            (length,) = LENGTH.unpack_from(raw, start)
            start, end = end, end + length
        if end > len(raw):
            raise fault(f"input '{name}': an element is longer than the binary data that is left.")
        yield raw[start:end]
        start = end


def packed(values: Sequence[Any], datatype: str) -> bytes:
    """The elements of an output as bytes.

    >>> packed(["a", "ö"], "BYTES")
    b'\\x01\\x00\\x00\\x00a\\x02\\x00\\x00\\x00\\xc3\\xb6'
    """
    if datatype == "BYTES":
        texts = [str(value).encode() for value in values]
        return b"".join(part for text in texts for part in (LENGTH.pack(len(text)), text))
    return np.asarray(values, NUMPY[datatype]).tobytes()


def parts(body: bytes, header: str | None) -> tuple[bytes, Callable[[int, str], bytes], Callable[[], None]]:
    """The JSON part of a body; the function that takes of the binary part; and one that raises if any is left.

    `header` is the text of Inference-Header-Content-Length, the length of the JSON part.
    """
    if header is None:
        end = len(body)
    elif header.isascii() and header.isdigit() and len(header) < 12 and int(header) <= len(body):
        end = int(header)
    else:
        raise fault(f"Inference-Header-Content-Length must be a number of bytes up to {len(body):,}.", "bad_header")
    at = end

    def take(size: int, name: str) -> bytes:
        nonlocal at
        left = len(body) - at
        if size > left:
            raise _lies(name, size, left)
        at += size
        return body[at - size : at]

    def done() -> None:
        if at < len(body):
            raise fault(f"{len(body) - at:,} bytes of binary data belong to no input.")

    return body[:end], take, done


def _lies(name: str, size: int, left: int) -> RequestError:
    return fault(f"input '{name}': 'binary_data_size' is {size:,}, but {left:,} bytes of binary data are left.")
