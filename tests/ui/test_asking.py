"""Asking without a browser: the rollout, the log, files and labels, on the bundles of the tests."""

from __future__ import annotations

import asyncio
import csv
import io
import json
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("nicegui")

from keepfit.data import log_read
from keepfit.deployment import rollout
from keepfit.deployment.platforms import platform
from keepfit.deployment.routes import Service
from keepfit.errors import RequestError
from keepfit.pipeline import serving
from keepfit.ui import about, asking, many
from keepfit.ui.about import About
from keepfit.ui.page import met
from tests.deployment.test_runtime_series import packed

BUNDLES = Path(__file__).parents[1] / "bundles" / "format1"
Use = Callable[[Service, About], Awaitable[None]]


def rows(name: str) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = json.loads((BUNDLES / f"{name}.json").read_text())["rows"]
    return found


def using(folder: Path, name: str | Path, use: Use, *sets: str) -> None:
    """`use` the service of a bundle, in a loop of its own."""
    bundle = BUNDLES / name
    made = serving.service(serving.config_of(folder, bundle, sets), folder, bundle, platform(lambda _: None))
    made.rollout.first()

    async def main() -> None:
        made.rollout.start()
        await use(made, about.about(made.rollout.active[rollout.CHAMPION].served))

    try:
        asyncio.run(main())
    finally:
        made.rollout.close()


def test_an_answer_is_that_of_the_model_and_is_logged(tmp_path: Path) -> None:
    async def use(service: Service, told: About) -> None:
        found = await asking.predict(service, rows("iris")[:2], "ann")
        output, _ = found.served.runtime.rows(rows("iris")[:2])
        assert [answer["prediction"] for answer in found.predictions] == output.values.tolist()
        logged = log_read.read(service.predictions).collect()
        assert sorted(logged["id"]) == sorted(answer["id"] for answer in found.predictions)
        assert logged.select("route", "caller").unique().rows() == [("ui", "ann")]
        assert 'route="ui"' in asking_counts(service)

    using(tmp_path, "iris", use)


def asking_counts(service: Service) -> str:
    from keepfit.deployment import metrics

    return metrics.text(service.metrics, {})[0].decode()


def test_faults_are_those_of_the_http_server(tmp_path: Path) -> None:
    async def use(service: Service, told: About) -> None:
        name = told.schema.inputs[0].name
        with pytest.raises(RequestError) as caught:
            await asking.predict(service, [rows("iris")[0], {**rows("iris")[0], name: "wide"}], "ann")
        assert caught.value.details == [{"row": 1, "column": name, "problem": "not a number: 'wide'"}]
        with pytest.raises(RequestError, match="more than the 2 that one request may have"):
            await asking.predict(service, rows("iris")[:3], "ann")
        service.rollout.active.clear()
        with pytest.raises(RequestError, match="has no champion yet"):
            await asking.predict(service, rows("iris")[:1], "ann")

    using(tmp_path, "iris", use, "serving.max_rows=2")


def test_labels_are_noted_replaced_and_refused(tmp_path: Path) -> None:
    async def use(service: Service, told: About) -> None:
        key = (await asking.predict(service, rows("iris")[:1], "ann")).predictions[0]["id"]
        label = told.schema.classes[0]
        assert await asking.label(service, key, label, "ann") == "Noted. Thank you."
        assert await asking.label(service, key, label, "ann") == "Noted; it replaces the earlier answer."
        with pytest.raises(RequestError, match="'tulip' is no class"):
            await asking.label(service, key, "tulip", "ann")
        with pytest.raises(RequestError, match="not in the log any more"):
            await asking.label(service, "0mwq2000000-0", label, "ann")

    using(tmp_path, "iris", use)


def test_a_label_that_is_held_back_is_said_to_be(tmp_path: Path) -> None:
    packed(tmp_path / "bundle", later=False)

    async def use(service: Service, told: About) -> None:
        answers = (await asking.predict(service, [{"horizon": 1}], "ann")).predictions
        north, south = (answer["id"] for answer in answers[:2])
        assert await asking.label(service, north, answers[0]["prediction"], "ann") == "Noted. Thank you."
        said = await asking.label(service, south, 1e9, "ann")
        assert said.startswith("Noted, but held back: 'sold' is 1e+09, where ")
        [after] = (await asking.predict(service, [{"horizon": 1, "series": "north"}], "ann")).predictions
        assert after["month"] > answers[0]["month"]
        assert 'keepfit_feedback_total{outcome="held_back"} 1.0' in asking_counts(service)
        with pytest.raises(RequestError, match="use a larger unit"):
            await asking.label(service, north, 1e31, "ann")

    using(tmp_path, tmp_path / "bundle", use)


def test_a_file_is_answered_in_parts_and_bad_rows_stay_in_place(tmp_path: Path) -> None:
    async def use(service: Service, told: About) -> None:
        given = [{**row, "note": n} for n, row in enumerate(rows("prices")[:7])]
        given[3] = {**given[3], "size": "wide"}
        found = await many.score(service, told, list(given[0]), given, "ann")
        assert [n for n, answer in enumerate(found.answers) if answer is None] == [3]
        assert [(p.row, p.column) for p in found.problems] == [(3, "size")]
        assert found.ignored == ["note"]
        table = list(csv.DictReader(io.StringIO(many.written(found, ()))))
        assert [row["note"] for row in table] == [str(n) for n in range(7)]
        assert table[3]["problem"] == "size: not a number: 'wide'"
        output, _ = told.served.runtime.rows([given[6]])
        assert float(table[6]["prediction"]) == pytest.approx(float(output.values[0]))

    using(tmp_path, "prices", use, "serving.max_rows=2")


def test_a_file_that_is_too_long_or_lacks_columns_is_refused(tmp_path: Path) -> None:
    async def use(service: Service, told: About) -> None:
        with pytest.raises(RequestError, match="The file lacks "):
            await many.score(service, told, ["other"], [{"other": 1}], "ann")
        columns = [column.name for column in told.schema.inputs]
        with pytest.raises(RequestError, match="Use: keepfit predict"):
            await many.score(service, told, columns, [rows("iris")[0]] * (many.ROWS + 1), "ann")

    using(tmp_path, "iris", use)


def test_what_the_page_knows_of_a_version(tmp_path: Path) -> None:
    async def use(service: Service, told: About) -> None:
        assert set(told.usual) == {column.name for column in told.schema.inputs}
        assert about.example(told).keys() == told.usual.keys()
        output, problems = told.served.runtime.rows([about.example(told), dict(told.usual)])
        assert (len(output), problems) == (2, [])
        one = next(iter(told.metrics)) if told.metrics else "accuracy"
        changed = About(
            told.served, "", told.reference, {one: {"value": 0.5}}, 1,
            {one: ">= 0.4", "other": "> 1", "odd": "high"},
        )  # fmt: skip
        assert met(changed) == {one: True, "other": None}

    using(tmp_path, "iris", use)
