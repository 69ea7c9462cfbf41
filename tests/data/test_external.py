"""Data that Python brings: scikit-learn's own sets and the user's functions."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from keepfit import config
from keepfit.data.read import read
from keepfit.errors import ConfigError, DataError, MissingExtraError


def get(source: str, folder: Path = Path("/")) -> tuple[pl.DataFrame, dict[str, Any]]:
    return read(config.Data(source=source), folder)


@pytest.mark.parametrize(
    ("name", "shape", "labels"),
    [
        ("iris", (150, 5), ["setosa", "versicolor", "virginica"]),
        ("breast_cancer", (569, 31), ["benign", "malignant"]),
        ("wine", (178, 14), ["class_0", "class_1", "class_2"]),
        ("digits", (1797, 65), [str(digit) for digit in range(10)]),
    ],
)
def test_classifications_of_scikit_learn(name: str, shape: tuple[int, int], labels: list[str]) -> None:
    frame, origin = get(f"sklearn:{name}")
    assert frame.shape == shape
    assert frame["target"].unique().sort().to_list() == labels
    assert origin["format"] == "sklearn"


def test_labels_stand_at_their_rows() -> None:
    from sklearn.datasets import load_breast_cancer

    frame, _ = get("sklearn:breast_cancer")
    bunch = load_breast_cancer()
    assert frame["target"].to_list() == bunch.target_names[bunch.target].tolist()
    assert frame.columns[:-1] == bunch.feature_names.tolist()


def test_a_regression_of_scikit_learn() -> None:
    frame, _ = get("sklearn:diabetes")
    assert frame.shape == (442, 11)
    assert frame["target"].dtype == pl.Float64


@pytest.mark.parametrize(
    ("source", "problem"),
    [
        ("sklearn:irsi", r"unknown data set. Did you mean 'iris'\? Known: iris, breast_cancer"),
        (
            "sklearn:california_housing",
            r"scikit-learn downloads 'california_housing' when asked; it does not ship with it",
        ),
    ],
)
def test_sets_that_are_not_bundled(source: str, problem: str) -> None:
    with pytest.raises(DataError, match=problem):
        get(source)


MODULE = """
import pandas as pd
import polars as pl
import pyarrow as pa
from helper import ROWS

def pandas(): return pd.DataFrame(ROWS)
def polars(): return pl.DataFrame(ROWS)
def arrow(): return pa.table(ROWS)
def columns(): return ROWS
def later():
    from helper import ROWS as again
    return again
def with_default(n=2): return {"a": [1] * n}
def needs(n): return {"a": [1] * n}
def number(): return 3
def empty(): return {"a": []}
def fails():
    return pl.DataFrame({"a": [1]}).select("b")
def raises():
    raise RuntimeError("the door is closed")
constant = 7
"""


@pytest.fixture
def project(tmp_path: Path) -> Path:
    (tmp_path / "loading.py").write_text(MODULE)
    (tmp_path / "helper.py").write_text('ROWS = {"a": [1, 2], "b": ["x", None]}\n')
    return tmp_path


@pytest.mark.parametrize("name", ["pandas", "polars", "arrow", "columns", "later"])
def test_functions_of_the_project(project: Path, name: str) -> None:
    before = list(sys.path)
    frame, origin = get(f"python:loading:{name}", project)
    assert frame.to_dict(as_series=False) == {"a": [1, 2], "b": ["x", None]}
    assert origin["files"][0]["path"] == "loading.py"
    assert sys.path == before


def test_a_function_with_defaults_and_one_of_a_package(project: Path) -> None:
    assert get("python:loading:with_default", project)[0].height == 2
    (project / "package").mkdir()
    (project / "package" / "inner.py").write_text("def rows(): return [{'a': 1}]\n")
    assert get("python:package.inner:rows", project)[0].rows() == [(1,)]


def test_two_projects_may_use_the_same_name(tmp_path: Path) -> None:
    for number in (1, 2):
        folder = tmp_path / str(number)
        folder.mkdir()
        (folder / "loading.py").write_text(f"def rows(): return {{'a': [{number}]}}\n")
        assert get("python:loading:rows", folder)[0].item() == number
    (tmp_path / "1" / "loading.py").write_text("def rows(): return {'a': ['edited']}\n")
    assert get("python:loading:rows", tmp_path / "1")[0].item() == "edited"


@pytest.mark.parametrize(
    ("source", "problem"),
    [
        ("python:loading", r"write it as python:module:function"),
        ("python:loading:", r"write it as python:module:function"),
        ("python:laoding:rows", r"no module 'laoding' in .* or among the installed"),
        ("python:loading:nubmer", r"has no function 'nubmer'. Did you mean 'number'\? It has: pandas, polars"),
        ("python:loading:constant", r"has no function 'constant'"),
        ("python:loading:needs", r"called without arguments, but missing a required argument: 'n'. Give it defaults"),
    ],
)
def test_functions_that_are_not_there(project: Path, source: str, problem: str) -> None:
    with pytest.raises(ConfigError, match=problem):
        get(source, project)


@pytest.mark.parametrize(
    ("name", "problem"),
    [
        ("fails", r"failed at .*/loading.py, line 19, in fails: ColumnNotFoundError: .*b"),
        ("raises", r"failed at .*/loading.py, line 21, in raises: RuntimeError: the door is closed"),
        ("number", r"what python:loading:number gave is a builtins.int, which is no frame"),
        ("empty", r"python:loading:empty has no rows"),
    ],
)
def test_functions_that_fail(project: Path, name: str, problem: str) -> None:
    with pytest.raises(DataError, match=problem):
        get(f"python:loading:{name}", project)


@pytest.mark.parametrize(
    ("code", "error", "problem"),
    [
        ("x = (1,\n", DataError, r"failed at .*/broken.py, line 1: SyntaxError"),
        ("x = 1\nraise ValueError('no')\n", DataError, r"failed at .*/broken.py, line 2, in <module>: ValueError: no"),
        ("import not_installed_here\n", MissingExtraError, r"needs the package 'not_installed_here', .*pip install"),
    ],
)
def test_modules_that_cannot_be_imported(project: Path, code: str, error: type[Exception], problem: str) -> None:
    (project / "broken.py").write_text(code)
    with pytest.raises(error, match=problem):
        get("python:broken:rows", project)
