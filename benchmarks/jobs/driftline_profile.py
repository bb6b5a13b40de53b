"""A Driftline profile of one file, streamed in groups of columns as `driftline check` does it.

python driftline_profile.py FILE
"""

import json
import sys
import time

import polars as pl
from msgspec.structs import replace

from driftline.profiles import Columns, Profiler, Workers, canonical, infer_schema, layout_of
from driftline.sources.rows import batch_rows

GROUP = 8
SAMPLE_ROWS = 100_000

started = time.perf_counter()
scan = pl.scan_parquet(sys.argv[1])
sample = scan.head(SAMPLE_ROWS).collect()
schema = infer_schema(sample, Columns())
grids, anchors = layout_of(canonical(sample, Columns(), schema), schema)
del sample
columns = values = 0
with Workers() as workers:
    names = list(schema.features)
    for start in range(0, len(names), GROUP):
        group = names[start : start + GROUP]
        part = replace(schema, features={name: schema.features[name] for name in group})
        profiler = Profiler(part, grids, anchors)
        for batch in scan.select(group).collect_batches(chunk_size=batch_rows(len(group)), engine="streaming"):
            workers.start(profiler.tasks(canonical(batch, Columns(), part)))
        workers.finish()
        features = profiler.profile().features
        columns += len(features.columns)
        values += features.rows * len(features.columns)
answer = {"columns": columns, "values": values, "inside_seconds": time.perf_counter() - started}
sys.stdout.write(json.dumps(answer) + "\n")
