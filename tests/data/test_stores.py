"""Object stores, against a local server that speaks S3."""

from __future__ import annotations

import io
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from keepfit import config
from keepfit.data.read import read
from keepfit.errors import DataError
from tests.data.drawings import picture
from tests.servers import free_port

boto3 = pytest.importorskip("boto3")
pytest.importorskip("s3fs")
pytestmark = pytest.mark.slow  # the server takes its time to start


@pytest.fixture
def bucket(s3_endpoint: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    monkeypatch.setenv("AWS_ENDPOINT_URL", s3_endpoint)
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "keepfit")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "s3cret-key")
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
    made = boto3.resource("s3", endpoint_url=s3_endpoint).Bucket("shop")
    made.create()
    for key, body in {
        "churn/2024-01.csv": b"a,b\n1,2\n",
        "churn/2024-02.csv": b"b,a\n4,3\n",
        "churn/ragged.tsv": b"a\tb\n1\n",
        "one/_SUCCESS": b"",
        "one/part.csv": b"a\n7\n",
    }.items():
        made.put_object(Key=key, Body=body)
    yield made
    made.objects.delete()
    made.delete()


def get(source: str) -> tuple[list[tuple[Any, ...]], dict[str, Any]]:
    frame, origin = read(config.Data(source=source), Path("/"))
    return frame.rows(), origin


def test_objects_globs_and_folders(bucket: Any) -> None:
    rows, origin = get("s3://shop/churn/2024-01.csv")
    assert rows == [("1", "2")]
    assert origin["files"][0]["path"] == "s3://shop/churn/2024-01.csv"
    assert origin["files"][0]["bytes"] == 8
    rows, origin = get("s3://shop/churn/2024-*.csv")
    assert rows == [("1", "2"), ("3", "4")]
    assert [file["path"] for file in origin["files"]] == ["s3://shop/churn/2024-01.csv", "s3://shop/churn/2024-02.csv"]
    assert get("s3://shop/one")[0] == get("s3://shop/one/")[0] == [("7",)]


def test_an_archive_of_pictures_and_a_part_of_it(bucket: Any) -> None:
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as file:
        for n, name in enumerate(("train/ants/1.png", "train/bees/1.png", "val/ants/2.png")):
            file.writestr(name, picture(n))
    bucket.put_object(Key="photos.zip", Body=packed.getvalue())
    rows, origin = get("s3://shop/photos.zip")
    assert [label for _, _, label in rows] == ["ants", "bees"]
    assert origin["test"] == "s3://shop/photos.zip#val"
    assert [path for _, path, _ in get(origin["test"])[0]] == ["val/ants/2.png"]


def test_a_changed_object_is_read_anew(bucket: Any) -> None:
    assert get("s3://shop/one/part.csv")[0] == [("7",)]
    bucket.put_object(Key="one/part.csv", Body=b"a\n8\n")
    bucket.put_object(Key="one/part2.csv", Body=b"a\n9\n")
    assert get("s3://shop/one/*.csv")[0] == [("8",), ("9",)]


def test_what_is_not_there(bucket: Any) -> None:
    with pytest.raises(
        DataError, match=r"Nothing at s3://shop/one/prat.csv. Did you mean 'part.csv'\? In 'shop/one' there"
    ):
        get("s3://shop/one/prat.csv")
    with pytest.raises(DataError, match=r"Nothing at s3://shop/two/\*.csv. There is no 'shop/two' either"):
        get("s3://shop/two/*.csv")
    with pytest.raises(DataError, match=r"s3://nobody/x.csv"):
        get("s3://nobody/x.csv")


def test_errors_name_the_object(bucket: Any) -> None:
    with pytest.raises(DataError, match=r"^s3://shop/churn/ragged.tsv: 1 row cannot be read"):
        get("s3://shop/churn/ragged.tsv")


def test_nobody_listens(bucket: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://127.0.0.1:{free_port()}")
    monkeypatch.setenv("AWS_MAX_ATTEMPTS", "1")
    with pytest.raises(DataError, match=r"cannot be read: .*environment: AWS_ACCESS_KEY_ID") as caught:
        get("s3://shop/x.csv")
    assert "s3cret" not in str(caught.value)
