"""Real sockets against an application that answers what it was asked."""

from __future__ import annotations

import asyncio
import gzip
import socket
import struct
import zlib
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest

from keepfit.deployment import http
from keepfit.deployment.http import HEADERS, Connection, Limits, Request, Response, Send, Site, unpacked
from keepfit.errors import RequestError

LIMITS = Limits(body=1000, seconds=0.4, connections=4)


def echo(request: Request, send: Send) -> None:
    send(Response(200, f"{request.method} {request.path} {request.query} ".encode() + request.body, "text/plain"))


def refusal(fault: RequestError) -> Response:
    return Response(fault.status, f"{fault.code}: {fault.message}".encode(), "text/plain")


@asynccontextmanager
async def listening(app: Callable[[Request, Send], None], limits: Limits = LIMITS) -> AsyncIterator[tuple[Site, int]]:
    site = Site(app, refusal, limits)
    server = await asyncio.get_running_loop().create_server(lambda: Connection(site), "127.0.0.1", 0)
    try:
        yield site, server.sockets[0].getsockname()[1]
    finally:
        server.close()
        await site.drain(1.0)


async def ask(port: int, *parts: bytes, pause: float = 0.0, close: bool = True) -> bytes:
    """Everything that the server sends to `parts`, until it closes or nothing comes for a second."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    for part in parts:
        writer.write(part)
        await writer.drain()
        await asyncio.sleep(pause)
    if close:
        writer.write_eof()
    found = b""
    try:
        while data := await asyncio.wait_for(reader.read(65536), 1.0):
            found += data
    except TimeoutError:
        pass
    except ConnectionResetError:
        found += b"<reset>"
    writer.close()
    return found


def run(test: Callable[[Site, int], Any], app: Callable[[Request, Send], None] = echo, limits: Limits = LIMITS) -> Any:
    async def main() -> Any:
        async with listening(app, limits) as (site, port):
            return await test(site, port)

    return asyncio.run(main())


def said(found: bytes) -> list[tuple[int, bytes]]:
    """(status, body) of each response in the bytes."""
    answers = []
    while found:
        head, _, found = found.partition(b"\r\n\r\n")
        lines = head.split(b"\r\n")
        status = int(lines[0].split()[1])
        if status == 100:
            continue
        length = next(int(line.split(b":")[1]) for line in lines if line.startswith(b"content-length"))
        answers.append((status, found[:length]))
        found = found[length:]
    return answers


def test_a_request_comes_whole_with_its_path_query_and_body() -> None:
    request = b"POST /predict?a=1 HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n\r\nhello"
    found = run(lambda site, port: ask(port, request))
    assert said(found) == [(200, b"POST /predict a=1 hello")]
    assert b"\r\nx-request-id: " in found
    assert b"\r\ndate: " in found


def test_a_request_that_comes_byte_by_byte_is_the_same() -> None:
    request = b"POST /p HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n"
    parts = [request[n : n + 1] for n in range(len(request))]
    assert said(run(lambda site, port: ask(port, *parts))) == [(200, b"POST /p  abcde")]


def test_pipelined_requests_are_answered_in_their_order_though_the_first_takes_longest() -> None:
    def app(request: Request, send: Send) -> None:
        delay = {"/0": 0.1, "/1": 0.0, "/2": 0.02}.get(request.path, 0.0)
        asyncio.get_running_loop().call_later(delay, send, Response(200, request.path.encode()))

    many = b"".join(b"GET /%d HTTP/1.1\r\nHost: x\r\n\r\n" % n for n in range(100))
    found = said(run(lambda site, port: ask(port, many, close=False), app))
    assert [body for _, body in found] == [b"/%d" % n for n in range(100)]


def test_the_clients_request_id_is_echoed_and_one_that_is_too_long_is_replaced() -> None:
    async def test(site: Site, port: int) -> list[bytes]:
        ids = [b"mine-7", b"x" * 129]
        return [await ask(port, b"GET / HTTP/1.1\r\nHost: x\r\nX-Request-ID: %s\r\n\r\n" % key) for key in ids]

    mine, replaced = run(test)
    assert b"x-request-id: mine-7\r\n" in mine
    assert b"xxxx" not in replaced


@pytest.mark.parametrize(
    ("request_bytes", "status", "told"),
    [
        (b"this is no HTTP\r\n\r\n", 400, b"not_http"),
        (b"CONNECT a:443 HTTP/1.1\r\nHost: a\r\n\r\nwhatever", 405, b"no_proxy"),
        (b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 1001\r\n\r\n", 413, b"too_large"),
        (b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 99999999999999999999999\r\n\r\n", 400, b"not_http"),
        (b"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n400\r\n" + b"a" * 1024, 413, b"too_large"),
        (b"GET / HTTP/1.1\r\nHost: x\r\nA: " + b"b" * HEADERS + b"\r\n\r\n", 431, b"header_too_large"),
        (b"GET /" + b"b" * HEADERS + b" HTTP/1.1\r\nHost: x\r\n\r\n", 431, b"header_too_large"),
    ],
)
def test_what_is_no_request_is_refused_and_the_connection_closed(
    request_bytes: bytes, status: int, told: bytes
) -> None:
    found = run(lambda site, port: ask(port, request_bytes, close=False))
    (answer,) = said(found)
    assert answer[0] == status
    assert answer[1].startswith(told)
    assert b"connection: close" in found


def test_room_for_large_bodies_is_counted_and_given_back_however_a_request_ends() -> None:
    head = b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 900\r\n\r\n"
    kept: list[Send] = []

    async def test(site: Site, port: int) -> None:
        site.large = 500
        clients = [(await asyncio.open_connection("127.0.0.1", port))[1] for _ in range(3)]
        clients[0].write((head + b"a" * 900) * 3)  # one is being answered, two wait
        clients[1].write(head + b"a" * 600)
        clients[2].write(head + b"a" * 500)  # is none of the large ones yet
        await held(site, 3 * 900 + 600)
        for gone in clients[:2]:
            gone.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            gone.transport.abort()  # at once, and not only his side
        clients[2].write(b"a" * 400)
        await held(site, 900 + 900)  # what the application has not answered is in memory still
        for send in kept:
            send(Response(200, b""))
        await held(site, 0)
        refused = await ask(
            port, b"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n7d0\r\n" + b"a" * 2000
        )
        assert said(refused)[0][0] == 413
        await held(site, 0)
        clients[2].close()

    async def held(site: Site, size: int) -> None:
        end = asyncio.get_running_loop().time() + 5
        while site.held != size:
            assert asyncio.get_running_loop().time() < end, site.held
            await asyncio.sleep(0.01)

    run(test, lambda request, send: kept.append(send), Limits(body=1000, seconds=30))


def test_more_large_bodies_than_there_is_room_for_are_sent_away() -> None:
    head = b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 900\r\n\r\n"
    chunked = b"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n384\r\n" + b"a" * 900

    async def test(site: Site, port: int) -> list[bytes]:
        site.large, site.held = 500, http.TOGETHER * 1000 - 899
        return [
            await ask(port, head, close=False),
            await ask(port, chunked, close=False),
            await ask(port, head.replace(b"900", b"500") + b"a" * 500),
        ]

    known, unknown, small = run(test, limits=Limits(body=1000))
    for refused in (known, unknown):
        assert said(refused)[0][0] == 503
        assert said(refused)[0][1].startswith(b"overloaded")
    assert said(small)[0][0] == 200


def test_a_body_is_invited_when_the_client_waits_for_that() -> None:
    head = b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\nExpect: 100-continue\r\n\r\n"
    found = run(lambda site, port: ask(port, head, b"ok", pause=0.05))
    assert found.startswith(b"HTTP/1.1 100 Continue\r\n\r\n")
    assert said(found) == [(200, b"POST /  ok")]


def test_a_head_request_gets_the_length_and_no_body() -> None:
    found = run(lambda site, port: ask(port, b"HEAD /a HTTP/1.1\r\nHost: x\r\n\r\n"))
    assert b"content-length: 9\r\n" in found
    assert found.endswith(b"\r\n\r\n")


def test_an_upgrade_is_not_taken_and_the_request_answered() -> None:
    asked = b"GET /a HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: h2c\r\n\r\n"
    assert said(run(lambda site, port: ask(port, asked))) == [(200, b"GET /a  ")]


def test_what_follows_a_request_that_wants_an_upgrade_is_answered_too() -> None:
    upgrade = b"Connection: Upgrade\r\nUpgrade: h2c\r\n"
    asked = b"".join(b"GET /%d HTTP/1.1\r\nHost: x\r\n%s\r\n" % (n, upgrade if n < 2 else b"") for n in range(3))
    found = said(run(lambda site, port: ask(port, asked)))
    assert [body for _, body in found] == [b"GET /0  ", b"GET /1  ", b"GET /2  "]


@pytest.mark.parametrize(
    "framing", [b"Content-Length: 14\r\n\r\n%s", b"Transfer-Encoding: chunked\r\n\r\ne\r\n%s\r\n0\r\n\r\n"]
)
@pytest.mark.parametrize("pause", [0.0, 0.05])
def test_the_body_of_a_request_that_wants_an_upgrade_is_its_body(framing: bytes, pause: float) -> None:
    head = b"POST /a HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: h2c\r\nHTTP2-Settings: A\r\n"
    whole = head + framing % b"GET / HTTP/1.1" + b"GET /b HTTP/1.1\r\nHost: x\r\n\r\n"
    parts = whole[:150], whole[150:]
    found = said(run(lambda site, port: ask(port, *parts, pause=pause)))
    assert [body for _, body in found] == [b"POST /a  GET / HTTP/1.1", b"GET /b  "]


def test_fields_after_the_body_are_none_of_the_requests_headers() -> None:
    asked = (
        b"POST / HTTP/1.1\r\nHost: x\r\nX-Request-ID: first\r\nTransfer-Encoding: chunked\r\n\r\n"
        b"2\r\nok\r\n0\r\nX-Request-ID: later\r\n\r\n"
    )
    assert b"x-request-id: first\r\n" in run(lambda site, port: ask(port, asked))


def test_a_request_that_arrives_while_the_next_one_is_about_to_begin_waits_its_turn() -> None:
    sends: list[tuple[bytes, Send]] = []

    async def main() -> list[bytes]:
        site = Site(lambda request, send: sends.append((request.path.encode(), send)), refusal, LIMITS)
        ours, theirs = socket.socketpair()
        _, connection = await asyncio.get_running_loop().create_connection(lambda: Connection(site), sock=ours)
        first, second, third = (b"GET /%d HTTP/1.1\r\nHost: x\r\n\r\n" % n for n in (1, 2, 3))
        connection.data_received(first + second)
        path, send = sends.pop()
        send(Response(200, path))
        connection.data_received(third)  # as uvloop may do before it calls what was put off
        for _ in range(10):
            await asyncio.sleep(0)
            if sends:
                path, send = sends.pop()
                send(Response(200, path))
        connection.abort()
        with theirs:
            return [body for _, body in said(theirs.recv(10_000))]

    assert asyncio.run(main()) == [b"/1", b"/2", b"/3"]


def test_who_has_pipelined_and_closed_his_side_is_still_answered() -> None:
    def app(request: Request, send: Send) -> None:
        asyncio.get_running_loop().call_later(0.02, send, Response(200, request.path.encode()))

    many = b"".join(b"GET /%d HTTP/1.1\r\nHost: x\r\n\r\n" % n for n in range(3))
    assert [body for _, body in said(run(lambda site, port: ask(port, many), app))] == [b"/0", b"/1", b"/2"]


def test_a_client_that_sends_all_of_a_too_large_body_first_still_reads_why_it_was_refused() -> None:
    size = 20_000_000

    def client(port: int) -> bytes:
        with socket.create_connection(("127.0.0.1", port), timeout=5) as connection:
            connection.sendall(b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n" % size + bytes(size))
            return connection.recv(10_000)

    found = run(lambda site, port: asyncio.to_thread(client, port), limits=Limits(1000, 5.0, 4))
    assert said(found)[0][0] == 413


def test_a_client_that_goes_on_sending_after_it_was_refused_is_cut_off(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(http, "LINGER", 0.1)

    async def test(site: Site, port: int) -> int:
        _, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 5000\r\n\r\n")
        await asyncio.sleep(0.2)
        assert len(site.connections) == 1
        site.tick()
        await asyncio.sleep(0.05)
        writer.close()
        return len(site.connections)

    assert run(test) == 0


def test_http_1_0_and_connection_close_end_the_connection() -> None:
    async def test(site: Site, port: int) -> list[bytes]:
        asks = [
            b"GET / HTTP/1.0\r\n\r\n",
            b"GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n",
            b"GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n",
        ]
        return [await asyncio.wait_for(ask(port, one, close=False), 0.9) for one in asks]

    assert all(b"connection: close" in found for found in run(test))


def test_a_request_that_does_not_arrive_is_told_so_and_others_are_not_kept_waiting() -> None:
    async def test(site: Site, port: int) -> tuple[bytes, bytes]:
        slow = asyncio.create_task(ask(port, b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 9\r\n\r\nab", close=False))
        quick = await ask(port, b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
        await asyncio.sleep(0.5)
        site.tick()
        return await slow, quick

    slow, quick = run(test)
    assert said(slow)[0][0] == 408
    assert said(quick)[0][0] == 200


def test_a_client_that_does_not_read_is_cut_off() -> None:
    def app(request: Request, send: Send) -> None:
        send(Response(200, b"x" * 5_000_000))

    async def test(site: Site, port: int) -> int:
        reader = socket.create_connection(("127.0.0.1", port))
        reader.sendall(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n" * 3)
        await asyncio.sleep(0.3)
        assert len(site.connections) == 1
        await asyncio.sleep(0.4)
        site.tick()
        await asyncio.sleep(0.05)
        reader.close()
        return len(site.connections)

    assert run(test, app) == 0


def test_one_connection_too_many_is_told_to_come_back() -> None:
    async def test(site: Site, port: int) -> bytes:
        held = [await asyncio.open_connection("127.0.0.1", port) for _ in range(4)]
        await asyncio.sleep(0.05)
        found = await ask(port, b"GET / HTTP/1.1\r\nHost: x\r\n\r\n", close=False)
        for _, writer in held:
            writer.close()
        return found

    assert said(run(test))[0][0] == 503


def test_a_stop_finishes_what_was_accepted_and_closes_what_rests() -> None:
    def app(request: Request, send: Send) -> None:
        asyncio.get_running_loop().call_later(0.2, send, Response(200, b"done"))

    async def test(site: Site, port: int) -> tuple[bytes, bool, bytes]:
        idle, idle_writer = await asyncio.open_connection("127.0.0.1", port)
        busy = asyncio.create_task(ask(port, b"GET / HTTP/1.1\r\nHost: x\r\n\r\n", close=False))
        await asyncio.sleep(0.05)
        whole = await site.drain(2.0)
        idle_writer.close()
        return await busy, whole, await idle.read()

    busy, whole, rested = run(test, app)
    assert said(busy) == [(200, b"done")]
    assert b"connection: close" in busy
    assert whole
    assert rested == b""


def test_a_client_that_leaves_before_its_answer_does_no_harm() -> None:
    sends: list[Send] = []

    def app(request: Request, send: Send) -> None:
        sends.append(send)

    async def test(site: Site, port: int) -> None:
        _, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
        await asyncio.sleep(0.05)
        writer.transport.abort()
        await asyncio.sleep(0.05)
        sends[0](Response(200, b"late"))
        await asyncio.sleep(0.05)
        assert not site.connections

    run(test, app)
    assert len(sends) == 1


def test_bodies_are_unpacked_within_the_limit() -> None:
    assert unpacked(b"plain", "", 5) == b"plain"
    assert unpacked(gzip.compress(b"abc"), "GZIP", 5) == b"abc"
    assert unpacked(zlib.compress(b"abc"), "deflate", 5) == b"abc"


@pytest.mark.parametrize(
    ("body", "encoding", "status"),
    [
        (gzip.compress(bytes(10**7)), "gzip", 413),
        (gzip.compress(b"abc")[:-9], "gzip", 400),
        (b"no gzip", "gzip", 400),
        (b"abc", "br", 415),
    ],
    ids=["a bomb", "cut short", "no gzip", "an encoding we do not read"],  # gzip writes the second
)
def test_bombs_and_broken_encodings_are_refused(body: bytes, encoding: str, status: int) -> None:
    with pytest.raises(RequestError) as fault:
        unpacked(body, encoding, 1000)
    assert fault.value.status == status
