"""Roles and task are inferred, explained, and overridden by the config."""

from __future__ import annotations

import json
import time
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from keepfit.config import Data
from keepfit.data import roles
from keepfit.data.schema import infer
from keepfit.errors import ConfigError, DataError
from keepfit.types import Column, Schema, plain, read

TOKENS = ("", "?", "NA")


def data(**more: Any) -> Data:
    return Data(source="x.csv", **more)


def schema_of(path: Path, target: str, **how: Any) -> Schema:
    return infer(pl.read_csv(path, infer_schema=False, **how), data(target=target))


def by_role(schema: Schema) -> dict[str, set[str]]:
    return {role: set(schema.role(role)) for role in {c.role for c in schema.columns}}


def test_telco(shared_data: Path) -> None:
    schema = schema_of(shared_data / "telco_churn/Telco-Customer-Churn.csv", "Churn")
    found = by_role(schema)
    assert found["id"] == {"customerID"}
    assert found["number"] == {"SeniorCitizen", "tenure", "MonthlyCharges", "TotalCharges"}
    assert len(found["category"]) == 15
    assert schema["TotalCharges"].why == "numbers from 18.8 to 8684.8; missing is written blank"
    assert schema["TotalCharges"].missing == 11 / 7043
    assert schema["Contract"].levels == ("Month-to-month", "Two year", "One year")
    assert (schema.task, schema.classes) == ("classification", ("No", "Yes"))


def test_adult(adult: tuple[pl.DataFrame, pl.DataFrame]) -> None:
    schema = infer(adult[0], data(target="income"))
    found = by_role(schema)
    assert found["number"] == {"age", "fnlwgt", "education-num", "capital-gain", "capital-loss", "hours-per-week"}
    assert len(found["category"]) == 8
    assert schema["workclass"].levels[0] == "Private"
    assert "missing is written '?'" in schema["workclass"].why
    assert schema.classes == ("<=50K", ">50K")


def test_king_county(shared_data: Path) -> None:
    schema = schema_of(shared_data / "king_county_houses/kc_house_data.csv", "price")
    assert (schema["date"].role, schema["date"].dtype, schema["date"].formats) == ("date", "date", ())
    assert schema["date"].low == 1398988800.0  # 2014-05-02
    assert schema["zipcode"].role == "category"
    assert schema["id"].role == "id"
    assert "21,436 different values in 21,613 rows" in schema["id"].why
    assert schema.task == "regression"


def test_california(shared_data: Path) -> None:
    for how in ({"infer_schema": False}, {}):
        schema = infer(
            pl.read_csv(shared_data / "california_housing/housing.csv", **how), data(target="median_house_value")
        )
        assert schema.role("category") == ("ocean_proximity",)
        assert len(schema.role("number")) == 8
        assert schema.task == "regression"


def test_imdb(shared_data: Path) -> None:
    schema = schema_of(shared_data / "imdb/imdb_reviews.csv.gz", "label")
    assert by_role(schema) == {"category": {"split"}, "id": {"id"}, "number": {"rating"}, "text": {"text"},
                               "target": {"label"}}  # fmt: skip


def test_iris() -> None:
    from sklearn.datasets import load_iris

    schema = infer(pl.from_pandas(load_iris(as_frame=True).frame), data(target="target"))
    assert len(schema.role("number")) == 4
    assert schema.classes == ("0", "1", "2")
    assert schema.why_task == "'target' holds only 3 different whole numbers"


def role(values: Any, name: str = "x", wanted: str | None = None) -> tuple[str, str]:
    found = roles.column(pl.Series(name, values), TOKENS, wanted)
    return found.role, found.dtype


def test_numbers_stored_as_text() -> None:
    values = [str(v) for v in range(100, 160)] * 3
    assert role(values) == ("number", "int")
    assert role([v + ".5" for v in values]) == ("number", "float")
    mixed = roles.column(pl.Series("x", [*values, "many"]), TOKENS)
    assert (mixed.role, mixed.why) == ("number", "whole numbers from 100 to 159; 1 cell is not, such as 'many'")
    assert role(["1", "2", "3+"] * 30) == ("category", "str")


