"""Columns of pictures: their role, what of them cannot be used, near-duplicates, hashes, the log's round trip."""

from __future__ import annotations

import base64
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from PIL import Image

from keepfit import config
from keepfit.data import (
    gallery,
    hashes,
    leakage,
    log_read,
    log_roll,
    pictures,
    schema,
    single,
    split,
    validate,
    version,
)
from keepfit.data.conform import conform
from keepfit.data.log import Line, open_log
from keepfit.data.parse import Problem
from keepfit.features.frame import from_frame
from keepfit.features.rows import from_rows
from keepfit.types import Check, Column, Schema
from tests.data.drawings import file, header_only, noise, picture, turned

SCHEMA = Schema(
    (Column("image", "image", "bytes"), Column("label", "target")), "classification", "label", ("ants", "bees")
)


def column(*values: bytes | None) -> pl.Series:
    return pl.Series("image", values, dtype=pl.Binary)


def table(count: int = 12, **more: Any) -> pl.DataFrame:
    return pl.DataFrame({
        "image": column(*(picture(n) for n in range(count))),
        "path": [f"{'ants' if n % 2 else 'bees'}/{n}.png" for n in range(count)],
        "label": ["ants" if n % 2 else "bees" for n in range(count)],
        **more,
    })  # fmt: skip


def data(**values: Any) -> config.Data:
    return config.Data(source="x", **{"target": "label", **values})


# --- roles ----------------------------------------------------------------------------------------


def test_bytes_that_look_like_pictures_are_images() -> None:
    found = schema.infer(table(weight=[float(n) for n in range(12)]), data())
    assert [(c.name, c.role, c.dtype) for c in found.columns] == [
        ("image", "image", "bytes"),
        ("path", "ignore", "str"),
        ("label", "target", "str"),
        ("weight", "number", "float"),
    ]
    assert found["image"].why == "pictures: PNG, 40 x 30 pixels"
    assert found["image"].distinct == 12


def test_one_broken_picture_among_many_is_still_a_picture() -> None:
    frame = table(40).with_columns(column(b"", *(picture(n) for n in range(39))))
    assert schema.infer(frame, data())["image"].role == "image"


def test_other_bytes_have_no_role_and_the_same_picture_tells_nothing() -> None:
    blobs = table().with_columns(raw=pl.Series([bytes([n, 7]) for n in range(12)]), same=pl.Series([picture()] * 12))
    found = schema.infer(blobs, data())
    assert (found["raw"].role, found["raw"].why) == ("ignore", "bytes of which most do not begin as pictures do")
    assert found["same"].role == "ignore"
    assert found["same"].why.startswith("constant: always")


def test_texts_are_images_where_they_are_declared() -> None:
    frame = table().with_columns(
        pl.Series("image", [f"data:image/png;base64,{base64.b64encode(picture(n)).decode()}" for n in range(12)])
    )
    assert schema.infer(frame, data())["image"].role != "image"
    found = schema.infer(frame, data(columns={"image": "image"}))
    typed, problems = conform(frame, found)
    assert (typed["image"].to_list(), problems) == ([picture(n) for n in range(12)], [])


def test_a_frame_and_a_request_mean_the_same() -> None:
    values = [picture(1), None, b"", b"no picture", picture(2, "JPEG")[:200], turned(noise(), 6)]
    typed, problems = conform(pl.DataFrame({"image": column(*values)}), SCHEMA)
    columns, told = from_rows([{"image": value} for value in values], SCHEMA)
    assert typed["image"].to_list() == columns.values["image"].data == [values[0], None, None, None, None, values[5]]
    assert problems == told
    assert [(p.row, p.problem[:17]) for p in problems] == [
        (2, "0 bytes"),
        (3, "no picture that c"),
        (4, "broken or cut off"),
    ]
    assert from_frame(typed, SCHEMA).values["image"].data == columns.values["image"].data
    encoded = [None if v is None else base64.b64encode(v).decode() for v in (values[0], None, values[5])]
    assert from_rows([{"image": v} for v in encoded], SCHEMA)[0].values["image"].data == [values[0], None, values[5]]


def test_a_column_without_any_picture_keeps_its_type() -> None:
    typed, _ = conform(pl.DataFrame({"image": [None, None]}), SCHEMA)
    assert typed.schema == {"image": pl.Binary}


# --- what is found --------------------------------------------------------------------------------


