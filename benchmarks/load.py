"""A load generator for HTTP servers: N keep-alive connections, one request each in flight, one core.

Request bytes are made beforehand, from many real rows. Only a whole, well-formed answer with code 200, a
Content-Length that is true and a prediction in its body counts; everything else is a failure with a name.
Each `every`-th body is parsed by `check`. Against a server that answers a constant it asks more than
40,000 times a second on one core (tests/benchmarks), so that it is the server that is measured.

Closed loop by default: a connection asks again as soon as it is answered. With `rate` the requests are
due at even distances whatever the server does, and latency counts from when a request was due: a server
that stalls cannot hide it by not being asked (the "coordinated omission" of G. Tene).

Latency ends when epoll tells of the answer, and so includes the time the client was busy with others.
"""

from __future__ import annotations

import collections
import gc
import math
import select
import socket
import time
from array import array
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

RESOLUTION = 100  # buckets for a factor e: a percentile is right within 1 %
BUCKETS = RESOLUTION * 25  # up to exp(25) microseconds
BUFFER = 1 << 16
DRAIN = 10.0  # seconds that the last requests have to be answered
PAUSE = 0.05  # seconds between attempts to connect where the server refuses
READ, WRITE = select.EPOLLIN, select.EPOLLOUT
Check = Callable[[int, bytes], str | None]  # number of the request, body → the name of what is wrong with it


@dataclass(frozen=True)
class Plan:
    """What to ask: whole HTTP requests, asked in turn, and for how long in seconds.

    `marker` stands in the body of every good answer. `rate` is in requests a second, None for a closed
    loop. `trace` keeps when each answer came and how long it took.
    """

    requests: Sequence[bytes]
    connections: int = 1
    seconds: float = 2.0
    warm_up: float = 0.5
    marker: bytes = b"prediction"
    check: Check | None = None
    every: int = 100
    rate: float | None = None
    trace: bool = False


@dataclass(frozen=True)
class Measured:
    """Good answers after the warm-up, and failures from the beginning on, by kind.

    `good` counts good answers from the beginning to the last. `busy` is the share of one core that the
    client itself used: near 1 it is the client that was measured. `ended` (`time.perf_counter`) and
    `took` (latency) are seconds, kept when the plan says `trace`.
    """

    answers: int
    seconds: float
    failures: dict[str, int]
    histogram: Sequence[int]
    busy: float
    good: int = 0
    ended: Sequence[float] = ()
    took: Sequence[float] = ()

    @property
    def rate(self) -> float:
        """Good answers a second."""
        return self.answers / self.seconds

    def percentile(self, share: float) -> float | None:
        """Latency in milliseconds that `share` of the good answers kept; None without answers."""
        wanted, seen = share * self.answers, 0
        for bucket, count in enumerate(self.histogram):
            seen += count
            if count and seen >= wanted:
                return math.exp((bucket + 1) / RESOLUTION) / 1000
        return None


def request(method: str, path: str, body: bytes = b"", content_type: str = "application/json") -> bytes:
    """The bytes of one HTTP/1.1 request.

    >>> request("POST", "/predict", b"{}").partition(b"\\r\\n")[0]
    b'POST /predict HTTP/1.1'
    """
    head = f"{method} {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: {content_type}\r\n"
    return f"{head}Content-Length: {len(body)}\r\n\r\n".encode() + body


def read(data: bytes) -> tuple[int, int]:
    """Where the body of an answer begins, and where it ends; (0, 0) while the head is not whole.

    Raises ValueError for an answer that does not say how long it is, or is no HTTP.

    >>> read(b"HTTP/1.1 200 OK\\r\\ncontent-length: 2\\r\\n\\r\\nhi")
    (38, 40)
    """
    at = data.find(b"\r\n\r\n")
    if at < 0:
        return 0, 0
    head = data[:at].lower()
    if not head.startswith(b"http/1."):
        raise ValueError("no HTTP")
    found = head.find(b"\r\ncontent-length:")
    if found < 0:
        raise ValueError("no Content-Length")
    return at + 4, at + 4 + int(head[found + 17 :].partition(b"\r")[0])


@dataclass(slots=True, eq=False)
class Line:
    """One connection: what it asked, since when (ns), and what has come so far."""

    link: socket.socket
    number: int = 0
    since: int = 0
    waiting: bool = False
    unsent: bytes = b""
    got: bytes = b""


@dataclass(slots=True, eq=False)
class Run:
    """What a run knows: its lines by file number, those free to ask, and what was counted."""

    plan: Plan
    address: tuple[str, int]
    poll: select.epoll
    lines: dict[int, Line] = field(default_factory=dict)
    free: collections.deque[Line] = field(default_factory=collections.deque)
    asked: int = 0
    answers: int = 0
    good: int = 0
    counting: bool = False
    failures: collections.Counter[str] = field(default_factory=collections.Counter)
    histogram: list[int] = field(default_factory=lambda: [0] * (BUCKETS + 1))
    ended: array[float] = field(default_factory=lambda: array("d"))
    took: array[float] = field(default_factory=lambda: array("d"))


def drive(address: tuple[str, int], plan: Plan) -> Measured:
    """Ask the server at `address` as planned. Raises OSError where nothing listens there at the start."""
    run = Run(plan, address, select.epoll())
    for _ in range(plan.connections):
        connect(run)
    gc.collect()
    gc.disable()  # a collection of the caller's objects would be measured as the server's latency
    try:
        steps(run, plan.warm_up, plan.rate)
        run.counting, used, begun = True, time.process_time(), time.perf_counter()
        steps(run, plan.seconds, plan.rate)
        run.counting, seconds = False, time.perf_counter() - begun
        busy = (time.process_time() - used) / seconds
        drain(run)
    finally:
        gc.enable()
        for line in run.lines.values():
            line.link.close()
        run.poll.close()
    failures = dict(run.failures)
    return Measured(run.answers, seconds, failures, run.histogram, busy, run.good, run.ended, run.took)


