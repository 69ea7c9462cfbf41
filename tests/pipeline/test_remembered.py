"""A server that starts while the registry is away."""

from __future__ import annotations

import json
import logging
from pathlib import Path

import pytest

from keepfit.errors import TrackingError
from keepfit.pipeline.remembered import FILE, last, remembering
from keepfit.tracking.pointer import Found


def away(which: str) -> Found | None:
    raise TrackingError("the registry is away")


def known(folder: Path) -> Path:
    """Version 3 was fetched as champion; where its files are."""
    bundle = folder / "bundle"
    bundle.mkdir()
    found = remembering(lambda which: Found("3", lambda: bundle), folder)("champion")
    assert found is not None
    assert last(folder) is None  # nobody is remembered who was not fetched
    assert found.fetch() == bundle
    return bundle


def test_the_last_champion_is_served_once_and_then_the_registry_is_asked(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    bundle = known(tmp_path)
    look = remembering(away, tmp_path)
    with caplog.at_level(logging.WARNING, "keepfit.server"):
        logging.getLogger("keepfit.server").propagate = True
        found = look("champion")
    assert found is not None
    assert (found.version, found.fetch()) == ("3", bundle)
    assert "version 3, which was champion last, is served: the registry is away" in caplog.text
    with pytest.raises(TrackingError, match="away"):  # a server that runs is told, and goes on with what it has
        look("champion")


def test_nobody_is_made_up(tmp_path: Path) -> None:
    with pytest.raises(TrackingError, match="away"):
        remembering(away, tmp_path)("champion")
    bundle = known(tmp_path)
    with pytest.raises(TrackingError, match="away"):
        remembering(away, tmp_path)("challenger")
    assert remembering(lambda which: None, tmp_path)("champion") is None  # the registry says that there is none
    bundle.rmdir()
    with pytest.raises(TrackingError, match="away"):
        remembering(away, tmp_path)("champion")


def test_a_damaged_memory_is_set_aside(tmp_path: Path) -> None:
    known(tmp_path)
    (tmp_path / FILE).write_text(json.dumps({"format": 1, "version": "3"}))
    with pytest.warns(UserWarning, match="begins anew"):
        assert last(tmp_path) is None
