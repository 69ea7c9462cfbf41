"""What a command costs: CPU seconds and memory of the whole process tree, measured by the kernel.

The command runs under a supervisor, a bare Python of a few megabytes that this file is itself run
as. The supervisor adopts the descendants that outlive their parents (`PR_SET_CHILD_SUBREAPER`), so
that pools of workers and servers left behind are counted too, and being small it adds nothing to
the peak memory (Linux counts the pages a process had before `exec`).

CPU is user plus system time of everything that ended (`wait4`, RUSAGE_CHILDREN). Memory is the
larger of the greatest single peak (ru_maxrss) and the sampled sum over the tree.

>>> usage = measure([sys.executable, "-c", "print('hello')"])
>>> usage.code, usage.text
(0, 'hello\\n')
"""

from __future__ import annotations

import contextlib
import ctypes
import json
import os
import resource
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

SUBREAPER = 36  # PR_SET_CHILD_SUBREAPER of <linux/prctl.h>
BUSY = 0.1  # share of the machine that others may take before a budget of wall seconds is cut short by them
GRACE = 5.0  # seconds that descendants may go on when the command itself has ended
EVERY = 0.02  # seconds between two looks at the tree's memory


Command = Sequence[str | os.PathLike[str]]


@dataclass(frozen=True)
class Usage:
    """One run of a command: exit code, CPU and wall seconds, peak memory in bytes, what it printed.

    `others` is the share of the machine's cores that other processes took meanwhile: with much of it,
    wall seconds and whatever has a budget of wall seconds tell little.
    """

    code: int
    cpu: float
    wall: float
    peak: int
    text: str = ""
    others: float = 0.0


class CommandError(RuntimeError):
    """A measured command failed; the message ends with the last lines it printed."""


def measure(
    command: Command,
    cwd: Path | None = None,
    env: Mapping[str, str] | None = None,
    codes: Sequence[int] = (0,),
) -> Usage:
    """Run a command to its end and say what it cost. Raises CommandError for a code not in `codes`."""
    told = [os.fspath(part) for part in command]
    with tempfile.TemporaryFile() as printed, tempfile.NamedTemporaryFile() as note:
        supervisor = [sys.executable, "-I", "-S", __file__, note.name, *told]
        where = {**environment(), **(env or {})}
        done = subprocess.run(supervisor, cwd=cwd, env=where, stdout=printed, stderr=subprocess.STDOUT, check=False)
        printed.seek(0)
        text = printed.read().decode(errors="replace")
        if done.returncode:
            raise CommandError(f"cannot run {told[0]}: {text[-1000:]}")
        usage = Usage(**json.loads(note.read()), text=text)
    if usage.code not in codes:
        raise CommandError(f"{' '.join(told)}\nended with code {usage.code} and printed\n{text[-3000:]}")
    return usage


def environment() -> dict[str, str]:
    """This process's variables, less those that slow every import down, telemetry off, one seed for hashes."""
    kept = {k: v for k, v in os.environ.items() if k not in ("PYTHONDONTWRITEBYTECODE", "MLFLOW_TRACKING_URI")}
    off = {"DO_NOT_TRACK": "true", "MLFLOW_DISABLE_TELEMETRY": "true", "MPLBACKEND": "agg"}
    return {**kept, **off, "PYTHONHASHSEED": "0"}


def median(usages: Sequence[Usage]) -> Usage:
    """Medians of CPU, wall and peak over runs of the same command; code and text of the last.

    >>> median([Usage(0, 1.0, 2.0, 10), Usage(0, 3.0, 2.5, 30), Usage(0, 2.0, 9.0, 20)])
    Usage(code=0, cpu=2.0, wall=2.5, peak=20, text='', others=0.0)
    """
    if not usages:
        raise ValueError("no runs to take a median of")
    names = ("cpu", "wall", "peak", "others")
    cpu, wall, peak, others = (statistics.median(getattr(u, name) for u in usages) for name in names)
    return Usage(usages[-1].code, cpu, wall, int(peak), usages[-1].text, others)


