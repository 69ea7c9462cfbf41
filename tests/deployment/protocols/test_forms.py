"""Bodies that are files: a picture as it is, forms, base64 objects, BYTES tensors."""

from __future__ import annotations

import base64
import json
import subprocess

import pytest
import requests as http
from hypothesis import given, settings
from hypothesis import strategies as st

from keepfit.deployment.protocols import PROTOCOLS, forms, native, scoring, tensors, v2, vertex
from keepfit.errors import RequestError
from keepfit.extras import load
from keepfit.types import Column, Schema

PHOTO = Schema((Column("photo", "image"), Column("y", "target")), "classification", "y", ("no", "yes"))
MIXED = Schema((Column("photo", "image"), Column("age", "number"), Column("y", "target")), "regression", "y")
PAIR = Schema((Column("front", "image"), Column("back", "image")), "regression")
TABLE = Schema((Column("age", "number"),), "regression")
JPEG = b"\xff\xd8\xff\x00\r\n--x\x80"
TEXT = base64.b64encode(JPEG).decode()


def form(*parts, boundary="~~b~~"):
    """A form as `requests` writes it, and its content type. A part is (name, value) or (name, (filename, bytes))."""
    files = [(name, value if isinstance(value, tuple) else (None, value)) for name, value in parts]
    made = http.Request("POST", "http://here/", files=files).prepare()
    return made.body, made.headers["Content-Type"]


def test_files_are_rows_and_what_is_said_once_is_said_of_all():
    body, kind = form(("photo", ("a.jpg", JPEG)), ("age", "41"), ("photo", ("b.jpg", b"B")))
    assert forms.rows(body, kind, MIXED) == [{"photo": JPEG, "age": "41"}, {"photo": b"B", "age": "41"}]
    body, kind = form(("photo", ("a", b"A")), ("photo", ("b", b"B")), ("age", "1"), ("age", "2"))
    assert forms.rows(body, kind, MIXED) == [{"photo": b"A", "age": "1"}, {"photo": b"B", "age": "2"}]


def test_a_file_of_another_name_is_the_only_column_of_files():
    body, kind = form(("file", ('ü "x".png', JPEG)))
    assert forms.rows(body, kind, PHOTO) == [{"photo": JPEG}]
    body, kind = form(("photo", TEXT))  # base64, and no file
    assert forms.rows(body, kind, PHOTO) == [{"photo": TEXT}]


def test_a_file_that_was_not_chosen_is_unknown_and_an_empty_one_is_empty():
    head = b'--x\r\nContent-Disposition: form-data; name="photo"; filename=""\r\n\r\n\r\n--x--'
    assert forms.rows(head, "multipart/form-data; boundary=x", PHOTO) == [{"photo": None}]
    body, kind = form(("photo", ("a.jpg", b"")))
    assert forms.rows(body, kind, PHOTO) == [{"photo": b""}]


@pytest.mark.parametrize(
    ("parts", "schema", "code", "told"),
    [
        ([("file", ("a", b"A"))], PAIR, "unknown_columns", "Part 1 of the form, 'file', is a file.* front, back"),
        ([("file", ("a", b"A"))], TABLE, "unknown_columns", "The model has no column of files"),
        ([("photo", ("a", b"A"))] * 3 + [("age", "1"), ("age", "2")], MIXED, "bad_shape", "3 rows, but 'age' 2 times"),
        ([("photo", ("a", b"A"))] * 1001, PHOTO, "too_many_parts", "1,001 parts; it may have 1,000"),
    ],
)
def test_forms_that_do_not_fit(parts, schema, code, told):
    body, kind = form(*parts)
    with pytest.raises(RequestError, match=told) as found:
        forms.rows(body, kind, schema)
    assert found.value.code == code


@pytest.mark.parametrize(
    ("body", "kind", "told"),
    [
        (b"", "multipart/form-data", "needs a boundary"),
        (b"", "multipart/form-data; boundary=" + "x" * 71, "needs a boundary"),
        (b"", "multipart/form-data; boundary=x", "not whole"),
        (b'--x\r\nContent-Disposition: form-data; name="a"\r\n\r\n1\r\n', "multipart/form-data; boundary=x", "whole"),
        (b"--x\r\nno head\r\n--x--", "multipart/form-data; boundary=x", "Part 1 of the form has no head"),
        (b"--x\r\nA: " + b"b" * 9000 + b"\r\n\r\n1\r\n--x--", "multipart/form-data; boundary=x", "than 8,192 bytes"),
        (b"--x\r\nA: b\r\n\r\n1\r\n--x--", "multipart/form-data; boundary=x", "Part 1 of the form has no name"),
        (b"--x--", "multipart/form-data; boundary=x", "no parts. The model needs photo"),
        (b'--x\r\nContent-Disposition: form-data; name="n"\r\n\r\n\xff\r\n--x--', "multipart/form-data; boundary=x",
         "Part 1 of the form, 'n', is neither a file"),
        (b"", "image/jpeg", "The body is empty"),
    ],
)  # fmt: skip
def test_what_is_no_form(body, kind, told):
    with pytest.raises(RequestError, match=told) as found:
        forms.rows(body, kind, PHOTO)
    assert found.value.status == 400


@pytest.mark.parametrize(
    "kind", ["image/jpeg", "image/svg+xml; a=b", "application/x-image", "application/octet-stream"]
)
@pytest.mark.parametrize("decode", [native.decode, scoring.decode])
def test_a_file_alone_is_one_row_of_a_model_that_needs_nothing_else(decode, kind):
    assert decode(JPEG, {"content-type": kind}, PHOTO).rows == [{"photo": JPEG}]
    with pytest.raises(RequestError, match=r"needs photo, age\. Send multipart/form-data") as found:
        decode(JPEG, {"content-type": kind}, MIXED)
    assert found.value.status == 415


