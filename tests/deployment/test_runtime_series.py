"""Bundles of forecasts: they answer as the trained model, go on from later observations, and need numpy alone."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from keepfit import features
from keepfit.data.conform import asking
from keepfit.deployment import runtime
from keepfit.errors import BundleError
from keepfit.features.frame import from_frame
from keepfit.models import bundle, conformal, export
from keepfit.models.fitted import Fitted, Member
from keepfit.models.series.estimator import Forecaster
from keepfit.models.train import predict
from tests.models.fits import ABOUT, REST
from tests.models.series.rows import SCHEMA, SEASON, frame, values

MONTHS, LATER = 48, 54


def fitted(weights: tuple[float, ...] = (0.7, 0.3)) -> tuple[Fitted, dict[str, object]]:
    """Two models of three series, and the rows before, of and after the months that are told later."""
    told = values()
    rows = frame(told).with_columns(month=frame(told)["month"].dt.epoch("s").cast(float))
    at = np.tile(np.arange(told.shape[1]), 3)
    parts = {"known": rows.filter(at < MONTHS), "later": rows.filter((at >= MONTHS) & (at < LATER)),
             "asked": rows.filter(at >= LATER)}  # fmt: skip
    state, made = features.fit_apply(from_frame(asking(parts["known"], SCHEMA), SCHEMA), SCHEMA, None)
    y = parts["known"]["sold"].to_numpy()
    names = ("theta", "seasonal_naive")
    members = [
        Member(name, weight, state, Forecaster(name, (SEASON,), horizon=6).fit(np.asarray(made), y))
        for name, weight in zip(names, weights, strict=False)
    ]
    interval = {"low": [-1.0] * 6, "high": [2.0] * 6, "coverage": 0.9}
    return Fitted("forecast", (), tuple(members), interval=interval), parts


def packed(folder: Path, later: bool = True) -> tuple[Fitted, dict[str, object]]:
    model, parts = fitted()
    files = {}
    if later:
        file = folder.with_name("later.npz")
        np.savez(file, **export.later(model, from_frame(parts["later"], SCHEMA)))
        files = {bundle.LATER: file}
    bundle.write(folder, model, SCHEMA, ABOUT, **REST, files=files)
    return model, parts


def test_a_bundle_answers_as_the_trained_model(tmp_path: Path) -> None:
    model, parts = packed(tmp_path / "bundle")
    made = runtime.load(tmp_path / "bundle", later=False)
    for part in (asking(parts["later"], SCHEMA), parts["later"], asking(parts["known"], SCHEMA)):
        columns = from_frame(part, SCHEMA)
        expected, got = predict(model, columns), made.predict(columns)
        assert np.allclose(expected.values, got.values, rtol=1e-12)
        assert np.allclose(expected.high, got.high, rtol=1e-12)
        assert expected.ahead.step.tolist() == got.ahead.step.tolist()
    verdict = export.parity(model, made.predict, from_frame(asking(parts["later"], SCHEMA), SCHEMA))
    assert verdict.outcome == "passed", verdict.failures


def test_it_goes_on_from_what_was_observed_later(tmp_path: Path) -> None:
    packed(tmp_path / "bundle")
    fresh, then = (runtime.load(tmp_path / "bundle", later=later) for later in (True, False))
    _, parts = fitted()
    asked = from_frame(asking(parts["asked"], SCHEMA), SCHEMA)
    said = fresh.predict(asked)
    assert said.ahead.step.reshape(3, -1)[0].tolist() == [1, 2, 3, 4, 5, 6]
    assert then.predict(asked).ahead.step.reshape(3, -1)[0].tolist() == [7, 8, 9, 10, 11, 12]
    both = from_frame(parts["later"].vstack(asking(parts["asked"], SCHEMA)), SCHEMA)
    assert np.allclose(then.predict(both).values[-len(asked) :], said.values, rtol=1e-6)  # told, or told before
    later = from_frame(asking(parts["later"], SCHEMA), SCHEMA)
    assert np.allclose(fresh.predict(later).values, parts["later"]["sold"].to_numpy(), rtol=1e-6)


def test_requests_bring_histories_or_none(tmp_path: Path) -> None:
    packed(tmp_path / "bundle", later=False)
    made = runtime.load(tmp_path / "bundle")
    asked = [{"shop": "south", "month": f"2004-{month:02}-01"} for month in (1, 2, 3)]
    output, problems = made.rows(asked)
    assert not problems
    assert output.ahead.step.tolist() == [1, 2, 3]
    told = [{**asked[0], "sold": 140.0}, {**asked[1], "sold": None}, asked[2]]
    output, _ = made.rows(told)
    assert output.values[0] == 140.0
    assert (output.low[0], output.high[0]) == (140.0, 140.0)
    assert output.ahead.step.tolist() == [0, 1, 2]
    unknown, _ = made.rows([{"shop": "east", "month": "2004-01-01"}])
    assert np.isnan(unknown.values[0])


def test_the_interval_is_that_of_the_step(tmp_path: Path) -> None:
    packed(tmp_path / "bundle", later=False)
    output, _ = runtime.load(tmp_path / "bundle").rows([{"shop": "north", "month": "2004-03-01"}])
    scale = output.ahead.scale[0]
    assert output.low[0] == pytest.approx(output.values[0] - scale)
    assert output.high[0] == pytest.approx(output.values[0] + 2 * scale)
    assert output.ahead.coverage == conformal.COVERAGE


@pytest.mark.parametrize("damage", [b"", b"no archive"])
def test_a_damaged_file_is_told(tmp_path: Path, damage: bytes) -> None:
    path = tmp_path / "0.npz"
    path.write_bytes(damage)
    from keepfit.deployment import runtime_series

    with pytest.raises(BundleError, match="holds no forecasts that can be read"):
        runtime_series.load(path, SCHEMA)
    np.savez(path, about=np.array("{}"))
    with pytest.raises(BundleError, match="holds no forecasts"):
        runtime_series.load(path, SCHEMA)


def test_serving_forecasts_needs_numpy_alone(tmp_path: Path) -> None:
    packed(tmp_path / "bundle")
    code = f"""
import sys
from keepfit.deployment import runtime
made = runtime.load({str(tmp_path / "bundle")!r})
output, problems = made.rows([{{"shop": "south", "month": "2004-08-01"}}])
assert not problems and output.ahead.step.tolist() == [2.0], (problems, output)
told = {{"shop": "south", "month": "2004-07-01", "sold": 100.0}}
output, _ = made.rows([told, {{"shop": "south", "month": "2004-08-01"}}])
assert output.ahead.step.tolist() == [0.0, 1.0]
heavy = {{"polars", "pandas", "sklearn", "scipy", "numba", "lightgbm", "onnxruntime", "yaml"}} & set(sys.modules)
assert not heavy, heavy
"""
    subprocess.run([sys.executable, "-c", code], check=True)
