"""The official split of the IMDB reviews: functions that keepfit.yaml names as its sources.

The file `imdb_reviews.csv.gz` has the columns split, id, label, rating and text. It is looked for
in the folder `imdb` of the environment variable KEEPFIT_DATA, else beside the repository.
"""

import os
from pathlib import Path

import polars as pl

DATA = Path(os.environ.get("KEEPFIT_DATA") or Path(__file__).parents[3] / "shared" / "data")


def part(name: str) -> pl.DataFrame:
    file = DATA / "imdb" / "imdb_reviews.csv.gz"
    if not file.exists():
        raise FileNotFoundError(f"{file} is not there: the README of this example says how to get it")
    rows = pl.read_csv(file, columns=["split", "label", "text"]).filter(pl.col("split") == name)
    return rows.select("text", "label")  # the rating of 1 to 10 stars would tell the label


def train() -> pl.DataFrame:
    return part("train")


def test() -> pl.DataFrame:
    return part("test")
