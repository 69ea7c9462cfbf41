"""Pictures: every kind of file becomes upright pixels, and every kind of damage a reason."""

from __future__ import annotations

import base64
import io
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from keepfit.data import pictures
from keepfit.data.pictures import Facts, begins, encoded, fingerprint, given, look, pixels, raws, thumbnail
from keepfit.errors import MissingExtraError
from tests.data.drawings import file, header_only, noise, picture, turned

RED_LEFT = Image.fromarray(np.array([[[255, 0, 0], [0, 0, 255]]], np.uint8)).resize((40, 20), Image.Resampling.NEAREST)


def near(found: np.ndarray, wanted: np.ndarray, most: float = 12.0) -> bool:
    return bool(np.abs(found.astype(float) - wanted.astype(float)).mean() < most)


@pytest.mark.parametrize("form", ["JPEG", "PNG", "BMP", "GIF", "TIFF", "WEBP", "PPM"])
def test_every_format_gives_the_pixels(form: str) -> None:
    image = noise(64, 48)
    data = file(image, form)
    facts = look(data)
    assert (facts.format, facts.width, facts.height, facts.frames) == (form, 64, 48, 1)
    assert begins(data)
    found = pixels(data, 64, 48)
    assert found.shape == (48, 64, 3)
    assert found.dtype == np.uint8
    assert near(found, np.asarray(image))


def test_a_look_needs_the_header_only_and_the_size_is_that_of_the_upright_picture() -> None:
    assert look(turned(noise(60, 20), 6)) == Facts("JPEG", "RGB", 20, 60, 1, 6)
    assert look(encoded(np.zeros((4, 5), np.uint8))) == Facts("PPM", "L", 5, 4)
    assert look(encoded(np.zeros((4, 5, 3), np.uint8))) == Facts("PPM", "RGB", 5, 4)


