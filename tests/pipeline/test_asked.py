"""Mistakes about the estimator are told when the data are looked at, not when training begins."""

from __future__ import annotations

from pathlib import Path

import pytest

from keepfit import Project
from keepfit.errors import ConfigError
from tests.projects import project, table

OWN = """
from sklearn.base import BaseEstimator, ClassifierMixin
class Nearest(ClassifierMixin, BaseEstimator):
    def __init__(self, power=1):
        self.power = power
    def fit(self, X, y):
        return self
    def predict(self, X):
        return X
class Half:
    def fit(self, X, y):
        return self
"""


def told(folder: Path, *sets: str) -> str:
    with pytest.raises(ConfigError) as error:
        Project(folder, sets).check()
    return str(error.value)


def test_unknown_parameters_of_estimators(tmp_path: Path) -> None:
    project(tmp_path, table())
    assert "model.Cc: logistic_regression takes no such parameter. Did you mean 'C'?" in told(tmp_path, "model.Cc=1")
    several = told(tmp_path, "model.depht=3", "model.type=random_forest", "tuning.metric=nope")
    assert "model.depht: random_forest" in several
    assert "tuning.metric: unknown name 'nope'" in several
    assert "none of the estimators that 'type: auto' tries" in told(tmp_path, "model={type: auto, depht: 3}")
    Project(tmp_path, ["model={type: auto, num_leaves: 7}"]).check()


def test_an_estimator_of_another_task(tmp_path: Path) -> None:
    project(tmp_path, table())
    assert "'ridge' does not do classification" in told(tmp_path, "model.type=ridge")


def test_an_estimator_of_the_users_own(tmp_path: Path) -> None:
    project(tmp_path, table())
    (tmp_path / "own_models.py").write_text(OWN)
    asked = "model={type: 'own_models:Nearest', %s}"
    assert "trusted: [own_models.Nearest]" in told(tmp_path, asked % "power: 2")
    trusted = "trusted: [own_models.Nearest]"
    assert "model.powr: own_models:Nearest takes no such" in told(tmp_path, asked % f"powr: 2, {trusted}")
    Project(tmp_path, [asked % f"power: 2, {trusted}"]).check()
    assert "own_models:Half has no predict" in told(tmp_path, "model={type: 'own_models:Half'}")
    assert "no 'Neerest'. Did you mean 'Nearest'" in told(tmp_path, "model={type: 'own_models:Neerest'}")
    (tmp_path / "own_broken.py").write_text("class Nearest(\n")
    assert "own_broken:Nearest cannot be imported: SyntaxError" in told(tmp_path, "model={type: 'own_broken:Nearest'}")
    Project(tmp_path, ["model={type: 'sklearn.neighbors:KNeighborsClassifier', n_neighbors: 3}"]).check()
