"""Compare the profiles of both sides and build the report of a check."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor

import polars as pl
from msgspec.structs import replace

from driftline.checks.guesses import guesses_on, positive_of
from driftline.checks.notes import notes_on
from driftline.checks.performance import (
    calibration_curves,
    changes_by_segment,
    classes_report,
    compared,
    confusion_counts,
    errors_of,
    falls_by_segment,
    falls_of,
    gain_curves,
    measure_report,
    measures_of,
    segments_report,
)
from driftline.checks.report import Report
from driftline.checks.ruled import judged, rule_alerts
from driftline.checks.scan import REPEATED_LEAST
from driftline.checks.sides import Comparison, Said
from driftline.events import Kind, Schema, Task
from driftline.lookalikes import differs_by, pairs, shown, shown_all
from driftline.profiles import Column, kind_of
from driftline.profiles.frame import COMPOSITE, FEATURE
from driftline.results.check import (
    Alert,
    BothSides,
    ColumnReport,
    DependenceReport,
    Drift,
    RelationChange,
    RuleAlert,
    Shares,
)
from driftline.rules import Rule
from driftline.sources.own import Replicates
from driftline.statistics import (
    CATALOGUE,
    Better,
    ColumnDrift,
    compare_columns,
    difference,
    label_coverage,
    wilson,
    worst_first,
)
from driftline.statistics.bootstrap import measure_of
from driftline.statistics.catalogue import lower_is_better
from driftline.statistics.correlation_change import Dependence, compare_dependence
from driftline.statistics.drift import more_missing
from driftline.statistics.performance import size_of
from driftline.statistics.worse import SURE, Fall
from driftline.text.numbers import effect, numbers, percent, percents


def report_of(
    sides: Comparison,
    schema: Schema,
    aside: Mapping[str, ColumnDrift],
    multivariate: str,
    said: Said,
    rules: Sequence[Rule],
    own: Mapping[str, Replicates],
) -> Report:
    """Build the report on two sides.

    ``aside`` are the features that are not compared, with the reasons; ``own`` are the results of the user's own
    measures on the current rows.
    """
    reference, current = sides.profiles(sides.before.profile), sides.profiles(sides.now.profile)
    label = sides.columns.label
    unlabelled = _unlabelled(sides, reference, current)
    if label is not None and unlabelled is not None:  # labels come late: without them there is nothing to compare
        reference.pop(label, None)
        current.pop(label, None)
    taken = {*sides.columns.roles, *sides.columns.ignore, *schema.features}
    new = [name for name in sides.types_now if name not in taken] if sides.columns.features is None else []
    with ThreadPoolExecutor(1) as beside:  # more than half of this work releases the interpreter's lock
        together = beside.submit(_dependence, sides, multivariate)
        drifts = compare_columns(reference, current, sides.floors)
    dependence = together.result()
    apart = {
        name: drift
        for name, drift in drifts.items()
        if (drift.kind in COMPOSITE and drift.value is None) or sides.role(name) == "score"
    }
    drifts |= {name: _with_missing(drift, sides) for name, drift in (apart | dict(aside)).items()}
    drifts |= {name: _new(sides, name) for name in new}
    drifts |= _renamed(drifts, [name for name in drifts if name not in sides.types_now], new)
    if label is not None and unlabelled is not None:
        drifts[label] = unlabelled
    drifts = {drift.column: drift for drift in worst_first(drifts.values())}
    columns = {name: _column(drift, sides) for name, drift in drifts.items()}
    before, now = sides.before.profile, sides.now.profile
    was, became = measures_of(sides, before.performance), measures_of(sides, now.performance)
    lost = {name: drift for name, drift in drifts.items() if drift.is_lost}  # explains what else went wrong
    became |= {name: measure_of(name, found) for name, found in own.items()}
    fallen, fallen_by_segment = falls_of(sides), falls_by_segment(sides)
    evaluated = judged(rules, sides, drifts, own)
    alerts: tuple[Alert | RuleAlert, ...] = (
        *rule_alerts(evaluated),
        *_drift_alerts(lost, columns, sides),
        *(_fall_alert(one) for one in fallen if CATALOGUE[one.measure].judged),
        *_segment_alerts(sides, fallen_by_segment),
        *_drift_alerts({name: drift for name, drift in drifts.items() if name not in lost}, columns, sides),
        *_dependence_alerts(dependence),
        *_repeated_alerts(sides),
    )
    return Report(
        verdict="alert" if alerts else "ok",
        rows=BothSides(sides.before.rows, sides.now.rows),
        duplicates=BothSides(sides.before.repeated, sides.now.repeated),
        columns=columns,
        performance=compared(became, was, fallen) or None,
        label_coverage=measure_report(label_coverage(now.labelled, sides.now.rows))
        if label is not None and label in sides.types_now
        else None,
        classes=classes_report(sides, before.performance, now.performance),
        segments=segments_report(sides, fallen_by_segment),
        segment_changes=changes_by_segment(sides),
        confusion=confusion_counts(before.performance, now.performance),
        calibration=calibration_curves(before.performance, now.performance, sides.layout.schema.positive),
        gains=gain_curves(before.performance, now.performance, sides.layout.schema.positive),
        dependence=None if dependence is None else _relations(dependence),
        alerts=alerts,
        rules=evaluated,
        notes=notes_on(sides, new, drifts),
        positive=positive_of(sides, said, was, became),
        guesses=guesses_on(sides, schema, said, relations=dependence is not None and dependence.value is not None),
        profiles={name: (reference.get(name), current.get(name)) for name in columns},
        errors=errors_of(before.performance, now.performance),
    )


def _with_missing(drift: ColumnDrift, sides: Comparison) -> ColumnDrift:
    """Compare the share of missing values of a column that nothing else was measured of."""
    there = (drift.column in sides.types_before, drift.column in sides.types_now)
    before, now, floors = sides.before, sides.now, sides.floors
    was = before.missing(drift.column) if there[0] else None
    became = now.missing(drift.column) if there[1] else None
    drift = replace(drift, missing_reference=was, missing_current=became)
    if drift.drifted or was is None or became is None or min(before.rows, now.rows) < floors.rows:
        return drift
    gap = difference(
        (became, *wilson(now.nulls[drift.column], now.rows, SURE)),
        (was, *wilson(before.nulls[drift.column], before.rows, SURE)),
    )
    rise = more_missing(was, became, floors)
    if rise is None or gap.low <= 0:
        return drift
    return replace(
        drift,
        measure="missing",
        value=rise[0],
        threshold=rise[1],
        drifted=True,
        more_missing=True,
        problem="",
        reason=f"a rise of the missing share by {effect(rise[0])} is at or above {effect(rise[1])}",
        changes=(f"missing {' → '.join(percents(was, became))}",),
    )


def _unlabelled(
    sides: Comparison, reference: Mapping[str, Column], current: Mapping[str, Column]
) -> ColumnDrift | None:
    label = sides.columns.label
    if label is None or (label in reference and label in current):
        return None
    kind = Kind.NUMERIC if sides.layout.schema.task is Task.REGRESSION else Kind.CATEGORICAL
    side = "current" if label in reference else "reference"
    return ColumnDrift(label, kind.value, problem=f"no {side} row has a label, so there is nothing to compare")


def _new(sides: Comparison, name: str) -> ColumnDrift:
    problem = "is not in the reference, so there is nothing to compare with"
    kind = kind_of(sides.types_now[name]).value
    return ColumnDrift(name, kind, problem=problem, missing_current=sides.now.missing(name))


def _renamed(drifts: Mapping[str, ColumnDrift], gone: Iterable[str], new: Iterable[str]) -> dict[str, ColumnDrift]:
    """Add to gone and new columns whose names look alike a note on the other one."""
    found = {}
    for old, other in pairs(gone, new).items():
        words = differs_by(old, other)
        for name, twin, how in ((old, other, "new"), (other, old, "gone")):
            more = f"; {shown(twin, [name])}, which differs by {words} only, is {how}"
            drift = drifts[name]
            reason = f"{drift.reason}{more}" if drift.reason else ""
            found[name] = replace(drift, problem=f"{drift.problem}{more}", reason=reason)
    return found


def _column(drift: ColumnDrift, sides: Comparison) -> ColumnReport:
    role = sides.role(drift.column)
    missing: Shares = BothSides(drift.missing_reference, drift.missing_current)
    if role in ("label", "score"):
        missing = BothSides(
            sides.before.missing(drift.column) if drift.column in sides.types_before else None,
            sides.now.missing(drift.column) if drift.column in sides.types_now else None,
        )
    measured = drift.value is not None or drift.drifted
    changes = drift.changes if drift.drifted or (drift.p_value is not None and drift.p_value < 0.01) else ()
    mistyped = sides.now.mistyped[drift.column] / max(sides.now.rows, 1) if role == "feature" else 0.0
    return ColumnReport(
        column=drift.column,
        role=role,
        kind=drift.kind,
        drift=Drift(
            measure=drift.measure or None,
            value=drift.value,
            threshold=drift.threshold,
            drifted=drift.drifted,
            p_value=drift.p_value,
            part=drift.part or None,
            reason=drift.reason,
            distances=drift.distances,
            p_values=drift.p_values,
        ),
        missing=missing,
        out_of_range=drift.out_of_range,
        unseen=drift.unseen if drift.kind == Kind.CATEGORICAL.value and measured else None,
        changes=((f"{percent(mistyped)} are texts, no numbers",) if mistyped else ()) + changes,
        problem=drift.problem or None,
    )


def _drift_alerts(
    drifts: Mapping[str, ColumnDrift], columns: Mapping[str, ColumnReport], sides: Comparison
) -> list[Alert]:
    found: list[Alert] = []
    told = shown_all(drifts)
    for name, drift in drifts.items():
        subject = f"{columns[name].role} {told[name]}"
        words = "; ".join(columns[name].changes) or drift.reason
        if drift.drifted and drift.value is None:
            found.append(Alert("quality", name, drift.measure, None, drift.threshold, f"{subject} {drift.reason}"))
        elif drift.drifted and drift.measure == "missing":
            message = f"{subject} {'has died' if drift.missing_current == 1 else 'has lost values'}: {words}"
            found.append(Alert("quality", name, drift.measure, drift.value, drift.threshold, message))
        else:
            found += _missing_alerts(drift, subject, sides)
            if drift.drifted:
                message = f"{subject} has drifted: {words}"
                found.append(Alert("drift", name, drift.measure, drift.value, drift.threshold, message))
    return found


def _missing_alerts(drift: ColumnDrift, subject: str, sides: Comparison) -> list[Alert]:
    """Alert on a risen share of missing values, also where another measure decided that the column drifted."""
    was, became = drift.missing_reference or 0.0, drift.missing_current or 0.0
    rise = more_missing(was, became, sides.floors)
    if not drift.more_missing or rise is None:
        return []
    message = f"{subject} has lost values: missing {' → '.join(percents(was, became))}"
    return [Alert("quality", drift.column, "missing", *rise, message)]


# ---- performance -------------------------------------------------------------------------------------------


def _segment_alerts(sides: Comparison, worse: Mapping[tuple[str, str], Iterable[Fall]]) -> list[Alert]:
    """Alert on segments that are worse than on the reference."""
    told = {column: shown_all(values) for column, values in sides.now.segments.items()}
    return [
        _fall_alert(one, f" where {shown(column)} is {told[column][value]}", column)
        for (column, value), found in worse.items()
        for one in found
    ]


def _fall_alert(fall: Fall, where: str = "", column: str | None = None) -> Alert:
    name, was, became = fall.measure, fall.was, fall.became
    if CATALOGUE[name].better is Better.NEARER_0:
        sizes = size_of(*was), size_of(*became)
        told = numbers(sizes[1][0], sizes[0][0])
        ways = ["too low" if value < 0 else "too high" for value in (became[0], was[0])]
        message = (
            f"{name}{where}: predictions are {ways[0]} by {told[0]}; on the reference they were {ways[1]} by {told[1]}"
        )
        threshold = math.copysign(sizes[0][0] + fall.least, became[0])
        return Alert("performance", column, name, became[0], threshold, message)
    less = lower_is_better(name)
    verb = "rose" if less else "fell"
    message = "{}{} {} from {} on the reference to {}".format(name, where, verb, *numbers(was[0], became[0]))
    threshold = was[0] + fall.least if less else was[0] - fall.least
    return Alert("performance", column, name, became[0], threshold, message)


# ---- columns and rows together -----------------------------------------------------------------------------


def _dependence(sides: Comparison, multivariate: str) -> Dependence | None:
    before, now = sides.before.sample, sides.now.sample
    there = set(now.columns)
    names = [name for name in before.columns if name in there and name.startswith(FEATURE)]
    both = [name for name in names if before[name].dtype in (pl.Float64, pl.String)]
    if multivariate == "none" or len(both) < 2:
        return None
    plain = {name: name.removeprefix(FEATURE) for name in both}
    frames = (before.select(both).rename(plain), now.select(both).rename(plain))
    if multivariate == "classifier":
        from driftline.statistics.domain_classifier import domain_classifier

        return domain_classifier(*frames)
    return compare_dependence(*frames)


def _relations(found: Dependence) -> DependenceReport:
    return DependenceReport(
        found.measure,
        found.value,
        found.threshold,
        found.drifted,
        found.p_value,
        found.problem or None,
        found.reason,
        tuple(
            RelationChange(pair.columns, pair.labels, pair.reference, pair.current, pair.p_value)
            for pair in found.pairs
        ),
    )


def _dependence_alerts(dependence: Dependence | None) -> list[Alert]:
    if dependence is None or not dependence.drifted:
        return []
    what = "rows can be told apart" if dependence.measure == "classifier" else "the columns' relations have drifted"
    message = f"{what}: {dependence.reason}"
    return [Alert("drift", None, dependence.measure, dependence.value, dependence.threshold, message)]


def _repeated_alerts(sides: Comparison) -> list[Alert]:
    """Alert on repeated ids. Repeated rows are only a note: with few columns, rows may well be equal."""
    was, became = sides.before.repeated, sides.now.repeated
    identifier = sides.columns.id
    if identifier is None or was is None or became is None or became < max(REPEATED_LEAST, 2 * was):
        return []
    message = f"id {shown(identifier)} repeats: {percent(became)} of the rows have one that came before"
    return [Alert("quality", identifier, "duplicates", became, max(REPEATED_LEAST, 2 * was), message)]
