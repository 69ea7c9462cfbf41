"""Clients that other people wrote, against a running server: MLflow's, Triton's, requests, schemathesis, Chromium."""

from __future__ import annotations

import io
import json
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet
import pytest
import requests

from tests.pipeline.test_forecast import make
from tests.projects import keepfit, project, table
from tests.servers import free_port
from tests.serving import serving

pytestmark = pytest.mark.slow
FRAME = pd.DataFrame({"age": [41, 70, 25], "plan": ["pro", "unseen", "basic"], "spend": [12.5, np.nan, 80.0]})
ROWS = [
    {"age": 41, "plan": "pro", "spend": 12.5},
    {"age": 70, "plan": "unseen", "spend": None},
    {"age": 25, "plan": "basic", "spend": 80.0},
]


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = project(tmp_path_factory.mktemp("clients"), table(), "project: {name: shop}\n")
    assert keepfit("run", "-C", str(folder))[0] == 0
    return folder


@pytest.fixture(scope="module")
def server(trained: Path) -> Iterator[str]:
    """The address of a running server."""
    with serving(trained) as running:
        yield running.url


@pytest.fixture(scope="module")
def wanted(server: str) -> list[str]:
    """The labels of FRAME, by keepfit's own protocol."""
    answer = requests.post(f"{server}/predict", json=ROWS, timeout=20).json()
    return [row["prediction"] for row in answer["predictions"]]


# --- MLflow -----------------------------------------------------------------------------------------


def test_mlflows_scoring_client(server, wanted):
    client = pytest.importorskip("mlflow.pyfunc.scoring_server.client")
    host, port = server.removeprefix("http://").split(":")
    scoring = client.ScoringServerClient(host, int(port))
    scoring.wait_server_ready(timeout=10)
    assert scoring.get_version()
    found = scoring.invoke(FRAME).get_predictions()
    assert found["prediction"].tolist() == wanted
    chances = scoring.invoke(FRAME, params={"method": "predict_proba"}).get_predictions()
    assert list(chances) == ["no", "yes"]
    np.testing.assert_allclose(chances.sum(axis=1), 1)
    assert scoring.invoke(json.dumps({"instances": ROWS[:1]})).get_predictions()["prediction"].tolist() == wanted[:1]
    with pytest.raises(Exception, match=r"error code 422.*BAD_REQUEST.*Row 0, column 'age': not a number: 'old'"):
        scoring.invoke(FRAME.astype({"age": object}).assign(age="old"))


def test_mlflows_answers_as_its_deployments_read_them(server, wanted):
    deployments = pytest.importorskip("mlflow.deployments")
    answer = requests.post(f"{server}/invocations", json={"dataframe_records": ROWS}, timeout=20)
    found = deployments.PredictionsResponse.from_json(answer.text)
    assert [row["prediction"] for row in found.get_predictions("ndarray")] == wanted


# --- Triton and KServe ------------------------------------------------------------------------------


def tensors(client, binary):
    kinds = {"age": ("INT64", np.int64), "plan": ("BYTES", object), "spend": ("FP64", np.float64)}
    made = []
    for name, (kind, dtype) in kinds.items():
        tensor = client.InferInput(name, [len(FRAME)], kind)
        tensor.set_data_from_numpy(FRAME[name].to_numpy(dtype), binary_data=binary)
        made.append(tensor)
    return made


