"""Data that Python brings: `sklearn:NAME`, a set that ships in scikit-learn, and `python:module:function`."""

from __future__ import annotations

import importlib
import inspect
import sys
import traceback
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import polars as pl

from keepfit import config
from keepfit.data import decode, frames, pictures
from keepfit.errors import ConfigError, DataError
from keepfit.extras import importable, load, missing, nearest

BUNDLED = ("iris", "breast_cancer", "wine", "diabetes", "digits")
DOWNLOADED = ("california_housing", "covtype", "20newsgroups", "kddcup99", "olivetti_faces", "lfw_people", "rcv1")


def bundled(source: str, data: config.Data, folder: Path) -> tuple[pl.DataFrame, dict[str, Any]]:
    """A data set that ships in scikit-learn: its features and the column `target`.

    The target of a classification holds the names of the classes ('setosa'), that of a regression
    numbers. `sklearn:digits#images` gives the digits as pictures of 8 x 8 pixels, column `image`, in place
    of their 64 numbers. Raises DataError for a set that is unknown or would have to be downloaded.
    """
    name, images, part = source.partition(":")[2].strip().partition("#")
    if name in DOWNLOADED or name.startswith("fetch_"):
        raise DataError(
            f"data.source '{source}': scikit-learn downloads '{name}' when asked; it does not ship with it. "
            f"Get it as a file and name that. Bundled: {', '.join(BUNDLED)}"
        )
    if images and (name, part) != ("digits", "images"):
        raise DataError(f"data.source '{source}': only digits has another form: sklearn:digits#images.")
    if name not in BUNDLED:
        hint = nearest(name, BUNDLED)
        raise DataError(f"data.source '{source}': unknown data set. {hint}Known: {', '.join(BUNDLED)}")
    bunch = load(f"sklearn.datasets:load_{name}", f"data.source '{source}'")(as_frame=True)
    frame = frames.to_polars(bunch.frame, source)
    if name != "diabetes":
        labels = [str(label) for label in bunch.target_names]
        frame = frame.with_columns(pl.Series("target", [labels[code] for code in bunch.target]))
    if images:
        shades = np.rint(bunch.data.to_numpy().reshape(-1, 8, 8) * (255 / 16)).astype(np.uint8)  # from 0 to 16
        frame = pl.DataFrame({"image": pl.Series(pictures.raws(shades), dtype=pl.Binary), "target": frame["target"]})
    return frame, {"format": "sklearn"}


def function(source: str, data: config.Data, folder: Path) -> tuple[pl.DataFrame, dict[str, Any]]:
    """What the user's own function gives: a pandas, polars or Arrow frame, or a dict of columns.

    The module is looked for in the project folder, then where Python looks; it is imported anew, so
    that an edited file counts. The function is called without arguments. Raises ConfigError when
    module or function are not there and DataError, with file and line, when they fail.
    """
    _, _, target = source.partition(":")
    module_name, colon, attribute = target.partition(":")
    if not (colon and module_name and attribute):
        raise ConfigError(f"data.source '{source}': write it as python:module:function.")
    with importable(folder):
        module = _module(source, module_name, folder)
        frame = _called(source, _callable(source, module, attribute))
    made = frames.to_polars(frame, f"what {source} gave")
    file = Path(module.__file__) if module.__file__ else None
    files = [{"path": file.name, "bytes": file.stat().st_size, "sha256": decode.sha256(file)}] if file else []
    return made, {"format": "python", "files": files}


def _module(source: str, name: str, folder: Path) -> ModuleType:
    top = name.partition(".")[0]
    if any((folder / end).exists() for end in (f"{top}.py", top)):
        _forget(top)  # another project's module of this name, or this one before it was edited
    importlib.invalidate_caches()
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        if error.name and (name == error.name or name.startswith(error.name + ".")):
            raise ConfigError(
                f"data.source '{source}': no module '{name}' in {folder} or among the installed."
            ) from error
        raise missing(error, f"data.source '{source}'") from error
    except Exception as error:  # the user's own code may raise anything
        raise _failed(source, error) from error


def _forget(top: str) -> None:
    """Drops a module and its parts, unless it is installed or part of Python."""
    for name in [name for name in sys.modules if name == top or name.startswith(top + ".")]:
        file = getattr(sys.modules[name], "__file__", None) or ""
        if "site-packages" not in file and not file.startswith(sys.base_prefix) and name != "__main__":
            del sys.modules[name]


def _callable(source: str, module: ModuleType, attribute: str) -> Callable[[], Any]:
    found = getattr(module, attribute, None)
    if not callable(found):
        known = [n for n, v in vars(module).items() if inspect.isfunction(v) and v.__module__ == module.__name__]
        raise ConfigError(
            f"data.source '{source}': {module.__file__} has no function '{attribute}'. "
            f"{nearest(attribute, known)}It has: {', '.join(known) or 'none'}"
        )
    try:
        inspect.signature(found).bind()
    except TypeError as error:
        raise ConfigError(
            f"data.source '{source}': the function is called without arguments, but {error}. Give it defaults."
        ) from error
    except ValueError:  # a function written in C that does not tell its signature
        pass
    made: Callable[[], Any] = found
    return made


def _called(source: str, call: Callable[[], Any]) -> Any:
    try:
        return call()
    except Exception as error:  # the user's own code may raise anything
        raise _failed(source, error) from error


def _failed(source: str, error: Exception) -> DataError:
    """The error with the line of the user's code that it came from, not that of a library below."""
    frames_ = [f for f in traceback.extract_tb(error.__traceback__) if f.filename != __file__]
    own = [
        f for f in frames_ if "site-packages" not in f.filename and not f.filename.startswith(("<", sys.base_prefix))
    ]
    if isinstance(error, SyntaxError) and error.filename:
        place = f" at {error.filename}, line {error.lineno}"
    elif own or frames_:
        last = (own or frames_)[-1]
        place = f" at {last.filename}, line {last.lineno}, in {last.name}"
    else:
        place = ""
    return DataError(f"data.source '{source}' failed{place}: {type(error).__name__}: {error}")
