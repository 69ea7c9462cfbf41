"""Who is champion now? Asked again and again by a process that serves, without importing MLflow.

    the project's own registry, and any in SQLite     read from the file, when it has changed
    an MLflow server                                  one GET
    any other (a database, ways to log in that only   a process beside this one that imports MLflow
    MLflow knows)

The files of a version are used where they lie on this machine; else they are copied once into
`.keepfit/models`, through the MLflow server itself or, from an object store, by that other process.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlsplit

from keepfit import config
from keepfit.errors import TrackingError
from keepfit.tracking import asked, copies, glance, places, rest

SQLITE = "sqlite:///"


@dataclass(frozen=True)
class Found:
    """A registered version. `fetch` gives its bundle's folder; it raises TrackingError, or BundleError for damage."""

    version: str
    fetch: Callable[[], Path] = field(compare=False, repr=False)


Pointer = Callable[[str], Found | None]


def pointer(tracking: config.Tracking, work: Path, model: str) -> Pointer:
    """A function of an alias ("champion") or a version's number: that version, or None where there is none.

    Nothing is asked before it is called. A call that goes wrong raises TrackingError and leaves the
    function in order: the next call asks afresh. Threads may share it.
    """
    store, registry = places.stores(tracking, work)
    if registry.startswith(SQLITE):
        return _file(store, registry, work, model)
    if rest.beyond(registry):
        return _asked(asked.Child(store, registry, model, work))
    return _server(store, registry, work, model)


def _file(store: str, registry: str, work: Path, model: str) -> Pointer:
    """A registry in SQLite: read when its file has changed."""
    database = Path(registry.removeprefix(SQLITE))
    own = database == work.resolve() / "mlflow.db"
    known: dict[str, tuple[glance.Stamp, Found | None]] = {}

    def ask(which: str) -> Found | None:
        try:
            stamp = glance.stamp(database)
            if stamp is None:
                return None
            before = known.get(which)
            if before and before[0] == stamp and glance.settled(stamp):
                return before[1]
            row = glance.version(database, model, which)
        except (sqlite3.Error, OSError) as error:
            raise TrackingError(f"The registry {database} cannot be read: {error}.") from error
        found = None
        if row:
            number, source, root = row
            source = glance.placed(source, root, work) if own else source
            found = Found(number, lambda: _here(source) or _child(store, registry, work, model, number))
        known[which] = (stamp, found)
        return found

    return ask


def _server(store: str, registry: str, work: Path, model: str) -> Pointer:
    """An MLflow server. Files go through the tracking server, which may be another than the registry."""
    asking = rest.server(registry)
    giving = asking if store == registry or rest.beyond(store) else rest.server(store)

    def fetch(number: str) -> Path:
        source = rest.source(asking, model, number)
        url = rest.proxied(giving, f"{source}/bundle")
        if url is None:
            return _here(source) or _child(store, registry, work, model, number)
        target = places.copy(work.resolve() / "models", model, number, registry, source)
        return copies.whole(target, lambda folder: rest.download(giving, url, folder))

    def ask(which: str) -> Found | None:
        number = rest.version(asking, model, which)
        return None if number is None else Found(number, lambda: fetch(number))

    return ask


def _asked(child: asked.Child) -> Pointer:
    def ask(which: str) -> Found | None:
        number = child.version(which)
        return None if number is None else Found(number, lambda: child.fetch(number))

    return ask


def _here(source: str) -> Path | None:
    """The bundle's folder, where the files lie on this machine. Raises TrackingError where they are gone."""
    found = places.local(f"{source}/bundle")
    if found is None and urlsplit(source).scheme in ("", "file"):
        raise TrackingError(f"The files of the version are not there: {places.shown(source)}/bundle.")
    return found


def _child(store: str, registry: str, work: Path, model: str, number: str) -> Path:
    """The files as MLflow finds them, by a process that ends afterwards."""
    child = asked.Child(store, registry, model, work)
    try:
        return child.fetch(number)
    finally:
        child.close()
