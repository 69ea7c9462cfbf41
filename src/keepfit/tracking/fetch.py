"""What only MLflow can do, done in a process of its own: `python -m keepfit.tracking.fetch`.

A process that serves does not import MLflow; for a registry in a database, and for files in an
object store, it asks this one (`asked.Child`). The first line of the input names the store, each
further one asks, and each is answered by one line, all JSON. It ends when its input does.

    {"tracking": URI, "registry": URI, "model": …, "work": …}
    {"which": "champion"}        → {"version": "3"}, or null where there is none
    {"fetch": "3"}               → {"folder": "/…/.keepfit/models/churn-3-…/"}
                                 → {"error": "TrackingError", "message": …}
"""

from __future__ import annotations

import json
import os
import signal
import sys
from pathlib import Path
from typing import Any

from keepfit.errors import KeepfitError
from keepfit.tracking import mlflow
from keepfit.tracking.store import Store


def answer(store: Store, request: dict[str, str]) -> dict[str, Any]:
    """The answer to one request. What goes wrong is an answer too."""
    try:
        if "fetch" in request:
            return {"folder": str(mlflow.download(store, request["fetch"], store.work / "models"))}
        return {"version": mlflow.find(store, request["which"])}
    except KeepfitError as error:
        return {"error": type(error).__name__, "message": str(error)}


def main() -> None:
    """Answer on what was stdout; what MLflow prints goes to stderr."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # a Ctrl-C is for who asked
    out = os.fdopen(os.dup(sys.stdout.fileno()), "w", encoding="utf-8")
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())
    named = json.loads(sys.stdin.readline())
    store = Store(named["tracking"], named["registry"], "", named["model"], Path(named["work"]))
    for line in sys.stdin:
        print(json.dumps(answer(store, json.loads(line))), file=out, flush=True)


if __name__ == "__main__":
    main()
