"""Photographs over HTTP beside the same model asked in process: what the server adds to decoding and backbone.

The model is trained on ants_bees with the frozen MobileNetV2; asked about are the 153 pictures of its official
validation folder. Both sides have one and the same core, one after the other in turns: `keepfit serve`, asked by
a client on the other core, and a process that calls `Runtime.rows`. A picture of a request comes as the file
itself, many of them as a form; every answer is checked, and logged with its picture.

    python -m benchmarks.images_serving BUNDLE FOLDER SIZE SECONDS      the process of one turn
"""

from __future__ import annotations

import json
import os
import random
import subprocess
import sys
import time
import zipfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from benchmarks import contenders, datasets, environments, load, measure, projects, servers, serving
from benchmarks.contenders import KEEPFIT
from benchmarks.environments import ROOT, WORK
from benchmarks.measure import CommandError
from benchmarks.results import Claim, Options, Result

PROMISE = "pictures a second through the server: at least 80 % of those of the same model asked in process"
SHARE = 0.8
ARCHIVE, BACKBONE = "ants_bees/hymenoptera_data.zip", "imagenet_backbone/mobilenet_v2_1.0_224"
FOLDER = WORK / "images-serving"
SHAPES = ((1, 1), (1, 8), (16, 1), (16, 4))  # pictures of a request, connections
SECONDS, WARM_UP = 10.0, 2.0
MARKER = b'"confidence"'
BOUNDARY = b"a-picture-ends-here"


def run(options: Options) -> Result:
    """Medians of `options.runs` turns of each side; like is compared with like, and the best of both."""
    source = datasets.root().resolve()
    if not (source / ARCHIVE).exists() or not (source / BACKBONE).exists():
        raise datasets.NoDataError(f"not in the folder of data sets: {ARCHIVE} or {BACKBONE}")
    project, seconds = trained(source), options.seconds or SECONDS
    bundle, pictures = projects.bundle(project), unpacked(source / ARCHIVE)
    client, core = servers.cores()
    port, found = servers.free_port(), list[dict[str, Any]]()
    command = [environments.keepfit(), "serve", "-C", project, "--port", str(port)]
    with servers.on(client), servers.started(command, port, asked(pictures[:1]), MARKER, core) as server:
        for _ in range(min(options.runs, 3)):
            for size, connections in SHAPES:
                found.append(outside(server, pictures, size, connections, seconds))
            for size in dict.fromkeys(size for size, _ in SHAPES):
                found.append(inside(bundle, pictures[0].parent, size, seconds, core))
    rows = serving.medians(found, ("side", "pictures", "connections"))
    return Result("images-serving", PROMISE, tuple(rows), (*claims(rows), failures(rows)), notes=(cpu(rows),))


def trained(source: Path) -> Path:
    """A project with a champion on the backbone's features; trained again when keepfit's code is newer."""
    project = FOLDER / "project"
    if not contenders.stale(project):
        return project
    sections = {
        "data": {"source": os.fspath(source / ARCHIVE), "target": "label"},
        "features": {"image": {"backbone": os.fspath(source / BACKBONE)}},
        "model": {"type": "logistic_regression"},
        "tuning": {"trials": 0},
        "serving": {"max_body_mb": 64},
    }
    projects.run(projects.write(project, "insects", sections))
    (project / "trained").touch()
    return project


def unpacked(archive: Path) -> list[Path]:
    """The official validation pictures as files in one folder, in an order by chance."""
    folder = FOLDER / "pictures"
    folder.mkdir(parents=True, exist_ok=True)
    with zipfile.ZipFile(archive) as opened:
        for name in opened.namelist():
            if "/val/" in name and name.endswith(".jpg"):
                (folder / Path(name).name).write_bytes(opened.read(name))
    found = sorted(folder.glob("*.jpg"))
    random.Random(0).shuffle(found)
    return found


# --- over HTTP ------------------------------------------------------------------------------------


def asked(pictures: Sequence[Path]) -> bytes:
    """One request about these pictures: a file as it is, or a form of several."""
    if len(pictures) == 1:
        return load.request("POST", "/predict", pictures[0].read_bytes(), "image/jpeg")
    head = b'\r\nContent-Disposition: form-data; name="image"; filename="a.jpg"\r\nContent-Type: image/jpeg\r\n\r\n'
    parts = b"".join(b"--" + BOUNDARY + head + path.read_bytes() + b"\r\n" for path in pictures)
    kind = f"multipart/form-data; boundary={BOUNDARY.decode()}"
    return load.request("POST", "/predict", parts + b"--" + BOUNDARY + b"--\r\n", kind)


