"""A bundle is whole, unchanged and its own, or it is refused with what is wrong and what to do."""

from __future__ import annotations

import importlib.util
import json
import subprocess
from pathlib import Path

import pytest
from sklearn.linear_model import LogisticRegression

from keepfit.deployment import runtime
from keepfit.errors import BundleError, ModelError
from keepfit.models import bundle
from keepfit.types import Check, Verdict
from tests.models import fits

ROOT_FILES = {
    *("bundle.json", "metrics.json", "reference.json", "parity.json"),
    *("config.yaml", "environment.txt", "card.md", "checksums.sha256"),
}


@pytest.fixture(scope="module")
def model():
    return fits.fitted([LogisticRegression()])


def write(folder, model, **options):
    return bundle.write(folder, model, fits.schema("two"), fits.ABOUT, **{**fits.REST, **options})


@pytest.fixture
def made(tmp_path, model):
    return write(tmp_path / "bundle", model).path


def test_what_is_in_a_bundle(made, model):
    found = bundle.read(made)
    names = {path.relative_to(made).as_posix() for path in made.rglob("*") if path.is_file()}
    assert names == ROOT_FILES | {"features/0/state.json", "features/0/state.npz", "models/0.npz"}
    assert found.manifest["format"] == 1
    assert found.manifest["name"] == "small"
    assert found.schema == fits.schema("two")
    assert found.manifest["data"] == {"version": "sha256:0", "origin": {"source": "made"}}
    assert (found.manifest["code"], found.manifest["seed"], found.manifest["hooks"]) == ({"commit": "abc"}, 1, None)
    assert "numpy==" in (made / "environment.txt").read_text()


def test_the_environment_of_pictures_has_what_reads_them_and_what_networks_are_trained_with():
    for way in ("onnx", "python"):
        lines = bundle.environment(way, {"image", "number"}).splitlines()
        assert any(line.startswith("pillow==") for line in lines)
        there = importlib.util.find_spec("torch") is not None
        assert any(line.startswith("# trained with torch==") for line in lines) == there
        assert not any(line.startswith("torch==") for line in lines)  # it never serves
        assert "pillow" not in bundle.environment(way, {"number"})


def test_sha256sum_checks_it_too(made):
    told = subprocess.run(["sha256sum", "--strict", "-c", "checksums.sha256"], cwd=made, capture_output=True, text=True)
    assert told.returncode == 0, told.stderr
    assert told.stdout.count(": OK") == len([p for p in made.rglob("*") if p.is_file()]) - 1


def test_metrics_without_a_number_are_null(tmp_path, model):
    made = write(
        tmp_path / "b", model, metrics={"metrics": {"auc": {"value": float("nan"), "high": float("inf")}}}
    ).path
    assert json.loads((made / "metrics.json").read_text()) == {"metrics": {"auc": {"value": None, "high": None}}}


def test_files_are_taken_along_and_nothing_outside_is_written(tmp_path, model):
    plot = tmp_path / "roc.png"
    plot.write_bytes(b"png")
    made = write(tmp_path / "b", model, files={"plots/roc.png": plot}).path
    assert bundle.read(made)
    assert (made / "plots/roc.png").read_bytes() == b"png"
    for name in ("../roc.png", "/tmp/roc.png", "bundle.json", "plots\\roc.png", "plots/../../x"):
        with pytest.raises(ModelError, match="the name is taken or leads outside"):
            write(tmp_path / "c", model, files={name: plot})
    assert sorted(path.name for path in tmp_path.iterdir()) == ["b", "roc.png"]


def test_hooks_are_recorded_by_hash_and_not_carried(tmp_path, model):
    hooks = tmp_path / "features.py"
    hooks.write_text("def double(frame):\n    return frame['age'] * 2\n")
    found = write(tmp_path / "b", model, hooks=hooks)
    assert found.manifest["hooks"] == {"file": "features.py", "sha256": bundle._hash(hooks)}
    assert not list(found.path.rglob("*.py"))


def test_proof_is_stored_and_unproved_is_not_checked(tmp_path, model):
    def prove(folder):
        assert bundle.read(folder)  # complete already
        return Verdict("parity", (Check("difference", "passed", 1e-9, 1e-5),))

    proved = write(tmp_path / "a", model, prove=prove).path
    assert json.loads((proved / "parity.json").read_text())["outcome"] == "passed"
    assert "parity passed; difference 1e-09" in (proved / "card.md").read_text()
    unproved = write(tmp_path / "b", model).path
    assert json.loads((unproved / "parity.json").read_text())["outcome"] == "not checked"


