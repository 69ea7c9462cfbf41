"""pick: unknown names, missing packages and the user's own things."""

from __future__ import annotations

from importlib import metadata

import pytest

from keepfit.errors import ConfigError, MissingExtraError
from keepfit.extras import EXTRAS, missing, pick


def test_a_missing_package_names_the_extra() -> None:
    told = missing(ModuleNotFoundError(name="adlfs.core"), "data.source")
    assert str(told).endswith(
        "data.source needs the package 'adlfs', which is not installed: pip install 'keepfit[azure]'"
    )


def test_every_extra_that_errors_name_is_there() -> None:
    assert set(EXTRAS.values()) <= set(metadata.metadata("keepfit").get_all("Provides-Extra") or [])


def test_a_missing_module_of_the_users() -> None:
    with pytest.raises(MissingExtraError, match="nowhere_at_all"):
        pick({}, "nowhere_at_all:thing", "model.type")


def test_the_users_own_thing() -> None:
    assert pick({}, "math:pi", "x") == pytest.approx(3.14159, abs=1e-4)


def test_a_missing_attribute_names_the_nearest() -> None:
    with pytest.raises(ConfigError, match="Did you mean 'sqrt'"):
        pick({}, "math:sqrtt", "x")
