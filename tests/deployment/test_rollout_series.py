"""A rollout of forecasts: what takes long waits aside, and what is observed moves on what is served."""

from __future__ import annotations

import asyncio
import json
import shutil
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import polars as pl
import pytest

from keepfit import config as settings
from keepfit.data import labels, log_roll, observations
from keepfit.data.log import open_log
from keepfit.deployment import access, routes, runtime, untaken
from keepfit.deployment.http import Request, Response
from keepfit.deployment.metrics import Metrics
from keepfit.deployment.platforms import Platform
from keepfit.deployment.protocols import native
from keepfit.deployment.rollout import CHAMPION, Plan, Rollout, Tools
from keepfit.deployment.served import Job, Rules, decoded
from keepfit.pipeline import observed
from keepfit.project import Project
from tests.deployment.test_runtime_series import MONTHS, packed
from tests.models.series.rows import SCHEMA, frame, values

SOLD = values()  # (shops, months), the first of January 2000
SHOPS = ("north", "south", "west")
CONFIG = settings.parse({"data": {"source": "x"}})


def month(at: int) -> str:
    return f"{2000 + at // 12}-{at % 12 + 1:02}-01"


def row(shop: str, at: int, times: float = 1.0, **more: Any) -> dict[str, Any]:
    """What was sold in a month, counted from the first that anything is known of."""
    return {"shop": shop, "month": month(at), "sold": float(SOLD[SHOPS.index(shop), at]) * times, **more}


class Server:
    """The rollout of a bundle in `folder`, which knows 48 months, with the files that a project has."""

    def __init__(self, folder: Path, load: Callable[[Path], runtime.Runtime] = runtime.load) -> None:
        self.work = folder / settings.WORK
        self.versions = {"1": folder / "1", "2": folder / "2"}
        self.version = "1"
        follow = observed.follower(CONFIG, folder)
        tools = Tools(
            lambda role: SimpleNamespace(version=self.version, fetch=lambda: self.versions[self.version]),
            load,
            lambda made, version, role: open_log(self.work / "predictions", made.schema, "shops", version, role),
            "shops", Rules(), 10_000, 60.0, mark=lambda: observed.mark(self.work), observed=follow,
        )  # fmt: skip
        self.rollout = Rollout(tools, Plan(), Metrics("shops"))

    async def ask(self, body: Any) -> Response:
        found: asyncio.Future[Response] = asyncio.get_running_loop().create_future()
        chosen = self.rollout.choose("r")
        assert chosen is not None
        job = Job(
            Request("POST", b"/predict", {}, json.dumps(body).encode(), True, "r"), native, "/predict", "ann",
            found.set_result,
        )  # fmt: skip
        job.asked = decoded(chosen.served, job)
        chosen.put(job, len(job.asked.rows))
        return await found

    async def first(self, shop: str = "north") -> tuple[str, float]:
        """The month after the last that is known of a shop, and what is forecast of it."""
        told = json.loads((await self.ask({"horizon": 1, "series": shop})).body)["predictions"][0]
        return told["month"][:10], told["prediction"]

    async def tell(self, *entries: Mapping[str, Any]) -> labels.Report:
        read = observations.reader(SCHEMA)
        report = labels.add(self.work / "feedback", self.work / "predictions", entries, observed=read)
        await asyncio.to_thread(self.rollout.refresh)
        return report

    @property
    def held(self) -> Mapping[str, str]:
        return self.rollout.active[CHAMPION].served.runtime.held

    def run(self, script: Callable[[Server], Any]) -> Any:
        async def main() -> Any:
            self.rollout.first()
            self.rollout.start()
            try:
                return await script(self)
            finally:
                await asyncio.to_thread(self.rollout.close)

        return asyncio.run(main())


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name in ("1", "2"):
        packed(tmp_path / name, later=False)
    return tmp_path


def test_null_in_a_history_is_a_gap_wherever_it_stands(folder: Path) -> None:
    async def script(server: Server) -> None:
        for shop in ("north", "east"):
            history = [{**row("north", at), "shop": shop} for at in range(48, 54)]
            for gaps in ([0], [2, 3], [5], [0, 5]):
                given = [{**one, "sold": None} if at in gaps else one for at, one in enumerate(history)]
                found = await server.ask({"horizon": 1, "history": given})
                assert found.status == 200, found.body
                [one] = json.loads(found.body)["predictions"]
                assert one["month"][:10] == month(54)
        nothing = await server.ask({"horizon": 1, "history": [{**row("north", 48), "shop": "east", "sold": None}]})
        assert {one["row"] for one in json.loads(nothing.body)["error"]["details"]} == {1}

    Server(folder).run(script)