def steps(run: Run, seconds: float, rate: float | None) -> None:
    """Ask and listen for so long. The answers to the last requests are left to who comes next."""
    begun = time.perf_counter_ns()
    end, due = begun + round(seconds * 1e9), begun
    gap = 0 if rate is None else round(1e9 / rate)
    now = begun
    while now < end:
        if not gap:
            while run.free:
                ask(run, run.free.popleft(), time.perf_counter_ns())
        else:
            while due <= now and run.free:
                ask(run, run.free.popleft(), due)
                due += gap
        listen(run, min(0.1, max(0.0, (due - now) / 1e9)) if gap and run.free else 0.1)
        now = time.perf_counter_ns()


def drain(run: Run) -> None:
    """Wait for the answers to the last requests; what is then unanswered is a failure."""
    until = time.perf_counter() + DRAIN
    while time.perf_counter() < until and any(line.waiting for line in run.lines.values()):
        listen(run, 0.05)
    unanswered = sum(line.waiting for line in run.lines.values())
    if unanswered:
        run.failures["unanswered"] += unanswered


def connect(run: Run) -> None:
    """One more connection, free to ask."""
    link = socket.create_connection(run.address, timeout=5)
    link.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    link.setblocking(False)
    line = Line(link)
    run.lines[link.fileno()] = line
    run.poll.register(link.fileno(), READ)
    run.free.append(line)


def ask(run: Run, line: Line, since: int) -> None:
    """Send the next request; what the kernel does not take at once is sent when it can be."""
    number = run.asked % len(run.plan.requests)
    run.asked += 1
    line.number, line.since, line.waiting = number, since, True
    data = run.plan.requests[number]
    try:
        sent = line.link.send(data)
    except BlockingIOError:
        sent = 0
    except OSError:
        lost(run, line, "connection lost")
        return
    if sent < len(data):
        line.unsent = data[sent:]
        run.poll.modify(line.link.fileno(), READ | WRITE)


def listen(run: Run, seconds: float) -> None:
    """Take what has come, at most so long after now."""
    events = run.poll.poll(seconds)
    now = time.perf_counter_ns()
    for number, flags in events:
        line = run.lines.get(number)
        if line is None:
            continue  # ended by an earlier event of the same round
        if flags & WRITE and line.unsent:
            flush(run, line)
        if flags & ~WRITE:
            hear(run, line, now)


def flush(run: Run, line: Line) -> None:
    """Send more of a large request."""
    try:
        line.unsent = line.unsent[line.link.send(line.unsent) :]
    except BlockingIOError:
        return
    except OSError:
        return  # what the server said before it closed is still to be read
    if not line.unsent:
        run.poll.modify(line.link.fileno(), READ)


def hear(run: Run, line: Line, now: int) -> None:
    """More of an answer, or the end of the connection."""
    try:
        data = line.link.recv(BUFFER)
    except BlockingIOError:
        return
    except OSError:
        data = b""
    if not data:
        lost(run, line, "closed without an answer" if line.waiting else "")
        return
    if line.got:
        data = line.got + data
    try:
        begin, end = read(data)
    except ValueError as error:
        lost(run, line, str(error))
        return
    if not end or len(data) < end:
        line.got = data
        return
    line.got = b""
    answered(run, line, data, begin, end, now)


def answered(run: Run, line: Line, data: bytes, begin: int, end: int, now: int) -> None:
    """Count a whole answer; the line is free again, or renewed where the server closes it."""
    fault = wrong(run, line.number, data, begin, end)
    line.waiting = False
    if fault:
        run.failures[fault] += 1
    elif run.counting:
        took = now - line.since
        run.answers += 1
        run.histogram[min(BUCKETS, int(math.log(took / 1000) * RESOLUTION)) if took > 1000 else 0] += 1
        if run.plan.trace:
            run.ended.append(now / 1e9)
            run.took.append(took / 1e9)
    if data.find(b"onnection: close\r\n", 0, begin) >= 0:
        lost(run, line, "")
    else:
        run.free.append(line)


def wrong(run: Run, number: int, data: bytes, begin: int, end: int) -> str:
    """What is wrong with a whole answer; "" for nothing."""
    if data[9:12] != b"200":
        return f"code {data[9:12].decode(errors='replace')}"
    if len(data) > end:
        return "more bytes than announced"
    if data.find(run.plan.marker, begin) < 0:
        return "no prediction"
    run.good += 1
    if run.plan.check is None or run.good % run.plan.every:
        return ""
    return run.plan.check(number, data[begin:end]) or ""


def lost(run: Run, line: Line, fault: str) -> None:
    """A connection that ended is made anew; `fault` names a request that was lost with it."""
    if fault:
        run.failures[fault] += 1
    if line in run.free:
        run.free.remove(line)
    run.poll.unregister(line.link.fileno())
    del run.lines[line.link.fileno()]
    line.link.close()
    while True:
        try:
            connect(run)
        except OSError:
            run.failures["cannot connect"] += 1
            if run.failures["cannot connect"] * PAUSE > DRAIN:
                raise
            time.sleep(PAUSE)
        else:
            return
