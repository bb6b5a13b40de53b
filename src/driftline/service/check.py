"""``driftline.check``: two sets of rows, one verdict. The same core as the service: schema, reference,
profile, statistics.

The rows are looked at (`check_rows`), columns and types are settled on what was seen, then each side is read once
(`check_pass`), and what was seen is compared.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from typing import Any

import polars as pl
import polars.selectors as cs

from driftline.errors import DataError, UnknownNameError, UsageError
from driftline.events import Kind, Schema, Task, class_name, positive_class
from driftline.profiles import (
    CategoricalColumn,
    Columns,
    NumericColumn,
    canonical,
    infer_schema,
    kind_of,
    layout_of,
)
from driftline.profiles.frame import (
    CLASSES_OF_NUMBERS,
    COMPOSITE,
    FEATURE,
    INFERRED_CLASSES_LIMIT,
    feature_columns,
    kind_of_values,
    names_of,
    other_class,
    score_columns,
    too_many_classes,
)
from driftline.service.check_compare import report_of
from driftline.service.check_notes import some_of
from driftline.service.check_pass import Batches, Layout, Seen, read_sides
from driftline.service.check_report import Alert, ColumnReport, Report
from driftline.service.check_rows import Side, rows_of
from driftline.service.check_sides import Sides
from driftline.statistics import (
    ColumnDrift,
    Floors,
)
from driftline.store.rows import StreamedRows

__all__ = ["Alert", "ColumnReport", "Report", "check"]

MULTIVARIATE = ("none", "correlation", "classifier")

_PROFILED = (Kind.NUMERIC, Kind.CATEGORICAL)
_COUNTER_ROWS = 30
_CELLS_A_SD = 8


def check(
    reference: Any,
    current: Any,
    *,
    task: Task | str | None = None,
    prediction: str | None = None,
    score: str | Mapping[str, str] | None = None,
    label: str | None = None,
    time: str | None = None,
    id: str | None = None,
    features: Iterable[str] | None = None,
    ignore: Iterable[str] = (),
    segments: Iterable[str] = (),
    positive: object = None,
    floors: Floors | None = None,
    multivariate: str = "correlation",
    progress: Callable[[float], None] | None = None,
) -> Report:
    """Compare current rows with reference rows: a Polars or pandas frame, anything with
    ``__arrow_c_stream__``, a path, a glob, or an address such as ``s3://bucket/rows.parquet``.

    Every column is compared that plays no other part, unless ``features`` names them. ``score`` is the column
    of the positive class's probability, or a mapping of class to column. ``segments`` are columns by whose values
    performance is told apart. ``multivariate`` looks for changed relations between columns: by their rank
    "correlation", by a "classifier" that tells the two sides apart, or "none". An alert is a column that has
    drifted, by more than chance and more than a trifle (``floors``), or accuracy, ROC AUC or MAE
    significantly worse than on the reference. ``progress`` is called with the share of the work that is done, 0 to 1.
    Files are streamed: memory does not grow with their rows.

    >>> rows = pl.DataFrame({"wind": [float(i % 7) for i in range(100)]})
    >>> check(rows, rows).verdict
    'ok'
    """
    if multivariate not in MULTIVARIATE:
        raise UnknownNameError("way to look at columns together", multivariate, MULTIVARIATE)
    columns = Columns(
        id=id,
        time=time,
        prediction=prediction,
        score=dict(score) if isinstance(score, Mapping) else score,
        label=label,
        features=tuple(dict.fromkeys(features)) if features is not None else None,
        ignore=tuple(ignore),
        segments=tuple(dict.fromkeys(segments)),
    )
    before, now = Side(rows_of(reference, "reference")), Side(rows_of(current, "current"))
    _require_columns(before.sample, now.sample, columns)
    before.type_like(now)
    now.type_like(before)
    batches = Batches((before, now), columns)
    schema = _schema(
        before.sample, now.sample, columns, _task(task), None if positive is None else class_name(positive)
    )
    if positive is not None and schema.task is not Task.BINARY:
        raise UsageError(f"positive {positive!r} came, and the task is {schema.task.value}; only a binary model has it")
    aside = _set_aside(before.sample, now.sample, schema)
    compared = replace(schema, features={name: kind for name, kind in schema.features.items() if name not in aside})
    layout = Layout(columns, compared, *layout_of(canonical(before.sample, columns, compared), compared))
    seen_before, seen_now = read_sides(batches, layout, progress or _silent)
    again = not (isinstance(before.rows, StreamedRows) or isinstance(now.rows, StreamedRows))
    finer = _with_other_class(_finer(layout, seen_before), seen_before, seen_now)
    if again and finer != layout:  # the first rows did not show what all are like
        layout = finer
        seen_before, seen_now = read_sides(Batches((before, now), columns), layout, _silent)
    sides = Sides(
        layout,
        seen_before,
        seen_now,
        dict(before.rows.schema),
        dict(now.rows.schema),
        floors or Floors(),
    )
    seen_task, seen_positive = _by_all_rows(sides, schema, task, positive)
    if (seen_task, seen_positive) != (schema.task, schema.positive):
        if not again:
            raise DataError(_unlike_the_first_rows(sides, seen_task))
        return check(
            reference,
            current,
            task=seen_task,
            prediction=prediction,
            score=score,
            label=label,
            time=time,
            id=id,
            features=features,
            ignore=ignore,
            segments=segments,
            positive=seen_positive,
            floors=floors,
            multivariate=multivariate,
            progress=progress,
        )
    return report_of(sides, schema, aside, multivariate)


def _silent(share: float) -> None:
    """Nobody asked."""


def _task(task: Task | str | None) -> Task | None:
    if task is None or isinstance(task, Task):
        return task
    if task not in list(Task):
        raise UnknownNameError("task", str(task), [kind.value for kind in Task])
    return Task(task)


# ---- columns and types -------------------------------------------------------------------------------------


def _is_target(dtype: pl.DataType) -> bool:
    return kind_of(dtype) in _PROFILED


def _is_time(dtype: pl.DataType) -> bool:
    return dtype.is_numeric() or dtype in (pl.String, pl.Date, pl.Datetime)


def _is_name(dtype: pl.DataType) -> bool:
    return kind_of(dtype) is not Kind.UNSUPPORTED and dtype != pl.Duration


def _is_identifier(dtype: pl.DataType) -> bool:
    return _is_name(dtype) or dtype == pl.Binary


_FITTING: Mapping[str, tuple[Callable[[pl.DataType], bool], str]] = {
    "time": (_is_time, "times, dates, texts and seconds since 1970"),
    "segment": (_is_name, "numbers, texts, booleans and times"),
    "id": (_is_identifier, "numbers, texts, booleans, times and bytes"),
}
"""The types that a column may have for its part, and these in words; others are targets."""


def _require_columns(before: pl.DataFrame, now: pl.DataFrame, columns: Columns) -> None:
    known = dict.fromkeys([*before.columns, *now.columns])
    if columns.label is not None and columns.label == columns.prediction:
        raise UsageError(f"label and prediction are both the column {columns.label!r}; name a column for each")
    for name in (*columns.roles, *(columns.features or ()), *columns.ignore, *columns.segments):
        if name not in known:
            raise UnknownNameError("column", name, known)
    for name, part in (*columns.roles.items(), *((name, "segment") for name in columns.segments)):
        for frame in (before, now):
            dtype = frame.schema.get(name, pl.Null())
            fits, words = _FITTING.get(part, (_is_target, "numbers, texts and booleans"))
            if dtype != pl.Null and not fits(dtype):
                raise DataError(f"the {part} column {name!r} is of type {dtype}; allowed are {words}")
    if not set(before.columns) & set(now.columns):
        raise DataError(
            f"the two have no column in common: the reference has {some_of(before.columns)}; the current rows "
            f"have {some_of(now.columns)}"
        )


def _in(frame: pl.DataFrame, columns: Columns) -> Columns:
    """The parts of those columns that a frame has."""
    score = columns.score
    if isinstance(score, Mapping):
        score = {name: column for name, column in score.items() if column in frame.columns} or None
    kept = {part: column for column, part in columns.roles.items() if column in frame.columns and part != "score"}
    features = columns.features
    return Columns(
        id=kept.get("id"),
        time=kept.get("time"),
        prediction=kept.get("prediction"),
        score=score if not isinstance(score, str) or score in frame.columns else None,
        label=kept.get("label"),
        features=tuple(name for name in features if name in frame.columns) if features is not None else None,
        ignore=(*columns.ignore, *columns.roles),
    )


def _schema(
    before: pl.DataFrame, now: pl.DataFrame, columns: Columns, task: Task | None, positive: str | None
) -> Schema:
    """The reference's schema, with the targets of both sides: either may lack the label or the prediction."""
    present = feature_columns(before.schema, _in(before, columns))
    features = {name: kind_of_values(before[name]) for name in present}
    targets = [column for column in (columns.label, columns.prediction) if column is not None]
    if not targets and isinstance(columns.score, str):
        return Schema(Task.BINARY, features, positive=positive or "1")
    if not targets:
        return Schema(Task.MULTICLASS, features)
    plain = (
        cs.boolean().cast(pl.Int8),
        cs.by_dtype(pl.Categorical, pl.Enum).cast(pl.String),
    )
    named = (pl.String, pl.Categorical, pl.Enum)
    texts = {name for name in targets for frame in (before, now) if frame.schema.get(name, pl.Null()) in named}
    parts = [
        frame.select(name for name in targets if name in frame.columns)
        .with_columns(*plain)
        .with_columns(names_of(name, frame.schema[name]) for name in texts if name in frame.columns)
        for frame in (before, now)
    ]
    try:
        both = pl.concat(parts, how="diagonal_relaxed")
    except pl.exceptions.PolarsError:  # as unlike as a date and a number
        both = pl.concat([part.cast(pl.String, strict=False) for part in parts], how="diagonal")
    scored = {column for column, part in columns.roles.items() if part == "score"}
    both = both.with_columns(pl.lit(None, pl.Float64).alias(column) for column in scored)
    roles = Columns(prediction=columns.prediction, label=columns.label, features=(), score=columns.score)
    found = replace(infer_schema(both, roles, task=task, positive=positive), features=features)
    unknown = found.task is Task.BINARY and found.positive is None  # no row of the samples is labelled
    return replace(found, positive="1") if unknown else found


