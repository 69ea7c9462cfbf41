"""Is this machine fit for a run? Looked at by `keepfit check`, before and beside the data.

    environment.writable     .keepfit, or the folder it will be made in, may be written
    environment.disk         there is room for what a run keeps of data of this size
    environment.tracking     a tracking server or registry that the config or the environment names answers
    environment.extras       the packages that the source and the store need are installed
    environment.features     features.py can be imported
    environment.packages     the installed versions are those that keepfit can work with

Nothing is written, and whatever is not there is told in seconds.
"""

from __future__ import annotations

import importlib.metadata
import importlib.util
import os
import re
import shutil
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import zip_longest
from pathlib import Path
from urllib.parse import urlsplit

from keepfit import config as settings
from keepfit.config import Config
from keepfit.data import files, read
from keepfit.errors import KeepfitError
from keepfit.extras import importable, missing
from keepfit.pipeline import champion, ready
from keepfit.tracking import glance, places
from keepfit.types import Check, Verdict

SECONDS = 5  # for a server to answer
LEAST = 200 << 20  # bytes that a run needs beside the data: models, reports, the database
TIMES = 3  # as large as its data are the split and the versions that a run keeps, at most
# scheme or ending → the package that reads it
NEEDS = {"s3": "s3fs", "gs": "gcsfs", "az": "adlfs", "postgresql": "psycopg", "postgres": "psycopg"}
NEEDS |= {kind: "fastexcel" for kind, reader in files.FORMATS.items() if reader == files.EXCEL}
REQUIREMENT = re.compile(r"([A-Za-z0-9._-]+)(?:\[[^]]*\])?\s*([^;]*)")
LIMIT = re.compile(r"(>=|<)\s*([0-9.]+)")


def examine(config: Config, project: Path) -> Verdict:
    """Everything about this machine that would stop a run, all at once."""
    work = project / settings.WORK
    checks = [_writable(work), _disk(config, project), *_tracking(config, work)]
    return Verdict("environment", (*checks, *_extras(config), *_features(config, project), *_packages()))


@contextmanager
def told_too(here: Verdict) -> Iterator[None]:
    """An error about the data says as well what is wrong with the machine: all problems at once."""
    try:
        yield
    except KeepfitError as error:
        others = [f"  {c.name}: {c.detail}" for c in here.failures if c.detail not in str(error)]
        if others:
            error.args = ("\n".join([str(error), "Beside that:", *others]), *error.args[1:])
        raise


def _failed(name: str, detail: str, value: object = None, limit: object = None) -> Check:
    return Check(f"environment.{name}", "failed", value, limit, detail)


def _passed(name: str, value: object = None, limit: object = None, detail: str = "") -> Check:
    return Check(f"environment.{name}", "passed", value, limit, detail)


def _standing(path: Path) -> Path:
    """The path, or the nearest folder above it that is there."""
    return next(p for p in (path.absolute(), *path.absolute().parents) if p.exists())


def _writable(work: Path) -> Check:
    place = _standing(work)
    if not place.is_dir():
        return _failed("writable", f"{place} is a file, and keepfit needs a folder of that name: move it away.")
    closed = [p for p in (place, *(place.glob("*") if place == work.absolute() else ())) if not os.access(p, os.W_OK)]
    if closed:
        return _failed("writable", f"{closed[0]} may not be written by this user: chmod u+w, or another folder.")
    return _passed("writable")


def _disk(config: Config, project: Path) -> Check:
    free = shutil.disk_usage(_standing(project / settings.WORK)).free
    size = sum(_size(source, project) for source in (config.data.source, config.data.test) if source)
    needed = LEAST + TIMES * size
    told = f"{free / 1e9:.1f} GB free, up to {needed / 1e9:.1f} GB needed for data of {size / 1e9:.2f} GB"
    if free < needed:
        return _failed("disk", f"{told}: free some, or move the project to a larger disk.")
    return _passed("disk", detail=told)


def _size(source: str, project: Path) -> int:
    """The bytes of local files; 0 for what lies elsewhere or is not there."""
    if read.SCHEME.match(source) and not source.startswith("file:"):
        return 0
    try:
        path = project / Path(source.removeprefix("file:").removeprefix("//")).expanduser()
        return sum(file.stat().st_size for file in files.listed(path))
    except (KeepfitError, OSError):
        return 0  # told when it is read


