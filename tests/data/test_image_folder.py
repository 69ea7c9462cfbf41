"""Folders, archives, IDX files and tables of pictures as frames."""

from __future__ import annotations

import contextlib
import gzip
import io
import os
import tarfile
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest

from keepfit import config
from keepfit.data import archive, image_folder, image_paths, pictures, schema
from keepfit.data.delimited import BadRow
from keepfit.data.image_folder import layout
from keepfit.data.image_paths import from_project
from keepfit.data.read import batches, read
from keepfit.errors import ConfigError, DataError
from tests.data.drawings import folder, picture


def data(source: str = "x", **values: Any) -> config.Data:
    return config.Data(source=source, **values)


def zipped(where: Path, contents: dict[str, bytes]) -> Path:
    with zipfile.ZipFile(where, "w", zipfile.ZIP_DEFLATED) as file:
        for name, content in contents.items():
            file.writestr(name, content)
    return where


def tarred(where: Path, contents: dict[str, bytes]) -> Path:
    with tarfile.open(where, "w:gz" if where.name.endswith("gz") else "w") as file:
        for name, content in contents.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            file.addfile(info, io.BytesIO(content))
    return where


def published(around: str = "set/", held: str = "val") -> dict[str, bytes]:
    """A data set in its publisher's parts."""
    return {
        f"{around}{part}/{label}/{n}.png": picture(100 * len(part) + 10 * len(label) + n)
        for part, label, count in (("train", "ants", 3), ("train", "fly", 2), (held, "ants", 1), (held, "fly", 1))
        for n in range(count)
    }


def unpacked(where: Path, contents: dict[str, bytes]) -> Path:
    for name, content in contents.items():
        (where / name).parent.mkdir(parents=True, exist_ok=True)
        (where / name).write_bytes(content)
    return where


# --- layouts --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("names", "labels", "held"),
    [
        (["a.jpg", "b.PNG"], [None, None], None),
        (["ants/a.jpg", "bees/b.jpg"], ["ants", "bees"], None),
        (["ants/deep/er/a.jpg", "bees/b.jpg"], ["ants", "bees"], None),
        (["x/ants/a.jpg", "x/bees/b.jpg"], ["ants", "bees"], None),
        (["only/a.jpg", "only/b.jpg"], ["only", "only"], None),
        (["train/ants/a.jpg", "train/bees/b.jpg", "test/ants/c.jpg"], ["ants", "bees"], "test"),
        (["Train/ants/a.jpg", "Valid/ants/c.jpg"], ["ants"], "Valid"),
        (["train/ants/a.jpg", "val/ants/b.jpg", "test/ants/c.jpg"], ["ants", "ants"], "test"),
        # a test folder without classes, as of a competition, cannot be tested on
        (["train/ants/a.jpg", "val/ants/b.jpg", "test/c.jpg"], [None, "ants"], "val"),
        # classes that are called like parts, and parts without one for training
        (["test/ants/a.jpg", "val/ants/b.jpg"], ["test", "val"], None),
        (["train/a.jpg", "bus/b.jpg"], ["bus", "train"], None),
    ],
)
def test_labels_and_parts(names: list[str], labels: list[str | None], held: str | None) -> None:
    found = layout(names)
    assert sorted(map(str, (row.label for row in found.rows))) == sorted(map(str, labels))
    assert found.held == held


def test_what_programs_leave_behind_is_no_picture() -> None:
    others = ["a/.DS_Store", "a/Thumbs.db", "__MACOSX/a/._1.jpg", ".git/x.png", "a/._1.jpg", "readme.md", "jpg"]
    found = layout(["a/1.jpg", *others])
    assert [row.name for row in found.rows] == ["a/1.jpg"]
    assert len(found.others) == 7


def test_a_part_that_is_not_there() -> None:
    with pytest.raises(DataError, match=r"no pictures in 'vla'. Did you mean 'val'\? There are: train, val"):
        layout(["x/train/a/1.jpg", "x/val/a/1.jpg"], "vla")


# --- folders --------------------------------------------------------------------------------------


