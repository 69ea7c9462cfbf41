"""Servers under load: started on a core of their own, timed to their first good answer, and what they cost.

The client keeps the first core that this process may use, every server gets the last one. CPU time
and resident memory are those of the whole tree of processes, from /proc; pages that two processes share
count twice.
"""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from benchmarks import load, measure
from benchmarks.environments import PeerError

PATIENCE = 180.0  # seconds to the first good answer
LOOK = 0.005  # seconds between two questions to a server that starts
GOING = 20.0  # seconds to go after SIGTERM
TICK = os.sysconf("SC_CLK_TCK")
HOST = "127.0.0.1"


@dataclass(frozen=True)
class Server:
    """A server that runs: its process, where it listens, and what its start cost.

    `cold` are the seconds to its first good answer and `cold_cpu` its CPU seconds up to then; `others` is
    the share of the machine that other processes took meanwhile.
    """

    pid: int
    address: tuple[str, int]
    cold: float
    cold_cpu: float
    others: float

    def cpu(self) -> float:
        """CPU seconds that the tree has used up to now, ended children included."""
        return cpu(self.pid)

    def memory(self) -> int:
        """Resident bytes of the tree."""
        return sum(measure.resident(pid) for pid in [self.pid, *measure.descendants(self.pid)])


def cores() -> tuple[int, int]:
    """The client's core and the server's. Raises PeerError where there is one core alone."""
    mine = sorted(os.sched_getaffinity(0))
    if len(mine) < 2:
        raise PeerError("client and server need a core each, and this process may use one alone")
    return mine[0], mine[-1]


@contextlib.contextmanager
def on(core: int) -> Iterator[None]:
    """This process on one core, for as long as it measures."""
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {core})
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)


@contextlib.contextmanager
def started(
    command: Sequence[str | os.PathLike[str]],
    port: int,
    first: bytes,
    marker: bytes,
    core: int,
    env: Mapping[str, str] | None = None,
) -> Iterator[Server]:
    """A server on `core` that has given a good answer to the request `first`; ended on leaving.

    Raises CommandError with the last lines that it printed where it ends before, or never answers.
    """
    with tempfile.TemporaryFile() as printed:
        begun, busy, own = time.perf_counter(), measure.busy(), time.process_time()
        process = subprocess.Popen(
            [os.fspath(part) for part in command],
            env={**measure.environment(), **(env or {})},
            stdout=printed,
            stderr=subprocess.STDOUT,
            start_new_session=True,
            preexec_fn=lambda: os.sched_setaffinity(0, {core}),
        )
        try:
            if not _wait(process, port, first, marker, begun + PATIENCE):
                printed.seek(0)
                text = printed.read().decode(errors="replace")[-3000:]
                raise measure.CommandError(f"{' '.join(map(str, command))}\ngave no good answer and printed\n{text}")
            wall, spent = time.perf_counter() - begun, cpu(process.pid)
            taken = measure.busy() - busy - spent - (time.process_time() - own)
            others = max(0.0, taken) / (wall * (os.cpu_count() or 1))
            yield Server(process.pid, (HOST, port), wall, spent, others)
        finally:
            end(process)


def end(process: subprocess.Popen[bytes]) -> None:
    """SIGTERM to the server, then SIGKILL to what is left of it and its children.

    What it left on purpose, in its session (keepfit's makes Parquet of the log), is waited for: the next
    server would share its core with it.
    """
    tree = measure.descendants(process.pid)
    process.terminate()
    with contextlib.suppress(subprocess.TimeoutExpired):
        process.wait(GOING)
    for pid in [process.pid, *tree] if process.returncode is None else tree:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    process.wait()
    until = time.monotonic() + GOING
    while left := _session(process.pid):
        if time.monotonic() > until:
            for pid in left:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
        time.sleep(LOOK)


def _session(leader: int) -> list[int]:
    """The processes of a session, zombies left out; [] where /proc does not tell."""
    found = []
    for path in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):
            state, _, _, session = path.read_text().rpartition(")")[2].split()[:4]
            if int(session) == leader and state not in "ZX":
                found.append(int(path.parent.name))
    return found


def free_port() -> int:
    """A port that nothing listens on now."""
    with socket.create_server((HOST, 0)) as listener:
        port: int = listener.getsockname()[1]
        return port


def once(address: tuple[str, int], request: bytes, timeout: float = 30.0) -> bytes | None:
    """The body of the answer to one request; None for no answer or a code that is not 200."""
    data = b""
    try:
        with socket.create_connection(address, timeout=timeout) as link:
            link.sendall(request)
            while chunk := link.recv(1 << 16):
                data += chunk
                begin, end = load.read(data)
                if end and len(data) >= end:
                    return data[begin:end] if data[9:12] == b"200" else None
    except (OSError, ValueError):
        return None
    return None


def _wait(process: subprocess.Popen[bytes], port: int, first: bytes, marker: bytes, until: float) -> bool:
    while time.perf_counter() < until and process.poll() is None:
        body = once((HOST, port), first)
        if body is not None and marker in body:
            return True
        time.sleep(LOOK)
    return False


def cpu(pid: int) -> float:
    """CPU seconds of a process and all under it, ended children included."""
    return sum(_cpu(each) for each in [pid, *measure.descendants(pid)])


def _cpu(pid: int) -> float:
    """User and system seconds of a process and of its children that have ended; 0.0 when it is gone."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return 0.0
    return sum(int(value) for value in fields[11:15]) / TICK