def damaged() -> bytes:
    """A PNG that is whole at both ends and hurt in the middle: its header tells nothing of that."""
    data = bytearray(picture(5, width=90, height=90))
    middle = data.index(b"IDAT") + 2000
    data[middle : middle + 9] = b"\xff" * 9
    return bytes(data)


def test_damage_in_the_middle_is_found_by_decoding() -> None:
    frame = table().with_columns(column(damaged(), *(picture(n) for n in range(11))))
    typed, problems = conform(frame, SCHEMA)
    assert problems == []
    whole, found = gallery.decoded(typed, SCHEMA)
    assert whole["image"].null_count() == 1
    assert found[0].row == 0
    assert found[0].problem.startswith("broken or cut off")
    assert gallery.usable(frame, whole, SCHEMA).tolist() == [False] + [True] * 11


def test_a_missing_picture_is_left_out_only_where_there_is_nothing_else() -> None:
    frame = table().with_columns(column(None, *(picture(n) for n in range(11))))
    assert gallery.usable(frame, frame, SCHEMA).tolist() == [False] + [True] * 11
    more = Schema((*SCHEMA.columns, Column("weight", "number")), "classification", "label", SCHEMA.classes)
    weighed = frame.with_columns(weight=pl.lit(1.0))
    assert gallery.usable(weighed, weighed, more).all()
    broken = weighed.with_columns(column(b"x", *(picture(n) for n in range(11))))
    assert gallery.usable(broken, weighed, more).tolist() == [False] + [True] * 11


def test_everything_odd_is_listed_with_its_path_and_reason() -> None:
    animated = [Image.new("RGB", (20, 20), colour) for colour in ("red", "blue")]
    odd = {
        "empty.png": b"",
        "page.jpg": b"<html>",
        "bomb.png": header_only(20_000, 20_000),
        "dot.png": file(Image.new("RGB", (1, 1))),
        "cut.jpg": picture(1, "JPEG")[:300],
        "renamed.jpg": picture(2, "PNG"),
        "right.JPEG": picture(3, "JPEG"),
        "tiny.png": picture(4, width=5, height=30),
        "moving.gif": file(animated[0], "GIF", save_all=True, append_images=animated[1:]),
        "print.jpg": file(noise(seed=6).convert("CMYK"), "JPEG"),
        "phone.jpg": turned(noise(seed=7), 6),
        "deep.png": file(Image.fromarray(np.arange(400, dtype=np.uint16).reshape(20, 20) * 160)),
        "glass.png": file(noise(seed=8).convert("RGBA")),
    }
    frame = pl.DataFrame({"image": column(*odd.values()), "path": [*odd], "label": ["ants", "bees"] * 6 + ["ants"]})
    typed, problems = conform(frame, SCHEMA)
    found = {
        check.name.removeprefix("data.pictures.image"): check
        for check in gallery.checks(frame, typed, problems, SCHEMA)
    }
    assert found[""].value == 8
    assert found[""].detail.startswith("4 PNG, 3 JPEG, 1 GIF, 5 x 30 to 40 x 30 pixels")
    assert "by 'label': " in found[""].detail
    unusable = found[".unusable"]
    assert (unusable.outcome, unusable.severity, unusable.value) == ("failed", "warning", 5)
    for name, reason in (
        ("empty.png", "0 bytes"), ("page.jpg", "no picture that can be read"), ("cut.jpg", "broken or cut off"),
        ("bomb.png", "more than the 50 million pixels"), ("dot.png", "1 x 1 pixels"),
    ):  # fmt: skip
        assert f"{name} ({reason}" in unusable.detail
    assert found[".ending"].detail == "1 not of the format that the name's ending says: renamed.jpg (is PNG)"
    assert found[".small"].detail == "1 smaller than 8 pixels a side: tiny.png (5 x 30 pixels)"
    for said in (
        "animated: the first frame counts (first: moving.gif)", "EXIF (first: phone.jpg)",
        "CMYK, read as RGB (first: print.jpg)", "8 are kept (first: deep.png)", "white (first: glass.png)",
    ):  # fmt: skip
        assert said in found[".odd"].detail


def test_the_verdict_counts_classes_and_warns_of_a_single_picture() -> None:
    frame = table(21).with_columns(label=pl.Series(["ants"] * 20 + ["bees"]))
    found = schema.infer(frame, data())
    checks = {check.name: check for check in validate.validate(frame, found, {}, data()).checks}
    assert checks["data.pictures.image"].detail == "PNG, 40 x 30 pixels; by 'label': ants 20, bees 1"
    assert checks["data.target.rare"].detail == "seen once only, so never in both training and test: 'bees'"
    assert "data.unreadable.image" not in checks


