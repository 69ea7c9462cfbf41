"""What of an ONNX file `deployment.tree_tables` needs, read without the packages onnx and onnxruntime.

An ONNX file is a protocol buffer (https://protobuf.dev/programming-guides/encoding/) of the message
types in onnx.proto. `read` gives nodes and constants of graphs that keepfit wrote for trees. It takes
no other form of the same content: ValueError then, and onnxruntime is to open the file.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

# numbers of onnx.proto: fields of a message, types of an attribute, types of a tensor's elements
GRAPH, NODE, INITIALIZER, INPUT = 7, 1, 5, 11
NODE_INPUT, NODE_OUTPUT, NODE_KIND, NODE_ATTRIBUTE = 1, 2, 4, 5
NAME, INTEGER, TENSOR = 1, 3, 5
INTS_TAG = 8 << 3
TENSOR_DIMS, TENSOR_TYPE, TENSOR_NAME, TENSOR_RAW = 1, 2, 8, 9
TYPES = {1: "<f4", 2: "u1", 7: "<i8", 11: "<f8"}
READ = frozenset(("TreeEnsemble",))  # kinds of nodes whose attributes are read
VARINT, EIGHT, LENGTH, FOUR = 0, 1, 2, 5  # wire types


class Node(NamedTuple):
    """An operation: arrays or a number by name of attribute, for the kinds in READ."""

    kind: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    attributes: Mapping[str, Any]


class Graph(NamedTuple):
    """Operations in order, constants by name, and the width of the input matrix."""

    nodes: tuple[Node, ...]
    constants: Mapping[str, NDArray[Any]]
    width: int


def read(path: Path) -> Graph:
    """The graph of a file. Raises ValueError for what is no ONNX file, or has parts that are not known here."""
    try:
        graph = _only(memoryview(path.read_bytes()), GRAPH)
        nodes, constants, width = [], {}, 0
        for number, value in _fields(graph):
            if number == NODE:
                nodes.append(_node(value))
            elif number == INITIALIZER:
                constants[str(_text(_only(value, TENSOR_NAME)))] = _tensor(value)
            elif number == INPUT:
                width = _width(value)
    except (IndexError, KeyError, TypeError, UnicodeDecodeError) as error:
        raise ValueError(f"{path} is not of the form that is read here: {error}") from error
    return Graph(tuple(nodes), constants, width)


def _fields(data: memoryview) -> Iterator[tuple[int, Any]]:
    """Number and value of each field: an int, or the bytes of a text, message or fixed number."""
    at, end = 0, len(data)
    while at < end:
        tag, at = _varint(data, at)
        kind = tag & 7
        if kind == VARINT:
            value, at = _varint(data, at)
            yield tag >> 3, value
            continue
        if kind not in (LENGTH, EIGHT, FOUR):
            raise ValueError(f"wire type {kind}")
        size = 8 if kind == EIGHT else 4
        if kind == LENGTH:
            size, at = _varint(data, at)
        if at + size > end:
            raise ValueError("a field is cut off")
        yield tag >> 3, data[at : at + size]
        at += size


def _varint(data: memoryview, at: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        byte = data[at]
        at += 1
        value |= (byte & 127) << shift
        if byte < 128:
            return value, at
        shift += 7


def varints(data: Any) -> NDArray[np.int64]:
    """All the numbers of a run of varints.

    >>> varints(bytes([5, 0xAC, 0x02])).tolist()
    [5, 300]
    """
    octets = np.frombuffer(data, np.uint8)
    ends = np.flatnonzero(octets < 128)
    if not len(octets) or ends[-1] != len(octets) - 1:
        raise ValueError("no run of whole numbers")
    starts = np.append(0, ends[:-1] + 1)
    place = np.arange(len(octets)) - np.repeat(starts, ends - starts + 1)
    if place.max() > 8:
        raise ValueError("a number of more than 63 bits")
    return np.asarray(np.add.reduceat((octets & 127).astype(np.int64) << (7 * place), starts))


def _only(data: Any, wanted: int) -> Any:
    return next((value for number, value in _fields(data) if number == wanted), None)


def _text(data: Any) -> str:
    return bytes(data).decode()


def _node(data: memoryview) -> Node:
    inputs, outputs, kind, attributes = [], [], "", {}
    for number, value in _fields(data):
        if number == NODE_INPUT:
            inputs.append(_text(value))
        elif number == NODE_OUTPUT:
            outputs.append(_text(value))
        elif number == NODE_KIND:
            kind = _text(value)
        elif number == NODE_ATTRIBUTE and kind in READ:
            name, found = _attribute(value)
            attributes[name] = found
    return Node(kind, tuple(inputs), tuple(outputs), attributes)


def _attribute(data: memoryview) -> tuple[str, Any]:
    """Name and value. A list of integers is a run of pairs, tag and number; thousands of them are read at once."""
    if data[0] != NAME << 3 | LENGTH:
        raise ValueError("an attribute without a name")
    size, at = _varint(data, 1)
    name, rest = _text(data[at : at + size]), data[at + size :]
    if rest[0] == INTS_TAG:
        numbers = varints(rest)
        return name, numbers[1::2][numbers[::2] == INTS_TAG]
    for number, value in _fields(rest):
        if number == INTEGER:
            return name, value
        if number == TENSOR:
            return name, _tensor(value)
    return name, None  # of another type: nothing here asks for it


def _tensor(data: memoryview) -> NDArray[Any]:
    shape, kind, raw = [], 0, b""
    for number, value in _fields(data):
        if number == TENSOR_DIMS:
            shape.append(int(value))
        elif number == TENSOR_TYPE:
            kind = value
        elif number == TENSOR_RAW:
            raw = value
    return np.frombuffer(raw, TYPES[kind]).reshape(shape)


def _width(data: memoryview) -> int:
    """The last dimension of an input: ValueInfo.type (2), tensor_type (1), shape (2), dim (1), dim_value (1)."""
    shape = _only(_only(_only(data, 2), 1), 2)
    return int(_only([value for number, value in _fields(shape) if number == 1][-1], 1))
