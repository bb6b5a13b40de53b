"""NannyML's realised performance by day: python nannyml_performance.py FILE.

It learns its thresholds from the first six days, the fewest chunks that it takes without a warning.
"""

import json
import sys
import time

import nannyml  # type: ignore[import-not-found]
import pandas as pd

METRICS = ["accuracy", "precision", "recall", "f1", "roc_auc"]

started = time.perf_counter()
rows = pd.read_parquet(sys.argv[1], columns=["time", "score", "prediction", "label"])
rows["time"] = rows["time"].dt.tz_localize(None)
calculator = nannyml.PerformanceCalculator(
    problem_type="classification_binary",
    y_true="label",
    y_pred="prediction",
    y_pred_proba="score",
    timestamp_column_name="time",
    metrics=METRICS,
    chunk_period="D",
)
calculator.fit(rows[rows["time"] < rows["time"].iloc[0].normalize() + pd.Timedelta(days=6)])
days = calculator.calculate(rows).filter(period="analysis").to_df()
means = {name: round(float(days[(name, "value")].mean()), 4) for name in METRICS}
answer = {"windows": len(days), **means, "inside_seconds": time.perf_counter() - started}
sys.stdout.write(json.dumps(answer) + "\n")
