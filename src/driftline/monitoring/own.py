"""Measures of one's own of a window: its labelled rows, read from the log when it is judged, and people's functions."""

from __future__ import annotations

from collections.abc import Sequence

import polars as pl

from driftline.events import Window
from driftline.monitoring.model import MonitoredModel
from driftline.profiles.reference import as_logged
from driftline.sources.own import Replicates, replicates_apart
from driftline.statistics.bootstrap import rows_for


def own_measures(
    model: MonitoredModel, window: Window, versions: Sequence[str], labelled: int
) -> dict[str, Replicates]:
    """What each function says of the labelled rows of a window, all versions together; without any nothing is read."""
    functions = model.config.measures
    if not functions:
        return {}
    if not labelled:
        return {name: Replicates(None, 0, problem="no labelled rows") for name in functions}
    parts = [model.log.window_rows(window, version) for version in versions]
    logged = pl.concat([rows for rows in parts if rows.height], how="diagonal_relaxed")
    labelled_rows = logged.filter(pl.col("label").is_not_null()).sort("id")  # however they came
    rows, blocks = rows_for(as_logged(labelled_rows, model.schema), model.schema)
    return {name: replicates_apart(place, rows, blocks) for name, place in functions.items()}