def test_a_column_of_which_nothing_can_be_read_is_an_error() -> None:
    frame = pl.DataFrame({"image": pl.Series([None] * 4, dtype=pl.Binary), "label": ["ants", "bees"] * 2})
    told = [check for check in gallery.checks(frame, *conform(frame, SCHEMA), SCHEMA) if check.outcome == "failed"]
    assert [(check.name, check.severity, check.value) for check in told] == [("data.pictures.image", "error", 0)]
    assert "none of 4 rows" in told[0].detail


def test_what_the_reader_left_out_is_a_warning() -> None:
    told = validate.left_out({"found": {"left_out": "2 files: a.png (gone), b.png (gone)"}})
    assert (told.checks[0].name, told.checks[0].severity) == ("data.left_out", "warning")
    assert told.outcome != "failed"
    assert validate.left_out({"found": {}}).checks == ()
    note = validate.left_out({"found": {"other_files": "1 file not read as pictures, by their names: a.heic"}})
    assert [(check.name, check.outcome) for check in note.checks] == [("data.pictures.other_files", "passed")]


def test_a_long_list_is_cut() -> None:
    told = gallery.listed([(f"{n}.png", "0 bytes") for n in range(25)])
    assert told.startswith("0.png (0 bytes), ")
    assert told.endswith("19.png (0 bytes) and 5 more")


# --- fingerprints and near-duplicates -------------------------------------------------------------


@pytest.mark.parametrize("shape", [(28, 28), (8, 8), (30, 41), (9, 8), (20, 17, 3)])
def test_many_raw_pictures_at_once_have_the_fingerprints_of_each(shape: tuple[int, ...]) -> None:
    small = np.random.default_rng(0).integers(0, 256, (50, 5, 5, 3), dtype=np.uint8)
    grown = [Image.fromarray(one).resize(shape[1::-1], Image.Resampling.BICUBIC) for one in small]
    arrays = np.stack([np.asarray(one if len(shape) == 3 else one.convert("L")) for one in grown])
    series = pl.Series(pictures.raws(arrays), dtype=pl.Binary)
    apart = [
        (a ^ pictures.fingerprint(b)).bit_count() for a, b in zip(gallery.fingerprints(series), series, strict=True)
    ]
    assert max(apart) <= 2
    assert np.mean(apart) < 0.5


def test_fingerprints_of_a_mixture() -> None:
    raw = pictures.raws(np.random.default_rng(0).integers(0, 256, (40, 9, 9), dtype=np.uint8))
    found = gallery.fingerprints(column(*raw, None, b"x", raw[0][:-1], picture(3)))
    assert all(isinstance(one, int) for one in found[:40])
    assert found[40] is None
    assert found[41:43] == ["no picture that can be read", "broken or cut off: 9 x 9 pixels are other than 91 bytes"]
    assert found[43] == pictures.fingerprint(picture(3))


def spoiled(n: int) -> bytes:
    image = noise(120, 90, seed=n)
    return (file(image, "JPEG", quality=50), file(image.resize((80, 60))), file(image.crop((2, 2, 119, 89))))[n % 3]


def test_the_same_picture_saved_again_is_found_and_others_are_not() -> None:
    train = column(*(picture(n, width=120, height=90) for n in range(60)))
    test = column(*(spoiled(n) for n in (3, 17, 29)), picture(40, width=120, height=90), *map(picture, range(100, 130)))
    pairs, looked = gallery.near(train, test)
    assert (pairs, looked) == ([(0, 3), (1, 17), (2, 29)], 34)  # equal bytes are told as duplicates, not here


def test_more_pairs_than_can_be_looked_at_are_sampled(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gallery, "PAIRS", 100)
    train, test = column(*map(picture, range(20))), column(*map(picture, range(50, 60)))
    assert gallery.near(train, test)[1] == 5


