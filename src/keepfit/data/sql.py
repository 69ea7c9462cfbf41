"""PostgreSQL and SQLite: the rows of `data.query`, read-only, through SQLAlchemy."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import polars as pl
import sqlalchemy
from sqlalchemy.engine import URL, make_url

from keepfit import config
from keepfit.data import decode, files, frames
from keepfit.data.redact import redacted, scrubbed
from keepfit.errors import ConfigError, DataError
from keepfit.extras import load

ROWS = 50_000  # fetched at once
TIMEOUT = 15  # seconds to wait for a connection


def read(source: str, data: config.Data, folder: Path) -> tuple[pl.DataFrame, dict[str, Any]]:
    """The result of `data.query`, with the types that the database gives.

    Numerics become floats, UUIDs and columns of mixed types (SQLite) strings. The connection can
    only read. Raises ConfigError without `data.query` or with a source that is no URL, DataError
    when the server cannot be reached, the query is wrong, or its columns have no unique names;
    passwords are never shown.
    """
    shown = redacted(source)
    if not (data.query or "").strip():
        raise ConfigError(f"data.query: is missing. {shown} needs one, for instance: query: SELECT * FROM customers")
    query = str(data.query)
    url, origin = _connect(source, folder)
    engine = sqlalchemy.create_engine(url, poolclass=sqlalchemy.NullPool, connect_args=_arguments(url))
    try:
        with engine.connect() as connection:
            if url.get_backend_name() == "postgresql":
                connection = connection.execution_options(postgresql_readonly=True)
            result = connection.execution_options(no_parameters=True).exec_driver_sql(query)
            frame = _frame(result, shown)
    except sqlalchemy.exc.SQLAlchemyError as error:
        raise _failed(source, error) from None  # the cause may hold the password
    return frames.tidy(frame, f"{shown}: data.query"), {"format": url.get_backend_name(), "query": query, **origin}


def _connect(source: str, folder: Path) -> tuple[URL, dict[str, Any]]:
    try:
        url = make_url(source)
    except (sqlalchemy.exc.ArgumentError, ValueError):
        raise ConfigError(
            f"data.source '{redacted(source)}' is no URL of a database; "
            "write it as postgresql://user:password@host/name. "
            "Signs such as @ : / in a password are written as %40 %3A %2F."
        ) from None
    if url.get_backend_name() != "sqlite":
        load("psycopg", f"data.source '{redacted(source)}'")
        return url.set(drivername="postgresql+psycopg"), {}
    if not url.database or (folder / url.database).is_dir():
        raise ConfigError(f"data.source '{source}' names no file; write it as sqlite:///path/to/file.db.")
    path = files.listed(folder / url.database)[0]
    known = {"path": url.database, "bytes": path.stat().st_size, "sha256": decode.sha256(path)}
    return URL.create("sqlite", database=f"file:{path.resolve()}", query={"mode": "ro", "uri": "true"}), {
        "files": [known]
    }


def _arguments(url: URL) -> dict[str, Any]:
    sqlite = url.get_backend_name() == "sqlite"
    return {} if sqlite else {"connect_timeout": TIMEOUT, "application_name": "keepfit"}


def _frame(result: sqlalchemy.CursorResult[Any], shown: str) -> pl.DataFrame:
    if not result.returns_rows:
        raise DataError(f"{shown}: data.query gives no rows. It must be a SELECT.")
    names = [str(name) for name in result.keys()]  # noqa: SIM118 - not a dict: the names of the columns
    frames.unique(names, f"{shown}: data.query")
    parts = [
        pl.DataFrame([frames.series(name, column) for name, column in zip(names, zip(*rows, strict=True), strict=True)])
        for rows in _blocks(result)
    ]
    if not parts:
        raise DataError(f"{shown}: data.query found no rows.")
    return frames.stack(parts)


def _blocks(result: sqlalchemy.CursorResult[Any]) -> Iterator[list[Any]]:
    rows = iter(result)
    while block := list(itertools.islice(rows, ROWS)):
        yield block


def _failed(source: str, error: sqlalchemy.exc.SQLAlchemyError) -> DataError:
    cause = getattr(error, "orig", None) or error
    reason = scrubbed(" ".join(str(cause).split()), source)
    what = "cannot be reached" if "connect" in reason.lower() else "refused data.query"
    return DataError(f"{redacted(source)} {what}: {reason}")
