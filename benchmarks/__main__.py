"""`python -m benchmarks` measures every promise, `python -m benchmarks NAME …` some.

Exit codes: 0 when all that was measured keeps its promise, 1 when one is missed or a command fails, 2 for wrong usage.
"""

from __future__ import annotations

import argparse
import importlib
import sys
from collections.abc import Sequence

from benchmarks import results
from benchmarks.datasets import NoDataError
from benchmarks.environments import WORK, PeerError
from benchmarks.measure import CommandError
from benchmarks.results import Options, Result

NAMES = (  # the quickest first
    *("startup", "overhead", "imdb", "scoring", "memory", "images", "images-serving", "images-scratch"),
    *("forecasting", "forecasting-models", "forecast-covariates", "forecast-serving"),
    *("monitoring-speed", "monitoring-planted", "forecast-alarms", "monitoring-null", "elec2"),
    *("serving-profile", "serving-limit", "serving-log", "monitoring-cost", "serving-swap", "serving"),
    *("serving-soak", "quality"),
)


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser("python -m benchmarks", description="keepfit and its peers, side by side")
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"which; default: all of {', '.join(NAMES)}")
    parser.add_argument(
        "--peer", choices=("fresh", "cached", "only"), default="fresh", help="run the peer again or not"
    )
    parser.add_argument("--seeds", type=int, default=1, help="how many splits (quality)")
    parser.add_argument("--runs", type=int, default=5, help="how many runs make a median (startup, scoring)")
    parser.add_argument("--only", nargs="*", default=[], help="only these data sets, models or sizes")
    parser.add_argument("--peers", nargs="*", default=[], help="only these peers (serving)")
    parser.add_argument("--seconds", type=float, help="how long each measurement under load takes (serving)")
    parser.add_argument("--days", type=int, help="how many days of the stream are replayed (elec2)")
    told = parser.parse_args(arguments)
    unknown = [name for name in told.names if name not in NAMES]
    if unknown:
        parser.error(f"no benchmark is called {', '.join(unknown)}; known: {', '.join(NAMES)}")
    options = Options(told.peer, told.seeds, told.runs, listed(told.only), listed(told.peers), told.seconds, told.days)
    found = [show(name, options) for name in told.names or NAMES]
    missed = any(claim.outcome == "missed" for result in found for claim in result.claims)
    return int(missed or any(result.failed for result in found))


def listed(values: Sequence[str]) -> tuple[str, ...]:
    """Names apart by spaces or commas.

    >>> listed(["mlflow,fastapi", "bentoml"])
    ('mlflow', 'fastapi', 'bentoml')
    """
    return tuple(part for value in values for part in value.split(",") if part)


def show(name: str, options: Options) -> Result:
    """Run one benchmark, print its tables and keep them as JSON."""
    module = importlib.import_module(f"benchmarks.{name.replace('-', '_')}")
    try:
        result: Result = module.run(options)
    except (NoDataError, PeerError) as error:
        result = Result(name, module.PROMISE, skipped=str(error))
    except CommandError as error:
        result = Result(name, module.PROMISE, failed=str(error))
    path = results.save(result, WORK / "results")
    print(f"{results.text(result)}\n\nkept in {path.parent.parent.name}/results/{path.name}\n", flush=True)
    return result


if __name__ == "__main__":
    sys.exit(main())
