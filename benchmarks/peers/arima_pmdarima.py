"""pmdarima's auto_arima, series by series.

    python arima_pmdarima.py SERIES.json PERIOD STEPS SECONDS OUTPUT.json

SERIES.json is a list of lists. All of them have SECONDS of CPU together; the series that is at work then is
given up, counted with the seconds it took and without a forecast (null), and none comes after it. Where OUTPUT.json
has the first of them from an earlier run, it goes on with the next, and their seconds count.
"""

import json
import signal
import sys
import time
import warnings
from pathlib import Path

import pmdarima


class Late(Exception):
    """The time is up."""


def late(*_):
    raise Late


def main(source, period, steps, seconds, output):
    warnings.filterwarnings("ignore")
    signal.signal(signal.SIGPROF, late)
    found = [one for one in json.loads(Path(output).read_text()) if one["forecast"]] if Path(output).exists() else []
    signal.setitimer(signal.ITIMER_PROF, max(float(seconds) - sum(one["cpu"] for one in found), 0.001))
    for values in json.loads(Path(source).read_text())[len(found) :]:
        start, forecast = time.process_time(), None
        try:
            model = pmdarima.auto_arima(values, m=int(period), error_action="ignore", suppress_warnings=True)
            forecast = [float(value) for value in model.predict(int(steps))]
        except Late:
            pass
        found.append({"cpu": time.process_time() - start, "forecast": forecast})
        Path(output).write_text(json.dumps(found))
        if forecast is None:
            break


if __name__ == "__main__":
    main(*sys.argv[1:])
