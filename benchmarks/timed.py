"""keepfit's command line with the CPU seconds of fitting and scoring counted from outside.

    python -P benchmarks/timed.py NOTE.json run -C PROJECT

`fit` is all of `models.train.train` (features, search, cross-validation, final fits), `score` is all
of `models.train.predict`, except what the parity check asks of it. Everything else is overhead.
"""

from __future__ import annotations

import json
import resource
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from keepfit import cli
from keepfit.models import parity, train  # parity binds `predict` here, before it is counted

SPENT = {"fit": 0.0, "score": 0.0}


def cpu() -> float:
    """CPU seconds of this process with all its threads, and of its children that ended."""
    used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(u.ru_utime + u.ru_stime for u in used)


def counted(name: str, function: Callable[..., Any]) -> Callable[..., Any]:
    """`function`, its CPU seconds added to SPENT."""

    def call(*given: Any, **named: Any) -> Any:
        before = cpu()
        try:
            return function(*given, **named)
        finally:
            SPENT[name] += cpu() - before

    return call


if __name__ == "__main__":
    note, sys.argv = Path(sys.argv[1]), ["keepfit", *sys.argv[2:]]
    if vars(parity).get("trained") is not train.predict:
        raise SystemExit("timed.py: parity no longer predicts with models.train.predict; count it anew")
    train.train = counted("fit", train.train)
    train.predict = counted("score", train.predict)
    try:
        cli.main()
    finally:
        note.write_text(json.dumps(SPENT))
