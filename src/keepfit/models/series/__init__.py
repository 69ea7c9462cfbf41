"""Forecasting models: each works on a `Panel`, on all its series at once, in plain numpy.

A model is a module with

    fit(panel, season, seed) -> state        `season`: periods of a season, shortest first; () for none
    forecast(state, steps) -> (series, steps) float64
    update(state, values) -> state           values (series, k), NaN where none came; parameters stay
    DEFAULTS                                 the options that `fit` takes by keyword

and, where it learns of all series together or looks at covariates,

    adopt(state, panel) -> state             new series, with what was learned of the others
    forecast(…, covariates), update(…, covariates)    (series, steps, k), known ahead; NaN where not given

A state is a dict of plain arrays, numbers and strings, one row a series in the order of the panel:
the fitted parameters and the last states of the recursion. `forecast` and `update` need numpy alone.
A gap (NaN) is filled with the model's own forecast of it.
"""

from __future__ import annotations

from collections.abc import Mapping

MODELS: Mapping[str, str] = {
    "seasonal_naive": "keepfit.models.series.seasonal_naive",
    "theta": "keepfit.models.series.theta",
    "auto_ets": "keepfit.models.series.exponential",
    "ces": "keepfit.models.series.ces",
    "auto_arima": "keepfit.models.series.arima",
    "boosted_lags": "keepfit.models.series.boosted",
}
