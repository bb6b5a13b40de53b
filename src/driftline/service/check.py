"""``driftline.check``: two sets of rows, one verdict. The same core as the service: schema, reference,
profile, statistics.

The rows are looked at (`check_rows`), columns and types are settled on what was seen, then each side is read once
(`check_pass`), and what was seen is compared.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any, Literal

import polars as pl
import polars.selectors as cs

from driftline.errors import DataError, UnknownNameError
from driftline.events import Kind, Schema, Task, class_name
from driftline.profiles import (
    CategoricalColumn,
    Column,
    Columns,
    Performance,
    WindowProfile,
    canonical,
    infer_schema,
    kind_of,
    layout_of,
)
from driftline.profiles.build import MOST_SEGMENTS
from driftline.profiles.frame import COMPOSITE, FEATURE, SCORE, feature_columns, kind_of_values
from driftline.service.check_pass import REPEATED_LEAST, Layout, Seen, read_side
from driftline.service.check_report import Alert, ColumnReport, Missing, Report, RowCounts, Segment
from driftline.service.check_rows import Side, rows_of
from driftline.statistics import (
    HIGHER_IS_BETTER,
    ColumnDrift,
    Floors,
    Measure,
    compare_columns,
    difference,
    label_coverage,
    measures,
    wilson,
    worst_first,
)
from driftline.statistics.dependence import Dependence, compare_dependence
from driftline.statistics.drift import number, percent
from driftline.store.rows import StreamedRows

__all__ = ["Alert", "ColumnReport", "Report", "check"]

LARGEST_FALL: Mapping[str, float] = {"accuracy": 0.02, "roc_auc": 0.02, "mae": 0.05}
"""Measures that are judged against the reference's own, and how much worse is no trifle: points; for MAE a
share of it.
"""
MULTIVARIATE = ("none", "correlation", "classifier")

_PROFILED = (Kind.NUMERIC, Kind.CATEGORICAL)
_SURE = 0.99
_COUNTER_ROWS = 30


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
        features=tuple(features) if features is not None else None,
        ignore=tuple(ignore),
        segments=tuple(segments),
    )
    before, now = Side(rows_of(reference, "reference")), Side(rows_of(current, "current"))
    _require_columns(before.sample, now.sample, columns)
    before.type_like(now)
    now.type_like(before)
    schema = _schema(
        before.sample, now.sample, columns, _task(task), None if positive is None else class_name(positive)
    )
    aside = _set_aside(before.sample, now.sample, schema)
    compared = replace(schema, features={name: kind for name, kind in schema.features.items() if name not in aside})
    layout = Layout(columns, compared, *layout_of(canonical(before.sample, columns, compared), compared))
    tell = progress or _silent
    sides = _Sides(
        layout,
        read_side(before, layout, lambda share: tell(share / 2)),
        read_side(now, layout, lambda share: tell(0.5 + share / 2)),
        tuple(before.rows.schema),
        dict(now.rows.schema),
        floors or Floors(),
    )
    classes = _classes(sides)
    if schema.task is Task.BINARY and len(classes) > 2:
        if task is not None or isinstance(before.rows, StreamedRows) or isinstance(now.rows, StreamedRows):
            raise DataError(_too_many_classes(classes, columns))
        # a class that the first rows did not show
        return check(
            reference,
            current,
            task=Task.MULTICLASS,
            prediction=prediction,
            score=score,
            label=label,
            time=time,
            id=id,
            features=features,
            ignore=ignore,
            segments=segments,
            floors=floors,
            multivariate=multivariate,
            progress=progress,
        )
    return _report(sides, schema, aside, multivariate)


def _silent(share: float) -> None:
    """Nobody asked."""


def _task(task: Task | str | None) -> Task | None:
    if task is None or isinstance(task, Task):
        return task
    if task not in list(Task):
        raise UnknownNameError("task", str(task), [kind.value for kind in Task])
    return Task(task)


# ---- columns and types -------------------------------------------------------------------------------------


def _require_columns(before: pl.DataFrame, now: pl.DataFrame, columns: Columns) -> None:
    known = dict.fromkeys([*before.columns, *now.columns])
    for name in (*columns.roles, *(columns.features or ()), *columns.ignore, *columns.segments):
        if name not in known:
            raise UnknownNameError("column", name, known)
    for name, part in columns.roles.items():
        for frame in (before, now):
            dtype = frame.schema.get(name, pl.Null())
            if part in ("prediction", "label", "score") and dtype != pl.Null and kind_of(dtype) not in _PROFILED:
                raise DataError(
                    f"the {part} column {name!r} is of type {dtype}; allowed are numbers, texts and booleans"
                )
    if not set(before.columns) & set(now.columns):
        raise DataError(
            f"the two have no column in common: the reference has {_some(before.columns)}; the current rows "
            f"have {_some(now.columns)}"
        )


def _some(names: list[str]) -> str:
    return ", ".join(names[:5]) + (f" and {len(names) - 5} more" if len(names) > 5 else "")


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
    parts = [
        frame.select(name for name in targets if name in frame.columns).with_columns(*plain) for frame in (before, now)
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


def _classes(sides: _Sides) -> set[str]:
    """Every class that a label or a prediction of either side names."""
    found: set[str] = set()
    for seen in (sides.before, sides.now):
        for profile, name in ((seen.profile.labels, "label"), (seen.profile.outputs, "prediction")):
            column = profile.columns.get(name)
            if isinstance(column, CategoricalColumn):
                found |= set(column.categories.counts)
    return found


def _too_many_classes(classes: set[str], columns: Columns) -> str:
    targets = [column for column in (columns.label, columns.prediction) if column is not None]
    return (
        f"{len(classes)} classes ({', '.join(sorted(classes)[:5])} …) in {', '.join(targets)}; a binary model "
        "has two. Say task: multiclass, or name the columns of the predicted class"
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


def _with_missing(drift: ColumnDrift, sides: _Sides) -> ColumnDrift:
    """For a column of which nothing else is known: has the share of missing values changed?"""
    there = (drift.column in sides.names_before, drift.column in sides.types_now)
    before, now, floors = sides.before, sides.now, sides.floors
    was = before.missing(drift.column) if there[0] else None
    became = now.missing(drift.column) if there[1] else None
    drift = replace(drift, missing_reference=was, missing_current=became)
    if drift.drifted or was is None or became is None or min(before.rows, now.rows) < floors.rows:
        return drift
    gap = difference(
        (became, *wilson(now.nulls[drift.column], now.rows, _SURE)),
        (was, *wilson(before.nulls[drift.column], before.rows, _SURE)),
    )
    changed = abs(became - was) >= floors.missing and max(was, became) >= floors.missing_factor * min(was, became)
    if not changed or gap.low <= 0 <= gap.high:
        return drift
    return replace(
        drift,
        measure="missing",
        value=abs(became - was),
        threshold=floors.missing,
        drifted=True,
        problem="",
        reason=f"a change of the missing share by {abs(became - was):.2f} is at or above {floors.missing:.2f}",
        changes=(f"missing {percent(was)} → {percent(became)}",),
    )


# ---- the report --------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Sides:
    layout: Layout
    before: Seen
    now: Seen
    names_before: tuple[str, ...]
    types_now: Mapping[str, pl.DataType]
    floors: Floors

    @property
    def columns(self) -> Columns:
        return self.layout.columns

    def outputs(self) -> dict[str, str]:
        """The file's name of each profiled output."""
        score, schema = self.columns.score, self.layout.schema
        if isinstance(score, str):
            score = {schema.positive: score} if schema.positive is not None else {}
        named = {SCORE + class_name(name): column for name, column in (score or {}).items()}
        if self.columns.prediction is not None:
            named["prediction"] = self.columns.prediction
        return named

    def profiles(self, profile: WindowProfile) -> dict[str, Column]:
        """Every profiled column under its name in the file: features, prediction, scores, label."""
        found: dict[str, Column] = {
            name: profile.features.columns[name]
            for name in self.layout.schema.features
            if name in profile.features.columns
        }
        for name, column in self.outputs().items():
            if name in profile.outputs.columns:
                found[column] = profile.outputs.columns[name]
        if self.columns.label is not None and "label" in profile.labels.columns:
            found[self.columns.label] = profile.labels.columns["label"]
        return found

    def role(self, column: str) -> str:
        return self.columns.roles.get(column, "feature")