@pytest.mark.parametrize(("action", "severity"), [("warn", "warning"), ("stop", "error"), ("ignore", None)])
def test_near_duplicates_across_the_split(action: str, severity: str | None) -> None:
    train = pl.DataFrame(
        {"image": column(*(picture(n, width=120, height=90) for n in range(30))), "label": ["ants", "bees"] * 15}
    )
    test = pl.DataFrame({"image": column(spoiled(3), *map(picture, range(100, 109))), "label": ["ants", "bees"] * 5})
    named = tuple(
        frame.with_columns(path=pl.format("{}{}.png", pl.lit(name), pl.int_range(pl.len())))
        for name, frame in (("tr", train), ("te", test))
    )
    options = data(leakage={"near_duplicates": action})
    found = [c for c in leakage.leakage(train, test, SCHEMA, options, named).checks if "near" in c.name]  # type: ignore[arg-type]
    if severity is None:
        assert found == []
        return
    assert (found[0].name, found[0].outcome, found[0].severity) == ("leakage.near_duplicates.image", "failed", severity)
    assert found[0].detail == (
        "1 of 10 test pictures nearly are one of training, but for its size, quality or edges: te0.png is like tr3.png"
    )
    none = leakage.leakage(train, test[1:], SCHEMA, options).checks
    assert [c.outcome for c in none if "near" in c.name] == ["passed"]


def test_the_same_bytes_on_both_sides_are_a_leak() -> None:
    frame = table(40)
    found = leakage.leakage(frame[:30], frame[20:], SCHEMA, data()).failures
    assert [check.name for check in found] == ["leakage.duplicates"]


# --- hashes, versions, splits, scores -------------------------------------------------------------


def test_pictures_are_hashed_by_their_bytes() -> None:
    one = column(picture(1), None, picture(2), picture(1), b"")
    found = hashes.values(one)
    assert len(set(found.tolist())) == 4
    assert found[0] == found[3]
    assert found[1] == hashes.MISSING
    frame = table(60)
    late, _ = split.split(frame, SCHEMA, data())
    assert 8 <= late.sum() <= 16
    order = np.random.default_rng(0).permutation(60)
    assert np.array_equal(split.split(frame[order], SCHEMA, data())[0], late[order])


def test_the_version_follows_the_bytes_and_not_the_layout() -> None:
    frame = pl.DataFrame({"image": column(*map(picture, range(5)), None)})
    known = version.fingerprint(frame)
    assert version.fingerprint(pl.concat([frame[:2], frame[2:]], rechunk=False)) == known
    assert version.fingerprint(frame.with_columns(pl.col("image").reverse())) != known
    moved = pl.DataFrame({"image": column(b"ab", b"c")})
    assert version.fingerprint(moved) != version.fingerprint(pl.DataFrame({"image": column(b"a", b"bc")}))
    assert version.fingerprint(pl.DataFrame({"image": column(None)})) != version.fingerprint(
        pl.DataFrame({"image": column(b"")})
    )
    many = pl.DataFrame({"image": pl.Series([bytes([n % 256, n // 256]) for n in range(3000)])})
    assert version.fingerprint(many) == version.fingerprint(pl.concat([many[:1500], many[1500:]], rechunk=False))
    assert version.fingerprint(many) != version.fingerprint(many[:2999])


def test_sizes_that_tell_the_class_are_seen() -> None:
    large = [picture(n, width=90 if n % 2 else 30, height=60) for n in range(80)]
    frame = table(80).with_columns(column(*large))
    assert single.scores(frame, SCHEMA)["image"] > 0.9


# --- the log --------------------------------------------------------------------------------------


def test_pictures_come_back_from_the_log_as_they_went_in(tmp_path: Path) -> None:
    told = Schema((*SCHEMA.columns, Column("weight", "number")), "classification", "label", SCHEMA.classes)
    sent = [picture(1), base64.b64encode(picture(2, "JPEG")).decode(), None, b"broken"]
    log = open_log(tmp_path / "predictions", told, "insects", "1")
    ids = log.ids(len(sent))
    rows = log.inputs([{"image": value, "weight": n} for n, value in enumerate(sent)])
    log.write([Line(key, 1.5, "r", None, "/predict", 0.1, row, "ants") for key, row in zip(ids, rows, strict=True)])
    wanted = [picture(1), picture(2, "JPEG"), None, None]
    for rolled in (False, True):
        if rolled:
            log.close()
            log_roll.roll(tmp_path / "predictions")
        frame = log_read.read(tmp_path / "predictions").sort("id").collect()
        assert frame["inputs"].struct.field("image").to_list() == wanted
        assert frame["inputs"].struct.field("image").dtype == pl.Binary
        assert frame["inputs"].struct.field("weight").to_list() == [0.0, 1.0, 2.0, 3.0]


def test_problems_are_those_of_conform() -> None:
    frame = pl.DataFrame({"image": column(b"", picture()), "label": ["ants", "bees"]})
    assert conform(frame, SCHEMA)[1] == [Problem(0, "image", "0 bytes")]
    assert isinstance(gallery.checks(frame, frame, [], SCHEMA)[0], Check)
