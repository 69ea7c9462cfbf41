"""Old bundles load for ever and answer as they did when they were made; see make.py."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from keepfit.deployment import runtime
from keepfit.models import bundle

HERE = Path(__file__).parent
BUNDLES = sorted(path for path in HERE.glob("format*/*") if path.is_dir())


@pytest.mark.parametrize("folder", BUNDLES, ids=lambda path: f"{path.parent.name}/{path.name}")
def test_old_bundles_answer_as_they_did(folder):
    told = json.loads(folder.with_suffix(".json").read_text(encoding="utf-8"))
    output, problems = runtime.load(folder).rows(told["rows"])
    assert problems == []
    if told["probabilities"] is None:
        for part in ("values", "low", "high"):
            np.testing.assert_allclose(getattr(output, part), told[part], rtol=1e-6)
    else:
        assert output.values.tolist() == told["values"]
        np.testing.assert_allclose(output.probabilities, told["probabilities"], atol=1e-6)


def test_every_format_that_was_ever_written_is_kept():
    assert {path.parent.name for path in BUNDLES} == {f"format{number}" for number in range(1, bundle.FORMAT + 1)}


@pytest.mark.parametrize("folder", BUNDLES, ids=lambda path: f"{path.parent.name}/{path.name}")
def test_they_are_small(folder):
    assert sum(path.stat().st_size for path in folder.rglob("*") if path.is_file()) < 100_000
