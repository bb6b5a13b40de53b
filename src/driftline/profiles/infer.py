"""Infer the kinds of columns and the task of a model from the rows of its reference, for files and services alike.

The result is recorded with the reference, as its `Schema`.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import TypedDict

import polars as pl

from driftline.errors import DataError, UnknownNameError
from driftline.events import Kind, Schema, Task, class_name, guess_positive
from driftline.profiles.codes import are_codes
from driftline.profiles.columns import Columns
from driftline.profiles.missing import without_missing, without_missing_in
from driftline.profiles.parts import are_dates, is_text
from driftline.profiles.rounding import is_single

INFERRED_CLASSES_LIMIT = 1000
CLASSES_OF_NUMBERS = 20
"""More different whole numbers than this are values of a regression, not classes."""
_CLASSES_TOLD = 5


def kind_of(dtype: pl.DataType) -> Kind:
    """Return the kind of a column by its Polars type.

    >>> [kind_of(dtype).value for dtype in (pl.Int8(), pl.Boolean(), pl.Date(), pl.List(pl.Int8))]
    ['numeric', 'categorical', 'datetime', 'unsupported']
    """
    if dtype.is_numeric():
        return Kind.NUMERIC
    if dtype in (pl.String, pl.Boolean, pl.Categorical, pl.Enum):
        return Kind.CATEGORICAL
    return Kind.DATETIME if dtype.is_temporal() else Kind.UNSUPPORTED


def kind_of_values(sample: pl.Series) -> Kind:
    """Return the kind of a column by its first values: texts may be categories, dates or free text.

    A column without any value counts as categorical.

    >>> kind_of_values(pl.Series(["2024-01-31", "2024-02-01"])), kind_of_values(pl.Series([[1.0, 2.0], [0.5, 1.5]]))
    (<Kind.DATETIME: 'datetime'>, <Kind.EMBEDDING: 'embedding'>)
    """
    dtype = sample.dtype
    if dtype == pl.String:
        if are_dates(sample):
            return Kind.DATETIME
        return Kind.TEXT if is_text(sample) else Kind.CATEGORICAL
    if isinstance(dtype, (pl.List, pl.Array)) and dtype.inner.is_numeric():
        return Kind.EMBEDDING
    return Kind.CATEGORICAL if dtype == pl.Null else kind_of(dtype)


def kind_of_feature(sample: pl.Series, columns: Columns) -> Kind:
    """Return the kind of a feature: that of `kind_of_values`, except that numbers which are codes are categorical.

    Codes are the columns in ``categorical``; without it, those that look like codes (`are_codes`).
    """
    if columns.categorical is None:
        return Kind.CATEGORICAL if are_codes(sample) else kind_of_values(sample)
    return Kind.CATEGORICAL if sample.name in columns.categorical else kind_of_values(sample)


def feature_columns(frame_schema: Mapping[str, pl.DataType], columns: Columns) -> tuple[str, ...]:
    """Return the columns of a file that are features, in the file's order unless the user named them.

    Raises `UnknownNameError` if a column that has a role is not there.
    """
    for column in (*columns.roles, *(columns.features or ())):
        if column not in frame_schema:
            raise UnknownNameError("column", column, frame_schema)
    if columns.features is not None:
        return columns.features
    taken = {*columns.roles, *columns.ignore}
    return tuple(name for name in frame_schema if name not in taken)


def infer_schema(
    frame: pl.DataFrame,
    columns: Columns,
    *,
    task: Task | None = None,
    positive: str | None = None,
    looked_at: int | None = None,
) -> Schema:
    """Infer a model's schema from its reference rows.

    Kinds of features come from the first ``looked_at`` rows (None: all), classes from the labels, predictions and
    scores of all rows. Without ``task``, fractions or many different numbers as label or prediction mean regression, a
    single score or up to two classes binary, anything else multiclass. Raises `UnknownNameError` for names that are not
    there, and `DataError` for too many classes.
    """
    types = frame.schema
    missing, present = columns.missing, feature_columns(types, columns)
    _require_codes(columns, present)
    first = frame.select(present).head(looked_at or frame.height)
    features = {one.name: kind_of_feature(without_missing(one, missing), columns) for one in first}
    codes = tuple(name for name, kind in features.items() if kind is Kind.CATEGORICAL and types[name].is_integer())
    codes = codes if columns.categorical is None else ()
    single = tuple(name for name, kind in features.items() if kind is Kind.NUMERIC and is_single(frame[name]))
    targets = [column for column in (columns.label, columns.prediction) if column is not None]
    frame = without_missing_in(frame.select(targets), missing)
    if task is None:
        task = _infer_task(frame, columns, targets)
    if task is Task.REGRESSION:
        return Schema(task, features, missing=missing, single=single, codes=codes)
    classes: set[str] = set(columns.score) if isinstance(columns.score, Mapping) else set()
    for column in targets:
        classes |= {class_name(value) for value in frame[column].drop_nulls().unique().to_list()}
    if len(classes) > INFERRED_CLASSES_LIMIT:
        raise too_many_classes(classes, columns)
    if task is Task.BINARY:
        if len(classes) > 2:
            raise too_many_classes(classes, columns)
        if positive is not None and class_name(positive) not in classes and len(classes) > 1:
            raise UnknownNameError("class", class_name(positive), classes)
        if positive is None and (guess := guess_positive(classes, **named_in(columns))) is not None:
            positive = guess.name
        known = None if positive is None else class_name(positive)
        return Schema(task, features, tuple(sorted(classes)), known, missing, single, codes=codes)
    return Schema(task, features, tuple(sorted(classes)), missing=missing, single=single, codes=codes)


def _require_codes(columns: Columns, features: Collection[str]) -> None:
    for name in columns.categorical or ():
        if name not in features and name not in columns.segments:
            raise UnknownNameError("feature", name, features)


class Named(TypedDict):
    """The hints of a model's column names at its positive class, as arguments of `guess_positive`."""

    scores: tuple[str, ...]
    label: str
    scored: str