def _report(sides: _Sides, schema: Schema, aside: Mapping[str, ColumnDrift], multivariate: str) -> Report:
    reference, current = sides.profiles(sides.before.profile), sides.profiles(sides.now.profile)
    label = sides.columns.label
    unlabelled = _unlabelled(sides, reference, current)
    if label is not None and unlabelled is not None:  # labels come late: without them there is nothing to compare
        reference.pop(label, None)
        current.pop(label, None)
    taken = {*sides.columns.roles, *sides.columns.ignore, *schema.features}
    new = [name for name in sides.types_now if name not in taken] if sides.columns.features is None else []
    drifts = compare_columns(reference, current, sides.floors)
    drifts |= {name: _with_missing(drift, sides) for name, drift in aside.items()}
    drifts |= {name: _new(sides, name) for name in new}
    if label is not None and unlabelled is not None:
        drifts[label] = unlabelled
    columns = {drift.column: _column(drift, sides) for drift in worst_first(drifts.values())}
    before, now = sides.before.profile, sides.now.profile
    dependence = _dependence(sides, multivariate)
    segments = _segments(sides)
    alerts = (
        *_performance_alerts(sides, before.performance, now.performance),
        *_segment_alerts(sides),
        *_drift_alerts(columns),
        *_dependence_alerts(dependence),
        *_repeated_alerts(sides),
    )
    return Report(
        verdict="alert" if alerts else "ok",
        rows=RowCounts(sides.before.rows, sides.now.rows),
        columns=columns,
        performance=_measures(sides, now.performance) or None,
        reference_performance=_measures(sides, before.performance) or None,
        label_coverage=label_coverage(now.labelled, sides.now.rows)
        if label is not None and label in sides.types_now
        else None,
        alerts=alerts,
        profiles={name: (reference.get(name), current.get(name)) for name in columns},
        duplicates=Missing(_repeated(sides.before), _repeated(sides.now)),
        segments=segments,
        dependence=dependence,
        notes=_notes(sides, new),
    )


