import multiprocessing
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import joblib
import pytest

from keepfit import engine
from keepfit.errors import ModelError
from keepfit.extras import pick


def test_results_are_in_the_order_of_the_items():
    slow_first = lambda k: time.sleep(0.02 * (3 - k)) or k
    assert pick(engine.ENGINES, "local", "engine")(slow_first, [0, 1, 2]) == [0, 1, 2]


def test_two_items_run_at_a_time():
    barrier = threading.Barrier(2, timeout=5)
    assert engine.local(lambda _: barrier.wait() >= 0, [1, 2]) == [True, True]


def test_an_error_is_raised_and_nothing_more_is_started():
    begun = []

    def work(k):
        begun.append(k)
        if k == 0:
            raise ValueError("no")
        time.sleep(0.05)

    with pytest.raises(ValueError, match="no"):
        engine.local(work, range(50))
    assert len(begun) < 10


@pytest.mark.parametrize("workers", [1, 2])
def test_stop_keeps_waiting_items_from_starting(workers):
    stop = threading.Event()
    found = engine.local(lambda k: stop.set() or k, range(20), workers, stop)
    assert 1 <= len(found) <= workers
    assert found[0] == 0


def test_ctrl_c_sets_stop_and_goes_on():
    stop = threading.Event()

    def interrupted(k):
        if k == 0:
            raise KeyboardInterrupt
        return stop.wait(5)

    with pytest.raises(KeyboardInterrupt):
        engine.local(interrupted, [0, 1], stop=stop)
    assert stop.is_set()


def test_ctrl_c_reaches_who_waits_and_ends_what_looks():
    ready = threading.Event()

    def work(item: int) -> None:
        ready.set()
        while True:
            engine.look()
            time.sleep(0.01)

    def press() -> None:
        ready.wait()
        signal.raise_signal(signal.SIGINT)  # to this thread, not to the one that waits

    thread = threading.Thread(target=press)
    thread.start()
    with pytest.raises(KeyboardInterrupt):
        engine.local(work, [0, 1])
    thread.join()


def test_processes_keep_the_order_and_are_others():
    found = engine.processes(lambda k: (k, os.getpid()), range(6), 2)
    assert [k for k, _ in found] == list(range(6))
    assert os.getpid() not in {process for _, process in found}


def test_one_item_or_one_worker_needs_no_process():
    assert engine.processes(lambda _: os.getpid(), [1], 2) == [os.getpid()]
    assert engine.processes(lambda _: os.getpid(), [1, 2], 1) == [os.getpid()] * 2


def test_joblib_may_be_asked_before_and_after():
    """As scikit-learn asks it wherever n_jobs is set, in the notebook that trained a forecast, say."""
    ask = lambda: joblib.Parallel(n_jobs=2)(joblib.delayed(abs)(k) for k in (-1, -2, -3))
    assert [ask(), engine.processes(abs, [-1, -2, -3], 2), ask()] == [[1, 2, 3]] * 3
    assert engine.processes(abs, [-1, -2, -3], 2) == [1, 2, 3]


def test_there_are_no_more_processes_than_a_limit_allows(monkeypatch):
    """A container has all cores of its machine in sight, and may use a few: each process would cost 100 MB."""
    monkeypatch.setattr(engine, "cores", lambda: 64)
    monkeypatch.setenv("LOKY_MAX_CPU_COUNT", "1")  # joblib minds the limits of cgroups in the same place
    assert engine.processes(lambda _: os.getpid(), [1, 2]) == [os.getpid()] * 2


def test_an_error_in_a_process_is_raised_and_the_next_call_works():
    def work(k):
        if k == 1:
            raise ValueError("no")
        return k

    with pytest.raises(ValueError, match="no"):
        engine.processes(work, range(4), 2)
    assert engine.processes(abs, [-1, -2], 2) == [1, 2]


def test_a_process_that_is_killed_is_told_and_the_next_call_works():
    def work(k):
        if k == 1:
            os.kill(os.getpid(), signal.SIGKILL)  # as the system does where memory runs out
        return k

    with pytest.raises(ModelError, match="One of 2 processes that computed was killed, most often because memory"):
        engine.processes(work, range(4), 2)
    assert engine.processes(abs, [-1, -2], 2) == [1, 2]


def test_who_is_to_end_does_not_wait_for_processes():
    stop = threading.Event()

    def outer(_):
        threading.Timer(0.5, stop.set).start()
        return engine.processes(time.sleep, [0.1, 20, 20], 2)

    began = time.monotonic()
    with pytest.raises(engine.Stopped):
        engine.local(outer, [0, 1], 2, stop)
    assert time.monotonic() - began < 15  # each would have slept for twenty seconds


def in_a_daemon(queue: Any) -> None:
    queue.put((engine.processes(lambda _: os.getpid(), [1, 2], 2), os.getpid()))


@pytest.mark.slow
def test_a_daemon_starts_no_processes():
    context = multiprocessing.get_context("spawn")
    queue = context.Queue()
    daemon = context.Process(target=in_a_daemon, args=(queue,), daemon=True)
    daemon.start()
    found, itself = queue.get(timeout=100)
    daemon.join()
    assert found == [itself, itself]


@pytest.mark.slow
def test_a_script_without_a_guard_may_ask_for_processes(tmp_path):
    script = tmp_path / "script.py"
    script.write_text("from keepfit import engine\nprint(engine.processes(abs, [-1, -2], 2))\n")
    said = subprocess.run([sys.executable, script], capture_output=True, text=True, timeout=100, check=True)
    assert (said.stdout, said.stderr) == ("[1, 2]\n", "")


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc").is_dir(), reason="looks for processes in /proc")
def test_processes_end_with_who_was_killed(tmp_path):
    script = tmp_path / "script.py"
    script.write_text(
        "import os, time\nfrom keepfit import engine\n"
        "print(*engine.processes(lambda _: (time.sleep(0.2), os.getpid())[1], range(4), 2), flush=True)\n"
        "time.sleep(100)\n"
    )
    with subprocess.Popen([sys.executable, script], stdout=subprocess.PIPE, text=True) as killed:
        assert killed.stdout
        children = set(killed.stdout.readline().split())
        killed.kill()
    assert children
    until = time.monotonic() + 60
    while any(_alive(child) for child in children) and time.monotonic() < until:
        time.sleep(0.1)
    assert not any(_alive(child) for child in children)


def _alive(process: str) -> bool:
    try:
        return Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False
