from __future__ import annotations

import pytest

from keepfit.deployment.access import LOCAL, administrator, caller, keys
from keepfit.errors import RequestError

KNOWN = keys({"ann": "key-of-ann", "bob": "key-of-bob", "nobody": ""}, "key-of-admin")


@pytest.mark.parametrize(
    ("headers", "name"),
    [
        ({b"authorization": b"Bearer key-of-ann"}, "ann"),
        ({b"authorization": b"bearer  key-of-bob "}, "bob"),
        ({b"x-api-key": b"key-of-bob"}, "bob"),
        ({b"x-api-key": b"key-of-admin"}, "admin"),
    ],
)
def test_a_key_has_a_name(headers: dict[bytes, bytes], name: str) -> None:
    assert caller(KNOWN, headers) == name


@pytest.mark.parametrize(
    "headers",
    [{}, {b"x-api-key": b""}, {b"x-api-key": b"key-of-an"}, {b"authorization": b"Basic key-of-ann"},
     {b"x-api-key": "schl\u00fcssel".encode()}],
)  # fmt: skip
def test_no_key_and_a_wrong_one_are_refused_alike(headers: dict[bytes, bytes]) -> None:
    with pytest.raises(RequestError, match="send 'Authorization: Bearer KEY'") as fault:
        caller(KNOWN, headers)
    assert fault.value.status == 401


def test_blanks_around_a_key_that_no_header_can_carry_are_none_of_it() -> None:
    known = keys({"ann": " key-of-ann\n", "bob": " \n"}, "\n")
    assert caller(known, {b"x-api-key": b"key-of-ann"}) == "ann"
    assert (list(known.callers), known.admin) == (["ann"], None)
    with pytest.raises(RequestError, match="needs an API key"):
        caller(known, {})


def test_without_keys_everybody_is_local() -> None:
    assert caller(keys({}), {}) == LOCAL


def test_control_needs_the_admin_key_and_is_closed_without_one() -> None:
    administrator(KNOWN, {b"x-api-key": b"key-of-admin"})
    with pytest.raises(RequestError) as fault:
        administrator(KNOWN, {b"x-api-key": b"key-of-ann"})
    assert fault.value.status == 401
    with pytest.raises(RequestError, match="KEEPFIT_ADMIN_KEY") as fault:
        administrator(keys({"ann": "key-of-ann"}), {b"x-api-key": b"key-of-ann"})
    assert fault.value.status == 403


def test_keys_do_not_show_themselves() -> None:
    assert repr(KNOWN) == "Keys(ann, bob)"