def test_leading_zeros_are_codes() -> None:
    assert role(["00123", "00456", "00789"] * 20) == ("category", "str")
    assert role([f"{i:05}" for i in range(100)]) == ("id", "str")
    assert role(["0.5", "0", "-0.25"] * 20) == ("number", "float")


def test_ids() -> None:
    assert role([f"u-{i}" for i in range(50)]) == ("id", "str")
    assert role(list(range(50))) == ("id", "int")
    assert role([float(i) for i in range(1, 51)]) == ("id", "float")
    assert role([i * 7 % 101 for i in range(50)]) == ("number", "int")
    assert role([i * 7 % 101 for i in range(50)], "order_id") == ("id", "int")
    assert role([i * 7 % 101 for i in range(50)], "orderId") == ("id", "int")
    assert role([1, 2, 3] * 30, "store_id") == ("category", "int")
    assert role([i + 0.5 for i in range(50)], "price") == ("number", "float")
    assert role(list(range(1950, 2020)), "year") == ("number", "int")
    assert role([i * 7 % 101 for i in range(50)], "paid") == ("number", "int")


def test_the_only_column_is_no_id() -> None:
    schema = infer(pl.DataFrame({"x": range(40), "y": [v * 1.5 for v in range(40)]}), data(target="y"))
    assert schema["x"].role == "number"
    assert "only column" in schema["x"].why


def test_constants_and_empty_columns_are_ignored_with_the_reason() -> None:
    frame = pl.DataFrame(
        {"c": ["x"] * 12, "e": [None] * 12, "b": [" ", "?"] * 6, "a": [0.5, 1.5, 2.5] * 4, "y": ["n", "j"] * 6}
    )
    schema = infer(frame, data(target="y"))
    assert [(c.role, c.why) for c in schema.columns[:3]] == [
        ("ignore", "constant: always 'x'"),
        ("ignore", "all values are missing"),
        ("ignore", "all values are missing"),
    ]
    assert role(["yes", None] * 10) == ("category", "str")  # missing here says something


def test_dates() -> None:
    days = [date(2020, 1, 1) + timedelta(days=i) for i in range(60)]
    assert role(days) == ("date", "date")
    for form in ("%d/%m/%Y", "%m/%d/%Y", "%d %b %Y", "%Y-%m-%d %H:%M"):
        found = roles.column(pl.Series("when", [day.strftime(form) for day in days]), TOKENS)
        assert found.role == "date"
        assert found.low == 1577836800.0
    assert role([int(day.strftime("%Y%m%d")) for day in days]) == ("date", "date")
    assert role([1577836800 + 86400 * i * i for i in range(60)], "created_at") == ("date", "date")
    assert role([1577836800 + 86400 * i * i for i in range(60)], "bytes") == ("number", "int")
    ambiguous = roles.column(pl.Series("x", ["01/02/2020", "02/03/2020"] * 9), TOKENS)
    assert "could also be exchanged" in ambiguous.why
    declared = roles.column(pl.Series("x", ["01/02/2020", "02/03/2020"] * 9), TOKENS, "date:%m/%d/%Y")
    assert (declared.formats, declared.low) == (("%m/%d/%Y",), 1577923200.0)


def test_booleans_categories_and_text() -> None:
    assert role([True, False] * 10) == ("category", "bool")
    assert role(["True", "False", ""] * 10) == ("category", "bool")
    assert role(["Bank transfer (automatic) by mail", "Credit card or check by post"] * 30) == ("category", "str")
    assert role([f"the film number {i} is really not so bad" for i in range(80)]) == ("text", "str")
    assert role(["这部电影真的非常好看我很喜欢它" + chr(0x4E00 + i) for i in range(40)]) == ("text", "str")
    many = roles.column(pl.Series("x", [f"t{i}" for i in range(1500)] * 2), TOKENS)
    assert (many.role, len(many.levels)) == ("category", 1000)
    assert "1,000 most frequent" in many.why


