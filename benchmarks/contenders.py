"""Model servers and the models they serve: how each is made ready, started and asked.

keepfit's models are trained by `keepfit run`, the others' are scikit-learn pipelines of the same kind
(peers/pipelines.py), on the same rows. Each server is started the way its documentation recommends and
asked in its own protocol; all peers are pinned in `environments.PEERS`.
"""

from __future__ import annotations

import csv
import json
import os
import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks import datasets, environments, imdb, measure, projects
from benchmarks.environments import ROOT, WORK
from benchmarks.load import request

FOLDER = WORK / "serving"
PEERS = Path(__file__).with_name("peers")
ROWS = 5_000  # different rows that are asked about
Row = Mapping[str, Any]
Command = list[str | os.PathLike[str]]
Start = tuple[Command, dict[str, str]]  # command and variables


@dataclass(frozen=True)
class Model:
    """What is served: the name of its pipeline in peers/pipelines.py, and keepfit's `model` section."""

    name: str
    pipeline: str
    data: str
    section: Mapping[str, Any]


MODELS = {
    model.name: model
    for model in (
        Model("adult-linear", "linear", "adult", {"type": "logistic_regression"}),
        # a bag of five, which have as many trees together as the peers' one model
        Model("adult-lightgbm", "lightgbm", "adult", {"type": "lightgbm", "n_estimators": 20}),
        Model("imdb", "text", "imdb", {"type": "logistic_regression"}),
    )
}


@dataclass(frozen=True)
class Contender:
    """A server: `prepare` makes its model and gives the folder, `start` the command for (folder, port).

    `body` writes rows in its protocol, `count` says how many predictions an answer's JSON holds.
    """

    name: str
    prepare: Callable[[Model], Path]
    start: Callable[[Path, int], Start]
    path: str
    body: Callable[[Sequence[Row]], Any]
    count: Callable[[Any], int]
    marker: bytes

    def request(self, rows: Sequence[Row]) -> bytes:
        """The whole HTTP request about these rows."""
        return request("POST", self.path, json.dumps(self.body(rows)).encode())

    def check(self, size: int) -> Callable[[int, bytes], str | None]:
        """Whether an answer is JSON with `size` predictions."""

        def checked(_number: int, body: bytes) -> str | None:
            try:
                found = self.count(json.loads(body))
            except (ValueError, KeyError, TypeError):
                return "body is not what the protocol says"
            return None if found == size else f"{found} predictions for {size} rows"

        return checked


def files(model: Model) -> tuple[Path, Path, str]:
    """Training rows, test rows and the target."""
    if model.data == "imdb":
        return (*imdb.files(WORK / "imdb"), "label")
    parts = datasets.parts(model.data, 0)
    return parts.folder / "train.csv", parts.folder / "test.csv", parts.target


def rows(model: Model) -> list[Row]:
    """Real rows of the test set, in an order by chance; whole numbers are numbers, all else is text."""
    _, test, target = files(model)
    with test.open(newline="", encoding="utf-8") as file:
        found: list[Row] = [
            {key: _typed(value) for key, value in row.items() if key != target} for row in csv.DictReader(file)
        ]
    random.Random(0).shuffle(found)
    return found[:ROWS]


def _typed(text: str) -> int | str:
    return int(text) if text.lstrip("-").isdecimal() else text


def project(model: Model) -> Path:
    """keepfit's project with a champion; trained again when keepfit's code is newer."""
    train, test, target = files(model)
    folder = FOLDER / model.name / "keepfit"
    if stale(folder):
        data = {"source": os.fspath(train), "test": os.fspath(test), "target": target}
        sections = {"data": data, "model": dict(model.section), "tuning": {"trials": 0}}
        projects.run(projects.write(folder, model.name, sections))
        (folder / "trained").touch()
    return folder


def stale(folder: Path) -> bool:
    """Whether a project of keepfit's is to be trained: it is not there, or keepfit's code is newer."""
    code = max(path.stat().st_mtime for path in (ROOT / "src" / "keepfit").rglob("*.py"))
    done = folder / "trained"
    return not done.exists() or done.stat().st_mtime < code


def serve(folder: Path, port: int, *more: str) -> Start:
    """`keepfit serve` as it is: input checks and prediction log on."""
    return [environments.keepfit(), "serve", "-C", folder, "--port", str(port), *more], {}


