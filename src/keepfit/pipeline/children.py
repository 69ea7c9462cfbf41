"""Child processes of the loop: one that is kept alive, and one that has to end in time.

Each is a command of keepfit run by `keepfit.attached`, so that none outlives its parent, in a session
of its own, so that Ctrl-C reaches the parent alone. All that a child writes is read, so that none waits
for somebody to read it: what a project's features.py prints must not stop a server.
"""

from __future__ import annotations

import asyncio
import json
import os
import re
import signal
import sys
import time
from asyncio.subprocess import PIPE, Process
from collections import deque
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

from keepfit.errors import KeepfitError
from keepfit.pipeline.telling import Event, Say, logged

PAUSE, LONGEST = 0.5, 30.0  # seconds before a child is started again, doubled each time up to the longest
STEADY = 60.0  # seconds after which a child has proved itself, and the pause begins anew
GRACE = 35.0  # seconds that a child has to end when it is asked to
BEHIND = 10  # niceness of the passes: who serves comes first
TAIL = 20  # lines of a pass's stderr that are kept
LAST = 2.0  # seconds to read what a process that ended has written; whom it started may hold the pipe for ever
HELD = 0.5  # seconds between two looks at a process whose pipes are held by others
LINE = 2**20  # bytes of the longest line that is read
LOOK, WAIT, SILENT = 10.0, 10.0, 3  # seconds between two looks at a server, for its answer; and how many may fail
SERVING = re.compile(r"Serving at (\S+)")


@dataclass
class Child:
    """A command that is kept alive. `url` is where it serves, while it does; times are seconds since 1970.

    One that is not `vital` may fail to start for the first time, and is tried again.
    """

    name: str
    arguments: Sequence[str]
    vital: bool = True
    pid: int | None = None
    since: float | None = None
    restarts: int = 0
    exit: int | None = None
    url: str | None = None
    told: str = ""  # the last thing that was said about it
    process: Process | None = field(default=None, repr=False)


@dataclass(frozen=True)
class Ended:
    """What a pass came to: its exit code (None: it was stopped after its limit), its document, its last lines."""

    code: int | None
    document: Any
    tail: str
    seconds: float


def how(code: int) -> str:
    """How a process ended, in words.

    >>> how(1), how(-9)
    ('ended with code 1', 'was killed (SIGKILL)')
    """
    return f"was killed ({signal.Signals(-code).name})" if code < 0 else f"ended with code {code}"


async def start(arguments: Sequence[str], nice: int = 0, errors: int | None = PIPE) -> Process:
    """A command of keepfit as a child of this process. Raises OSError where the system has no room for it."""
    lower = ["--nice", str(nice)] if nice else []
    return await asyncio.create_subprocess_exec(
        sys.executable, "-m", "keepfit.attached", *lower, *arguments,
        stdin=PIPE, stdout=PIPE, stderr=errors, start_new_session=True, limit=LINE,
    )  # fmt: skip


# --- kept alive -----------------------------------------------------------------------------------


async def keep(child: Child, changed: Callable[[], None], say: Say) -> None:
    """Keep a child alive for ever. Raises KeepfitError when a vital one does not even start for the first time."""
    pause, served = PAUSE, False
    while True:
        began = time.monotonic()
        ended, last = await _serve(child, changed, say)
        served = served or child.url is not None
        child.exit, child.url = ended, None
        if child.vital and not served and ended is not None and ended >= 0:  # who was killed on the way may try again
            raise KeepfitError(f"'keepfit {child.arguments[0]}' did not start. {last}")
        pause = PAUSE if time.monotonic() - began > STEADY else min(pause * 2, LONGEST)
        child.restarts += 1
        why = last if ended is None or (not served and last) else how(ended)
        child.told = f"{why}; it is started again in {pause:g} s"
        say(Event(child.name, child.told, bad=True))
        changed()
        await asyncio.sleep(pause)


