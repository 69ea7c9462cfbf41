"""Who is let in: keys, sessions, other sites' pages and other names of this machine."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping
from typing import Any

import pytest

from keepfit.deployment.access import keys
from keepfit.ui.gate import CALLER, COOKIE, UPLOAD, Gate, Sessions

KEYS = keys({"ann": "k-ann", "bob": "k-bob"}, "k-admin")
HTML = {"accept": "text/html"}


async def page(scope: Any, receive: Any, send: Any) -> None:
    """Says who was let in."""
    if scope["type"] == "websocket":
        await send({"type": "websocket.accept"})
        return
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": scope[CALLER].encode()})


class Answer:
    def __init__(self, messages: list[Mapping[str, Any]]) -> None:
        self.first = messages[0]["type"]
        self.status = messages[0].get("status", 0)
        self.headers = {name.decode(): value.decode() for name, value in messages[0].get("headers", ())}
        self.body = b"".join(message.get("body", b"") for message in messages).decode()


def ask(
    gate: Gate, path: str = "/", method: str = "GET", body: bytes = b"", kind: str = "http", **headers: str
) -> Answer:
    sent: list[Mapping[str, Any]] = []
    given = {"host": "127.0.0.1:8081", **{name.replace("_", "-"): value for name, value in headers.items()}}
    raw = [(name.encode(), value.encode()) for name, value in given.items()]
    scope = {"type": kind, "path": path, "method": method, "headers": raw, "scheme": "http"}

    async def receive() -> Mapping[str, Any]:
        return {"type": "http.request", "body": body, "more_body": False}

    async def send(message: Mapping[str, Any]) -> None:
        sent.append(message)

    asyncio.run(gate(scope, receive, send))  # type: ignore[arg-type]
    return Answer(sent)


@pytest.fixture
def gate() -> Gate:
    return Gate(page, KEYS, "shop <b>", alone=False)  # type: ignore[arg-type]


def opened(gate: Gate, key: str = "k-ann") -> Answer:
    return ask(gate, "/login", "POST", f"key={key}".encode(), content_length="10")


def test_without_keys_whoever_is_on_this_machine_is_let_in() -> None:
    alone = Gate(page, keys({}), "shop", alone=True)  # type: ignore[arg-type]
    assert ask(alone).body == "local"
    assert ask(alone, host="localhost:8081").body == "local"
    assert ask(alone, host="[::1]:8081").body == "local"
    told = ask(alone, host="evil.example")  # a name that its owner lets point to 127.0.0.1
    assert (told.status, "Set KEEPFIT_API_KEY to open it" in told.body) == (403, True)


def test_without_a_session_there_is_the_login_and_nothing_else(gate: Gate) -> None:
    sent_on = ask(gate, **HTML)
    assert (sent_on.status, sent_on.headers["location"]) == (303, "login")
    assert ask(gate).status == 401
    assert ask(gate, "/_nicegui/static/x.js").status == 401
    assert ask(gate, kind="websocket").first == "websocket.close"
    door = ask(gate, "/login", **HTML)
    assert door.status == 200
    assert "shop &lt;b&gt;" in door.body


def test_a_key_opens_a_session_of_its_caller(gate: Gate) -> None:
    told = opened(gate, "k-bob")
    cookie = told.headers["set-cookie"]
    assert (told.status, told.headers["location"]) == (303, "./")
    assert "HttpOnly" in cookie
    assert "SameSite=Strict" in cookie
    assert "k-bob" not in cookie
    assert ask(gate, cookie=cookie.partition(";")[0]).body == "bob"
    assert ask(gate, kind="websocket", cookie=cookie.partition(";")[0]).first == "websocket.accept"
    ask(gate, "/logout", "POST", cookie=cookie.partition(";")[0])
    assert ask(gate, cookie=cookie.partition(";")[0]).status == 401


def test_a_wrong_key_waits_and_opens_nothing(gate: Gate) -> None:
    began = time.monotonic()
    told = opened(gate, "k-an")
    assert time.monotonic() - began >= 0.5
    assert (told.status, "set-cookie" in told.headers) == (401, False)
    assert "This is not a key of this server." in told.body
    assert ask(gate, cookie=f"{COOKIE}=guessed").status == 401
    assert ask(gate, cookie='broken="').status == 401


def test_a_key_in_the_headers_is_let_in_as_over_http(gate: Gate) -> None:
    assert ask(gate, x_api_key="k-ann").body == "ann"
    assert ask(gate, authorization="Bearer k-admin").body == "admin"
    assert ask(gate, x_api_key="k-nobody").status == 401


def test_the_pages_of_other_sites_may_not_ask(gate: Gate) -> None:
    cookie = opened(gate).headers["set-cookie"].partition(";")[0]
    assert ask(gate, kind="websocket", cookie=cookie, origin="http://evil.example").first == "websocket.close"
    assert ask(gate, "/up", "POST", cookie=cookie, origin="http://evil.example", content_length="0").status == 403
    assert ask(gate, kind="websocket", cookie=cookie, origin="http://127.0.0.1:8081").first == "websocket.accept"
    behind = {"origin": "https://shop.example", "x_forwarded_host": "shop.example"}
    assert ask(gate, kind="websocket", cookie=cookie, **behind).first == "websocket.accept"


def test_bodies_are_bounded(gate: Gate) -> None:
    assert ask(gate, "/up", "POST", x_api_key="k-ann", content_length=str(UPLOAD + 1)).status == 413
    assert ask(gate, "/up", "POST", x_api_key="k-ann", transfer_encoding="chunked").status == 411
    assert ask(gate, "/up", "POST", x_api_key="k-ann", content_length="3").status == 200


def test_nothing_may_come_from_elsewhere(gate: Gate) -> None:
    for told in (ask(gate, x_api_key="k-ann"), ask(gate, "/login")):
        assert "default-src 'self'" in told.headers["content-security-policy"]
        assert "frame-ancestors 'none'" in told.headers["content-security-policy"]


def test_a_session_ends() -> None:
    sessions = Sessions()
    token = sessions.begin("ann")
    assert sessions.caller(token) == "ann"
    sessions.known[token] = ("ann", time.monotonic() - 1)
    assert sessions.caller(token) is None
    sessions.begin("bob")
    assert token not in sessions.known
