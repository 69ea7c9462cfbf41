"""Pictures as features: pixels, backbones, what is missing, what was made ahead."""

from __future__ import annotations

import os
import threading
import time

import numpy as np
import pytest

from keepfit import engine, features
from keepfit.data import pictures
from keepfit.features import graphs, image, picture_cache, picture_rows, storage
from keepfit.features.values import Columns, Pictures
from keepfit.types import Column, Schema
from tests.images import backbone, colours, jpeg

random = np.random.default_rng(0)
SCHEMA = Schema((Column("photo", "image", "bytes"),), "classification")


def fit(data: list[bytes | None], **options: object) -> tuple[dict, np.ndarray]:
    return features.fit_apply(Columns({"photo": Pictures(data)}, len(data)), SCHEMA, None, {"image": options})


def apply(state: dict, data: list[bytes | None]) -> np.ndarray:
    return features.apply(state, Columns({"photo": Pictures(data)}, len(data)))


def test_pixels_of_one_small_size_are_taken_as_they_are():
    grey = [random.integers(0, 256, (8, 6), dtype=np.uint8) for _ in range(5)]
    state, matrix = fit([pictures.encoded(one) for one in grey])
    assert np.allclose(matrix, [one.ravel() / 255 for one in grey], atol=1e-6)
    assert state["pictures"] == [[0, 8, 6, 1]]
    assert features.names(state)[:2] == ["photo: 0, 0", "photo: 0, 1"]


def test_pixels_of_pictures_of_several_sizes_become_small_squares():
    data = [*colours(3, 24), *colours(3, 90)]
    state, matrix = fit(data)
    assert matrix.shape == (6, 32 * 32 * 3)
    assert len(features.names(state)) == matrix.shape[1]
    assert np.array_equal(apply(state, data), matrix)
    chosen, smaller = fit(data, size=16, colours="L")
    assert smaller.shape == (6, 256)
    assert chosen["pictures"] == [[0, 16, 16, 1]]


def test_a_backbone_gives_its_features_at_one_length_and_the_mirrored_picture_counts_as_much():
    data = colours(5)
    _, plain = fit(data, backbone=backbone(), augment="none", normalise=False)
    seen = np.stack([pictures.pixels(one, 8, 8) for one in data]) / 255
    halves = np.stack([seen[:, :, :4].mean(axis=(1, 2)), seen[:, :, 4:].mean(axis=(1, 2))], axis=2).reshape(5, 6)
    assert np.allclose(plain, halves, atol=1e-5)
    _, mirrored = fit(data, backbone=backbone(), augment="mirror", normalise=False)
    assert np.allclose(mirrored, np.repeat(halves.reshape(5, 3, 2).mean(axis=2), 2, axis=1), atol=1e-5)
    _, scaled = fit(data, backbone=backbone())
    assert np.allclose(np.linalg.norm(scaled, axis=1), image.LENGTH, rtol=1e-5)


@pytest.mark.parametrize(
    ("layout", "batch", "number"), [("NHWC", 0, "float32"), ("NCHW", 1, "float32"), ("NCHW", 4, "float32")]
)
def test_layouts_and_fixed_batches_give_the_same_features(layout, batch, number):
    data = colours(9)
    _, usual = fit(data, backbone=backbone())
    _, other = fit(data, backbone=backbone(layout=layout, batch=batch, number=number))
    assert np.allclose(usual, other, atol=1e-5)


def test_a_graph_that_takes_bytes_is_given_bytes():
    data = colours(4)
    _, usual = fit(data, backbone=backbone(), normalise=False)
    _, other = fit(data, backbone=backbone(number="uint8"), normalise=False)
    assert np.allclose(usual * 255, other, rtol=1e-4)


