"""Write the rows of a run: those to train on and those to judge by, in columns named as in the reference."""

from __future__ import annotations

import hashlib
import io
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path

import msgspec
import polars as pl

from driftline.errors import DataError, StorageError
from driftline.events import Schema, Window
from driftline.profiles import Columns
from driftline.profiles.frame import FEATURE, SCORE
from driftline.profiles.parts import vectors_of
from driftline.store.durable import replacing
from driftline.store.log import EventLog, Mark
from driftline.text import cause

TRAINING, EVALUATION, REFERENCE = "train.parquet", "evaluation.parquet", "reference.parquet"
SHADOW = "shadow.parquet"


class Span(msgspec.Struct, frozen=True):
    """A half-open span of event time, and its number of rows."""

    begin: datetime
    end: datetime
    rows: int


class RowsRecord(msgspec.Struct, frozen=True):
    """The record of a run's rows, and the log's marks at that time: the same marks give the same rows again.

    ``sha256`` is that of the file with the evaluation's rows as it was handed out.
    """

    training: Span
    evaluation: Span
    predictions: Mark
    labels: Mark
    sha256: str = ""


@dataclass(frozen=True, slots=True)
class Split:
    """The spans of event time to train on and to evaluate on; the first ends where the second begins."""

    training: Window
    evaluation: Window


def split(until: datetime, *, train_on: timedelta, evaluate_on: timedelta) -> Split:
    """Split the time before ``until``: the newest part is for the contest, the part before it for training."""
    middle = until - evaluate_on
    return Split(Window(middle - train_on, middle), Window(middle, until))


def write_rows(
    folder: Path, log: EventLog, parts: Split, schema: Schema, columns: Columns, reference: pl.DataFrame
) -> RowsRecord:
    """Write the labelled rows of both spans, and the reference, into a run's folder; existing files are replaced.

    Columns have the names and types of the reference: features, label, and for the evaluation also the prediction and
    the scores of the model that answered then. ``id``, ``time`` and ``version`` keep these names if the reference has
    none for them. Raises `DataError` if a span has no labelled row, and `StorageError` for the disk.
    """
    marks = log.marks()
    training = log.labelled_rows(parts.training, marks)
    evaluation = log.labelled_rows(parts.evaluation, marks)
    for name, frame, span in (("learn from", training, parts.training), ("judge by", evaluation, parts.evaluation)):
        if not len(frame):
            raise DataError(f"there is no labelled row to {name} in {span.start.isoformat()} to {span.end.isoformat()}")
    try:
        folder.mkdir(parents=True, exist_ok=True)
        like = reference.schema
        _write(typed(named(training, schema, columns), like).drop(answers(columns), strict=False), folder / TRAINING)
        sealed = _write(typed(named(evaluation, schema, columns), like), folder / EVALUATION)
        _write(reference, folder / REFERENCE)
    except OSError as error:
        raise StorageError(f"the rows of the run cannot be written into {folder}: {cause(error)}") from error
    return RowsRecord(
        training=Span(parts.training.start, parts.training.end, len(training)),
        evaluation=Span(parts.evaluation.start, parts.evaluation.end, len(evaluation)),
        predictions=marks["predictions"],
        labels=marks["labels"],
        sha256=sealed,
    )


def write_shadow(
    folder: Path, log: EventLog, span: Window, schema: Schema, columns: Columns, version: str
) -> RowsRecord:
    """Write the labelled rows of a span that a shadow has answered too, and its answers.

    Raises `DataError` if there are none, and `StorageError` for the disk.
    """
    marks, said = log.marks(), log.shadow_rows(version)
    rows = log.labelled_rows(span, marks)
    if len(rows) and len(said):
        rows = rows.join(said.select("id"), on="id", how="semi", maintain_order="left")
    if not len(rows) or not len(said):
        raise DataError(
            f"no labelled row in {span.start.isoformat()} to {span.end.isoformat()} has an answer of {version} as a "
            "shadow; log its predictions with `role: shadow` and the ids of the live ones"
        )
    try:
        folder.mkdir(parents=True, exist_ok=True)
        sealed = _write(named(rows, schema, columns), folder / EVALUATION)
        answered = named(said.join(rows.select("id"), on="id", how="semi"), schema, columns)
        _write(
            answered.select(columns.id or "id", *(one for one in answers(columns) if one in answered.columns)),
            folder / SHADOW,
        )
    except OSError as error:
        raise StorageError(f"the rows of the contest cannot be written into {folder}: {cause(error)}") from error
    first = rows["time"].min()
    assert isinstance(first, datetime)  # there are rows
    return RowsRecord(
        training=Span(first, first, 0),
        evaluation=Span(span.start, span.end, len(rows)),
        predictions=marks["predictions"],
        labels=marks["labels"],
        sha256=sealed,
    )


