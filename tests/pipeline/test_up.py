"""The loop under one supervisor, as a process that is treated badly."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.request import urlopen

import pytest

from keepfit import durable
from tests.projects import keepfit, project, table
from tests.serving import KEEPFIT

pytestmark = pytest.mark.slow
PATIENCE = 60.0


@pytest.fixture
def champion(tmp_path: Path) -> Path:
    (tmp_path / "first").mkdir()
    folder = project(tmp_path / "first", table())
    assert keepfit("run", "-C", str(folder))[0] == 0
    return folder


@contextmanager
def loop(folder: Path, *options: str) -> Iterator[subprocess.Popen[str]]:
    log = (folder / "up.log").open("a")
    process = subprocess.Popen(
        [*KEEPFIT, "up", "-C", str(folder), "--port", "0", "--no-ui", *options],
        stdout=log, stderr=log, text=True, start_new_session=True,
        env={k: v for k, v in os.environ.items() if k != "KEEPFIT_API_KEY"},
    )  # fmt: skip
    try:
        yield process
    finally:
        if process.poll() is None:
            process.kill()
        process.wait()
        log.close()


def until(told: Callable[[], Any], folder: Path) -> Any:
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


def server(folder: Path, pid: int) -> dict[str, Any] | None:
    """The server of the supervisor `pid`, once it answers."""
    found = state(folder)
    child: dict[str, Any] = found["children"]["serve"]
    return child if found.get("pid") == pid and child["url"] else None


def answers(url: str) -> bool:
    with urlopen(f"{url}/ready", timeout=10) as response:
        return bool(response.status == 200)


def test_a_server_that_dies_is_started_again_and_one_signal_ends_all(champion: Path) -> None:
    with loop(champion) as process:
        first = until(lambda: server(champion, process.pid), champion)
        assert answers(first["url"])
        os.kill(first["pid"], signal.SIGKILL)
        again = until(lambda: (s := server(champion, process.pid)) and s["pid"] != first["pid"] and s, champion)
        assert again["restarts"] == 1
        assert answers(again["url"])
        process.send_signal(signal.SIGINT)
        assert process.wait(PATIENCE) == 0
        assert not durable.alive(again["pid"])
        assert state(champion)["status"] == "stopped"


def test_a_killed_supervisor_leaves_nobody_behind_and_is_started_again(champion: Path) -> None:
    with loop(champion) as process:
        first = until(lambda: server(champion, process.pid), champion)
        process.kill()
        process.wait()
        assert state(champion)["status"] == "running"
    with loop(champion) as process:
        until(lambda: server(champion, process.pid), champion)
        assert not durable.alive(first["pid"])


def test_only_one_loop_a_project(champion: Path) -> None:
    with loop(champion) as process:
        until(lambda: server(champion, process.pid), champion)
        other = subprocess.run(
            [*KEEPFIT, "up", "-C", str(champion), "--port", "0", "--no-ui"], capture_output=True, text=True
        )
        assert other.returncode == 1
        assert f"process {process.pid} is at it" in other.stderr


def test_a_server_that_cannot_start_ends_the_loop_with_its_reason(champion: Path) -> None:
    with loop(champion) as process:
        taken = until(lambda: server(champion, process.pid), champion)["url"].rpartition(":")[2]
        champion.with_name("second").mkdir()
        second = project(champion.with_name("second"), table())
        assert keepfit("run", "-C", str(second))[0] == 0
        found = subprocess.run(
            [*KEEPFIT, "up", "-C", str(second), "--no-ui", "--port", taken], capture_output=True, text=True
        )
    assert found.returncode == 1
    assert f"Cannot listen on 127.0.0.1:{taken}" in found.stderr
    assert "'keepfit serve' did not start" in found.stderr


def test_without_a_champion_one_is_trained_and_a_refused_one_is_not_served(tmp_path: Path) -> None:
    folder = project(tmp_path, table(), 'goals: {accuracy: ">= 1.5"}\n')
    found = subprocess.run(
        [*KEEPFIT, "up", "-C", str(folder), "--no-ui", "--port", "0"], capture_output=True, text=True
    )
    assert found.returncode == 3
    assert "There is nothing to serve" in found.stderr