@pytest.mark.parametrize("form", ["JPEG", "PNG", "TIFF", "WEBP"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_exif_turns_the_picture_upright(form: str, orientation: int) -> None:
    upright = noise(48, 32, seed=5)
    undo = {
        2: Image.Transpose.FLIP_LEFT_RIGHT, 3: Image.Transpose.ROTATE_180, 4: Image.Transpose.FLIP_TOP_BOTTOM,
        5: Image.Transpose.TRANSPOSE, 6: Image.Transpose.ROTATE_90, 7: Image.Transpose.TRANSVERSE,
        8: Image.Transpose.ROTATE_270,
    }  # fmt: skip
    stored = upright.transpose(undo[orientation]) if orientation in undo else upright
    found = pixels(turned(stored, orientation, form), 48, 32)
    assert near(found, np.asarray(upright), 6.0)


@pytest.mark.parametrize(
    ("mode", "form"),
    [("CMYK", "JPEG"), ("CMYK", "TIFF"), ("L", "JPEG"), ("1", "PNG"), ("P", "PNG"), ("LA", "PNG"), ("YCbCr", "TIFF")],
)
def test_odd_modes_become_rgb_and_grey(mode: str, form: str) -> None:
    image = noise(40, 30).convert(mode)
    wanted = image.convert("RGB") if mode != "LA" else image.convert("L").convert("RGB")
    assert near(pixels(file(image, form), 40, 30, "RGB"), np.asarray(wanted))
    assert pixels(file(image, form), 40, 30, "L").shape == (30, 40, 1)


@pytest.mark.parametrize("form", ["PNG", "TIFF"])
def test_sixteen_bits_keep_their_range(form: str) -> None:
    ramp = np.linspace(0, 65535, 64).astype(np.uint16).reshape(8, 8)
    found = pixels(file(Image.fromarray(ramp), form), 8, 8, "L")[:, :, 0]
    assert np.array_equal(found, np.rint(ramp / 257).astype(np.uint8))
    assert pixels(b"P5 2 2 65535\n" + np.array([0, 257, 514, 65535], ">u2").tobytes(), 2, 2, "L").ravel().tolist() == [
        0, 1, 2, 255,
    ]  # fmt: skip


def test_numbers_of_another_range_are_stretched() -> None:
    wide = file(Image.fromarray(np.array([[0.0, 0.5], [0.75, 1.0]], np.float32)), "TIFF")
    assert pixels(wide, 2, 2, "L").ravel().tolist() == [0, 128, 191, 255]
    flat = file(Image.fromarray(np.full((2, 2), np.nan, np.float32)), "TIFF")
    assert pixels(flat, 2, 2, "L").ravel().tolist() == [0, 0, 0, 0]


@pytest.mark.parametrize("mode", ["RGBA", "LA", "P"])
def test_what_is_transparent_lies_on_white(mode: str) -> None:
    shape = np.zeros((10, 10, 4), np.uint8)
    shape[:5, :, 3] = 255  # black above, nothing below
    image = Image.fromarray(shape)
    data = file(image.quantize(), "PNG") if mode == "P" else file(image.convert(mode))
    found = pixels(data, 10, 10)
    assert found[:5].max() == 0
    assert found[5:].min() == 255


def test_the_first_frame_counts() -> None:
    frames = [Image.new("RGB", (20, 20), colour) for colour in ("red", "blue", "green")]
    data = file(frames[0], "GIF", save_all=True, append_images=frames[1:])
    assert look(data).frames == 2  # more than one
    assert pixels(data, 4, 4)[0, 0].tolist() == [255, 0, 0]


def test_squash_takes_everything_and_crop_the_middle() -> None:
    data = file(RED_LEFT)  # 40 x 20: the middle square is half red, half blue
    squashed, cropped = pixels(data, 20, 20), pixels(data, 20, 20, how="crop")
    assert squashed[:, :9].tolist() == cropped[:, :9].tolist() == [[[255, 0, 0]] * 9] * 20
    three = Image.fromarray(np.array([[[255, 0, 0], [0, 255, 0], [0, 0, 255]]], np.uint8)).resize((60, 20), 0)
    assert pixels(file(three), 10, 10, how="crop")[:, 1:-1].reshape(-1, 3).tolist() == [[0, 255, 0]] * 80


def test_shrinking_takes_all_pixels_into_account() -> None:
    board = np.indices((64, 64)).sum(axis=0) % 2 * 255  # a fine chess board is grey from afar
    found = pixels(file(Image.fromarray(board.astype(np.uint8))), 8, 8, "L")
    assert np.abs(found.astype(int) - 127).max() <= 2


def test_a_large_jpeg_is_decoded_smaller_and_looks_the_same() -> None:
    image = noise(1600, 1200)
    data = file(image, "JPEG", quality=92)
    plain = np.asarray(Image.open(io.BytesIO(data)).resize((100, 75), Image.Resampling.BILINEAR))
    assert near(pixels(data, 100, 75), plain, 2.0)


def test_stored_pixels_come_back_as_they_are() -> None:
    arrays = np.random.default_rng(0).integers(0, 256, (5, 7, 6), dtype=np.uint8)
    assert raws(arrays) == [encoded(array) for array in arrays]
    assert np.array_equal(pixels(raws(arrays)[2], 6, 7, "L")[:, :, 0], arrays[2])
    slow = io.BytesIO(encoded(arrays[2]))
    assert np.array_equal(np.asarray(Image.open(slow)), arrays[2])
    colours = np.random.default_rng(1).integers(0, 256, (3, 4, 5, 3), dtype=np.uint8)
    assert np.array_equal(pixels(raws(colours)[1], 5, 4), colours[1])


CUT = picture(form="JPEG", width=300, height=200)
BROKEN = {
    "nothing": (b"", "0 bytes"),
    "text": (b"GIF, not quite\n", "no picture that can be read"),
    "a page": (b"<html>404</html>", "no picture that can be read"),
    "cut JPEG": (CUT[: len(CUT) // 2], "broken or cut off"),
    "cut PNG": (picture()[:-60], "broken or cut off"),
    "cut GIF": (file(noise(200, 200), "GIF")[:3000], "broken or cut off"),
    "cut BMP": (file(noise(), "BMP")[:500], "broken or cut off"),
    "cut TIFF": (file(noise(90, 90), "TIFF")[:900], "(broken or cut off|no picture)"),
    "cut PGM": (encoded(np.zeros((9, 9), np.uint8))[:-1], "broken or cut off: 9 x 9 pixels"),
    "too long PGM": (encoded(np.zeros((9, 9), np.uint8)) + b"x", "broken or cut off: 9 x 9 pixels"),
    "one pixel": (file(Image.new("RGB", (1, 1))), "1 x 1 pixels: fewer than 2 a side"),
    "a line": (file(Image.new("RGB", (50, 1))), "50 x 1 pixels: fewer than 2 a side"),
    "one raw pixel": (encoded(np.zeros((1, 1), np.uint8)), "1 x 1 pixels: fewer than 2 a side"),
    "huge": (header_only(20_000, 20_000), "million"),
    "large": (header_only(9_000, 9_000), r"9,000 x 9,000 pixels: more than the 50 million that are opened"),
    "between Pillow's two limits": (header_only(10_000, 10_000), "million"),
    "huge raw": (b"P5 99999999 99999999 255\n" + bytes(9), "million that are opened"),
    "a program": (b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n", "no picture that can be read"),
}


@pytest.mark.parametrize("name", BROKEN)
def test_whatever_is_wrong_is_a_reason(name: str) -> None:
    data, reason = BROKEN[name]
    for ask in (look, fingerprint, lambda data: pixels(data, 8, 8), lambda data: thumbnail(data)):
        with pytest.raises(ValueError, match=reason):
            ask(data)


@pytest.mark.parametrize("form", ["JPEG", "PNG", "GIF", "BMP", "TIFF", "WEBP", "PPM"])
def test_damaged_bytes_raise_nothing_but_value_errors(form: str) -> None:
    whole, random, refused = picture(3, form), np.random.default_rng(0), 0
    for n in range(80):
        data = bytearray(whole[: random.integers(1, len(whole) + 1)] if n % 2 else whole)
        for place in random.integers(0, len(data), 1 + n % 2 * 4):
            data[place] = random.integers(0, 256)
        for ask in (look, fingerprint):
            try:
                ask(bytes(data))
            except ValueError:
                refused += 1
    assert 20 < refused < 160


def test_bytes_behind_the_end_do_no_harm() -> None:
    for form in ("JPEG", "PNG"):
        whole = picture(1, form)
        for tail in (b"\0" * 20, b"camera " * 2000):
            assert look(whole + tail) == look(whole)
            assert np.array_equal(pixels(whole + tail, 9, 9), pixels(whole, 9, 9))


def test_a_file_of_too_many_bytes_is_not_opened(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pictures, "HEAVIEST", 100)
    with pytest.raises(ValueError, match=r"bytes: more than the 0 million that are opened"):
        look(picture())


def test_values_of_a_request() -> None:
    data = picture(2, "JPEG")
    text = base64.b64encode(data).decode()
    lines = "\n".join(text[at : at + 76] for at in range(0, len(text), 76))
    urlsafe = base64.urlsafe_b64encode(data).decode().rstrip("=")
    for value in (data, bytearray(data), memoryview(data), text, lines, urlsafe, f"data:image/jpeg;base64,{text}"):
        assert given(value) == data
    assert given(None) is None
    assert given("") is None
    assert given(" \n") is None
    for value, reason in (
        (7, "no picture but int"),
        ("photos/a.jpg", "neither bytes nor base64"),
        ("aGVsbG8=", "no picture that can be read"),
        (b"", "0 bytes"),
        (text[: len(text) // 2], "broken or cut off"),
    ):
        with pytest.raises(ValueError, match=reason):
            given(value)


def test_the_fingerprint_survives_what_saving_does_and_tells_pictures_apart() -> None:
    image = noise(200, 150, seed=9)
    known = fingerprint(file(image))
    for other in (
        file(image, "JPEG", quality=60),
        file(image.resize((120, 90))),
        turned(image.rotate(90, expand=True), 6),
    ):
        assert (known ^ fingerprint(other)).bit_count() <= 4
    apart = [(known ^ fingerprint(picture(seed))).bit_count() for seed in range(20, 40)]
    assert min(apart) > 8


def test_a_thumbnail_is_small_and_keeps_the_shape() -> None:
    url = thumbnail(picture(width=300, height=100), 60)
    made = Image.open(io.BytesIO(base64.b64decode(url.removeprefix("data:image/jpeg;base64,"))))
    assert made.size == (60, 20)
    assert len(thumbnail(encoded(np.zeros((8, 8), np.uint8)), 60)) < 1500  # never larger than it was


def test_the_missing_package_names_its_extra() -> None:
    code = (
        "import sys; sys.modules['PIL'] = None\n"
        "from keepfit.data import pictures\n"
        "try: pictures.look(b'\\x89PNG')\n"
        "except Exception as error: print(type(error).__name__, error)"
    )
    told = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert told.startswith(MissingExtraError.__name__)
    assert "pip install 'keepfit[images]'" in told


@pytest.mark.slow
def test_real_photographs(shared_data: Path) -> None:
    import zipfile

    with zipfile.ZipFile(shared_data / "ants_bees/hymenoptera_data.zip") as archive:
        every = [archive.read(name) for name in archive.namelist() if name.endswith(".jpg")]
    assert len(every) == 397
    for data in every:
        facts = look(data)
        assert facts.format == "JPEG"
        assert min(facts.width, facts.height) > 100
    plain = np.asarray(Image.open(io.BytesIO(every[0])).convert("RGB").resize((64, 64), Image.Resampling.BILINEAR))
    assert near(pixels(every[0], 64, 64), plain, 4.0)


@pytest.mark.parametrize("how", ["squash", "crop"])
def test_a_part_is_the_middle_of_the_whole(how):
    rows, places = np.mgrid[:90, :120]
    data = pictures.encoded(np.stack([rows * 2, places * 2, rows + places], axis=2).astype(np.uint8))
    whole = pictures.pixels(data, 40, 30, "RGB", how).astype(int)
    part = pictures.pixels(data, 32, 20, "RGB", how, (32 / 40, 20 / 30)).astype(int)
    assert np.abs(part - whole[5:25, 4:36]).max() <= 2


# --- what it may cost -----------------------------------------------------------------------------


def test_frames_are_not_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    """To count the pages of a TIFF takes the square of their number: minutes for what a request may bring."""
    from PIL import TiffImagePlugin

    read: list[int] = []
    plain = TiffImagePlugin.TiffImageFile._seek
    monkeypatch.setattr(
        TiffImagePlugin.TiffImageFile, "_seek", lambda self, frame: read.append(frame) or plain(self, frame)
    )
    pages = [Image.new("L", (8, 8))] * 50
    assert look(file(pages[0], "TIFF", save_all=True, append_images=pages[1:])).frames == 2
    assert max(read) <= 1


@pytest.mark.parametrize("mode", ["I;16", "I", "F"])
def test_deep_grey_in_parts_is_as_it_was_in_one(mode: str, monkeypatch: pytest.MonkeyPatch) -> None:
    values = np.random.default_rng(0).integers(0, 65536, (40, 30))
    kind = {"I;16": np.uint16, "I": np.int32, "F": np.float32}[mode]
    data = file(Image.fromarray((values - 7000 if mode == "I" else values).astype(kind)), "TIFF")
    whole = pixels(data, 30, 40, "L")
    monkeypatch.setattr(pictures, "PART", 97)
    np.testing.assert_array_equal(pixels(data, 30, 40, "L"), whole)


@pytest.mark.parametrize("mode", ["RGBA", "LA", "P"])
@pytest.mark.parametrize("wanted", ["RGB", "L"])
def test_what_is_transparent_in_parts_is_as_it_was_in_one(
    mode: str, wanted: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    image = noise(30, 40).convert("RGBA")
    image.putalpha(Image.fromarray(np.random.default_rng(1).integers(0, 256, (40, 30), np.uint8)))
    data = file(image.quantize(), "PNG") if mode == "P" else file(image.convert(mode))
    whole = pixels(data, 30, 40, wanted)
    monkeypatch.setattr(pictures, "PART", 97)
    np.testing.assert_array_equal(pixels(data, 30, 40, wanted), whole)


def test_few_large_pictures_are_decoded_at_once_and_jpegs_that_shrink_as_they_are_read_are_not_large(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    taken: list[str] = []

    class Turn:
        def __enter__(self) -> None:
            taken.append("turn")

        def __exit__(self, *told: object) -> None: ...

    monkeypatch.setattr(pictures, "BIG", 200 * 200 - 1)
    monkeypatch.setattr(pictures, "_turns", Turn())
    image = Image.new("RGB", (400, 400))
    pixels(file(image, "JPEG"), 20, 20)
    assert taken == []
    pixels(file(image, "PNG"), 20, 20)
    assert taken == ["turn"]