def _unlabelled(sides: _Sides, reference: Mapping[str, Column], current: Mapping[str, Column]) -> ColumnDrift | None:
    label = sides.columns.label
    if label is None or (label in reference and label in current):
        return None
    kind = Kind.NUMERIC if sides.layout.schema.task is Task.REGRESSION else Kind.CATEGORICAL
    side = "current" if label in reference else "reference"
    return ColumnDrift(label, kind.value, problem=f"no {side} row has a label, so there is nothing to compare")


def _new(sides: _Sides, name: str) -> ColumnDrift:
    problem = "is not in the reference, so there is nothing to compare with"
    kind = kind_of(sides.types_now[name]).value
    return ColumnDrift(name, kind, problem=problem, missing_current=sides.now.missing(name))


def _column(drift: ColumnDrift, sides: _Sides) -> ColumnReport:
    role = sides.role(drift.column)
    missing = Missing(drift.missing_reference, drift.missing_current)
    if role == "label":
        missing = Missing(
            sides.before.missing(drift.column) if drift.column in sides.names_before else None,
            sides.now.missing(drift.column) if drift.column in sides.types_now else None,
        )
    measured = drift.value is not None or drift.drifted
    changes = drift.changes if drift.drifted or (drift.p_value is not None and drift.p_value < 0.01) else ()
    mistyped = sides.now.mistyped[drift.column] / max(sides.now.rows, 1)
    return ColumnReport(
        drift.column,
        role,
        drift.kind,
        drift if measured else None,
        missing,
        drift.problem,
        ((f"{percent(mistyped)} are texts, no numbers",) if mistyped else ()) + changes,
        out_of_range=drift.out_of_range,
        unseen=drift.unseen if drift.kind == Kind.CATEGORICAL.value and measured else None,
    )


def _measures(sides: _Sides, performance: Performance | None, confidence: float = 0.95) -> dict[str, Measure]:
    return measures(performance, confidence=confidence, positive=sides.layout.schema.positive)


def _drift_alerts(columns: Mapping[str, ColumnReport]) -> list[Alert]:
    found = []
    for name, report in columns.items():
        drift = report.drift
        if drift is None or not drift.drifted:
            continue
        words = "; ".join(report.changes) or drift.reason
        message = f"{report.role} {name} has drifted: {words}"
        if drift.value is None:
            message = f"{report.role} {name} {drift.reason}"
        about: Literal["quality", "drift"] = "drift"
        if drift.value is None or drift.measure == "missing":
            about = "quality"
        found.append(Alert(about, name, drift.measure, drift.value, drift.threshold, message))
    return found


# ---- performance -------------------------------------------------------------------------------------------


