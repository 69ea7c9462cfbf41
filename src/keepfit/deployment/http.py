"""HTTP/1.1 on asyncio: the bytes of a connection as requests, answers as bytes.

httptools parses; this file keeps connections in order. A connection's requests are answered one
after the other, in the order they came (pipelining), however long each takes. What is too large, too
slow or no HTTP is refused here, before anything reads it. An application is

    app(request, send)          `send(response)` is called once, now or later, in the loop's thread

so that one that gathers requests into a batch needs no task and no future for each of them.
"""

from __future__ import annotations

import asyncio
import itertools
import os
import time
import zlib
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from email.utils import formatdate
from http import HTTPStatus
from typing import Any, NamedTuple, cast

import httptools

from keepfit.errors import RequestError

IDLE = 75.0  # seconds a connection may rest between two requests
LINGER = 2.0  # seconds in which a client that is still sending may read why it was refused
PIPELINED = 32  # requests of one connection that may wait for their turn
HEADERS = 64 * 1024  # bytes of a request's head
LARGE = 64 * 1024  # bytes of a body; of larger ones only so many are taken in at a time
TOGETHER = 8  # times the largest body: what large bodies may have in memory, over all connections
REQUEST_ID = b"x-request-id"
JSON = "application/json"


class Request:
    """One request, whole. Header names are in lower case."""

    __slots__ = ("began", "body", "headers", "id", "keep", "method", "path", "query")

    def __init__(self, method: str, url: bytes, headers: dict[bytes, bytes], body: bytes, keep: bool, key: str) -> None:
        path, _, query = url.partition(b"?")
        self.method, self.path, self.query = method, path.decode("latin-1"), query.decode("latin-1")
        self.headers, self.body, self.keep, self.id = headers, body, keep, key
        self.began = time.perf_counter()

    def header(self, name: bytes) -> str:
        """A header's text; empty where it is not there."""
        return self.headers.get(name, b"").decode("latin-1")


class Response(NamedTuple):
    """An answer. `headers` come on top of those that every answer has."""

    status: int
    body: bytes
    content_type: str = JSON
    headers: Mapping[str, str] = {}


Send = Callable[[Response], None]
App = Callable[[Request, Send], None]


@dataclass(frozen=True)
class Limits:
    """What a client may ask of the server: bytes, seconds, connections."""

    body: int = 16 * 2**20
    seconds: float = 30.0
    connections: int = 4096


@dataclass
class Site:
    """What the connections of one server share."""

    app: App
    refusal: Callable[[RequestError], Response]  # what a fault is told as, where no route is known yet
    limits: Limits = Limits()
    connections: set[Connection] = field(default_factory=set)
    closing: bool = False
    held: int = 0  # bytes of large bodies that arrive, wait or are being answered
    large: int = 0  # bytes of a body from which on it is counted there
    date: bytes = b""
    ids: Any = None

    def __post_init__(self) -> None:
        mark = os.urandom(5).hex()
        self.ids = (f"{mark}-{number:x}" for number in itertools.count(1))
        self.large = min(LARGE, self.limits.body)
        self.tick()

    def tick(self) -> None:
        """Once a second: the date of the answers, and connections that have taken too long."""
        self.date = f"date: {formatdate(usegmt=True)}\r\n".encode()
        now = time.perf_counter()
        for connection in [c for c in self.connections if now > c.deadline]:
            connection.expire()

    async def drain(self, seconds: float) -> bool:
        """Let the connections finish what they have begun; whether all did within `seconds`."""
        self.closing = True
        for connection in list(self.connections):
            connection.rest()
        end = time.perf_counter() + seconds
        while self.connections and time.perf_counter() < end:
            await asyncio.sleep(0.02)
        late = list(self.connections)
        for connection in late:
            connection.abort()
        return not late