def named_in(columns: Columns) -> Named:
    """Return the hints of the names of score and label: a single score is that of the positive class."""
    if isinstance(columns.score, str):
        return Named(scores=(columns.score,), label=columns.label or "", scored="")
    scored = [class_name(name) for name in columns.score or {}]
    return Named(scores=(), label=columns.label or "", scored=scored[0] if len(scored) == 1 else "")


def too_many_classes(classes: Collection[str], columns: Columns) -> DataError:
    """Return the error to raise for more classes than a binary model, or any model, may have."""
    targets = ", ".join(column for column in (columns.label, columns.prediction) if column is not None)
    few = f"{', '.join(sorted(classes)[:_CLASSES_TOLD])}{' …' if len(classes) > _CLASSES_TOLD else ''}"
    if len(classes) > INFERRED_CLASSES_LIMIT:
        allowed = f"at most {INFERRED_CLASSES_LIMIT} are taken. Is this a regression? Then say task: regression"
    else:
        allowed = "a binary model has two. Say task: multiclass, or name the columns of the predicted class"
    return DataError(f"{len(classes)} classes ({few}) in {targets}; {allowed}")


def _infer_task(frame: pl.DataFrame, columns: Columns, targets: list[str]) -> Task:
    if isinstance(columns.score, str):
        return Task.BINARY
    distinct: set[str] = set()
    for column in targets:
        values = frame[column].drop_nulls().unique()
        if values.dtype.is_float() and not bool((values == values.round()).all()):
            return Task.REGRESSION
        if values.dtype.is_numeric() and len(values) > CLASSES_OF_NUMBERS:
            return Task.REGRESSION
        distinct |= {class_name(value) for value in values.to_list()}
    return Task.BINARY if len(distinct) <= 2 else Task.MULTICLASS
