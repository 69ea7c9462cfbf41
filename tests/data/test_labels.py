"""Feedback: labels by id, late, repeated or wrong; the last one wins and nothing is lost."""

from __future__ import annotations

import resource
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from keepfit.data import labels, log_read, log_roll, segments
from keepfit.data.labels import Invalid, Report, add
from keepfit.data.log import open_log
from keepfit.errors import RequestError
from tests.data.answered import PRICES, SCHEMA, logged, price, write


@pytest.fixture
def places(tmp_path: Path) -> tuple[Path, Path]:
    return tmp_path / "feedback", tmp_path / "predictions"


def entries(keys: list[str], label: Any) -> list[dict[str, Any]]:
    return [{"id": key, "label": label} for key in keys]


def told(feedback: Path) -> dict[str, str]:
    return dict(log_read.latest(feedback).select("id", "label").iter_rows())


def test_labels_of_live_closed_and_rolled_segments(places: tuple[Path, Path]) -> None:
    feedback, predictions = places
    rolled = logged(predictions, 2)
    log_roll.roll(predictions)
    closed = logged(predictions, 2)
    log = open_log(predictions, SCHEMA, "churn", "1")
    live = write(log, 2)
    keys = [*rolled, *closed, *live]
    assert add(feedback, predictions, entries(keys, "yes"), "ann") == Report(6)
    found = log_read.read(predictions, labels=True).collect()
    assert len(found) == 6
    assert set(found["label"]) == {"yes"}
    assert found["label_time"].null_count() == 0
    log.close()
    log_roll.tidy(predictions)
    assert set(log_read.read(predictions, labels=True).collect()["label"]) == {"yes"}
    assert log_read.latest(feedback)["caller"].to_list() == ["ann"] * 6


def test_the_last_label_wins_and_history_is_kept(places: tuple[Path, Path]) -> None:
    feedback, predictions = places
    one, two = logged(predictions, 2)
    assert add(feedback, predictions, entries([one, two], "no")) == Report(2)
    assert add(feedback, predictions, entries([one], "yes")) == Report(1, repeated=1)
    log_roll.tidy(predictions)
    assert add(feedback, predictions, [*entries([two], "yes"), *entries([two], "no")]) == Report(2, repeated=2)
    for _ in range(2):
        assert told(feedback) == {one: "yes", two: "no"}
        log_roll.tidy(predictions)
    history = pl.read_parquet(feedback / "*/*.parquet")
    assert sorted(history["label"]) == ["no", "no", "no", "yes", "yes"]


def test_ids_that_were_never_given(places: tuple[Path, Path]) -> None:
    feedback, predictions = places
    (key,) = logged(predictions, 1)
    never = [f"{key[:-1]}1", f"{segments.named(1e9)}-0", "nonsense", "../../x-1"]
    assert add(feedback, predictions, entries(never, "yes")) == Report(unknown=tuple(never))
    log_roll.tidy(predictions)
    assert add(feedback, predictions, entries([*never, key], "yes")) == Report(1, unknown=tuple(never))
    assert not feedback.joinpath("_seen", "..").joinpath("x").exists()


def test_ids_whose_rows_are_no_longer_kept(places: tuple[Path, Path]) -> None:
    feedback, predictions = places
    old = f"{segments.named(time.time() - 1000)}-5"
    assert add(feedback, predictions, entries([old], "yes"), retention=900) == Report(expired=(old,))
    assert add(feedback, predictions, entries([old], "yes"), retention=1100) == Report(unknown=(old,))


def test_what_is_no_label(places: tuple[Path, Path]) -> None:
    feedback, predictions = places
    (key,) = logged(predictions, 1)
    wrong = [7, {"label": "yes"}, {"id": 5, "label": "yes"}, {"id": key}, *entries([key], None), *entries([key], "yse"),
             *entries([key], []), {"id": f" {key} ", "label": "yes."}]  # fmt: skip
    report = add(feedback, predictions, wrong)
    assert report.accepted == 1
    assert report.invalid == (
        Invalid(0, "not an object with id and label, but int"),
        Invalid(1, "'id' is not there", None, "id"),
        Invalid(2, "'id' is not a text: 5", None, "id"),
        Invalid(3, "'label' is not there", key, "label"),
        Invalid(4, "the label is missing", key, "label"),
        Invalid(5, "'yse' is no class. Did you mean 'yes'? Classes: no, yes", key, "label"),
        Invalid(6, "not a category: []", key, "label"),
    )
    assert told(feedback) == {key: "yes"}


