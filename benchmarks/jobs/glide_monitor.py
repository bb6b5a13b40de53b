"""In which windows GLIDE's monitor of a mean, with its defaults, is in alarm for accuracy.

python glide_monitor.py FILE: JSON, a list of {"threshold": ..., "windows": [[right, labelled], ...]}.
"""

import json
import sys
from pathlib import Path

import numpy as np
from glide.monitors import AsymptoticClassicalRM  # type: ignore[import-not-found]

told = []
for stream in json.loads(Path(sys.argv[1]).read_text("utf-8")):
    right, labelled = np.array(stream["windows"]).T
    batches = np.repeat(np.arange(len(labelled)), labelled)
    place = np.arange(len(batches)) - np.repeat(np.cumsum(labelled) - labelled, labelled)
    result = AsymptoticClassicalRM().detect(
        (place < right[batches]).astype(float), batches, higher_is_better=True, threshold=stream["threshold"]
    )
    told.append(result.alarms.tolist())
sys.stdout.write(json.dumps(told) + "\n")
