"""Who may see the page: a login that asks for an API key, sessions in this process, and no other site's scripts.

An ASGI application around the page. Where keys are set, nothing but the login is answered without a
session (or a key in the headers, as over HTTP); where none is, only this machine is let in by name, so
that no site on the web can reach the page through the visitor's own browser.
"""

from __future__ import annotations

import asyncio
import secrets
import time
from collections.abc import Awaitable, Callable, MutableMapping
from dataclasses import dataclass, field
from html import escape
from http.cookies import CookieError, SimpleCookie
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

from keepfit.deployment import access
from keepfit.deployment.access import Keys
from keepfit.deployment.server import LOOPBACK
from keepfit.errors import RequestError

CALLER = "keepfit.caller"  # in the scope of what is let in
COOKIE = "keepfit_ui"
LASTS = 12 * 3600.0  # seconds of a session
PAUSE = 0.5  # seconds that a wrong key waits
FORM = 4096  # bytes of a login's body
UPLOAD = 64 * 2**20  # bytes of a file
STYLE = Path(__file__).with_name("style.css")
HEADERS = [
    # everything comes from here: the framework's own scripts need eval and inline
    (b"content-security-policy", b"default-src 'self' 'unsafe-inline' 'unsafe-eval' data: blob:; connect-src 'self' "
     b"ws: wss:; frame-ancestors 'none'; form-action 'self'; base-uri 'none'; object-src 'none'"),
    (b"x-content-type-options", b"nosniff"),
    (b"referrer-policy", b"same-origin"),
]  # fmt: skip
Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]


@dataclass
class Sessions:
    """Who is logged in: token → caller and when it ends. Kept in memory, gone with the process."""

    known: dict[str, tuple[str, float]] = field(default_factory=dict)

    def begin(self, caller: str) -> str:
        """A new session's token."""
        now = time.monotonic()
        self.known = {token: told for token, told in self.known.items() if told[1] > now}
        token = secrets.token_urlsafe(32)
        self.known[token] = (caller, now + LASTS)
        return token

    def caller(self, token: str) -> str | None:
        """Whose session it is, while it lasts."""
        name, end = self.known.get(token, ("", 0.0))
        return name if end > time.monotonic() else None

    def end(self, token: str) -> None:
        """Log out."""
        self.known.pop(token, None)


class Gate:
    """The application around the page. `alone`: the server listens on loopback."""

    def __init__(self, app: App, keys: Keys, title: str, alone: bool) -> None:
        self.app, self.keys, self.title, self.alone = app, keys, title, alone
        self.sessions = Sessions()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """ASGI."""
        if scope["type"] not in ("http", "websocket"):
            return await self.app(scope, receive, send)
        headers = {name.lower(): value for name, value in scope["headers"]}
        refused = _foreign(scope, headers, self.alone and not self.keys.callers) or _large(scope, headers)
        if refused:
            return await _answer(scope, send, *refused)
        token = _token(headers)
        if self.keys.callers and scope["type"] == "http" and scope["path"] in ("/login", "/logout"):
            return await self._door(scope, receive, send, token)
        caller = self._caller(headers, token)
        if caller is None:
            if scope["type"] == "http" and scope["method"] == "GET" and b"text/html" in headers.get(b"accept", b""):
                return await _answer(scope, send, 303, b"", [(b"location", b"login")])
            return await _answer(scope, send, 401, b"Log in first: open / in a browser.")
        scope[CALLER] = caller
        await self.app(scope, receive, _with_headers(send))

    def _caller(self, headers: dict[bytes, bytes], token: str) -> str | None:
        found = self.sessions.caller(token)
        if found is not None:
            return found
        try:
            return access.caller(self.keys, headers)
        except RequestError:
            return None

    async def _door(self, scope: Scope, receive: Receive, send: Send, token: str) -> None:
        if scope["path"] == "/logout":
            self.sessions.end(token)
            return await _answer(scope, send, 303, b"", [(b"location", b"login"), _cookie(scope, "", 0)])
        if scope["method"] != "POST":
            return await _answer(scope, send, 200, login(self.title), HTML)
        given = parse_qs(await _body(receive)).get("key", [""])[0]
        try:
            caller = access.caller(self.keys, {b"x-api-key": given.strip().encode()})
        except RequestError:
            await asyncio.sleep(PAUSE)
            return await _answer(scope, send, 401, login(self.title, "This is not a key of this server."), HTML)
        cookie = _cookie(scope, self.sessions.begin(caller), int(LASTS))
        await _answer(scope, send, 303, b"", [(b"location", b"./"), cookie])