@pytest.mark.parametrize("binary", [True, False])
def test_tritons_client(server, wanted, binary):
    client = pytest.importorskip("tritonclient.http")
    with client.InferenceServerClient(server.removeprefix("http://")) as triton:
        assert triton.is_server_live()
        assert triton.is_server_ready()
        assert triton.is_model_ready("shop")
        assert triton.is_model_ready("shop", "1")
        assert "binary_tensor_data" in triton.get_server_metadata()["extensions"]
        metadata = triton.get_model_metadata("shop")
        assert [i["name"] for i in metadata["inputs"]] == list(FRAME)
        outputs = [client.InferRequestedOutput(name, binary) for name in ("prediction", "probabilities")]
        found = triton.infer("shop", tensors(client, binary), outputs=outputs, request_id="mine")
        assert found.get_response()["id"] == "mine"
        labels = found.as_numpy("prediction").tolist()
        assert [label.decode() if isinstance(label, bytes) else label for label in labels] == wanted
        assert found.as_numpy("probabilities").shape == (3, 2)
        assert found.as_numpy("confidence") is None
        whole = triton.infer("shop", tensors(client, binary))
        assert whole.as_numpy("prediction_id").shape == (3,)
        packed = triton.infer("shop", tensors(client, True), request_compression_algorithm="gzip")
        assert packed.as_numpy("prediction").shape == (3,)


def test_tritons_client_reads_the_errors(server):
    client = pytest.importorskip("tritonclient.http")
    utils = pytest.importorskip("tritonclient.utils")
    with client.InferenceServerClient(server.removeprefix("http://")) as triton:
        assert not triton.is_model_ready("other")
        with pytest.raises(utils.InferenceServerException, match="column 'plan': is not there"):
            triton.infer("shop", tensors(client, True)[:1])
        with pytest.raises(utils.InferenceServerException, match="There is no model of this name"):
            triton.infer("other", tensors(client, True))


# --- forecasts ------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def ahead(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, Path]]:
    """The address of a server of forecasts, and its project."""
    folder = tmp_path_factory.mktemp("ahead")
    assert make(folder).run()["outcome"] == "promoted"
    with serving(folder) as running:
        yield running.url, folder


@pytest.fixture(scope="module")
def told(ahead):
    """What comes, as keepfit's own protocol tells it: (shop, month, step, value, interval)."""
    answer = requests.post(f"{ahead[0]}/predict", json={"horizon": 2}, timeout=20).json()["predictions"]
    return [(row["shop"], row["month"], row["step"], row["prediction"], *row["interval"]) for row in answer]


PLACED = ["shop", "month", "step", "prediction", "prediction_low", "prediction_high"]


def test_mlflows_scoring_client_reads_forecasts(ahead, told):
    client = pytest.importorskip("mlflow.pyfunc.scoring_server.client")
    deployments = pytest.importorskip("mlflow.deployments")
    host, port = ahead[0].removeprefix("http://").split(":")
    scoring = client.ScoringServerClient(host, int(port))
    for body in (pd.DataFrame({"horizon": [2]}), json.dumps({"instances": [{"horizon": 2}]})):
        found = scoring.invoke(body).get_predictions()
        assert list(found) == PLACED
        assert [*found.itertuples(index=False, name=None)] == told
    rows = pd.DataFrame({"shop": ["north"], "month": ["2005-01"]})
    assert scoring.invoke(rows).get_predictions()["step"].tolist() == [1]
    answer = requests.post(f"{ahead[0]}/invocations", json={"dataframe_records": [{"horizon": 2}]}, timeout=20)
    found = deployments.PredictionsResponse.from_json(answer.text).get_predictions()
    assert list(found) == PLACED


def test_mlflow_loads_the_model_of_a_forecast(ahead, told):
    pyfunc = pytest.importorskip("mlflow.pyfunc")
    url, folder = ahead
    [model] = (folder / ".keepfit").glob("artifacts/**/MLmodel")
    loaded = pyfunc.load_model(str(model.parent))
    rows = pd.DataFrame([row[:2] for row in told], columns=["shop", "month"])
    found = loaded.predict(rows)
    assert list(found) == PLACED == loaded.metadata.signature.outputs.input_names()
    np.testing.assert_allclose(found["prediction"], [row[3] for row in told], rtol=1e-9)
    body = {"dataframe_split": rows.to_dict("split")}
    same = requests.post(f"{url}/invocations", json=body, timeout=20).json()["predictions"]
    np.testing.assert_allclose(pd.DataFrame(same)["prediction_low"], found["prediction_low"], rtol=1e-9)
    assert pd.DataFrame(same)[PLACED[:3]].equals(found[PLACED[:3]])