class Connection(asyncio.Protocol):
    """One client's connection."""

    __slots__ = (
        "body", "closed", "current", "deadline", "ended", "fault", "fields", "headers", "inside", "parser", "paused",
        "room", "site", "size", "transport", "url", "waiting",
    )  # fmt: skip

    def __init__(self, site: Site) -> None:
        self.site = site
        self.parser = httptools.HttpRequestParser(self)
        self.transport: asyncio.Transport | None = None
        self.current: Request | None = None
        self.waiting: deque[Request] = deque()
        self.fault: RequestError | None = None
        self.paused = self.closed = False
        self.inside = self.ended = False  # a request has begun to arrive; the client sends no more
        self.url, self.headers = b"", dict[bytes, bytes]()
        self.body: bytes | bytearray = b""
        self.fields = self.headers  # where the fields that arrive now belong
        self.size, self.room = 0, HEADERS
        self.deadline = 0.0

    # --- the transport's side ---------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)
        self.site.connections.add(self)
        self.deadline = time.perf_counter() + self.site.limits.seconds
        if len(self.site.connections) > self.site.limits.connections:
            self.fault = RequestError(503, "too_many_connections", "Too many connections. Try again later.", retry=1)
            self.refuse()

    def connection_lost(self, error: Exception | None) -> None:
        self.site.connections.discard(self)
        self.closed, self.transport = True, None
        for request in self.waiting:
            self.let_go(len(request.body))
        self.waiting.clear()
        self.drop()

    def data_received(self, data: bytes) -> None:
        if self.closed:
            return
        try:
            self.feed(data)
        except httptools.HttpParserError:
            self.fault = self.fault or RequestError(400, "not_http", "This is not a request of HTTP/1.1.")
        if self.fault:
            self.refuse()

    def feed(self, data: bytes) -> None:
        """Let the parser read. Raises HttpParserError."""
        while not self.fault:
            try:
                return self.parser.feed_data(data)
            except httptools.HttpParserUpgrade as upgrade:  # it would leave the body to another protocol
                data = self.plain() + data[upgrade.args[0] :]
                self.parser = httptools.HttpRequestParser(self)

    def plain(self) -> bytes:
        """The head of a request that would rather go on in another protocol, as one that would not."""
        first = b"%s %s HTTP/%s" % (self.parser.get_method(), self.url, self.parser.get_http_version().encode())
        fields = (b"%s: %s" % one for one in self.headers.items() if one[0] not in (b"upgrade", b"expect"))
        return b"\r\n".join((first, *fields, b"", b""))

    def eof_received(self) -> bool:
        self.ended = True
        return self.current is not None or bool(self.waiting)  # who has asked may close his side and still be answered

    def pause_writing(self) -> None:
        self.paused = True
        self.deadline = time.perf_counter() + self.site.limits.seconds

    def resume_writing(self) -> None:
        self.paused = False
        self.next()

    # --- the parser's side ------------------------------------------------------------------------

    def on_message_begin(self) -> None:
        self.url, self.body, self.size, self.room = b"", b"", 0, HEADERS
        self.headers = self.fields = {}
        self.inside = True
        if self.current is None:
            self.deadline = time.perf_counter() + self.site.limits.seconds

    def on_url(self, url: bytes) -> None:
        self.url += url
        self.spend(len(url))

    def on_header(self, name: bytes, value: bytes) -> None:
        self.fields[name.lower()] = value
        self.spend(len(name) + len(value))

    def spend(self, size: int) -> None:
        self.room -= size
        if self.room < 0:
            self.fault = RequestError(431, "header_too_large", f"The request's head is larger than {HEADERS} bytes.")

    def on_headers_complete(self) -> None:
        self.fields = {}  # what comes after the body decides nothing
        length = self.headers.get(b"content-length")
        if length is not None and int(length) > self.site.large:
            self.weigh(int(length), int(length))
        if self.headers.get(b"expect", b"").lower() == b"100-continue" and self.transport and not self.fault:
            self.transport.write(b"HTTP/1.1 100 Continue\r\n\r\n")

    def on_body(self, data: bytes) -> None:
        if self.fault:
            return
        before, self.size = self.size, self.size + len(data)
        if self.size > self.site.large:
            self.site.held += len(data) if before > self.site.large else self.size
            self.weigh(self.size, 0)
        if not before:
            self.body = data  # most come in one piece
        elif isinstance(self.body, bytearray):
            self.body += data
        else:
            self.body = bytearray(self.body) + data  # not a list: of pieces of two bytes it would be a large one

    def weigh(self, size: int, more: int) -> None:
        """Refuse a body of `size` bytes that is too large, or one for whose further `more` bytes there is no room."""
        limit = self.site.limits.body
        if size > limit:
            told = f"The body is larger than {limit / 2**20:g} MB. Send fewer rows."
            self.fault = self.fault or RequestError(413, "too_large", told)
        elif self.site.held + more > TOGETHER * limit:
            told = "Large bodies have all the room that there is. Try again later."
            self.fault = self.fault or RequestError(503, "overloaded", told, retry=1)

    def let_go(self, size: int) -> None:
        """A body of so many bytes is not needed any more."""
        if size > self.site.large:
            self.site.held -= size

    def drop(self) -> None:
        """What has arrived of a body will not be asked for."""
        self.let_go(self.size)
        self.body, self.size = b"", 0

    def on_message_complete(self) -> None:
        self.inside = False
        if self.fault:
            return
        if self.parser.should_upgrade():  # see `feed`
            if self.parser.get_method() == b"CONNECT":
                self.fault = RequestError(405, "no_proxy", "This server is no proxy.", [{"allow": "GET, POST"}])
            return
        key = self.headers.get(REQUEST_ID, b"")
        name = key.decode("latin-1") if 0 < len(key) <= 128 and key.isascii() else next(self.site.ids)
        method, keep = self.parser.get_method().decode("latin-1"), self.parser.should_keep_alive()
        if keep and b"connection" in self.headers and self.parser.get_http_version() == "1.0":
            keep = False  # such a client would have to be promised it
        request = Request(method, self.url, self.headers, bytes(self.body), keep, name)
        self.body, self.size = b"", 0  # they are the request's now
        if self.current is None and not self.paused:
            return self.start(request)
        self.waiting.append(request)
        if len(self.waiting) >= PIPELINED and self.transport:
            self.transport.pause_reading()
        return None

    # --- requests in turn ---------------------------------------------------------------------------

    def start(self, request: Request) -> None:
        self.current, self.deadline = request, float("inf")  # from here on the application keeps the time
        self.site.app(request, self.send)

    def go_on(self) -> None:
        if self.current and not self.closed:
            self.site.app(self.current, self.send)
        elif self.current:
            self.let_go(len(self.current.body))

    def send(self, response: Response) -> None:
        """The answer to the current request; then the next one's turn."""
        request, self.current = self.current, None
        if request is not None:
            self.let_go(len(request.body))
        if self.transport is None or request is None:
            return
        keep = request.keep and not self.site.closing and not self.fault
        self.deadline = time.perf_counter() + IDLE
        self.transport.write(packed(response, self.site.date, request.id, keep, request.method == "HEAD"))
        if not keep or (self.ended and not self.waiting):
            self.close()
        elif self.waiting and not self.paused:
            self.next()

    def next(self) -> None:
        if self.current is None and self.waiting and not self.closed:
            self.current, self.deadline = self.waiting.popleft(), float("inf")  # at once: data may come first
            if self.transport and len(self.waiting) == PIPELINED - 1:
                self.transport.resume_reading()
            asyncio.get_running_loop().call_soon(self.go_on)  # not deeper and deeper into the stack

    def refuse(self) -> None:
        """Answer with the fault and close: what follows on this connection cannot be told apart from it."""
        if self.fault is None or self.current or self.waiting or self.closed or self.transport is None:
            return  # the current request is answered first; `send` closes then
        self.drop()
        response = self.site.refusal(self.fault)
        self.transport.write(packed(response, self.site.date, next(self.site.ids), False, False))
        if not self.inside or self.ended:
            return self.close()
        self.closed, self.deadline = True, time.perf_counter() + LINGER  # to close now would reset: it is still sending
        self.transport.write_eof()
        return None

    def expire(self) -> None:
        """The time is over: an unfinished request is told so, an idle connection is closed."""
        if self.paused or self.closed:
            self.abort()
        elif self.inside and self.current is None:
            seconds = self.site.limits.seconds
            self.fault = RequestError(408, "timeout", f"The request did not arrive within {seconds:g} s.")
            self.refuse()
        else:
            self.close()

    def rest(self) -> None:
        """Close when there is nothing to answer."""
        if self.current is None and not self.waiting and not self.inside:
            self.close()

    def close(self) -> None:
        self.closed = True
        self.deadline = time.perf_counter() + self.site.limits.seconds
        if self.transport:
            self.transport.close()

    def abort(self) -> None:
        self.closed = True
        if self.transport:
            self.transport.abort()


