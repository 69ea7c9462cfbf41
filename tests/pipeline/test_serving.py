"""What the server is given, and what it says of itself when it starts."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from keepfit.deployment.platforms import Platform
from keepfit.deployment.routes import Service
from keepfit.pipeline import serving

BUNDLE = Path(__file__).parents[1] / "bundles" / "format1" / "iris"
URL = "http://127.0.0.1:8080"


@contextmanager
def begun(project: Path, *sets: str) -> Iterator[Service]:
    config = serving.config_of(project, BUNDLE, sets)
    made = serving.service(config, project, BUNDLE, Platform())
    made.rollout.first()
    try:
        yield made
    finally:
        made.pool.shutdown()
        made.rollout.close()


def test_whoever_starts_it_is_told_the_model_the_callers_and_the_log(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("KEEPFIT_API_KEY", "secret-1")
    monkeypatch.setenv("KEEPFIT_ADMIN_KEY", "secret-2")
    with begun(tmp_path, "serving.keys={shop: secret-3}") as made:
        model, asked, log = serving.welcome(made, True, URL)
    assert model.startswith(f"{made.name}, version ")
    assert model.endswith(f"to try it: {URL}/docs")
    assert asked == "API keys are asked of callers: shop, default; /control is open to the admin key"
    assert log == f"predictions are logged in {tmp_path / '.keepfit' / 'predictions'}; Ctrl-C stops"
    assert "secret" not in model + asked + log


def test_an_open_server_without_a_log_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("KEEPFIT_API_KEY", raising=False)
    monkeypatch.delenv("KEEPFIT_ADMIN_KEY", raising=False)
    with begun(tmp_path, "serving.log.enabled=false") as made:
        _, asked, log = serving.welcome(made, False, URL)
    assert asked == "no API key is set: whoever reaches it may ask; /control is closed, for want of KEEPFIT_ADMIN_KEY"
    assert log == "predictions are not logged; Ctrl-C stops"