def test_sagemakers_lines_of_forecasts(ahead, told):
    both = {"Content-Type": "text/csv", "Accept": "text/csv"}
    answer = requests.post(f"{ahead[0]}/invocations", "shop,month\nnorth,2005-01\n", headers=both, timeout=20)
    assert answer.text.splitlines()[0] == ",".join(PLACED)
    assert answer.text.splitlines()[1].startswith("north,2005-01,1,")
    kind = {"Content-Type": "application/jsonlines", "Accept": "application/jsonlines"}
    answer = requests.post(f"{ahead[0]}/invocations", '{"horizon": 2}', headers=kind, timeout=20)
    assert [tuple(json.loads(line).values()) for line in answer.text.splitlines()] == told


def test_vertexs_answers_to_a_wish(ahead, told):
    request = {"instances": [{"horizon": 2}]}
    port = free_port()
    environment = {
        "AIP_HTTP_PORT": str(port), "AIP_HEALTH_ROUTE": "/health", "AIP_PREDICT_ROUTE": "/vertex",
    }  # fmt: skip
    with serving(ahead[1], environment=environment):
        answer = requests.post(f"http://127.0.0.1:{port}/vertex", json=request, timeout=20).json()["predictions"]
    assert [(row["shop"], row["month"], row["step"]) for row in answer] == [row[:3] for row in told]


@pytest.mark.parametrize("binary", [True, False])
def test_tritons_client_reads_forecasts(ahead, told, binary):
    client = pytest.importorskip("tritonclient.http")
    with client.InferenceServerClient(ahead[0].removeprefix("http://")) as triton:
        metadata = triton.get_model_metadata("shops")
        assert {i["name"]: i["datatype"] for i in metadata["inputs"]} == {
            "shop": "BYTES", "month": "BYTES", "sold": "FP64",
        }  # fmt: skip
        wish = client.InferInput("horizon", [1], "INT64")
        wish.set_data_from_numpy(np.array([2]), binary_data=binary)
        outputs = [client.InferRequestedOutput(o["name"], binary) for o in metadata["outputs"]]
        found = triton.infer("shops", [wish], outputs=outputs)
        made = {o["name"]: found.as_numpy(o["name"]) for o in metadata["outputs"]}
        assert list(made) == ["shop", "month", "step", "prediction", "interval", "prediction_id"]
        for output in metadata["outputs"]:
            assert found.get_output(output["name"])["datatype"] == output["datatype"]
        texts = [[v.decode() if isinstance(v, bytes) else v for v in made[name]] for name in ("shop", "month")]
        assert [*zip(*texts, made["step"], made["prediction"], *made["interval"].T, strict=True)] == told


# --- SageMaker and Vertex AI ------------------------------------------------------------------------


def test_replays_of_sagemaker(server, wanted):
    """What a SageMaker endpoint and a batch transform send."""
    assert requests.get(f"{server}/ping", timeout=20).status_code == 200
    told = requests.get(f"{server}/execution-parameters", timeout=20).json()
    assert set(told) == {"MaxConcurrentTransforms", "BatchStrategy", "MaxPayloadInMB"}
    csv, both = FRAME.to_csv(index=False, header=False), {"Content-Type": "text/csv", "Accept": "text/csv"}
    answer = requests.post(f"{server}/invocations", csv, headers=both, timeout=20)
    assert answer.text == "".join(f"{label}\n" for label in wanted)  # a line a record, to be put beside it
    lines = "\n".join(map(json.dumps, ROWS))
    kind = {"Content-Type": "application/jsonlines", "Accept": "application/jsonlines"}
    answer = requests.post(f"{server}/invocations", lines, headers=kind, timeout=20)
    assert [json.loads(line)["prediction"] for line in answer.text.splitlines()] == wanted
    sink = io.BytesIO()
    pa.parquet.write_table(pa.Table.from_pandas(FRAME), sink)
    for name in ("application/x-parquet", "application/octet-stream"):
        answer = requests.post(f"{server}/invocations", sink.getvalue(), headers={"Content-Type": name}, timeout=20)
        assert [row["prediction"] for row in answer.json()["predictions"]] == wanted
    answer = requests.post(f"{server}/invocations", b"x", headers={"Content-Type": "image/png"}, timeout=20)
    assert answer.status_code == 415