def _classes(columns: Columns, *sides: Seen) -> set[str]:
    """Every class that a label or a prediction of either side names; predictions that are made of scores name none."""
    found: set[str] = set()
    for seen in sides:
        for profile, name in ((seen.profile.labels, "label"), (seen.profile.outputs, "prediction")):
            column = profile.columns.get(name)
            if isinstance(column, CategoricalColumn) and (name == "label" or columns.prediction is not None):
                found |= set(column.categories.counts)
    return found


def _finer(layout: Layout, reference: Seen) -> Layout:
    """The layout with new grids for numbers, the targets of a regression among them, that nearly all lie in one cell,
    and anchors for vectors that had none.

    So it is where the first rows have no value, or others than the rest.
    """
    schema, profiled = layout.schema, reference.profile.features.columns
    coarse = {
        name: kind
        for name, kind in schema.features.items()
        if (kind is Kind.EMBEDDING and FEATURE + name not in layout.anchors)
        or (isinstance(column := profiled.get(name), NumericColumn) and _is_coarse(column))
    }
    targets = (reference.profile.outputs.columns.get("prediction"), reference.profile.labels.columns.get("label"))
    moved = any(isinstance(column, NumericColumn) and _is_coarse(column) for column in targets)
    if not coarse and not moved:
        return layout
    grids, anchors = layout_of(reference.spaced, Schema(Task.REGRESSION if moved else Task.MULTICLASS, coarse))
    return replace(layout, grids={**layout.grids, **grids}, anchors={**layout.anchors, **anchors})


