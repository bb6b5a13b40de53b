"""Evidently's drift preset on two files, with its defaults: python evidently_drift.py REFERENCE CURRENT."""

import json
import sys
import time

import pandas as pd
from evidently import Report  # type: ignore[import-not-found]
from evidently.presets import DataDriftPreset  # type: ignore[import-not-found]

started = time.perf_counter()
reference, current = (pd.read_parquet(path) for path in sys.argv[1:])
result = Report([DataDriftPreset()]).run(current, reference).dict()
drifted = result["metrics"][0]["value"]["count"]
sys.stdout.write(json.dumps({"drifted": int(drifted), "inside_seconds": time.perf_counter() - started}) + "\n")
