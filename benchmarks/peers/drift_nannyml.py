"""NannyML's univariate drift with its defaults on windows of a folder: on how many columns does it alert?

python drift_nannyml.py FOLDER     # N-reference.parquet, N-window-I.parquet; prints a JSON list, a number a window
"""

import json
import os
import sys
import warnings
from pathlib import Path

os.environ["NML_DISABLE_USAGE_LOGGING"] = "1"
warnings.simplefilter("ignore")

import nannyml  # noqa: E402
import pandas as pd  # noqa: E402

folder, found = Path(sys.argv[1]), []
for path in sorted(folder.glob("*-reference.parquet")):
    number, known = path.name.split("-")[0], pd.read_parquet(path)
    windows = sorted(folder.glob(f"{number}-window-*.parquet"))
    frames = [pd.read_parquet(window) for window in windows]
    calculator = nannyml.UnivariateDriftCalculator(column_names=list(known.columns), chunk_size=len(frames[0]))
    calculator.fit(known)
    told = calculator.calculate(pd.concat(frames, ignore_index=True)).filter(period="analysis").to_df()
    found += told.xs("alert", axis=1, level=-1).sum(axis=1).tolist()
print(json.dumps([int(columns) for columns in found]))
