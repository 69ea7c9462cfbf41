"""keepfit's features inside people's own scikit-learn pipelines.

>>> import polars as pl
>>> from sklearn.linear_model import LogisticRegression
>>> from sklearn.pipeline import make_pipeline
>>> frame = pl.DataFrame({"age": [20.0, 31.0, None, 55.0] * 5, "plan": ["free", "pro", "pro", "free"] * 5})
>>> featurizer = Featurizer(options={"number": {"impute": "median", "scale": True, "flag": True}})
>>> model = make_pipeline(featurizer, LogisticRegression()).fit(frame, ["no", "yes", "yes", "no"] * 5)
>>> model[0].get_feature_names_out().tolist()
['age', 'age is missing', 'plan=free', 'plan=pro']
>>> model.predict(frame[:2]).tolist()
['no', 'yes']
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray
from scipy import sparse
from sklearn.base import BaseEstimator, TransformerMixin
from sklearn.utils.validation import check_is_fitted

from keepfit import features
from keepfit.config import Data
from keepfit.data.conform import conform
from keepfit.data.frames import to_polars
from keepfit.data.schema import infer
from keepfit.errors import DataError
from keepfit.features.frame import from_frame
from keepfit.features.values import Columns, Sparse
from keepfit.types import Schema

TARGET = "the target of fit"  # no column of a frame is called so


class Featurizer(TransformerMixin, BaseEstimator):  # type: ignore[misc]
    """Turns a frame of raw columns into the float32 matrix of `keepfit.features`.

    Args:
        schema: roles of the columns; inferred from the frame of `fit` when None.
        options: role → options, see the files of the roles. Default: those of the roles.
        select: {"method": …, "keep": …} of `keepfit.features.select`, or None.
        seed: of cross-fitted target means, SVD and selection.

    Takes pandas, polars and Arrow frames, or `Columns` if there is a schema. Gives an array, or a CSR
    matrix when a text column has sparse terms. `fit_transform` gives cross-fitted target means.
    """

    def __init__(
        self,
        schema: Schema | None = None,
        options: Mapping[str, Mapping[str, Any]] | None = None,
        select: Mapping[str, Any] | None = None,
        seed: int = 0,
    ) -> None:
        self.schema = schema
        self.options = options
        self.select = select
        self.seed = seed

    def fit(self, X: Any, y: Any = None) -> Featurizer:
        """Learn the features of a frame's columns; `y` for what needs a target."""
        self.fit_transform(X, y)
        return self

    def fit_transform(self, X: Any, y: Any = None) -> Any:
        """Learn, and give the matrix that a model is to be fitted on."""
        answer = None if y is None else np.asarray(y)
        if self.schema is None and isinstance(X, Columns):
            raise DataError("Featurizer needs a schema to read Columns. Give it one, or give fit a frame.")
        self.schema_ = self.schema if self.schema is not None else _inferred(to_polars(X), answer)
        columns = self._columns(X)
        self.state_, matrix = features.fit_apply(columns, self.schema_, answer, self.options, self.select, self.seed)
        self.feature_names_in_ = np.array([c.name for c in self.schema_.features], dtype=object)
        self.n_features_in_ = len(self.feature_names_in_)
        return _scipy(matrix)

    def transform(self, X: Any) -> Any:
        """The features of other rows with the same columns."""
        check_is_fitted(self, "state_")
        return _scipy(features.apply(self.state_, self._columns(X)))

    def get_feature_names_out(self, input_features: Any = None) -> NDArray[Any]:
        """Names of the matrix's columns."""
        check_is_fitted(self, "state_")
        return np.array(features.names(self.state_), dtype=object)

    def _columns(self, X: Any) -> Columns:
        return X if isinstance(X, Columns) else from_frame(conform(to_polars(X), self.schema_)[0], self.schema_)


def _inferred(frame: pl.DataFrame, y: NDArray[Any] | None) -> Schema:
    if y is None:
        return infer(frame, Data(source="the frame"))
    data = Data(source="the frame", target=TARGET)
    return infer(frame.with_columns(pl.Series(TARGET, y.tolist())), data)


def _scipy(matrix: Any) -> Any:
    if not isinstance(matrix, Sparse):
        return matrix
    shape = (len(matrix.indptr) - 1, matrix.width)
    return sparse.csr_matrix((matrix.data, matrix.indices, matrix.indptr), shape=shape)
