"""Report the performance of the model on both sides of a check."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from driftline.checks.sides import Comparison
from driftline.events import Task
from driftline.profiles import Classification, NumericColumn, Performance, Regression
from driftline.results.check import (
    MOST_PAIRS,
    BothSides,
    CalibrationPoint,
    ComparedMeasure,
    ConfusionCount,
    MeasureReport,
    SegmentReport,
)
from driftline.statistics import Measure, calibration_bins, gains, measures, measures_by_class
from driftline.statistics.catalogue import headlines, performance_measures
from driftline.statistics.segment_changes import ColumnChange, segment_changes
from driftline.statistics.worse import Fall, Pair, falls, falls_among, falls_by_class


def measures_of(
    sides: Comparison, performance: Performance | None, confidence: float = 0.95, names: Iterable[str] | None = None
) -> dict[str, Measure]:
    """Return the measures of one side's rows, or of a segment; all that fit the task unless ``names`` are given.

    Errors are scaled by those of the naive forecast on the reference, see `measures`.
    """
    positive, naive = sides.layout.schema.positive, sides.before.naive
    return measures(performance, confidence=confidence, positive=positive, names=names, naive=naive)


def measure_report(measure: Measure) -> MeasureReport:
    """Return a measure as the report has it, without its name."""
    return MeasureReport(
        measure.value, measure.low, measure.high, measure.n, measure.confidence, measure.problem or None
    )


def compared(
    now: Mapping[str, Measure], before: Mapping[str, Measure], worse: Iterable[Fall] = ()
) -> dict[str, ComparedMeasure]:
    """Pair the measures of the current rows with those of the reference, and say which are ``worse``."""
    fallen = {one.measure for one in worse}
    return {
        name: ComparedMeasure(
            measure.value,
            measure.low,
            measure.high,
            measure.n,
            measure.confidence,
            measure.problem or None,
            measure_report(before[name]) if name in before else None,
            name in fallen,
        )
        for name, measure in now.items()
    }


def classes_report(
    sides: Comparison, reference: Performance | None, current: Performance | None
) -> dict[str, dict[str, ComparedMeasure]] | None:
    """Return the measures of each class of a multiclass model; None for other models, and without labelled rows."""
    if sides.layout.schema.task is not Task.MULTICLASS:
        return None
    before, worse = measures_by_class(reference), falls_by_class((reference, current), least_rows=sides.floors.rows)
    return {
        name: compared(now, before.get(name, {}), worse.get(name, ()))
        for name, now in measures_by_class(current).items()
    } or None


def confusion_counts(reference: Performance | None, current: Performance | None) -> tuple[ConfusionCount, ...] | None:
    """Count the most frequent pairs of label and prediction; None where there are none."""
    if not isinstance(current, Classification):
        return None
    was = reference.confusion if isinstance(reference, Classification) else {}
    pairs_of_classes = sorted(was.keys() | current.confusion.keys())
    counts = [ConfusionCount(*pair, was.get(pair, 0), current.confusion.get(pair, 0)) for pair in pairs_of_classes]
    return tuple(sorted(counts, key=lambda one: -max(one.reference, one.current))[:MOST_PAIRS]) or None


def calibration_curves(
    reference: Performance | None, current: Performance | None, positive: str | None
) -> BothSides[tuple[CalibrationPoint, ...] | None] | None:
    """Return how scores match labels on both sides; None without scores of a ``positive`` class."""
    if not isinstance(current, Classification) or positive is None:
        return None
    before, now = (
        tuple(CalibrationPoint(*one) for one in calibration_bins(side, positive)) or None
        for side in (reference if isinstance(reference, Classification) else Classification(), current)
    )
    return BothSides(before, now) if before or now else None


def gain_curves(
    reference: Performance | None, current: Performance | None, positive: str | None
) -> BothSides[tuple[float, ...] | None] | None:
    """Return the gain curves of both sides, see `gains`; None without scores of a ``positive`` class."""
    if not isinstance(current, Classification) or positive is None:
        return None
    before = gains(reference, positive) if isinstance(reference, Classification) else ()
    now = gains(current, positive)
    return BothSides(tuple(before) or None, tuple(now) or None) if before or now else None


def errors_of(reference: Performance | None, current: Performance | None) -> tuple[NumericColumn, NumericColumn] | None:
    """Return the errors of a regression on both sides; None for other models."""
    if not isinstance(current, Regression):
        return None
    return _error_column(reference if isinstance(reference, Regression) else Regression()), _error_column(current)


def _error_column(performance: Regression) -> NumericColumn:
    """Return the errors as a column; its range is that of the outermost cells of their sketch."""
    errors = performance.residuals
    low, high = errors.quantile_bounds(0.0), errors.quantile_bounds(1.0)
    if low is None or high is None:
        return NumericColumn()
    return NumericColumn(errors.count, smallest=low[0], largest=high[1], sketch=errors)


def falls_of(sides: Comparison) -> list[Fall]:
    """Return every measure of all rows that is worse than on the reference, each tested by itself."""
    pair = sides.before.profile.performance, sides.now.profile.performance
    return falls(pair, names=performance_measures(), positive=sides.layout.schema.positive, naive=sides.before.naive)


def falls_by_segment(sides: Comparison) -> dict[tuple[str, str], list[Fall]]:
    """Return the segments that are worse than on the reference; the level holds for all of them together."""
    parts = {
        (column, value): pair
        for column, values in segment_pairs(sides).items()
        for value, pair in values.items()
        if None not in pair
    }
    positive, naive = sides.layout.schema.positive, sides.before.naive
    return falls_among(parts, least_rows=sides.floors.rows, positive=positive, naive=naive)


def segments_report(sides: Comparison, worse: Mapping[tuple[str, str], Iterable[Fall]]) -> tuple[SegmentReport, ...]:
    """Return the headline measures of every segment of the current rows; some are ``worse``."""
    return tuple(
        SegmentReport(
            column,
            value,
            compared(
                measures_of(sides, performance, names=headlines()),
                measures_of(sides, sides.before.segments.get(column, {}).get(value), names=headlines()),
                worse.get((column, value), ()),
            ),
        )
        for column, values in sides.now.segments.items()
        for value, performance in sorted(values.items())
    )


def segment_pairs(sides: Comparison) -> dict[str, dict[str, Pair]]:
    """Return the performance of each segment on both sides, by column and value; None for a side without its rows."""
    return {
        column: {
            value: (sides.before.segments.get(column, {}).get(value), values.get(value))
            for value in sorted(values.keys() | sides.before.segments.get(column, {}).keys())
        }
        for column, values in sides.now.segments.items()
    }


def changes_by_segment(sides: Comparison) -> tuple[ColumnChange, ...]:
    """Split the change of the accuracy, or of the mean absolute error, by the segments of each column."""
    whole = sides.before.profile.performance, sides.now.profile.performance
    if whole[0] is None or whole[1] is None:
        return ()
    return segment_changes(
        "mae" if sides.layout.schema.task is Task.REGRESSION else "accuracy",
        segment_pairs(sides),
        whole,
        least_rows=sides.floors.rows,
        positive=sides.layout.schema.positive,
        naive=sides.before.naive,
    )
