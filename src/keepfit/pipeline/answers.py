"""What the new model answers for the test rows: kept beside its bundle, so that the gate need not ask again."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from keepfit.models import metrics
from keepfit.models.fitted import Ahead, Output

NAME = "answers.npz"
AHEAD = ("scale", "step", "coverage")


def save(path: Path, output: Output, classes: tuple[str, ...]) -> None:
    """What a model answers for the test rows, as plain arrays; labels as their places in `classes`."""
    values = metrics.codes(output.values, classes) if classes else output.values
    parts = {"values": values, "probabilities": output.probabilities, "low": output.low, "high": output.high}
    if output.ahead:
        parts |= {name: np.asarray(getattr(output.ahead, name)) for name in AHEAD}
    with path.open("wb") as file:
        np.savez(file, allow_pickle=False, **{name: part for name, part in parts.items() if part is not None})


def load(path: Path, classes: tuple[str, ...]) -> Output | None:
    """What `save` wrote; None where it wrote nothing."""
    if not path.exists():
        return None
    with np.load(path, allow_pickle=False) as stored:
        parts = dict(stored)
    values = np.array(classes, object)[parts["values"]] if classes else parts["values"]
    ahead = Ahead(parts["scale"], parts["step"], float(parts["coverage"])) if "step" in parts else None
    return Output(values, parts.get("probabilities"), parts.get("low"), parts.get("high"), ahead)