def _pipeline(peer: str) -> Callable[[Model], Path]:
    """The peer's pipeline, trained once by the libraries of its own environment."""

    def prepare(model: Model) -> Path:
        folder = FOLDER / model.name / environments.label(peer)
        if not (folder / "trained").exists():
            train, _, target = files(model)
            program = PEERS / "pipelines.py"
            measure.measure([environments.python(peer), program, model.pipeline, train, target, folder])
            (folder / "trained").touch()
        return folder

    return prepare


def _mlflow(folder: Path, port: int) -> Start:
    program = environments.program("mlflow", "mlflow")
    path = f"{program.parent}{os.pathsep}{os.environ.get('PATH', '')}"  # it starts `python` by name
    told: Command = [program, "models", "serve", "-m", folder / "mlflow", "-p", str(port)]
    return [*told, "--env-manager", "local"], {"PATH": path}


def _fastapi(folder: Path, port: int) -> Start:
    told: Command = [environments.program("fastapi", "uvicorn"), "--app-dir", PEERS, "fastapi_server:app"]
    return [*told, "--no-access-log", "--port", str(port)], {"MODEL": os.fspath(folder / "model.joblib")}


def _bentoml(folder: Path, port: int) -> Start:
    told: Command = [environments.program("bentoml", "bentoml"), "serve", "bentoml_service:Model", "--port", str(port)]
    variables = {"MODEL": os.fspath(folder / "model.joblib"), "BENTOML_DO_NOT_TRACK": "True"}
    return [*told, "--working-dir", PEERS], variables


def _mlserver(folder: Path, port: int) -> Start:
    """Batches of 64 rows or 5 ms, without debug logs, and without workers: with uvloop 0.23 they do not start."""
    uri = os.fspath(folder / "model.joblib")
    batching = {"max_batch_size": 64, "max_batch_time": 0.005}
    model = {"name": "model", "implementation": "mlserver_sklearn.SKLearnModel", "parameters": {"uri": uri}}
    ports = {"http_port": port, "grpc_port": port + 1, "metrics_port": port + 2}
    settings = {"host": "127.0.0.1", "parallel_workers": 0, "debug": False, **ports}
    served = folder / "served"
    served.mkdir(exist_ok=True)
    (served / "model-settings.json").write_text(json.dumps({**model, **batching}), encoding="utf-8")
    (served / "settings.json").write_text(json.dumps(settings), encoding="utf-8")
    return [environments.program("mlserver", "mlserver"), "start", served], {}


def split(rows: Sequence[Row]) -> Any:
    """MLflow's `dataframe_split`."""
    return {"dataframe_split": {"columns": list(rows[0]), "data": [list(row.values()) for row in rows]}}


def tensors(rows: Sequence[Row]) -> Any:
    """Open Inference Protocol: a tensor a column, read as a data frame.

    >>> tensors([{"age": 30}])["inputs"]
    [{'name': 'age', 'shape': [1, 1], 'datatype': 'INT64', 'data': [30]}]
    """
    inputs = [_tensor(name, [row[name] for row in rows]) for name in rows[0]]
    return {"parameters": {"content_type": "pd"}, "inputs": inputs}


def _tensor(name: str, values: list[Any]) -> dict[str, Any]:
    number = isinstance(values[0], int)
    tensor = {"name": name, "shape": [len(values), 1], "datatype": "INT64" if number else "BYTES", "data": values}
    return tensor if number else {**tensor, "parameters": {"content_type": "str"}}


def _ours(rows: Sequence[Row]) -> Any:
    return rows[0] if len(rows) == 1 else list(rows)


def _predictions(answer: Any) -> int:
    return len(answer["predictions"])


KEEPFIT = Contender("keepfit", project, serve, "/predict", _ours, _predictions, b'"prediction"')
# keepfit asked as MLflow is: the same bytes to the same path
AS_MLFLOW = Contender("keepfit as mlflow", project, serve, "/invocations", split, _predictions, b'"predictions"')
OTHERS = {
    contender.name: contender
    for contender in (
        Contender("mlflow", _pipeline("mlflow"), _mlflow, "/invocations", split, _predictions, b'"predictions"'),
        Contender("fastapi", _pipeline("fastapi"), _fastapi, "/predict", list, _predictions, b'"predictions"'),
        Contender("bentoml", _pipeline("bentoml"), _bentoml, "/predict", lambda rows: {"rows": rows}, len, b'["'),
        Contender(
            "mlserver",
            _pipeline("mlserver"),
            _mlserver,
            "/v2/models/model/infer",
            tensors,
            lambda answer: len(answer["outputs"][0]["data"]),
            b'"outputs"',
        ),
    )
}