def _is_coarse(column: NumericColumn) -> bool:
    """Whether the cell of the median is too wide to tell its neighbours apart."""
    bounds = column.sketch.quantile_bounds(0.5)
    return bounds is not None and bool(column.sd) and bounds[1] - bounds[0] > (column.sd or 0.0) / _CELLS_A_SD


def _with_other_class(layout: Layout, *sides: Seen) -> Layout:
    """The layout with the class that a lone score does not speak for, where only later rows have it."""
    columns, schema = layout.columns, layout.schema
    scored = [*score_columns(columns, schema)]
    if columns.prediction is not None or len(scored) != 1 or other_class(scored[0], schema) is not None:
        return layout
    seen = replace(schema, classes=tuple(sorted({*schema.classes, *_classes(columns, *sides)})))
    return replace(layout, schema=seen) if other_class(scored[0], seen) is not None else layout


def _by_all_rows(sides: Sides, schema: Schema, task: Task | str | None, positive: object) -> tuple[Task, str | None]:
    """The task and the positive class by all rows, which may be others than the first rows let expect."""
    if schema.task is Task.REGRESSION:
        return schema.task, None
    classes = _classes(sides.columns, sides.before, sides.now) | set(schema.classes)
    if task is None and not isinstance(sides.columns.score, str) and _are_numbers(sides):
        return Task.REGRESSION, None
    if len(classes) > INFERRED_CLASSES_LIMIT:
        raise too_many_classes(classes, sides.columns)
    if schema.task is Task.MULTICLASS:
        return schema.task, None
    if len(classes) > 2:
        if task is not None or positive is not None:
            raise too_many_classes(classes, sides.columns)
        return Task.MULTICLASS, None
    if positive is None:
        return schema.task, positive_class(classes) or schema.positive
    if schema.positive not in classes and len(classes) == 2:
        raise UnknownNameError("class", class_name(positive), sorted(classes))
    return schema.task, schema.positive


