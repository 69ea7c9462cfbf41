"""A folder that keeps receiving files: each is scored once, whenever this process is killed.

    begun    the file is whole; its size, time and sha256
    scored   its output lies complete in OUTPUT/.keepfit/partial, not yet under its name
    done     the output has its name
    failed   the file cannot be scored, and why; it is not tried again before its content changes

Each step is a line of OUTPUT/.keepfit/journal.ndjson that is on the disk before the next step is
made. So after a kill, `begun` alone means that nothing was given out: the file is scored afresh.
After `scored` at most renames are missing: they are made, and nothing is scored again.

A file is taken when two looks saw the same size and time, nobody has it open to write, and its name
is not that of a file in the making (`arrivals`).
"""

from __future__ import annotations

import shutil
import signal
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from keepfit import durable
from keepfit.data import files
from keepfit.deployment import arrivals, journal
from keepfit.deployment.arrivals import ASIDE, Look
from keepfit.deployment.journal import Record
from keepfit.deployment.sinks import SINKS
from keepfit.errors import DataError, KeepfitError

OWN = ".keepfit"  # in the output folder: the journal, and work in progress
STEP = 0.2  # seconds within which a wish to stop is seen
KNOWN = ("done", "failed")
Score = Callable[[Path, Path], Mapping[str, Any]]
Say = Callable[[str], None]


def watch(
    folder: Path,
    output: Path,
    score: Score,
    every: float = 2.0,
    pattern: str | None = None,
    stop: Callable[[], bool] = lambda: False,
    say: Say = lambda line: None,
) -> dict[str, Any]:
    """Score the files that are in `folder`, and those that come, into `output` until `stop()`.

    Args:
        score: scores a file into another (see `batch.predict`); its report names the `version` too.
        every: seconds between two looks at the folder.
        pattern: names that are meant, as "orders-*.csv"; default: all of a known format.
        say: gets one line a file.

    The caller sees to it that one process at a time works for `output`. Returns how many files were
    `scored` and `failed`, and the `journal`. Raises DataError where the folders are none or the same,
    or nothing can be written: what is not done is done by the next call.
    """
    ready(folder, output)
    last = _recovered(output, say)
    counts = dict.fromkeys(KNOWN, 0)
    before: dict[str, Look] = {}
    while not stop():
        now = arrivals.look(folder, pattern)
        for name in _whole(now, before, last):
            if stop():
                break
            record = _one(folder / name, now[name], output, score, last)
            if record:
                counts[record["event"]] += 1
                say(told(record))
        before = now
        _wait(every, stop)
    return {"scored": counts["done"], "failed": counts["failed"], "journal": str(_journal(output))}


def told(record: Record) -> str:
    """A line about a file that is done or failed."""
    if record["event"] == "failed":
        return f"{record['input']}: failed: {record['reason']}"
    rejected = f", {record['rejected']:,} rejected" if record["rejected"] else ""
    return f"{record['input']}: {record['rows']:,} rows{rejected}, by version {record['version']} → {record['output']}"


