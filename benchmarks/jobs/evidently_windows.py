"""The scores of Evidently's drift preset, with its defaults, of each window against the first ones together.

python evidently_windows.py FILE REFERENCE: the first so many windows are the reference.
"""

import json
import sys

import pandas as pd
from evidently import Report  # type: ignore[import-not-found]
from evidently.presets import DataDriftPreset  # type: ignore[import-not-found]

rows, count = pd.read_parquet(sys.argv[1]), int(sys.argv[2])
reference = rows[rows["window"] < count].drop(columns="window")
scores: dict[str, list[float]] = {name: [] for name in reference.columns}
for _, window in rows[rows["window"] >= count].groupby("window"):
    told = Report([DataDriftPreset()]).run(window.drop(columns="window"), reference).dict()
    for metric in told["metrics"][1:]:
        scores[metric["config"]["column"]].append(float(metric["value"]))
sys.stdout.write(json.dumps(scores) + "\n")
