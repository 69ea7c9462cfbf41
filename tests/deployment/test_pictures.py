"""Pictures, answered: requests of one batch, what is broken in them, the log, and folders that are scored."""

from __future__ import annotations

import asyncio
import base64
import json
import threading
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest

pytest.importorskip("PIL")

from keepfit.data import log_read, log_roll
from keepfit.data import pictures as files
from keepfit.data.log import open_log
from keepfit.deployment import batch, explain
from keepfit.deployment.http import Request, Response
from keepfit.deployment.metrics import Metrics
from keepfit.deployment.protocols import native
from keepfit.deployment.rollout import Plan, Rollout, Tools
from keepfit.deployment.runtime import Runtime
from keepfit.deployment.served import Job, Rules, Served, answer
from keepfit.errors import DataError
from keepfit.models.fitted import Output
from keepfit.pipeline import live
from tests import pictures

FILES, LABELS = pictures.drawn()
TEXTS = [base64.b64encode(data).decode() for data in FILES[:10]]


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Runtime:
    return pictures.loaded(tmp_path_factory.mktemp("pictures") / "b")


def served(model: Runtime, folder: Path | None = None, redact: tuple[str, ...] = ()) -> Served:
    writer = None if folder is None else open_log(folder, model.schema, "digits", "1", redact=list(redact))
    return Served("digits", "1", "champion", model, writer, Rules())


def job(body: bytes, **headers: str) -> Job:
    named = {name.replace("_", "-").encode(): value.encode() for name, value in headers.items()}
    return Job(Request("POST", b"/predict", named, body, True, "r"), native, "/predict", "local", lambda told: None)


def asked(*values: Any) -> bytes:
    return json.dumps([{"photo": value} for value in values]).encode()


def told(response: Response) -> Any:
    return json.loads(response.body)


def test_however_a_picture_is_sent_the_answer_is_the_same(model: Runtime) -> None:
    jobs = [
        job(asked(TEXTS[0])),
        job(FILES[0], content_type="image/x-portable-graymap"),
        job(asked(f"data:image/x-portable-graymap;base64,{TEXTS[0]}")),
        job(json.dumps({"b64": TEXTS[0]}).encode()),
    ]
    found = [told(response)["predictions"][0] for response in answer(served(model), jobs)]
    assert [row["probabilities"] for row in found] == [found[0]["probabilities"]] * 4
    assert found[0]["prediction"] == LABELS[0]


def test_what_is_broken_is_told_by_row_and_the_others_of_the_batch_are_answered(model: Runtime) -> None:
    broken = base64.b64encode(pictures.damaged()).decode()
    cut = base64.b64encode(pictures.png()[:-60]).decode()
    jobs = [
        job(asked(*TEXTS[:3])),
        job(asked(TEXTS[0], broken, "", cut, 7, "no picture")),
        job(b"", content_type="image/png"),
        job(asked(None, TEXTS[1])),
    ]
    good, bad, empty, missing = answer(served(model), jobs)
    assert [row["prediction"] for row in told(good)["predictions"]] == [*LABELS[:3]]
    assert bad.status == 422
    problems = {one["row"]: one["problem"] for one in told(bad)["error"]["details"]}
    assert problems.keys() == {1, 3, 4, 5}  # an empty text is a missing picture
    assert {one["column"] for one in told(bad)["error"]["details"]} == {"photo"}
    assert problems[1].startswith("broken or cut off")
    assert problems[3].startswith("broken or cut off")
    assert "int" in problems[4]
    assert (empty.status, told(empty)["error"]["message"]) == (400, "The body is empty. Send the file's bytes.")
    assert [row["prediction"] for row in told(missing)["predictions"]][1] == LABELS[1]


