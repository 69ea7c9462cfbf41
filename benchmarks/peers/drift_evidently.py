"""Evidently's drift preset with its defaults on windows of a folder: how many columns does it call drifted?

python drift_evidently.py FOLDER     # N-reference.parquet, N-window-I.parquet; prints a JSON list, a number a window
"""

import json
import os
import sys
import warnings
from pathlib import Path

os.environ["DO_NOT_TRACK"] = "1"
warnings.simplefilter("ignore")

import pandas as pd  # noqa: E402
from evidently import DataDefinition, Dataset, Report  # noqa: E402
from evidently.presets import DataDriftPreset  # noqa: E402


def drifted(reference: pd.DataFrame, window: pd.DataFrame) -> int:
    numbers = [name for name in reference if pd.api.types.is_numeric_dtype(reference[name])]
    others = [name for name in reference if name not in numbers]
    definition = DataDefinition(numerical_columns=numbers, categorical_columns=others)
    data = [Dataset.from_pandas(frame, data_definition=definition) for frame in (window, reference)]
    told = Report([DataDriftPreset()]).run(*data).dict()
    counts = [metric["value"]["count"] for metric in told["metrics"] if "DriftedColumnsCount" in metric["metric_name"]]
    return int(counts[0])


folder, found = Path(sys.argv[1]), []
for path in sorted(folder.glob("*-window-*.parquet")):
    known = pd.read_parquet(folder / f"{path.name.split('-')[0]}-reference.parquet")
    found.append(drifted(known, pd.read_parquet(path)))
print(json.dumps(found))
