"""MLflow's own server on PostgreSQL, and MLflow's own tools on a registered bundle."""

from __future__ import annotations

import dataclasses
import json
import os
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any
from urllib.error import HTTPError

import numpy as np
import pandas as pd
import pytest
from sklearn.linear_model import LogisticRegression

from keepfit import config
from keepfit.deployment import runtime
from keepfit.errors import TrackingError
from keepfit.models import bundle as bundles
from keepfit.tracking import decisions, mlflow, registry
from keepfit.types import Bundle, Verdict
from tests.models import fits
from tests.servers import free_port
from tests.tracking.conftest import registered

pytestmark = pytest.mark.slow
BIN = Path(sys.executable).parent
SECONDS = 120  # for a server to come up on a busy machine


def environment(**more: str) -> dict[str, str]:
    """What MLflow's commands need: this environment's programs first on the PATH."""
    quiet = {"MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false", "PYTHONWARNINGS": "ignore"}
    return {**os.environ, "PATH": f"{BIN}{os.pathsep}{os.environ['PATH']}", **quiet, **more}


def wait(url: str, process: subprocess.Popen[bytes], log: Path) -> None:
    end = time.monotonic() + SECONDS
    while time.monotonic() < end and process.poll() is None:
        try:
            urllib.request.urlopen(url, timeout=5).close()
        except OSError:
            time.sleep(0.3)
        else:
            return
    raise AssertionError(f"{url} does not answer: {log.read_text()[-3000:]}")


def server(command: list[str], health: str, folder: Path, env: dict[str, str]) -> Iterator[None]:
    log = folder / "server.log"
    with log.open("wb") as out:
        process = subprocess.Popen(command, cwd=folder, stdout=out, stderr=out, env=env, start_new_session=True)
    try:
        wait(health, process, log)
        yield
    finally:
        os.killpg(process.pid, 15)
        process.wait()


# a shared server


@pytest.fixture(scope="module")
def tracking_url(postgres_url: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """An MLflow server with its tables in PostgreSQL, whose artifacts go through it."""
    folder = tmp_path_factory.mktemp("server")
    url = f"http://127.0.0.1:{free_port()}"
    command = [str(BIN / "mlflow"), "server", "--port", url.rpartition(":")[2], "--workers", "1"]
    command += ["--backend-store-uri", postgres_url, "--artifacts-destination", str(folder / "artifacts")]
    for _ in server(command, f"{url}/health", folder, environment()):
        yield url


def fine(folder: Path) -> None:
    assert (folder / "bundle.json").is_file()


def test_a_team_shares_runs_versions_champion_and_history(tracking_url: str, bundle: Path, tmp_path: Path) -> None:
    ann, bob = (
        mlflow.connect(config.Tracking(uri=tracking_url), tmp_path / who / ".keepfit", "churn")
        for who in ("ann", "bob")
    )
    first, second = registered(ann, bundle, 0.8), registered(bob, bundle, 0.9)
    registry.promote(ann, first, "the first", fine)
    registry.promote(bob, second, "better", fine, by="bob")
    assert [(v["version"], v["aliases"], v["metrics"]) for v in mlflow.versions(ann)] == [
        ("2", ["champion"], {"accuracy": 0.9}),
        ("1", ["previous"], {"accuracy": 0.8}),
    ]
    assert [r["status"] for r in mlflow.runs(ann)] == ["FINISHED"] * 2
    copy = mlflow.download(ann, second, ann.work / "models")
    assert copy.is_relative_to(ann.work)
    assert (copy / "plots" / "roc.png").read_bytes() == b"png"
    assert mlflow.download(ann, second, ann.work / "models") == copy
    assert [(d.version, d.by) for d in registry.history(ann)] == [("1", "ann"), ("2", "bob")]
    assert len(decisions.history(ann.work)) == 1
    registry.rollback(ann, fine, reason="slow")
    assert mlflow.alias(bob, "champion") == "1"
    with pytest.raises(TrackingError, match=f"no version 9 at {tracking_url}. Known: 2, 1"):
        registry.promote(bob, "9", "x", fine)


def test_a_run_with_many_values_and_odd_names(tracking_url: str, bundle: Path, tmp_path: Path) -> None:
    store = mlflow.connect(config.Tracking(uri=tracking_url, experiment="größe & co"), tmp_path, "odd's name")
    assert mlflow.versions(store) == []
    run = mlflow.start(store, "many")
    params = {f"parameter {n}": "x" * 7000 for n in range(150)}
    mlflow.log_run(store, run, params, {f"m{n}": n for n in range(900)}, {"größe": "ü"}, [bundle / "plots"])
    mlflow.end(store, run, "FAILED", "because")
    [found] = mlflow.runs(store)
    assert (found["status"], len(found["metrics"]), found["tags"]["größe"]) == ("FAILED", 900, "ü")


def test_several_writers_at_once_lose_nothing(tracking_url: str, tmp_path: Path) -> None:
    def write(number: int) -> None:
        store = mlflow.connect(config.Tracking(uri=tracking_url, experiment="busy"), tmp_path / str(number), "busy")
        run = mlflow.start(store, f"run {number}")
        mlflow.log_run(store, run, {"n": number}, {"accuracy": number / 10}, {})
        mlflow.end(store, run)

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(write, range(4)))
    store = mlflow.connect(config.Tracking(uri=tracking_url, experiment="busy"), tmp_path, "busy")
    assert sorted(r["metrics"]["accuracy"] for r in mlflow.runs(store)) == [0.0, 0.1, 0.2, 0.3]


