"""What git says about the project's folder: the version of the code, and who is at work."""

from __future__ import annotations

import getpass
import subprocess
from pathlib import Path

from keepfit.config import environment

SECONDS = 10  # a status of a huge tree may take longer; then nothing is known


def state(folder: Path) -> dict[str, str]:
    """`commit`, `branch` and `dirty` ("true" or "false") of the work tree at `folder`.

    Empty where there is no git or no commit. What keepfit writes itself does not make a tree dirty.
    """
    commit = _git(folder, "rev-parse", "HEAD")
    if not commit:
        return {}
    changed = _git(folder, "status", "--porcelain", "--", ".", ":(exclude).keepfit")
    branch = _git(folder, "rev-parse", "--abbrev-ref", "HEAD")
    return {"commit": commit, "branch": branch, "dirty": str(bool(changed)).lower()}


def author(folder: Path) -> str:
    """Who decides: KEEPFIT_AUTHOR, else git's user, else the user of this machine."""
    return environment("KEEPFIT_AUTHOR") or _user(folder) or f"{_login()}@{_host()}"


def tags(folder: Path) -> dict[str, str]:
    """Tags that say by which code and by whom, in MLflow's own names where it has them."""
    names = {"commit": "mlflow.source.git.commit", "branch": "mlflow.source.git.branch", "dirty": "git.dirty"}
    found = {"mlflow.user": author(folder), "mlflow.source.name": "keepfit"}
    return found | {names[k]: v for k, v in state(folder).items()}


def _user(folder: Path) -> str:
    name, email = (_git(folder, "config", key) for key in ("user.name", "user.email"))
    return f"{name} <{email}>" if name and email else name


def _login() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError):  # a container may run as a user that has no name
        return "unknown"


def _host() -> str:
    import socket

    return socket.gethostname()


def _git(folder: Path, *arguments: str) -> str:
    where = next((p for p in (folder, *folder.parents) if p.is_dir()), Path())
    try:
        done = subprocess.run(
            ["git", "-C", str(where), *arguments], capture_output=True, text=True, timeout=SECONDS, check=False
        )
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return done.stdout.strip() if done.returncode == 0 else ""
