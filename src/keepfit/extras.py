"""`pick`: the one way a variant is chosen.

A table maps a name to `"module:attribute"`; the module is imported only when its row is picked.
A name with a colon that is not in the table is taken as the user's own `"module:attribute"`.

>>> pick({"sqrt": "math:sqrt"}, "sqrt", "the test")(9.0)
3.0
>>> pick({"sqrt": "math:sqrt"}, "sqrd", "the test")
Traceback (most recent call last):
    ...
keepfit.errors.ConfigError: the test: unknown name 'sqrd'. Did you mean 'sqrt'? Known: sqrt
"""

from __future__ import annotations

import difflib
import importlib
import sys
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from keepfit.errors import ConfigError, MissingExtraError

# package → the extra that brings it
EXTRAS = {
    "fastexcel": "excel",
    "psycopg": "postgres",
    "s3fs": "s3",
    "gcsfs": "gcs",
    "adlfs": "azure",
    "fsspec": "s3",
    "PIL": "images",
    "huggingface_hub": "torch",
    "torch": "torch",
    "transformers": "torch",
    "nicegui": "ui",
    "fastapi": "ui",
    "uvicorn": "ui",
}


def nearest(name: str, known: Iterable[str]) -> str:
    """`Did you mean …? ` with the nearest known name, or nothing when none is near."""
    near = difflib.get_close_matches(name, list(known), n=1, cutoff=0.6)
    return f"Did you mean '{near[0]}'? " if near else ""


@contextmanager
def importable(folder: Path) -> Iterator[None]:
    """A project's folder on Python's path while its own modules are imported and called."""
    path = str(folder.resolve())
    sys.path.insert(0, path)
    try:
        yield
    finally:
        sys.path.remove(path)


def load(target: str, key: str) -> Any:
    """The object that `"module:attribute"` names; `key` says in errors who asked."""
    module, _, attribute = target.partition(":")
    try:
        found = importlib.import_module(module)
    except ModuleNotFoundError as error:
        raise missing(error, key) from error
    if not attribute:
        return found
    try:
        return getattr(found, attribute)
    except AttributeError as error:
        raise ConfigError(
            f"{key}: module '{module}' has no '{attribute}'. "
            f"{nearest(attribute, vars(found))}Write it as 'module:name'."
        ) from error


def missing(error: ModuleNotFoundError, key: str) -> MissingExtraError:
    """A missing package as an error that says what to install."""
    package = (error.name or "").partition(".")[0]
    extra = EXTRAS.get(package)
    own = f"pip install {package}, or put {package}.py beside keepfit.yaml if it is your own module"
    install = f"pip install 'keepfit[{extra}]'" if extra else own
    return MissingExtraError(f"{key} needs the package '{package}', which is not installed: {install}")


def pick(table: Mapping[str, str], name: str, key: str) -> Any:
    """The variant `name` of `table`, imported now. `key` is the config key, for the error."""
    if name in table:
        return load(table[name], key)
    if ":" in name:
        return load(name, key)
    raise ConfigError(f"{key}: unknown name '{name}'. {nearest(name, table)}Known: {', '.join(sorted(table))}")