def test_a_database_without_a_server_works_and_hides_its_password(
    postgres_url: str, bundle: Path, tmp_path: Path
) -> None:
    store = mlflow.connect(config.Tracking(uri=postgres_url, experiment="bare"), tmp_path / "w", "bare")
    assert registered(store, bundle) == "1"
    assert mlflow.download(store, "1", tmp_path).is_relative_to(tmp_path / "w" / "artifacts")
    wrong = postgres_url.replace("keepfit:", "nobody:")
    with pytest.raises(TrackingError, match="authentication failed") as told:
        mlflow.connect(config.Tracking(uri=wrong), tmp_path / "w", "bare")
    assert "s3c" not in str(told.value)


# MLflow's own tools


@pytest.fixture(scope="module")
def champion(tmp_path_factory: pytest.TempPathFactory) -> tuple[mlflow.Store, Bundle]:
    """A real bundle, registered and promoted."""
    folder = tmp_path_factory.mktemp("project")
    made = fits.schema("two")
    kinds = {
        "age": {"dtype": "int"},
        "income": {"missing": 0.1},
        "plan": {"missing": 0.1},
        "since": {"formats": ("%Y-%m-%d",)},
    }
    columns = tuple(dataclasses.replace(c, **kinds.get(c.name, {})) for c in made.columns)
    model = fits.fitted([LogisticRegression()])
    found = bundles.write(folder / "bundle", model, dataclasses.replace(made, columns=columns), fits.ABOUT, **fits.REST)
    store = mlflow.connect(config.Tracking(), folder / ".keepfit", "churn")
    run = mlflow.start(store, "a run")
    version = mlflow.register(store, run, found.path, found.schema, frame(3).to_dict("list"))
    registry.promote(store, version, "first", lambda path: runtime.load(path), Verdict("by hand"))
    mlflow.end(store, run)
    return store, found


def frame(rows: int) -> pd.DataFrame:
    """Whole numbers as int64, holes, and dates as text: what people have."""
    random = np.random.default_rng(5)
    plan = pd.Series(random.choice(["free", "pro", "new"], rows))
    plan[0] = None
    return pd.DataFrame(
        {
            "age": random.integers(18, 90, rows),
            "income": [None, *random.lognormal(10, 1, rows - 1)],
            "plan": plan,
            "town": [f"town {n % 7}" for n in range(rows)],
            "since": ["2020-01-31"] * rows,
        }
    )