def _are_numbers(sides: Sides) -> bool:
    """Whether a label or a prediction is, by all rows, the number of a regression; as `infer_schema` has it."""
    for seen, types in ((sides.before, sides.types_before), (sides.now, sides.types_now)):
        for profile, name, column in (
            (seen.profile.labels, "label", sides.columns.label),
            (seen.profile.outputs, "prediction", sides.columns.prediction),
        ):
            found = profile.columns.get(name)
            if column is None or not isinstance(found, CategoricalColumn) or not types[column].is_numeric():
                continue
            numbers = [float(name) for name in found.categories.counts]
            if len(numbers) > CLASSES_OF_NUMBERS or any(x != round(x) for x in numbers if math.isfinite(x)):
                return True
    return False


def _unlike_the_first_rows(sides: Sides, task: Task) -> str:
    targets = [column for column in (sides.columns.label, sides.columns.prediction) if column is not None]
    say = "the positive class" if task is Task.BINARY else f"task: {task.value}"
    return (
        f"{', '.join(targets)} has values that its first rows do not show, and a stream cannot be read again; "
        f"say {say}, or name a file"
    )


# ---- columns that are not compared -------------------------------------------------------------------------


def _set_aside(before: pl.DataFrame, now: pl.DataFrame, schema: Schema) -> dict[str, ColumnDrift]:
    """The features that are not compared, with the reason."""
    found: dict[str, ColumnDrift] = {}
    for name, kind in schema.features.items():
        if name not in now.columns:
            problem = "is gone: the reference has this column, the current rows do not"
            found[name] = ColumnDrift(name, kind.value, drifted=True, problem=problem, reason=problem)
        elif change := _changed_kind(kind, now[name]):
            found[name] = ColumnDrift(name, kind.value, drifted=True, problem=change, reason=change)
        elif kind is Kind.UNSUPPORTED:
            problem = f"columns of type {before.schema[name]} are not compared"
            found[name] = ColumnDrift(name, kind.value, problem=problem)
        elif _is_counter(before[name]) and _is_counter(now[name]):
            problem = "counts the rows: a row number or identifier is not compared"
            found[name] = ColumnDrift(name, kind.value, problem=problem)
    return found


def _changed_kind(kind: Kind, values: pl.Series) -> str:
    came = kind_of(values.dtype)
    words = f"changed its kind: {kind.value} in the reference, {came.value} now"
    there = values.len() - values.null_count()
    if not there:
        return ""
    if kind is Kind.NUMERIC and came is Kind.CATEGORICAL and values.dtype != pl.Boolean:
        numbers = values.cast(pl.String).cast(pl.Float64, strict=False)
        return "" if numbers.null_count() < values.len() else words
    if kind in COMPOSITE:
        now = kind_of_values(values)
        same = now is kind or (kind is Kind.TEXT and values.dtype == pl.String)
        return "" if same else f"changed its kind: {kind.value} in the reference, {now.value} now"
    return "" if came is kind or (kind in _PROFILED and came in _PROFILED) else words


def _is_counter(values: pl.Series) -> bool:
    """Whether whole numbers count the rows: without a gap or a repetition, or each greater than the one
    before.
    """
    if not values.dtype.is_integer() or values.null_count() or values.len() < _COUNTER_ROWS:
        return False
    low, high = values.min(), values.max()
    assert isinstance(low, int)
    assert isinstance(high, int)
    if high - low + 1 < values.len():
        return False
    if high - low + 1 == values.len() and values.n_unique() == values.len():
        return True
    return bool((values.slice(1) > values.slice(0, values.len() - 1)).all())
