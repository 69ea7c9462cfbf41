"""The forecasting models one by one, on the competitions' series and on 10,000 of them, beside pmdarima.

Models are called as functions of a panel in this process, on one core, so that nothing goes to other processes and
CPU seconds are all that fitting and forecasting take; the 10,000 series are fitted once more on all cores.
`blend` combines what `auto` tries, by its own rule: shares by series from one origin, the last steps of what is
known, and all members fitted again to all that is known; both fits count. Nothing is chosen by test values.

pmdarima fits 50 series of each data set, evenly spaced, until `--seconds` (600 CPU-s a data set) are over: the one
at work then is given up and counted with the time it took, which flatters pmdarima's speed. MASE is compared on
those that it finished. A later run with `--peer cached` and more `--seconds` goes on where the last one ended.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import polars as pl
from numpy.typing import NDArray

from benchmarks import datasets, environments, measure, servers
from benchmarks.environments import WORK
from benchmarks.forecasting import M3, TEST, TRAIN, figures, long, naive2, wide
from benchmarks.results import Claim, Options, Result
from keepfit.extras import load
from keepfit.models.series import MODELS, combination, portfolio
from keepfit.models.series.panel import Panel, panel, scale

PROMISE = "10,000 monthly series in 10 CPU-minutes; 50 times pmdarima's series per CPU-second at no worse MASE"
AIR = "air_passengers/airline-passengers.csv"
MANY, MINUTES, TIMES, SOME = 10_000, 10.0, 50.0, 50
PATIENCE = 600.0  # CPU seconds that the peer has for a data set
Floats = NDArray[np.float64]


class Known(NamedTuple):
    """Histories and what came after them (series, steps), and the periods of the seasons."""

    histories: Sequence[Floats]
    came: Floats
    season: tuple[int, ...]

    def some(self, rows: Sequence[int]) -> Known:
        return Known([self.histories[row] for row in rows], self.came[rows], self.season)


def run(options: Options) -> Result:
    """Each data set in turn; `--only m3 m4 air many pmdarima` some of it."""
    root = datasets.root()
    for name in (M3, TRAIN, TEST, AIR):
        if not (root / name).exists():
            raise datasets.NoDataError(f"not in the folder of data sets: {name}")
    wanted = options.only or ("m3", "m4", "air", "many", "pmdarima")
    known = read(root)
    rows = [row for name in ("m3", "m4", "air") if name in wanted for row in models(name, known[name])]
    claims: list[Claim] = []
    if "many" in wanted:
        cost, row = many(known["m3"])
        rows.append(row)
        claims.append(Claim(f"CPU-minutes for {MANY:,} monthly series", cost / 60, "<=", MINUTES))
    for name in ("m3", "m4") if "pmdarima" in wanted else ():
        found, promises = beside(name, known[name], options)
        rows += found
        claims += promises
    return Result("forecasting-models", PROMISE, tuple(rows), tuple(claims))


def read(root: Path) -> Mapping[str, Known]:
    passengers = pl.read_csv(root / AIR)["Passengers"].to_numpy().astype(np.float64)
    pairs = {"m3": list(long(root / M3)), "m4": list(wide(root / TRAIN, root / TEST))}
    pairs["air"] = [(passengers[:-12], passengers[-12:])]
    seasons = {"m3": (12,), "m4": (24, 168), "air": (12,)}
    return {
        name: Known([one for one, _ in found], np.array([came for _, came in found]), seasons[name])
        for name, found in pairs.items()
    }


# --- our side -------------------------------------------------------------------------------------


def models(name: str, known: Known) -> list[dict[str, Any]]:
    """A row for each model, and for the blend."""
    rows = [judged(name, "Naive2", known, reference(known), 0.0)]
    for model in MODELS:
        rows.append(judged(name, model, known, *alone(forecast, model, panel(known.histories), known)))
    return [*rows, judged(name, "blend", known, *alone(blend, known))]


def alone(function: Callable[..., Floats], *given: Any) -> tuple[Floats, float]:
    """What the function gives, and its CPU seconds on one core."""
    with servers.on(min(os.sched_getaffinity(0))):
        start = time.process_time()
        return function(*given), time.process_time() - start


def forecast(model: str, given: Panel, known: Known) -> Floats:
    module, steps = load(MODELS[model], "model.type"), known.came.shape[1]
    told = {"horizon": steps} if "horizon" in module.DEFAULTS else {}
    return np.asarray(module.forecast(module.fit(given, known.season, 0, **told), steps))


def blend(known: Known) -> Floats:
    """What `auto` tries, by shares from one origin."""
    given, steps = panel(known.histories), known.came.shape[1]
    truth, unit = given.values[:, -steps:], scale(given.values, known.season[0])[:, None]
    names = portfolio.ORDER
    held = [np.abs(forecast(name, given.until(steps), known) - truth) / unit for name in names]
    series = np.repeat(np.arange(len(truth)), steps)
    shares = combination.shares(series, np.stack([each.ravel() for each in held], axis=1), len(truth))
    said = np.stack([forecast(name, given, known) for name in names], axis=2)
    return np.asarray((said * shares[:, None]).sum(axis=2))


def reference(known: Known) -> Floats:
    return np.array([naive2(one, known.came.shape[1], known.season[0]) for one in known.histories])


def accuracy(known: Known, said: Floats) -> tuple[float, float]:
    """sMAPE and MASE, the means over the series."""
    each = [figures(*one, known.season[0]) for one in zip(known.histories, known.came, said, strict=True)]
    smape, mase = np.mean(each, axis=0)
    return float(smape), float(mase)


def judged(name: str, by: str, known: Known, said: Floats, cpu: float) -> dict[str, Any]:
    (smape, mase), (base, other) = accuracy(known, said), accuracy(known, reference(known))
    row = {"series": name, "by": by, "sMAPE": smape, "MASE": mase, "OWA": (smape / base + mase / other) / 2}
    return {**row, "CPU s/100": 100 * cpu / len(known.came)}


def many(known: Known) -> tuple[float, dict[str, Any]]:
    """CPU seconds of the blend for so many series: those of M3 again and again, each time with other noise."""
    draw = np.random.default_rng(0)
    rows = np.arange(MANY) % len(known.came)
    noisy = [known.histories[row] * np.exp(draw.normal(0, 0.02, len(known.histories[row]))) for row in rows]
    given = Known(noisy, known.came[rows], known.season)
    start = time.monotonic()
    said, cost = alone(blend, given)
    first, start = time.monotonic() - start, time.monotonic()
    blend(given)
    took = {"wall s": first, "on all cores": time.monotonic() - start}
    return cost, {**judged(f"{MANY:,} monthly", "blend", given, said, cost), **took}


# --- the peer -------------------------------------------------------------------------------------


def beside(name: str, known: Known, options: Options) -> tuple[list[dict[str, Any]], list[Claim]]:
    """Both sides on the same series."""
    known = known.some(np.linspace(0, len(known.came) - 1, SOME).astype(int).tolist())
    theirs = pmdarima(name, known, options)
    done = [row for row, one in enumerate(theirs) if one["forecast"]]
    said, ours = alone(blend, known)
    own, same = alone(forecast, "auto_arima", panel(known.histories), known)
    rows: list[dict[str, Any]] = [
        {"series": f"{len(theirs)} of {name}", "by": "pmdarima", "CPU s/100": 100 * spent(theirs) / len(theirs)},
        {"series": f"{SOME} of {name}", "by": "blend", "CPU s/100": 100 * ours / SOME},
        {"series": f"{SOME} of {name}", "by": "auto_arima", "CPU s/100": 100 * same / SOME},
    ]
    times = (spent(theirs) / len(theirs)) / (ours / SOME)
    claims = [Claim(f"{name}: times pmdarima's series per CPU-second", times, ">=", TIMES)]
    if done:
        both = known.some(done)
        peer = np.array([theirs[row]["forecast"] for row in done])
        for row, forecasts in zip(rows, (peer, said[done], own[done]), strict=True):
            row["sMAPE"], row["MASE"] = accuracy(both, forecasts)
        gap = rows[1]["MASE"] - rows[0]["MASE"]
        claims.append(Claim(f"{name}: MASE above pmdarima's, {len(done)} series", gap, "<=", 0.0))
    return rows, claims


def spent(found: Sequence[Mapping[str, Any]]) -> float:
    """The peer's CPU seconds."""
    return float(sum(one["cpu"] for one in found))


def pmdarima(name: str, known: Known, options: Options) -> list[dict[str, Any]]:
    """CPU seconds and forecast of each series; with `cached`, an earlier run is gone on with where it had less time."""
    folder = WORK / "forecasting-models"
    folder.mkdir(parents=True, exist_ok=True)
    seconds = options.seconds or PATIENCE
    output = folder / f"{name}-{environments.label('pmdarima')}.json"
    if options.peer == "fresh":
        output.unlink(missing_ok=True)
    if not output.exists() or (len(before := json.loads(output.read_text())) < SOME and spent(before) < seconds):
        source = folder / f"{name}.json"
        source.write_text(json.dumps([one.tolist() for one in known.histories]))
        program = Path(__file__).with_name("peers") / "arima_pmdarima.py"
        told = (str(known.season[0]), str(known.came.shape[1]), str(seconds))
        measure.measure([environments.python("pmdarima"), program, source, *told, output])
    found: list[dict[str, Any]] = json.loads(output.read_text())
    return found
