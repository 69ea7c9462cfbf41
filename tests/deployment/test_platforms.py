"""What the environments of SageMaker and Vertex AI say."""

from __future__ import annotations

from pathlib import Path

import pytest

from keepfit.deployment.platforms import Platform, bundle, platform
from keepfit.errors import ConfigError

NOWHERE = Path("/nowhere/at/all")


def found(model=NOWHERE, **environment):
    return platform(environment.get, model)


def test_none():
    assert found() == Platform()
    assert found().execution_parameters() == {
        "MaxConcurrentTransforms": 4, "BatchStrategy": "MULTI_RECORD", "MaxPayloadInMB": 6,
    }  # fmt: skip


def test_a_batch_transform():
    told = found(
        SAGEMAKER_BATCH="true", SAGEMAKER_BATCH_STRATEGY="SingleRecord", SAGEMAKER_MAX_PAYLOAD_IN_MB="50",
        SAGEMAKER_MAX_CONCURRENT_TRANSFORMS="9", SAGEMAKER_BIND_TO_PORT="8081",
    )  # fmt: skip
    assert (told.name, told.host, told.port, told.max_body_mb, told.max_rows) == (
        "sagemaker", "0.0.0.0", 8081, 50, 1_000_000,
    )  # fmt: skip
    assert told.execution_parameters() == {
        "MaxConcurrentTransforms": 2, "BatchStrategy": "SINGLE_RECORD", "MaxPayloadInMB": 50,
    }  # fmt: skip
    assert found(SAGEMAKER_MAX_PAYLOAD_IN_MB="0").max_body_mb == 100  # no limit, says SageMaker
    assert found(SAGEMAKER_BATCH="false", SAGEMAKER_BATCH_STRATEGY="MULTI_RECORD").max_rows is None


@pytest.mark.parametrize("place", ["", "bundle", "model/bundle"])
def test_the_folder_of_the_model_tells_sagemaker(tmp_path, place):
    assert found(tmp_path) == Platform("sagemaker", "0.0.0.0", 8080, protocol="mlflow")
    (tmp_path / place).mkdir(parents=True, exist_ok=True)
    (tmp_path / place / "bundle.json").write_text("{}")
    assert found(tmp_path).bundle == tmp_path / place


def test_two_models_in_one_folder(tmp_path):
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "bundle.json").write_text("{}")
    with pytest.raises(ConfigError, match=r"has several models: .*/a, .*/b. Leave one there"):
        bundle(tmp_path)


def test_vertex(tmp_path):
    (tmp_path / "bundle.json").write_text("{}")
    told = found(
        AIP_HTTP_PORT="8085", AIP_HEALTH_ROUTE="/v1/endpoints/1/models/2", AIP_STORAGE_URI="gs://bucket/model",
        AIP_PREDICT_ROUTE="/v1/endpoints/1/models/2:predict",
    )  # fmt: skip
    assert told == Platform(
        "vertex", "0.0.0.0", 8085, ("/v1/endpoints/1/models/2",), ("/v1/endpoints/1/models/2:predict",), "vertex",
        storage="gs://bucket/model",
    )  # fmt: skip
    assert found(AIP_PREDICT_ROUTE="/p").port == 8080
    assert found(AIP_PREDICT_ROUTE="/p", AIP_STORAGE_URI=str(tmp_path)).bundle == tmp_path


@pytest.mark.parametrize(
    ("name", "value", "told"),
    [
        (
            "SAGEMAKER_BIND_TO_PORT",
            "http",
            "SAGEMAKER_BIND_TO_PORT is 'http'; it must be a whole number from 1 to 65535",
        ),
        ("SAGEMAKER_BIND_TO_PORT", "70000", "from 1 to 65535"),
        ("SAGEMAKER_MAX_PAYLOAD_IN_MB", "-1", "from 0 to 100"),
        ("SAGEMAKER_MAX_CONCURRENT_TRANSFORMS", "0", "from 1 to 1000"),
        ("SAGEMAKER_BATCH_STRATEGY", "ALL", "is 'ALL'. Known: MULTI_RECORD, SINGLE_RECORD"),
        ("AIP_HTTP_PORT", "²", "AIP_HTTP_PORT is '²'"),
        ("AIP_PREDICT_ROUTE", "predict", "AIP_PREDICT_ROUTE is 'predict'; it must be a path that begins with '/'"),
        ("AIP_HEALTH_ROUTE", "/health?x", "AIP_HEALTH_ROUTE is '/health.x'; it must be a path"),
    ],
)
def test_values_that_make_no_sense(name, value, told):
    with pytest.raises(ConfigError, match=told):
        found(**{name: value})
