"""What moved a prediction, on models whose answer is known and on the bundles of the tests."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest

from keepfit.deployment import runtime
from keepfit.deployment.explain import Effect, explain, quantile, typical
from keepfit.deployment.runtime import Runtime
from keepfit.errors import RequestError
from keepfit.types import Column, Schema

BUNDLES = Path(__file__).parents[1] / "bundles" / "format1"


def opened(name: str) -> tuple[Runtime, list[dict[str, Any]], dict[str, Any]]:
    """A bundle, some of its rows, and what is typical of its training rows."""
    made = runtime.load(BUNDLES / name)
    rows: list[dict[str, Any]] = json.loads((BUNDLES / f"{name}.json").read_text())["rows"]
    return made, rows, typical(made.schema, json.loads((BUNDLES / name / "reference.json").read_text()))


def answer(made: Runtime, row: Mapping[str, Any], label: str) -> float:
    output, _ = made.rows([row])
    assert output.probabilities is not None
    return float(output.probabilities[0, made.schema.classes.index(label)])


def test_an_effect_is_the_answer_less_the_answer_without_the_input() -> None:
    made, rows, usual = opened("iris")
    for row in rows[:5]:
        told = explain(made, row, usual)
        assert told.label is not None
        assert told.answer == pytest.approx(answer(made, row, told.label))
        assert {effect.column for effect in told.effects} == {c.name for c in made.schema.inputs}
        for effect in told.effects:
            other = answer(made, {**row, effect.column: effect.typical}, told.label)
            assert effect.effect == pytest.approx(told.answer - other)
        sizes = [abs(effect.effect) for effect in told.effects]
        assert sizes == sorted(sizes, reverse=True)


def test_the_typical_row_was_moved_by_nothing() -> None:
    made, _, usual = opened("iris")
    assert {effect.effect for effect in explain(made, usual, usual).effects} == {0.0}


def test_another_class_may_be_asked_about() -> None:
    made, rows, usual = opened("iris")
    label = made.schema.classes[-1]
    told = explain(made, rows[0], usual, label)
    assert told.answer == pytest.approx(answer(made, rows[0], label))
    with pytest.raises(ValueError, match="'tulip' is no class of the model: "):
        explain(made, rows[0], usual, "tulip")


def test_a_value_is_explained_in_its_own_unit() -> None:
    made, rows, usual = opened("prices")
    told = explain(made, rows[0], usual)
    assert told.label is None
    assert told.answer == pytest.approx(float(made.rows([rows[0]])[0].values[0]))
    assert told.effects[0] == Effect(
        told.effects[0].column, rows[0][told.effects[0].column], usual[told.effects[0].column], told.effects[0].effect
    )


def test_the_words_of_a_text_are_left_out_one_by_one() -> None:
    made, rows, usual = opened("reviews")
    (column,) = (c.name for c in made.schema.inputs if c.role == "text")
    row = next(row for row in rows if isinstance(row[column], str) and len(row[column].split()) > 3)
    told = explain(made, row, usual)
    assert told.label is not None
    assert told.effects[0].column == column
    by_word = {word.word: word.effect for word in told.words}
    word = row[column].split()[0].strip(".,!?").lower()
    shorter = "".join(part for part in row[column].partition(row[column].split()[0])[2:])
    if row[column].lower().count(word) == 1:
        assert by_word[word] == pytest.approx(told.answer - answer(made, {**row, column: shorter}, told.label))
    few = explain(made, row, usual, words=2)
    assert len(few.words) == 2
    assert few.left == len(told.words) - 2


def test_values_that_cannot_be_read_are_named() -> None:
    made, rows, usual = opened("iris")
    name = made.schema.inputs[0].name
    with pytest.raises(RequestError) as caught:
        explain(made, {**rows[0], name: "wide"}, usual)
    assert caught.value.details == [{"row": 0, "column": name, "problem": "not a number: 'wide'"}]


@pytest.mark.parametrize(
    ("edges", "counts", "share", "expected"),
    [
        ([0, 10, 20], [4, 5], 0.5, 10),  # few values: the edges are the values
        ([0, 10, 20], [95, 5], 0.9, 0),
        ([7], [3], 0.5, 7),
        ([*range(22)], [5] * 21, 0.32, 6.72),  # quantiles: between two of them
        ([*range(22)], [500] + [5] * 20, 0.8, 0),  # a value that repeats has most of its bin
    ],
)
def test_the_quantiles_of_a_histogram(
    edges: Sequence[float], counts: Sequence[int], share: float, expected: float
) -> None:
    assert quantile({"edges": edges, "counts": counts}, share) == pytest.approx(expected)


@pytest.mark.parametrize(("mean", "expected"), [(0.2, 0), (0.8, 1)])
def test_the_median_of_two_values_is_the_more_frequent(mean: float, expected: float) -> None:
    assert quantile({"edges": [0.0, 1.0], "counts": [10], "mean": mean}) == expected


def test_a_number_that_most_rows_lack_is_typically_missing() -> None:
    schema = Schema((Column("n", "number"),), "regression")
    assert typical(schema, {"n": {"edges": [5.0], "counts": [4], "missing": 5}}) == {"n": None}
    assert typical(schema, {"n": {"edges": [5.0], "counts": [4], "missing": 4}}) == {"n": 5.0}


def test_what_is_typical_of_each_role() -> None:
    columns = (
        Column("n", "number", "int"), Column("x", "number", "float"), Column("c", "category"), Column("d", "date"),
        Column("t", "text"), Column("made", "number", hook="ratio"), Column("rare", "category"),
    )  # fmt: skip
    numbers = {"edges": [1.0, 2.12345, 4.5], "counts": [1, 3], "missing": 0}
    day = {"edges": [86_400.0 * 364.5], "counts": [9], "missing": 0}
    found = typical(
        Schema(columns, "regression"),
        {
            "n": numbers, "x": numbers, "c": {"levels": {"a": 1, "b": 3}, "missing": 2}, "d": day, "t": {},
            "made": numbers, "rare": {"levels": {"a": 1}, "missing": 5},
        },
    )  # fmt: skip
    assert found == {"n": 2, "x": 2.123, "c": "b", "d": "1970-12-31", "t": None, "rare": None}
