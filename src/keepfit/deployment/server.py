"""The HTTP server: one process, one event loop, from the first bind to the last answer."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import logging
import os
import resource
import signal
import socket
import subprocess
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

from keepfit.data import traffic
from keepfit.deployment.http import Connection, Limits, Site
from keepfit.deployment.protocols import native
from keepfit.deployment.routes import Service, application
from keepfit.deployment.served import refusal
from keepfit.errors import ConfigError, DataError, KeepfitError

log = logging.getLogger("keepfit.server")
BACKLOG = 4096  # connections that the kernel keeps until we take them
GRACE = 25.0  # seconds for what was accepted before a stop; SageMaker kills after 30
GARBAGE = 5_000  # objects after which Python looks for cycles, in what came since the start
BEHIND = 15  # the child's niceness
ARRIVING = 0.1  # seconds for requests that are on their way when a stop is asked for
SEGMENT = 16 * 2**20  # bytes of the log's live file: what the child has in memory at a time
MINUTE = 60.0  # seconds between two lines of the traffic
HANDLES = 64  # files open beside the connections: the log, the registry, children
LOOPBACK = ("127.0.0.1", "::1", "localhost")


@dataclass(frozen=True)
class Rolling:
    """How the prediction log becomes Parquet: every `seconds`, by a process of its own."""

    command: tuple[str, ...]
    seconds: float


def listen(host: str, port: int) -> socket.socket:
    """The listening socket. Raises ConfigError where the address is taken or not ours."""
    try:
        kind = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)[0]
        with contextlib.ExitStack() as opened:
            listener = opened.enter_context(socket.socket(kind[0], kind[1], kind[2]))
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            listener.bind(kind[4])
            listener.listen(BACKLOG)
            opened.pop_all()
    except (OSError, UnicodeError) as error:
        told, do = getattr(error, "strerror", None) or error, "Choose another with --port or --host."
        if isinstance(error, PermissionError):
            do = "Ports below 1024 are the system's: take --port 8080, and a proxy or a forwarded port before it."
        raise ConfigError(f"Cannot listen on {host}:{port}: {told}. {do}") from error
    listener.setblocking(False)
    return listener


def serve(
    service: Service,
    listener: socket.socket,
    limits: Limits,
    rolling: Rolling | None = None,
    started: Callable[[str], None] = lambda url: None,
) -> None:
    """Serve until SIGTERM or SIGINT; then finish what was accepted, and return.

    `started` is called with the server's address once it answers.
    """
    limits = replace(limits, connections=_room(limits.connections))
    runner = asyncio.Runner(loop_factory=_loop())
    try:
        with runner:
            runner.run(_main(service, listener, limits, rolling, started))
    except (KeyboardInterrupt, asyncio.CancelledError):
        raise KeepfitError("Stopped at once, by a second Ctrl-C: what was not answered yet is lost.") from None


def end_at_once() -> None:
    """Let SIGTERM end the process before it serves. As process 1 of a container it would else be ignored."""

    def ended(*_: object) -> None:
        raise SystemExit(128 + signal.SIGTERM)

    with contextlib.suppress(ValueError):  # a thread has no signals
        if signal.getsignal(signal.SIGTERM) is signal.SIG_DFL:
            signal.signal(signal.SIGTERM, ended)


def _room(wanted: int) -> int:
    """For how many connections there are file handles. Those that the user may have are asked for."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    needed = wanted + HANDLES
    if soft != resource.RLIM_INFINITY and soft < needed:
        more = needed if hard == resource.RLIM_INFINITY else min(needed, hard)
        with contextlib.suppress(OSError, ValueError):  # a system may allow less than it says
            resource.setrlimit(resource.RLIMIT_NOFILE, (more, hard))
        soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft == resource.RLIM_INFINITY or soft >= needed:
        return wanted
    found = max(soft - HANDLES, soft // 4)
    log.warning("%d connections at once, for want of file handles: ulimit -n is %d", found, soft)
    return found


def _loop() -> Callable[[], asyncio.AbstractEventLoop] | None:
    try:
        import uvloop
    except ImportError:  # Windows
        return None
    made: Callable[[], asyncio.AbstractEventLoop] = uvloop.new_event_loop
    return made


async def _main(
    service: Service, listener: socket.socket, limits: Limits, rolling: Rolling | None, started: Callable[[str], None]
) -> None:
    loop, stop = asyncio.get_running_loop(), asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    collect_rarely()
    site = Site(application(service), lambda fault: refusal(fault, native), limits)
    service.rollout.start()
    server = await loop.create_server(lambda: Connection(site), sock=listener, backlog=BACKLOG)
    host, port = listener.getsockname()[:2]
    started(f"http://{f'[{host}]' if ':' in host else host}:{port}")
    tasks = [asyncio.create_task(_tick(site)), asyncio.create_task(roll(service, rolling))]
    tasks += [asyncio.create_task(tell(service))]
    await stop.wait()
    loop.remove_signal_handler(signal.SIGTERM)
    loop.add_signal_handler(signal.SIGINT, _hurry, loop, asyncio.current_task())
    log.info("stopping: %d connections are finished first", len(site.connections))
    site.closing = True  # who asks again and again is told to ask elsewhere; only who rests is cut off then
    await asyncio.sleep(ARRIVING)
    server.close()
    whole = await site.drain(GRACE)
    for task in tasks:
        task.cancel()
    await asyncio.to_thread(end, service, rolling)
    log.info("stopped%s", "" if whole else f"; requests that took longer than {GRACE:g} s were cut off")


def _hurry(loop: asyncio.AbstractEventLoop, main: asyncio.Task[Any] | None) -> None:
    """End at once. Python's own KeyboardInterrupt would rise wherever it finds us, and be lost in a callback."""
    loop.remove_signal_handler(signal.SIGINT)
    if main:
        main.cancel()


def collect_rarely() -> None:
    """Let Python's search for cycles leave out what is loaded, and come seldom: it is a pause for everybody.

    There is no search now: loading leaves a few hundred objects in cycles, and to find them takes 15 ms of the start.
    """
    gc.freeze()
    gc.set_threshold(GARBAGE, 10, 10)


def end(service: Service, rolling: Rolling | None) -> None:
    """Let go of the models and the log, when nothing is asked any more."""
    service.pool.shutdown(wait=True)
    service.rollout.close()
    if rolling:
        _spawn(rolling)  # the last of the log becomes Parquet after we are gone


async def _tick(site: Site) -> None:
    while True:
        await asyncio.sleep(1.0)
        site.tick()


async def tell(service: Service) -> None:
    """Write down each minute what was taken and what was refused, for the monitoring."""
    if service.traffic is None:
        return
    name = f"{socket.gethostname()}-{os.getpid()}-{int(time.time())}"
    await asyncio.to_thread(traffic.prune, service.traffic, time.time())
    before: tuple[int, Counter[str]] = (0, Counter())
    while True:
        await asyncio.sleep(MINUTE)
        refused = sum((active.served.refused for active in service.rollout.active.values()), Counter[str]())
        now = sum(service.metrics.predictions.values()), refused
        minute = traffic.Minute(time.time(), now[0] - before[0], refused - before[1])
        before = now
        if minute.answered or minute.refused:
            with contextlib.suppress(OSError):  # a full disk is told by the prediction log
                await asyncio.to_thread(traffic.append, service.traffic, name, minute)


async def roll(service: Service, rolling: Rolling | None) -> None:
    """Begin a new live file where one is large; every `rolling.seconds` where it is old, and let a child go over them.

    The child makes Parquet of what is closed, deletes what is older than the retention, and finds what a
    killed server left. It does not come with each large file: under load it would compete all the time.
    """
    last, child = time.monotonic(), None
    while rolling:
        await asyncio.sleep(min(rolling.seconds, 1.0))
        due = time.monotonic() - last >= rolling.seconds
        await asyncio.to_thread(_rotate, service, rolling.seconds if due else float("inf"))
        if due:
            last = time.monotonic()
            child = _spawn(rolling) if child is None or child.poll() is not None else child


def _rotate(service: Service, age: float) -> None:
    """Begin new segments where the present ones are `age` seconds old, or large; try again where one failed."""
    for active in list(service.rollout.active.values()):
        served = active.served
        if served.writer is None:
            continue
        with served.logging:
            try:
                served.writer.rotate(SEGMENT, age)
            except (DataError, OSError) as error:
                log.error("the prediction log goes on in its present file: %s", error)
            if served.writer.fault:
                served.writer.recover()


def _spawn(rolling: Rolling) -> subprocess.Popen[bytes] | None:
    try:
        # a group of its own, so that Ctrl-C does not reach it; not a session, in which its niceness would mean nothing
        child = subprocess.Popen(rolling.command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, process_group=0)
        with contextlib.suppress(ProcessLookupError):
            os.setpriority(os.PRIO_PROCESS, child.pid, BEHIND)  # its imports too give way to whoever serves
        return child
    except OSError as error:  # no memory or no file handle just now: the next time comes
        log.error("the prediction log is not rolled: %s", error)
        return None
