"""The segments of a served model: which there are, and the profiles of a window's rows with and without them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import reduce

import polars as pl
from msgspec.structs import replace

from driftline.errors import ConfigError, UnknownNameError
from driftline.events import MISSING_VALUE, OTHER_VALUES, Kind, Schema, Segment, Window
from driftline.lookalikes import shown
from driftline.monitoring.options import ModelConfig
from driftline.profiles import Reference, WindowProfile
from driftline.profiles.by_window import Profiled, profile_with_segments
from driftline.profiles.frame import SEGMENT
from driftline.profiles.infer import kind_of
from driftline.profiles.reference import as_logged
from driftline.profiles.segments import MOST_VALUES, SegmentProfiles, usual_values
from driftline.sketches import decode, encode
from driftline.store.windows import WindowRow


def profile(rows: pl.DataFrame, schema: Schema, reference: Reference) -> Profiled:
    """Profile canonical rows of the log, shape (n, columns)."""
    return profile_with_segments(as_logged(rows, schema), schema, reference.grids, reference.anchors)


def encoded_segments(segments: SegmentProfiles) -> bytes | None:
    """Return the segments as a window's row has them: None where there are none."""
    return encode(segments) if segments.columns else None


def stored_profiles(rows: Sequence[WindowRow]) -> tuple[dict[str, WindowProfile], SegmentProfiles]:
    """Return the profiles of a stored window: of each version, and of the segments of all versions together."""
    versions = {row.version: decode(row.profile, WindowProfile) for row in rows}
    return versions, reduce(SegmentProfiles.merge, [decoded_segments(row.segments) for row in rows])


def decoded_segments(stored: bytes | None) -> SegmentProfiles:
    """Return the segments of a window's row."""
    return SegmentProfiles() if stored is None else decode(stored, SegmentProfiles)


def window_row(
    model: str, window: Window, version: str, profiled: Profiled, *, labels_changed: bool = False, revision: int = 0
) -> WindowRow:
    """Return a version's part of a window as it is stored: not judged yet."""
    whole, segments = profiled
    return WindowRow(
        model=model,
        start=window.start,
        version=version,
        end=window.end,
        predictions=whole.predictions,
        labelled=whole.labelled,
        profile=encode(whole),
        segments=encoded_segments(segments),
        labels_changed=labels_changed,
        settled=False,
        revision=revision,
    )


def with_segments(schema: Schema, config: ModelConfig, rows: pl.DataFrame, canonical: pl.DataFrame) -> Schema:
    """Add the segments that are configured to a model's schema: their values are those of its reference.

    ``rows`` are the reference as it was read, ``canonical`` the same rows in the canonical layout. Raises `ConfigError`
    for a column that cannot define segments.
    """
    columns = config.columns
    for name in columns.segments:
        _require_names(name, schema, config, rows)
    aside = tuple(name for name in dict.fromkeys(columns.segments) if name not in schema.features)
    return replace(
        schema,
        features={**schema.features, **dict.fromkeys(aside, Kind.CATEGORICAL)},
        segments={name: usual_values(canonical[SEGMENT + name]) for name in dict.fromkeys(columns.segments)},
        aside=aside,
    )


def _require_names(name: str, schema: Schema, config: ModelConfig, rows: pl.DataFrame) -> None:
    columns, key = config.columns, f"models.{config.name}.columns.segments"
    if name not in rows.columns:
        raise ConfigError(str(UnknownNameError("column", name, rows.columns)), key=key)
    if name in columns.roles:
        said = f"the column {shown(name)} is also the {columns.roles[name]}; segments are told apart by inputs"
        raise ConfigError(said, key=key)
    codes = Kind.CATEGORICAL if name in (columns.categorical or ()) else kind_of(rows.schema[name])
    kind = schema.features.get(name, codes)
    if kind is not Kind.CATEGORICAL:
        codes_way = "add it to `columns.categorical` if its numbers are codes"
        way = codes_way if kind is Kind.NUMERIC else "write it as names"
        said = f"the column {shown(name)} is {kind.value} in the reference; segments are told apart by names: {way}"
        raise ConfigError(f"{said}, or leave it out", key=key)


def values_of(schema: Schema) -> dict[str, tuple[str, ...]]:
    """Return the values that rows can have in each column that defines segments."""
    return {name: (*values, OTHER_VALUES, MISSING_VALUE) for name, values in schema.segments.items()}


def segment_notes(config: ModelConfig, schema: Schema) -> Iterator[str]:
    """Yield what is worth knowing about the segments: those that are left out, and rules on values without rows."""
    for name, values in schema.segments.items():
        if len(values) >= MOST_VALUES:
            yield (
                f"the {MOST_VALUES} most frequent values of {shown(name)} in the reference are segments of their own; "
                "all others are one together"
            )
    for index, rule in enumerate(config.rules):
        if isinstance(rule.segment, Segment):
            column, value = rule.segment.column, rule.segment.value
            if value not in (known := values_of(schema)[column]):
                said = UnknownNameError(f"value of {shown(column)}", value, known)
                key = f"alerts.rules.{index}.segment"
                yield f"{key}: {said} The rule is not judged until the reference shows that value"