def test_a_folder_by_class(tmp_path: Path) -> None:
    folder(tmp_path / "photos", 3)
    (tmp_path / "photos/notes.txt").write_text("taken in May")
    frame, origin = read(data("photos"), tmp_path)
    assert frame.columns == ["image", "path", "label"]
    assert frame.select("path", "label").rows()[2:4] == [("ants/002.png", "ants"), ("bees/000.png", "bees")]
    assert frame["image"][4] == (tmp_path / "photos/bees/001.png").read_bytes()
    assert origin["found"] == {
        "pictures": "6 files",
        "classes": "ants: 3, bees: 3",
        "other_files": "1 file not read as pictures, by their names: notes.txt",
    }
    assert "test" not in origin
    assert read(data("photos", target="species"), tmp_path)[0].columns == ["image", "path", "species"]


def test_the_publishers_parts_are_found_in_a_folder(tmp_path: Path) -> None:
    unpacked(tmp_path, published("photos/set/"))
    frame, origin = read(data("photos"), tmp_path)
    assert (frame.height, origin["test"]) == (5, "photos/set/val")
    held, _ = read(data(), tmp_path, origin["test"])
    assert held["label"].to_list() == ["ants", "fly"]
    alone, origin = read(data("photos/set/train"), tmp_path)  # as named in the config: the same rows
    assert alone["image"].to_list() == frame["image"].to_list()
    assert "test" not in origin


def test_a_file_that_goes_while_the_folder_is_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder(tmp_path / "photos", 3)
    listed = image_folder.names_in

    def late(where: Path) -> list[str]:
        names = listed(where)
        (where / "ants/001.png").unlink(missing_ok=True)
        return names

    monkeypatch.setattr(image_folder, "names_in", late)
    frame, origin = read(data("photos"), tmp_path)
    assert frame.height == 5
    assert origin["found"]["left_out"] == "1 file: ants/001.png (is gone since the folder was listed)"