def outside(
    server: servers.Server, pictures: Sequence[Path], size: int, connections: int, seconds: float
) -> dict[str, Any]:
    """One turn of the server."""
    requests = [asked(pictures[at : at + size]) for at in range(0, len(pictures) - size + 1, size)]
    plan = load.Plan(requests, connections, seconds, WARM_UP, MARKER, KEEPFIT.check(size), every=1)
    found, cost = serving.measured(server, plan)
    told = serving.figures(found)
    rate, cost["CPU us"] = told.pop("req/s") * size, cost["CPU us"] / size
    return {"side": "server", "pictures": size, "connections": connections, "pictures/s": rate, **told, **cost}


# --- in process -----------------------------------------------------------------------------------


def inside(bundle: Path, folder: Path, size: int, seconds: float, core: int) -> dict[str, Any]:
    """One turn of a process of its own on the server's core. Raises CommandError where it fails."""
    command = [sys.executable, "-m", "benchmarks.images_serving", os.fspath(bundle), os.fspath(folder)]
    busy, begun = measure.busy(), time.perf_counter()
    done = subprocess.run(
        [*command, str(size), str(seconds)], cwd=ROOT, env=measure.environment(), capture_output=True, text=True,
        preexec_fn=lambda: os.sched_setaffinity(0, {core}),
    )  # fmt: skip
    if done.returncode:
        raise CommandError(done.stderr[-2000:])
    told: dict[str, Any] = json.loads(done.stdout)
    machine = (time.perf_counter() - begun) * (os.cpu_count() or 1)
    told["others %"] = 100 * max(0.0, measure.busy() - busy - told.pop("spent")) / machine
    return {"side": "in process", "pictures": size, "connections": 0, **told}


def main(arguments: Sequence[str]) -> None:
    """Ask the bundle about the pictures of a folder, `size` at a time, and print what it took."""
    from keepfit.deployment import runtime

    bundle, folder, size, seconds = Path(arguments[0]), Path(arguments[1]), int(arguments[2]), float(arguments[3])
    model = runtime.load(bundle)
    (column,) = (column.name for column in model.schema.inputs)
    rows = [{column: path.read_bytes()} for path in sorted(folder.glob("*.jpg"))]
    random.Random(0).shuffle(rows)
    batches = [rows[at : at + size] for at in range(0, len(rows) - size + 1, size)]
    model.rows(batches[0])
    cpu, begun, count, at = time.process_time(), time.perf_counter(), 0, 0
    while time.perf_counter() - begun < seconds:
        output, problems = model.rows(batches[at % len(batches)])
        if problems:
            raise SystemExit(f"not read: {problems[0]}")
        count, at = count + len(output), at + 1
    wall, spent = time.perf_counter() - begun, time.process_time() - cpu
    print(json.dumps({"pictures/s": count / wall, "CPU us": spent / count * 1e6, "spent": time.process_time()}))


# --- what was promised ----------------------------------------------------------------------------


def claims(rows: Sequence[dict[str, Any]]) -> list[Claim]:
    """The share for single pictures and for forms of several, the server at its best number of connections."""
    found = []
    for size in dict.fromkeys(size for size, _ in SHAPES):
        theirs = next(row for row in rows if (row["side"], row["pictures"]) == ("in process", size))
        ours = max((r for r in rows if (r["side"], r["pictures"]) == ("server", size)), key=lambda r: r["pictures/s"])
        what = f"{'single pictures' if size == 1 else f'{size} pictures a request'}: share of the in-process rate"
        noisy = serving.disturbed(ours, theirs)
        found.append(Claim(what, ours["pictures/s"] / theirs["pictures/s"], ">=", SHARE, disturbed=noisy))
    return found


def failures(rows: Sequence[dict[str, Any]]) -> Claim:
    """That no request failed."""
    return serving.failed([row for row in rows if row["side"] == "server"])


def cpu(rows: Sequence[dict[str, Any]]) -> str:
    """The same share in CPU time, which holds on a busy machine too."""
    least = {side: min(row["CPU us"] for row in rows if row["side"] == side) for side in ("server", "in process")}
    share = least["in process"] / least["server"]
    return f"CPU time of a picture in process over the server's, each at its best: {share:.2f}"


if __name__ == "__main__":
    main(sys.argv[1:])