@pytest.mark.parametrize("decode", [native.decode, scoring.decode])
def test_forms_in_both_protocols(decode):
    body, kind = form(("photo", ("a.jpg", JPEG)), ("age", ""))
    assert decode(body, {"content-type": kind}, MIXED).rows == [{"photo": JPEG, "age": ""}]


def test_other_models_are_asked_as_before():
    with pytest.raises(RequestError) as found:
        native.decode(b"PAR1", {"content-type": "application/octet-stream"}, TABLE)
    assert found.value.code == "not_json"
    assert [*native.decode(b'{"age": {"b64": "x"}}', {}, TABLE).rows] == [{"age": {"b64": "x"}}]
    assert forms.plain([{"age": {"b64": "x"}}], TABLE) == [{"age": {"b64": "x"}}]


@pytest.mark.parametrize(
    "instances",
    [
        [{"b64": TEXT}],
        [{"photo": {"b64": TEXT}}],
        [[{"b64": TEXT}]],
        [{"photo": TEXT}],
        [TEXT],
    ],
)
def test_base64_as_clients_of_tensorflow_and_vertex_write_it(instances):
    body = json.dumps({"instances": instances}).encode()
    assert vertex.decode(body, {}, PHOTO).rows == [{"photo": TEXT}]
    assert scoring.decode(body, {"content-type": "application/json"}, PHOTO).rows == [{"photo": TEXT}]


def test_base64_objects_in_keepfits_own_protocol():
    many = [{"photo": {"b64": TEXT * 200}, "age": n} for n in range(5)]  # long enough to be read as a table
    found = native.decode(json.dumps(many).encode(), {}, MIXED).rows
    assert [*found] == [{"photo": TEXT * 200, "age": n} for n in range(5)]
    assert [*native.decode(json.dumps({"b64": TEXT}).encode(), {}, PHOTO).rows] == [{"photo": TEXT}]


def test_tensors_of_bytes():
    raw = b"".join(tensors.LENGTH.pack(len(one)) + one for one in (JPEG, b"B"))
    head = {"inputs": [
        {"name": "photo", "shape": [2], "datatype": "BYTES", "parameters": {"binary_data_size": len(raw)}},
        {"name": "age", "shape": [2], "datatype": "FP64", "data": [1, 2]},
    ]}  # fmt: skip
    text = json.dumps(head).encode()
    asked = v2.decode(text + raw, {v2.HEADER: str(len(text))}, MIXED)
    assert asked.rows == [{"photo": JPEG, "age": 1}, {"photo": b"B", "age": 2}]
    head = {"inputs": [{"name": "photo", "shape": [1, 1], "datatype": "BYTES", "data": [[TEXT]]}]}
    assert v2.decode(json.dumps(head).encode(), {}, PHOTO).rows == [{"photo": TEXT}]
    other = Schema((Column("note", "text"),), "regression")
    text = json.dumps({"inputs": [{"name": "note", "shape": [2], "datatype": "BYTES",
                                   "parameters": {"binary_data_size": len(raw)}}]}).encode()  # fmt: skip
    with pytest.raises(RequestError, match="element 0 is not UTF-8 text"):
        v2.decode(text + raw, {v2.HEADER: str(len(text))}, other)


def test_a_form_of_curls(tmp_path):
    """What curl itself sends, caught by a listener; browsers are asked by the tests of the page."""
    import socket
    import threading

    (tmp_path / "a.jpg").write_bytes(JPEG)
    caught = bytearray()
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def once() -> None:
            connection, _ = listener.accept()
            with connection:
                connection.settimeout(10)
                while not caught.rstrip().endswith(b"--"):
                    caught.extend(connection.recv(65536))
                connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")

        thread = threading.Thread(target=once)
        thread.start()
        url = f"http://127.0.0.1:{listener.getsockname()[1]}/"
        command = [
            "curl",
            "-s",
            "-H",
            "Expect:",
            url,
            "-F",
            f'photo=@{tmp_path}/a.jpg;filename=b "c".jpg',
            "-F",
            "age=4 ü",
        ]
        try:
            subprocess.run(command, check=True, timeout=20)
        except FileNotFoundError:
            socket.create_connection(listener.getsockname()).close()
            thread.join()
            pytest.skip("no curl here")
        thread.join()
    head, _, body = bytes(caught).partition(b"\r\n\r\n")
    kind = next(line for line in head.decode().split("\r\n") if line.lower().startswith("content-type"))
    assert forms.rows(body, kind.partition(": ")[2], MIXED) == [{"photo": JPEG, "age": "4 ü"}]


@pytest.mark.parametrize("name", PROTOCOLS)
@given(
    body=st.lists(
        st.sampled_from(
            [b"--x", b"--", b"\r\n", b'Content-Disposition: form-data; name="photo"', b'; filename="a"', JPEG]
        )
        | st.binary(max_size=20),
        max_size=30,
    ).map(b"".join),
    kind=st.sampled_from(["multipart/form-data; boundary=x", "image/png", "application/octet-stream"]),
)
@settings(max_examples=150)
def test_nothing_but_a_request_error(name, body, kind):
    for schema in (PHOTO, MIXED, PAIR, TABLE):
        rows, status = outcome(load(PROTOCOLS[name], "the protocol"), body, kind, schema)
        assert rows or 400 <= status < 500


def outcome(protocol, body, kind, schema):
    """How many rows a body has, or the status of its fault."""
    try:
        return len(protocol.decode(body, {"content-type": kind}, schema).rows), 0
    except RequestError as fault:
        return 0, fault.status
