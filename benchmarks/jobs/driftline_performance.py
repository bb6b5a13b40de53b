"""Driftline's realised performance by day, with an interval on each measure: python driftline_performance.py FILE."""

import itertools
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
frame = frame if frame["time"].is_sorted() else frame.sort("time")
instants = frame["time"].to_physical()
midnights = pl.Series([day * DAY for day in range(instants[0] // DAY, instants[-1] // DAY + 2)])
days = []
for start, end in itertools.pairwise(instants.search_sorted(midnights).to_list()):
    day = canonical(frame.slice(start, end - start), COLUMNS, SCHEMA)  # by day: what fits the cache is quicker
    scores = [name for name in day.columns if name.startswith("score.")]
    days.append(measures(performance_of(day, SCHEMA, scores, {}), positive=SCHEMA.positive, names=METRICS))
means = {name: round(statistics.fmean(day[name].value or 0.0 for day in days), 4) for name in METRICS}
answer = {"windows": len(days), **means, "inside_seconds": time.perf_counter() - started}
sys.stdout.write(json.dumps(answer) + "\n")
