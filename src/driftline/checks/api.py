"""``driftline.check``: compare two sets of rows and give one verdict, with the schema, profiles and statistics of the
service.

`open_side` samples the rows of each side, `schema_of` infers the columns and types from the samples, `read_sides` reads
each side once, and `report_of` compares their profiles.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from typing import Any

from driftline.checks.compare import report_of
from driftline.checks.guesses import Said
from driftline.checks.notes import require_times_read
from driftline.checks.own import Own, own_measures, require_names
from driftline.checks.reading import open_side, read_sides_alike
from driftline.checks.report import Report
from driftline.checks.ruled import require_features, rules_of
from driftline.checks.scan import Batches, Layout, SideProfile, read_sides
from driftline.checks.schema import require_columns, schema_of, set_aside
from driftline.checks.sides import Comparison, classes_of
from driftline.errors import DataError, UnknownNameError, UsageError
from driftline.events import MISSING_TEXTS, Kind, Schema, Task, class_name, guess_positive
from driftline.profiles import CategoricalColumn, Columns, NumericColumn, canonical, layout_of
from driftline.profiles.frame import FEATURE, other_class, score_columns
from driftline.profiles.infer import CLASSES_OF_NUMBERS, INFERRED_CLASSES_LIMIT, named_in, too_many_classes
from driftline.profiles.times import checked_time_format
from driftline.results.check import Alert, ColumnReport
from driftline.rules import Rule
from driftline.sources.rows import StreamedRows
from driftline.statistics import EffectThresholds

__all__ = ["Alert", "ColumnReport", "Report", "check"]

MULTIVARIATE = ("none", "correlation", "classifier")

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
    missing: Iterable[str] = MISSING_TEXTS,
    time_format: str | None = None,
    categorical: Iterable[str] | None = None,
    cluster: str | None = None,
    positive: object = None,
    floors: EffectThresholds | None = None,
    multivariate: str = "correlation",
    rules: Iterable[Rule | str] = (),
    measures: Own | None = None,
    progress: Callable[[float], None] | None = None,
) -> Report:
    """Compare current rows with reference rows: a Polars or pandas frame, anything with
    ``__arrow_c_stream__``, a path, a glob, or an address such as ``s3://bucket/rows.parquet``.

    ``features`` are the columns to compare; without it, all that have no other role. ``score`` is the column of the
    positive class's probability, or a mapping of class to column. ``segments`` are columns: performance is measured for
    each of their values. ``missing`` are the texts that stand for a missing value. ``time_format`` is how times are
    written, in the directives of strptime, or the unit of numbers (s, ms, us, ns); without it the format is inferred.
    ``categorical`` are columns of numbers that are codes; without it, few large whole numbers count as codes, and the
    report says so. Rows with the same value of ``cluster``, such as a customer, are not independent: the intervals of
    performance allow for that. Without it they allow for dependence between rows of one day, where there are times.
    ``multivariate`` is how changed relations between columns are detected: by rank "correlation", by a "classifier"
    that separates the two sides, or "none". ``rules`` may be expressions such as "accuracy < 0.75"; they are evaluated
    on the current rows as on one window. ``measures`` are functions of the labelled current rows, by name, or addresses
    such as "costs.py:cost"; rules may use them. ``progress`` is called with the share of the work that is done, 0 to 1.

    An alert is a column that has drifted, significantly and by the minimum effect size (``floors``); a measure of
    performance that is significantly worse than on the reference; a problem of the data; or a rule in breach. Files are
    streamed: memory does not grow with their rows. Raises `UsageError` for options that do not fit together or the
    columns, `DataError` for rows that cannot be read or compared.

    >>> import polars as pl
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
        missing=tuple(missing),
        time_format=checked_time_format(time_format),
        categorical=None if categorical is None else tuple(dict.fromkeys(filter(None, categorical))),
        cluster=cluster,
    )
    asked = _task(task), None if positive is None else class_name(positive)
    own = dict(measures or {})
    require_names(own)
    said, known = Said(task=task is not None, positive=positive is not None), rules_of(rules, own)
    shown = progress or _silent
    return _check(
        reference, current, columns, *asked, said, floors or EffectThresholds(), multivariate, known, own, shown
    )


