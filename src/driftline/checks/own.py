"""Compute the user's own measures on the labelled current rows of a check."""

from __future__ import annotations

from collections.abc import Mapping

import polars as pl

from driftline.checks.reading import Input
from driftline.errors import UsageError
from driftline.profiles import canonical
from driftline.profiles.layout import Layout
from driftline.sources.own import Function, Replicates, replicates_apart, replicates_of
from driftline.sources.rows import StreamedRows
from driftline.statistics import CATALOGUE
from driftline.statistics.bootstrap import rows_for

Own = Mapping[str, str | Function]
"""Functions by the names of their measures; ``file.py:function`` is called in a process of its own, others in this."""


def require_names(measures: Own) -> None:
    """Refuse a measure with the name of a built-in one."""
    for name in measures:
        if name in CATALOGUE:
            raise UsageError(f"measures: {name!r} is a measure already; give yours another name")


def own_measures(measures: Own, side: Input, layout: Layout) -> dict[str, Replicates]:
    """Call each function with the labelled rows of a side, which are held in memory for it; empty without functions."""
    if not measures:
        return {}
    if isinstance(side.rows, StreamedRows):
        problem = "a stream is read once, and a measure of one's own needs its rows; name a file"
        return {name: Replicates(None, 0, problem=problem) for name in measures}
    rows, blocks = rows_for(_canonical(side, layout), layout.schema)
    return {
        name: replicates_apart(one, rows, blocks) if isinstance(one, str) else replicates_of(one, rows, blocks)
        for name, one in measures.items()
    }


def _canonical(side: Input, layout: Layout) -> pl.DataFrame:
    columns, there = layout.columns, side.rows.schema
    if columns.label not in there:
        return pl.DataFrame()
    wanted = {*columns.roles, *layout.schema.features, columns.cluster}
    batches = side.rows.batches([name for name in there if name in wanted])
    parts = [canonical(side.typed(batch)[0], columns, layout.schema) for batch in batches]
    labelled = [rows.filter(pl.col("label").is_not_null()) for rows in parts]
    return pl.concat(labelled, how="vertical_relaxed") if labelled else pl.DataFrame()
