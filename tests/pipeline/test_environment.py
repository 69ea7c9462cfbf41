"""What is wrong with the machine is told by check, all of it, beside what is wrong with the data."""

from __future__ import annotations

import json
import os
import shutil
from collections import namedtuple
from pathlib import Path

import pytest

from keepfit import config
from keepfit.pipeline import environment
from keepfit.types import Check
from tests.projects import keepfit, project, table
from tests.servers import WebServer, free_port


@pytest.fixture(autouse=True)
def no_servers_of_the_user(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("MLFLOW_TRACKING_URI", "MLFLOW_REGISTRY_URI"):
        monkeypatch.delenv(name, raising=False)


def checks(folder: Path, *sets: str) -> dict[str, Check]:
    found = environment.examine(config.load(folder, sets), folder).checks
    return {check.name.removeprefix("environment."): check for check in found}


def test_a_sound_machine_passes_and_nothing_is_written(tmp_path: Path) -> None:
    folder = project(tmp_path, table())
    before = sorted(folder.iterdir())
    (tmp_path / "features.py").write_text("def twice(frame):\n    return frame['age'] * 2\n")
    found = checks(folder)
    assert {c.outcome for c in found.values()} == {"passed"}, found
    assert set(found) == {"writable", "disk", "tracking", "extras", "features", "packages"}
    assert sorted(folder.iterdir()) == sorted([*before, tmp_path / "features.py"])


def test_check_tells_all_problems_at_once_and_ends_with_3(tmp_path: Path) -> None:
    folder = project(tmp_path, table(), "checks: {age: {max: 30}}\n")
    dead = f"tracking.uri=http://127.0.0.1:{free_port()}"
    (tmp_path / ".keepfit").touch()
    code, output = keepfit("check", "-C", str(folder), "--set", dead)
    assert code == 3
    for told in ("environment.tracking", "does not answer", "environment.writable", "is a file", "checks.age.max"):
        assert told in output
    code, output = keepfit("check", "-C", str(folder), "--set", dead, "--set", "data.source=no.csv")
    assert code == 1
    assert "No file at" in output
    assert "environment.tracking" in output


def test_a_disk_without_room_for_data_of_this_size(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = project(tmp_path, table())
    usage = namedtuple("usage", "total used free")(
        10**12, 0, environment.LEAST + 1000
    )  # full disks cannot be made here
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage)
    assert "0.2 GB free" in checks(folder)["disk"].detail
    assert checks(folder)["disk"].outcome == "failed"
    (tmp_path / "data.csv").write_text("a\n1\n")
    assert checks(folder)["disk"].outcome == "passed"


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_folder_that_may_not_be_written(tmp_path: Path) -> None:
    folder = project(tmp_path, table())
    folder.chmod(0o555)
    try:
        assert "may not be written" in checks(folder)["writable"].detail
    finally:
        folder.chmod(0o755)


def test_packages_that_the_source_needs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = project(tmp_path, table())
    assert checks(folder, "data.source=s3://shop/a.csv")["extras"].outcome == "passed"
    monkeypatch.setattr(environment.importlib.util, "find_spec", lambda name: None)
    for source, extra in (("s3://shop/a.csv", "s3"), ("a.xlsx", "excel"), ("postgresql://h/d", "postgres")):
        found = checks(folder, f"data.source={source}")["extras"]
        assert found.outcome == "failed"
        assert f"pip install 'keepfit[{extra}]'" in found.detail


def test_features_that_cannot_be_imported_are_told_once(tmp_path: Path) -> None:
    folder = project(tmp_path, table())
    (tmp_path / "features.py").write_text("import no_such_package_here\n")
    assert "no_such_package_here" in checks(folder)["features"].detail
    code, output = keepfit("check", "-C", str(folder))
    assert code == 1
    assert output.count("no_such_package_here") == 1


def test_a_server_that_answers_but_keeps_no_registry(tmp_path: Path, web_server: WebServer) -> None:
    folder = project(tmp_path, table())
    found = checks(folder, f"tracking.uri={web_server.url}")["tracking"]
    assert found.outcome == "failed"
    assert "read the registry" in found.detail


def test_passwords_are_not_shown(tmp_path: Path) -> None:
    folder = project(tmp_path, table())
    place = f"127.0.0.1:{free_port()}"
    for scheme in ("http", "postgresql"):
        code, output = keepfit(
            "check", "-C", str(folder), "--json", "--set", f"tracking.uri={scheme}://ann:hunter2@{place}/x"
        )
        assert code == 3
        assert place in output
        assert "hunter2" not in output


def test_versions_out_of_range(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        environment.importlib.metadata,
        "requires",
        lambda name: ["numpy>=999", "polars<1,>=0.1", "no-such>=1", "x; extra == 'y'"],
    )
    (found,) = environment._packages()
    assert found.outcome == "failed"
    for told in ("numpy is", "has to be >=999", "polars is", "<1", "no-such is not installed"):
        assert told in found.detail
    assert json.dumps(found.value) == "3"