def test_the_card_tells_what_people_ask(tmp_path, model):
    metrics = {
        "metrics": {"accuracy": {"value": 0.9123, "low": 0.9, "high": 0.93, "baseline": 0.55}},
        "slices": [{"column": "plan", "value": "max|<b>", "rows": 30, "accuracy": 0.7}],
    }
    config = {
        "project": {"description": "Who leaves?", "owner": "team"},
        "goals": {"accuracy": ">= 0.9"},
        "data": {"source": "a.csv"},
    }
    card = (write(tmp_path / "b", model, metrics=metrics, config=config).path / "card.md").read_text()
    assert "# small\n\nWho leaves? Task: classification of `y`. Classes: `no`, `yes`. Owner: team." in card
    assert "| accuracy | 0.9123 | 0.9 to 0.93 | 0.55 | >= 0.9 |" in card
    assert "| plan | max\\|&lt;b> | 30 | 0.7 |" in card
    assert "| Source | made |" in card
    assert "| age | number | 0.0% |" in card


# --- damage -------------------------------------------------------------------------------------


def refused(folder, pattern):
    for load in (bundle.read, runtime.load):
        with pytest.raises(BundleError, match=pattern):
            load(folder)


def test_no_folder_and_foreign_folders(tmp_path, made):
    refused(tmp_path / "nowhere", "There is no folder .*nowhere")
    (tmp_path / "foreign").mkdir()
    refused(tmp_path / "foreign", r"is no bundle, or only a part of one: it has no bundle\.json\. Copy")
    (made / "checksums.sha256").unlink()
    refused(made, r"it has no checksums\.sha256")


@pytest.mark.parametrize("name", ["models/0.npz", "features/0/state.json", "bundle.json", "card.md"])
def test_a_changed_file(made, name):
    content = (made / name).read_bytes()
    (made / name).write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
    refused(made, f"{name.replace('.', '[.]')} changed since the bundle was written .checksum.. Copy the bundle again")


def test_a_missing_file_and_an_extra_one(made):
    (made / "models/0.npz").rename(made / "models/1.npz")
    refused(made, r"lacks models/0\.npz")
    (made / "models/1.npz").rename(made / "models/0.npz")
    (made / "payload.pkl").write_bytes(b"x")
    refused(made, r"files that do not belong to it: payload\.pkl\. Move them out")


def resealed(made, **changes):
    """The bundle with other values in its manifest, and checksums that are right."""
    manifest = json.loads((made / "bundle.json").read_text())
    manifest.update(changes)
    (made / "bundle.json").write_text(json.dumps({k: v for k, v in manifest.items() if v != "absent"}))
    bundle._seal(made)


def test_a_newer_format(made):
    resealed(made, format=2, keepfit="9.9.9")
    refused(made, r"bundle format 2, written by keepfit 9\.9\.9.*reads formats up to 1.*pip install --upgrade keepfit")


def test_a_manifest_of_something_else(made):
    resealed(made, format="one")
    refused(made, "has no format number: this is no bundle of keepfit")
    (made / "bundle.json").write_text("[1, 2")
    bundle._seal(made)
    refused(made, r"bundle\.json is not JSON")


def test_a_manifest_that_lacks_something(made):
    resealed(made, threshold="absent", members="absent")
    refused(made, "lacks members, threshold")


@pytest.mark.parametrize("name", ["../../../etc/passwd", "/etc/passwd", "models/../../x", "C:\\x"])
def test_no_way_out_through_the_manifest(made, name):
    resealed(made, models=[{"kind": "linear", "file": name, "features": 0}])
    refused(made, r"names .*, which is not in checksums\.sha256")
    resealed(made, features=["../other"])
    refused(made, "which is not in checksums")
    resealed(made, models=["nonsense"])
    refused(made, "'models' or 'features' is not what it should be")


@pytest.mark.parametrize("name", ["../secret", "/etc/passwd", "a/../../b", "a//b", "C:x", "a\\b"])
def test_no_way_out_through_the_checksums(made, name):
    with (made / "checksums.sha256").open("a") as file:
        file.write(f"{'0' * 64}  {name}\n")
    refused(made, "has a line that is no checksum of a file inside")


def test_no_way_out_through_links(tmp_path, made):
    (tmp_path / "outside.npz").write_bytes((made / "models/0.npz").read_bytes())
    (made / "models/0.npz").unlink()
    (made / "models/0.npz").symlink_to(tmp_path / "outside.npz")
    refused(made, r"0\.npz is a link to outside of the bundle")


def test_an_unknown_kind_of_model_is_no_way_to_run_code(made):
    """A manifest cannot name a function: kinds are rows of a table."""
    for kind in ("os:system", "pickle"):
        resealed(made, models=[{"kind": kind, "file": "models/0.npz", "features": 0}])
        with pytest.raises(BundleError, match=f"a model file of kind '{kind}'"):
            runtime.load(made)


def test_a_failed_write_leaves_nothing_and_keeps_what_was_there(tmp_path, model):
    before = write(tmp_path / "b", model).manifest["created"]

    def breaks(folder: Path) -> Verdict:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write(tmp_path / "b", model, prove=breaks)
    assert [path.name for path in tmp_path.iterdir()] == ["b"]
    assert bundle.read(tmp_path / "b").manifest["created"] == before
