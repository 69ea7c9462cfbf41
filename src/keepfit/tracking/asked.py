"""Ask MLflow in a process of its own (`fetch`), so that this one stays without it."""

from __future__ import annotations

import json
import os
import select
import subprocess
import sys
import tempfile
import threading
import time
import weakref
from pathlib import Path
from typing import IO, Any

from keepfit import errors
from keepfit.errors import KeepfitError, TrackingError

COMMAND = (sys.executable, "-m", "keepfit.tracking.fetch")
SECONDS = 60.0  # for an answer; the import of MLflow is in the first
LONG = 900.0  # for the files of a version


class Child:
    """A process with MLflow in it: begun when it is first asked, again when it has died, ended by `close`.

    It holds some 150 MB. One question at a time; threads wait for each other.
    """

    def __init__(self, tracking: str, registry: str, model: str, work: Path) -> None:
        self.store = {"tracking": tracking, "registry": registry, "model": model, "work": str(work.resolve())}
        self.process: subprocess.Popen[bytes] | None = None
        self.told: IO[bytes] | None = None  # its stderr
        self.lock = threading.Lock()

    def version(self, which: str) -> str | None:
        """The version that carries the alias `which`, or of that number. Raises TrackingError."""
        found = self._ask({"which": which}, SECONDS)["version"]
        return None if found is None else str(found)

    def fetch(self, version: str) -> Path:
        """The bundle's folder. Raises TrackingError, or BundleError for a damaged one."""
        return Path(self._ask({"fetch": version}, LONG)["folder"])

    def close(self) -> None:
        """End the process."""
        with self.lock:
            self._end()

    def _ask(self, request: dict[str, str], seconds: float) -> dict[str, Any]:
        with self.lock:
            process = self._running()
            try:
                line = _exchange(process, request, seconds)
                answer: dict[str, Any] = json.loads(line)
            except (OSError, ValueError) as error:
                last = self._end()
                raise TrackingError(
                    f"MLflow's process gave no answer ({type(error).__name__}: {error}). {last}".rstrip()
                ) from error
        if "error" in answer:
            kind = getattr(errors, answer["error"], TrackingError)
            raise kind(answer["message"]) if issubclass(kind, KeepfitError) else TrackingError(answer["message"])
        return answer

    def _running(self) -> subprocess.Popen[bytes]:
        if self.process is None or self.process.poll() is not None:
            self._end()
            self.told = tempfile.TemporaryFile()  # noqa: SIM115 - closed by _stop
            self.process = subprocess.Popen(
                COMMAND, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=self.told, start_new_session=True
            )
            # it goes when nobody can ask it any more
            self.finalizer = weakref.finalize(self, _stop, self.process, self.told)
            _send(self.process, self.store)
        return self.process

    def _end(self) -> str:
        """Make sure that it is gone; the last line that it wrote about itself."""
        if self.process is None or self.told is None:
            return ""
        self.process.kill()
        self.process.wait()
        self.told.seek(0)
        lines = self.told.read().decode(errors="replace").strip().splitlines()
        self.finalizer()
        self.process = self.told = None
        return lines[-1] if lines else ""


def _stop(process: subprocess.Popen[bytes], told: IO[bytes]) -> None:
    process.kill()
    process.wait()
    _closed(process.stdin)
    _closed(process.stdout)
    told.close()


def _closed(pipe: IO[bytes] | None) -> None:
    try:
        if pipe:
            pipe.close()
    except BrokenPipeError:
        return  # what was not sent is not missed


def _send(process: subprocess.Popen[bytes], what: dict[str, str]) -> None:
    if process.stdin:
        process.stdin.write(json.dumps(what).encode() + b"\n")
        process.stdin.flush()


def _exchange(process: subprocess.Popen[bytes], request: dict[str, str], seconds: float) -> bytes:
    """Send one line, get one. Raises OSError where the process dies or takes too long."""
    _send(process, request)
    handle = process.stdout.fileno() if process.stdout else -1
    end, line = time.monotonic() + seconds, b""
    while not line.endswith(b"\n"):
        ready, _, _ = select.select([handle], [], [], max(0.0, end - time.monotonic()))
        if not ready:
            raise TimeoutError(f"none within {seconds:.0f} s")
        piece = os.read(handle, 1 << 16)
        if not piece:
            raise ConnectionError("it ended")
        line += piece
    return line
