"""pick: unknown names, missing packages and the user's own things."""

from __future__ import annotations

import pytest

from keepfit.errors import ConfigError, MissingExtraError
from keepfit.extras import pick


def test_a_missing_package_names_the_extra() -> None:
    with pytest.raises(MissingExtraError, match=r"model.type needs the package 'catboost'.*keepfit\[catboost\]"):
        pick({"x": "catboost:CatBoostClassifier"}, "x", "model.type")


def test_a_missing_module_of_the_users() -> None:
    with pytest.raises(MissingExtraError, match="nowhere_at_all"):
        pick({}, "nowhere_at_all:thing", "model.type")


def test_the_users_own_thing() -> None:
    assert pick({}, "math:pi", "x") == pytest.approx(3.14159, abs=1e-4)


def test_a_missing_attribute_names_the_nearest() -> None:
    with pytest.raises(ConfigError, match="Did you mean 'sqrt'"):
        pick({}, "math:sqrtt", "x")
