"""Small projects to run commands in, on data that are made here."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import polars as pl
from click.testing import CliRunner

from keepfit.cli import main

ROWS = 120


def table(rows: int = ROWS) -> pl.DataFrame:
    draw = np.random.default_rng(7)
    age = draw.integers(18, 90, rows)
    plan = draw.choice(["basic", "pro", "team"], rows)
    left = np.where(age / 90 + (plan == "pro") + draw.normal(0, 0.4, rows) > 1.0, "yes", "no")
    return pl.DataFrame({"age": age, "plan": plan, "spend": draw.gamma(2.0, 50.0, rows).round(2), "left": left})


def project(folder: Path, content: bytes | pl.DataFrame, extra: str = "") -> Path:
    """A project whose data.csv holds `content`, with a model that trains at once."""
    file = folder / "data.csv"
    if isinstance(content, bytes):
        file.write_bytes(content)
    else:
        content.write_csv(file)
    model = "model: {type: logistic_regression}\ntuning: {trials: 0, cv: 3}\n"
    (folder / "keepfit.yaml").write_text(f"data: {{source: data.csv, target: left}}\n{model}{extra}", encoding="utf-8")
    return folder


def keepfit(*arguments: str) -> tuple[int, str]:
    result = CliRunner().invoke(main, list(arguments))
    assert "Traceback" not in result.output
    return result.exit_code, result.output