def test_a_history_that_corrects_what_is_known_is_told_what_was_not_taken(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def script(server: Server) -> None:
        wish = {"horizon": 1, "series": "north"}
        [plain] = json.loads((await server.ask(wish)).body)["predictions"]
        await server.tell(row("west", MONTHS))
        known = [row("north", at) for at in range(MONTHS - 6, MONTHS)]
        assert "notes" not in json.loads((await server.ask({**wish, "history": known})).body)
        wrong = [row("north", MONTHS - 2, 1.5), row("north", MONTHS - 1, 1.5), row("west", MONTHS, 1.1)]
        found = json.loads((await server.ask({**wish, "history": [*known[:4], *wrong]})).body)
        assert [(note["series"], note["periods"]) for note in found["notes"]] == [
            ({"shop": "north"}, 2), ({"shop": "west"}, 1)
        ]  # fmt: skip
        [one] = found["predictions"]
        assert one["prediction"] == pytest.approx(plain["prediction"], rel=1e-9)
        rows = json.loads((await server.ask([*wrong, {"shop": "north", "month": month(MONTHS)}])).body)
        assert rows["notes"] == found["notes"]
        assert [one["month"] for one in rows["predictions"]] == [month(MONTHS)]
        monkeypatch.setattr(untaken, "notes", None)  # nothing is looked at where nothing was observed
        assert (await server.ask({"horizon": 3})).status == 200
        assert (await server.ask([{"shop": "north", "month": month(MONTHS)}])).status == 200

    Server(folder).run(script)


# --- aside ------------------------------------------------------------------------------------------


def test_known_series_are_answered_while_a_new_one_is_worked_on(folder: Path) -> None:
    go_on, begun = threading.Event(), threading.Event()

    def load(path: Path) -> runtime.Runtime:
        made = runtime.load(path)

        def rows(asked: Sequence[Mapping[str, Any]]) -> Any:
            if any(one.get("sold") is not None for one in asked):
                begun.set()
                assert go_on.wait(20)
            return made.rows(asked)

        return replace(made, rows=rows)

    async def script(server: Server) -> None:
        history = [{**row("north", at), "shop": "east"} for at in range(24)]
        new = asyncio.create_task(server.ask({"horizon": 2, "history": history}))
        await asyncio.to_thread(begun.wait, 10)
        for _ in range(5):
            assert (await server.ask({"horizon": 6})).status == 200
        assert not new.done()
        go_on.set()
        assert [one["month"][:7] for one in json.loads((await new).body)["predictions"]] == ["2002-01", "2002-02"]

    Server(folder, load).run(script)


# --- refresh ----------------------------------------------------------------------------------------


def test_observations_move_on_what_is_served_in_any_order_and_the_last_value_counts(folder: Path) -> None:
    async def script(server: Server) -> None:
        assert (await server.first())[0] == month(MONTHS)
        await server.tell(row("north", MONTHS + 1))  # the later month comes first
        assert (await server.first())[0] == month(MONTHS + 2)
        assert (await server.first("south"))[0] == month(MONTHS)
        await server.tell(row("north", MONTHS, 1.05))
        before = await server.first()
        await server.tell(row("north", MONTHS))
        after = await server.first()
        assert before[0] == after[0] == month(MONTHS + 2)
        assert before[1] != after[1]
        await server.tell(row("north", MONTHS, 1.05))
        assert await server.first() == before

    Server(folder).run(script)


def test_a_series_that_is_not_known_changes_nothing(folder: Path) -> None:
    async def script(server: Server) -> None:
        before = await server.first()
        assert (await server.tell({**row("north", MONTHS), "shop": "east"})).accepted == 1
        assert await server.first() == before
        assert not server.held

    Server(folder).run(script)


@pytest.mark.parametrize("rolled", [False, True])
def test_another_version_and_a_new_server_know_it_too(folder: Path, rolled: bool) -> None:
    async def script(server: Server) -> tuple[str, float]:
        await server.tell(row("north", MONTHS), row("west", MONTHS, 100))
        if rolled:
            log_roll.roll(server.work / "feedback")
        before = await server.first()
        server.version = "2"
        await asyncio.to_thread(server.rollout.look)
        await asyncio.to_thread(server.rollout.refresh)
        assert server.rollout.active[CHAMPION].served.version == "2"
        assert await server.first() == before
        assert len(server.held) == 1
        return before

    async def again(server: Server) -> tuple[str, float]:
        await asyncio.to_thread(server.rollout.refresh)
        assert len(server.held) == 1
        assert (await server.first("west"))[0] == month(MONTHS)
        return await server.first()

    assert Server(folder).run(script) == Server(folder).run(again)


def test_a_label_of_a_forecast_is_an_observation(folder: Path) -> None:
    async def script(server: Server) -> None:
        told = json.loads((await server.ask({"horizon": 1, "series": "north"})).body)["predictions"][0]
        await server.tell({"id": told["id"], "label": float(SOLD[0, MONTHS])})
        assert (await server.first())[0] == month(MONTHS + 1)
        told = json.loads((await server.ask({"horizon": 1, "series": "north"})).body)["predictions"][0]
        await server.tell({"id": told["id"], "label": float(SOLD[0, MONTHS + 1]) * 100})
        assert (await server.first())[0] == month(MONTHS + 1)
        assert [*server.held] == [told["id"]]

    Server(folder).run(script)


# --- what cannot be ---------------------------------------------------------------------------------


def test_an_implausible_value_waits_until_it_is_corrected(folder: Path) -> None:
    async def script(server: Server) -> None:
        before = await server.first()
        assert (await server.tell(row("north", MONTHS, 100), row("south", MONTHS))).accepted == 2
        assert await server.first() == before
        assert (await server.first("south"))[0] == month(MONTHS + 1)
        [why] = server.held.values()
        assert "'sold' is" in why
        assert "confirmed" in why
        await server.tell(row("north", MONTHS))
        assert (await server.first())[0] == month(MONTHS + 1)
        assert not server.held

    Server(folder).run(script)


def test_feedback_tells_what_is_held_back_and_metrics_count_it(folder: Path) -> None:
    async def script(server: Server) -> None:
        service = routes.Service(
            "shops", server.rollout, server.rollout.metrics, access.Keys({}), Rules(), Platform(),
            server.work / "feedback", server.work / "predictions",
        )  # fmt: skip
        told = json.loads((await server.ask({"horizon": 1, "series": "west"})).body)["predictions"][0]
        entries = [row("north", MONTHS), row("south", MONTHS, 100), {"id": told["id"], "label": 1e9}]
        asked = Request("POST", b"/feedback", {}, json.dumps(entries).encode(), True, "r")
        report = json.loads((await asyncio.to_thread(routes.feedback, service, asked)).body)
        assert report["accepted"] == 3
        assert [one["row"] for one in report["held_back"]] == [1, 2]
        key = f'{{"shop":"south","month":"{month(MONTHS)}"}}'
        assert [one["id"] for one in report["held_back"]] == [key, told["id"]]
        assert all("too far off to go on from" in one["problem"] for one in report["held_back"])
        page = routes.exposition(service, asked).body.decode()
        assert 'keepfit_observations_held_back{model_name="shops",model_version="1"} 2.0' in page
        assert 'keepfit_feedback_total{outcome="held_back"} 2.0' in page

    Server(folder).run(script)


def test_feedback_that_contradicts_the_training_is_told_so(folder: Path) -> None:
    async def script(server: Server) -> None:
        service = routes.Service(
            "shops", server.rollout, server.rollout.metrics, access.Keys({}), Rules(), Platform(),
            server.work / "feedback", server.work / "predictions",
        )  # fmt: skip
        before = await server.first()
        entries = [row("north", MONTHS - 2, 1.5), row("north", MONTHS - 2), row("west", 0, 0.5), {"sold": 1}]
        asked = Request("POST", b"/feedback", {}, json.dumps(entries).encode(), True, "r")
        report = json.loads((await asyncio.to_thread(routes.feedback, service, asked)).body)
        assert report["accepted"] == 3
        assert [one["row"] for one in report["held_back"]] == [0, 2]
        known = f"'sold' of this period is {SOLD[0, MONTHS - 2]:g} in what the model was trained on"
        assert report["held_back"][0]["problem"].startswith(known)
        assert await server.first() == before

    Server(folder).run(script)


def test_feedback_of_a_series_that_is_not_known_says_what_it_is_for(folder: Path) -> None:
    async def script(server: Server) -> None:
        service = routes.Service(
            "shops", server.rollout, server.rollout.metrics, access.Keys({}), Rules(), Platform(),
            server.work / "feedback", server.work / "predictions",
        )  # fmt: skip
        history = [{**row("north", at), "shop": "east"} for at in range(MONTHS)]
        asked = Request("POST", b"/feedback", {}, json.dumps([row("north", MONTHS), *history]).encode(), True, "r")
        report = json.loads((await asyncio.to_thread(routes.feedback, service, asked)).body)
        assert report["accepted"] == 1 + MONTHS
        assert [one["row"] for one in report["held_back"]] == [*range(1, 1 + MONTHS)]
        [why] = {one["problem"] for one in report["held_back"]}
        assert why.startswith("'east': a series that the model was not trained on. It is kept for retraining")
        assert (await server.ask({"horizon": 1, "history": history})).status == 200  # as the answer says

    Server(folder).run(script)


def test_what_a_training_left_out_is_held_back(folder: Path) -> None:
    def load(path: Path) -> runtime.Runtime:
        made = runtime.load(path)
        span = {"since": "2001-01-01T00:00:00+00:00", "until": "2101-01-01T00:00:00+00:00", "why": "another unit?"}
        data = {"origin": {"log": {"quarantined": [span]}}}
        return replace(made, bundle=replace(made.bundle, manifest={**made.bundle.manifest, "data": data}))

    async def script(server: Server) -> None:
        await server.tell(row("north", MONTHS, confirmed=True))
        assert (await server.first())[0] == month(MONTHS)
        assert [*server.held.values()] == ["the training left it out: another unit?"]

    Server(folder, load).run(script)


def test_a_confirmed_value_counts(folder: Path) -> None:
    async def script(server: Server) -> None:
        await server.tell(row("north", MONTHS, 100))
        await server.tell(row("north", MONTHS, 100))  # again is not confirmed: a retry, a window sent each night
        assert (await server.first())[0] == month(MONTHS)
        await server.tell(row("north", MONTHS, 100, confirmed=True))
        assert (await server.first())[0] == month(MONTHS + 1)
        assert not server.held

    Server(folder).run(script)


def test_a_level_that_stays_is_taken_for_a_shift_and_one_batch_is_not(folder: Path) -> None:
    async def script(server: Server) -> None:
        for at in range(2):
            await server.tell(row("north", MONTHS + at, 5))
        assert (await server.first())[0] == month(MONTHS)
        await server.tell(row("north", MONTHS + 2, 5))
        assert (await server.first())[0] == month(MONTHS + 3)
        await server.tell(row("north", MONTHS + 3, 500))  # nor does the new level excuse this
        assert len(server.held) == 1
        await server.tell(*[row("south", MONTHS + at, 100) for at in range(6)])
        assert (await server.first("south"))[0] == month(MONTHS)
        assert len(server.held) == 7

    Server(folder).run(script)


@pytest.mark.slow
def test_what_one_request_says_of_the_days_to_come_is_not_told_to_another(tmp_path: Path) -> None:
    sold = values(length=240)
    promo = np.random.default_rng(0).integers(0, 2, sold.shape)
    told = frame(sold * (1 + promo)).with_columns(promo=pl.Series(promo.ravel()))
    told.with_columns(pl.col("month").dt.strftime("%Y-%m-%d")).write_csv(tmp_path / "data.csv")
    text = (
        "task: forecast\ndata: {source: data.csv, target: sold}\nmodel: {type: boosted_lags}\n"
        "forecast: {horizon: 3, series: [shop], season: 12}\n"
    )
    (tmp_path / "keepfit.yaml").write_text(text, encoding="utf-8")
    made = Project(tmp_path)
    made.run()
    work = tmp_path / settings.WORK
    (bundle,) = work.glob("runs/*/train/bundle")
    for name in ("1", "2"):
        shutil.copytree(bundle, tmp_path / "served" / name)
    last = sold.shape[1]

    def course(steps: Sequence[int], value: int) -> list[dict[str, Any]]:
        return [{"shop": "north", "month": month(last + at), "promo": value} for at in steps]

    async def script(server: Server) -> None:
        asked = (course(range(6), 1), course([4, 5], 0), course([0, 5], 1))
        alone = [json.loads((await server.ask(one)).body) for one in asked]
        together = await asyncio.gather(*[server.ask(one) for one in asked])
        values = [[[row["prediction"] for row in said["predictions"]] for said in found]
                  for found in (alone, [json.loads(one.body) for one in together])]  # fmt: skip
        assert values[0] == values[1]
        assert values[0][0][4:] != values[0][1]

    Server(tmp_path / "served").run(script)