@contextmanager
def stoppable() -> Iterator[Callable[[], bool]]:
    """Whether to stop: after Ctrl-C or SIGTERM, when the file at hand is done. A second one stops at once."""
    asked: list[int] = []

    def note(number: int, frame: Any) -> None:
        if asked:
            raise KeyboardInterrupt
        asked.append(number)

    if threading.current_thread() is not threading.main_thread():
        yield lambda: False  # signals are the main thread's
        return
    before = {number: signal.signal(number, note) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield lambda: bool(asked)
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _wait(seconds: float, stop: Callable[[], bool]) -> None:
    end = time.monotonic() + seconds
    while not stop() and (left := end - time.monotonic()) > 0:
        time.sleep(min(STEP, left))


def ready(folder: Path, output: Path) -> None:
    """Make the output folder. Raises DataError where one of the two is no folder, or both are the same."""
    if not folder.is_dir():
        raise DataError(f"There is no folder {folder.absolute()} to watch.")
    if output.exists() and not output.is_dir():
        raise DataError(f"{output} is a file. With --watch the output is a folder, with one file for each that comes.")
    if output.exists() and output.samefile(folder):
        raise DataError(f"{output} is the folder that is watched: outputs would be taken as inputs. Choose another.")
    try:
        (output / OWN).mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise DataError(f"{output} cannot be written: {error.strerror}. Choose another folder.") from error


def _whole(now: Mapping[str, Look], before: Mapping[str, Look], last: Mapping[str, Record]) -> list[str]:
    """What did not change between two looks and is not dealt with, oldest first.

    What a kill interrupted comes after the others: it may have been the reason.
    """
    there = [name for name, seen in now.items() if before.get(name) == seen and not _settled(last.get(name), seen)]
    return sorted(there, key=lambda name: (name in last and last[name]["event"] == "begun", now[name].mtime_ns, name))


def _settled(record: Record | None, seen: Look) -> bool:
    return record is not None and record["event"] in KNOWN and _at(seen).items() <= record.items()


def _at(seen: Look) -> Record:
    return {"size": seen.size, "mtime_ns": seen.mtime_ns}


# one file


def _one(path: Path, seen: Look, output: Path, score: Score, last: dict[str, Record]) -> Record | None:
    """Score a file; `last` gets its newest record. None where it is not whole after all, or was scored as it is."""
    sha = arrivals.sha256(path)
    if sha is None:
        return None
    before = last.get(path.name)
    if before and before["event"] in KNOWN and before["sha256"] == sha:
        last[path.name] = before | _at(seen)
        return None
    about = {"input": path.name, **_at(seen), "sha256": sha, "output": named(path.name)}
    last[path.name] = _write(output, "begun", about)
    began = time.monotonic()
    try:
        _free(path.name, last)
        report = score(path, _emptied(output) / named(path.name))
    except Exception as error:  # the edge of one file: whatever is wrong with it, the others go on
        if _machine(error):
            raise
        failed = about | {"reason": _reason(error)}
        return _noted(last, _write(output, "failed", failed)) if arrivals.unchanged(path, seen) else None
    if not arrivals.unchanged(path, seen):
        return None
    about |= {key: report[key] for key in ("version", "rows", "rejected")}
    about |= {"seconds": round(time.monotonic() - began, 3)}
    return _noted(last, _publish(_write(output, "scored", about), output))


def _noted(last: dict[str, Record], record: Record) -> Record:
    last[record["input"]] = record
    return record


def _reason(error: Exception) -> str:
    return str(error) if isinstance(error, KeepfitError) else f"{type(error).__name__}: {error}"


def _machine(error: BaseException | None) -> bool:
    """Whether the system refused something (no space, no permission), which is not the file's fault."""
    while error is not None:
        if isinstance(error, OSError) and error.errno is not None:
            return True
        error = error.__cause__
    return False


def named(name: str) -> str:
    """The name of a file's output: its own; with .csv added where its format is not written.

    >>> named("a.csv.gz"), named("b.parquet"), named("c.xlsx"), named("d.csv.zst")
    ('a.csv.gz', 'b.parquet', 'c.xlsx.csv', 'd.csv.zst.csv')
    """
    kind, packed = files.suffix(Path(name)), name.lower().endswith((".gz", ".zst"))
    written = kind in SINKS and not name.lower().endswith(".zst") and not (packed and kind in files.BINARY)
    return name if written else f"{name}.csv"


def _free(name: str, last: Mapping[str, Record]) -> None:
    """Raises DataError where the output's name is that of another file's output."""
    mine = named(name)
    other = mine if mine != name else name.removesuffix(".csv")
    if other != name and other in last and named(other) == mine:
        raise DataError(f"Its output would be {mine}, which is that of {other}. Rename the file.")


def _emptied(output: Path) -> Path:
    """The folder of work in progress, without what a kill left."""
    partial = output / OWN / "partial"
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir()
    return partial


def _publish(record: Record, output: Path) -> Record:
    """Give the output its name, after its side file. Done again after a kill, it goes on where it was."""
    name = record["output"]
    partial, side = output / OWN / "partial", name + ASIDE
    if (partial / name).exists():
        if (partial / side).exists():
            (partial / side).replace(output / side)
        elif not record["rejected"]:
            (output / side).unlink(missing_ok=True)  # of the content before
        (partial / name).replace(output / name)
        durable.sync(output)
    return _write(output, "done", {key: value for key, value in record.items() if key not in ("event", "time")})


# the journal


def _journal(output: Path) -> Path:
    return output / OWN / "journal.ndjson"


def _write(output: Path, event: str, about: Record) -> Record:
    record = {"event": event, "time": datetime.now(UTC).isoformat(timespec="milliseconds"), **about}
    journal.append(_journal(output), record)
    return record


def _recovered(output: Path, say: Say) -> dict[str, Record]:
    """The newest record of each file, after what a kill left open between `scored` and `done` is finished."""
    last = {record["input"]: record for record in journal.read(_journal(output))}
    for record in [record for record in last.values() if record["event"] == "scored"]:
        say(told(_noted(last, _publish(record, output))))
    return last