def _check(
    reference: Any,
    current: Any,
    columns: Columns,
    task: Task | None,
    positive: str | None,
    said: Said,
    floors: EffectThresholds,
    multivariate: str,
    rules: tuple[Rule, ...],
    own: Own,
    progress: Callable[[float], None],
) -> Report:
    """Check with this task and positive class; ``said`` is which of them the caller gave."""
    before, now = (open_side(rows, name, columns) for rows, name in ((reference, "reference"), (current, "current")))
    require_columns(before.sample, now.sample, columns)
    before, now, alike = read_sides_alike(before, now, columns)
    batches = Batches((before, now), columns)
    schema = schema_of(before.sample, now.sample, columns, task, positive)
    if positive is not None and schema.task is not Task.BINARY:
        raise UsageError(f"positive {positive!r} came, and the task is {schema.task.value}; only a binary model has it")
    require_features(rules, schema.features)
    aside = set_aside(before.sample, now.sample, schema, alike.doubts)
    compared = replace(schema, features={name: kind for name, kind in schema.features.items() if name not in aside})
    layout = Layout(columns, compared, *layout_of(canonical(before.sample, columns, compared), compared))
    seen_before, seen_now = read_sides(batches, layout, progress)
    again = not (isinstance(before.rows, StreamedRows) or isinstance(now.rows, StreamedRows))
    finer = _with_other_class(_finer(layout, seen_before), seen_before, seen_now)
    if again and finer != layout:  # the first rows did not show what all are like
        layout = finer
        seen_before, seen_now = read_sides(Batches((before, now), columns), layout, _silent)
    sides = Comparison(
        layout,
        seen_before,
        seen_now,
        before.types,
        now.types,
        floors,
        tuple(dict.fromkeys((*before.rows.notes, *now.rows.notes, *alike.words))),
        dict(before.rows.schema),
    )
    require_times_read(sides)
    seen_task, seen_positive = _by_all_rows(sides, schema, task, positive)
    if (seen_task, seen_positive) != (schema.task, schema.positive):
        if not again:
            raise DataError(_unlike_the_first_rows(sides, seen_task))
        seen = seen_task, seen_positive
        return _check(reference, current, columns, *seen, said, floors, multivariate, rules, own, progress)
    return report_of(sides, schema, aside, multivariate, said, rules, own_measures(own, now, layout))


def _silent(share: float) -> None:
    """Report no progress."""


def _task(task: Task | str | None) -> Task | None:
    if task is None or isinstance(task, Task):
        return task
    if task not in list(Task):
        raise UnknownNameError("task", str(task), [kind.value for kind in Task])
    return Task(task)


# ---- what all rows show ------------------------------------------------------------------------------------


def _finer(layout: Layout, reference: SideProfile) -> Layout:
    """Return the layout with finer grids for numbers that nearly all fall into one cell, and anchors for vectors that
    had none.

    Both happen where the first rows have no values, or other values than the rest.
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
    grids, anchors = layout_of(reference.sample, Schema(Task.REGRESSION if moved else Task.MULTICLASS, coarse))
    return replace(layout, grids={**layout.grids, **grids}, anchors={**layout.anchors, **anchors})


def _is_coarse(column: NumericColumn) -> bool:
    """Tell whether the cell of the median is too wide to separate its values."""
    bounds = column.sketch.quantile_bounds(0.5)
    return bounds is not None and bool(column.sd) and bounds[1] - bounds[0] > (column.sd or 0.0) / _CELLS_A_SD


def _with_other_class(layout: Layout, *sides: SideProfile) -> Layout:
    """Return the layout with the negative class of a single score column, where only later rows have it."""
    columns, schema = layout.columns, layout.schema
    scored = [*score_columns(columns, schema)]
    if columns.prediction is not None or len(scored) != 1 or other_class(scored[0], schema) is not None:
        return layout
    seen = replace(schema, classes=tuple(sorted({*schema.classes, *classes_of(columns, *sides)})))
    return replace(layout, schema=seen) if other_class(scored[0], seen) is not None else layout


def _by_all_rows(sides: Comparison, schema: Schema, task: Task | None, positive: str | None) -> tuple[Task, str | None]:
    """Infer the task and the positive class from all rows; the first rows may have suggested others."""
    if schema.task is Task.REGRESSION:
        return schema.task, None
    classes = classes_of(sides.columns, sides.before, sides.now) | set(schema.classes)
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
        guess = guess_positive(classes, **named_in(sides.columns))
        return schema.task, guess.name if guess is not None else schema.positive
    if schema.positive not in classes and len(classes) == 2:
        raise UnknownNameError("class", positive, sorted(classes))
    return schema.task, schema.positive


def _are_numbers(sides: Comparison) -> bool:
    """Tell whether all labels or predictions are numbers of a regression, by the criteria of `infer_schema`."""
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


def _unlike_the_first_rows(sides: Comparison, task: Task) -> str:
    targets = [column for column in (sides.columns.label, sides.columns.prediction) if column is not None]
    say = "the positive class" if task is Task.BINARY else f"task: {task.value}"
    return (
        f"{', '.join(targets)} has values that its first rows do not show, and a stream cannot be read again; "
        f"say {say}, or name a file"
    )
