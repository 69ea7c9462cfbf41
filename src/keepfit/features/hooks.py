"""The user's features.py: plain functions of a frame that add columns.

    def rooms_per_person(frame: pl.DataFrame) -> pl.Series:
        return frame["rooms"] / frame["people"]

Each public function of the file with one parameter is a hook. It gets the frame with the columns
of the source (polars) and gives back either one column, named like the function (a Series, an
expression, an array or a list), or several by their own names (a DataFrame, or a dict of columns).
The same functions run in training, batch and serving, and a served row comes alone: a function
that looks at other rows (a mean, a rank, a shift) would mean something else there. `rowwise` finds
such functions before anything is trained on them.
"""

from __future__ import annotations

import hashlib
import inspect
import sys
import traceback
import types
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import polars as pl

from keepfit.errors import DataError
from keepfit.types import Check, Verdict

Hook = Callable[[pl.DataFrame], Any]
ROWS = 30  # rows on which `rowwise` tries the functions alone
CLOSE = 1e-9  # relative difference that rounding may make


def load(path: Path, sha256: str | None = None) -> dict[str, Hook]:
    """The hooks of a file, in the order they stand there. The file's code is run.

    With `sha256` the file is run only if its content has that hash: what is served is what was
    trained with. Raises DataError, which names the line, if the file cannot be read or run.
    """
    try:
        content = path.read_bytes()
    except OSError as error:
        raise DataError(f"features.code: {path} cannot be read: {error.strerror}.") from error
    found = hashlib.sha256(content).hexdigest()
    if sha256 is not None and found != sha256.removeprefix("sha256:"):
        hashes = f"sha256 {found[:12]}…, not {sha256.removeprefix('sha256:')[:12]}…"
        raise DataError(f"{path} is not the file that the model was trained with ({hashes}).")
    module = types.ModuleType(f"keepfit_hooks_{found[:12]}")
    module.__file__ = str(path)
    sys.modules[module.__name__] = module  # dataclasses and typing look the module up while it runs
    try:
        exec(compile(content, str(path), "exec"), module.__dict__)
    except Exception as error:  # the user's code may raise anything
        raise DataError(f"{path}{_line(error, path)} cannot be run: {_told(error)}") from error
    own = [f for f in vars(module).values() if inspect.isfunction(f) and f.__module__ == module.__name__]
    hooks: dict[str, Hook] = {f.__name__: f for f in own if not f.__name__.startswith("_") and _takes_one(f)}
    if not hooks:
        raise DataError(f"{path} has no function that could add a column: write 'def name(frame): return …'.")
    return hooks


def _takes_one(function: Hook) -> bool:
    parameters = inspect.signature(function).parameters.values()
    positional = [p for p in parameters if p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD)]
    needed = [p for p in parameters if p.default is p.empty and p.kind not in (p.VAR_POSITIONAL, p.VAR_KEYWORD)]
    return bool(positional) and needed in ([], [positional[0]]) and len(positional) - len(needed) in (0, 1)


def _line(error: BaseException, path: Path) -> str:
    """` line 12`, of the user's file."""
    if isinstance(error, SyntaxError):
        return f" line {error.lineno}"
    lines = [frame.lineno for frame in traceback.extract_tb(error.__traceback__) if frame.filename == str(path)]
    return f" line {lines[-1]}" if lines else ""


def _told(error: BaseException) -> str:
    first = str(error).strip().splitlines()
    return f"{type(error).__name__}: {first[0]}" if first else type(error).__name__


def apply(frame: pl.DataFrame, functions: Mapping[str, Hook]) -> tuple[pl.DataFrame, dict[str, str]]:
    """The frame with the columns that the functions make, and which function made each.

    Every function gets the frame as it came, without the columns of the other functions. Raises
    DataError naming function, file and line if one fails, gives what is no column, or gives a
    column that is there already.
    """
    made: dict[str, pl.Series] = {}
    maker: dict[str, str] = {}
    for name, function in functions.items():
        for column, values in _call(name, function, frame).items():
            if column in maker or column in frame.columns:
                other = f"function '{maker[column]}' makes it too" if column in maker else "the data has it already"
                raise DataError(f"{_where(name, function)} makes the column '{column}', but {other}. Rename it.")
            made[column], maker[column] = values, name
    return frame.with_columns(made.values()), maker


