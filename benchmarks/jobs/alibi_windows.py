"""-log p of Alibi Detect's tests of tables, with their defaults, of each window against the first ones together.

python alibi_windows.py FILE REFERENCE: the first so many windows are the reference. It takes no missing values: each
column is tested without its own.
"""

import json
import sys

import numpy as np
import pandas as pd
from alibi_detect.cd import TabularDrift  # type: ignore[import-not-found]

rows, count = pd.read_parquet(sys.argv[1]), int(sys.argv[2])
scores: dict[str, list[float]] = {}
for name in rows.columns.drop("window"):
    known = rows[["window", name]].dropna()
    categories = None if pd.api.types.is_numeric_dtype(known[name]) else {0: None}
    values = known[name].to_numpy() if categories is None else pd.factorize(known[name])[0]
    reference = (known["window"] < count).to_numpy()
    test = TabularDrift(values[reference].reshape(-1, 1), p_val=0.05, categories_per_feature=categories)
    later = [values[known["window"].to_numpy() == at] for at in range(count, int(rows["window"].max()) + 1)]
    p = np.array([test.predict(one.reshape(-1, 1))["data"]["p_val"][0] for one in later], np.float64)
    scores[name] = (-np.log(np.maximum(p, 1e-38))).tolist()
sys.stdout.write(json.dumps(scores) + "\n")
