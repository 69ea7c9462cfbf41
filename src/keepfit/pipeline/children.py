"""Child processes of the loop: one that is kept alive, and one that has to end in time.

Each is a command of keepfit run by `keepfit.attached`, so that none outlives its parent, in a session
of its own, so that Ctrl-C reaches the parent alone.
"""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
import time
from asyncio.subprocess import PIPE, Process
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

from keepfit.errors import KeepfitError

PAUSE, LONGEST = 0.5, 30.0  # seconds before a child is started again, doubled each time up to the longest
STEADY = 60.0  # seconds after which a child has proved itself, and the pause begins anew
GRACE = 35.0  # seconds that a child has to end when it is asked to
BEHIND = 10  # niceness of the passes: who serves comes first
TAIL = 20  # lines of a pass's stderr that are kept

Say = Callable[[str], None]


@dataclass
class Child:
    """A command that is kept alive. `url` is where it serves, while it does; times are seconds since 1970."""

    name: str
    arguments: Sequence[str]
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


async def start(arguments: Sequence[str], nice: int = 0, errors: int | None = None) -> Process:
    """A command of keepfit as a child of this process."""
    lower = ["--nice", str(nice)] if nice else []
    return await asyncio.create_subprocess_exec(
        sys.executable, "-m", "keepfit.attached", *lower, *arguments,
        stdin=PIPE, stdout=PIPE, stderr=errors, start_new_session=True,
    )  # fmt: skip


async def keep(child: Child, changed: Callable[[], None], say: Say) -> None:
    """Keep a child alive for ever. Raises KeepfitError when it does not even start for the first time."""
    pause, served = PAUSE, False
    while True:
        began = time.monotonic()
        process = child.process = await start(child.arguments)
        child.pid, child.since, child.exit = process.pid, time.time(), None
        changed()
        child.url = (await _document(process) or {}).get("url")
        if child.url:
            served = True
            say(f"{child.name:8s} {child.url}")
            changed()
        child.exit = await process.wait()
        child.url = None
        if not served:
            raise KeepfitError(f"'keepfit {child.arguments[0]}' did not start; what it said stands above.")
        pause = PAUSE if time.monotonic() - began > STEADY else min(pause * 2, LONGEST)
        child.restarts += 1
        child.told = f"ended with code {child.exit}, started again after {pause:g} s"
        say(f"{child.name:8s} {child.told}")
        changed()
        await asyncio.sleep(pause)


async def _document(process: Process) -> Any:
    """The first JSON document on a child's stdout; None when it ended before."""
    assert process.stdout is not None
    text = ""
    while line := await process.stdout.readline():
        text += line.decode(errors="replace")
        with suppress(ValueError):
            return json.loads(text)
    return None


async def once(arguments: Sequence[str], limit: float, shown: bool = False) -> Ended:
    """Run a command to its end, or stop it after `limit` seconds. `shown`: its stderr goes to ours."""
    began = time.monotonic()
    process = await start(arguments, BEHIND, None if shown else PIPE)
    try:
        out, errors = await asyncio.wait_for(_output(process), limit)
        code = process.returncode
    except TimeoutError:
        out, errors, code = b"", b"", None
    finally:
        await stop(process, 5.0)
    document = None
    with suppress(ValueError):
        document = json.loads(out)
    tail = "\n".join(errors.decode(errors="replace").splitlines()[-TAIL:])
    return Ended(code, document, tail, time.monotonic() - began)


async def _output(process: Process) -> tuple[bytes, bytes]:
    """All that a child writes. Its stdin stays open: that it closes means that we are gone."""

    async def read(stream: asyncio.StreamReader | None) -> bytes:
        return await stream.read() if stream else b""

    out, errors = await asyncio.gather(read(process.stdout), read(process.stderr))
    await process.wait()
    return out, errors


async def stop(process: Process | None, grace: float = GRACE) -> None:
    """Ask a child to end, and end it, with what it has started, when it does not."""
    if process is None or process.returncode is not None:
        return
    with suppress(ProcessLookupError):
        process.terminate()
    try:
        await asyncio.wait_for(process.wait(), grace)
    except TimeoutError:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        await process.wait()
