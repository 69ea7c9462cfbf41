"""Types that may be rebuilt from a stored estimator, beyond those that skops itself trusts.

All are parts of fitted scikit-learn and LightGBM estimators that hold numbers only: trees, solvers'
states, search trees, kernels. A user's own types are named in the config, under model.trusted.
"""

from __future__ import annotations

_SKLEARN = (
    "_loss.loss.HalfTweedieLossIdentity",
    "calibration._CalibratedClassifier",
    "calibration._SigmoidCalibration",
    "ensemble._hist_gradient_boosting.predictor.TreePredictor",
    "gaussian_process._gpc._BinaryGaussianProcessClassifierLaplace",
    *(f"gaussian_process.kernels.{name}" for name in (
        "CompoundKernel", "ConstantKernel", "DotProduct", "ExpSineSquared", "Exponentiation", "Matern", "Product",
        "RBF", "RationalQuadratic", "Sum", "WhiteKernel",
    )),
    *(f"metrics._dist_metrics.{name}Distance64" for name in ("Chebyshev", "Euclidean", "Manhattan", "Minkowski")),
    "neighbors._ball_tree.BallTree",
    "neighbors._kd_tree.KDTree",
    "neural_network._stochastic_optimizers.AdamOptimizer",
    "neural_network._stochastic_optimizers.SGDOptimizer",
    "tree._tree.Tree",
    "utils.validation.check_array",
)  # fmt: skip
_LIGHTGBM = ("basic.Booster", "sklearn.LGBMClassifier", "sklearn.LGBMModel", "sklearn.LGBMRegressor")
TRUSTED = frozenset(
    {
        "collections.OrderedDict",
        "functools.partial",  # of a function that is trusted too
        "keepfit.models.linear.LinearSVM",
        "keepfit.models.linear.NaiveBayesLinear",
        *(f"sklearn.{name}" for name in _SKLEARN),
        *(f"lightgbm.{name}" for name in _LIGHTGBM),
    }
)
