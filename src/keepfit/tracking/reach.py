"""Is the store there? Answers in seconds where MLflow would go on trying for minutes."""

from __future__ import annotations

import socket
from pathlib import Path
from urllib.parse import unquote, urlsplit
from urllib.request import getproxies, proxy_bypass

import sqlalchemy

PORTS = {"http": 80, "https": 443, "postgresql": 5432, "mysql": 3306, "mssql": 1433}
SECONDS = 5  # for a server to accept a connection


def reach(uri: str) -> None:
    """Connect once. Raises OSError or SQLAlchemyError; other kinds of stores are left to MLflow.

    A database is opened as well: a wrong password or a damaged file shows at once.
    """
    parts = urlsplit(uri)
    scheme = parts.scheme.partition("+")[0]
    if scheme in PORTS and parts.hostname and not _proxied(parts.hostname, scheme):
        socket.create_connection((parts.hostname, parts.port or PORTS[scheme]), SECONDS).close()
    if scheme == "sqlite":
        Path(uri.removeprefix("sqlite:///")).parent.mkdir(parents=True, exist_ok=True)
    if scheme == "sqlite" or (scheme in PORTS and not scheme.startswith("http")):
        _open(uri)


def _proxied(host: str, scheme: str) -> bool:
    return scheme in getproxies() and not proxy_bypass(host)


def _open(uri: str) -> None:
    engine = sqlalchemy.create_engine(uri)
    try:
        sqlalchemy.inspect(engine).get_table_names()
    finally:
        engine.dispose()


def local(uri: str) -> Path | None:
    """The folder that a URI or path names, if it is one of this machine."""
    parts = urlsplit(uri)
    path = Path(unquote(parts.path) if parts.scheme == "file" else uri)
    return path if parts.scheme in ("", "file") and path.is_dir() else None


def shown(uri: str) -> str:
    """A URI without the user and password in it.

    >>> shown("postgresql://ann:secret@db.example:5432/mlflow")
    'postgresql://db.example:5432/mlflow'
    """
    place = urlsplit(uri).netloc
    return uri.replace(place, place.rpartition("@")[2], 1) if "@" in place else uri


def redacted(text: str, *uris: str) -> str:
    """A message without the credentials of `uris`, however they were quoted in it.

    >>> redacted("no such user ann:secret", "postgresql://ann:secret@db.example/mlflow")
    'no such user ann:***'
    """
    for uri in uris:
        text = text.replace(uri, shown(uri))
        secret = urlsplit(uri).password
        text = text.replace(secret, "***") if secret else text
    return text
