"""A fitted state on disk: `state.json` with arrays taken out, and `state.npz` with the arrays.

Nothing in the two files can run code: npz is read without pickle, JSON holds text and numbers.

>>> import tempfile
>>> with tempfile.TemporaryDirectory() as folder:
...     save({"words": ["a"], "idf": np.ones(1, np.float32), "norm": True}, Path(folder))
...     load(Path(folder))
{'words': ['a'], 'idf': array([1.], dtype=float32), 'norm': True}
"""

from __future__ import annotations

import json
import zipfile
import zlib
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import IO, Any

import numpy as np

from keepfit import durable
from keepfit.errors import BundleError

FORMAT = 1
ARRAY = "array:"  # a string that starts so stands for an array; other strings are escaped with TEXT
TEXT = "text:"
STATE, ARRAYS = "state.json", "state.npz"


def save(state: Mapping[str, Any], folder: Path) -> None:
    """Write a state (dicts, lists, strings, numbers, None and arrays) into `folder`, which is made."""
    folder.mkdir(parents=True, exist_ok=True)
    arrays: dict[str, Any] = {}
    document = json.dumps({"format": FORMAT, "state": _outward(state, arrays)}, allow_nan=False)
    _write(folder / ARRAYS, lambda file: np.savez(file, **arrays))
    _write(folder / STATE, lambda file: file.write(document.encode()))


def _outward(value: Any, arrays: dict[str, Any]) -> Any:
    if isinstance(value, np.ndarray):
        if value.dtype.hasobject:
            raise TypeError("an array of objects cannot be stored")
        key = f"a{len(arrays)}"
        arrays[key] = value
        return ARRAY + key
    if isinstance(value, Mapping):
        return {key: _outward(inner, arrays) for key, inner in value.items()}
    if isinstance(value, (list, tuple)):
        return [_outward(inner, arrays) for inner in value]
    if isinstance(value, str):
        return TEXT + value if value.startswith((ARRAY, TEXT)) else value
    return value.item() if isinstance(value, np.generic) else value


def _write(path: Path, fill: Callable[[IO[bytes]], Any]) -> None:
    with durable.replacing(path) as file:
        fill(file)


def load(folder: Path) -> dict[str, Any]:
    """The state that `save` wrote. Raises BundleError for a missing, damaged or newer file."""
    try:
        document = json.loads((folder / STATE).read_bytes())
        if not isinstance(document, dict) or document.get("format") != FORMAT:
            found = document.get("format") if isinstance(document, dict) else None
            known = f"this keepfit reads format {FORMAT}. Update keepfit, or train again."
            raise BundleError(f"{folder / STATE} has format {found}; {known}")
        with (folder / ARRAYS).open("rb") as file, np.load(file, allow_pickle=False) as stored:
            arrays = {key: stored[key] for key in stored.files}
        state = _inward(document["state"], arrays)
    except (OSError, ValueError, KeyError, EOFError, RecursionError, zipfile.BadZipFile, zlib.error) as error:
        raise BundleError(
            f"The learned features in {folder} are damaged or missing ({error}). Copy the bundle again, or train again."
        ) from error
    if not isinstance(state, dict):
        raise BundleError(f"{folder / STATE} holds no state. Copy the bundle again, or train again.")
    return state


def _inward(value: Any, arrays: Mapping[str, Any]) -> Any:
    if isinstance(value, str):
        if value.startswith(ARRAY):
            return arrays[value[len(ARRAY) :]]
        return value[len(TEXT) :] if value.startswith(TEXT) else value
    if isinstance(value, list):
        return value if _as_it_is(value) else [_inward(inner, arrays) for inner in value]
    if isinstance(value, dict):
        return {key: _inward(inner, arrays) for key, inner in value.items()}
    return value


def _as_it_is(values: list[Any]) -> bool:
    """Whether a list holds texts alone and none of them stands for anything else: a vocabulary, seen at a glance."""
    try:
        together = "\n" + "\n".join(values)
    except TypeError:
        return False
    return f"\n{ARRAY}" not in together and f"\n{TEXT}" not in together