def test_types_without_a_role() -> None:
    found = roles.column(pl.Series("x", [[1], [2]]), TOKENS)
    assert (found.role, found.why) == ("ignore", "values of type List(Int64): make a number or a text of them")


@pytest.mark.parametrize(
    ("values", "task", "expected"),
    [
        (["a", "b"] * 50, "auto", "classification"),
        ([True, False] * 50, "auto", "classification"),
        ([0, 1] * 6, "auto", "classification"),
        ([0.0, 1.0] * 50, "auto", "classification"),
        ([1, 2, 3, 4, 5] * 40, "auto", "classification"),
        ([1, 2, 3, 4, 5] * 4, "auto", "regression"),
        (list(range(30)) * 100, "auto", "regression"),
        ([0.5, 1.5] * 20 + [2.5], "auto", "regression"),
        ([1, 2, 3, 4, 5] * 4, "classification", "classification"),
        ([0, 1] * 50, "regression", "regression"),
    ],
)
def test_task(values: list[Any], task: str, expected: str) -> None:
    frame = pl.DataFrame({"x": [i * 7 % 31 for i in range(len(values))], "y": values})
    assert infer(frame, data(target="y"), task).task == expected


def test_the_declared_role_of_the_target_forces_the_task() -> None:
    frame = pl.DataFrame({"x": ["a", "b"] * 20, "y": [0, 1] * 20})
    assert infer(frame, data(target="y", columns={"y": "number"})).task == "regression"
    frame = pl.DataFrame({"x": ["a", "b"] * 20, "y": range(40)})
    assert infer(frame, data(target="y", columns={"y": "category"})).task == "classification"


def test_targets_that_cannot_be_predicted() -> None:
    base = pl.DataFrame({"x": range(12)})
    with pytest.raises(DataError, match="task: regression needs numbers, but the target 'y' holds texts such as 'a'"):
        infer(base.with_columns(y=pl.Series(["a", "b"] * 6)), data(target="y"), "regression")
    with pytest.raises(DataError, match="The target 'y' has no values at all"):
        infer(base.with_columns(y=pl.lit("?")), data(target="y"))
    with pytest.raises(DataError, match="The target 'y' holds dates"):
        infer(base.with_columns(y=pl.lit(date(2020, 1, 1))), data(target="y"))


def test_labels_written_in_two_ways_are_one_class() -> None:
    frame = pl.DataFrame({"x": ["a", "b"] * 10, "y": ["yes", "yes.", "no ", "no", "no."] * 4})
    assert infer(frame, data(target="y")).classes == ("no", "yes")


def test_all_mistakes_of_the_config_at_once() -> None:
    frame = pl.DataFrame({"age": range(12), "plan": ["a", "b"] * 6, "Churn": ["y", "n"] * 6})
    wrong = data(
        target="Chrn", time="when", group="plam", columns={"agee": "number", "plan": "categry", "age": "group"}
    )
    with pytest.raises(ConfigError) as caught:
        infer(frame, wrong)
    assert str(caught.value).splitlines() == [
        "The config and the data do not fit together:",
        "  data.target: the data have no column 'Chrn'. Did you mean 'Churn'? Columns: age, plan, Churn",
        "  data.time: the data have no column 'when'. Columns: age, plan, Churn",
        "  data.group: the data have no column 'plam'. Did you mean 'plan'? Columns: age, plan, Churn",
        "  data.columns.agee: the data have no column 'agee'. Did you mean 'age'? Columns: age, plan, Churn",
        "  data.columns.plan: unknown role 'categry'. Did you mean 'category'? "
        "Known: number, category, text, image, date, id, ignore, date:FORMAT, image:FOLDER",
        "  data.columns.age: 'group' is not set here: write 'data: {group: age}'",
    ]


def test_the_target_cannot_be_ignored() -> None:
    with pytest.raises(ConfigError, match="the target cannot be 'ignore'"):
        infer(pl.DataFrame({"y": range(12)}), data(target="y", columns={"y": "ignore"}))


