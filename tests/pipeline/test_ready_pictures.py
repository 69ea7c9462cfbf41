"""From a source of pictures to a split with bytes in it, and all that is wrong told at once."""

from __future__ import annotations

import zipfile
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from PIL import Image

from keepfit import config
from keepfit.errors import DataError
from keepfit.pipeline import folders, ready
from keepfit.types import Check, Verdict
from tests.data.drawings import file, folder, header_only, noise, picture


def project(where: Path, source: str, target: str | None = "label") -> tuple[config.Config, Path]:
    """A project that `keepfit init` made for the source."""
    made = where / "project"
    ready.init(made, source, target)
    return config.load(made), made


def named(verdict: Verdict, name: str) -> Check:
    return next(check for check in verdict.checks if check.name == name)


def test_the_official_part_is_honoured_and_said(tmp_path: Path) -> None:
    folder(tmp_path / "set/train", 12)
    folder(tmp_path / "set/val", 6, seed=500)
    settings, made = project(tmp_path, str(tmp_path / "set"))
    assert settings.data.test == "../set/val"
    plain = settings.model_copy(update={"data": settings.data.model_copy(update={"test": None})})
    for asked, how in ((settings, "official test set"), (plain, "official test set, found in the source")):
        split, verdict = ready.examine(asked, made)
        assert (split.train.frame.height, split.test.frame.height, split.how) == (24, 12, how)
        assert split.train.frame.schema["image"] == pl.Binary
        told = named(verdict, "split.official")
        assert (told.value, told.detail) == (12, f"{how}: ../set/val")
        assert verdict
    assert set(split.test.frame["path"]) == {f"{label}/{n:03}.png" for label in ("ants", "bees") for n in range(6)}


def test_a_split_is_drawn_where_there_is_no_official_one(tmp_path: Path) -> None:
    settings, made = project(tmp_path, str(folder(tmp_path / "photos", 20)))
    split, verdict = ready.examine(settings, made)
    assert split.how == "20% of each class"
    assert not [check for check in verdict.checks if check.name == "split.official"]
    assert split.train.frame.height + split.test.frame.height == 40


def test_bad_pictures_are_left_out_and_told_and_the_rest_is_used(tmp_path: Path) -> None:
    photos = folder(tmp_path / "photos", 20)
    frames = [Image.new("RGB", (20, 20), colour) for colour in ("red", "blue")]
    bad = {
        "ants/empty.png": b"",
        "ants/page.jpg": b"<html>404</html>",
        "ants/dot.png": file(Image.new("RGB", (1, 1))),
        "bees/bomb.png": header_only(20_000, 20_000),
        "bees/cut.jpg": picture(900, "JPEG")[:400],
    }
    odd = {
        "ants/renamed.jpg": picture(901),
        "bees/moving.gif": file(frames[0], "GIF", save_all=True, append_images=frames[1:]),
        "bees/print.jpg": file(noise(seed=902).convert("CMYK"), "JPEG"),
        "bees/deep.png": file(Image.fromarray(np.arange(400, dtype=np.uint16).reshape(20, 20) * 160)),
    }
    for name, content in (bad | odd).items():
        (photos / name).write_bytes(content)
    settings, made = project(tmp_path, str(photos))
    split, verdict = ready.examine(settings, made)
    assert verdict.outcome == "passed"
    kept = {*split.train.frame["path"], *split.test.frame["path"]}
    assert len(kept) == 44
    assert kept.isdisjoint(bad)
    assert kept.issuperset(odd)
    told = named(verdict, "data.pictures.image.unusable")
    assert told.value == 5
    assert all(f"{name} (" in told.detail for name in bad)
    assert "renamed.jpg (is PNG)" in named(verdict, "data.pictures.image.ending").detail
    again = ready.rows(settings, made, split.train)
    assert None not in again.columns.values["image"].data
    assert len(again.y) == split.train.frame.height


def test_a_class_with_one_picture_is_told(tmp_path: Path) -> None:
    photos = folder(tmp_path / "photos", 15)
    (photos / "wasps").mkdir()
    (photos / "wasps/only.png").write_bytes(picture(321))
    settings, made = project(tmp_path, str(photos))
    split, verdict = ready.examine(settings, made)
    assert "'wasps'" in named(verdict, "data.target.rare").detail
    assert "wasps" in split.train.frame["label"].to_list()


def test_only_bad_pictures_are_a_clear_error(tmp_path: Path) -> None:
    photos = tmp_path / "photos"
    for n in range(12):
        (photos / ("ants" if n % 2 else "bees")).mkdir(parents=True, exist_ok=True)
        (photos / ("ants" if n % 2 else "bees") / f"{n}.jpg").write_bytes(b"not a picture %d" % n)
    settings, made = project(tmp_path, str(photos))
    with pytest.raises(DataError, match="no column is left to learn from: image: ignore, bytes of which most do not"):
        ready.examine(settings, made)


def test_a_split_with_pictures_is_kept_between_stages(tmp_path: Path) -> None:
    settings, made = project(tmp_path, str(folder(tmp_path / "photos", 10)))
    split, _ = ready.examine(settings, made)
    (tmp_path / "ingest").mkdir()
    folders.save_split(split, tmp_path / "ingest")
    again = folders.load_split(tmp_path / "ingest")
    assert again.train.frame.equals(split.train.frame)
    assert again.train.schema == split.train.schema
    assert again.train.version == split.train.version == ready.version.fingerprint(again.train.frame)


def test_the_same_content_has_the_same_version_wherever_it_lies(tmp_path: Path) -> None:
    photos = folder(tmp_path / "photos", 10)
    with zipfile.ZipFile(tmp_path / "photos.zip", "w") as packed:
        for path in photos.glob("*/*"):
            packed.write(path, path.relative_to(tmp_path))
    versions = set()
    for n, source in enumerate((photos, tmp_path / "photos.zip")):
        settings, made = project(tmp_path / str(n), str(source))
        split, _ = ready.examine(settings, made)
        versions.add((split.train.version, split.test.version))
    assert len(versions) == 1


def test_the_profile_shows_the_pictures_and_stays_small(tmp_path: Path) -> None:
    settings, made = project(tmp_path, str(folder(tmp_path / "photos", 12, tuple(f"class{n}" for n in range(14)))))
    text = ready.look(settings, made, tmp_path / "profile.html").read_text()
    assert text.count("<img alt='' src='data:image/jpeg;base64,") == 12 * 8 + 10  # of 12 classes, and of the sample
    assert "class0 · 12" in text
    assert "and 2 more classes" in text
    assert "24 pixels on the longer side in the median" in text
    assert len(text) < 2_000_000


@pytest.mark.slow
def test_digits_and_real_sets(tmp_path: Path, shared_data: Path) -> None:
    sets = (
        ("sklearn:digits#images", "target", 1438, 359),
        (str(shared_data / "ants_bees/hymenoptera_data.zip"), "label", 244, 153),
        (str(shared_data / "fashion_mnist"), "label", 60_000, 10_000),
    )
    for n, (source, target, train, test) in enumerate(sets):
        settings, made = project(tmp_path / str(n), source, target)
        split, verdict = ready.examine(settings, made)
        assert (split.train.frame.height, split.test.frame.height) == (train, test)
        assert verdict
        assert named(verdict, "data.pictures.image.unusable").value == 0
