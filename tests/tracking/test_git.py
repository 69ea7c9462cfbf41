"""Code version and author, read from a real repository."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from keepfit.tracking import git


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    for command in (
        ["init", "-q", "-b", "main"],
        ["config", "user.name", "Ann"],
        ["config", "user.email", "ann@example.org"],
        ["commit", "-q", "--allow-empty", "-m", "first"],
    ):
        subprocess.run(["git", "-C", str(tmp_path), *command], check=True)
    return tmp_path


def test_a_clean_tree_a_dirty_one_and_keepfits_own_files(repository: Path) -> None:
    clean = git.state(repository)
    assert len(clean["commit"]) == 40
    assert (clean["branch"], clean["dirty"]) == ("main", "false")
    (repository / ".keepfit").mkdir()
    (repository / ".keepfit" / "mlflow.db").write_text("x")
    assert git.state(repository)["dirty"] == "false"
    (repository / "features.py").write_text("x = 1")
    assert git.state(repository)["dirty"] == "true"


def test_nothing_is_known_without_git(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(tmp_path.parent))
    assert git.state(tmp_path) == {}
    monkeypatch.setenv("PATH", str(tmp_path))
    assert git.state(tmp_path) == {}


def test_the_author_is_told_by_the_environment_then_git_then_the_system(
    repository: Path, tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("KEEPFIT_AUTHOR", "robot")
    assert git.author(repository) == "robot"
    monkeypatch.delenv("KEEPFIT_AUTHOR")
    assert git.author(repository) == "Ann <ann@example.org>"
    assert git.author(repository / "not" / "there") == "Ann <ann@example.org>"
    monkeypatch.setenv("PATH", str(tmp_path_factory.mktemp("no git")))
    assert "@" in git.author(repository)
