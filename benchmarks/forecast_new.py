"""How good forecasts of series are that the model was not trained on, beside those of the series it knows.

The 1,428 monthly series of M3, 18 months ahead: the champion's models are fitted to every other series, and forecast
the rest from their histories alone, as a request with a history does; then the other way round. What they are
compared with are the champion's own forecasts of the same months, whose models and shares are each series' own.

`implausible` tells how many of these months' values a server would hold back (`deployment.plausible`), as they are and
a hundred times as large or as small.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from benchmarks.results import Claim
from keepfit import Project
from keepfit.deployment import plausible, runtime_series
from keepfit.models.series import memory
from keepfit.models.series.memory import Memory
from keepfit.pipeline.loading import load
from keepfit.types import Schema

WORSE = 1.02  # of the error of known series
Floats = NDArray[np.float64]


def rows(bundle: Path) -> list[dict[str, Any]]:
    """sMAPE and MASE on the months that the champion was not trained on."""
    manifest: Mapping[str, Any] = json.loads((bundle / "bundle.json").read_bytes())
    shares = np.array([member["weight"] for member in manifest["members"]])
    known: Memory = runtime_series.load(bundle / manifest["models"][0]["file"], Schema((), "forecast")).known
    truth = _later(known, bundle)
    each = known.ahead(np.arange(len(truth)), truth.shape[1])
    found = {"known": each, "new": _new(known, truth.shape[1])}
    return [{"series": name, **_errors(said @ shares / shares.sum(), truth, known)} for name, said in found.items()]


def implausible(project: Path, bundle: Path, source: Path, steps: int) -> list[dict[str, Any]]:
    """Shares of the values after the training that would be held back, each on its own."""
    made = load(Project(project).config, project, bundle, later=False)
    asked = pl.read_csv(source).sort("unique_id", "t").group_by("unique_id", maintain_order=True).tail(steps)
    output, _ = made.rows(asked.select("unique_id", "t").to_dicts())
    values = asked["y"].to_numpy()
    times = {"as they are": 1.0, "× 100": 100.0, "/ 100": 0.01}
    return [
        {"values": name, "held back %": 100 * float(np.mean(np.abs(plausible.distances(output, values * by)) > 1))}
        for name, by in times.items()
    ]


def _later(known: Memory, bundle: Path) -> Floats:
    """(series, steps) what came after the training."""
    with np.load(bundle / "later.npz") as told:
        matrix = told["0"].astype(np.float64)
    places = known.places(matrix[:, 0])
    steps = (matrix[:, 1] - known.ends[places]).astype(np.int64)
    found = np.full((len(known.numbers), int(steps.max())), np.nan)
    found[places, steps - 1] = matrix[:, 2]
    return found


def _new(known: Memory, steps: int) -> Floats:
    """(series, steps, models) forecasts of each half by models that were fitted to the other."""
    panel, places = known.parts[0].panel, np.arange(len(known.numbers))
    found = np.empty((len(places), steps, len(known.about.models)))
    for half in (places % 2 == 0, places % 2 == 1):
        made = memory.remember(known.about, panel.rows(~half))
        number, column = np.nonzero(np.isfinite(panel.values[half]))
        period = panel.ends[half][number] - (panel.values.shape[1] - 1 - column)
        told = np.column_stack([places[half][number], period, panel.values[half][number, column]])
        joined = memory.observe(made, told)
        found[half] = joined.ahead(joined.places(places[half].astype(np.float64)), steps)
    return found


def _errors(said: Floats, truth: Floats, known: Memory) -> dict[str, float]:
    gap = np.abs(said - truth)
    smape = np.nanmean(200 * gap / (np.abs(said) + np.abs(truth)))
    return {"sMAPE": float(smape), "MASE": float(np.nanmean(gap / known.scales[:, None]))}


def claims(found: list[dict[str, Any]]) -> tuple[Claim, ...]:
    """New series are forecast about as well as known ones."""
    known, new = found
    return tuple(
        Claim(f"{name} of new series over that of known ones", new[name] / known[name], "<=", WORSE)
        for name in ("sMAPE", "MASE")
    )