def test_a_file_that_goes_while_a_folder_is_scored(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder(tmp_path, 3)
    names = [*image_folder.names_in(tmp_path), "ants/gone.png"]
    monkeypatch.setattr(image_folder, "names_in", lambda where: names)
    bad: list[BadRow] = []
    frames = list(batches(data(), tmp_path, 4, bad.append))
    assert [frame.height for frame in frames] == [3, 3]
    assert (bad[0].text, bad[0].problem) == ("ants/gone.png", "is gone since the folder was listed")
    with pytest.raises(DataError, match="gone"):
        list(batches(data(), tmp_path, 4))


def test_names_that_are_no_text_and_links_that_lead_nowhere(tmp_path: Path) -> None:
    """Class folders too: such names come from systems with other encodings."""
    strange = tmp_path / os.fsdecode(b"gu\xeapes")
    for path in (tmp_path / "b\u00e9es" / "1.png", strange / os.fsdecode(b"caf\xe9.png")):
        path.parent.mkdir()
        path.write_bytes(picture(1))
    (tmp_path / "b\u00e9es" / "gone.png").symlink_to(tmp_path / "nowhere.png")
    frame, origin = read(data("."), tmp_path)
    assert frame["path"].to_list()[-1] == "gu?pes/caf?.png"
    assert frame["label"].to_list() == ["b\u00e9es", "gu?pes"]
    assert origin["found"]["left_out"] == "1 file: b\u00e9es/gone.png (a link that leads nowhere)"
    bad: list[BadRow] = []
    assert pl.concat(batches(data(), tmp_path, 10, bad.append)).height == 2
    assert len(bad) == 1
    with pytest.raises(DataError, match=r"b\u00e9es/gone.png cannot be read: a link that leads nowhere"):
        list(batches(data(), tmp_path, 10))


def test_a_link_that_leads_in_circles(tmp_path: Path) -> None:
    folder(tmp_path / "photos", 2)
    (tmp_path / "photos/ants/again").symlink_to(tmp_path / "photos")
    assert read(data("photos"), tmp_path)[0].height == 4


def test_a_folder_with_a_table_is_a_table(tmp_path: Path) -> None:
    folder(tmp_path / "x", 1)
    (tmp_path / "x/labels.csv").write_text("file,label\nants/000.png,ant\nbees/000.png,bee\n")
    frame, _ = read(data("x"), tmp_path)
    assert frame.schema == {"file": pl.Binary, "label": pl.String}


def test_a_folder_without_anything_to_read(tmp_path: Path) -> None:
    (tmp_path / "empty/ants").mkdir(parents=True)
    with pytest.raises(DataError, match="a folder without files that can be read"):
        read(data("empty"), tmp_path)


# --- archives -------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["set.zip", "set.tar", "set.tar.gz", "set.tgz"])
def test_archives_hold_what_their_folder_does(tmp_path: Path, name: str) -> None:
    make = zipped if name.endswith("zip") else tarred
    make(tmp_path / name, published())
    frame, origin = read(data(name), tmp_path)
    assert (frame.height, origin["test"]) == (5, f"{name}#val")
    assert origin["files"][0]["bytes"] == (tmp_path / name).stat().st_size
    held, again = read(data(), tmp_path, origin["test"])
    assert held.select("path", "label").rows() == [("val/ants/0.png", "ants"), ("val/fly/0.png", "fly")]
    assert "test" not in again
    unpacked(tmp_path / "open", published())
    assert read(data("open"), tmp_path)[0].equals(frame)
    scored = pl.concat(batches(data(), tmp_path / name, 3))
    assert scored.height == 7
    assert set(scored["image"]) == {*frame["image"], *held["image"]}
    assert pl.concat(batches(data(), tmp_path / f"{name}#val", 3)).height == 2


def test_names_that_lead_out_of_an_archive(tmp_path: Path) -> None:
    tricks = ["/abs/a.png", "../out.png", "a/../../out.png", "C:/win.png", "back\\slash.png"]
    good = {"ants/1.png": picture(1), "bees/1.png": picture(2)}
    for path in (zipped(tmp_path / "t.zip", {**good, **dict.fromkeys(tricks, picture(3))}),
                 tarred(tmp_path / "t.tar", {**good, **dict.fromkeys(tricks, picture(3))})):  # fmt: skip
        frame, origin = read(data(path.name), tmp_path)
        assert frame["path"].to_list() == ["ants/1.png", "bees/1.png"]
        assert origin["found"]["left_out"].startswith("5 files: ")
        assert "../out.png (its name leads out of the archive)" in origin["found"]["left_out"]
        bad: list[BadRow] = []
        assert pl.concat(batches(data(), path, 10, bad.append)).height == 2
        assert len(bad) == 5
    assert sorted(path.name for path in tmp_path.iterdir()) == ["t.tar", "t.zip"]  # nothing was unpacked anywhere


def test_links_and_devices_in_archives(tmp_path: Path) -> None:
    secret = tmp_path / "secret.png"
    secret.write_bytes(picture(9))
    with tarfile.open(tmp_path / "t.tar", "w") as file:
        for name, kind in (("ants/link.png", tarfile.SYMTYPE), ("ants/hard.png", tarfile.LNKTYPE),
                           ("ants/dev.png", tarfile.CHRTYPE), ("ants/pipe.png", tarfile.FIFOTYPE)):  # fmt: skip
            info = tarfile.TarInfo(name)
            info.type, info.linkname = kind, str(secret)
            file.addfile(info)
        info = tarfile.TarInfo("ants/real.png")
        info.size = len(picture(1))
        file.addfile(info, io.BytesIO(picture(1)))
    with zipfile.ZipFile(tmp_path / "z.zip", "w") as packed:
        link = zipfile.ZipInfo("ants/link.png")
        link.external_attr = 0o120777 << 16
        packed.writestr(link, str(secret))
        packed.writestr("ants/real.png", picture(1))
    for name, count in (("t.tar", 4), ("z.zip", 1)):
        frame, origin = read(data(name), tmp_path)
        assert frame["path"].to_list() == ["ants/real.png"]
        assert origin["found"]["left_out"].startswith(f"{count} file{'s' * (count > 1)}: ants/")


def test_bombs_are_refused_before_they_are_unpacked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    content = {f"a/{n}.bmp": bytes(1_000_000) for n in range(20)}
    path = zipped(tmp_path / "bomb.zip", content)
    assert path.stat().st_size < 100_000
    monkeypatch.setattr(archive, "FREE", 10_000_000)
    monkeypatch.setattr(zipfile.ZipFile, "open", lambda *args: pytest.fail("was unpacked"))
    with pytest.raises(DataError, match=r"would unpack to 20,000,000: more than 200 times as much"):
        read(data("bomb.zip"), tmp_path)
    with pytest.raises(DataError, match=r"would unpack to 20,000,000"):
        list(batches(data(), path, 5))


def test_no_member_is_read_further_than_a_picture_may_be_long(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pictures, "HEAVIEST", 1000)
    zipped(tmp_path / "t.zip", {"a/1.bmp": bytes(50_000), "b/2.png": picture(1, width=9, height=9)})
    frame, _ = read(data("t.zip"), tmp_path)
    assert frame["image"].bin.size().to_list() == [1001, len(picture(1, width=9, height=9))]


@pytest.mark.parametrize("name", ["t.zip", "t.tar"])
def test_a_name_that_stands_in_an_archive_twice_counts_once(tmp_path: Path, name: str) -> None:
    members = [("ants/1.png", picture(1)), ("bees/2.png", picture(2)), ("ants/1.png", picture(3))]
    if name.endswith("zip"):
        zipped(tmp_path / name, dict(members[:2]))
        with zipfile.ZipFile(tmp_path / name, "a") as file, pytest.warns(UserWarning, match="Duplicate name"):
            file.writestr(*members[2])
    else:
        with tarfile.open(tmp_path / name, "w") as packed:
            for member, content in members:
                info = tarfile.TarInfo(member)
                info.size = len(content)
                packed.addfile(info, io.BytesIO(content))
    frame, origin = read(data(name), tmp_path)
    assert frame["image"].to_list() == [picture(1), picture(2)]
    assert origin["found"]["left_out"] == "1 file: ants/1.png (its name stands in the archive twice)"
    bad: list[BadRow] = []
    assert [part.height for part in batches(data(), tmp_path / name, 1, bad.append)] == [1, 1]
    assert [row.text for row in bad] == ["ants/1.png"]


def test_a_picture_that_is_damaged_in_an_archive_is_left_out_alone(tmp_path: Path) -> None:
    path = zipped(tmp_path / "t.zip", {f"ants/{n}.png": picture(n) for n in range(3)})
    content = bytearray(path.read_bytes())
    place = content.index(b"ants/1.png") + 30
    content[place : place + 20] = bytes(20)
    path.write_bytes(content)
    frame, origin = read(data("t.zip"), tmp_path)
    assert frame["path"].to_list() == ["ants/0.png", "ants/2.png"]
    assert origin["found"]["left_out"].startswith("1 file: ants/1.png (damaged in the archive: ")


def test_an_archive_of_archives_says_so(tmp_path: Path) -> None:
    inner = zipped(tmp_path / "inner.zip", published()).read_bytes()
    zipped(tmp_path / "outer.zip", {"a/inner.zip": inner, "readme.md": b""})
    with pytest.raises(DataError, match=r"holds archives and no pictures \(a/inner.zip\): unpack it"):
        read(data("outer.zip"), tmp_path)
    with pytest.raises(DataError, match="holds archives and no pictures"):
        list(batches(data(), tmp_path / "outer.zip", 10))


def test_pictures_of_formats_that_are_not_read_are_named(tmp_path: Path) -> None:
    names = ["ants/1.png", "ants/notes.txt", *(f"ants/{n}.txt" for n in range(9)), "ants/z.HEIC"]
    unpacked(tmp_path / "photos", dict.fromkeys(names, picture(1)))
    _, origin = read(data("photos"), tmp_path)
    told = origin["found"]["other_files"]
    assert told.startswith("11 files not read as pictures, by their names: ants/z.HEIC, ants/0.txt, ")
    with pytest.raises(DataError, match="Convert it to JPEG or PNG"):
        read(data("photos/ants/z.HEIC"), tmp_path)


def test_whatever_bytes_of_an_archive_are_damaged_it_is_an_error_in_words(tmp_path: Path) -> None:
    random = np.random.default_rng(0)
    for name in ("w.zip", "w.tar", "w.tar.gz"):
        make = zipped if name.endswith("zip") else tarred
        whole = make(tmp_path / name, published()).read_bytes()
        for _ in range(60):
            content = bytearray(whole)
            place, length = int(random.integers(len(content))), int(random.integers(1, 40))
            content[place : place + length] = random.bytes(len(content[place : place + length]))
            (tmp_path / name).write_bytes(content)
            with contextlib.suppress(DataError):
                read(data(name), tmp_path)


def test_archives_that_are_damaged_empty_or_locked(tmp_path: Path) -> None:
    whole = zipped(tmp_path / "w.zip", published()).read_bytes()
    (tmp_path / "cut.zip").write_bytes(whole[: len(whole) // 2])
    (tmp_path / "cut.tar.gz").write_bytes(tarred(tmp_path / "w.tar.gz", published()).read_bytes()[:900])
    (tmp_path / "text.zip").write_text("no archive")
    zipped(tmp_path / "none.zip", {"readme.md": b"nothing here"})
    flagged = bytearray(whole)
    place = flagged.index(b"PK\x01\x02")
    flagged[place + 8] |= 1  # the bit of an encrypted member
    (tmp_path / "locked.zip").write_bytes(flagged)
    for name, problem in (
        ("cut.zip", "no whole zip or tar archive"),
        ("cut.tar.gz", "no whole zip or tar archive"),
        ("text.zip", "no whole zip or tar archive"),
        ("none.zip", "has no pictures that can be read"),
        ("locked.zip", "is encrypted"),
        ("w.zip#nothing", "There are no pictures in 'nothing'"),
    ):
        with pytest.raises(DataError, match=problem):
            read(data(name), tmp_path)


# --- IDX ------------------------------------------------------------------------------------------


def idx(array: np.ndarray) -> bytes:
    return bytes((0, 0, 8, array.ndim)) + np.array(array.shape, ">i4").tobytes() + array.astype(np.uint8).tobytes()


@pytest.fixture
def digits(tmp_path: Path) -> Path:
    random = np.random.default_rng(0)
    for part, count in (("train", 30), ("t10k", 12)):
        images = random.integers(0, 256, (count, 6, 5))
        (tmp_path / f"{part}-images-idx3-ubyte.gz").write_bytes(gzip.compress(idx(images)))
        (tmp_path / f"{part}-labels-idx1-ubyte").write_bytes(idx(np.arange(count) % 3))
    return tmp_path


def test_idx_files_with_their_labels(digits: Path) -> None:
    frame, origin = read(data(str(digits)), digits)
    assert origin["test"].endswith("t10k-images-idx3-ubyte.gz")
    assert (frame.height, frame["label"].to_list()[:4]) == (30, ["0", "1", "2", "0"])
    held, _ = read(data(target="digit"), digits, origin["test"])
    assert held.columns == ["image", "digit"]
    stored = np.frombuffer(gzip.decompress((digits / "t10k-images-idx3-ubyte.gz").read_bytes())[16:], np.uint8)
    assert np.array_equal(pictures.pixels(held["image"][3], 5, 6, "L").ravel(), stored.reshape(12, -1)[3])


def test_idx_files_in_colour_without_labels_and_under_another_name(tmp_path: Path) -> None:
    array = np.random.default_rng(0).integers(0, 256, (11, 4, 5, 3))
    (tmp_path / "images.idx4-ubyte").write_bytes(idx(array))
    frame, _ = read(data("images.idx4-ubyte"), tmp_path)
    assert frame.columns == ["image"]
    assert np.array_equal(pictures.pixels(frame["image"][7], 5, 4), array[7])


def test_idx_files_with_something_wrong(digits: Path) -> None:
    whole = gzip.decompress((digits / "train-images-idx3-ubyte.gz").read_bytes())
    for name, content, problem in (
        ("a-images-idx3-ubyte", whole[:-7], "is cut off: 893 of 900 bytes"),
        ("b-images-idx3-ubyte", whole[:9], "it is damaged"),
        ("c-images-idx3-ubyte", b"hello there", "is no IDX file of unsigned bytes: it begins with 68 65 6c 6c"),
        ("d-images-idx3-ubyte.gz", gzip.compress(whole)[:300], "is no whole gzip file"),
        ("e-images-idx3-ubyte", idx(np.zeros((4, 4))), r"numbers of the shape \(4, 4\)"),
        ("f-images-idx3-ubyte", b"\0\0\x08\x03" + b"\x7f\xff\xff\xff" * 3, "it is damaged"),
        ("train-labels-idx1-ubyte", idx(np.zeros(3)), "holds labels or other numbers"),
    ):
        (digits / name).write_bytes(content)
        with pytest.raises(DataError, match=problem):
            read(data(name), digits)
    with pytest.raises(DataError, match=r"has \(3,\) labels for the 30 pictures"):
        read(data("train-images-idx3-ubyte.gz"), digits)


# --- tables ---------------------------------------------------------------------------------------


def test_bytes_in_parquet_and_the_struct_of_hugging_face(tmp_path: Path) -> None:
    files = [picture(n) for n in range(3)]
    pl.DataFrame({"photo": files, "n": [1, 2, 3]}).write_parquet(tmp_path / "bytes.parquet")
    structs = [{"bytes": file, "path": f"{n}.png"} for n, file in enumerate(files)]
    pl.DataFrame({"photo": [*structs[:2], None], "n": [1, 2, 3]}).write_parquet(tmp_path / "structs.parquet")
    assert read(data("bytes.parquet"), tmp_path)[0].schema == {"photo": pl.Binary, "n": pl.Int64}
    assert read(data("structs.parquet"), tmp_path)[0]["photo"].to_list() == [*files[:2], None]
    assert pl.concat(batches(data(), tmp_path / "structs.parquet", 2))["photo"].to_list() == [*files[:2], None]


@pytest.fixture
def listed(tmp_path: Path) -> Path:
    folder(tmp_path / "table/img", 6)
    (tmp_path / "secret.png").write_bytes(picture(77))
    paths = [f"img/{label}/{n:03}.png" for label in ("ants", "bees") for n in range(6)]
    lines = [f"{path},{path.split('/')[1]},{n}" for n, path in enumerate(paths)]
    (tmp_path / "table/rows.csv").write_text("photo,species,weight\n" + "\n".join(lines) + "\n")
    return tmp_path


def test_paths_beside_their_table_become_pictures(listed: Path) -> None:
    frame, origin = read(data("table/rows.csv"), listed)
    assert frame.schema == {"photo": pl.Binary, "species": pl.String, "weight": pl.String}
    assert frame["photo"][7] == (listed / "table/img/bees/001.png").read_bytes()
    assert "left_out" not in origin["found"]
    assert schema.infer(frame, data("table/rows.csv", target="species"))["photo"].role == "image"
    assert pl.concat(batches(data(), listed / "table/rows.csv", 5)).equals(frame)


def test_paths_that_are_not_there_stay_texts_unless_declared(listed: Path) -> None:
    (listed / "other.csv").write_bytes((listed / "table/rows.csv").read_bytes())  # its paths lead nowhere from here
    assert read(data("other.csv"), listed)[0].schema["photo"] == pl.String
    assert read(data("table/rows.csv", columns={"photo": "id"}), listed)[0].schema["photo"] == pl.String
    frame, _ = read(data("other.csv", columns={"photo": "image:table"}), listed)
    assert frame["photo"].null_count() == 0
    told = schema.infer(frame, data("other.csv", target="species", columns={"photo": "image:table"}))
    assert (told["photo"].role, told["photo"].dtype) == ("image", "bytes")


@pytest.mark.parametrize("trick", ["../secret.png", "img/../../secret.png", "{root}/secret.png", "link.png", "img"])
def test_a_path_never_leads_out_of_the_tables_folder(listed: Path, trick: str) -> None:
    (listed / "table/link.png").symlink_to(listed / "secret.png")
    text = (listed / "table/rows.csv").read_text()
    (listed / "table/rows.csv").write_text(text + f"{trick.format(root=listed)},ants,9\nimg/gone.png,ants,9\n")
    frame, origin = read(data("table/rows.csv", columns={"photo": "image"}), listed)
    assert frame["photo"].to_list()[-2:] == [None, None]
    assert frame["photo"].null_count() == 2
    assert origin["found"]["left_out"].startswith("2 files: ")
    assert "img/gone.png (there is no such file inside" in origin["found"]["left_out"]


def test_a_declared_column_of_which_nothing_is_there_stops_and_says_where_was_looked(listed: Path) -> None:
    (listed / "some").mkdir()
    for declared, where in (
        ("image:nowhere", "nowhere (there is no such folder)"), ("image:some", "some"), ("image", str(listed)),
    ):  # fmt: skip
        (listed / "other.csv").write_bytes((listed / "table/rows.csv").read_bytes())
        with pytest.raises(ConfigError, match=r"data\.columns\.photo: none of its 12 files can be opened") as told:
            read(data("other.csv", columns={"photo": declared}), listed)
        assert f"{where}, such as 'img/ants/000.png' (there is no such file inside" in str(told.value)
        assert f"photo: 'image:FOLDER', from {listed}" in str(told.value)


def test_a_folder_that_is_declared_is_the_projects_wherever_rows_are_scored(
    listed: Path, monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory
) -> None:
    declared = data("table/rows.csv", columns={"photo": "image:table", "species": "category"})
    frame, _ = read(declared, listed)
    monkeypatch.chdir(tmp_path_factory.mktemp("elsewhere"))
    asked = from_project(declared, listed)
    assert pl.concat(batches(asked, listed / "table/rows.csv", 5)).equals(frame)
    assert frame["photo"].null_count() == 0
    assert asked.columns["species"] == "category"


def test_a_column_of_which_little_is_there_is_told_with_what_is(listed: Path) -> None:
    for path in sorted((listed / "table/img").glob("*/*"))[1:]:
        path.unlink()
    frame, origin = read(data("table/rows.csv", columns={"photo": "image"}), listed)
    assert frame["photo"].null_count() == 11
    assert origin["found"]["left_out"].startswith(
        f"only 1 of the 12 files of 'photo' can be opened in {listed / 'table'}, img/ants/000.png: "
        "is it the right folder? 11 files: "
    )


def test_names_of_pictures_that_are_not_declared_are_hinted_at() -> None:
    names = [f"{n:04}.{'jpg' if n % 3 else 'PNG'}" for n in range(30)]
    asked = data(target="label", columns={"known": "id"})
    columns = {"photo": names, "known": names, "path": names, "label": names, "n": names[:5] + ["no"] * 25,
               "link": [f"https://a.b/{name}" for name in names]}  # fmt: skip
    (told,) = image_paths.suspects(pl.DataFrame(columns), asked)
    assert (told.name, told.outcome, told.severity, told.value) == ("data.pictures.names", "failed", "warning", 1)
    assert told.detail.startswith("'photo' (0000.PNG) looks like names of pictures")
    assert "data.columns: {photo: 'image:FOLDER'}" in told.detail
    assert not list(image_paths.suspects(pl.DataFrame({"n": [1], "text": ["a.b"]}), asked))


def test_digits_as_pictures_and_as_numbers(tmp_path: Path) -> None:
    numbers, _ = read(data("sklearn:digits"), tmp_path)
    images, _ = read(data("sklearn:digits#images"), tmp_path)
    assert (numbers.width, images.columns) == (65, ["image", "target"])
    assert images["target"].to_list() == numbers["target"].to_list()
    first = pictures.pixels(images["image"][0], 8, 8, "L").ravel().astype(float)
    assert np.abs(first - numbers.drop("target").row(0) * np.array(255 / 16)).max() <= 0.5
    with pytest.raises(DataError, match="only digits has another form: sklearn:digits#images"):
        read(data("sklearn:iris#images"), tmp_path)


# --- real data ------------------------------------------------------------------------------------


@pytest.mark.slow
def test_ants_and_bees(shared_data: Path, tmp_path: Path) -> None:
    path = shared_data / "ants_bees/hymenoptera_data.zip"
    frame, origin = read(data(str(path)), tmp_path)
    held, _ = read(data(), tmp_path, origin["test"])
    assert frame["label"].value_counts().sort("label").rows() == [("ants", 123), ("bees", 121)]
    assert held["label"].value_counts().sort("label").rows() == [("ants", 70), ("bees", 83)]
    with zipfile.ZipFile(path) as archive:
        archive.extractall(tmp_path / "open")
    unpacked, told = read(data("open"), tmp_path)
    assert unpacked.equals(frame)
    assert told["test"] == "open/hymenoptera_data/val"


@pytest.mark.slow
def test_fashion_mnist(shared_data: Path, tmp_path: Path) -> None:
    frame, origin = read(data(str(shared_data / "fashion_mnist")), tmp_path)
    held, _ = read(data(), tmp_path, origin["test"])
    assert (frame.height, held.height, frame["label"].n_unique()) == (60_000, 10_000, 10)
    mean = np.mean([pictures.pixels(image, 28, 28, "L").mean() for image in frame["image"][:6000].to_list()])
    assert abs(mean / 255 - 0.286) < 0.01  # as published, over all of them
