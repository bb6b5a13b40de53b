"""Guess a whole model from a file of its rows."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import polars as pl
from msgspec.structs import replace

from driftline.errors import DataError, UnknownNameError, UsageError
from driftline.events import MISSING_TEXTS, Schema, Task, guess_positive
from driftline.guessing.guess import Guess
from driftline.guessing.roles import Given, Roles, columns_of, guess_roles
from driftline.guessing.times import Times, guess_times, restated
from driftline.guessing.values import guess_missing, guess_segments
from driftline.lookalikes import in_quotes
from driftline.profiles import Columns, infer_schema
from driftline.profiles.infer import named_in
from driftline.profiles.missing import without_missing_in
from driftline.profiles.reading import read_as_served
from driftline.sources.files import open_rows
from driftline.sources.rows import Rows
from driftline.text.numbers import count

MOST_CELLS = 60_000_000
"""Of a larger file the first rows are looked at, up to so many values."""

_MOST_NAME = 64


@dataclass(frozen=True, slots=True)
class ModelGuess:
    """What a file of rows suggests of its model: the schema, the columns' roles, and each guess with its reason.

    ``aside`` are columns that are neither inputs nor have a role, with reasons; ``notes`` say how the file was read.
    """

    name: str
    schema: Schema
    columns: Columns
    targets: bool
    window: str
    timezone: str
    aside: Mapping[str, str]
    guesses: tuple[Guess, ...]
    notes: tuple[str, ...]

    @property
    def task(self) -> Task | None:
        """The task; None where neither label, prediction nor score is known."""
        return self.schema.task if self.targets else None

    def guess(self, key: str) -> Guess | None:
        """Return the guess of a key; None where there is none to make."""
        return next((one for one in self.guesses if one.key == key), None)


@dataclass(frozen=True, slots=True)
class Said:
    """What the caller stated, so that it is not guessed."""

    given: Given = field(default_factory=Given)
    time: str | None = None
    time_format: str | None = None
    task: Task | None = None

    @property
    def columns(self) -> list[str]:
        """The columns that were named."""
        one = (self.given.id, self.given.prediction, self.given.label, self.time)
        return [*(name for name in one if name is not None), *columns_of(self.given.score)]


def guess_model(path: str, name: str | None = None, said: Said | None = None) -> ModelGuess:
    """Guess a model from the rows of a file; ``name`` is the model's, None for the file's.

    Raises `UsageError` for a file or a column that is not there, `DataError` for one that is broken or has no rows.
    """
    said = said or Said()
    missing: tuple[str, ...] = MISSING_TEXTS
    rows, notes, typed = _read(path, missing)
    for column in said.columns:
        if column not in rows.columns:
            raise UnknownNameError("column", column, rows.columns)
    clean = without_missing_in(rows, missing)
    times, roles = _roles(clean, said)
    targets = [one for one in (roles.label, roles.prediction) if one is not None]
    markers = guess_missing(clean, targets)
    if markers is not None:
        missing = tuple(markers.value)
        rows, notes, typed = _read(path, missing)
        clean = without_missing_in(rows, missing)
        times, roles = _roles(clean, said)
    nameless = {name: "has a name that no configuration can hold" for name in rows.columns if not _can_be_named(name)}
    roles = roles._replace(aside={**roles.aside, **nameless})
    segments = guess_segments(clean, _inputs(clean, times, roles))
    return _guessed(
        name or model_name(path), rows, times, roles, (markers, segments), said.task, typed=typed, notes=tuple(notes)
    )


def model_name(path: str) -> str:
    """Return a model's name made of a file's.

    >>> model_name("data/Seattle Weather.2024.parquet"), model_name("s3://b/*.parquet"), model_name("моя.csv")
    ('seattle-weather', 'model', 'model')
    """
    stem = Path(path).name.partition(".")[0].lower()
    return re.sub(r"[^a-z0-9_]+", "-", stem).strip("-_")[:_MOST_NAME] or "model"


def _read(path: str, missing: Sequence[str]) -> tuple[pl.DataFrame, list[str], bool]:
    """Read all rows, or the first of very many; the notes on how they were read, and whether the file states types."""
    opened = open_rows(path, missing)
    for name in opened.schema:
        if name == "*" or (name.startswith("^") and name.endswith("$")):  # Polars would take many columns for it
            raise DataError(f"{path}: the column {name!r} has a pattern for a name; give it another name")
    frame, whole = _first_rows(opened)
    if not frame.height or not frame.width:
        what = "rows" if frame.width else "columns"
        raise DataError(f"{path} has no {what}; a configuration is guessed from rows of the model")
    notes = [] if whole else [f"Only the first {count(frame.height)} rows were looked at."]
    return frame, [*opened.notes, *notes], opened.typed


def _first_rows(rows: Rows) -> tuple[pl.DataFrame, bool]:
    parts, cells = [rows.sample().clear()], 0
    for batch in rows.batches(list(rows.schema)):
        parts.append(batch)
        cells += batch.height * batch.width
        if cells > MOST_CELLS:
            return pl.concat(parts, how="vertical_relaxed"), False
    return pl.concat(parts, how="vertical_relaxed"), True


def _roles(rows: pl.DataFrame, said: Said) -> tuple[Times, Roles]:
    named = rows.select(pl.col(name) for name in rows.columns if _can_be_named(name))
    times = guess_times(named, said.time, said.time_format)
    if said.time is not None and times.column is None:
        raise UsageError(
            f"--time {said.time!r} holds no times that can be read; say how they are written: --time-format"
        )
    nameless = [name for name in rows.columns if not _can_be_named(name)]
    taken = [*nameless, *times.aside, *([times.column] if times.column is not None else [])]
    roles = guess_roles(rows, said.given, taken)
    if times.column is not None and times.style is not None:
        again = restated(rows, _inputs(rows, times, roles), times.column, times.style)
        times = times._replace(aside={**times.aside, **again})
    return times, roles


def _can_be_named(name: str) -> bool:
    return bool(name) and "\0" not in name


def _inputs(rows: pl.DataFrame, times: Times, roles: Roles) -> list[str]:
    taken = {times.column, roles.id, roles.version, roles.prediction, roles.label, *columns_of(roles.score)}
    return [name for name in rows.columns if name not in {*taken, *roles.aside, *times.aside}]


def _guessed(
    name: str,
    rows: pl.DataFrame,
    times: Times,
    roles: Roles,
    values: tuple[Guess | None, Guess],
    task: Task | None,
    *,
    typed: bool,
    notes: tuple[str, ...],
) -> ModelGuess:
    markers, segments = values
    columns = Columns(
        id=roles.id,
        time=times.column,
        version=roles.version,
        prediction=roles.prediction,
        score=roles.score,
        label=roles.label,
        features=tuple(_inputs(rows, times, roles)),
        segments=tuple(segments.value or ()),
        missing=MISSING_TEXTS if markers is None else tuple(markers.value),
        time_format=times.time_format,
    )
    schema = infer_schema(read_as_served(rows, columns, typed=typed), columns, task=task)
    guessed_roles, aside = list(roles.guesses), {**roles.aside, **times.aside}
    if schema.task is Task.REGRESSION:  # it has no scores
        guessed_roles = [one for one in guessed_roles if one.key != "columns.score"]
        aside |= dict.fromkeys(columns_of(columns.score), "is named for a probability, which a regression has not")
        columns = replace(columns, score=None)
    targets = columns.label is not None or columns.prediction is not None or columns.score is not None
    guesses = [*times.guesses, *guessed_roles, segments]
    guesses += [markers] if markers is not None else []
    guesses += _of_schema(schema, columns, targets=targets, said=task is not None)
    return ModelGuess(
        name,
        schema,
        columns,
        targets,
        times.window,
        times.timezone,
        aside,
        tuple(guesses),
        notes,
    )


def _of_schema(schema: Schema, columns: Columns, *, targets: bool, said: bool) -> Iterator[Guess]:
    if not targets:
        reason = "neither label, prediction nor score is known: one of binary, multiclass, regression"
        yield Guess("task", None, reason)
    else:
        yield Guess("task", schema.task.value, "as you said" if said else _task_reason(schema, columns))
    if targets and schema.task is Task.BINARY and schema.positive is not None:
        guess = guess_positive(schema.classes, **named_in(columns))
        yield Guess("positive", schema.positive, guess.by if guess is not None else "as no class has come yet")
    if schema.codes:
        yield Guess(
            "columns.categorical", list(schema.codes), "few large whole numbers far apart: codes, not quantities"
        )


def _task_reason(schema: Schema, columns: Columns) -> str:
    target = columns.label or columns.prediction
    if target is None:
        return "one column of scores"
    if schema.task is Task.REGRESSION:
        return f"{in_quotes(target)} has fractions, or many different numbers"
    found = len(schema.classes)
    return f"{in_quotes(target)} has {count(found)} {'class' if found == 1 else 'classes'}"
