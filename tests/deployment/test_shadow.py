"""The shadow of a rollout on real bundles, see `test_rollout`."""

from __future__ import annotations

import asyncio
import json
import threading
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from keepfit.data.log import Line
from keepfit.deployment import runtime, shadow
from keepfit.deployment.rollout import SHADOW, Plan
from keepfit.deployment.served import Rules, Served
from keepfit.deployment.shadow import shadowed
from tests.deployment.test_rollout import ROWS, Registry, Server, drive, lines


@pytest.fixture
def registry(tmp_path: Path) -> Registry:
    return Registry(tmp_path / "versions")


def test_few_requests_wait_for_a_shadow_that_are_large(
    registry: Registry, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    go_on = threading.Event()

    async def script(server: Server) -> None:
        await server.until(lambda: server.version(SHADOW) == "3")
        backlog = server.rollout.backlog
        backlog.pool.submit(go_on.wait, 5)  # the shadow is late
        size = len(json.dumps(ROWS[:2]))
        monkeypatch.setattr(shadow, "HEAVY", 2 * size)
        for n in range(4):
            await server.ask(f"{n}", ROWS[:2])
        assert (backlog.waiting, backlog.heavy, server.metrics.dropped) == (
            4,
            2 * size,
            4,
        )
        go_on.set()
        await server.until(lambda: backlog.waiting == 0)
        monkeypatch.setattr(shadow, "HEAVY", size - 1)
        await server.ask("alone", ROWS[:2])  # one that is larger goes through when none waits
        await server.until(lambda: backlog.waiting == 0)
        assert (backlog.heavy, server.metrics.dropped) == (0, 4)
        await server.until(lambda: server.metrics.predictions["3", SHADOW] == 6)

    drive(Server(registry, tmp_path, Plan(shadow="3")), script)


def test_a_shadow_that_leaves_has_scored_and_logged_all_it_was_offered(
    registry: Registry, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async def script(server: Server) -> None:
        await server.until(lambda: server.version(SHADOW) == "3")
        hold = threading.Event()
        server.rollout.backlog.pool.submit(hold.wait, 5)  # the shadow is late
        for n in range(20):
            await server.ask(f"{n}", ROWS[:3])
        server.rollout.change(Plan())
        await server.until(lambda: server.version(SHADOW) is None)
        await asyncio.sleep(0.05)
        hold.set()
        await server.until(lambda: server.rollout.backlog.waiting == 0)

    drive(Server(registry, tmp_path, Plan(shadow="3")), script)
    assert len(lines(tmp_path / "shadow")) == 60
    assert "failed" not in caplog.text


def test_a_shadow_has_no_record_of_a_row_that_it_cannot_read(registry: Registry, tmp_path: Path) -> None:
    server = Server(registry, tmp_path)
    served = Served("iris", "1", SHADOW, runtime.load(registry.folder / "1"), None, Rules())
    rows = [ROWS[0], {**ROWS[1], next(iter(ROWS[1])): "no number"}, ROWS[2]]
    output, problems = served.runtime.rows(rows)
    answered = [Line(f"{n}", 0.0, "r", None, "/predict", 0.0, (), "x") for n in range(len(rows))]
    found = shadowed(served, output, rows, answered, 0.1, {problem.row for problem in problems})
    assert [line.id for line in found] == ["0", "2"]
    server.rollout.close()


def test_a_shadow_scores_the_same_rows_unseen_and_logs_them_apart(registry: Registry, tmp_path: Path) -> None:
    async def script(server: Server) -> list[str]:
        await server.until(lambda: server.version(SHADOW) == "3")
        told = [json.loads((await server.ask(f"{n}", ROWS[:3])).body) for n in range(20)]
        assert {one["model"]["version"] for one in told} == {"1"}
        await server.until(lambda: server.metrics.predictions["3", SHADOW] == 60)
        return [row["id"] for one in told for row in one["predictions"]]

    server = Server(registry, tmp_path, Plan(shadow="3"))
    ids = drive(server, script)
    assert [line["id"] for line in lines(server.log)] == ids
    assert sorted(line["id"] for line in lines(tmp_path / "shadow")) == sorted(ids)


def test_a_shadow_that_does_not_keep_up_is_skipped_and_counted(
    registry: Registry, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    go_on = threading.Event()

    async def script(server: Server) -> None:
        await server.until(lambda: server.version(SHADOW) == "3")
        shadow = server.rollout.active[SHADOW]
        quick = shadow.served.runtime.rows

        def slow(rows: Any) -> Any:
            assert go_on.wait(20)
            return quick(rows)

        held = replace(shadow.served, runtime=replace(shadow.served.runtime, rows=slow))
        server.rollout.active[SHADOW] = replace(shadow, served=held)
        for n in range(50):  # nothing of the shadow's is scored meanwhile
            assert (await server.ask(f"{n}", ROWS[:3])).status == 200
        assert server.rollout.backlog.waiting == 30
        assert server.metrics.dropped == 120
        go_on.set()
        await server.until(lambda: server.rollout.backlog.waiting == 0)
        assert server.metrics.predictions["3", SHADOW] == 30

    monkeypatch.setattr(shadow, "WAITING", 30)
    drive(Server(registry, tmp_path, Plan(shadow="3")), script)


def test_a_shadow_that_fails_is_counted_and_told_once(
    registry: Registry, tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def script(server: Server) -> None:
        await server.until(lambda: server.version(SHADOW) == "3")
        writer = server.rollout.active[SHADOW].served.writer
        assert writer

        def refused(records: Any) -> None:
            raise OSError("no space")

        monkeypatch.setattr(writer, "write", refused)
        for n in range(10):
            assert (await server.ask(f"{n}", ROWS[:3])).status == 200
        await server.until(lambda: server.metrics.dropped == 30)

    caplog.set_level("ERROR", "keepfit.server")
    drive(Server(registry, tmp_path, Plan(shadow="3")), script)
    assert [record.message for record in caplog.records] == ["the shadow, version 3, failed: no space"]
