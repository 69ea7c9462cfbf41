import signal
import threading
import time

import pytest

from keepfit import engine
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
