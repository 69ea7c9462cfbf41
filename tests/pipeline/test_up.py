"""The loop under one supervisor, as a process that is treated badly."""

from __future__ import annotations

import json
import os
import signal
import subprocess
from pathlib import Path
from urllib.request import urlopen

import pytest

from keepfit import durable
from tests.loops import loop, state
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


def answers(url: str) -> bool:
    with urlopen(f"{url}/ready", timeout=10) as response:
        return bool(response.status == 200)


def test_a_server_that_dies_is_started_again_and_one_signal_ends_all(champion: Path) -> None:
    with loop(champion, "--json") as running:
        first = running.until(running.server)
        assert answers(first["url"])
        os.kill(first["pid"], signal.SIGKILL)
        again = running.until(lambda: (s := running.server()) and s["pid"] != first["pid"] and s)
        assert again["restarts"] == 1
        assert answers(again["url"])
        running.process.send_signal(signal.SIGINT)
        assert running.process.wait(PATIENCE) == 0
        assert not durable.alive(again["pid"])
        assert state(champion)["status"] == "stopped"
    events = [json.loads(line) for line in (champion / "up.log").read_text().splitlines() if line.startswith("{")]
    assert [event["url"] for event in events if event["url"]] == [first["url"], again["url"]]
    assert [event["text"] for event in events if event["bad"]] == ["was killed (SIGKILL); it is started again in 1 s"]
    assert [event["text"] for event in events if event["name"] == "up"][-1] == "stopped"


def test_a_killed_supervisor_leaves_nobody_behind_and_is_started_again(champion: Path) -> None:
    with loop(champion) as running:
        first = running.until(running.server)
        running.process.kill()
        running.process.wait()
        assert state(champion)["status"] == "running"
    with loop(champion) as running:
        running.until(running.server)
        assert not durable.alive(first["pid"])


def test_only_one_loop_a_project(champion: Path) -> None:
    with loop(champion) as running:
        running.until(running.server)
        other = subprocess.run(
            [*KEEPFIT, "up", "-C", str(champion), "--port", "0", "--no-ui"], capture_output=True, text=True
        )
        assert other.returncode == 1
        assert f"process {running.process.pid} is at it" in other.stderr


def test_a_server_that_cannot_start_ends_the_loop_with_its_reason(champion: Path) -> None:
    with loop(champion) as running:
        taken = running.until(running.server)["url"].rpartition(":")[2]
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
