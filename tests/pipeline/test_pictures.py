"""The whole loop on pictures: trained from a folder, answered and labelled, watched, trained again from the log."""

from __future__ import annotations

import base64
import io
import json
import subprocess
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pandas as pd
import polars as pl
import pytest

pytest.importorskip("PIL")

from PIL import Image

from keepfit import Project
from keepfit.data import pictures as files
from keepfit.pipeline import gathering
from tests import pictures
from tests.data import drawings
from tests.projects import keepfit
from tests.serving import Server, serving
from tests.traffic import labelled, soon

pytestmark = pytest.mark.slow
SETTINGS = "serving: {max_body_mb: 2}\nretraining: {min_rows: 20}\n"


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = pictures.project(tmp_path_factory.mktemp("digits"), SETTINGS)
    assert Project(folder).run()["outcome"] == "promoted"
    return folder


@pytest.fixture(scope="module")
def server(trained: Path) -> Iterator[Server]:
    with serving(trained) as running:
        yield running


def curl(server: Server, *options: str) -> str:
    try:
        return subprocess.run(
            ["curl", "-s", f"{server.url}/predict", *options], check=True, capture_output=True, text=True, timeout=60
        ).stdout
    except FileNotFoundError:
        pytest.skip("no curl here")


def test_curl_sends_files_and_forms(server: Server, tmp_path: Path) -> None:
    (data, other), (label, second) = (part[:2] for part in pictures.drawn())
    (tmp_path / "a.pgm").write_bytes(data)
    (tmp_path / "b.pgm").write_bytes(other)
    alone = curl(server, "--data-binary", f"@{tmp_path}/a.pgm", "-H", "Content-Type: image/x-portable-graymap")
    form = curl(server, "-F", f"image=@{tmp_path}/a.pgm", "-F", f"image=@{tmp_path}/b.pgm")
    assert [row["prediction"] for row in json.loads(alone)["predictions"]] == [label]
    assert [row["prediction"] for row in json.loads(form)["predictions"]] == [label, second]
    (tmp_path / "c.png").write_bytes(pictures.damaged())
    refused = json.loads(curl(server, "-F", f"image=@{tmp_path}/a.pgm", "-F", f"image=@{tmp_path}/c.png"))
    assert [(one["row"], one["column"]) for one in refused["error"]["details"]] == [(1, "image")]


def test_real_clients(server: Server) -> None:
    """Triton's with raw bytes, MLflow's with base64 in a frame."""
    triton = pytest.importorskip("tritonclient.http")
    data, labels = (part[:3] for part in pictures.drawn())
    tensor = triton.InferInput("image", [3], "BYTES")
    tensor.set_data_from_numpy(np.array(data, object))
    with triton.InferenceServerClient(server.url.removeprefix("http://")) as client:
        found = client.infer("digits", [tensor]).as_numpy("prediction").tolist()
    assert [label.decode() for label in found] == [*labels]
    scoring = pytest.importorskip("mlflow.pyfunc.scoring_server.client")
    frame = pd.DataFrame({"image": [base64.encodebytes(one).decode() for one in data]})
    told = scoring.ScoringServerClient(server.host, server.port).invoke(frame).get_predictions()
    assert told["prediction"].tolist() == [*labels]


def test_bombs_and_broken_files_are_4xx_and_the_server_goes_on(server: Server) -> None:
    data = pictures.drawn()[0][0]
    kinds = {"image/png": [drawings.header_only(20_000, 20_000), b"", b"\x89PNG", pictures.damaged(), b"%!PS-Adobe"]}
    kinds["multipart/form-data; boundary=x"] = [b"--x", b"--x--", b'--x\r\nContent-Disposition: a; name="image"']
    for kind, bodies in kinds.items():
        for body in bodies:
            answer = server.post("/predict", body, content_type=kind)
            assert 400 <= answer.status < 500, (kind, body[:40], answer)
    too_large = server.post("/predict", b"\xff\xd8\xff" + bytes(3 * 2**20), content_type="image/jpeg")
    assert too_large.status == 413
    assert server.post("/predict", data, content_type="image/pgm").status == 200
    assert server.get("/health").status == 200


def test_health_answers_while_a_large_picture_is_worked_on(server: Server) -> None:
    """A picture of 49 million pixels takes most of a second to decode; nobody else waits for it."""
    file = io.BytesIO()
    Image.new("L", (7000, 7000)).save(file, "PNG")
    with ThreadPoolExecutor(1) as pool:
        large = pool.submit(server.post, "/predict", file.getvalue(), content_type="image/png")
        while not large.done():
            meanwhile = server.get("/health").status
    assert (large.result().status, meanwhile) == (200, 200)


def test_what_was_logged_is_watched_and_learned_from(trained: Path) -> None:
    made = Project(trained)
    data, labels = pictures.drawn()
    odd = [files.encoded(np.random.default_rng(k).integers(0, 256, (8, 8), np.uint8)) for k in range(3)]
    frame = pl.DataFrame({"image": [*data[:100], *odd], "digit": [*labels[:100], "0", "1", "2"]})
    labelled(made, frame, seconds=1.0)
    assert keepfit("monitor", "-C", str(trained))[0] in (0, 3)
    (report,) = (trained / ".keepfit" / "monitoring" / "reports").glob("*.html")
    text = report.read_text(encoding="utf-8")
    assert text.count("data:image/jpeg;base64,") == 12
    assert "Strangest pictures" in text
    latest = (trained / ".keepfit" / "monitoring" / "latest.json").read_text(encoding="utf-8")
    assert "data:image" not in latest
    gathered = gathering.gather(made.config, trained, soon(), trust=True)
    both = pl.concat([gathered.split.train.frame.select("image"), gathered.split.test.frame.select("image")])
    assert both.schema["image"] == pl.Binary
    assert set(odd) <= set(both["image"].to_list())
    code, told = keepfit("retrain", "--trust", "-C", str(trained))
    assert code in (0, 3), told


def test_the_page_of_the_api_shows_a_picture(server: Server) -> None:
    example = server.get("/openapi.json").json["paths"]["/predict"]["post"]["requestBody"]["content"]
    assert server.post("/predict", example["application/json"]["example"]).status == 200
    assert server.post("/invocations", {"instances": [{"b64": "!!!"}]}).status == 422