def test_sagemakers_environment(trained):
    """The port, and the large requests of a batch transform."""
    environment = {"SAGEMAKER_BIND_TO_PORT": str(free_port()), "SAGEMAKER_BATCH": "true"}
    with serving(trained, environment=environment) as running:
        url = f"http://127.0.0.1:{environment['SAGEMAKER_BIND_TO_PORT']}"
        assert requests.get(f"{url}/ping", timeout=20).status_code == 200
        many = pd.concat([FRAME.fillna(1.0)] * 5000).to_csv(index=False, header=False)  # over serving.max_rows
        kind = {"Content-Type": "text/csv", "Accept": "text/csv"}
        answer = requests.post(f"{url}/invocations", many, headers=kind, timeout=30)
        assert len(answer.text.splitlines()) == 15_000
        assert running.stop() == 0


def test_vertexs_environment(trained, wanted):
    port = free_port()
    environment = {
        "AIP_HTTP_PORT": str(port), "AIP_HEALTH_ROUTE": "/v1/endpoints/1/deployedModels/2",
        "AIP_PREDICT_ROUTE": "/v1/endpoints/1/deployedModels/2:predict",
    }  # fmt: skip
    with serving(trained, environment=environment):
        url = f"http://127.0.0.1:{port}"
        assert requests.get(url + environment["AIP_HEALTH_ROUTE"], timeout=20).status_code == 200
        ask = url + environment["AIP_PREDICT_ROUTE"]
        answer = requests.post(ask, json={"instances": ROWS, "parameters": {}}, timeout=20).json()
        assert [row["prediction"] for row in answer["predictions"]] == wanted
        assert set(answer) == {"predictions"}
        lists = [list(row.values()) for row in ROWS]
        answer = requests.post(ask, json={"instances": lists}, timeout=20).json()
        assert [row["prediction"] for row in answer["predictions"]] == wanted
        document = requests.get(f"{url}/openapi.json", timeout=20).json()
        assert environment["AIP_PREDICT_ROUTE"] in document["paths"]
        fault = requests.post(ask, json={"instances": []}, timeout=20)
        assert (fault.status_code, fault.json()["error"]["code"]) == (400, "no_rows")


# --- the document and its page ----------------------------------------------------------------------


def test_schemathesis(server, tmp_path):
    """Hundreds of made requests: nothing but what the document says, and no fault of the server.

    Not asked: that all the document does not name is refused. Values are read as in a file: a number
    may come as text or as true.
    """
    crossed(server, tmp_path, "60")
    answer = requests.post(f"{server}/predict", json=ROWS[0], timeout=20)
    assert answer.status_code == 200


def test_schemathesis_of_a_forecast(ahead, tmp_path):
    """The same for a model that is asked by a horizon."""
    url = ahead[0]
    crossed(url, tmp_path, "30")
    document = requests.get(f"{url}/openapi.json", timeout=20).json()
    for path in ("/predict", "/invocations", "/v2/models/shops/infer"):
        example = document["paths"][path]["post"]["requestBody"]["content"]["application/json"]["example"]
        assert requests.post(f"{url}{path}", json=example, timeout=20).status_code == 200


