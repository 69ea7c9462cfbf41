"""Fine-tuning through a whole run: real photographs, a bundle that serves without torch, and a served answer."""

from __future__ import annotations

import base64
import json
import subprocess
import sys
import zipfile
from pathlib import Path

import numpy as np
import pytest

from keepfit import Project
from keepfit.deployment import runtime
from tests.pipeline.test_mixed_pictures import FRESH, HEAVY, bundle
from tests.serving import serving

pytestmark = pytest.mark.slow
PARTS = {"train": 16, "val": 6}  # photographs of each class


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory, shared_data: Path) -> Path:
    pytest.importorskip("torch")
    folder = tmp_path_factory.mktemp("tuned")
    with zipfile.ZipFile(shared_data / "ants_bees" / "hymenoptera_data.zip") as archive:
        for part, count in PARTS.items():
            for label in ("ants", "bees"):
                names = sorted(name for name in archive.namelist() if f"/{part}/{label}/" in name and name[-1] != "/")
                archive.extractall(folder, names[:count])
    backbone = shared_data / "imagenet_backbone" / "mobilenet_v2_1.0_224"
    (folder / "keepfit.yaml").write_text(
        f"data: {{source: hymenoptera_data, target: label}}\nfeatures: {{image: {{backbone: {backbone}}}}}\n"
        "model: {type: fine_tuned, epochs: 3}\ntuning: {cv: 2, time_budget: 120}\n"
    )
    assert Project(folder).run()["outcome"] == "promoted"
    return folder


def photographs(folder: Path) -> tuple[list[bytes], list[str]]:
    paths = sorted(folder.glob("hymenoptera_data/val/*/*.jpg"))
    return [path.read_bytes() for path in paths], [path.parent.name for path in paths]


def test_the_bundle_is_proved_and_knows_ants_from_bees(trained: Path) -> None:
    made = bundle(trained)
    assert json.loads((made / "parity.json").read_text())["outcome"] == "passed"
    told = json.loads((made / "bundle.json").read_text())
    assert {one["kind"] for one in told["models"]} == {"network"}
    assert told["runtime"] == "onnx"
    assert json.loads((made / "metrics.json").read_text())["metrics"]["accuracy"]["value"] >= 10 / 12


def test_a_fresh_process_answers_without_torch(trained: Path, tmp_path: Path) -> None:
    data, _ = photographs(trained)
    rows = [{"image": base64.b64encode(one).decode()} for one in data[:4]]
    (tmp_path / "rows.json").write_text(json.dumps(rows))
    command = [sys.executable, "-c", FRESH, str(bundle(trained)), str(tmp_path / "rows.json")]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    modules, said, problems = json.loads(done.stdout)
    assert problems == []
    assert HEAVY & {name.partition(".")[0] for name in modules} == set()
    known = runtime.load(bundle(trained)).rows([{"image": one} for one in data[:4]])[0].probabilities
    assert np.allclose(said, known[:, 1], atol=1e-6)


def test_it_is_served(trained: Path) -> None:
    data, labels = photographs(trained)
    rows = [{"image": base64.b64encode(one).decode()} for one in data]
    with serving(trained) as server:
        said = [row["prediction"] for row in server.post("/predict", rows).json["predictions"]]
    assert sum(one == label for one, label in zip(said, labels, strict=True)) >= 10


def test_what_lies_below_the_cut_is_seen_once(trained: Path) -> None:
    """A second run finds the maps in the project's cache, and gives the same figures."""
    before = (bundle(trained) / "metrics.json").read_text()
    kept = {path: path.stat().st_mtime_ns for path in trained.glob(".keepfit/cache/image/*/*.npy")}
    assert kept
    Project(trained).run()
    assert {path: path.stat().st_mtime_ns for path in trained.glob(".keepfit/cache/image/*/*.npy")} == kept
    assert json.loads((bundle(trained) / "metrics.json").read_text())["metrics"] == json.loads(before)["metrics"]