def _where(name: str, function: Hook) -> str:
    code = getattr(function, "__code__", None)
    place = f" ({Path(code.co_filename).name} line {code.co_firstlineno})" if code else ""
    return f"features: function '{name}'{place}"


def _call(name: str, function: Hook, frame: pl.DataFrame) -> dict[str, pl.Series]:
    try:
        result = function(frame)
        if isinstance(result, pl.Expr):
            result = frame.select(result.alias(name))[name]
        found = _columns(name, result)
    except Exception as error:  # the user's code may raise anything
        path = Path(getattr(getattr(function, "__code__", None), "co_filename", ""))
        at = _line(error, path)
        raise DataError(f"{_where(name, function)} failed{' in' + at if at else ''}: {_told(error)}") from error
    for column, values in found.items():
        if len(values) != frame.height:
            sizes = f"{len(values)} values for {frame.height} rows"
            raise DataError(f"{_where(name, function)}: column '{column}' has {sizes}.")
    return found


def _columns(name: str, result: Any) -> dict[str, pl.Series]:
    if isinstance(result, pl.DataFrame):
        return {column.name: column for column in result.iter_columns()}
    if isinstance(result, Mapping):
        return {str(key): _series(str(key), values) for key, values in result.items()}
    return {name: _series(name, result)}


def _series(name: str, values: Any) -> pl.Series:
    if isinstance(values, pl.Series):
        return values.alias(name)
    if type(values).__module__.partition(".")[0] == "pandas":
        return pl.Series(name, pl.from_pandas(values))
    if values is None or isinstance(values, (str, bytes, int, float)):
        raise TypeError(f"it gave {type(values).__name__}, not a column; return a Series, an expression or an array")
    return pl.Series(name, values)


def rowwise(frame: pl.DataFrame, functions: Mapping[str, Hook]) -> Verdict:
    """Whether each function makes the same of a row alone as of the row among the others.

    Tried on up to `ROWS` rows, evenly spaced. A failed check names the function and the largest
    difference; a frame without two rows shows nothing, and the checks say "not checked".
    """
    return Verdict("hooks", tuple(_rowwise(frame, name, function) for name, function in functions.items()))


def _rowwise(frame: pl.DataFrame, name: str, function: Hook) -> Check:
    if frame.height < 2:
        return Check(f"{name} is rowwise", "not checked", detail="needs two rows or more")
    whole = _call(name, function, frame)
    step = max(frame.height // ROWS, 1)
    worst: tuple[float, str] = (0.0, "")
    for row in range(0, frame.height, step)[:ROWS]:
        try:
            alone = _call(name, function, frame[row : row + 1])
        except DataError as error:
            return Check(f"{name} is rowwise", "failed", detail=f"on row {row} alone: {error}")
        if alone.keys() != whole.keys():
            return Check(f"{name} is rowwise", "failed", detail=f"row {row} alone gives the columns {list(alone)}")
        found = [_compared(column, row, values[row], alone[column][0]) for column, values in whole.items()]
        worst = max(worst, *found, key=lambda pair: pair[0])
    passed = worst[0] <= CLOSE
    detail = "" if passed else f"{_where(name, function)} looks at other rows: {worst[1]}. A served row comes alone."
    return Check(f"{name} is rowwise", "passed" if passed else "failed", worst[0], f"<= {CLOSE}", detail)


def _compared(column: str, row: int, whole: Any, alone: Any) -> tuple[float, str]:
    return _difference(whole, alone), f"'{column}' of row {row}: {whole!r} among the rows, {alone!r} alone"


def _difference(whole: Any, alone: Any) -> float:
    """Relative difference of two values; infinite for values that are no numbers and differ."""
    if isinstance(whole, (int, float)) and isinstance(alone, (int, float)):
        if whole == alone or (whole != whole and alone != alone):
            return 0.0
        gap = abs(whole - alone) / max(abs(whole), abs(alone))
        return gap if gap == gap else float("inf")
    return 0.0 if whole == alone else float("inf")