@pytest.mark.parametrize("options", [{}, {"backbone": backbone()}, {"components": 2}])
def test_missing_and_broken_pictures_are_zeros_and_said(options):
    data = colours(20)
    whole = jpeg(data[1])
    broken = whole[: len(whole) * 2 // 3]  # its header says more than there is
    state, matrix = fit([None, broken, *data[2:]], **options)
    assert not matrix[:2, :-1].any()
    assert matrix[:, -1].tolist() == [1, 1, *[0] * 18]
    assert features.names(state)[-1] == "photo is missing"
    sound, known = fit(data, **options)
    assert known.shape[1] == matrix.shape[1] - 1
    assert not apply(sound, [None]).any()


def test_no_row_and_none_but_missing_pictures_keep_their_width():
    state, _ = fit(colours(3), backbone=backbone())
    assert apply(state, []).shape == (0, 6)
    assert fit([None, None], backbone=backbone())[1].tolist() == [[0] * 6 + [1]] * 2


def test_rows_alone_and_together_are_the_same(monkeypatch):
    monkeypatch.setattr(engine, "cores", lambda: 2)  # so that these are many
    data = [jpeg(one) for one in colours(37)]
    state, matrix = fit(data, backbone=backbone())
    assert np.array_equal(np.concatenate([apply(state, [one]) for one in data]), matrix)


@pytest.mark.parametrize("batch", [0, 1, 3])
def test_a_missing_picture_changes_no_other(batch):
    """Not even where the graph is shown several at once, in memory that held others before."""
    data = colours(20)
    holes = [None if place in (0, 4, 5, 19) else one for place, one in enumerate(data)]
    lens = {"backbone": backbone(batch=batch), "mirror": True}
    rows, whole = (picture_rows.joined(picture_rows.compiled(lens)(some)) for some in (holes, data))
    assert rows.there.tolist() == [one is not None for one in holes]
    assert np.array_equal(rows.values, np.where(rows.there[:, None], whole.values, 0))


def test_rows_keep_their_order_whichever_picture_takes_longest(monkeypatch):
    monkeypatch.setattr(engine, "cores", lambda: 3)
    data, pixels = colours(60), pictures.pixels

    def late(one, *size):
        if data.index(one) % 17 == 0:
            time.sleep(0.02)
        return pixels(one, *size)

    see = picture_rows.compiled({"backbone": backbone(), "mirror": False})
    plain = np.concatenate([picture_rows.joined(see([one])).values for one in data])
    monkeypatch.setattr(pictures, "pixels", late)
    assert np.array_equal(picture_rows.joined(see(data)).values, plain)


def test_no_more_pictures_are_seen_than_are_soon_taken(monkeypatch):
    """Rows that are maps of a network would fill the memory."""
    monkeypatch.setattr(engine, "cores", lambda: 2)
    seen, pixels = [], pictures.pixels
    monkeypatch.setattr(pictures, "pixels", lambda *asked: seen.append(1) or pixels(*asked))
    rows = picture_rows.compiled({"backbone": backbone(), "mirror": False})(colours(200))
    assert len(next(rows).there) == picture_rows.BATCH
    time.sleep(0.1)
    assert 0 < len(seen) <= picture_rows.BATCH * (2 * picture_rows.AHEAD + 1)
    assert sum(len(one.there) for one in rows) == 200 - picture_rows.BATCH
    assert len(seen) == 200


def test_two_pictures_are_seen_at_once_where_there_are_two_cores(monkeypatch):
    monkeypatch.setattr(engine, "cores", lambda: 2)
    both, pixels = threading.Barrier(2, timeout=20), pictures.pixels
    see = picture_rows.compiled({"backbone": backbone(), "mirror": False})
    monkeypatch.setattr(pictures, "pixels", lambda *asked: both.wait() * 0 or pixels(*asked))
    assert picture_rows.joined(see(colours(2))).there.all()


def test_components_are_those_of_the_training_pictures():
    data = colours(30)
    state, matrix = fit(data, components=3)
    assert matrix.shape == (30, 3)
    assert state["pictures"] == []
    assert features.names(state) == [f"photo: component {i}" for i in range(3)]
    plain = fit(data)[1]
    values = plain - plain.mean(axis=0)
    variance = np.linalg.svd(values, compute_uv=False)[:3] ** 2
    assert np.allclose(np.square(matrix).sum(axis=0), variance, rtol=1e-3)
    assert np.allclose(apply(state, data), matrix, atol=1e-4)


def test_two_columns_of_pictures_stand_side_by_side():
    schema = Schema((Column("front", "image"), Column("back", "image")), "regression")
    front, back = colours(4), [None, *colours(3)]
    columns = Columns({"front": Pictures(front), "back": Pictures(back)}, 4)
    state, matrix = features.fit_apply(columns, schema, None, {"image": {"backbone": backbone()}})
    assert matrix.shape == (4, 13)
    assert len(features.names(state)) == 13
    assert np.allclose(matrix[:, :6], fit(front, backbone=backbone())[1])
    assert np.array_equal(features.apply(state, columns), matrix)


def test_a_stored_state_sees_the_same(tmp_path):
    data = [*colours(6), None]
    state, matrix = fit(data, backbone=backbone())
    storage.save(state, tmp_path)
    assert np.array_equal(apply(storage.load(tmp_path), data), matrix)


def test_rows_made_ahead_are_taken_and_follow_their_pictures(monkeypatch):
    data = [*colours(6), None]
    options = {"backbone": backbone()}
    plain = fit(data, **options)[1]
    made = image.ahead({"photo": Pictures(data)}, options)["photo"]
    monkeypatch.setattr(picture_rows, "_shared", lambda *_: pytest.fail("seen again"))
    order = np.array([6, 2, 0])
    state, matrix = image.fit({"photo": made}, None, {**image.DEFAULTS, **options}, 0)
    assert np.array_equal(matrix, plain)
    assert np.array_equal(image.compiled(state)({"photo": made[order]}), plain[order])


def test_each_picture_is_seen_once_and_the_disk_keeps_it(tmp_path, monkeypatch):
    data = colours(5)
    shown: list[int] = []
    share = picture_rows._shared
    monkeypatch.setattr(picture_rows, "_shared", lambda see, data, n: shown.append(len(data)) or share(see, data, n))
    options = {"backbone": backbone()}
    first = image.ahead({"photo": Pictures([*data, data[0], None])}, options, tmp_path)["photo"]
    assert sum(shown) == 5
    again = image.ahead({"photo": Pictures([*data[2:], *colours(1)])}, options, tmp_path)["photo"]
    assert sum(shown) == 6
    (one,), (two,) = first.made.values(), again.made.values()
    assert np.array_equal(one[0][2:5], two[0][:3])
    assert np.array_equal(one[0][0], one[0][5])
    assert one[1].tolist() == [True] * 6 + [False]


def test_what_is_told_counts_pictures_and_seconds():
    told: list[str] = []
    image.ahead({"photo": Pictures(colours(40))}, {"backbone": backbone()}, None, lambda *said: told.append(said[2]))
    assert told[-1].startswith("40 of 40 pictures")
    assert "a second" in told[-1]


def test_another_backbone_view_or_size_has_another_name():
    lenses = [
        image._lens({**image.DEFAULTS, "backbone": backbone(), **more})
        for more in ({}, {"augment": "none"}, {"backbone": backbone(16)}, {"backbone": backbone() | {"how": "crop"}})
    ]
    assert len({picture_rows.name(lens) for lens in lenses}) == 4
    called = backbone() | {"name": "of another name"}
    assert picture_rows.name(lenses[0]) == picture_rows.name(image._lens({**image.DEFAULTS, "backbone": called}))


def test_a_damaged_part_of_the_cache_is_removed_and_made_again(tmp_path):
    keys = [bytes([k]) * 32 for k in range(3)]
    rows = random.normal(size=(3, 4)).astype(np.float32)
    picture_cache.keep(tmp_path, keys[:2], rows[:2])
    picture_cache.keep(tmp_path, keys[2:], rows[2:])
    found = picture_cache.known(tmp_path, [keys[2], keys[0], b"?" * 32])
    assert set(found) == {keys[0], keys[2]}
    assert np.array_equal(found[keys[2]], rows[2])
    (tmp_path / ".killed.npy.partial-1-1").write_bytes(b"half")
    for path in tmp_path.glob("[!.]*.npy"):
        path.write_bytes(path.read_bytes()[:-3])
    assert picture_cache.known(tmp_path, keys) == {}
    assert not list(tmp_path.glob("[!.]*.npy"))


def test_the_cache_forgets_the_lens_used_longest_ago(tmp_path):
    rows = np.zeros((10, 100), np.float32)
    keys = [bytes([k]) * 32 for k in range(10)]
    for name in ("old", "middle", "new"):
        picture_cache.keep(tmp_path / name, keys, rows)
    for age, name in ((300, "old"), (200, "middle"), (100, "new")):
        os.utime(tmp_path / name, (1e9 - age, 1e9 - age))
    picture_cache.trim(tmp_path, most=9_000)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["middle", "new"]
    picture_cache.trim(tmp_path, most=10)
    assert [path.name for path in tmp_path.iterdir()] == ["new"]


# --- what is watched --------------------------------------------------------------------------------


def test_signals_say_what_is_in_a_picture():
    red = np.zeros((20, 40, 3), np.uint8)
    red[:, :, 0] = 200
    noisy = np.asarray(random.integers(0, 256, (20, 40)), np.uint8)
    signals, _ = image.watch(Pictures([pictures.encoded(red), pictures.encoded(noisy), None, b"none"]))
    assert (signals["width"][0], signals["height"][0], signals["aspect"][0]) == (40, 20, 2)
    assert (signals["red"][0], signals["green"][0]) == (1, 0)
    assert signals["brightness"][0] == pytest.approx(200 * 0.299 / 255, abs=1e-3)
    assert signals["contrast"][0] == pytest.approx(0, abs=1e-6)
    assert signals["sharpness"][1] > 100 > 1e-3 > signals["sharpness"][0]
    assert signals["format"].levels == ["PPM"]
    assert signals["format"].codes.tolist() == [0, 0, -1, -1]
    assert all(np.isnan(values[2:]).all() for name, values in signals.items() if name != "format")


def test_a_blurred_picture_is_less_sharp_and_a_dark_one_less_bright():
    sharp = random.integers(0, 256, (64, 64), dtype=np.uint8)
    blurred = pictures.encoded(((sharp[:-1].astype(int) + sharp[1:]) // 2).astype(np.uint8))
    signals, _ = image.watch(Pictures([pictures.encoded(sharp), blurred, pictures.encoded(sharp // 4)]))
    assert signals["sharpness"][0] > 1.5 * signals["sharpness"][1]
    assert signals["brightness"][2] == pytest.approx(signals["brightness"][0] / 4, abs=0.01)


def test_training_pictures_are_as_far_as_new_ones_of_their_kind_and_strangers_farther():
    known, memory = image.watch(Pictures(colours(150)))
    new, kept = image.watch(Pictures(colours(150)), memory)
    strange = [pictures.encoded(np.tile(np.arange(0, 250, 10, dtype=np.uint8)[:, None], (1, 25)))]
    far, _ = image.watch(Pictures(strange), memory)
    assert np.median(known["distance"]) == pytest.approx(np.median(new["distance"]), rel=0.1)
    assert far["distance"][0] > max(known["distance"].max(), new["distance"].max())
    assert kept == memory


def test_a_single_training_picture_and_none_are_no_error():
    signals, memory = image.watch(Pictures(colours(1)))
    assert len(signals["distance"]) == 1
    assert np.isfinite(image.watch(Pictures(colours(2)), memory)[0]["distance"]).all()
    nothing, memory = image.watch(Pictures([None]))
    assert np.isnan(nothing["distance"]).all()
    assert np.isfinite(image.watch(Pictures(colours(1)), memory)[0]["distance"]).all()


def test_graphs_that_are_open_are_few():
    for side in (4, 6, 8, 10, 12, 14):
        fit(colours(1), backbone=backbone(side))
    assert len(graphs._opened) == graphs.OPEN


def test_a_graph_is_opened_once_for_a_number_of_threads(monkeypatch):
    monkeypatch.setattr(engine, "cores", lambda: 2)
    graph = backbone(18)["graph"]
    both, one = graphs.session(graph), graphs.session(graph, 1)
    assert [found.get_session_options().intra_op_num_threads for found in (both, one)] == [2, 1]
    assert (graphs.session(graph.copy()), graphs.session(graph, 2), graphs.session(graph, 1)) == (both, both, one)


@pytest.mark.parametrize(("shape", "axis"), [((2, 5, 3, 3), (2, 3)), ((2, 4, 5), (1,)), ((2, 5), ())])
def test_outputs_are_pooled_over_places_and_tokens(shape, axis):
    said = random.normal(size=shape).astype(np.float32)
    assert np.allclose(picture_rows._pooled(said, "NCHW"), said.mean(axis=axis), atol=1e-6)
    if len(shape) == 4:
        assert np.allclose(picture_rows._pooled(said.transpose(0, 2, 3, 1), "NHWC"), said.mean(axis=axis), atol=1e-6)
