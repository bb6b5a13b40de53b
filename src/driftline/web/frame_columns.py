"""The columns of a frame as those of a batch of events."""

from __future__ import annotations

import polars as pl

from driftline.errors import DataError
from driftline.monitoring.frames import FrameCame
from driftline.web.arrow_rows import PARTS, STRUCTS, require_times

_NAMES = ("id", "version", "time", "latency_seconds")


def came_of(frame: pl.DataFrame, target: str, positive: str | None = None) -> FrameCame | None:
    """Return the columns of a frame whose columns are named as the fields of events; ``target`` is what they predict,
    or are labels of. None where one of them has a name, or times, that have to be looked at row by row.
    """
    fields: dict[str, pl.Series] = {}
    parts: dict[str, dict[str, pl.Series]] = {"features": {}, "score": {}}
    for column in frame:
        part, _, rest = column.name.partition(".")
        if rest and part in PARTS:
            parts[PARTS[part]][rest] = column
        elif column.name in STRUCTS and isinstance(column.dtype, pl.Struct):
            parts[column.name] |= {name: column.struct.field(name) for name in column.struct.fields}
        else:
            fields[column.name] = column
    if "score" in fields and positive is not None and not parts["score"]:
        parts["score"][positive] = fields.pop("score")
    named = {*_NAMES, target}
    if (target == "label" and any(parts.values())) or target not in fields or not fields.keys() <= named:
        return None
    times = fields.get("time")
    if times is not None and isinstance(times.dtype, pl.Datetime):
        if times.dtype.time_zone is None:
            return None
        try:
            require_times(times, "time")
        except DataError:  # whoever looks at the rows says so
            return None
    return FrameCame(
        frame.height,
        target=fields[target],
        ids=fields.get("id"),
        times=times,
        versions=fields.get("version"),
        latencies=fields.get("latency_seconds"),
        features=parts["features"],
        scores=parts["score"],
    )