def repeat(command: Command, times: int, cwd: Path | None = None) -> Usage:
    """Medians over `times` runs, after one that is not counted (it fills caches and compiles modules)."""
    measure(command, cwd)
    return median([measure(command, cwd) for _ in range(times)])


def _supervise(note: str, command: list[str]) -> None:
    """Run the command, adopt what it leaves behind, and write the costs to `note`."""
    with contextlib.suppress(OSError, AttributeError):  # not Linux: orphans are not counted
        ctypes.CDLL(None).prctl(SUBREAPER, 1, 0, 0, 0)
    own = resource.getrusage(resource.RUSAGE_SELF)
    start, before = time.perf_counter(), busy()
    child = os.posix_spawnp(command[0], command, os.environ)
    code, peak = _wait(child)
    wall = time.perf_counter() - start
    peak = max(peak, _settle())
    span, after = time.perf_counter() - start, busy()
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    unit = 1 if sys.platform == "darwin" else 1024
    floor = own.ru_maxrss * unit  # what the spawned process inherits from the supervisor is no memory of its own
    largest = used.ru_maxrss * unit
    cpu = used.ru_utime + used.ru_stime
    others = max(0.0, after - before - cpu) / (span * (os.cpu_count() or 1))
    cost = {"code": code, "cpu": cpu, "wall": wall, "others": round(others, 3)}
    Path(note).write_text(json.dumps({**cost, "peak": max(peak, largest if largest > floor else 0)}))


def _wait(child: int) -> tuple[int, int]:
    """Exit code of the command, and the largest sampled memory of its tree in bytes."""
    code, peak, start = None, 0, time.monotonic()
    known: set[int] = set()
    while code is None:
        there = set(descendants(os.getpid()))
        peak = max(peak, sum(resident(pid) for pid in there & known))
        known = there  # between fork and exec a child shares its parent's memory: it counts from the second look on
        found, status = os.waitpid(-1, os.WNOHANG)
        if found == child:
            code = os.waitstatus_to_exitcode(status)
        elif found == 0:  # looks often at short commands, so that their wall seconds are right
            time.sleep(min(EVERY, max(0.0005, (time.monotonic() - start) / 50)))
    return code, peak


def _settle() -> int:
    """Wait for adopted descendants, at most GRACE seconds, then end them; they count as well."""
    deadline, peak = time.monotonic() + GRACE, 0
    while True:
        left = descendants(os.getpid())
        peak = max(peak, sum(resident(pid) for pid in left))
        if time.monotonic() > deadline:
            for pid in left:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
        try:
            found, _ = os.waitpid(-1, os.WNOHANG)
        except ChildProcessError:
            return peak
        if not found:
            time.sleep(EVERY)


def descendants(pid: int) -> list[int]:
    """Processes under `pid`, in no order; [] where /proc does not tell."""
    found: list[int] = []
    for path in Path(f"/proc/{pid}/task").glob("*/children"):
        with contextlib.suppress(OSError):
            for child in map(int, path.read_text().split()):
                found += [child, *descendants(child)]
    return found


def busy() -> float:
    """CPU seconds that all processes of the machine have used, and that a host took from it; 0 if unknown."""
    try:
        ticks = [int(value) for value in Path("/proc/stat").read_text().splitlines()[0].split()[1:9]]
    except OSError:
        return 0.0
    user, nice, system, _idle, _wait, interrupts, soft, stolen = ticks
    return (user + nice + system + interrupts + soft + stolen) / os.sysconf("SC_CLK_TCK")


def resident(pid: int) -> int:
    """Resident bytes of a process; 0 when it is gone."""
    try:
        return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * resource.getpagesize()
    except (OSError, IndexError):
        return 0


if __name__ == "__main__":
    _supervise(sys.argv[1], sys.argv[2:])
