"""Turn frames and files of rows into the input of a contest: the labelled rows, and the answers of each version."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import polars as pl
from msgspec import structs

from driftline.errors import DataError
from driftline.events import Schema, Task
from driftline.profiles import Columns, canonical
from driftline.profiles.alike import Table
from driftline.profiles.frame import SCORE, SEGMENT
from driftline.profiles.reading import as_written, read_alone
from driftline.rules.contestants import Entry, Rows
from driftline.sources.files import open_rows, whole
from driftline.statistics.influence import Floats, Texts

UNVERSIONED = "unversioned"
"""The name given to a version without one."""
_MOST_SEGMENT_VALUES = 50
_REPLAY_OTHERWISE = 0.01
_REPLAY_ERROR = 1e-3


def answers_known(champion: str, logged: pl.DataFrame, since: datetime | None, shadow: pl.DataFrame) -> pl.DataFrame:
    """Return the champion's answers in the log, in canonical columns: those it gave live, else those as a shadow.

    Answers of other versions do not count. Where no row has a version, all rows since the champion's promotion
    (``since``) are taken as its own; without that, all rows.
    """
    version = pl.col("version").fill_null("").replace("", UNVERSIONED)
    own = version == (champion or UNVERSIONED)
    if len(logged) and (logged["version"].fill_null("") == "").all():
        own = own | (pl.lit(value=True) if since is None else pl.col("time") >= since)
    told = [_spoken(logged.filter(own))]
    if len(shadow):
        told.append(_spoken(shadow.join(logged.select("id"), on="id", how="semi")))
    return pl.concat(told, how="diagonal_relaxed").unique("id", keep="first", maintain_order=True)


def champion_entry(
    champion: str, evaluation: pl.DataFrame, known: pl.DataFrame, replayed: pl.DataFrame | None, schema: Schema
) -> Entry:
    """Return the champion's answers to the rows of a contest: those in the log, else those of the run's replay.

    Raises `DataError` for a replay that leaves rows out, or that differs from the champion's answers in the log.
    """
    origin = ""
    if replayed is not None:
        replayed = _spoken(replayed.join(evaluation.select("id"), on="id", how="semi"))
        _require_like(replayed, known, champion, len(evaluation), schema)
        more = replayed.join(known, on="id", how="anti")
        known = pl.concat([known, more], how="diagonal_relaxed")
        if len(more):
            origin = f"The run replayed {champion} for {len(more)} of {len(evaluation)} rows."
    return replace(entry_of(champion, known, evaluation["id"], schema), origin=origin)


def _spoken(rows: pl.DataFrame) -> pl.DataFrame:
    said = [name for name in rows.columns if name in ("id", "prediction", "latency_seconds") or name.startswith(SCORE)]
    return rows.select(said)


def _require_like(replayed: pl.DataFrame, known: pl.DataFrame, champion: str, rows: int, schema: Schema) -> None:
    """Refuse a replay that leaves rows out, or that differs from the champion's answers in the log."""
    if (gone := rows - len(replayed)) > 0:
        raise DataError(
            f"the replay of {champion} has no answer to {gone} of {rows} rows; replay them all, or leave "
            "`predictions.champion` out"
        )
    both = known.select("id", said="prediction").join(replayed.select("id", again="prediction"), on="id")
    if schema.task is Task.REGRESSION:
        said, again = (both[name].cast(pl.Float64).to_numpy() for name in ("said", "again"))
        other = int((~np.isclose(said, again, rtol=_REPLAY_ERROR, equal_nan=True)).sum())
    else:
        other = int((both["said"].cast(pl.String) != both["again"].cast(pl.String)).sum())
    if other > _REPLAY_OTHERWISE * len(both):
        raise DataError(
            f"the replay of {champion} says other than {champion} did in {other} of {len(both)} rows that it answered; "
            "replay the same version, on the same features"
        )


