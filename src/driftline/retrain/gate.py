"""Hold a contest of two files of predictions, or of two functions, on labelled rows: ``driftline gate``."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path
from typing import Any, TypeGuard

import msgspec
import numpy as np
import polars as pl
from msgspec import structs

from driftline import clock
from driftline.checks.labelled import (
    GateColumns,
    ids_of,
    labelled,
    read_tables,
    require_common,
    require_probabilities,
    require_there,
    require_times,
    taken_as_missing,
)
from driftline.errors import DataError, UsageError, lacks_column
from driftline.events import Schema, Task
from driftline.monitoring.positive import positive_view
from driftline.profiles import Classification, Columns, canonical, infer_schema
from driftline.profiles.frame import other_class
from driftline.profiles.times import checked_time_format
from driftline.retrain.answers import entry_of, rows_of
from driftline.rules.contest import Contest, OwnMeasure, judge_contest
from driftline.rules.contestants import Entry, Rows, Settings
from driftline.rules.evidence import Evidence, evidence_of
from driftline.sources.functions import load_function
from driftline.sources.own import replicates_apart
from driftline.statistics import measures
from driftline.statistics.bootstrap import difference_of, enough_blocks
from driftline.statistics.catalogue import depends_on_positive
from driftline.statistics.doubt import doubt_of, doubtful
from driftline.statistics.paired import Difference

_TIMED_CALLS = 20
_ROW = "driftline_row"
_LABELLED = "the labelled rows"


Model = str | Path | pl.DataFrame | Callable[[pl.DataFrame], object]
"""A file of predictions, ``file.py:function``, a frame of predictions, or a function that takes a frame of features."""


def hold(
    champion: Model,
    challenger: Model,
    data: str | Path | pl.DataFrame,
    columns: GateColumns,
    settings: Settings,
    *,
    task: Task | None = None,
    positive: str | None = None,
    trained_until: datetime | None = None,
    keep: Callable[[Evidence], object] | None = None,
) -> Contest:
    """Hold a contest of two models on labelled rows; ``keep`` is called with its evidence.

    A function gets the feature columns as a Polars frame of n rows, and returns n predictions, or a frame of n rows
    with the columns of predictions and scores. Raises `DataError` for rows or answers that cannot be used, and
    `UsageError` for options that do not fit together.
    """
    if trained_until is not None and columns.time is None:
        raise UsageError("--trained-until came without --time; name the column that tells when each row was made")
    checked_time_format(columns.time_format)
    models = (champion, challenger)
    files = [one for one in models if _is_table(one)]
    rows, *read = read_tables([data, *files], columns)
    tables = {id(one): table for one, table in zip(files, read, strict=True)}
    named = "the data" if isinstance(data, pl.DataFrame) else str(data)
    require_there(rows, named, [one for one in (columns.id, columns.time, columns.label, *columns.segments) if one])
    if not len(there := labelled(rows, columns)):
        why = taken_as_missing([(named, rows)], columns)
        raise DataError("; ".join((f"no row has a label in {columns.label!r}", *why)))
    every, rows = rows, there
    called = [_name(one) or f"the {role}" for one, role in zip(models, ("champion", "challenger"), strict=True)]
    said = [_answers(tables.get(id(one), one), who, rows, columns) for one, who in zip(models, called, strict=True)]
    notes = taken_as_missing([(named, every), *zip(called, (one.frame for one in said), strict=True)], columns)
    schema = _schema(rows, columns, task, positive)
    parts = columns.parts("id", "time", "label", "segments")
    contested = canonical(rows, parts, schema)
    if columns.time is not None:
        require_times(contested["time"], columns.time)
    ids = _ids(rows, columns)
    names = [_name(champion), _name(challenger)]
    if names[0] == names[1]:
        names = ["champion", "challenger"]
    answers = structs.replace(columns.parts("prediction", "score"), id=_ROW)
    then, now = (
        replace(entry_of(name, canonical(one.frame, answers, schema), ids, schema), latency_seconds=one.seconds)
        for name, one in zip(names, said, strict=True)
    )
    judged_by = rows_of(contested, schema, columns.segments, trained_until=trained_until)
    own = _own_measure(rows.drop(columns.label), contested, (now, then), judged_by, settings)
    contest = msgspec.structs.replace(judge_contest(then, now, judged_by, settings, own=own), notes=notes)
    if keep is not None:
        keep(evidence_of(then, now, judged_by, ids.to_list() if columns.id is not None else None))
    if not depends_on_positive(contest.measure) and not (then.scores or now.scores):
        return contest
    doubt = _doubt({one.version: one for one in (then, now)}, contested["label"], schema, columns, said=positive)
    view = positive_view(schema, Columns(label=columns.label, score=columns.score), positive, doubt)
    return msgspec.structs.replace(contest, positive=view)


def _own_measure(
    features: pl.DataFrame, contested: pl.DataFrame, both: tuple[Entry, Entry], rows: Rows, settings: Settings
) -> OwnMeasure | None:
    """Return the user-defined measure of the settings; None if they name a measure of the catalogue, or none."""
    place = settings.measure or ""
    if ":" not in place:
        if settings.better is not None:
            said = f"--better {settings.better} came"
            raise UsageError(f"{said}; it is for a measure of yours: --measure FILE.py:FUNCTION")
        return None
    if settings.better is None:
        raise UsageError(f"--measure {place} came without --better; say whether higher or lower values are better")
    name, lower = place.rpartition(":")[2], settings.better == "lower"
    first, second = (_answered(features, contested, entry, rows) for entry in both)

    def between(there: np.ndarray[Any, np.dtype[np.bool_]]) -> Difference:
        blocks = enough_blocks(rows.blocks(there))
        found = replicates_apart(place, first.filter(there), blocks, second.filter(there))
        drawn, level = "rows" if blocks is None else "days", 2 * settings.confidence - 1
        return difference_of(name, found, less_is_better=lower, confidence=level, rows=drawn)

    return OwnMeasure(name, between)


def _answered(features: pl.DataFrame, contested: pl.DataFrame, entry: Entry, rows: Rows) -> pl.DataFrame:
    """Return the rows with a version's answers, in the columns that user-defined measures get."""
    columns = {"label": contested["label"], "prediction": pl.Series(entry.predictions)}
    if "time" in contested.columns:
        columns["time"] = contested["time"]
    for name, score in entry.scores.items():
        columns["score" if name == rows.positive else f"score.{name}"] = pl.Series(score).fill_nan(None)
    return features.select(name for name in features.columns if name not in columns).with_columns(
        column.alias(name) for name, column in columns.items()
    )