def test_overrides_and_keys_win() -> None:
    frame = pl.DataFrame({"age": range(20, 40), "who": ["a", "b"] * 10, "sold": ["2020-01-01", "2020-01-02"] * 10,
                          "known": ["2020-01-03", "2020-01-04"] * 10, "y": ["y", "n"] * 10})  # fmt: skip
    schema = infer(frame, data(target="y", group="who", time="sold", known_at="known", columns={"age": "category"}))
    assert [c.role for c in schema.columns] == ["category", "group", "time", "time", "target"]
    assert schema["age"].why == "declared in data.columns"
    assert schema["sold"].dtype == "date"
    with pytest.raises(DataError, match=r"data\.time: column 'who' holds no dates"):
        infer(frame, data(target="y", time="who"))


def test_a_declared_format_is_that_of_the_time_too() -> None:
    frame = pl.DataFrame({"sold": ["01/02/2020", "02/03/2020"] * 10, "x": [1.5, 2.5] * 10, "y": ["y", "n"] * 10})
    schema = infer(frame, data(target="y", time="sold", columns={"sold": "date:%m/%d/%Y"}))
    assert (schema["sold"].role, schema["sold"].formats) == ("time", ("%m/%d/%Y",))


def test_one_column_has_one_meaning() -> None:
    frame = pl.DataFrame({"a": range(12), "y": range(12)})
    with pytest.raises(
        ConfigError, match=r"data\.time: 'y' is the target\n  data\.group: 'y' is the target\n  data\.group: .y"
    ):
        infer(frame, data(target="y", time="y", group="y"))
    assert infer(frame, data(target="y", time="a", known_at="a"))["a"].role == "time"


def test_hooks_are_kept_out_of_the_inputs() -> None:
    frame = pl.DataFrame({"a": [1.5, 2.5] * 6, "twice": [3.0, 5.0] * 6, "y": ["y", "n"] * 6})
    schema = infer(frame, data(target="y"), hooks={"twice": "double"})
    assert [c.name for c in schema.inputs] == ["a"]
    assert schema["twice"].hook == "double"


def test_too_few_rows() -> None:
    with pytest.raises(DataError, match=r"x.csv has 3 rows. A model needs at least 10 to be trained and tested."):
        infer(pl.DataFrame({"x": [1, 2, 3], "y": [1, 2, 3]}), data(target="y"))


def test_without_a_target() -> None:
    schema = infer(pl.DataFrame({"x": [1, 2] * 6}), data())
    assert (schema.target, schema.task) == (None, "none")


def test_2000_columns() -> None:
    random = np.random.default_rng(0)
    frame = pl.DataFrame({f"c{i}": random.normal(size=2000).round(3) for i in range(2000)})
    start = time.process_time()
    schema = infer(frame.with_columns(y=pl.Series(["a", "b"] * 1000)), data(target="y"))
    assert time.process_time() - start < 10
    assert len(schema.features) == 2000


VALUES = (
    st.none() | st.text(max_size=5) | st.sampled_from(["1", "2.5", "?", "2020-01-01", "True", "00", "inf", "1e400"])
)


@given(st.lists(VALUES, min_size=10, max_size=40), st.text(max_size=6))
def test_whatever_a_column_holds_it_gets_a_role_and_travels_as_json(values: list[str | None], name: str) -> None:
    column = roles.column(pl.Series(name, values, dtype=pl.String), TOKENS)
    assert column.role in roles.ROLES
    assert column.why
    assert 0 <= column.missing <= 1
    assert read(Column, json.loads(json.dumps(plain(column)))) == column


def test_the_same_data_give_the_same_schema(imdb: tuple[pl.DataFrame, pl.DataFrame]) -> None:
    odd = pl.Series([f"{i}" for i in range(300)] + ["many", "few", "some"])
    frames = [imdb[0], pl.DataFrame({"a": odd, "label": ["x", "y", "z"] * 101})]
    for frame in frames:
        assert len({repr(infer(frame, data(target="label"))) for _ in range(4)}) == 1
