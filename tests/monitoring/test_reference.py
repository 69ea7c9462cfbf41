"""What training tells monitoring, and that every reference that was ever written can be read."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from keepfit.errors import BundleError
from keepfit.features.rows import from_rows
from keepfit.features.values import Columns
from keepfit.models import bundle as bundles
from keepfit.models.fitted import Output
from keepfit.monitoring import drift, quality, reference
from keepfit.monitoring.counts import Counts
from keepfit.sections import Monitoring
from keepfit.types import Bundle, Column, Rhythm, Schema
from tests.data.answered import SCHEMA

FORMAT1 = Path(__file__).parents[1] / "bundles" / "format1"
AGE = Schema(
    (Column("age", "number"), Column("sex", "category"), Column("y", "target")), "classification", "y", ("no", "yes")
)


def people(rows: int, seed: int = 0) -> tuple[Columns, Output, np.ndarray]:
    """Rows whose chance of "yes" rises with age alone; the model knows it."""
    draw = np.random.default_rng(seed)
    age = draw.uniform(20, 80, rows)
    chance = (age - 20) / 60
    columns, _ = from_rows(
        [{"age": a, "sex": s} for a, s in zip(age.tolist(), draw.choice(["f", "m"], rows).tolist(), strict=True)], AGE
    )
    y = np.where(draw.random(rows) < chance, "yes", "no").astype(object)
    said = np.where(chance > 0.5, "yes", "no").astype(object)
    return columns, Output(said, np.stack([1 - chance, chance], 1)), y


def made(rows: int = 4000) -> reference.Reference:
    columns, output, y = people(rows)
    return reference.make(columns, columns, AGE, output, y)


def test_moves_say_what_a_cell_does_to_the_output():
    found = {signal.name: signal for signal in made().signals}
    assert list(found) == ["age", "sex", "prediction", "confidence"]
    age = found["age"]
    assert (np.diff(age.moves[2:-1]) > 0).all()
    assert age.moves[2] < -0.4 < 0.4 < age.moves[-2]
    assert age.moves[-1] == pytest.approx(age.moves[-2], abs=0.05)  # beyond the range as at its end
    assert age.moves[1] == pytest.approx(age.moves[2], abs=0.05)
    assert np.abs(found["sex"].moves).max() < 0.03
    assert float(age.counts @ age.moves) == pytest.approx(0, abs=5)


def test_outcomes_add_up_to_the_metrics():
    columns, output, y = people(4000)
    found = reference.make(columns, columns, AGE, output, y).outcomes
    assert found is not None
    assert found.signal == "confidence"
    p, truth = output.probabilities[:, 1], y == "yes"
    losses = {
        "error": (output.values != y).astype(float),
        "log_loss": -np.log(np.where(truth, p, 1 - p)),
        "brier": (p - truth) ** 2,
    }
    for name, each in losses.items():
        assert found.mean(name) == pytest.approx(each.mean())
        assert found.variance(name) == pytest.approx(each.var(ddof=1))
    assert found.rows.sum() == 4000
    assert found.probability.sum() == pytest.approx(p.sum())
    errors = found.sums["error"][2:-1] / found.rows[2:-1]
    assert errors[0] > 0.4
    assert errors[-1] < 0.1


def test_rows_of_unknown_truth_are_in_no_outcome():
    columns, output, y = people(100)
    found = reference.make(columns, columns, AGE, output, np.where(np.arange(100) < 30, None, y)).outcomes
    assert found is not None
    assert found.rows.sum() == 70
    assert np.isfinite(found.sums["log_loss"]).all()
    assert reference.make(columns, columns, AGE, output, np.full(100, None)).outcomes is None


def test_outcomes_of_three_classes_and_of_a_regression():
    columns, _, _ = people(3)
    kinds = Schema(AGE.columns, "classification", "y", ("a", "b", "c"))
    p = np.array([[0.5, 0.3, 0.2], [0.1, 0.8, 0.1], [0.2, 0.2, 0.6]])
    three = reference.make(columns, columns, kinds, Output(np.array([*"abc"], object), p), np.array([*"abb"], object))
    assert three.outcomes is not None
    assert three.outcomes.probability is None
    assert three.outcomes.mean("error") == pytest.approx(1 / 3)
    assert three.outcomes.mean("brier") == pytest.approx(
        (0.25 + 0.09 + 0.04 + 0.01 + 0.04 + 0.01 + 0.04 + 0.64 + 0.36) / 3
    )
    price = Schema(AGE.columns, "regression", "y")
    found = reference.make(
        columns, columns, price, Output(np.array([1.0, 2.0, 3.0])), np.array([1.0, 4.0, np.nan])
    ).outcomes
    assert found is not None
    assert found.signal == "prediction"
    assert (found.mean("absolute_error"), found.mean("squared_error")) == (1, 2)


def test_json_keeps_a_reference():
    first = made()
    again = reference.of_plain(json.loads(json.dumps(reference.plain(first))))
    assert again.key == first.key != ""
    assert reference.plain(again) == reference.plain(first)
    assert made(3999).key != first.key


def test_columns_that_hooks_make_are_not_watched():
    columns, _ = from_rows([{"age": 41, "plan": "pro", "since": None, "note": "Fine"}] * 5, SCHEMA)
    columns = Columns({**columns.values, "senior": np.ones(5)}, 5)
    said = Output(np.array(["no"] * 5, object), np.full((5, 2), 0.5))
    found = reference.make(columns, columns, SCHEMA, said, said.values)
    assert {signal.column for signal in found.signals} == {"", "age", "plan", "since", "note"}
    assert {signal.name for signal in found.signals if not signal.steady} == {"since", "since: day of week"}


@pytest.mark.parametrize("name", ["iris", "reviews", "prices"])
def test_references_of_format_1_are_read_as_far_as_they_go(name):
    told = json.loads((FORMAT1 / name / "reference.json").read_text())
    found = reference.read(bundles.read(FORMAT1 / name))
    known = {n for n, of in told.items() if of["kind"] in ("number", "category")}
    assert {signal.name for signal in found.signals} == known - {"written"}  # a date, which goes on
    for signal in found.signals:
        assert signal.counts.sum() == told[signal.column]["rows"] == found.rows
        assert len(signal.cells) == len(signal.counts) == len(signal.moves)
    assert found.outcomes is None


def test_a_level_of_format_1_is_rare_only_where_training_had_others():
    told = {"kind": "category", "rows": 9, "missing": 1, "levels": {"a": 5, "b": 3}, "other": 0, "distinct": 2}
    for other, cell in ((0, "unseen"), (2, "rare")):
        (signal,) = reference.of_plain({"x": {**told, "other": other}}).signals
        columns, _ = from_rows([{"x": "new"}], Schema((Column("x", "category"),), "none"))
        assert signal.cells[reference.signals.place(signal, columns.values["x"])[0]] == cell


@pytest.mark.parametrize(
    "content", [b"", b"[1]", b'{"format": 3}', b'{"format": 2}', b'{"age": {"kind": "number"}}', b'{"a": 1}']
)
def test_one_that_cannot_be_read_says_what_to_do(tmp_path, content):
    (tmp_path / "reference.json").write_bytes(content)
    with pytest.raises(BundleError, match=r"reference.json cannot be read: .*train again"):
        reference.read(Bundle(tmp_path, {}))


def test_summaries_are_what_a_form_offers():
    columns, _ = from_rows(
        [{"age": n % 50, "sex": "f" if n % 3 else "m"} for n in range(99)] + [{"age": None, "sex": None}], AGE
    )
    said = Output(np.array(["no"] * 100, object), np.full((100, 2), 0.5))
    found = reference.summaries(
        json.loads(json.dumps(reference.plain(reference.make(columns, columns, AGE, said, said.values))))
    )
    assert found["sex"] == {
        "kind": "category",
        "rows": 100,
        "missing": 1,
        "levels": {"f": 66, "m": 33},
        "other": 0,
        "distinct": 2,
    }
    assert (found["age"]["low"], found["age"]["high"], sum(found["age"]["counts"])) == (0, 49, 99)
    old = json.loads((FORMAT1 / "iris" / "reference.json").read_text())
    assert reference.summaries(old) == old


DAYS = Schema(
    (Column("shop", "series"), Column("day", "moment", "int"), Column("sold", "past", "float"),
     Column("weekday", "number", "int"), Column("trend", "number", "int"), Column("event", "category")),
    "forecast", "sold", rhythm=Rhythm("day", "1i", 0.0, 7, ("shop",), (7,)),
)  # fmt: skip


def days(first: int, last: int, event: str = "none") -> Columns:
    return from_rows(
        [{"shop": shop, "day": day, "weekday": day % 7, "trend": day, "event": event}
         for shop in "abcdefgh" for day in range(first, last)], DAYS,
    )[0]  # fmt: skip


def counted(found: reference.Reference, rows: Columns) -> Counts:
    """The columns of rows in the cells of the reference."""
    seen = {signal.name: signal for signal in found.signals}
    told, _ = reference.features.watch(rows, reference.replace(DAYS, columns=DAYS.required), found.memory)
    cells = {
        name: np.bincount(
            reference.signals.place(signal, told[signal.column][signal.part]), minlength=len(signal.cells)
        )
        for name, signal in seen.items()
    }
    return Counts(len(rows), cells, np.empty(0, np.uint64))


def test_what_a_window_of_moments_holds_is_no_drift_of_a_forecasts_covariates() -> None:
    """A day has one weekday and lies beyond the trend of training; an event that nobody knows is told all the same."""
    output = Output(np.zeros(56))
    found = reference.make(days(0, 364), days(364, 371), DAYS, output, np.zeros(56))
    known = counted(found, days(371, 372))
    assert drift.findings(found, known, Monitoring()) == []
    shown = {row["name"]: row for row in drift.ranked(found, known, 0.01, 0.005)}
    assert shown["weekday"]["psi"] > 1
    assert shown["weekday"]["outcome"] == "not checked"
    asked = quality.findings(found, known, Monitoring())
    assert {one.test for one in asked if one.subject in ("weekday", "trend")} == {"missing"}
    new = quality.findings(found, counted(found, days(371, 372, "fire")), Monitoring())
    assert [one.subject for one in new if one.test == "unseen levels" and one.p is not None and one.p < 1e-3] == [
        "event"
    ]
