"""Photographs of ants and bees through a frozen backbone: how good, at what cost, and how near to onnxruntime alone.

keepfit finds the official train and val folders in the zip; `model.type` is "auto", and what was chosen about it
(length of the features, strengths, views) was chosen by cross-validation on the training pictures. The accuracy is
counted here, from what `keepfit predict` writes for the pictures of val. The whole command is charged, from the raw
zip and without a cache: torch writes the backbone's graph, too. Beside it, without a promise, stands the same with
`model.type: fine_tuned`; `--only` runs some of `auto`, `fine_tuned` and `extraction`.

The rate is that of features.image on all pictures, decoding included, against onnxruntime on the same graph with its
own defaults, its input decoded beforehand and given eight pictures at a time or one, whichever is quicker: all in one
process, in turns, each at its quickest.
"""

from __future__ import annotations

import csv
import os
import sys
import time
import zipfile
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime

from benchmarks import datasets, measure, projects
from benchmarks.environments import WORK
from benchmarks.overhead import TIMED
from benchmarks.results import Claim, Options, Result
from keepfit.features import picture_rows
from keepfit.models import backbones

PROMISE = (
    "accuracy of at least 96.5 % on the official validation folder, raw zip to evaluated model in at most "
    "3 CPU-minutes; features in at most 1.2 × the time of onnxruntime alone"
)
ACCURACY, SECONDS, RATIO = 0.965, 180.0, 1.2
ARCHIVE, BACKBONE = "ants_bees/hymenoptera_data.zip", "imagenet_backbone/mobilenet_v2_1.0_224"
MODELS: dict[str, dict[str, Any]] = {
    "auto": {},
    "fine_tuned": {"model": {"type": "fine_tuned"}, "tuning": {"time_budget": 600}},
}
EXTRACTION = "extraction"
SIZES = (8, 1)  # pictures a call of onnxruntime alone
VIEWS = {False: "one view", True: "picture and mirror image (the default)"}


def run(options: Options) -> Result:
    """One run and one prediction of the validation folder for each model; `options.runs` turns of the extraction."""
    archive, backbone = (datasets.root().resolve() / name for name in (ARCHIVE, BACKBONE))
    for path in (archive, backbone):
        if not path.exists():
            raise datasets.NoDataError(f"{path.name} is not in the folder of data sets")
    pictures = WORK / "images-pictures"
    with zipfile.ZipFile(archive) as file:
        file.extractall(pictures)
    held_out = next(pictures.glob("*/val"))
    wanted = options.only or (*MODELS, EXTRACTION)
    rows, claims = list[dict[str, Any]](), list[Claim]()
    for name in filter(MODELS.__contains__, wanted):
        accuracy, spent, some = side(name, archive, backbone, held_out)
        rows += some
        if name == "auto":
            claims.append(Claim("accuracy on the official validation folder", accuracy, ">=", ACCURACY))
            claims.append(Claim("CPU-s from raw zip to evaluated model", spent, "<=", SECONDS))
    for mirror, view in VIEWS.items() if EXTRACTION in wanted else ():
        ratio, some = extraction(WORK / "images-auto", held_out.parent, mirror, options.runs)
        rows += some
        claims.append(Claim(f"features, × the time of onnxruntime alone, {view}", ratio, "<=", RATIO))
    return Result("images", PROMISE, tuple(rows), tuple(claims))


def side(name: str, archive: Path, backbone: Path, held_out: Path) -> tuple[float, float, list[dict[str, Any]]]:
    """One of MODELS: accuracy on the validation folder, CPU seconds of `keepfit run`, and rows."""
    data = {"source": os.fspath(archive), "target": "label"}
    image = {"image": {"backbone": os.fspath(backbone)}}
    project = projects.write(WORK / f"images-{name}", "ants-bees", {"data": data, "features": image, **MODELS[name]})
    trained = measure.measure([sys.executable, "-P", TIMED, project / "spent.json", "run", "-C", project])
    scored = projects.predict(project, held_out, project / "predictions.csv")
    accuracy = agreement(project / "predictions.csv")
    rows = [
        {"what": f"keepfit run, {name}, 244 + 153 pictures", "accuracy %": 100 * accuracy, **_cost(trained)},
        {"what": f"keepfit predict, {name}, 153 pictures", **_cost(scored)},
    ]
    return accuracy, trained.cpu, rows


def agreement(predicted: Path) -> float:
    """Share of pictures whose `prediction` is the name of their folder."""
    with predicted.open(newline="", encoding="utf-8") as file:
        same = [row["path"].split("/")[-2] == row["prediction"] for row in csv.DictReader(file)]
    return float(sum(same) / len(same))


def extraction(project: Path, folder: Path, mirror: bool, turns: int) -> tuple[float, list[dict[str, Any]]]:
    """Quotient of the wall seconds of keepfit and of onnxruntime alone, and a row for each way."""
    data = [path.read_bytes() for path in sorted(folder.glob("*/*/*.jpg"))]
    found = backbones.load(os.fspath(datasets.root().resolve() / BACKBONE), project)
    see = picture_rows.compiled({"backbone": found, "mirror": mirror})
    views = _views(found, data, mirror)
    session = onnxruntime.InferenceSession(found["graph"].tobytes(), providers=["CPUExecutionProvider"])

    def alone(size: int) -> None:
        for at in range(0, len(data), size):
            for view in views:
                session.run(None, {found["input"]: view[at : at + size]})

    sides: dict[str, Callable[[], Any]] = {
        f"onnxruntime alone, {size} at a time": partial(alone, size) for size in SIZES
    } | {"keepfit, decoding included": lambda: list(see(data))}
    best = {name: (float("inf"), float("inf")) for name in sides}
    for _ in range(max(turns, 2)):  # the first fills caches
        for name, side in sides.items():
            wall, cpu = time.perf_counter(), time.process_time()
            side()
            spent = time.perf_counter() - wall, time.process_time() - cpu
            best[name] = min(best[name], spent)
    rows = [
        {"what": f"{name}, {VIEWS[mirror]}", "pictures a second": len(data) / wall, "wall s": wall, "CPU s": cpu}
        for name, (wall, cpu) in best.items()
    ]
    *theirs, ours = (wall for wall, _ in best.values())
    return ours / min(theirs), rows


def _views(found: dict[str, Any], data: list[bytes], mirror: bool) -> list[np.ndarray[Any, Any]]:
    """What the graph is shown: all pictures (n, …), and their mirror images."""
    shape, fill = picture_rows.decoder(found)
    plain = np.empty((len(data), *shape), found["number"])
    for one, numbers in zip(data, plain, strict=True):
        fill(one, numbers)
    return [plain, np.ascontiguousarray(plain[..., ::-1])] if mirror else [plain]


def _cost(usage: measure.Usage) -> dict[str, float]:
    return {"CPU s": usage.cpu, "wall s": usage.wall, "peak MB": usage.peak / 1e6}
