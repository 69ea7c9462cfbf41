"""The edge of the command line by itself; what commands make of it is in `test_cli`."""

from __future__ import annotations

import sys
import time

import pytest

from keepfit.edge import ctrl_c_kept


def test_a_ctrl_c_that_python_drops_while_it_cleans_up_comes_again(capfd: pytest.CaptureFixture[str]) -> None:
    class Interrupted:
        def __del__(self) -> None:
            raise KeyboardInterrupt

    def work() -> None:
        Interrupted()
        time.sleep(10)

    before = sys.unraisablehook
    with pytest.raises(KeyboardInterrupt), ctrl_c_kept():
        work()
    assert "Traceback" not in capfd.readouterr().err
    assert sys.unraisablehook is before