async def _serve(child: Child, changed: Callable[[], None], say: Say) -> tuple[int | None, str]:
    """Run a child until it ends: its exit code (None: it could not be started), and the last that it said."""
    try:
        process = child.process = await start(child.arguments)
    except OSError as error:
        return None, f"cannot be started: {error.strerror or error}"
    child.pid, child.since, child.exit = process.pid, time.time(), None
    changed()
    last = [""]

    async def addresses() -> None:
        async for line in _lines(process.stdout):
            if (found := SERVING.match(line)) and child.url is None:
                child.url = found[1]
                say(Event(child.name, found[1], url=found[1]))
                changed()

    async def log() -> None:
        async for line in _lines(process.stderr):
            last[0] = line or last[0]
            say(logged(child.name, line))

    watching = asyncio.create_task(_alive(child, say))
    try:
        return await _ended(process, addresses(), log()), last[0].removeprefix("Error: ")
    finally:
        watching.cancel()


async def _alive(child: Child, say: Say) -> None:
    """End a child that is there and does not answer any more: it is then started again."""
    silent = 0
    while silent < SILENT:
        await asyncio.sleep(LOOK)
        silent = 0 if child.url is None or await _answers(child.url) else silent + 1
    say(Event(child.name, f"has not answered for {SILENT * (LOOK + WAIT):.0f} s; it is ended", bad=True))
    await stop(child.process, WAIT)


async def _answers(url: str) -> bool:
    """Whether a server takes a connection and says anything at all."""
    host, _, port = url.removeprefix("http://").rpartition(":")
    writer = None
    try:
        async with asyncio.timeout(WAIT):
            reader, writer = await asyncio.open_connection(host.strip("[]"), int(port))
            writer.write(b"GET /health HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n")
            return bool(await reader.readline())
    except OSError:  # TimeoutError is one
        return False
    finally:
        if writer:
            writer.close()


async def _lines(stream: asyncio.StreamReader | None) -> AsyncIterator[str]:
    while stream:
        try:
            line = await stream.readline()
        except ValueError:  # longer than LINE: nothing that we wrote
            continue
        if not line:
            return
        yield line.decode(errors="replace").rstrip()


async def _ended(process: Process, *readers: Any) -> int:
    """Wait for a process while its pipes are read; its exit code."""
    reading = [asyncio.ensure_future(reader) for reader in readers]
    try:
        code = await _exit(process)
        await asyncio.wait(reading, timeout=LAST)
        return code
    finally:
        for reader in reading:
            reader.cancel()


async def _exit(process: Process) -> int:
    """The exit code of a process that ends, once its pipes are read, or `LAST` seconds later.

    `Process.wait` alone waits for whoever else holds its pipes, for ever; asyncio has no public way to close them.
    """
    waiting = asyncio.ensure_future(process.wait())
    try:
        while process.returncode is None:
            await asyncio.wait([waiting], timeout=HELD)
        await asyncio.wait([waiting], timeout=LAST)
        process._transport.close()  # type: ignore[attr-defined]
        return process.returncode
    finally:
        waiting.cancel()


# --- run once -------------------------------------------------------------------------------------


async def once(arguments: Sequence[str], limit: float, shown: bool = False) -> Ended:
    """Run a command to its end, or stop it after `limit` seconds. `shown`: its stderr goes to ours."""
    began, code = time.monotonic(), None
    process = await start(arguments, BEHIND, None if shown else PIPE)
    out: list[str] = []
    tail: deque[str] = deque(maxlen=TAIL)
    try:
        code = await asyncio.wait_for(_ended(process, _document(process, out), _tail(process, tail)), limit)
    except TimeoutError:
        out = []
    finally:
        await stop(process, 5.0)
    document = None
    with suppress(ValueError):
        document, _ = json.JSONDecoder().raw_decode("\n".join(out))
    return Ended(code, document, "\n".join(tail), time.monotonic() - began)


async def _document(process: Process, out: list[str]) -> None:
    """The last JSON document on stdout. What a project's own code prints before it is let go."""
    async for line in _lines(process.stdout):
        if line.startswith("{"):
            out.clear()
        if out or line.startswith("{"):
            out.append(line)


async def _tail(process: Process, tail: deque[str]) -> None:
    async for line in _lines(process.stderr):
        tail.append(line)


async def stop(process: Process | None, grace: float = GRACE) -> None:
    """Ask a child to end, and end it, with what it has started, when it does not."""
    if process is None:
        return
    with suppress(ProcessLookupError):
        if process.returncode is None:
            process.terminate()
    try:
        await asyncio.wait_for(_exit(process), grace)
    except TimeoutError:
        kill(process)
        await _exit(process)


def kill(process: Process | None) -> None:
    """End a child, with what it has started, at once."""
    if process and process.returncode is None:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
