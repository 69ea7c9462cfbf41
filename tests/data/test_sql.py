"""PostgreSQL (a real server) and SQLite: types, read-only, nothing secret in errors."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import polars as pl
import psycopg
import pytest

from keepfit import config
from keepfit.data import sql
from keepfit.data.read import read
from keepfit.errors import ConfigError, DataError
from tests.servers import free_port

SECRET = "s3c"
TABLE = """
CREATE TABLE customers (
    id bigint PRIMARY KEY, age integer, spent numeric(10, 2), score double precision, plan text,
    active boolean, born date, seen timestamptz, key uuid, nothing text
);
INSERT INTO customers VALUES
    (1, 31, 9.99, 0.5, 'basic', true, '1990-01-02', '2024-05-06 07:08:09+00', 'a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11'),
    (2, NULL, NULL, 'NaN', 'pro 50%', NULL, NULL, NULL, NULL);
"""


def get(source: str, query: str | None, folder: Path = Path("/")) -> tuple[pl.DataFrame, dict[str, Any]]:
    return read(config.Data(source=source, query=query), folder)


@pytest.fixture
def shop(postgres_url: str) -> Iterator[str]:
    with psycopg.connect(postgres_url, autocommit=True) as connection:
        connection.execute(TABLE)  # type: ignore[arg-type]
    yield postgres_url
    with psycopg.connect(postgres_url, autocommit=True) as connection:
        connection.execute("DROP TABLE customers")


@pytest.mark.slow
@pytest.mark.parametrize("scheme", ["postgresql", "postgres", "postgresql+psycopg"])
def test_postgresql_types(shop: str, scheme: str) -> None:
    query = "SELECT * FROM customers ORDER BY id"
    frame, origin = get(shop.replace("postgresql", scheme, 1), query)
    assert frame.schema == {
        "id": pl.Int64,
        "age": pl.Int64,
        "spent": pl.Float64,
        "score": pl.Float64,
        "plan": pl.String,
        "active": pl.Boolean,
        "born": pl.Date,
        "seen": pl.Datetime("us", "UTC"),
        "key": pl.String,
        "nothing": pl.String,
    }
    key = "a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11"
    seen = datetime(2024, 5, 6, 7, 8, 9, tzinfo=UTC)
    assert frame.row(0) == (1, 31, 9.99, 0.5, "basic", True, date(1990, 1, 2), seen, key, None)
    assert frame.row(1) == (2, None, None, None, "pro 50%", None, None, None, None, None)
    assert origin["format"] == "postgresql"
    assert origin["query"] == query
    assert origin["source"].startswith(f"{scheme}://keepfit:***@127.0.0.1")
    assert SECRET not in str(origin)


@pytest.mark.slow
def test_the_query_is_sent_as_it_is_written(shop: str) -> None:
    frame, _ = get(shop, "SELECT id::int AS \"a:b\", ':x %s' AS t FROM customers WHERE plan LIKE '%50\\%'")
    assert frame.to_dict(as_series=False) == {"a:b": [2], "t": [":x %s"]}


@pytest.mark.slow
def test_results_larger_than_one_fetch(shop: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sql, "ROWS", 100)
    frame, _ = get(shop, "SELECT n, CASE WHEN n > 150 THEN n END AS later FROM generate_series(1, 250) AS n")
    assert frame["n"].to_list() == list(range(1, 251))
    assert frame["later"].sum() == sum(range(151, 251))


@pytest.mark.slow
@pytest.mark.parametrize(
    ("query", "problem"),
    [
        ("DELETE FROM customers RETURNING id", r"refused data.query: cannot execute DELETE in a read-only transaction"),
        ("SELECT nme FROM customers", r'refused data.query: column "nme" does not exist'),
        ("SELECT id, age AS id FROM customers", r"data.query: duplicate column names: 'id'. Rename them"),
        ("SELECT 1 WHERE false", r"data.query found no rows"),
        ("SET search_path = public", r"data.query gives no rows. It must be a SELECT"),
        ("SELECT ARRAY[1, 2] AS both, 1 AS one", r"these columns hold more: 'both' \(List"),
    ],
)
def test_queries_that_give_no_table(shop: str, query: str, problem: str) -> None:
    with pytest.raises(DataError, match=problem) as caught:
        get(shop, query)
    assert SECRET not in str(caught.value)
    assert get(shop, "SELECT count(*) AS n FROM customers")[0].item() == 2


@pytest.mark.slow
def test_a_wrong_password_is_not_shown(shop: str) -> None:
    wrong = shop.replace("s3c%3Ar%25t", "wr0ng%40pw")
    with pytest.raises(
        DataError, match=r'cannot be reached: .*password authentication failed for user "keepfit"'
    ) as caught:
        get(wrong, "SELECT 1")
    assert "wr0ng" not in str(caught.value)
    assert caught.value.__cause__ is None


def test_nobody_listens() -> None:
    with pytest.raises(
        DataError, match=r"^postgresql://ann:\*\*\*@127.0.0.1:\d+/db cannot be reached: .*refused"
    ) as caught:
        get(f"postgresql://ann:s3cret@127.0.0.1:{free_port()}/db", "SELECT 1")
    assert SECRET not in str(caught.value)


@pytest.mark.parametrize("query", [None, " "])
@pytest.mark.parametrize("source", ["postgresql://ann:s3c@db/shop", "sqlite:///shop.db"])
def test_a_query_is_needed(source: str, query: str | None) -> None:
    with pytest.raises(
        ConfigError, match=r"data.query: is missing. .* needs one, for instance: query: SELECT"
    ) as caught:
        get(source, query)
    assert SECRET not in str(caught.value)


def test_a_password_that_was_not_escaped() -> None:
    with pytest.raises(ConfigError, match=r"is no URL of a database; .* are written as %40") as caught:
        get("postgresql://ann:s3c@db:no/port", "SELECT 1")
    assert SECRET not in str(caught.value)


@pytest.fixture
def database(tmp_path: Path) -> Path:
    path = tmp_path / "my shop.db"
    with sqlite3.connect(path) as connection:
        connection.execute("CREATE TABLE t (a INTEGER, b REAL, c TEXT, mixed)")
        rows = [(1, 0.5, "x", 1), (2, None, None, "one"), (3, 2.0, "ü", None)]
        connection.executemany("INSERT INTO t VALUES (?, ?, ?, ?)", rows)
    connection.close()
    return path


def test_sqlite(database: Path) -> None:
    for source, folder in (("sqlite:///my shop.db", database.parent), (f"sqlite:///{database}", Path("/"))):
        frame, origin = get(source, "SELECT * FROM t", folder)
        assert frame.to_dict(as_series=False) == {
            "a": [1, 2, 3],
            "b": [0.5, None, 2.0],
            "c": ["x", None, "ü"],
            "mixed": ["1", "one", None],
        }
        assert origin["files"][0]["bytes"] == database.stat().st_size


def test_sqlite_is_only_read(database: Path) -> None:
    before = database.read_bytes()
    with pytest.raises(DataError, match=r"refused data.query: attempt to write a readonly database"):
        get("sqlite:///my shop.db", "DELETE FROM t", database.parent)
    with pytest.raises(DataError, match=r"refused data.query: no such table: u"):
        get("sqlite:///my shop.db", "SELECT * FROM u", database.parent)
    assert database.read_bytes() == before


def test_a_database_that_is_not_there(database: Path) -> None:
    with pytest.raises(DataError, match=r"No file at .*/my_shop.db. Did you mean 'my shop.db'\?"):
        get("sqlite:///my_shop.db", "SELECT * FROM t", database.parent)
    assert not (database.parent / "my_shop.db").exists()
    with pytest.raises(ConfigError, match=r"names no file; write it as sqlite:///path/to/file.db"):
        get("sqlite://", "SELECT * FROM t", database.parent)
    (database.parent / "empty.db").touch()
    with pytest.raises(DataError, match=r"refused data.query: no such table: t"):
        get("sqlite:///empty.db", "SELECT * FROM t", database.parent)
    (database.parent / "no.db").write_text("a,b,c\n" * 1000)
    with pytest.raises(DataError, match=r"refused data.query: file is not a database"):
        get("sqlite:///no.db", "SELECT * FROM t", database.parent)