def rows_of(
    evaluation: pl.DataFrame,
    schema: Schema,
    segments: Sequence[str],
    *,
    trained_until: datetime | None = None,
    timezone: str = "UTC",
) -> Rows:
    """Return the rows of a contest from canonical rows with ``label`` and, if there are any, ``time`` and segments.

    Days are those of the time zone. Raises `DataError` for a segment column that is missing or has too many values.
    """
    label = evaluation["label"]
    seconds = days = None
    if "time" in evaluation.columns and not evaluation["time"].null_count():
        local = evaluation["time"].dt.convert_time_zone(timezone).dt.date()
        days = local.cast(pl.Int32).cast(pl.Int64).to_numpy()
        seconds = evaluation["time"].dt.epoch("us").to_numpy() / 1e6
    found = {}
    for name in segments:
        if SEGMENT + name not in evaluation.columns:
            raise DataError(f"the rows have no column {name!r} to make segments of")
        values = evaluation[SEGMENT + name].cast(pl.String).fill_null("missing")
        if values.n_unique() > _MOST_SEGMENT_VALUES:
            raise DataError(f"{name!r} has {values.n_unique()} values; {_MOST_SEGMENT_VALUES} segments are the most")
        found[name] = values.to_numpy().astype(np.str_)
    return Rows(
        task=schema.task,
        labels=_plain(label, schema),
        seconds=seconds,
        segments=found,
        classes=tuple({*schema.classes, *label.unique().to_list()}) if schema.task is not Task.REGRESSION else (),
        positive=schema.positive,
        trained_until=None if trained_until is None else trained_until.astimezone(UTC).timestamp(),
        days=days,
    )


def entry_of(version: str, answers: pl.DataFrame, ids: pl.Series, schema: Schema) -> Entry:
    """Return a version's answers to the rows with these ids, from canonical rows with ``id`` and ``prediction``.

    Raises `DataError` without predictions, and for an id that comes twice.
    """
    if "prediction" not in answers.columns:
        raise DataError(f"the predictions of {version} have no column of predictions")
    if answers["id"].is_duplicated().any():
        twice = answers["id"].filter(answers["id"].is_duplicated())[0]
        raise DataError(f"the predictions of {version} have the id {twice!r} twice")
    asked = ids.is_in(answers["id"].implode())
    aligned = ids.to_frame("id").join(answers, on="id", how="left", maintain_order="left")
    said = aligned["prediction"]
    scores = {
        name.removeprefix(SCORE): aligned[name].cast(pl.Float64).fill_null(float("nan")).to_numpy()
        for name in aligned.columns
        if name.startswith(SCORE) and aligned[name].null_count() < len(aligned)
    }
    latency = aligned["latency_seconds"].drop_nulls() if "latency_seconds" in aligned.columns else pl.Series([])
    return Entry(
        version=version,
        predictions=_plain(said, schema),
        answered=said.is_not_null().to_numpy(),
        scores=scores,
        latency_seconds=latency.cast(pl.Float64).to_numpy(),
        asked=asked.to_numpy(),
    )


def _plain(values: pl.Series, schema: Schema) -> Texts | Floats:
    if schema.task is Task.REGRESSION:
        return values.cast(pl.Float64).fill_null(float("nan")).to_numpy()
    return values.cast(pl.String).fill_null("").to_numpy().astype(np.str_)


def columns_as_written(columns: Columns, segments: Sequence[str]) -> Columns:
    """Return the roles of the columns in the files that `driftline.retrain.rows` writes."""
    return structs.replace(
        columns,
        id=columns.id or "id",
        time=columns.time or "time",
        version=columns.version or "version",
        prediction=columns.prediction or "prediction",
        label=columns.label or "label",
        segments=tuple(segments),
    )


def answers_in(path: Path, columns: Columns, ids: pl.Series, schema: Schema) -> pl.DataFrame:
    """Return the answers in a file, in the canonical layout; its ids are read to match those of the rows.

    Raises `DataError` for a file without the column of ids.
    """
    opened = open_rows(path, columns.missing)
    parts = structs.replace(columns, features=(), segments=(), time=None)
    tables = [Table(pl.DataFrame({columns.id: ids})), Table(opened.sample(), opened.typed)]
    _, texts = as_written(tables, parts)
    found, _ = read_alone(whole(opened.retyped(texts) if texts else opened), parts)
    if columns.id not in found.columns:
        raise DataError(
            f"{path.name} has no column {columns.id!r}, by which its rows are found; it has {found.columns}"
        )
    return canonical(found, columns, schema)
