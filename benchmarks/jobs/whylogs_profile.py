"""A whylogs profile of one file, with its defaults: python whylogs_profile.py FILE."""

import json
import sys
import time

import pandas as pd
import whylogs  # type: ignore[import-not-found]

started = time.perf_counter()
view = whylogs.log(pd.read_parquet(sys.argv[1])).profile().view()
counts = [column.get_metric("counts").n.value for column in view.get_columns().values()]
answer = {"columns": len(counts), "values": sum(counts), "inside_seconds": time.perf_counter() - started}
sys.stdout.write(json.dumps(answer) + "\n")