def named(rows: pl.DataFrame, schema: Schema, columns: Columns) -> pl.DataFrame:
    """Return rows of the log with the column names of the reference."""
    scores: Mapping[str, str] = columns.score if isinstance(columns.score, Mapping) else {}
    if isinstance(columns.score, str) and schema.positive is not None:
        scores = {schema.positive: columns.score}
    names = {
        "id": columns.id or "id",
        "time": columns.time or "time",
        "version": columns.version or "version",
        "prediction": columns.prediction or "prediction",
        "label": columns.label or "label",
        **{FEATURE + name: name for name in schema.inputs},
        **{SCORE + name: column for name, column in scores.items()},
    }
    return rows.select(pl.col(column).alias(name) for column, name in names.items() if column in rows.columns)


def typed(rows: pl.DataFrame, like: Mapping[str, pl.DataType]) -> pl.DataFrame:
    """Return the rows with each column cast to the type in ``like``, if all its values have an equal one of that type.

    The log stores classes as names, numbers as float64 (so 1 of an integer column as 1.0 or ``"1"``), and embeddings as
    texts.
    """
    return rows.with_columns(_like(rows[name], like[name]) for name in rows.columns if name in like)


def _like(column: pl.Series, dtype: pl.DataType) -> pl.Series:
    if column.dtype == dtype:
        return column
    column = _as_vectors(column, dtype)
    number = column.cast(pl.Float64, strict=False) if dtype.is_numeric() or dtype == pl.Boolean else column
    try:
        cast = number.cast(dtype, strict=False)
        back = cast.cast(number.dtype, strict=False)
    except pl.exceptions.PolarsError:
        return column
    if cast.null_count() != column.null_count():
        return column
    return cast if back.dtype != number.dtype or bool((back == number).fill_null(True).all()) else column


def _as_vectors(column: pl.Series, dtype: pl.DataType) -> pl.Series:
    """Read embeddings, which the log stores as JSON, as lists of numbers; other columns stay as they are."""
    if column.dtype != pl.String or not isinstance(dtype, (pl.List, pl.Array)) or not dtype.inner.is_numeric():
        return column
    vectors = vectors_of(column)
    return vectors if vectors.null_count() == column.null_count() else column


def answers(columns: Columns) -> list[str]:
    """Return the columns with the model's answers, which no challenger is trained on."""
    scores = [columns.score] if isinstance(columns.score, str) else list((columns.score or {}).values())
    return [columns.prediction or "prediction", *scores]


def read_evaluation(folder: Path, record: RowsRecord) -> pl.DataFrame:
    """Return the rows that a run is judged by, as handed out; raises `DataError` if they are gone or changed.

    A run can write into its folder, so the file is checked: it must not decide on the rows that it is judged by.
    """
    try:
        content = (folder / EVALUATION).read_bytes()
    except OSError as error:
        raise DataError(
            f"{EVALUATION}, which the challenger is judged by, cannot be read: {error.strerror}; a run leaves it be"
        ) from error
    if hashlib.sha256(content).hexdigest() != record.sha256:
        raise DataError(
            f"{EVALUATION}, which the challenger is judged by, is not as it was handed out; a run leaves it be, and "
            "writes files of its own"
        )
    return pl.read_parquet(io.BytesIO(content))


def _write(frame: pl.DataFrame, path: Path) -> str:
    """Write a file that is there completely or not at all; return its SHA-256 in hexadecimal digits."""
    with replacing(path) as beside:
        frame.write_parquet(beside)
        with beside.open("rb") as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
    return digest