def test_labels_of_a_regression(places: tuple[Path, Path]) -> None:
    feedback, predictions = places
    log = open_log(predictions, PRICES, "price", "1")
    keys = log.ids(3)
    log.write([price(key, 1.0) for key in keys])
    log.close()
    report = add(feedback, predictions, [{"id": k, "label": v} for k, v in zip(keys, ("1e3", 7, "dear"), strict=True)])
    assert (report.accepted, report.invalid) == (2, (Invalid(2, "not a number: 'dear'", keys[2], "label"),))
    for _ in range(2):
        assert log_read.latest(feedback).sort("value").rows() != []
        assert log_read.latest(feedback)["value"].sort().to_list() == [7.0, 1000.0]
        assert log_read.read(predictions, labels=True).collect()["label_value"].drop_nulls().sum() == 1007.0
        log_roll.tidy(predictions)


def test_many_at_once_and_rollers_beside_them(places: tuple[Path, Path]) -> None:
    feedback, predictions = places
    keys = logged(predictions, 200)

    def work(n: int) -> int:
        if n % 5 == 0:
            log_roll.tidy(predictions)
        return add(feedback, predictions, entries(keys[n * 5 : n * 5 + 10], f"{'no' if n % 2 else 'yes'}")).accepted

    with ThreadPoolExecutor(8) as pool:
        assert sum(pool.map(work, range(40))) == 395
    assert set(told(feedback)) == set(keys)
    log_roll.tidy(predictions)
    assert len(pl.read_parquet(feedback / "*/*.parquet")) == 395
    assert add(feedback, predictions, entries(keys, "no")).repeated == 200


def test_a_full_disk_accepts_nothing(places: tuple[Path, Path]) -> None:
    feedback, predictions = places
    keys = logged(predictions, 100)
    add(feedback, predictions, entries(keys[:1], "no"))
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, hard))
    try:
        with pytest.raises(RequestError, match=r"^The feedback cannot be written, and none of it was accepted"):
            add(feedback, predictions, entries(keys, "yes"))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert told(feedback) == {keys[0]: "no"}
    assert add(feedback, predictions, entries(keys, "yes")) == Report(100, repeated=1)


def test_a_torn_line_is_taken_away_before_the_next(places: tuple[Path, Path]) -> None:
    feedback, predictions = places
    one, two = logged(predictions, 2)
    add(feedback, predictions, entries([one], "no"))
    (name,) = segments.names(feedback)
    with segments.path(feedback, name).open("ab") as file:
        file.write(b'{"id":"torn')
    add(feedback, predictions, entries([two], "yes"))
    assert told(feedback) == {one: "no", two: "yes"}


def test_labels_without_marks_are_labels(places: tuple[Path, Path]) -> None:
    feedback, predictions = places
    keys = logged(predictions, 1)
    feedback.mkdir()
    (feedback / labels.SEEN).write_text("a file where a folder should be")
    assert add(feedback, predictions, entries(keys, "no")) == Report(1)


@pytest.mark.slow
def test_accepted_labels_survive_a_kill(places: tuple[Path, Path]) -> None:
    feedback, predictions = places
    keys = logged(predictions, 2000)
    code = (
        "import sys; from pathlib import Path; from keepfit.data.labels import add\n"
        "for key in sys.argv[3:]:\n"
        " add(Path(sys.argv[1]), Path(sys.argv[2]), [{'id': key, 'label': 'yes'}])\n"
        " print(key, flush=True)"
    )
    accepted: set[str] = set()
    for n in range(5):
        command = [sys.executable, "-c", code, str(feedback), str(predictions), *keys[n * 400 : n * 400 + 400]]
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as adds:
            assert adds.stdout is not None
            for line in adds.stdout:
                accepted.add(line.strip())
                if len(accepted) % 20 == 19:
                    adds.kill()
        assert accepted <= set(told(feedback)) <= set(keys)
        log_roll.tidy(predictions)
    assert accepted <= set(told(feedback))