def packed(response: Response, date: bytes, key: str, keep: bool, head: bool) -> bytes:
    """The bytes of an answer."""
    status, body, content_type, headers = response
    start = HEADS.get((status, content_type)) or _head(status, content_type)
    more = "".join(f"{name}: {value}\r\n" for name, value in headers.items()) if headers else ""
    end = "\r\n" if keep else "connection: close\r\n\r\n"
    rest = f"content-length: {len(body)}\r\nx-request-id: {key}\r\n{more}{end}".encode("latin-1", "replace")
    return start + date + rest + (b"" if head else body)


HEADS: dict[tuple[int, str], bytes] = {}


def _head(status: int, content_type: str) -> bytes:
    """The first lines of answers of one kind, made once."""
    made = f"HTTP/1.1 {status} {HTTPStatus(status).phrase}\r\ncontent-type: {content_type}\r\n"
    HEADS[status, content_type] = made.encode("latin-1")
    return HEADS[status, content_type]


WRAPPED = {"gzip": 31, "x-gzip": 31, "deflate": 15}  # Content-Encoding → zlib's window bits


def unpacked(body: bytes, encoding: str, limit: int) -> bytes:
    """A body without its Content-Encoding. Raises RequestError for a bomb, a broken or an unknown one."""
    name = encoding.strip().lower()
    if name in ("", "identity"):
        return body
    if name not in WRAPPED:
        known = ", ".join(sorted(WRAPPED))
        raise RequestError(415, "unknown_encoding", f"Content-Encoding '{encoding[:40]}' is not known. Known: {known}.")
    unpack = zlib.decompressobj(WRAPPED[name])
    try:
        found = unpack.decompress(body, limit + 1)
    except zlib.error as error:
        raise RequestError(400, "broken_encoding", f"The body is not whole {name}: {error}.") from None
    if len(found) > limit:
        raise RequestError(413, "too_large", f"The unpacked body is larger than {limit / 2**20:g} MB. Send fewer rows.")
    if not unpack.eof:
        raise RequestError(400, "broken_encoding", f"The body is not whole {name}: it ends too early.")
    return found