def _tracking(config: Config, work: Path) -> Iterator[Check]:
    """Each server that is named, once; then whether the registry can be read."""
    named = [settings.environment(name) for name in glance.ELSEWHERE]
    uris = list(dict.fromkeys(uri for uri in (named[0] or config.tracking.uri, named[1]) if uri))
    if not uris:
        yield _passed("tracking", detail=f"the project's own: {work / 'mlflow.db'}")
        return
    for uri in uris:
        package = NEEDS.get(urlsplit(uri).scheme.partition("+")[0])
        if package and not importlib.util.find_spec(package):
            yield _failed("tracking", _missing(package, "tracking.uri"))
            return
    found = next(filter(None, map(_silent, uris)), "") or _unreadable(config, work)
    yield _failed("tracking", found) if found else _passed("tracking", detail=", ".join(map(places.shown, uris)))


def _silent(uri: str) -> str:
    """Why a server does not answer, or ""."""
    if not uri.startswith(("http:", "https:")):
        return ""  # a database is opened when the registry is read
    try:
        urllib.request.urlopen(uri, timeout=SECONDS).close()
    except urllib.error.HTTPError:
        return ""  # it wants a password, or another path: it is there
    except OSError as error:
        why = places.redacted(str(getattr(error, "reason", error)), uri)
        return f"{places.shown(uri)} does not answer: {why}. Check MLFLOW_TRACKING_URI or tracking.uri."
    return ""


def _unreadable(config: Config, work: Path) -> str:
    try:
        champion.readable(config, work)
    except KeepfitError as error:
        return str(error)
    return ""


def _extras(config: Config) -> Iterator[Check]:
    """The packages that read the sources."""
    found = False
    for key, source in (("data.source", config.data.source), ("data.test", config.data.test)):
        scheme = read.SCHEME.match(source or "")
        kinds = {scheme[1].lower() if scheme else "", files.suffix(Path(source or ""))}
        for package in sorted({NEEDS[kind] for kind in kinds & NEEDS.keys()}):
            found = True
            there = importlib.util.find_spec(package)
            yield _passed("extras", package) if there else _failed("extras", _missing(package, key), package)
    if not found:
        yield _passed("extras", detail="none is needed")


def _missing(package: str, key: str) -> str:
    return str(missing(ModuleNotFoundError(name=package), key))


def _features(config: Config, project: Path) -> Iterator[Check]:
    if ready.hooks_file(config, project) is None:
        return
    try:
        with importable(project):
            names = ", ".join(ready.functions_of(config, project))
        yield _passed("features", names)
    except KeepfitError as error:
        yield _failed("features", str(error))


def _packages() -> Iterator[Check]:
    """Required packages whose installed version is out of the range that keepfit was made for."""
    wrong = []
    for requirement in importlib.metadata.requires("keepfit") or ():
        found = REQUIREMENT.match(requirement)
        if found and "extra ==" not in requirement:
            wrong += [f"{found[1]} {told}" for told in _out_of_range(found[1], found[2])]
    if wrong:
        yield _failed("packages", f"{'; '.join(wrong)}. Install keepfit anew: pip install -U keepfit", len(wrong), 0)
    else:
        yield _passed("packages", 0, 0)


def _out_of_range(package: str, limits: str) -> Iterator[str]:
    try:
        version = importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        yield "is not installed"
        return
    for sign, limit in LIMIT.findall(limits):
        if (_compare(version, limit) >= 0) != (sign == ">="):
            yield f"is {version}, and has to be {sign}{limit}"


def _compare(one: str, other: str) -> int:
    """-1, 0 or 1 as the first version is older, the same or newer, by their leading numbers.

    >>> _compare("2.10.0", "2.9"), _compare("3", "3.0"), _compare("1.30.0rc1", "2")
    (1, 0, -1)
    """
    parts = [[int(part) for part in re.findall(r"\d+", re.split(r"[a-zA-Z+]", text)[0])] for text in (one, other)]
    differ = [a - b for a, b in zip_longest(*parts, fillvalue=0) if a != b]
    return 0 if not differ else 1 if differ[0] > 0 else -1
