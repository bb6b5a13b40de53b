"""Measures of one's own of a window: its labelled rows, read from the log when it is judged, and people's functions."""

from __future__ import annotations

from collections.abc import Sequence

import polars as pl

from driftline.clock import monotonic_seconds
from driftline.events import Window
from driftline.monitoring.model import MonitoredModel
from driftline.monitoring.setup import ModelSetup
from driftline.profiles.reference import as_logged
from driftline.sources.own import TIME_LIMIT, Replicates, replicates_apart
from driftline.statistics.bootstrap import rows_for

_TOO_SLOW: dict[str, str] = {}
"""Functions that took too long once, with the reason: no other window and no other model waits for them again."""


def own_measures(
    model: MonitoredModel, window: Window, versions: Sequence[str], labelled: int
) -> dict[str, Replicates]:
    """Return what each function says of the labelled rows of a window, all versions together;
    without any nothing is read.
    """
    functions = model.config.measures
    if not functions:
        return {}
    if not labelled:
        return {name: Replicates(None, 0, problem="no labelled rows") for name in functions}
    parts = [rows for version in versions if (rows := model.log.window_rows(window, version)).height]
    if not parts:
        return {name: Replicates(None, 0, problem="its events are no longer kept") for name in functions}
    return functions_on(model, pl.concat(parts, how="diagonal_relaxed"))


def functions_on(setup: ModelSetup, window_rows: pl.DataFrame) -> dict[str, Replicates]:
    """What each function says of those rows of a window, canonical and of all versions, that are labelled."""
    functions = setup.config.measures
    if not functions:
        return {}
    if "label" not in window_rows.columns or window_rows["label"].null_count() == window_rows.height:
        return {name: Replicates(None, 0, problem="no labelled rows") for name in functions}
    labelled_rows = window_rows.filter(pl.col("label").is_not_null())
    labelled_rows = labelled_rows.sort("id") if "id" in labelled_rows.columns else labelled_rows  # however they came
    rows, blocks = rows_for(as_logged(labelled_rows, setup.schema), setup.schema)
    found = {}
    for name, place in functions.items():
        if (slow := _TOO_SLOW.get(place)) is not None:
            found[name] = Replicates(None, rows.height, problem=f"{slow}; it is asked again after a restart")
            continue
        begun = monotonic_seconds()
        found[name] = replicates_apart(place, rows, blocks)
        if found[name].problem and monotonic_seconds() - begun >= TIME_LIMIT.total_seconds():
            _TOO_SLOW[place] = found[name].problem
    return found
