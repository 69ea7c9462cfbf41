"""A running `keepfit serve`, and a plain HTTP client for it."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from http.client import HTTPConnection
from pathlib import Path
from typing import Any, NamedTuple

KEEPFIT = (sys.executable, "-c", "from keepfit.cli import main; main()")


class Answer(NamedTuple):
    status: int
    headers: Mapping[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)


class Server:
    """The process, its address, and what it wrote."""

    def __init__(self, process: subprocess.Popen[str], url: str, log: Path) -> None:
        self.process, self.url, self.log = process, url, log
        self.host, _, port = url.removeprefix("http://").rpartition(":")
        self.port = int(port)

    def ask(self, method: str, path: str, body: Any = None, **headers: str) -> Answer:
        """One request on a connection of its own; a body that is no bytes is sent as JSON."""
        data = body if isinstance(body, bytes) or body is None else json.dumps(body).encode()
        connection = HTTPConnection(self.host, self.port, timeout=20)
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        connection.request(method, path, data, {"content-type": "application/json", **named})
        response = connection.getresponse()
        answer = Answer(response.status, {k.lower(): v for k, v in response.getheaders()}, response.read())
        connection.close()
        return answer

    def get(self, path: str, **headers: str) -> Answer:
        return self.ask("GET", path, None, **headers)

    def post(self, path: str, body: Any, **headers: str) -> Answer:
        return self.ask("POST", path, body, **headers)

    def until(self, path: str, true: Any, seconds: float = 10.0) -> Any:
        """Ask until `true` of the answer's JSON."""
        end = time.monotonic() + seconds
        while not true(found := self.get(path).json):
            if time.monotonic() > end:
                raise AssertionError(f"{path} still says {found}; {self.log.read_text()}")
            time.sleep(0.02)
        return found

    def stop(self, number: int = signal.SIGTERM) -> int:
        self.process.send_signal(number)
        return self.process.wait(30)


@contextmanager
def serving(
    project: Path, *options: str, environment: Mapping[str, str | None] | None = None, command: str = "serve"
) -> Iterator[Server]:
    """`keepfit serve -C project` on a free port, once it answers; stopped at the end."""
    given = {**os.environ, "KEEPFIT_API_KEY": None, "KEEPFIT_ADMIN_KEY": None, **(environment or {})}
    log = project / "server.log"
    with log.open("w") as written:
        process = subprocess.Popen(
            [*KEEPFIT, command, "-C", str(project), "--port", "0", *options],
            env={name: value for name, value in given.items() if value is not None},
            stdout=subprocess.PIPE, stderr=written, text=True, start_new_session=True,
        )  # fmt: skip
    try:
        assert process.stdout is not None
        line = process.stdout.readline()
        if not line.startswith("Serving at "):
            process.wait(20)
            raise AssertionError(f"it did not start ({process.returncode}): {line}{log.read_text()}")
        yield Server(process, line.removeprefix("Serving at ").strip(), log)
    finally:
        if process.poll() is None:
            process.kill()
            process.wait()
        if process.stdout:
            process.stdout.close()
