"""The peers' own environments under .bench/envs, made when they are needed, so that no peer bends keepfit's.

Versions are pinned by name. The first use downloads; where that fails the benchmark says so and goes on.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

from benchmarks.measure import environment

ROOT = Path(__file__).resolve().parents[1]
WORK = ROOT / ".bench"
LEARNING = ("scikit-learn==1.9.1", "lightgbm==4.7.0", "pandas==3.1.1")
PEERS = {
    "autogluon": ("autogluon.tabular[all]==1.6.3", "pandas<2.4"),  # its own best: all of its model families
    "mlflow": ("mlflow==3.17.2", "scikit-learn==1.9.1", "lightgbm==4.7.0"),
    "fastapi": ("fastapi==0.165.0", "uvicorn[standard]==0.54.0", *LEARNING),
    "bentoml": ("bentoml==1.4.39", *LEARNING),
    "evidently": ("evidently==0.7.23", "pandas==2.3.3", "pyarrow==26.0.1"),
    "pmdarima": ("pmdarima==2.1.1",),
    "nannyml": ("nannyml==0.13.1", "statsmodels==0.15.0"),  # which it imports and does not declare
    "mlserver": ("mlserver==1.7.1", "mlserver-sklearn==1.7.1", *LEARNING),
}
UV = "uv==0.13.8"


class PeerError(RuntimeError):
    """A peer's environment could not be made."""


def python(peer: str) -> Path:
    """The interpreter of a peer's environment, made when absent or when its pins have changed."""
    folder = WORK / "envs" / peer
    stamp, wanted = folder / "requirements.json", json.dumps(PEERS[peer])
    if not (stamp.exists() and stamp.read_text() == wanted):
        print(f"making the environment of {peer}: {', '.join(PEERS[peer])}", file=sys.stderr, flush=True)
        _make(folder, PEERS[peer])
        stamp.write_text(wanted)
    return _python(folder)


def program(peer: str, name: str) -> Path:
    """A command of a peer's environment, such as `mlflow`."""
    return python(peer).with_name(name)


def label(peer: str) -> str:
    """A short name of the pins, for results that are kept.

    >>> label("autogluon")[:10]
    'autogluon-'
    """
    return f"{peer}-{hashlib.sha256(json.dumps(PEERS[peer]).encode()).hexdigest()[:8]}"


def keepfit() -> Path:
    """The keepfit command of the environment that runs the benchmarks."""
    return Path(sys.executable).with_name("keepfit")


def _python(folder: Path) -> Path:
    return folder / "bin" / "python"


def _make(folder: Path, requirements: tuple[str, ...]) -> None:
    """A fresh environment with compiled modules: start-up is measured later."""
    uv = _uv()
    shutil.rmtree(folder, ignore_errors=True)
    _call([uv, "venv", "-q", "--python", sys.executable, folder])
    _call([uv, "pip", "install", "-q", "--compile-bytecode", "--python", _python(folder), *requirements])


def _uv() -> Path:
    """The installer: on the PATH, or in an environment of its own."""
    found = shutil.which("uv")
    if found:
        return Path(found)
    folder = WORK / "envs" / "uv"
    if not (folder / "bin" / "uv").exists():
        _call([sys.executable, "-m", "venv", folder])
        _call([_python(folder), "-m", "pip", "install", "-q", UV])
    return folder / "bin" / "uv"


def _call(command: list[str | Path]) -> None:
    env = environment()
    if "PIP_FIND_LINKS" in env:  # what pip is told about wheels at hand holds for uv too
        env.setdefault("UV_FIND_LINKS", env["PIP_FIND_LINKS"])
    env.setdefault("UV_CACHE_DIR", os.fspath(WORK / "uv-cache"))
    done = subprocess.run(command, env=env, capture_output=True, text=True, check=False)
    if done.returncode:
        raise PeerError(f"{' '.join(map(str, command))} ended with code {done.returncode}:\n{done.stderr[-2000:]}")
