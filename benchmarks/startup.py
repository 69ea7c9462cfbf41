"""`keepfit --help` and `import keepfit` answer at once, beside `mlflow --help`."""

from __future__ import annotations

import sys
from typing import Any

from benchmarks import environments, measure
from benchmarks.results import Claim, Options, Result

PROMISE = "keepfit --help under 0.15 s and import keepfit under 0.1 s of CPU"
HELP, IMPORT = 0.15, 0.1


def run(options: Options) -> Result:
    """Medians of whole processes, the interpreter's own start included and shown for itself."""
    commands: dict[str, measure.Command] = {
        "python -c pass": [sys.executable, "-c", "pass"],
        "import keepfit": [sys.executable, "-c", "import keepfit"],
        "keepfit --help": [environments.keepfit(), "--help"],
        "keepfit run --help": [environments.keepfit(), "run", "--help"],
        "mlflow --help": [environments.program("mlflow", "mlflow"), "--help"],
        "import mlflow": [environments.python("mlflow"), "-c", "import mlflow"],
    }
    found = {name: measure.repeat(command, max(options.runs, 5)) for name, command in commands.items()}
    base = {"help": found["mlflow --help"].cpu, "import": found["import mlflow"].cpu}
    rows = [_row(name, usage, base) for name, usage in found.items()]
    claims = (
        Claim("keepfit --help, CPU-s", found["keepfit --help"].cpu, "<=", HELP),
        Claim("import keepfit, CPU-s", found["import keepfit"].cpu, "<=", IMPORT),
    )
    return Result("startup", PROMISE, tuple(rows), claims)


def _row(name: str, usage: measure.Usage, base: dict[str, float]) -> dict[str, Any]:
    against = base["help" if "help" in name else "import"]
    cost = {"CPU s": usage.cpu, "wall s": usage.wall, "peak MB": usage.peak / 1e6}
    return {"command": name, **cost, "MLflow's CPU / this": against / usage.cpu}