def _doubt(
    entries: Mapping[str, Entry], labels: pl.Series, schema: Schema, columns: GateColumns, *, said: str | None
) -> str:
    """Say whether the scores of one or both versions seem to belong to the other class, and what to do; else empty."""
    if schema.positive is None:
        return ""
    found = {}
    for version, entry in entries.items():
        scores = {name: pl.Series(values).fill_nan(None) for name, values in entry.scores.items()}
        answered = pl.Series(entry.predictions, dtype=pl.String)
        rows = Classification.of(labels, answered, scores, positive=schema.positive)
        auc = measures(rows, positive=schema.positive, names=["roc_auc"]).get("roc_auc")
        if auc is not None and doubtful(None, auc):
            other = other_class(schema.positive, schema)
            found[version] = doubt_of(auc, schema.positive, other, columns.score, said=said is not None)
    if not found:
        return ""
    if len(found) == len(entries):
        return next(iter(found.values())).for_command
    return "; ".join(f"{version}: {one.words}" for version, one in found.items())


@dataclass(frozen=True, slots=True)
class _Answers:
    """The answers of a file or function, by `_ROW`, and the seconds that single calls took."""

    frame: pl.DataFrame
    seconds: np.ndarray[Any, np.dtype[np.float64]]


def _ids(rows: pl.DataFrame, columns: GateColumns) -> pl.Series:
    if columns.id is None:
        return pl.Series(_ROW, np.arange(len(rows))).cast(pl.String)
    ids = ids_of(rows, columns.id, _LABELLED, columns.missing)
    if gone := ids.null_count():
        raise DataError(f"{gone} of {len(ids)} labelled rows have no id in {columns.id!r}; give each its own")
    return ids


def _name(who: Model) -> str:
    if isinstance(who, pl.DataFrame):
        return ""
    return Path(who).name if isinstance(who, str | Path) else getattr(who, "__name__", type(who).__name__)


