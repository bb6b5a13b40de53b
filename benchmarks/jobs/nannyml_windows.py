"""How far NannyML's distances are from those of the reference's own windows, in standard deviations, by its defaults.

python nannyml_windows.py FILE REFERENCE: the first so many windows are the reference.
"""

import json
import sys

import nannyml  # type: ignore[import-not-found]
import numpy as np
import pandas as pd

rows, count = pd.read_parquet(sys.argv[1]), int(sys.argv[2])
rows["time"] = pd.Timestamp("2024-01-01") + pd.to_timedelta(rows["window"], unit="D")
columns = [name for name in rows.columns if name not in ("window", "time")]
calculator = nannyml.UnivariateDriftCalculator(columns, timestamp_column_name="time", chunk_period="D")
calculator.fit(rows[rows["window"] < count])
told = calculator.calculate(rows[rows["window"] >= count])
usual, later = told.filter(period="reference").to_df(), told.filter(period="analysis").to_df()
scores = {}
for name in columns:
    known = usual[name, "jensen_shannon", "value"].to_numpy(np.float64)
    distance = later[name, "jensen_shannon", "value"].to_numpy(np.float64)
    away = np.abs(distance - np.nanmean(known)) / np.nanstd(known)
    alerts = later[name, "jensen_shannon", "alert"].to_numpy(bool)
    assert ((away > 3) == alerts).all(), name
    scores[name] = away.tolist()
sys.stdout.write(json.dumps(scores) + "\n")
