"""Leaks are found, and honest data are left alone."""

from __future__ import annotations

import time
from typing import Any

import numpy as np
import polars as pl
import pytest

from keepfit.config import Data, Leakage
from keepfit.data.conform import conform, labelled
from keepfit.data.leakage import known_too_late, leakage, seen
from keepfit.data.schema import infer
from keepfit.data.split import split
from keepfit.types import Check, Column, Schema, Verdict

N = 1000


def section(**more: Any) -> Data:
    return Data(source="x.csv", **{"target": "y", **more})


def table(seed: int = 0, rows: int = N) -> pl.DataFrame:
    random = np.random.default_rng(seed)
    a, b = random.normal(size=rows), random.normal(size=rows)
    y = np.where(a + b + random.normal(size=rows) > 0, "yes", "no")
    return pl.DataFrame({"a": a, "b": b, "c": random.choice(list("uvw"), rows), "y": y})


def judge(train: pl.DataFrame, test: pl.DataFrame, task: str = "auto", **more: Any) -> Verdict:
    data = section(**more)
    schema = infer(train, data, task)
    return leakage(conform(train, schema)[0], conform(test, schema)[0], schema, data)


def named(found: Verdict, name: str) -> Check:
    return next(check for check in found.checks if check.name == name)


def test_honest_data_pass() -> None:
    found = judge(table(0), table(1))
    assert found.outcome == "passed"
    assert found.warnings == ()
    assert {c.name: c.outcome for c in found.checks} == {
        "leakage.duplicates": "passed",
        "leakage.groups": "not checked",
        "leakage.known_later.time": "not checked",
        "leakage.known_later.known_at": "not checked",
        "leakage.target_alone": "passed",
        "leakage.ids": "passed",
    }


def test_many_training_rows_in_the_test_stop() -> None:
    train = table(0)
    test = pl.concat([table(1, 900), train.head(100)])
    check = named(judge(train, test), "leakage.duplicates")
    assert (check.outcome, check.severity, check.value, check.limit) == ("failed", "error", 0.1, 0.05)
    assert check.detail.startswith(
        "100 of 1,000 test rows (10.00%) have the features of a training row, 100 of them its target too; "
        "within training 0.00% of the rows are repeated. First: test rows 900, 901"
    )
    assert judge(train, test, leakage=Leakage(duplicates="warn")).outcome == "passed"
    assert "leakage.duplicates" not in {c.name for c in judge(train, test, leakage=Leakage(duplicates="ignore")).checks}


def test_a_few_warn_and_are_marked() -> None:
    train = table(0)
    test = pl.concat([table(1, 990), train.head(10)])
    found = judge(train, test)
    assert found.outcome == "passed"
    assert [c.name for c in found.warnings] == ["leakage.duplicates"]
    schema = infer(train, section())
    assert np.flatnonzero(seen(train, test, schema)).tolist() == list(range(990, 1000))


def test_tables_of_a_few_categories_repeat_by_nature() -> None:
    def draw(seed: int) -> pl.DataFrame:
        random = np.random.default_rng(seed)
        return pl.DataFrame({n: random.choice(list("uv"), N) for n in "abc"} | {"y": random.choice(["n", "j"], N)})

    check = named(judge(draw(0), draw(1)), "leakage.duplicates")
    assert (check.value, check.severity) == (1.0, "warning")


def test_groups_on_both_sides_stop() -> None:
    train = table(0).with_columns(who=pl.Series([f"k{i % 200}" for i in range(N)]))
    test = table(1).with_columns(who=pl.Series([f"k{199 + i % 200}" for i in range(N)]))
    found = judge(train, test, group="who")
    assert [(c.name, c.value, c.detail) for c in found.failures] == [
        ("leakage.groups", 1, "1 of 'who' are in training and test, such as 'k199'")
    ]


def days(start: int, rows: int) -> pl.Series:
    return (pl.Series(range(rows)) % 100 + start).cast(pl.Int32).cast(pl.Date)


def test_test_rows_older_than_training_rows_stop() -> None:
    train, test = (table(s).with_columns(day=days(18000 + 50 * s, N)) for s in (0, 1))
    found = judge(train, test, time="day")
    check = named(found, "leakage.known_later.time")
    assert (check.outcome, check.severity, check.value) == ("failed", "error", 490)
    assert "490 of 1,000 test rows are older than the newest training row (2019-07-22 00:00)" in check.detail
    later = table(1).with_columns(day=days(18100, N))
    assert judge(train, later, time="day").outcome == "passed"


def test_rows_that_became_known_later_stop() -> None:
    train = table(0).with_columns(day=days(18000, N), known=days(18050, N))
    test = table(1).with_columns(day=days(18100, N), known=days(18100, N))
    found = judge(train, test, time="day", known_at="known")
    assert [(c.name, c.value) for c in found.failures] == [("leakage.known_later.known_at", 490)]
    data = section(time="day", known_at="known")
    schema = infer(train, data)
    parts = [conform(part, schema)[0] for part in (train, test)]
    late = known_too_late(parts[0], parts[1], data)
    assert late.sum() == 490
    assert leakage(parts[0].filter(pl.Series(~late)), parts[1], schema, data).outcome == "passed"


