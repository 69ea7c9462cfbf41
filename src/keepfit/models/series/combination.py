"""How much each model counts in a combined forecast.

Weights that are fitted to one origin follow its luck: on monthly series they were worse at the other
origins than equal ones. So models that are nearly as good as the best count alike, and the others not.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from keepfit.models.series.panel import Floats

NEAR = 1.2  # times the error of the best, up to which a model helps


def weights(errors: Sequence[float], near: float = NEAR) -> Floats:
    """Weights (models,) that sum to one, from the mean scaled errors of models at held-out origins.

    >>> weights([0.8, 0.9, 1.5, np.nan]).tolist()
    [0.5, 0.5, 0.0, 0.0]
    """
    given = np.nan_to_num(np.asarray(errors, np.float64), nan=np.inf)
    good = given <= near * given.min()
    return np.asarray(good / good.sum())