def test_pictures_of_too_many_pixels_together_are_refused_by_their_headers(
    model: Runtime, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each alone may be opened; what is refused is not decoded, and the others of the batch are answered."""
    mine = replace(served(model), rules=Rules(pixels=3 * 64))
    form = b"".join(
        b"--x\r\nContent-Disposition: form-data; name=photo; filename=a\r\n\r\n%s\r\n" % data for data in FILES[:4]
    )
    decoded: list[bytes] = []
    plain = files.pixels
    monkeypatch.setattr(files, "pixels", lambda data, *rest: decoded.append(data) or plain(data, *rest))
    jobs = [
        job(asked(*TEXTS[:3])),
        job(asked(*TEXTS[:4])),
        job(form + b"--x--", content_type="multipart/form-data; boundary=x"),
        job(asked(None, "no picture", *TEXTS[4:6])),
        job(asked(TEXTS[9])),
    ]
    good, many, parts, broken, alone = answer(mine, jobs)
    assert [response.status for response in (good, many, parts, broken, alone)] == [200, 413, 413, 422, 200]
    assert told(many)["error"]["code"] == "too_many_pixels"
    assert {*decoded} == {*FILES[:3], *FILES[4:6], FILES[9]}


def test_the_log_has_the_bytes_and_gives_them_to_a_retraining(model: Runtime, tmp_path: Path) -> None:
    log = tmp_path / "predictions"
    mine = served(model, log)
    colour = pictures.png()
    answer(mine, [job(asked(*TEXTS[:3])), job(FILES[3], content_type="image/pgm"), job(asked(None))])
    answer(mine, [job(colour, content_type="application/octet-stream")])
    answer(mine, [job(asked(f"data:image/png;base64,{base64.encodebytes(colour).decode()}"))])
    wanted = sorted([*FILES[:4], b"", colour, colour])
    for rolled in (False, True):  # from the segment, and then from Parquet
        if rolled:
            mine.writer.close()  # type: ignore[union-attr]
            assert log_roll.roll(log).rows == 7
        frame = log_read.read(log).collect()
        assert frame.schema["inputs"] == pl.Struct({"photo": pl.Binary})
        inputs = frame["inputs"].struct.field("photo")
        assert sorted(data or b"" for data in inputs.to_list()) == wanted
    typed = live.canonical(pl.DataFrame({"photo": inputs}), model.schema)
    assert typed.schema["photo"] == pl.Binary
    assert typed["photo"].to_list() == inputs.to_list()


def test_bytes_are_logged_beside_text_that_is_no_unicode(tmp_path: Path) -> None:
    mixed = pictures.loaded(tmp_path / "b", mixed=True)
    mine = served(mixed, tmp_path / "predictions")
    odd = Job(Request("POST", b"/p", {}, b"", True, "half \ud800"), native, "/p", "me", lambda told: None)
    odd.asked = native.Asked([{"photo": FILES[0], "age": 3}])
    (response,) = answer(mine, [odd])
    assert response.status == 200
    row = log_read.read(tmp_path / "predictions").collect().row(0, named=True)
    assert row["inputs"] == {"photo": FILES[0], "age": 3.0}


def test_a_redacted_picture_is_in_no_file(model: Runtime, tmp_path: Path) -> None:
    mine = served(model, tmp_path / "predictions", ("photo",))
    answer(mine, [job(asked(TEXTS[0]))])
    assert not any(TEXTS[0].encode() in path.read_bytes() for path in tmp_path.rglob("*.ndjson"))
    assert log_read.read(tmp_path / "predictions").collect().height == 1


def test_nothing_is_told_of_what_a_picture_did(tmp_path: Path) -> None:
    mixed = pictures.loaded(tmp_path / "b", mixed=True)
    found = explain.explain(mixed, {"photo": FILES[0], "age": 3}, {"age": 150.0})
    assert [effect.column for effect in found.effects] == ["age"]
    assert explain.explain(pictures.loaded(tmp_path / "c"), {"photo": FILES[0]}, {}).effects == ()


# --- batch ----------------------------------------------------------------------------------------


def scored(model: Runtime, source: Path, output: Path) -> pl.DataFrame:
    batch.predict(model, source, output)
    return pl.read_parquet(output)


def test_a_folder_is_scored_without_its_bytes_and_what_is_broken_is_listed(model: Runtime, tmp_path: Path) -> None:
    source = pictures.folder_of(tmp_path / "source")
    (source / "damaged.png").write_bytes(pictures.damaged())
    (source / "empty.jpg").write_bytes(b"")
    (source / "notes.md").write_text("no picture")
    for _ in range(2):  # the second time over the first output
        found = scored(model, source, tmp_path / "out.parquet")
    assert found.columns[:3] == ["path", "prediction", "confidence"]
    assert found.height == 60
    assert found["prediction"].to_list() == [path.partition("/")[0] for path in found["path"]]
    assert found["path"].to_list() == sorted(found["path"])
    wrong = pl.read_csv(tmp_path / "out.parquet.rejected.csv")
    assert wrong["row"].to_list() == [61, 62]
    assert [json.loads(text) for text in wrong["text"]] == [{"path": "damaged.png"}, {"path": "empty.jpg"}]


def test_a_picture_alone_and_frames_of_one_by_one(model: Runtime, tmp_path: Path) -> None:
    (tmp_path / "one.pgm").write_bytes(FILES[5])
    found = scored(model, tmp_path / "one.pgm", tmp_path / "out.parquet")
    assert found.select("path", "prediction").rows() == [("one.pgm", LABELS[5])]
    source = pictures.folder_of(tmp_path / "source", 9)
    (source / "damaged.png").write_bytes(pictures.damaged())
    report = batch.predict(model, source, tmp_path / "small.parquet", rows=1)
    assert (report["rows"], report["rejected"]) == (9, 1)


def test_a_frame_of_pictures(model: Runtime) -> None:
    given = pl.DataFrame({"photo": list(FILES[:4]), "id": [1, 2, 3, 4]})
    assert batch.frame(model, given)["prediction"].to_list() == [*LABELS[:4]]
    with pytest.raises(DataError, match="row 1, column 'photo': broken or cut off"):
        batch.frame(model, pl.DataFrame({"photo": [FILES[0], pictures.damaged()]}))


def test_a_batch_of_pictures_is_in_few_frames(model: Runtime, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """However many there are: the bytes of so many files and no more are in memory."""
    sizes: list[int] = []
    plain = batch._beside

    def seen(table: pl.DataFrame, *rest: Any) -> pl.DataFrame:
        sizes.append(table.height)
        return plain(table, *rest)

    monkeypatch.setattr(batch, "_beside", seen)
    monkeypatch.setitem(batch.LARGE, "image", 16)  # type: ignore[arg-type]
    scored(model, pictures.folder_of(tmp_path / "source", 50), tmp_path / "out.parquet")
    assert sizes == [16, 16, 16, 2]


# --- the server's side ----------------------------------------------------------------------------


def test_pictures_are_never_worked_on_in_the_event_loop(model: Runtime, tmp_path: Path) -> None:
    """Not even a single one that is expected to take no time."""
    threads: list[str] = []

    def rows(asked: Any) -> tuple[Output, list[Any]]:
        threads.append(threading.current_thread().name)
        return model.rows(asked)

    watched = Runtime(model.schema, model.bundle, model.predict, rows, model.hooks)
    found = type("Found", (), {"version": "1", "fetch": lambda self: tmp_path})()
    tools = Tools(lambda role: found if role == "champion" else None, lambda folder: watched,
                  lambda runtime, version, role: None, "digits", Rules(), 100, 60.0)  # fmt: skip

    async def main() -> Response:
        rollout = Rollout(tools, Plan(), Metrics())
        rollout.first()  # tries it with a row, here
        threads.clear()
        active = rollout.active["champion"]
        active.batcher.cost = 1e-9
        answered: asyncio.Future[Response] = asyncio.get_running_loop().create_future()
        one = job(FILES[0], content_type="image/pgm")
        one.send = answered.set_result
        active.batcher.put(one, 1)
        found = await asyncio.wait_for(answered, 20)
        await asyncio.to_thread(rollout.close)
        return found

    assert asyncio.run(main()).status == 200
    assert threads
    assert threading.main_thread().name not in threads


def test_parity_of_batch_and_server(model: Runtime) -> None:
    rows, problems = model.rows([{"photo": text} for text in TEXTS])
    assert problems == []
    frame = batch.frame(model, pl.DataFrame({"photo": list(FILES[:10])}))
    np.testing.assert_allclose(frame["confidence"].to_numpy(), rows.probabilities.max(axis=1))  # type: ignore[union-attr]
