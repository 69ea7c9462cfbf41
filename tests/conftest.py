"""Fixtures that all tests share."""

from __future__ import annotations

import os
import signal
import threading
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

from tests.servers import postgres_url, s3_endpoint, web_server  # noqa: F401 - fixtures

os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
os.environ.setdefault("MPLBACKEND", "agg")
# the tests run side by side: threads that wait for each other busily would cost ten times the CPU
os.environ.setdefault("OMP_NUM_THREADS", "1")

# what takes 30 ms here takes seconds on a busy machine: no time decides over a test
settings.register_profile("keepfit", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("keepfit")

# a job that a script starts with `&` ignores Ctrl-C, and so would all that it starts
if signal.getsignal(signal.SIGINT) == signal.SIG_IGN and threading.current_thread() is threading.main_thread():
    signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The folder of real data sets; the test is skipped where it is absent."""
    folder = Path(os.environ.get("KEEPFIT_DATA", Path(__file__).parents[2] / "shared" / "data"))
    if not folder.is_dir():
        pytest.skip(f"no real data sets at {folder}: set KEEPFIT_DATA to their folder")
    return folder
