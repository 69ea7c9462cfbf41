"""Each file is scored once, whatever happens in between; nothing half written is ever seen."""

from __future__ import annotations

import json
import os
import random
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from keepfit import Project
from keepfit.deployment import arrivals, journal, watch
from keepfit.errors import DataError
from keepfit.pipeline import watching
from keepfit.tracking import mlflow
from tests.projects import keepfit, project, table

QUICK = 0.05  # seconds between two looks


class Scorer:
    """Scores a CSV by adding a column; `version` and `fails` are the test's to set."""

    def __init__(self) -> None:
        self.calls: list[str] = []
        self.version = "1"
        self.during: Callable[[Path], None] = lambda source: None

    def __call__(self, source: Path, output: Path) -> Mapping[str, Any]:
        self.calls.append(source.name)
        frame = pl.read_csv(source)
        self.during(source)
        frame.with_columns(prediction=1).write_csv(output)
        rejected = int("bad" in frame.columns)
        if rejected:
            output.with_name(f"{output.name}.rejected.csv").write_text("row\n1\n")
        return {"version": self.version, "rows": frame.height, "rejected": rejected}


@pytest.fixture
def score() -> Scorer:
    return Scorer()


@pytest.fixture
def source(tmp_path: Path) -> Path:
    (tmp_path / "in").mkdir()
    return tmp_path / "in"


def looks(count: int) -> Callable[[], bool]:
    """Stops after so many looks at the folder (it is asked before each, and while it waits)."""
    seen = iter(range(10**9))
    return lambda: next(seen) > count * 4


def put(path: Path, rows: int = 3, **more: Any) -> None:
    pl.DataFrame({"a": list(range(rows)), **{name: [value] * rows for name, value in more.items()}}).write_csv(path)


def run(source: Path, score: watch.Score, count: int = 4, **options: Any) -> tuple[dict[str, Any], list[str]]:
    said: list[str] = []
    out = source.parent / "out"
    return watch.watch(source, out, score, QUICK, stop=looks(count), say=said.append, **options), said


def events(out: Path) -> list[tuple[str, str]]:
    return [(record["event"], record["input"]) for record in journal.read(out / ".keepfit" / "journal.ndjson")]


def names(out: Path) -> list[str]:
    return sorted(path.name for path in out.iterdir() if path.name != ".keepfit")


def test_what_is_there_and_what_comes_is_scored_once(source: Path, score: Scorer, tmp_path: Path) -> None:
    put(source / "one.csv", 2)
    put(source / "two.csv", 4, bad=1)
    found, said = run(source, score)
    assert (found["scored"], found["failed"]) == (2, 0)
    assert said == [
        "one.csv: 2 rows, by version 1 → one.csv",
        "two.csv: 4 rows, 1 rejected, by version 1 → two.csv",
    ]
    out = tmp_path / "out"
    assert names(out) == ["one.csv", "two.csv", "two.csv.rejected.csv"]
    assert pl.read_csv(out / "one.csv").columns == ["a", "prediction"]
    put(source / "three.csv")
    score.version = "2"
    found, said = run(source, score)
    assert said == ["three.csv: 3 rows, by version 2 → three.csv"]
    assert score.calls == ["one.csv", "two.csv", "three.csv"]
    done = [r for r in journal.read(Path(found["journal"])) if r["event"] == "done"]
    assert [(r["input"], r["output"], r["version"], r["rows"], r["rejected"]) for r in done] == [
        ("one.csv", "one.csv", "1", 2, 0),
        ("two.csv", "two.csv", "1", 4, 1),
        ("three.csv", "three.csv", "2", 3, 0),
    ]
    assert {"size", "sha256", "time", "seconds", "mtime_ns"} <= set(done[0])


def test_the_same_content_is_not_scored_again_and_new_content_replaces_the_output(
    source: Path, score: Scorer, tmp_path: Path
) -> None:
    put(source / "a.csv", 2, bad=1)
    run(source, score)
    os.utime(source / "a.csv", (1, 1))  # touched
    assert run(source, score)[0]["scored"] == 0
    put(source / "a.csv", 5)
    assert run(source, score)[0]["scored"] == 1
    assert pl.read_csv(tmp_path / "out" / "a.csv").height == 5
    assert names(tmp_path / "out") == ["a.csv"]  # the side file was of the content before
    (tmp_path / "out" / "a.csv").unlink()  # taken by whoever wanted it
    assert run(source, score)[0]["scored"] == 0


