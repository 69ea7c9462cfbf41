"""A rollout on real bundles: the registry is a dictionary here, all else is what serves."""

from __future__ import annotations

import asyncio
import json
import shutil
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from msgspec.structs import asdict

from keepfit.data import log_table
from keepfit.data.log import open_log
from keepfit.deployment import rollout, runtime
from keepfit.deployment.http import Request, Response
from keepfit.deployment.metrics import Metrics
from keepfit.deployment.protocols import native
from keepfit.deployment.readiness import state
from keepfit.deployment.rollout import CANARY, CHAMPION, SHADOW, Plan, Rollout, Tools, planned
from keepfit.deployment.served import Job, Rules, decoded
from keepfit.errors import TrackingError

BUNDLES = Path(__file__).parents[1] / "bundles" / "format1"
ROWS = json.loads((BUNDLES / "iris.json").read_text())["rows"]


class Registry:
    """Aliases and versions' folders; `down` makes every look fail."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.aliases, self.down = folder, {"champion": "1"}, False
        for version in ("1", "2", "3"):
            shutil.copytree(BUNDLES / "iris", folder / version)

    def look(self, which: str) -> Any:
        if self.down:
            raise TrackingError("the server does not answer")
        version = self.aliases.get(which, which if which.isdigit() else None)
        return SimpleNamespace(version=version, fetch=lambda: self.folder / version) if version else None


class Server:
    """The rollout with its registry, inside a running loop."""

    def __init__(self, registry: Registry, folder: Path, plan: Plan = Plan()) -> None:  # noqa: B008 - frozen
        self.registry, self.metrics, self.log = registry, Metrics("iris"), folder / "predictions"
        tools = Tools(
            registry.look, runtime.load,
            lambda made, version, role: open_log(self.log, made.schema, "iris", version, role),
            "iris", Rules(), 10_000, 0.01,
        )  # fmt: skip
        self.rollout = Rollout(tools, plan, self.metrics)

    async def ask(self, key: str = "r", rows: Any = None) -> Response:
        """One request through whoever is chosen."""
        found: asyncio.Future[Response] = asyncio.get_running_loop().create_future()
        chosen = self.rollout.choose(key)
        assert chosen is not None
        body = json.dumps(rows or ROWS[:2]).encode()
        job = Job(Request("POST", b"/predict", {}, body, True, key), native, "/predict", "ann", found.set_result)
        job.asked = decoded(chosen.served, job)
        chosen.batcher.put(job, len(job.asked.rows))
        return await found

    async def until(self, true: Callable[[], bool]) -> None:
        end = time.monotonic() + 5
        while not true():
            assert time.monotonic() < end, state(self.rollout, True)
            await asyncio.sleep(0.005)

    def version(self, role: str = CHAMPION) -> str | None:
        active = self.rollout.active.get(role)
        return active.served.version if active else None


def lines(folder: Path) -> list[dict[str, Any]]:
    found = []
    for path in sorted(folder.rglob("*.ndjson")):
        first, _, rest = path.read_bytes().partition(b"\n")
        about = json.loads(first)
        rows, damaged = log_table.decoded(about, rest)
        assert not damaged
        found += [{**asdict(row), "version": about["version"], "role": about["role"]} for row in rows]
    return found


@pytest.fixture
def registry(tmp_path: Path) -> Registry:
    return Registry(tmp_path / "versions")


@pytest.fixture(autouse=True)
def no_thread_is_left() -> Iterator[None]:
    yield
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("keepfit-rollout")]


def drive(server: Server, script: Callable[[Server], Any]) -> Any:
    async def main() -> Any:
        server.rollout.first()
        server.rollout.start()
        try:
            return await script(server)
        finally:
            await asyncio.to_thread(server.rollout.close)

    return asyncio.run(main())


def test_without_a_champion_the_error_says_what_to_do(registry: Registry, tmp_path: Path) -> None:
    registry.aliases.clear()
    server = Server(registry, tmp_path)
    with pytest.raises(TrackingError, match=r"'iris' has no champion to serve. Next: keepfit run"):
        server.rollout.first()
    server.rollout.close()


def test_the_alias_is_followed_and_no_answer_is_lost_or_mixed(registry: Registry, tmp_path: Path) -> None:
    async def script(server: Server) -> Counter[str]:
        answered: Counter[str] = Counter()
        stop = asyncio.Event()

        async def client(name: int) -> None:
            while not stop.is_set():
                response = await server.ask(f"{name}")
                assert response.status == 200
                told = json.loads(response.body)
                answered[told["model"]["version"]] += len(told["predictions"])

        clients = [asyncio.create_task(client(n)) for n in range(8)]
        for version in ("2", "1", "3", "2", "3", "1"):
            registry.aliases["champion"] = version
            await server.until(lambda wanted=version: server.version() == wanted)  # type: ignore[misc]
            await asyncio.sleep(0.02)
        stop.set()
        await asyncio.gather(*clients)
        return answered

    server = Server(registry, tmp_path)
    answered = drive(server, script)
    assert set(answered) == {"1", "2", "3"}
    logged = Counter(line["version"] for line in lines(server.log))
    assert logged == answered
    assert server.metrics.swaps[CHAMPION, "swapped"] == 6
    ids = [line["id"] for line in lines(server.log)]
    assert len(set(ids)) == len(ids)


def test_a_damaged_version_is_refused_and_told_and_the_old_one_stays(registry: Registry, tmp_path: Path) -> None:
    models = next((registry.folder / "2" / "models").iterdir())
    models.write_bytes(models.read_bytes()[:-1] + b"?")

    async def script(server: Server) -> dict[str, Any]:
        registry.aliases["champion"] = "2"
        await server.until(lambda: CHAMPION in server.rollout.refused)
        assert (await server.ask()).status == 200
        told = state(server.rollout, True)
        assert "reason" not in state(server.rollout, False)["refused"][0]
        registry.aliases["champion"] = "1"
        await server.until(lambda: not server.rollout.refused)
        return told

    server = Server(registry, tmp_path)
    told = drive(server, script)
    assert told["status"] == "ready"
    assert told["model"]["version"] == "1"
    assert told["refused"][0]["version"] == "2"
    assert "changed since the bundle was written (checksum)" in told["refused"][0]["reason"]
    assert server.metrics.swaps[CHAMPION, "refused"] == 1  # not tried again and again


def test_a_version_whose_own_code_fails_is_refused_and_the_registry_followed_on(
    registry: Registry, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    def load(folder: Path) -> runtime.Runtime:
        if folder.name == "2":
            raise KeyError("a column that the user's function wants")
        return runtime.load(folder)

    async def script(server: Server) -> None:
        registry.aliases["champion"] = "2"
        await server.until(lambda: CHAMPION in server.rollout.refused)
        assert "user's function" in server.rollout.refused[CHAMPION].reason
        registry.aliases["champion"] = "3"
        await server.until(lambda: server.version() == "3")

    server = Server(registry, tmp_path)
    server.rollout.tools = replace(server.rollout.tools, load=load)
    drive(server, script)
    assert "Traceback" in caplog.text  # whose code it was


def test_a_clock_that_is_set_back_does_not_put_off_the_next_trial(
    registry: Registry, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rollout, "AGAIN", 0.05)
    models = next((registry.folder / "2" / "models").iterdir())
    whole = models.read_bytes()
    models.write_bytes(whole[:-1] + b"?")

    async def script(server: Server) -> None:
        registry.aliases["champion"] = "2"
        await server.until(lambda: CHAMPION in server.rollout.refused)
        now = time.time()
        monkeypatch.setattr(time, "time", lambda: now - 3600)
        models.write_bytes(whole)
        await server.until(lambda: server.version() == "2")

    drive(Server(registry, tmp_path), script)


def test_a_registry_that_is_away_changes_nothing_and_is_told(registry: Registry, tmp_path: Path) -> None:
    async def script(server: Server) -> None:
        registry.down = True
        await server.until(lambda: server.rollout.unreachable is not None)
        assert (await server.ask()).status == 200
        assert state(server.rollout, False)["registry"] == "unreachable"
        assert state(server.rollout, True)["registry"] == "the server does not answer"
        registry.aliases["champion"], registry.down = "2", False
        await server.until(lambda: server.version() == "2" and server.rollout.unreachable is None)

    drive(Server(registry, tmp_path), script)


def test_a_canary_answers_its_share_and_always_the_same_requests(registry: Registry, tmp_path: Path) -> None:
    async def script(server: Server) -> tuple[list[str], list[str]]:
        await server.until(lambda: server.version(CANARY) == "2")
        rounds = []
        for _ in range(2):
            told = [json.loads((await server.ask(f"request-{n}", ROWS[:1])).body) for n in range(400)]
            rounds.append([one["model"]["version"] for one in told])
        server.rollout.change(Plan())
        await server.until(lambda: server.version(CANARY) is None)
        return rounds[0], rounds[1]

    registry.aliases["challenger"] = "2"
    server = Server(registry, tmp_path, Plan(canary="challenger", share=0.25))
    first, again = drive(server, script)
    assert first == again
    assert 0.15 < first.count("2") / len(first) < 0.35
    assert {(line["role"], line["version"]) for line in lines(server.log)} == {("champion", "1"), ("canary", "2")}


def test_a_shadow_that_is_the_champion_is_not_run(registry: Registry, tmp_path: Path) -> None:
    async def script(server: Server) -> None:
        await asyncio.sleep(0.1)
        assert server.version(SHADOW) is None

    drive(Server(registry, tmp_path, Plan(shadow="champion")), script)


def test_a_plan_is_changed_by_parts() -> None:
    plan = planned(Plan(), {"canary": {"version": 7, "share": 0.5}})
    assert plan == Plan(None, "7", 0.5)
    assert planned(plan, {"shadow": "challenger"}) == Plan("challenger", "7", 0.5)
    assert planned(plan, {"canary": {"share": 0.1}}) == Plan(None, "7", 0.1)
    assert planned(plan, {"canary": None}) == Plan()


@pytest.mark.parametrize(
    "wish",
    [[], {"canaries": 1}, {"canary": 0.5}, {"canary": {"version": "2", "share": 2}}, {"shadow": [1]},
     {"canary": {"version": "2", "share": True}}, {"canary": {"version": "2", "share": "0.1"}}],
)  # fmt: skip
def test_a_plan_that_makes_no_sense_is_explained(wish: Any) -> None:
    with pytest.raises(ValueError, match=r"canary|version"):
        planned(Plan(), wish)
