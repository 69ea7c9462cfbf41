"""Model files of kind `series`: forecasting models on the same series, as npz; numpy alone answers."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any
from zipfile import BadZipFile

import numpy as np
from numpy.typing import NDArray

from keepfit.errors import BundleError
from keepfit.models.fitted import Floats
from keepfit.models.series import memory, stored
from keepfit.models.series.answers import answers
from keepfit.types import Schema


def load(path: Path, schema: Schema, trusted: Sequence[str] = (), threads: int = 1) -> Any:
    """The function from a matrix to raw outputs (rows, 3 × models): value, scale and step of each model."""
    try:
        with np.load(path, allow_pickle=False) as found:
            known = stored.read({name: found[name] for name in found.files})
    except (OSError, ValueError, KeyError, EOFError, BadZipFile) as error:
        raise BundleError(
            f"{path} holds no forecasts that can be read ({error}). Copy the bundle again, or package the model again."
        ) from error
    return Forecasts(known)


class Forecasts:
    """The models of a file, asked by calling. `after` gives those that know later observations too."""

    def __init__(self, known: memory.Memory) -> None:
        self.known = known
        self.count = len(known.about.models)
        self.order = np.array([[2 + place, 0, 1] for place in range(self.count)]).ravel()

    def __call__(self, matrix: NDArray[Any]) -> Floats:
        return answers(self.known, matrix)[:, self.order]

    def after(self, matrix: NDArray[Any]) -> Forecasts:
        """The same models, told the observed rows of a matrix."""
        return Forecasts(memory.refreshed(self.known, matrix))