def expected(made: Bundle, given: pd.DataFrame) -> list[str]:
    from keepfit.deployment.pyfunc import _load_pyfunc

    return list(_load_pyfunc(str(made.path)).predict(given))


def labels(answer: dict[str, Any]) -> list[str]:
    """The labels in MLflow's answer, which has a row a prediction."""
    return [row["prediction"] if isinstance(row, dict) else row for row in answer["predictions"]]


def tool(store: mlflow.Store, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [str(BIN / "mlflow"), "models", *arguments, "--env-manager", "local"]
    env = environment(MLFLOW_TRACKING_URI=store.tracking)
    return subprocess.run(command, env=env, capture_output=True, text=True, check=False)


SCRIPT = """
import json, sys
import mlflow, pandas
given = pandas.read_csv(sys.argv[1])
model = mlflow.pyfunc.load_model("models:/churn@champion")
print(json.dumps({
    "labels": list(model.predict(given)),
    "classes": list(model.predict(given, params={"method": "predict_proba"}).columns),
    "inputs": model.metadata.signature.inputs.input_names(),
    "example": len(model.input_example),
}))
"""


def test_pyfunc_loads_the_champion_and_answers_like_the_bundle(
    champion: tuple[mlflow.Store, Bundle], tmp_path: Path
) -> None:
    store, made = champion
    given = frame(50)
    given.to_csv(tmp_path / "in.csv", index=False)
    env = environment(MLFLOW_TRACKING_URI=store.tracking)
    command = [sys.executable, "-c", SCRIPT, str(tmp_path / "in.csv")]
    done = subprocess.run(command, env=env, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout)
    assert told["labels"] == expected(made, given)
    assert set(told["labels"]) == {"no", "yes"}
    assert told["classes"] == ["no", "yes"]
    assert told["inputs"] == ["age", "income", "plan", "town", "since"]
    assert told["example"] == 3


@pytest.mark.parametrize("kind", ["csv", "json"])
def test_mlflow_models_predict(champion: tuple[mlflow.Store, Bundle], tmp_path: Path, kind: str) -> None:
    store, made = champion
    given = frame(20)
    source = tmp_path / f"in.{kind}"
    if kind == "csv":
        given.to_csv(source, index=False)
    else:
        source.write_text(json.dumps({"dataframe_split": json.loads(given.to_json(orient="split", index=False))}))
    out = tmp_path / "out.json"
    done = tool(store, "predict", "-m", "models:/churn@champion", "-i", str(source), "-o", str(out), "-t", kind)
    assert done.returncode == 0, done.stderr
    assert labels(json.loads(out.read_text())) == expected(made, given)


def post(url: str, body: bytes, kind: str) -> Any:
    request = urllib.request.Request(url, body, {"Content-Type": kind})
    with urllib.request.urlopen(request, timeout=60) as answer:
        return json.load(answer)


def test_mlflow_models_serve(champion: tuple[mlflow.Store, Bundle], tmp_path: Path) -> None:
    store, made = champion
    url = f"http://127.0.0.1:{free_port()}"
    command = [str(BIN / "mlflow"), "models", "serve", "-m", "models:/churn@champion", "--env-manager", "local"]
    command += ["--port", url.rpartition(":")[2], "--workers", "1"]
    env = environment(MLFLOW_TRACKING_URI=store.tracking)
    given = frame(20)
    for _ in server(command, f"{url}/ping", tmp_path, env):
        split = {"dataframe_split": json.loads(given.to_json(orient="split", index=False))}
        records = {"dataframe_records": json.loads(given.to_json(orient="records"))}
        answers = [
            post(f"{url}/invocations", json.dumps(body).encode(), "application/json") for body in (split, records)
        ]
        answers.append(post(f"{url}/invocations", given.to_csv(index=False).encode(), "text/csv"))
        assert [labels(a) for a in answers] == [expected(made, given)] * 3
        with pytest.raises(HTTPError, match="400"):
            post(f"{url}/invocations", b'{"dataframe_records": [{"income": 1.0}]}', "application/json")