def test_a_broken_file_is_journalled_and_neither_stops_nor_comes_again(
    source: Path, score: Scorer, tmp_path: Path
) -> None:
    def boom(path: Path) -> None:
        if path.name == "a.csv":
            raise DataError("a.csv lacks 2 columns")
        if path.name == "b.csv":
            raise ZeroDivisionError("in a hook")

    score.during = boom
    for name in ("a.csv", "b.csv", "c.csv"):
        put(source / name)
    found, said = run(source, score)
    assert (found["scored"], found["failed"]) == (1, 2)
    assert said[:2] == ["a.csv: failed: a.csv lacks 2 columns", "b.csv: failed: ZeroDivisionError: in a hook"]
    assert run(source, score)[0] == {**found, "scored": 0, "failed": 0}
    assert names(tmp_path / "out") == ["c.csv"]
    score.during = lambda path: None
    put(source / "a.csv", 9)  # another content is another try
    assert run(source, score)[1] == ["a.csv: 9 rows, by version 1 → a.csv"]


def test_what_the_machine_refuses_ends_the_watch_and_is_no_failure_of_the_file(
    source: Path, score: Scorer, tmp_path: Path
) -> None:
    def full(path: Path) -> None:
        try:
            raise OSError(28, "No space left on device")
        except OSError as error:
            raise DataError("cannot be written: No space left on device") from error

    put(source / "a.csv")
    score.during = full
    with pytest.raises(DataError, match="No space left"):
        run(source, score)
    assert events(tmp_path / "out") == [("begun", "a.csv")]
    score.during = lambda path: None
    assert run(source, score)[0]["scored"] == 1


def test_a_file_that_changes_while_it_is_scored_is_scored_when_it_is_whole(
    source: Path, score: Scorer, tmp_path: Path
) -> None:
    put(source / "a.csv", 2)

    def grow(path: Path) -> None:
        put(path, 7)
        score.during = lambda path: None

    score.during = grow
    found, _ = run(source, score, 6)
    assert found["scored"] == 1
    assert pl.read_csv(tmp_path / "out" / "a.csv").height == 7


def test_files_in_the_making_are_left_alone(source: Path, score: Scorer) -> None:
    for name in (".a.csv", "_a.csv", "a.csv.part", "a.tmp.csv", "~$a.csv", "a.csv~", "a.pdf", "a.csv.rejected.csv"):
        put(source / name)
    (source / "folder.csv").mkdir()
    put(source / "folder.csv" / "b.csv")
    (source / "gone.csv").symlink_to("nowhere")
    with (source / "open.csv").open("w") as writer:
        writer.write("a\n1\n")
        writer.flush()
        assert run(source, score)[0]["scored"] == 0
    assert run(source, score)[1] == ["open.csv: 1 rows, by version 1 → open.csv"]


def test_a_file_that_grows_is_waited_for(source: Path, score: Scorer, tmp_path: Path) -> None:
    """Each write closes the file: only the looks can tell."""
    over = threading.Event()

    def write() -> None:
        for number in range(20):
            with (source / "a.csv").open("a") as file:
                file.write("a\n" if not number else f"{number}\n")
            time.sleep(0.02)
        over.set()

    writer = threading.Thread(target=write)
    writer.start()
    end = time.monotonic() + 20
    enough = lambda: time.monotonic() > end or (over.is_set() and bool(score.calls))
    watch.watch(source, tmp_path / "out", score, 0.3, stop=enough)
    writer.join()
    assert score.calls == ["a.csv"]
    assert pl.read_csv(tmp_path / "out" / "a.csv").height == 19


def test_a_pattern_and_the_names_of_outputs(source: Path, score: Scorer, tmp_path: Path) -> None:
    for name in ("orders-1.dat", "orders-2.csv", "other.csv"):
        put(source / name)
    run(source, score, pattern="orders-*")
    assert names(tmp_path / "out") == ["orders-1.dat.csv", "orders-2.csv"]
    put(source / "orders-1.dat.csv")
    found, said = run(source, score, pattern="orders-*")
    assert found["failed"] == 1
    assert "Its output would be orders-1.dat.csv, which is that of orders-1.dat. Rename the file." in said[0]


