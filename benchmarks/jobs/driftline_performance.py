"""Driftline's realised performance by day, with an interval on each measure: python driftline_performance.py FILE."""

import json
import statistics
import sys
import time

import polars as pl

from driftline.events import Schema, Task
from driftline.profiles import Columns, canonical
from driftline.profiles.build import performance_of
from driftline.statistics import measures

COLUMNS = Columns(time="time", score="score", prediction="prediction", label="label", features=())
DAY = 86_400_000_000  # in microseconds, as the time is
METRICS = ("accuracy", "precision", "recall", "f1", "roc_auc")

SCHEMA = Schema(Task.BINARY, {}, ("0", "1"), "1")

started = time.perf_counter()
frame = pl.read_parquet(sys.argv[1], columns=["time", "score", "prediction", "label"])
rows = canonical(frame, COLUMNS, SCHEMA)
rows = rows if rows["time"].is_sorted() else rows.sort("time")
scores = [name for name in rows.columns if name.startswith("score.")]
days, start = [], 0
for length in (rows["time"].to_physical() // DAY).rle().struct.field("len").to_list():
    part = rows.slice(start, length)
    days.append(measures(performance_of(part, SCHEMA, scores, {}), positive=SCHEMA.positive, names=METRICS))
    start += length
means = {name: round(statistics.fmean(day[name].value or 0.0 for day in days), 4) for name in METRICS}
answer = {"windows": len(days), **means, "inside_seconds": time.perf_counter() - started}
sys.stdout.write(json.dumps(answer) + "\n")
