"""The parts of the log on an object store, against a local server that speaks S3."""

from __future__ import annotations

import json
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from keepfit.data import labels, log_read, log_roll, segments
from keepfit.data.log import roller
from keepfit.data.log_roll import Rolled
from keepfit.errors import DataError
from tests.data.answered import logged
from tests.servers import free_port

boto3 = pytest.importorskip("boto3")
pytest.importorskip("s3fs")
pytestmark = pytest.mark.slow
URI = "s3://logs/churn/"


@pytest.fixture
def bucket(s3_endpoint: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    monkeypatch.setenv("AWS_ENDPOINT_URL", s3_endpoint)
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "keepfit")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "s3cret-key")
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
    made = boto3.resource("s3", endpoint_url=s3_endpoint).Bucket("logs")
    made.create()
    yield made
    made.objects.delete()
    made.delete()


def test_parts_go_to_the_store(bucket: Any, tmp_path: Path) -> None:
    folder = tmp_path / "predictions"
    keys = logged(folder, 3)
    shadow = logged(folder, 2, role="shadow")
    assert len(shadow) == 2
    assert labels.add(tmp_path / "feedback", folder, [{"id": keys[0], "label": "yes"}]).accepted == 1
    done = subprocess.run(roller(folder, URI, 86400.0 * 5), capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")
    assert json.loads(done.stdout)["rows"] == 6
    names = [stored.key.split("/")[:2] for stored in bucket.objects.all()]
    assert sorted(names) == [["churn", "feedback"], ["churn", "predictions"], ["churn", "shadow"]]
    assert not list(tmp_path.rglob("*.parquet"))
    more = logged(folder, 2)
    found = log_read.read(folder, labels=True, uri=URI).sort("id").collect()
    assert found["id"].to_list() == sorted([*keys, *more])
    assert found.filter(id=keys[0])["label"].to_list() == ["yes"]
    assert labels.add(tmp_path / "feedback", folder, [{"id": keys[0], "label": "no"}]).repeated == 1


def test_retention_on_the_store(bucket: Any, tmp_path: Path) -> None:
    logged(tmp_path, 3, at=time.time() - 10 * 86400)
    kept = logged(tmp_path, 3)
    log_roll.roll(tmp_path, URI)
    assert log_roll.expire(tmp_path, 5 * 86400, URI) == Rolled(deleted=1)
    assert log_roll.expire(tmp_path, 5 * 86400, URI) == Rolled()
    assert log_read.read(tmp_path, uri=URI).collect()["id"].sort().to_list() == kept


def test_a_store_that_is_away_loses_nothing(bucket: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    keys = logged(tmp_path, 3)
    with monkeypatch.context() as away:
        away.setenv("AWS_ENDPOINT_URL", f"http://127.0.0.1:{free_port()}")
        away.setenv("AWS_MAX_ATTEMPTS", "1")
        with pytest.raises(DataError, match=r"s3://logs/churn/ cannot be written: .*environment: AWS_ACCESS_KEY_ID"):
            log_roll.roll(tmp_path, URI)
    assert len(segments.names(tmp_path)) == 1
    assert log_roll.roll(tmp_path, URI) == Rolled(1, 3)
    assert log_roll.roll(tmp_path, URI) == Rolled()
    assert log_read.read(tmp_path, uri=URI).collect()["id"].sort().to_list() == keys


def test_no_such_bucket(bucket: Any, tmp_path: Path) -> None:
    logged(tmp_path, 1)
    with pytest.raises(DataError, match=r"s3://nobody/x cannot be written"):
        log_roll.roll(tmp_path, "s3://nobody/x")
