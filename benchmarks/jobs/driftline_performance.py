"""Driftline's realised performance by day, with an interval on each measure: python driftline_performance.py FILE."""

import json
import statistics
import sys
import time

import polars as pl

from driftline.profiles import Columns, canonical, infer_schema, layout_of, profile_rows
from driftline.statistics import measures

COLUMNS = Columns(time="time", score="score", prediction="prediction", label="label", features=())
METRICS = ("accuracy", "precision", "recall", "f1", "roc_auc")

started = time.perf_counter()
frame = pl.read_parquet(sys.argv[1], columns=["time", "score", "prediction", "label"])
schema = infer_schema(frame, COLUMNS)
rows = canonical(frame, COLUMNS, schema)
grids, anchors = layout_of(rows, schema)
days = []
for part in rows.with_columns(day=pl.col("time").dt.date()).partition_by("day", include_key=False):
    profile = profile_rows(part, schema, grids, anchors)
    days.append(measures(profile.performance, positive=schema.positive, names=METRICS))
means = {name: round(statistics.fmean(day[name].value or 0.0 for day in days), 4) for name in METRICS}
answer = {"windows": len(days), **means, "inside_seconds": time.perf_counter() - started}
sys.stdout.write(json.dumps(answer) + "\n")