HTML = [(b"content-type", b"text/html; charset=utf-8"), (b"cache-control", b"no-store")]


def _foreign(scope: Scope, headers: dict[bytes, bytes], local: bool) -> tuple[int, bytes] | None:
    """What to answer where another site's page asks, or another name than this machine's was used."""
    host = headers.get(b"host", b"").decode("latin-1")
    if local and urlsplit(f"//{host}").hostname not in LOOPBACK:
        told = "This page is for this machine alone, and was asked for by another name. Set KEEPFIT_API_KEY to open it."
        return 403, told.encode()
    origin = headers.get(b"origin", b"").decode("latin-1")
    safe = scope["type"] == "http" and scope["method"] in ("GET", "HEAD")
    own = {host, headers.get(b"x-forwarded-host", b"").decode("latin-1")}
    if origin and not safe and urlsplit(origin).netloc not in own:
        return 403, b"Another site's page may not ask."
    return None


def _large(scope: Scope, headers: dict[bytes, bytes]) -> tuple[int, bytes] | None:
    """What to answer to a body that is too large, or does not say how large it is."""
    if scope["type"] != "http" or scope["method"] in ("GET", "HEAD"):
        return None
    length = headers.get(b"content-length", b"")
    if not length.isdigit():
        return (411, b"Say how long the body is.") if b"transfer-encoding" in headers else None
    return (413, b"The file is too large.") if int(length) > UPLOAD else None


def _token(headers: dict[bytes, bytes]) -> str:
    try:
        found = SimpleCookie(headers.get(b"cookie", b"").decode("latin-1")).get(COOKIE)
    except CookieError:
        return ""
    return found.value if found else ""


def _cookie(scope: Scope, token: str, seconds: int) -> tuple[bytes, bytes]:
    secure = "; Secure" if scope.get("scheme") == "https" else ""
    return b"set-cookie", f"{COOKIE}={token}; Path=/; Max-Age={seconds}; HttpOnly; SameSite=Strict{secure}".encode()


async def _body(receive: Receive) -> str:
    """The beginning of a body: a login is short."""
    parts, more = b"", True
    while more and len(parts) < FORM:
        message = await receive()
        parts += message.get("body", b"")
        more = message.get("more_body", False)
    return parts[:FORM].decode("utf-8", "replace")


async def _answer(
    scope: Scope, send: Send, status: int, body: bytes, headers: list[tuple[bytes, bytes]] | None = None
) -> None:
    if scope["type"] == "websocket":  # closed before it is accepted: 403
        return await send({"type": "websocket.close", "code": 1008})
    kind = headers or [(b"content-type", b"text/plain; charset=utf-8")]
    length = (b"content-length", str(len(body)).encode())
    await send({"type": "http.response.start", "status": status, "headers": [*kind, length, *HEADERS]})
    await send({"type": "http.response.body", "body": body})


def _with_headers(send: Send) -> Send:
    async def sending(message: Message) -> None:
        if message["type"] == "http.response.start":
            message = {**message, "headers": [*message.get("headers", ()), *HEADERS]}
        await send(message)

    return sending


def login(title: str, fault: str = "") -> bytes:
    """The page that asks for a key. It needs no script."""
    told = f"<p class=kf-hint role=alert>{escape(fault)}</p>" if fault else ""
    wrong = " kf-wrong" if fault else ""
    return (
        "<!doctype html><html lang=en><meta charset=utf-8><meta name=viewport content='width=device-width, "
        f"initial-scale=1'><link rel=icon href='data:,'><title>{escape(title)}</title>"
        f"<style>{STYLE.read_text(encoding='utf-8')}</style><body class=kf-login><main><h1>{escape(title)}</h1>"
        "<form method=post action=login><p>This page is open to those who have an API key of the server.</p>"
        f"<div class='kf-field{wrong}'><label for=key>API key</label><div class=kf-box><input id=key name=key "
        f"type=password autocomplete=current-password autofocus required></div>{told}</div>"
        "<button type=submit class=kf-primary>Open</button></form></main></body></html>"
    ).encode()