def _performance_alerts(
    sides: _Sides,
    reference: Performance | None,
    current: Performance | None,
    *,
    sure: float = _SURE,
    where: str = "",
    column: str | None = None,
) -> list[Alert]:
    """Measures that are worse than on the reference: beyond chance (the interval of the difference) and
    beyond a trifle.
    """
    before, now = _measures(sides, reference, sure), _measures(sides, current, sure)
    found = []
    for name, trifle in LARGEST_FALL.items():
        was, became = (_bounds(side[name]) if name in side else None for side in (before, now))
        if was is None or became is None:
            continue
        worse = difference(was, became) if HIGHER_IS_BETTER[name] else difference(became, was)
        fall = was[0] - became[0] if HIGHER_IS_BETTER[name] else became[0] - was[0]
        least = trifle if HIGHER_IS_BETTER[name] else trifle * was[0]
        if worse.low > 0 and fall >= least:
            threshold = was[0] - least if HIGHER_IS_BETTER[name] else was[0] + least
            verb = "fell" if HIGHER_IS_BETTER[name] else "rose"
            message = f"{name}{where} {verb} from {number(was[0])} on the reference to {number(became[0])}"
            found.append(Alert("performance", column, name, became[0], threshold, message))
    return found


def _segments(sides: _Sides) -> tuple[Segment, ...]:
    return tuple(
        Segment(
            column,
            value,
            _measures(sides, performance),
            _measures(sides, sides.before.segments.get(column, {}).get(value)),
        )
        for column, values in sides.now.segments.items()
        for value, performance in sorted(values.items())
    )


def _segment_alerts(sides: _Sides) -> list[Alert]:
    """Segments that are worse than on the reference, with the chance of one false alert among all of them together."""
    pairs = [
        (column, value, sides.before.segments[column][value], performance)
        for column, values in sides.now.segments.items()
        for value, performance in sorted(values.items())
        if value in sides.before.segments.get(column, {})
    ]
    found: list[Alert] = []
    for column, value, before, now in pairs:
        if min(before.count, now.count) >= sides.floors.rows:
            where = f" where {column} is {value}"
            sure = 1 - (1 - _SURE) / len(pairs)
            found += _performance_alerts(sides, before, now, sure=sure, where=where, column=column)
    return found


def _bounds(measure: Measure) -> tuple[float, float, float] | None:
    if measure.value is None or measure.low is None or measure.high is None:
        return None
    return measure.value, measure.low, measure.high


# ---- columns and rows together -----------------------------------------------------------------------------


def _dependence(sides: _Sides, multivariate: str) -> Dependence | None:
    before, now = sides.before.spaced, sides.now.spaced
    both = [name for name in before.columns if name in now.columns and before[name].dtype in (pl.Float64, pl.String)]
    if multivariate == "none" or len(both) < 2:
        return None
    plain = {name: name.removeprefix(FEATURE) for name in both}
    frames = (before.select(both).rename(plain), now.select(both).rename(plain))
    if multivariate == "classifier":
        from driftline.statistics.domain_classifier import domain_classifier

        return domain_classifier(*frames)
    return compare_dependence(*frames)


def _dependence_alerts(dependence: Dependence | None) -> list[Alert]:
    if dependence is None or not dependence.drifted:
        return []
    message = f"the columns' relations have drifted: {dependence.reason}"
    return [Alert("drift", None, dependence.measure, dependence.value, dependence.threshold, message)]


def _repeated(seen: Seen) -> float | None:
    return seen.keys.repeated if seen.keys.rows else None


def _repeated_alerts(sides: _Sides) -> list[Alert]:
    """Ids that come more than once; whole rows may well be equal where columns are few, so these are only told."""
    was, became = _repeated(sides.before), _repeated(sides.now)
    identifier = sides.columns.id
    if identifier is None or was is None or became is None or became < max(REPEATED_LEAST, 2 * was):
        return []
    message = f"id {identifier} repeats: {percent(became)} of the rows have one that came before"
    return [Alert("quality", identifier, "duplicates", became, max(REPEATED_LEAST, 2 * was), message)]


def _notes(sides: _Sides, new: list[str]) -> tuple[str, ...]:
    notes = [f"{_some(new)} {'is' if len(new) == 1 else 'are'} new"] if new else []
    was, became = _repeated(sides.before), _repeated(sides.now)
    if sides.columns.id is None and was is not None and became is not None and became >= max(REPEATED_LEAST, 2 * was):
        notes.append(f"{percent(became)} of the current rows repeat another one ({percent(was)} in the reference)")
    many = [name for name in sides.columns.segments if len(sides.now.segments.get(name, {})) >= MOST_SEGMENTS]
    notes += [f"{name} has more than {MOST_SEGMENTS} values; only the first are shown as segments" for name in many]
    return tuple(notes)
