"""Who was champion last: `.keepfit/monitoring/served.json`, for a server that starts while the registry is away.

A server that runs goes on with what it has. One that is started again meanwhile, after a crash or with the
machine, has only this; it serves the version that was put to work here last, says so, and follows the
registry again when that answers.
"""

from __future__ import annotations

import logging
from contextlib import suppress
from pathlib import Path

from keepfit.errors import TrackingError
from keepfit.monitoring import state
from keepfit.tracking.pointer import Found, Pointer

FILE = "served.json"
CHAMPION = "champion"
log = logging.getLogger("keepfit.server")


def remembering(ask: Pointer, folder: Path) -> Pointer:
    """`ask`, whose first answer about the champion is the remembered one where the registry cannot be asked.

    `folder` is `.keepfit/monitoring`. Whoever is fetched as champion is remembered from then on. Raises
    TrackingError as `ask` does, where nobody is remembered and from the second time on.
    """
    began = False

    def look(which: str) -> Found | None:
        nonlocal began
        first, began = not began, True
        try:
            found = ask(which)
        except TrackingError as error:
            known = last(folder) if first and which == CHAMPION else None
            if known is None:
                raise
            log.warning("version %s, which was champion last, is served: %s", known.version, error)
            return known
        if found is None or which != CHAMPION:
            return found
        return Found(found.version, lambda: _noted(folder, found))

    return look


def last(folder: Path) -> Found | None:
    """The champion that was fetched last, if its files are still here."""

    def made(values: dict[str, str]) -> Found | None:
        path = Path(values["bundle"])
        return Found(values["version"], lambda: path) if path.is_dir() else None

    return state.read(folder / FILE, made, None)


def _noted(folder: Path, found: Found) -> Path:
    path = found.fetch()
    with suppress(OSError):  # a full disk is no reason not to serve
        state.write(folder / FILE, {"version": found.version, "bundle": str(path.resolve())})
    return path
