import lightgbm
import numpy as np

from keepfit.models import trees
from keepfit.models.series import walk


def test_the_walk_ends_where_lightgbm_ends_also_with_holes() -> None:
    draw = np.random.default_rng(0)
    matrix = draw.normal(size=(3000, 6)).astype(np.float32)
    matrix[draw.random(matrix.shape) < 0.1] = np.nan
    target = np.nan_to_num(matrix[:, 0]) * 2 + np.isnan(matrix[:, 1]) + (matrix[:, 2] > 0)
    options = {"n_estimators": 30, "num_leaves": 15}
    found = walk.grown(matrix, target, options, 0)
    peer = lightgbm.LGBMRegressor(**options, n_jobs=1, verbose=-1, deterministic=True, force_row_wise=True)
    expected = peer.set_params(random_state=0).fit(matrix, target).booster_.predict(matrix[:700])
    assert np.allclose(walk.scores(found, matrix[:700]), expected, atol=1e-9)


def test_a_tree_that_is_one_leaf() -> None:
    forest = trees.Forest([trees.leaf(np.array([2.5])), trees.leaf(np.array([1.0]))], 1, 2, "identity")
    assert walk.scores(walk.nodes(forest), np.zeros((3, 2), np.float32)).tolist() == [3.5] * 3