def crossed(server, folder, examples):
    pytest.importorskip("schemathesis")
    checks = "not_a_server_error,status_code_conformance,content_type_conformance,response_schema_conformance"
    checks += ",unsupported_method"
    command = [sys.executable, "-m", "schemathesis.cli", "run", f"{server}/openapi.json", "--checks", checks]
    options = ["--max-examples", examples, "--seed", "7", "--no-color", "--mode", "all"]
    done = subprocess.run([*command, *options], cwd=folder, capture_output=True, text=True, timeout=280)
    assert done.returncode == 0, done.stdout[-6000:] + done.stderr


def test_the_example_of_the_document_is_answered(server):
    document = requests.get(f"{server}/openapi.json", timeout=20).json()
    for path in ("/predict", "/invocations", "/v2/models/shop/infer"):
        example = document["paths"][path]["post"]["requestBody"]["content"]["application/json"]["example"]
        assert requests.post(f"{server}{path}", json=example, timeout=20).status_code == 200


@pytest.fixture(scope="module")
def browser():
    sync = pytest.importorskip("playwright.sync_api")
    chromium = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if chromium is None:
        pytest.skip("no Chromium here")
    with sync.sync_playwright() as playwright:
        running = playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        yield running
        running.close()


@pytest.mark.parametrize(("width", "scheme"), [(1280, "light"), (390, "dark")])
def test_the_form_of_docs_in_a_browser(server, wanted, browser, width, scheme):
    page = browser.new_page(viewport={"width": width, "height": 900}, color_scheme=scheme)
    told = []
    page.on("console", lambda message: told.append(message.text))
    page.on("pageerror", lambda error: told.append(str(error)))
    page.on("request", lambda request: told.append(request.url) if not request.url.startswith((server, "data:")) else 0)
    page.goto(f"{server}/docs")
    page.fill("[data-name=age]", "41")
    page.fill("[data-name=plan]", "pro")
    page.fill("[data-name=spend]", "12.5")
    assert json.loads(page.input_value("#body")) == ROWS[0]
    assert page.inner_text("#curl").startswith(f"curl {server}/predict")
    page.click("button[type=submit]")
    page.wait_for_selector("#answer meter")
    assert page.inner_text("#headline").startswith(f"{wanted[0]}, confidence ")
    assert page.locator("#bars meter").count() == 2
    page.click("summary")
    page.fill("#body", '{"age": "old"}')
    page.click("button[type=submit]")
    page.wait_for_selector("#headline.bad")
    assert "cannot be read" in page.inner_text("#headline")
    assert page.evaluate("document.documentElement.scrollWidth") <= width  # nothing to scroll sideways
    page.close()
    assert [text for text in told if "422" not in text] == []  # Chromium tells a 4xx itself


def test_the_command_of_docs_runs_as_it_is_shown(server, wanted, browser):
    curl = shutil.which("curl")
    if curl is None:
        pytest.skip("no curl here")
    page = browser.new_page()
    page.goto(f"{server}/docs")
    page.fill("[data-name=age]", "41")
    page.fill("[data-name=plan]", "it's $HOME")
    shown = page.inner_text("#curl")
    page.close()
    done = subprocess.run(["sh", "-c", shown], capture_output=True, text=True, timeout=30)
    assert json.loads(done.stdout)["predictions"][0]["prediction"] in ("yes", "no")


def test_no_key_no_answer(trained):
    with serving(trained, environment={"KEEPFIT_API_KEY": "s3cret"}) as running:
        assert requests.post(f"{running.url}/invocations", json={"instances": ROWS}, timeout=20).status_code == 401
        for name, value in (("Authorization", "Bearer s3cret"), ("X-API-Key", "s3cret")):
            answer = requests.post(
                f"{running.url}/invocations", json={"instances": ROWS}, headers={name: value}, timeout=20
            )
            assert answer.status_code == 200
        assert requests.get(f"{running.url}/openapi.json", timeout=20).status_code == 401
        document = requests.get(f"{running.url}/openapi.json", headers={"X-API-Key": "s3cret"}, timeout=20).json()
        assert {} not in document["security"]
