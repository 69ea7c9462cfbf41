"""State files of monitoring: JSON with a format number, whole or not there.

A file that was cut short, changed by hand or written by a newer keepfit does not stop the loop: it is
set aside as `NAME.damaged` with a warning, and what it held begins anew.
"""

from __future__ import annotations

import json
import warnings
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, TypeVar

from keepfit import durable
from keepfit.types import plain

FORMAT = 1
T = TypeVar("T")


def write(path: Path, values: Mapping[str, Any]) -> None:
    """`values` with the format's number as the file `path`. Raises OSError as the system does."""
    path.parent.mkdir(parents=True, exist_ok=True)
    content = {"format": FORMAT, **plain(values)}
    durable.write_text(path, json.dumps(content, ensure_ascii=False, indent=1, default=str))


def read(path: Path, make: Callable[[Any], T], empty: T) -> T:
    """What `make` makes of the file's values; `empty` where there is no file or it had to be set aside."""
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
        if values["format"] != FORMAT:
            raise ValueError(f"it has format {values['format']}, this keepfit knows {FORMAT}")
        return make(values)
    except FileNotFoundError:
        return empty
    except (ValueError, TypeError, KeyError, AttributeError, IsADirectoryError) as error:
        _set_aside(path, error)
        return empty


def _set_aside(path: Path, error: Exception) -> None:
    aside = path.with_name(path.name + ".damaged")
    try:
        path.replace(aside)
    except OSError as refused:
        warnings.warn(f"{path} cannot be read ({error}), nor moved away ({refused.strerror}).", stacklevel=3)
    else:
        warnings.warn(f"{path} cannot be read ({error}); it is {aside.name} now, and begins anew.", stacklevel=3)


def stamp(now: datetime) -> str:
    """A time as text, UTC with microseconds: as text in order as in time.

    >>> stamp(datetime(2026, 1, 2, 3, tzinfo=UTC))
    '2026-01-02T03:00:00.000000+00:00'
    """
    return now.astimezone(UTC).isoformat(timespec="microseconds")


def moment(text: str) -> datetime:
    """The time that `stamp` wrote. Raises ValueError or TypeError for anything else."""
    found = datetime.fromisoformat(text)
    if found.tzinfo is None:
        raise ValueError(f"'{text}' is a time without its zone")
    return found
