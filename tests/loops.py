"""A running `keepfit up`, its users, and what it left."""

from __future__ import annotations

import json
import os
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple
from urllib.request import Request, urlopen
from uuid import uuid4

import polars as pl

from tests.serving import KEEPFIT

PATIENCE = 120.0
MARK = "KEEPFIT_TEST_LOOP"


class Loop(NamedTuple):
    """`keepfit up -C folder`, and the mark in the environment of all that it starts."""

    process: subprocess.Popen[str]
    folder: Path
    mark: str

    def until(self, told: Callable[[], Any]) -> Any:
        return until(told, self.folder)

    def server(self) -> dict[str, Any] | None:
        """The child that serves, once it answers."""
        found = state(self.folder)
        child: dict[str, Any] = found["children"]["serve"]
        return child if found.get("pid") == self.process.pid and child["url"] else None

    def url(self) -> str:
        url: str = self.until(self.server)["url"]
        return url

    def processes(self) -> dict[int, str]:
        """Number → command line of all that this loop has started, however indirectly."""
        return processes(self.mark)


@contextmanager
def loop(folder: Path, *options: str, mark: str = "") -> Iterator[Loop]:
    mark = mark or uuid4().hex
    kept = {k: v for k, v in os.environ.items() if k != "KEEPFIT_API_KEY"}
    with (folder / "up.log").open("a") as log:
        process = subprocess.Popen(
            [*KEEPFIT, "up", "-C", str(folder), "--port", "0", "--no-ui", *options],
            stdout=log, stderr=log, text=True, start_new_session=True, env={**kept, MARK: mark},
        )  # fmt: skip
        try:
            yield Loop(process, folder, mark)
        finally:
            if process.poll() is None:
                process.kill()
            process.wait()


def until(told: Callable[[], Any], folder: Path) -> Any:
    """Ask until there is an answer."""
    end = time.monotonic() + PATIENCE
    while not (found := told()):
        assert time.monotonic() < end, (folder / "up.log").read_text()
        time.sleep(0.05)
    return found


def state(folder: Path) -> dict[str, Any]:
    try:
        found: dict[str, Any] = json.loads((folder / ".keepfit/monitoring/up.json").read_text())
    except FileNotFoundError:
        return {"status": "", "children": {"serve": {"url": None, "pid": None, "restarts": 0}}, "passes": {}}
    return found


def processes(mark: str) -> dict[int, str]:
    found = {}
    for path in Path("/proc").iterdir():
        try:
            if path.name.isdigit() and f"{MARK}={mark}".encode() in (path / "environ").read_bytes():
                found[int(path.name)] = (path / "cmdline").read_bytes().replace(b"\0", b" ").decode()
        except OSError:  # ended meanwhile
            continue
    return {number: command for number, command in found.items() if command}


def asked(url: str, body: Any) -> Any:
    """What the server answers to a JSON body. Raises OSError where there is none, or no good one."""
    request = Request(url, json.dumps(body).encode(), {"content-type": "application/json"})
    with urlopen(request, timeout=20) as response:
        return json.loads(response.read())


def lived(url: str, frame: pl.DataFrame, target: str = "left", size: int = 100) -> list[tuple[str, str]]:
    """Ask about the rows, then tell what was true of them; (id, version that answered) of each."""
    found = []
    for part in frame.iter_slices(size):
        told = asked(f"{url}/predict", part.drop(target).to_dicts())
        ids = [one["id"] for one in told["predictions"]]
        found += [(key, told["model"]["version"]) for key in ids]
        labels = [{"id": key, "label": label} for key, label in zip(ids, part[target], strict=True)]
        assert asked(f"{url}/feedback", labels)["accepted"] == len(part)
    return found