def _is_table(model: Model) -> TypeGuard[str | Path | pl.DataFrame]:
    """Return whether a model is given by its predictions, and not by a function that makes them."""
    if isinstance(model, pl.DataFrame):
        return True
    if not isinstance(model, str | Path):
        return False
    place, colon, _ = str(model).rpartition(":")
    return not (colon and "://" not in str(model) and not Path(model).exists() and len(place) > 1)


def _answers(model: Model, who: str, rows: pl.DataFrame, columns: GateColumns) -> _Answers:
    if isinstance(model, pl.DataFrame):
        return _read(model, who, rows, columns)
    predict = load_function(str(model)) if isinstance(model, str | Path) else model
    return _asked(predict, who, rows, columns)


def _read(found: pl.DataFrame, who: str, rows: pl.DataFrame, columns: GateColumns) -> _Answers:
    if columns.prediction not in found.columns:
        raise DataError(lacks_column(who, columns.prediction, found.columns, " of predictions", "; see --prediction"))
    require_probabilities(found, who, columns)
    if columns.id is None:
        if len(found) != len(rows):
            raise DataError(f"{who} has {len(found)} rows, the labelled ones are {len(rows)}; match them by --id")
        return _Answers(found.with_columns(pl.Series(_ROW, np.arange(len(rows))).cast(pl.String)), np.zeros(0))
    if columns.id not in found.columns:
        raise DataError(lacks_column(who, columns.id, found.columns, ", by which its rows are found"))
    ids = ids_of(found, columns.id, f"the predictions of {who}", columns.missing)
    require_common(ids, _ids(rows, columns), who)
    return _Answers(found.with_columns(ids.alias(_ROW)).filter(pl.col(_ROW).is_not_null()), np.zeros(0))


def _asked(predict: Callable[[Any], object], who: str, rows: pl.DataFrame, columns: GateColumns) -> _Answers:
    features = rows.drop(one for one in (columns.label, columns.id, columns.time) if one is not None)
    frame = _framed(_called(predict, who, features), who, len(rows), columns)
    seconds = []
    for place in range(min(_TIMED_CALLS, len(features))):
        one = features[place : place + 1]
        began = clock.monotonic_seconds()
        _called(predict, who, one)
        seconds.append(clock.monotonic_seconds() - began)
    return _Answers(frame.with_columns(_ids(rows, columns).alias(_ROW)), np.array(seconds))


def _called(predict: Callable[[Any], object], who: str, features: pl.DataFrame) -> object:
    try:
        return predict(features)
    except (Exception, SystemExit) as error:  # the user's exit(0) must not become our verdict
        raise DataError(f"{who} raised {type(error).__name__}: {error}") from error


def _framed(found: Any, who: str, count: int, columns: GateColumns) -> pl.DataFrame:
    try:
        frame = pl.DataFrame(found) if hasattr(found, "columns") else pl.DataFrame({columns.prediction: list(found)})
    except (TypeError, ValueError, pl.exceptions.PolarsError) as error:
        kind = type(found).__name__
        raise DataError(f"{who} returned {kind}, which is no list of predictions and no frame: {error}") from error
    if columns.prediction not in frame.columns or len(frame) != count:
        raise DataError(
            f"{who} returned {len(frame)} rows with the columns {', '.join(frame.columns)}; "
            f"{count} with {columns.prediction!r} are needed"
        )
    return frame


def _schema(rows: pl.DataFrame, columns: GateColumns, task: Task | None, positive: str | None) -> Schema:
    targets = pl.DataFrame({columns.label: rows[columns.label]})
    if isinstance(columns.score, str) and task is None:
        task = Task.BINARY
    if positive is not None and task not in (None, Task.BINARY):
        raise UsageError(f"--positive came for a {task} model; only binary has one")
    score = columns.score if isinstance(columns.score, str) or len(columns.score or {}) == 1 else None
    named = structs.replace(columns.parts("label"), score=score)
    scored = [column for column, part in named.roles.items() if part == "score" and column != columns.label]
    targets = targets.with_columns(pl.lit(None, pl.Float64).alias(column) for column in scored)
    return infer_schema(targets, named, task=task, positive=positive)