def test_folders_that_cannot_be(source: Path, score: Scorer, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    for folder, out, told in (
        (tmp_path / "nowhere", tmp_path / "out", "There is no folder .*nowhere to watch"),
        (source, tmp_path / "file", "is a file. With --watch the output is a folder"),
        (source, source / "." / ".." / "in", "is the folder that is watched"),
        (source, tmp_path / "file" / "out", "cannot be written: Not a directory"),
    ):
        with pytest.raises(DataError, match=told):
            watch.watch(folder, out, score)


# crashes, step by step


def steps(source: Path, score: Scorer) -> list[dict[str, Any]]:
    """The records of one file that was scored."""
    put(source / "a.csv", 3, bad=1)
    run(source, score)
    return journal.read(source.parent / "out" / ".keepfit" / "journal.ndjson")


def cut(out: Path, records: list[dict[str, Any]], torn: bytes = b"") -> None:
    path = out / ".keepfit" / "journal.ndjson"
    path.write_bytes(b"".join(json.dumps(record).encode() + b"\n" for record in records) + torn)


@pytest.mark.parametrize("torn", [b"", b'{"event": "do'])
@pytest.mark.parametrize("moved", [(), ("a.csv.rejected.csv",), ("a.csv.rejected.csv", "a.csv")])
def test_killed_between_scored_and_done(
    source: Path, score: Scorer, tmp_path: Path, moved: tuple[str, ...], torn: bytes
) -> None:
    records, out = steps(source, score), tmp_path / "out"
    assert [record["event"] for record in records] == ["begun", "scored", "done"]
    cut(out, records[:2], torn)
    for name in {"a.csv", "a.csv.rejected.csv"} - {*moved}:
        (out / name).rename(out / ".keepfit" / "partial" / name)
    _, said = run(source, score)
    assert score.calls == ["a.csv"]  # not again
    assert names(out) == ["a.csv", "a.csv.rejected.csv"]
    assert said == ["a.csv: 3 rows, 1 rejected, by version 1 → a.csv"]
    assert [event for event, _ in events(out)] == ["begun", "scored", "done"]


def test_killed_while_it_was_scored(source: Path, score: Scorer, tmp_path: Path) -> None:
    records, out = steps(source, score), tmp_path / "out"
    cut(out, records[:1])
    for name in ("a.csv", "a.csv.rejected.csv"):
        (out / name).rename(out / ".keepfit" / "partial" / name)
    put(source / "b.csv")
    run(source, score)
    assert score.calls == ["a.csv", "b.csv", "a.csv"]  # what was interrupted comes last
    assert names(out) == ["a.csv", "a.csv.rejected.csv", "b.csv"]


def test_a_damaged_journal_is_named(source: Path, score: Scorer, tmp_path: Path) -> None:
    steps(source, score)
    path = tmp_path / "out" / ".keepfit" / "journal.ndjson"
    path.write_bytes(b"nonsense\n" + path.read_bytes())
    with pytest.raises(DataError, match=r"journal.ndjson, line 1 is no record"):
        run(source, score)


def test_the_lease_tells_who_writes(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_text("a")
    assert arrivals.sha256(path) == "ca978112ca1bbdcafac231b39a23dc4da786eff8147c4e72b9807785afee48bb"
    with path.open("a"):
        assert arrivals.sha256(path) is None
    assert arrivals.sha256(path) is not None
    assert arrivals.sha256(tmp_path / "gone") is None


# whole commands


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A project with two versions; the second is champion."""
    folder = project(tmp_path_factory.mktemp("watched"), table(300))
    Project(folder).run()
    made = Project(folder, ["data.random_state=7"])
    result = made.run()
    if result["outcome"] != "promoted":
        made.promote("2", "for the test")
    return folder


def command(trained: Path, source: Path, *more: str) -> subprocess.Popen[str]:
    arguments = ["-m", "keepfit.cli", "predict", str(source), "-o", str(source.parent / "out"), "-C", str(trained)]
    return subprocess.Popen(
        [sys.executable, *arguments, "--watch", "--every", "0.1", *more],
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, env={**os.environ, "PYTHONUNBUFFERED": "1"},
    )  # fmt: skip


def until(process: subprocess.Popen[str], pattern: str) -> list[str]:
    """The lines up to the one that matches."""
    seen: list[str] = []
    for line in process.stdout or ():
        seen.append(line)
        if re.search(pattern, line):
            return seen
    raise AssertionError(f"{pattern} did not come: {seen}")


def ended(process: subprocess.Popen[str]) -> tuple[int, str]:
    out, _ = process.communicate(timeout=60)
    return process.returncode, out


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_the_champion_is_followed_and_a_signal_ends_it(
    trained: Path, source: Path, tmp_path: Path, number: signal.Signals
) -> None:
    frame = table(40).drop("left")
    frame.write_csv(source / "1.csv")
    process = command(trained, source)
    assert "40 rows, by version 2" in until(process, r"^1\.csv: ")[-1]
    assert keepfit("predict", str(source), "-o", str(tmp_path / "out"), "-C", str(trained), "--watch") == (
        1,
        f"Error: Watching for {tmp_path / 'out'}: process {process.pid} is at it and did not finish "
        f"({tmp_path / 'out' / '.keepfit' / 'watch.lock'}). Try again later.\n",
    )
    Project(trained).rollback(reason="slow")
    frame.drop("plan").write_csv(source / "2.csv")
    (source / "3.parquet").write_bytes(b"PAR1 no parquet at all")
    frame.write_csv(source / "4.csv")
    lines = until(process, r"^4\.csv: ")
    assert any(re.match(r"2\.csv: failed: .*plan", line) for line in lines), lines
    assert any(line.startswith("3.parquet: failed: ") for line in lines), lines
    assert "40 rows, by version 1" in lines[-1]
    process.send_signal(number)
    code, out = ended(process)
    assert (code, out.splitlines()[-1].split(":")[0]) == (0, "2 files scored, 2 failed"), out
    Project(trained).promote("2", "back")
    want = Project(trained).predict(frame, version="1")["prediction"].to_list()
    assert pl.read_csv(tmp_path / "out" / "4.csv")["prediction"].to_list() == want


@pytest.mark.slow
def test_kill_9_at_any_moment_loses_nothing_and_scores_nothing_twice(
    trained: Path, source: Path, tmp_path: Path
) -> None:
    """Files come while the process is killed again and again; most kills meet it at work."""
    draw, out = random.Random(5), tmp_path / "out"
    frame = pl.concat([table(2000).drop("left")] * 20)
    wanted: dict[str, int] = {}

    def feed() -> None:
        for number in range(25):
            name, rows = f"{number:03d}.csv", draw.randint(1, 40_000)
            wanted[name] = rows
            frame.head(rows).write_csv(source / f".{name}")
            (source / f".{name}").rename(source / name)
            time.sleep(0.1)

    feeder = threading.Thread(target=feed)
    feeder.start()
    process = command(trained, source)
    while feeder.is_alive() or {path.name for path in out.glob("*.csv")} != set(wanted):
        until(process, r"^\d+\.csv: ")
        time.sleep(draw.uniform(0.0, 0.1))
        process.kill()
        ended(process)
        for path in out.glob("*.csv"):  # what can be seen is whole
            assert pl.read_csv(path).height == wanted[path.name]
        process = command(trained, source)
    feeder.join()
    frame.head(1).write_csv(source / "last.csv")
    until(process, r"^last\.csv: ")
    process.send_signal(signal.SIGTERM)
    assert ended(process)[0] == 0
    wanted["last.csv"] = 1
    records = journal.read(out / ".keepfit" / "journal.ndjson")
    done = [record for record in records if record["event"] == "done"]
    assert sorted(record["input"] for record in done) == sorted(wanted)  # each once
    assert {record["input"]: record["rows"] for record in done} == wanted
    assert {path.name: pl.read_csv(path).height for path in out.glob("*.csv")} == wanted
    assert names(out) == sorted(wanted)
    assert sum(record["event"] == "begun" for record in records) > len(wanted)  # kills met it at work


KILLED = """
import os, pathlib, signal, sys
from keepfit.deployment import journal, watch
at, folder, out = int(sys.argv[1]), pathlib.Path(sys.argv[2]), pathlib.Path(sys.argv[3])
passed = 0
def moment():
    global passed
    passed += 1
    if passed == at:
        os.kill(os.getpid(), signal.SIGKILL)
def dying(function):
    def call(*arguments):
        moment()
        result = function(*arguments)
        moment()
        return result
    return call
journal.append = dying(journal.append)
pathlib.Path.replace = dying(pathlib.Path.replace)
def score(source, output):
    with (out / "scored").open("a") as note:
        note.write(f"{source.name} ")
    output.with_name(output.name + ".rejected.csv").write_text("row")
    output.write_text(source.read_text())
    return {"version": "1", "rows": 1, "rejected": 1}
looks = iter(range(12))
watch.watch(folder, out, score, 0.05, stop=lambda: next(looks, None) is None)
"""


@pytest.mark.slow
@pytest.mark.parametrize("at", range(1, 11))
def test_killed_before_and_after_each_thing_that_is_written(source: Path, tmp_path: Path, at: int) -> None:
    """Three records and two renames: ten moments."""
    out = tmp_path / "out"
    out.mkdir()
    (source / "a.csv").write_text("a\n1\n")
    for moment, code in ((at, -signal.SIGKILL), (0, 0)):
        arguments = [str(moment), str(source), str(out)]
        done = subprocess.run([sys.executable, "-c", KILLED, *arguments], capture_output=True, text=True, check=False)
        assert done.returncode == code, done.stderr
        assert (out / "a.csv").exists() or moment  # it is there in the end, and whole as soon as it is
        assert not (out / "a.csv").exists() or (out / "a.csv").read_text() == "a\n1\n"
    # scored again only where nothing had been noted of the first time
    assert (out / "scored").read_text() == ("a.csv a.csv " if at == 3 else "a.csv ")
    assert [event for event, _ in events(out) if event == "done"] == ["done"]
    assert names(out) == ["a.csv", "a.csv.rejected.csv", "scored"]


@pytest.mark.slow
def test_a_version_that_does_not_load_is_told_once_and_the_one_before_goes_on(tmp_path: Path) -> None:
    made = Project(project(tmp_path, table(300)))
    made.run()
    Project(tmp_path, ["data.random_state=7"]).run()
    store = mlflow.connect(made.config.tracking, tmp_path / ".keepfit", made.config.project.name)
    first = mlflow.alias(store, "champion")
    other = next(version["version"] for version in mlflow.versions(store) if version["version"] != first)
    said: list[str] = []
    table(20).drop("left").write_csv(tmp_path / "in.csv")
    score = watching.following(made.config, tmp_path, None, said.append)
    mlflow.move(store, "champion", other)
    damaged = mlflow.download(store, other, tmp_path) / "bundle.json"
    content = damaged.read_bytes()
    damaged.write_bytes(content + b" ")
    for _ in range(2):
        assert score(tmp_path / "in.csv", tmp_path / "out.csv")["version"] == first
    assert len(said) == 1
    assert re.fullmatch(rf"Version {first} goes on: .*bundle.json changed since .*", said[0])
    damaged.write_bytes(content)
    assert score(tmp_path / "in.csv", tmp_path / "out.csv")["version"] == other
    mlflow.move(store, "champion", None)
    assert score(tmp_path / "in.csv", tmp_path / "out.csv")["version"] == other
    assert said[1:] == [f"Version {other} goes on: There is no champion now."]


def test_a_journal_that_cannot_be_written_is_told(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"journal.ndjson cannot be written: No such file or directory"):
        journal.append(tmp_path / "nowhere" / "journal.ndjson", {})


@pytest.mark.slow
def test_options_that_do_not_fit(trained: Path, source: Path) -> None:
    put(source / "a.csv")
    code, told = keepfit("predict", str(source), "-o", str(source.parent / "o.csv"), "-C", str(trained), "--every", "3")
    assert (code, "--every and --pattern belong to --watch." in told) == (2, True)
