"""Is the store there? Answers in seconds where MLflow would go on trying for minutes."""

from __future__ import annotations

import socket
from pathlib import Path
from urllib.parse import urlsplit
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
