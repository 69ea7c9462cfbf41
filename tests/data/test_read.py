"""Where data comes from: the table of sources, and no secret in what is shown."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from keepfit import config
from keepfit.data.read import BATCHES, READERS, read
from keepfit.data.redact import redacted, scrubbed
from keepfit.errors import DataError, MissingExtraError
from keepfit.extras import load


def test_every_row_of_the_tables_is_there() -> None:
    for target in {*READERS.values(), *BATCHES.values()}:
        assert callable(load(target, "test"))


@pytest.mark.parametrize(
    ("source", "problem"),
    [
        ("  ", r"data.source is empty. Name a file, a folder or a URI"),
        (
            "postgresq://a:pw@h/d",
            r"'postgresq://a:\*\*\*@h/d': unknown scheme. Did you mean 'postgresql'\? Known: file:, http",
        ),
        ("ftp://host/x.csv", r"unknown scheme. Known: file:, http:, https:, s3:"),
        ("odd:name.csv", r"No file at .*/odd:name.csv"),
    ],
)
def test_unknown_sources(tmp_path: Path, source: str, problem: str) -> None:
    with pytest.raises(DataError, match=problem):
        read(config.Data(source=source), tmp_path)


@pytest.mark.parametrize(("scheme", "package", "extra"), [("gs", "gcsfs", "gcs"), ("az", "adlfs", "azure")])
def test_a_store_whose_package_is_not_installed(tmp_path: Path, scheme: str, package: str, extra: str) -> None:
    try:
        __import__(package)
    except ModuleNotFoundError:
        with pytest.raises(
            MissingExtraError, match=rf"needs the package '{package}'.*pip install 'keepfit\[{extra}\]'"
        ):
            read(config.Data(source=f"{scheme}://bucket/x.csv"), tmp_path)
    else:
        pytest.skip(f"{package} is installed")


@pytest.mark.parametrize(
    ("source", "shown"),
    [
        ("postgresql://ann:s3c@db:5432/shop", "postgresql://ann:***@db:5432/shop"),
        ("postgresql://ann:p@ss/w?rd@db/shop", "postgresql://ann:***@db/shop"),
        ("postgresql://db/shop?user=ann&password=s3c", "postgresql://db/shop?user=ann&password=***"),
        ("postgresql://ann@db/shop", "postgresql://ann@db/shop"),
        ("https://h/x.csv?X-Amz-Signature=abc&v=1", "https://h/x.csv?X-Amz-Signature=***&v=1"),
        ("https://h/x.csv?sv=1&sig=abc%2F", "https://h/x.csv?sv=1&sig=***"),
        ("data/2024-*.csv", "data/2024-*.csv"),
    ],
)
def test_secrets_are_hidden(source: str, shown: str) -> None:
    assert redacted(source) == shown


@given(st.text(st.characters(codec="ascii", exclude_categories=["Zs", "Cc"]), min_size=9, max_size=20))
def test_no_password_survives(password: str) -> None:
    source = f"postgresql://ann:{password}@db/shop"
    assert password not in redacted(source)
    assert password not in scrubbed(f"could not connect with {password} to {source} ('{password}')", source)
