"""Tables with pictures, through the whole of a run: one model, its cache, and what it takes to serve it."""

from __future__ import annotations

import base64
import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import onnxruntime
import polars as pl
import pytest

from keepfit import Project
from keepfit.data import pictures
from keepfit.deployment import runtime
from keepfit.errors import ConfigError
from keepfit.features import picture_rows
from tests.images import backbone

pytestmark = pytest.mark.slow
ROWS = 160
FRESH = """
import json, pathlib, sys
from keepfit.deployment import runtime
from keepfit.errors import ConfigError
loaded = runtime.load(pathlib.Path(sys.argv[1]))
rows = json.loads(pathlib.Path(sys.argv[2]).read_text())
output, problems = loaded.rows(rows)
print(json.dumps([list(sys.modules), output.probabilities[:, 1].tolist(), problems]))
"""
HEAVY = {"sklearn", "scipy", "polars", "pandas", "mlflow", "lightgbm", "torch", "transformers", "onnx", "pydantic"}


def table(rows: int = ROWS) -> pl.DataFrame:
    """Two of three must speak for it: a price, a word, a picture that is brighter at its left."""
    draw = np.random.default_rng(3)
    price, word, left = draw.normal(size=rows), draw.random(rows) < 0.5, draw.random(rows) < 0.5
    photos = []
    for bright in left:
        array = draw.integers(0, 90, (20, 24, 3))
        array[:, :12] += 120 * bool(bright)
        array[:, 12:] += 120 * (not bright)
        photos.append(pictures.encoded(array.astype(np.uint8)))
    texts = [f"{'superb' if one else 'shabby'} house number {k} in a quiet street" for k, one in enumerate(word)]
    sold = np.where((price > 0).astype(int) + word + left >= 2, "yes", "no")
    found = pl.DataFrame({"price": price.round(3), "note": texts, "photo": photos, "sold": sold})
    return found.with_columns(
        pl.when(pl.int_range(rows) % 40 == 7).then(None).otherwise(pl.col("photo")).alias("photo")
    )


def project(folder: Path, frame: pl.DataFrame, model: str = "{type: auto}", **features: object) -> Project:
    frame.write_parquet(folder / "data.parquet")
    (folder / "net.onnx").write_bytes(backbone()["graph"].tobytes())
    image = {"backbone": "net.onnx", "augment": "none", **features}
    (folder / "keepfit.yaml").write_text(
        "data: {source: data.parquet, target: sold, columns: {photo: image, note: text}}\n"
        f"model: {model}\ntuning: {{trials: 0, cv: 3, time_budget: 60}}\nfeatures: {json.dumps({'image': image})}\n"
    )
    return Project(folder)


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("mixed")
    project(folder, table()).run()
    return folder


def bundle(folder: Path) -> Path:
    return max(folder.glob(".keepfit/runs/*/train/bundle"))


def figures(folder: Path) -> dict[str, float]:
    """The metrics of the newest run."""
    told = json.loads((bundle(folder) / "metrics.json").read_text())["metrics"]
    return {name: found["value"] for name, found in told.items()}


def test_numbers_texts_and_pictures_make_one_model(trained: Path) -> None:
    assert figures(trained)["roc_auc"] > 0.95  # two of the three columns give 0.88 at best
    loaded = runtime.load(bundle(trained))
    rows = table(400).drop("sold").to_dicts()
    for row in rows:
        row["price"] = 0.0
    known, _ = loaded.rows(rows)
    turned = [{**row, "photo": other["photo"]} for row, other in zip(rows, [*rows[1:], rows[0]], strict=True)]
    other, problems = loaded.rows(turned)
    assert problems == []
    assert np.abs(known.probabilities - other.probabilities).max() > 0.2
    assert json.loads((bundle(trained) / "parity.json").read_text())["outcome"] == "passed"
    assert not (bundle(trained) / "model.onnx").exists()


def test_a_fresh_process_needs_numpy_onnxruntime_and_pillow(trained: Path, tmp_path: Path) -> None:
    frame = table().drop("sold").head(20)
    sent = [{**row, "photo": row["photo"] and base64.b64encode(row["photo"]).decode()} for row in frame.to_dicts()]
    (tmp_path / "rows.json").write_text(json.dumps(sent))
    command = [sys.executable, "-c", FRESH, str(bundle(trained)), str(tmp_path / "rows.json")]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    modules, said, problems = json.loads(done.stdout)
    assert problems == []
    assert HEAVY & {name.partition(".")[0] for name in modules} == set()
    known = runtime.load(bundle(trained)).rows(frame.to_dicts())[0].probabilities
    assert np.allclose(said, known[:, 1], atol=1e-6)


def test_what_the_backbone_saw_is_not_seen_again(trained: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert len(list(trained.glob(".keepfit/cache/image/*/*.npy"))) >= 1
    told: list[str] = []
    monkeypatch.setattr(picture_rows, "told", lambda batches, total, tell: told.append(str(total)) or batches)
    before = figures(trained)
    Project(trained).run()
    assert set(told) == {"0"}  # neither for the folds nor for the test rows
    assert figures(trained) == pytest.approx(before)


def test_pictures_alone_give_one_graph_for_other_tools(tmp_path: Path) -> None:
    draw, photos = np.random.default_rng(0), []
    for place in range(ROWS):
        array = draw.integers(0, 90, (20, 24, 3))
        array[:, :12] += 100 * (place % 2)
        photos.append(pictures.encoded(array.astype(np.uint8)))
    frame = pl.DataFrame({"photo": photos, "sold": ["yes" if place % 2 else "no" for place in range(ROWS)]})
    frame.write_parquet(tmp_path / "data.parquet")
    (tmp_path / "net.onnx").write_bytes(backbone()["graph"].tobytes())
    (tmp_path / "keepfit.yaml").write_text(
        "data: {source: data.parquet, target: sold}\nmodel: {type: logistic_regression}\n"
        "tuning: {trials: 0, cv: 3}\nfeatures: {image: {backbone: net.onnx}}\n"
    )
    Project(tmp_path).run()
    session = onnxruntime.InferenceSession(bundle(tmp_path) / "model.onnx")
    seen = np.stack([pictures.pixels(one, 8, 8, "RGB", "crop") for one in photos[:30]])
    said = session.run(None, {"pictures": seen})[0]
    known = runtime.load(bundle(tmp_path)).rows([{"photo": one} for one in photos[:30]])[0].probabilities
    assert np.allclose(said, known, atol=1e-5)
    assert set(said.argmax(axis=1).tolist()) == {0, 1}


def test_a_backbone_that_is_not_there_is_told_before_anything_is_trained(tmp_path: Path) -> None:
    made = project(tmp_path, table(), backbone="nett.onnx")
    with pytest.raises(ConfigError, match=r"features.image.backbone: there is no .*nett.onnx. In .*: net.onnx"):
        made.run(stage="ingest")
