"""The user's functions: loaded, run, and told precisely when they are wrong."""

from __future__ import annotations

import hashlib
import re

import polars as pl
import pytest

from keepfit.errors import DataError
from keepfit.features import hooks

FRAME = pl.DataFrame({"rooms": [4.0, 6.0, None, 9.0], "people": [2, 3, 1, 3], "name": ["a", "b", "c", "d"]})
GOOD = '''
import math
from math import sqrt
import numpy as np
import polars as pl

LIMIT = 3

def rooms_per_person(frame):
    """A series."""
    return frame["rooms"] / frame["people"]

def crowded(frame: pl.DataFrame) -> pl.Expr:
    return pl.col("people") >= LIMIT

def roots(frame):
    return {"root": np.sqrt(frame["people"].to_numpy()), "square": [p * p for p in frame["people"]]}

def shout(frame, mark="!"):
    return frame.select(loud=pl.col("name") + mark)

def _helper(frame):
    raise RuntimeError

def two(frame, other):
    raise RuntimeError

class Thing:
    pass
'''


def written(folder, code):
    path = folder / "features.py"
    path.write_text(code)
    return path


def test_public_functions_of_one_parameter_add_columns(tmp_path):
    functions = hooks.load(written(tmp_path, GOOD))
    assert list(functions) == ["rooms_per_person", "crowded", "roots", "shout"]
    frame, made = hooks.apply(FRAME, functions)
    assert frame.columns == [*FRAME.columns, "rooms_per_person", "crowded", "root", "square", "loud"]
    assert frame["rooms_per_person"].to_list() == [2.0, 2.0, None, 3.0]
    assert frame["crowded"].to_list() == [False, True, False, True]
    assert frame["loud"].to_list() == ["a!", "b!", "c!", "d!"]
    assert made["root"] == made["square"] == "roots"
    assert hooks.rowwise(FRAME, functions).outcome == "passed"


def test_only_the_file_that_was_trained_with_is_run(tmp_path):
    path = written(tmp_path, GOOD)
    known = hashlib.sha256(path.read_bytes()).hexdigest()
    assert hooks.load(path, known)
    assert hooks.load(path, f"sha256:{known}")
    ran = tmp_path / "ran"
    path.write_text(f"open({str(ran)!r}, 'w').close()\n{GOOD}")
    with pytest.raises(DataError, match="is not the file that the model was trained with"):
        hooks.load(path, known)
    assert not ran.exists()


@pytest.mark.parametrize(
    ("code", "told"),
    [
        ("x = 1\ndef broken(:\n", r"features.py line 2 cannot be run: SyntaxError"),
        ("import nothing_like_this\n", r"features.py line 1 cannot be run: ModuleNotFoundError: No module named"),
        ("a = 1\n\nb = a / 0\n", r"features.py line 3 cannot be run: ZeroDivisionError: division by zero"),
        ("from math import sqrt\n", "has no function that could add a column: write 'def name"),
    ],
)
def test_a_file_that_cannot_be_used(tmp_path, code, told):
    with pytest.raises(DataError, match=told):
        hooks.load(written(tmp_path, code))


def test_a_file_that_is_not_there(tmp_path):
    with pytest.raises(DataError, match=r"features.code: .*features.py cannot be read: No such file"):
        hooks.load(tmp_path / "features.py")


@pytest.mark.parametrize(
    ("body", "told"),
    [
        ("return frame['room']", r"function 'f' \(features.py line 1\) failed in line 2: ColumnNotFoundError"),
        ("return __import__('polars').col('room')", r"function 'f' \(features.py line 1\) failed: ColumnNotFoundError"),
        ("return 1 / 0", r"failed in line 2: ZeroDivisionError"),
        ("return frame['rooms'].mean()", "it gave float, not a column"),
        ("pass", "it gave NoneType, not a column"),
        ("return frame['rooms'][:2]", "column 'f' has 2 values for 4 rows"),
        ("return {'name': frame['rooms']}", "makes the column 'name', but the data has it already. Rename it."),
    ],
)
def test_a_function_that_fails_is_named_with_its_line(tmp_path, body, told):
    functions = hooks.load(written(tmp_path, f"def f(frame):\n    {body}\n"))
    with pytest.raises(DataError, match=told):
        hooks.apply(FRAME, functions)


def test_two_functions_that_make_one_column(tmp_path):
    functions = hooks.load(
        written(tmp_path, "def a(frame): return frame['rooms']\ndef b(frame): return {'a': frame['rooms']}\n")
    )
    with pytest.raises(DataError, match=r"'b' .*makes the column 'a', but function 'a' makes it too"):
        hooks.apply(FRAME, functions)


@pytest.mark.parametrize(
    ("body", "told"),
    [
        (
            "return frame['rooms'] - frame['rooms'].mean()",
            r"looks at other rows: 'f' of row \d: -?[\d.]+ among the rows, 0.0 alone",
        ),
        ("return frame['people'].rank()", "looks at other rows"),
        ("return frame['people'].shift(1)", "looks at other rows: 'f' of row 1: 2 among the rows, None alone"),
        ("return frame['name'].reverse()", "looks at other rows: 'f' of row 0: 'd' among the rows, 'a' alone"),
        ("return frame['rooms'].sample(4) if len(frame) == 4 else 1 / 0", "on row 0 alone: .*ZeroDivisionError"),
        ("return frame['name'].to_dummies()", "row 0 alone gives the columns"),
    ],
)
def test_a_function_that_looks_at_other_rows_is_caught(tmp_path, body, told):
    functions = hooks.load(
        written(tmp_path, f"def fine(frame): return frame['people'] * 2\ndef f(frame):\n    {body}\n")
    )
    verdict = hooks.rowwise(FRAME, functions)
    assert verdict.outcome == "failed"
    fine, bad = verdict.checks
    assert fine.outcome == "passed"
    assert bad.name == "f is rowwise"
    assert re.search(told, bad.detail), bad.detail


def test_one_row_shows_nothing(tmp_path):
    functions = hooks.load(written(tmp_path, GOOD))
    assert hooks.rowwise(FRAME[:1], functions).outcome == "not checked"


def test_functions_do_not_see_each_other(tmp_path):
    code = "def a(frame): return frame['people']\ndef b(frame): return frame['a']\n"
    with pytest.raises(DataError, match=r"'b' .*ColumnNotFoundError"):
        hooks.apply(FRAME, hooks.load(written(tmp_path, code)))


def test_pandas_results_are_columns_too(tmp_path):
    code = "def doubled(frame): return frame.to_pandas()['people'] * 2\n"
    frame, _ = hooks.apply(FRAME, hooks.load(written(tmp_path, code)))
    assert frame["doubled"].to_list() == [4, 6, 2, 6]
