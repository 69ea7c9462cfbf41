"""What was judged is gone on from: the same as if all that was told were judged anew, and no longer work."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from keepfit.data.told import Told
from keepfit.deployment import plausible, runtime
from keepfit.deployment.runtime import Runtime
from keepfit.types import Column
from tests.deployment.test_rollout_series import SHOPS, row
from tests.deployment.test_runtime_series import MONTHS, packed

Asked = Sequence[Mapping[str, Any]]


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Runtime:
    folder = tmp_path_factory.mktemp("plausible") / "1"
    packed(folder, later=False)
    return runtime.load(folder)


def one(shop: str, at: int, times: float = 1.0, since: float = 0.0, confirmed: bool = False) -> Told:
    told = row("north" if shop == "east" else shop, at, times) | {"shop": shop}
    key = f"{shop} {told['month']}"
    return Told(key, key, told, told["sold"], since, since, confirmed)


def counted(base: Runtime) -> tuple[Runtime, list[int]]:
    """The runtime, and how many rows it was asked at each time."""
    asked: list[int] = []

    def rows(told: Asked) -> Any:
        asked.append(len(told))
        return base.rows(told)

    return replace(base, rows=rows), asked


def alike(base: Runtime) -> Runtime:
    """The runtime with a covariate; a row's forecast grows with the number of rows of its series asked with it."""

    def rows(told: Asked) -> Any:
        output, problems = base.rows(told)
        shops = [one["shop"] for one in told]
        values = output.values * [1 + 3 * (shops.count(shop) - 1) for shop in shops]
        return replace(output, values=values), problems

    columns = (*base.schema.columns, Column("price", "number", "float"))
    return replace(base, rows=rows, schema=replace(base.schema, columns=columns))


@pytest.mark.parametrize("look", [lambda base: base, alike])
def test_judging_goes_on_to_what_judging_all_anew_says(base: Runtime, look: Callable[[Runtime], Runtime]) -> None:
    made, random, whys = look(base), np.random.default_rng(0), set[str]()
    told: dict[str, Told] = {}
    found = plausible.Judgement()
    for moment in range(60):
        for _ in range(random.integers(0, 4)):
            shop, at = random.choice([*SHOPS, "east"]), MONTHS + int(random.integers(0, 10))
            times = float(random.choice([1.0, 1.01, 30.0, 100.0]))
            new = one(str(shop), at, times, float(moment), bool(random.random() < 0.1))
            told[new.key] = new
        if told and moment % 9 == 8:
            told.pop(str(random.choice([*told])))
        found = plausible.judged(made, [*told.values()], found)
        anew = plausible.judged(made, [*told.values()])
        assert [one.told for one in found.found] == [*told.values()]
        assert repr(found.found) == repr(anew.found)  # NaN, the forecast of a new series, is not NaN
        assert found.places == anew.places
        whys |= {one.why for one in anew.found}
    assert len(whys) > 10


def test_a_new_observation_is_all_that_is_forecast_again(base: Runtime) -> None:
    made, asked = counted(base)
    told = [one(shop, MONTHS + at) for shop in SHOPS for at in range(6)]
    found = plausible.judged(made, told)
    assert plausible.judged(made, told, found).new == []
    told.append(one("north", MONTHS + 6))
    found = plausible.judged(made, told, found)
    plausible.judged(made, [one("north", MONTHS, 100), *told[1:]], found)
    assert asked == [18, 1, 1]


def test_a_served_model_goes_on_as_one_that_is_told_all_at_once(base: Runtime) -> None:
    steps = [
        [one("north", MONTHS), one("south", MONTHS, 100, 1.0)],
        [one("south", MONTHS + 1, 100, 2.0), one("south", MONTHS + 2, 100, 3.0)],
        [one("north", MONTHS + 1), one("west", MONTHS, 100, 4.0)],
        [one("west", MONTHS, 1.0, 5.0), one("north", MONTHS, 1.01)],
    ]
    told: dict[str, Told] = {}
    made = base
    for more in steps:
        told |= {new.key: new for new in more}
        made, anew = plausible.moved(made, [*told.values()]), plausible.moved(base, [*told.values()])
        assert made.held == anew.held
        assert made.taken == anew.taken
        asked = [{"shop": shop, "month": row(shop, MONTHS + 5)["month"]} for shop in SHOPS]
        assert made.rows(asked)[0].values == pytest.approx(anew.rows(asked)[0].values)
    assert not made.held
    assert plausible.moved(made, [*told.values()]) is made