def test_a_date_after_its_row_is_a_suspect_and_certain_by_known_at() -> None:
    train, test = (table(s).with_columns(day=days(18000 + 100 * s, N), left=days(18030 + 100 * s, N)) for s in (0, 1))
    check = named(judge(train, test, time="day"), "leakage.known_later.left")
    assert (check.severity, check.value) == ("warning", 1000)
    assert "'left' is later than 'day' in 1,000 of 1,000 training rows" in check.detail
    known = [part.with_columns(known="day") for part in (train, test)]
    assert named(judge(*known, time="day", known_at="known"), "leakage.known_later.left").severity == "error"


@pytest.mark.parametrize("action", ["warn", "stop"])
def test_a_column_that_tells_the_target_is_named_with_its_score(action: Any) -> None:
    train, test = (table(s).with_columns(told=pl.when(pl.col("y") == "yes").then(7.5).otherwise(1.5)) for s in (0, 1))
    found = judge(train, test, leakage=Leakage(target_alone=action))
    check = named(found, "leakage.target_alone.told")
    assert check.value > 0.99
    assert "'told' alone tells the target with a score of 1.000 (2·AUC − 1 on held-out rows" in check.detail
    assert found.outcome == ("passed" if action == "warn" else "failed")


def test_a_column_that_is_the_target_in_another_currency() -> None:
    random = np.random.default_rng(0)
    price = np.exp(random.normal(size=N))
    train = pl.DataFrame({"a": random.normal(size=N), "euro": price * 0.9, "y": price})
    check = named(judge(train, train.sample(100, seed=1)), "leakage.target_alone.euro")
    assert "R² of ranks" in check.detail


def test_a_category_that_names_entities() -> None:
    random = np.random.default_rng(0)
    who = random.integers(0, 150, N)
    labels = np.where(random.random(150) > 0.5, "yes", "no")
    train = table(0).with_columns(pl.Series("seller", [f"s{i}" for i in who]), pl.Series("y", labels[who]))
    found = judge(train, table(1).with_columns(seller=pl.lit("s0")))
    check = named(found, "leakage.ids.seller")
    assert (check.outcome, check.severity) == ("failed", "warning")
    assert "Set data.group: seller." in check.detail


def test_an_id_in_the_order_of_the_target() -> None:
    train = table(0).sort("y").with_columns(customer_id=pl.Series([f"{i:06}" for i in range(N)]))
    check = named(judge(train, table(1).with_columns(customer_id=pl.lit("x"))), "leakage.ids.customer_id")
    assert check.severity == "warning"
    assert "is left out of the features, yet its order tells the target" in check.detail


def test_nothing_is_scored_on_a_handful_of_rows() -> None:
    found = judge(table(0, 30), table(1, 30))
    assert named(found, "leakage.target_alone").outcome == "not checked"


def own_split(frame: pl.DataFrame, target: str) -> tuple[pl.DataFrame, pl.DataFrame, Schema, Data]:
    data = section(target=target)
    schema = infer(frame, data)
    typed = labelled(conform(frame, schema)[0], schema)
    late, _ = split(typed, schema, data)
    return typed.filter(~late), typed.filter(late), schema, data


def test_real_sets_are_left_alone(telco: pl.DataFrame, california: pl.DataFrame, king_county: pl.DataFrame) -> None:
    for frame, target in ((telco, "Churn"), (california, "median_house_value"), (king_county, "price")):
        found = leakage(*own_split(frame, target))
        assert (found.outcome, found.warnings) == ("passed", ())


@pytest.mark.parametrize("name", ["iris", "breast_cancer", "wine", "diabetes"])
def test_the_classics_are_left_alone(name: str) -> None:
    import sklearn.datasets

    frame = pl.from_pandas(getattr(sklearn.datasets, f"load_{name}")(as_frame=True).frame)
    found = leakage(*own_split(frame, "target"))
    assert (found.outcome, found.warnings) == ("passed", ())


def test_the_official_split_of_adult_overlaps_by_chance_only(adult: tuple[pl.DataFrame, pl.DataFrame]) -> None:
    found = judge(*adult, target="income")
    assert found.outcome == "passed"
    assert [c.name for c in found.warnings] == ["leakage.duplicates"]
    assert "26 of 16,281 test rows (0.16%) have the features of a training row, 23 of them its target too" in (
        found.warnings[0].detail
    )


def test_the_rating_of_imdb_tells_the_label(imdb: tuple[pl.DataFrame, pl.DataFrame]) -> None:
    data = section(target="label")
    schema = infer(imdb[0], data)
    parts = [conform(part, schema)[0] for part in imdb]
    start = time.process_time()
    found = leakage(parts[0], parts[1], schema, data)
    assert time.process_time() - start < 4  # 0.6 on a quiet machine
    assert found.outcome == "passed"
    assert "leakage.target_alone.rating" in {c.name for c in found.warnings}
    assert named(found, "leakage.target_alone.rating").value > 0.999
    text = Schema(tuple(c for c in schema.columns if c.name in ("text", "label")), schema.task, "label", schema.classes)
    check = named(leakage(parts[0], parts[1], text, data), "leakage.duplicates")
    assert (check.severity, round(check.value * 25_000)) == ("warning", 123)


def test_columns_may_be_absent() -> None:
    schema = Schema((Column("a", "number"), Column("z", "date"), Column("y", "target")), "regression", "y")
    frame = pl.DataFrame({"a": [1.0, 2.0], "y": [0.5, 1.5]})
    assert leakage(frame, frame, schema, section()).checks[0].value == 1.0
