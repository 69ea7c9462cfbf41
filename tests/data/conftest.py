"""Real tables as a reader of CSV gives them: every column a text."""

from __future__ import annotations

from pathlib import Path

import polars as pl
import pytest

ADULT = [
    "age", "workclass", "fnlwgt", "education", "education-num", "marital-status", "occupation", "relationship",
    "race", "sex", "capital-gain", "capital-loss", "hours-per-week", "native-country", "income",
]  # fmt: skip


@pytest.fixture(scope="session")
def adult(shared_data: Path) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Training and official test rows; the test labels end with a dot."""
    folder = shared_data / "adult_income"
    parts = [
        pl.read_csv(folder / name, infer_schema=False, has_header=False, new_columns=ADULT).drop_nulls("income")
        for name in ("adult.data", "adult.test")
    ]
    return parts[0], parts[1]


@pytest.fixture(scope="session")
def telco(shared_data: Path) -> pl.DataFrame:
    return pl.read_csv(shared_data / "telco_churn/Telco-Customer-Churn.csv", infer_schema=False)


@pytest.fixture(scope="session")
def california(shared_data: Path) -> pl.DataFrame:
    return pl.read_csv(shared_data / "california_housing/housing.csv", infer_schema=False)


@pytest.fixture(scope="session")
def king_county(shared_data: Path) -> pl.DataFrame:
    return pl.read_csv(shared_data / "king_county_houses/kc_house_data.csv", infer_schema=False)


@pytest.fixture(scope="session")
def imdb(shared_data: Path) -> tuple[pl.DataFrame, pl.DataFrame]:
    """The official 25,000 and 25,000 reviews with their ratings."""
    every = pl.read_csv(shared_data / "imdb/imdb_reviews.csv.gz", infer_schema=False)
    return every.filter(pl.col("split") == "train"), every.filter(pl.col("split") == "test")
