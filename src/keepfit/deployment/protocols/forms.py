"""Rows from bodies that are files: one picture as it is, or a form (multipart/form-data) with files in it.

A form's part belongs to the column of its name; a file of another name to the only column of files.
Several files of one column are several rows, in their order; what is said once is said of all of them:

    curl localhost:8080/predict -F photo=@a.jpg -F photo=@b.jpg -F place=garden

Other protocols bring files as base64 text, by itself or as {"b64": "…"}, as clients of TensorFlow
Serving and Vertex AI do (`plain`). What a value means is not looked at here. RFC 7578 is the form,
RFC 2046 (5.1) its syntax.

>>> from keepfit.types import Column
>>> schema = Schema((Column("photo", "image"), Column("place", "category")), "classification")
>>> body = b'--x\\r\\nContent-Disposition: form-data; name="photo"; filename="a.png"\\r\\n\\r\\nPNG\\r\\n--x--\\r\\n'
>>> rows(body, "multipart/form-data; boundary=x", schema)
[{'photo': b'PNG'}]
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from keepfit.deployment.protocols.shapes import Row, fault, listed, room
from keepfit.errors import RequestError
from keepfit.types import Schema

FILES = frozenset({"image"})  # roles whose values are files
FORM, BYTES = "multipart/form-data", "application/octet-stream"
RAW = re.compile(r"image/[\w.+-]+|application/x-image|application/octet-stream")
PARTS = 1_000  # of a form: rows times columns grow with their square
HEAD = 8 * 1024  # bytes of a part's head
NAME = 200  # characters of a name that an error shows
PARAMETER = re.compile(r';\s*([\w*.-]+)\s*=\s*(?:"((?:[^"\\]|\\.)*)"|([^\s";]*))')
BOUNDARY = re.compile(r"[\w'()+,./:=? -]{0,69}[\w'()+,./:=?-]")
ESCAPES = {"%22": '"', "%0D": "\r", "%0A": "\n"}  # as browsers write them in names, and nothing else
WRAPPED = b'"b64"'  # without which no body holds what `plain` looks for
Value = bytes | str | None


class Part(NamedTuple):
    """A field of a form: text, or with `file` the bytes of a file; None for a file that was not chosen."""

    name: str
    value: Value
    file: bool


def files(schema: Schema) -> list[str]:
    """The columns whose values are files."""
    return [column.name for column in schema.inputs if column.role in FILES]


def rows(body: bytes, content_type: str, schema: Schema) -> list[Row] | None:
    """The rows of a body that is a file or a form; None where its content type says that it is neither.

    Raises RequestError: 400 for a form that is none or does not fit the model, 415 for a file alone
    where the model has other columns as well.
    """
    kind = content_type.partition(";")[0].strip().lower()
    if kind == FORM:
        return _form([*_parts(body, _boundary(content_type))], schema)
    names = files(schema)
    if not RAW.fullmatch(kind) or (kind == BYTES and not names):
        return None
    inputs = [column.name for column in schema.inputs]
    if inputs != names or len(names) != 1:
        told = f"The model needs {listed(inputs)}. Send {FORM} with a part for each, or JSON with base64 text."
        raise RequestError(415, "unknown_content_type", f"'{kind[:80]}' is one value and no row. {told}")
    if not body:
        raise fault("The body is empty. Send the file's bytes.", "no_rows")
    return [{names[0]: body}]


def plain(given: Any, schema: Schema) -> Any:
    """The same with {"b64": text} as the text, where a column of files, or the row of a model of one, is that.

    >>> from keepfit.types import Column
    >>> schema = Schema((Column("photo", "image"),), "classification")
    >>> plain([{"b64": "aGk="}, {"photo": {"b64": "aGk="}}, {"photo": None}], schema)
    [{'photo': 'aGk='}, {'photo': 'aGk='}, {'photo': None}]
    """
    names = files(schema)
    if not names:
        return given
    alone = names[0] if len(schema.inputs) == 1 else ""
    return [_plain(row, names, alone) for row in given]


def _plain(row: Any, names: Sequence[str], alone: str) -> Any:
    if type(row) is not dict:
        return row
    if alone and alone not in row and row.keys() == {"b64"}:
        return {alone: row["b64"]}
    wrapped = {name: row[name]["b64"] for name in names if type(row.get(name)) is dict and row[name].keys() == {"b64"}}
    return {**row, **wrapped} if wrapped else row


# --- forms ----------------------------------------------------------------------------------------


def _boundary(content_type: str) -> bytes:
    found = _parameters(content_type).get("boundary", "")
    if not BOUNDARY.fullmatch(found):
        raise fault(f"The Content-Type {FORM} needs a boundary of 1 to 70 characters.", "bad_form")
    return found.encode()


def _parameters(header: str) -> dict[str, str]:
    r"""The parameters of a header's value.

    >>> _parameters('form-data; name="a \\"b\\""; filename=c.jpg')
    {'name': 'a "b"', 'filename': 'c.jpg'}
    """
    pairs = PARAMETER.findall(header)
    return {name.lower(): re.sub(r"\\(.)", r"\1", quoted) if quoted else plain for name, quoted, plain in pairs}


def _parts(body: bytes, boundary: bytes) -> Iterator[Part]:
    """The parts of a form, in their order. Raises RequestError that names the part."""
    mark, body = b"\r\n--" + boundary, b"\r\n" + body
    count = body.count(mark) - 1
    if count > PARTS:
        raise RequestError(413, "too_many_parts", f"The form has {count:,} parts; it may have {PARTS:,}.")
    pieces = body.split(mark)[1:]  # what stands before the first is for people
    if not pieces or not pieces[-1].startswith(b"--"):
        raise fault("The form is not whole: its last boundary is not there.", "bad_form")
    for place, piece in enumerate(pieces[:-1], 1):
        _, line, rest = piece.partition(b"\r\n")  # blanks may stand behind a boundary
        head, blank, content = (line + rest).partition(b"\r\n\r\n")
        if not blank or len(head) > HEAD:
            raise fault(f"Part {place} of the form has no head of less than {HEAD:,} bytes.", "bad_form")
        yield _part(head, content, place)


def _part(head: bytes, content: bytes, place: int) -> Part:
    fields = [line.partition(":") for line in head.decode("utf-8", "replace").split("\r\n")]
    about = _parameters(next((value for name, _, value in fields if name.lower() == "content-disposition"), ""))
    name = about.get("name")
    if name is None:
        raise fault(f"Part {place} of the form has no name (Content-Disposition: form-data; name=…).", "bad_form")
    for sign, meant in ESCAPES.items():
        name = name.replace(sign, meant)
    if "filename" in about or "filename*" in about:
        return Part(name, content if content or about.get("filename") else None, True)
    try:
        return Part(name, content.decode(), False)
    except UnicodeDecodeError as error:
        told = f"{_told(name, place)} is neither a file (it has no filename) nor UTF-8 text (byte {error.start})."
        raise fault(told, "not_text") from None


def _form(parts: Sequence[Part], schema: Schema) -> list[Row]:
    """The rows of a form. Raises RequestError (400) that names the part."""
    found: dict[str, list[Value]] = {}
    names, known = files(schema), {column.name for column in schema.columns}
    for place, part in enumerate(parts, 1):
        found.setdefault(_column(part, place, names, known), []).append(part.value)
    if not found:
        raise fault(f"The form has no parts. The model needs {listed([c.name for c in schema.inputs])}.", "no_rows")
    room(len(found), schema)
    return _rows(found)


def _column(part: Part, place: int, names: Sequence[str], known: frozenset[str] | set[str]) -> str:
    """The column that a part belongs to."""
    if not part.file or part.name in known:
        return part.name
    if len(names) == 1:
        return names[0]
    told = f"Columns of files: {listed(names)}." if names else "The model has no column of files."
    raise fault(f"{_told(part.name, place)} is a file, and no column is called so. {told}", "unknown_columns")


def _rows(found: Mapping[str, list[Value]]) -> list[Row]:
    """As many rows as the most frequent part; what is there once holds for all of them.

    >>> _rows({"photo": [b"1", b"2"], "place": ["garden"]})
    [{'photo': b'1', 'place': 'garden'}, {'photo': b'2', 'place': 'garden'}]
    """
    count = max(map(len, found.values()))
    odd = {name: len(values) for name, values in found.items() if len(values) not in (1, count)}
    if odd:
        told = "; ".join(f"'{name[:NAME]}' {many:,} times" for name, many in [*odd.items()][:10])
        raise fault(f"The form has {count:,} rows, but {told}: send a part once, for all rows, or for each of them.")
    spread = {name: values * (count if len(values) == 1 else 1) for name, values in found.items()}
    return [dict(zip(spread, row, strict=True)) for row in zip(*spread.values(), strict=True)]


def _told(name: str, place: int) -> str:
    return f"Part {place} of the form, '{name[:NAME]}',"
