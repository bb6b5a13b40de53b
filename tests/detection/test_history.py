"""Series of stored profiles, gross faults, whole histories, days of hours, and what is suspected."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import numpy as np
import polars as pl
import pytest

from driftline.detection import (
    Accepted,
    Cadence,
    Finding,
    HistoryWindow,
    Observed,
    Outcome,
    Role,
    SeriesKind,
    SeriesMap,
    SuspectedKind,
    Use,
    judge_history,
)
from driftline.detection.cadence import is_fault
from driftline.detection.columns import NumericSeries
from driftline.detection.faults import gross_faults
from driftline.detection.findings import finding_of
from driftline.detection.history import merge, merged_by
from driftline.detection.suspicion import suspect
from driftline.events import Segment, Window, WindowSpec
from driftline.profiles import CategoricalColumn, Classification, Column, NumericColumn, Profile, WindowProfile
from driftline.sketches import Grid, decode, encode

START = datetime(2024, 1, 1, tzinfo=UTC)
CADENCE = Cadence(WindowSpec("1d"))


def observed(
    rng: np.random.Generator, rows: int = 200, *, gone: float = 0.0, scale: float = 1.0, right: float = 0.9
) -> Observed:
    """A window with a number, a category, predictions and labels."""
    x = pl.Series(rng.standard_normal(rows) * scale)
    colours = pl.Series(rng.choice(["red", "green", "blue"], rows, p=[0.5, 0.3, 0.2]))
    absent = pl.Series(rng.random(rows) < gone)
    columns: dict[str, Column] = {
        "colour": CategoricalColumn.of(colours.set(absent, None)),
        "x": NumericColumn.of(x.set(absent, None), Grid(0.0, scale)),
    }
    hits = int(rng.binomial(rows, right))
    outputs = CategoricalColumn.of(pl.Series(["1"] * rows))
    performance = Classification({("0", "1"): rows - hits, ("1", "1"): hits} if 0 < hits < rows else {("1", "1"): rows})
    label = CategoricalColumn.of(pl.Series(["1"] * hits + ["0"] * (rows - hits)))
    return Observed(
        WindowProfile(
            Profile(rows, columns), Profile(rows, {"prediction": outputs}), Profile(rows, {"label": label}), performance
        )
    )


def day(number: int) -> Window:
    start = START + timedelta(days=number)
    return Window(start, start + timedelta(days=1))


def history(count: int, seed: int = 1, **last: float) -> list[HistoryWindow]:
    """Days without a change, but for what the last one has."""
    rng = np.random.default_rng(seed)
    days = [HistoryWindow(day(at), observed(rng)) for at in range(count - 1)]
    return [*days, HistoryWindow(day(count - 1), observed(rng, **last))]  # type: ignore[arg-type]


def test_the_map_of_a_model_can_be_stored_and_its_weights_are_the_shares_of_the_budget() -> None:
    reference = [one.observed for one in history(14)]
    fixed = SeriesMap.of(reference, positive="1")
    stored = decode(encode(fixed), SeriesMap)
    assert stored.series == fixed.series
    mine, theirs = fixed.values(reference), stored.values(reference)
    np.testing.assert_array_equal(mine.y, theirs.y)
    by_role = {role: sum(one.weight for one in fixed.series if one.role is role) for role in Role}
    assert by_role[Role.PERFORMANCE] == pytest.approx(0.3)
    assert by_role[Role.VOLUME] == by_role[Role.COVERAGE] == pytest.approx(0.05)
    assert by_role[Role.FEATURE] <= 0.4 + 0.01
    assert {one.column for one in SeriesMap.of(reference, ignored=["x"]).series if one.role is Role.FEATURE} == {
        "colour"
    }


def test_scaling_a_number_changes_nothing() -> None:
    small, large = (
        [observed(np.random.default_rng(seed), scale=scale) for seed in range(10)] for scale in (1.0, 1024.0)
    )
    one, other = SeriesMap.of(small).values(small), SeriesMap.of(large).values(large)
    np.testing.assert_allclose(one.y, other.y)
    np.testing.assert_array_equal(one.n, other.n)


HOSTILE = {
    "nothing": Observed(),
    "rows without columns": Observed(WindowProfile(Profile(5), Profile(5), Profile(5))),
    "other types": Observed(
        WindowProfile(
            Profile(
                3, {"x": CategoricalColumn.of(pl.Series(["a"] * 3)), "colour": NumericColumn.of(pl.Series([1.0] * 3))}
            )
        )
    ),
    "infinite": Observed(WindowProfile(Profile(2, {"x": NumericColumn.of(pl.Series([np.inf, -np.inf]))}))),
    "one row": observed(np.random.default_rng(0), 1),
    "extremes": Observed(WindowProfile(Profile(2, {"x": NumericColumn.of(pl.Series([1e308, -1e308]))}))),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_no_window_stops_it(name: str) -> None:
    days = [*history(10), HistoryWindow(day(10), HOSTILE[name]), *history(12)[11:]]
    assert all(one.chance is None or np.isfinite(one.chance) for one in judge_history(days, CADENCE).verdicts)
    judged = judge_history(days, CADENCE, reference_windows=10)
    assert len(judged.verdicts) == 12
    assert all(one.chance is None or np.isfinite(one.chance) for one in judged.verdicts)
    assert judged.fold is not None
    values = judged.fold.whole.map.values([HOSTILE[name]])
    assert np.isfinite(values.y).all() and (values.n > 0).all()


def test_it_learns_first_and_says_how_far_it_is() -> None:
    verdicts = judge_history(history(9), CADENCE).verdicts
    assert [one.outcome for one in verdicts[:7]] == [Outcome.LEARNING] * 7
    assert verdicts[2].reason == "learning, 2 of 7 windows"
    assert verdicts[8].reason == "season not learnt yet: learning, 9 of 14 windows"


def test_gross_faults_are_seen_from_the_second_window_on() -> None:
    *_, last = judge_history(history(3, gone=0.6), CADENCE).verdicts
    assert last.outcome is Outcome.ALARM and last.notifies and last.suspicion is not None
    assert last.suspicion.kind is SuspectedKind.PIPELINE_FAULT
    assert {one.column for one in last.findings} == {"colour", "x"}
    assert not judge_history(history(3), CADENCE).verdicts[-1].findings
    empty = gross_faults(Observed(), Observed(), usual_rows=200)
    assert [one.column for one in empty] == ["rows"] and not gross_faults(Observed(), Observed(), usual_rows=3)


def test_a_model_that_gets_worse_while_its_inputs_stay_is_concept_drift() -> None:
    days = history(30, right=0.6)
    last = judge_history(days, CADENCE, reference=days[:28]).verdicts[-1]
    named = {one.role for one in last.findings}
    assert Role.PERFORMANCE in named and Role.FEATURE not in named
    assert last.suspicion is not None
    assert last.suspicion.kind in (SuspectedKind.CONCEPT_DRIFT, SuspectedKind.LABEL_FAULT)


def test_an_accepted_level_is_the_new_normal_of_a_history() -> None:
    rng = np.random.default_rng(7)
    days = [HistoryWindow(day(at), observed(rng, gone=0.3 * (at >= 20))) for at in range(36)]
    accepted = Accepted(days[29].window.end, days[20].window.start)
    verdicts = judge_history(days[14:], CADENCE, reference=days[:14], events=[accepted]).verdicts
    assert verdicts[6].notifies and verdicts[15].episode is not None
    assert {one.outcome for one in verdicts[16:]} == {Outcome.OK}


@pytest.mark.parametrize(
    ("values", "constant"),
    [
        (np.full(200, 0.5), True),
        (np.full(19, 0.5), None),  # few rows are often alike
        (np.linspace(50, 90, 200), False),  # where the reference has nothing scores are alike, and the numbers are not
        (np.linspace(8, 9, 200), False),
        (np.linspace(-1, 1, 200), False),
    ],
)
def test_numbers_are_called_the_same_only_where_they_are(values: np.ndarray, constant: bool | None) -> None:
    rng, grid = np.random.default_rng(3), Grid(0.0, 1.0)
    known = [NumericColumn.of(pl.Series([*rng.standard_normal(200), 30.0]), grid) for _ in range(28)]
    series = NumericSeries.of(known)
    counted = series.counted([NumericColumn.of(pl.Series(values), grid)])
    said = dict(zip(series.series(), zip(counted.y, counted.n, strict=True), strict=True))
    of = {one.measure: (one, float(y[0]), float(n[0])) for one, (y, n) in said.items()}
    scale, y, rows = of["scale"]
    assert rows == of["skew"][2] == (0 if constant is None else len(values)) and of["location"][2] == len(values)
    if constant is not None:
        assert finding_of(scale, 0.0, y).constant is constant


# ---- cadence -----------------------------------------------------------------------------------------------


def test_hours_are_judged_as_whole_days_of_their_time_zone() -> None:
    hourly = Cadence(WindowSpec("1h", "Europe/Berlin"))
    first = datetime(2024, 3, 30, 23, tzinfo=UTC)  # midnight of the day on which clocks go forward
    hours = [Window(first + timedelta(hours=at), first + timedelta(hours=at + 1)) for at in range(25)]
    rng = np.random.default_rng(0)
    parts = [
        HistoryWindow(one, observed(rng, 10), use=Use.JUDGE if at == 3 else Use.LEARN) for at, one in enumerate(hours)
    ]
    days = [merge(whole, own, hourly.single_slot) for whole, own in merged_by(parts, hourly.day_spec)]
    assert [one.observed.profile.predictions for one in days] == [230, 20]
    assert [hourly.slot(one.window) for one in days] == [6, 0]
    assert [one.use for one in days] == [Use.JUDGE, Use.LEARN]
    assert [slot for slot, _ in days[0].parts][:3] == [0, 1, 3]
    assert hourly.single_settings is not None and hourly.settings.share + hourly.single_settings.share == 1
    fixed = SeriesMap.of([observed(rng) for _ in range(7)])
    assert {one.kind for one in fixed.series if is_fault(one)} == {
        SeriesKind.MISSING,
        SeriesKind.NOVEL,
        SeriesKind.VOLUME,
    }


# ---- suspicion ---------------------------------------------------------------------------------------------


def finding(role: Role, column: str, kind: SeriesKind, segment: Segment | None = None) -> Finding:
    return Finding(role, column, kind.value, kind, 1, 0.5, 1e-3, segment=segment)


def outside(role: Role, share: float) -> Finding:
    return replace(finding(role, "z", SeriesKind.NOVEL), measure="outside", now=share)


MISSING = finding(Role.FEATURE, "x", SeriesKind.MISSING)
MOVED = finding(Role.FEATURE, "y", SeriesKind.LOCATION)
WORSE = finding(Role.PERFORMANCE, "accuracy", SeriesKind.PERFORMANCE)
LABELS = finding(Role.LABEL, "label", SeriesKind.SHARE)
WINTER = finding(Role.PERFORMANCE, "accuracy", SeriesKind.PERFORMANCE, Segment("season", "winter"))


@pytest.mark.parametrize(
    ("findings", "kind"),
    [
        ([MOVED, MISSING, WORSE], SuspectedKind.PIPELINE_FAULT),
        ([MOVED, WORSE], SuspectedKind.INPUT_DRIFT),
        ([WORSE], SuspectedKind.CONCEPT_DRIFT),
        ([LABELS, WORSE], SuspectedKind.LABEL_FAULT),
        ([WINTER], SuspectedKind.SEGMENT),
        ([finding(Role.PREDICTION, "prediction", SeriesKind.SHARE)], None),
        ([outside(Role.FEATURE, 0.02), MOVED], SuspectedKind.PIPELINE_FAULT),
        ([outside(Role.FEATURE, 0.9), MOVED], SuspectedKind.INPUT_DRIFT),
        ([outside(Role.LABEL, 0.02), WORSE], SuspectedKind.LABEL_FAULT),
        ([replace(finding(Role.FEATURE, "z", SeriesKind.NOVEL), usual=0.88, now=0.97)], SuspectedKind.INPUT_DRIFT),
        ([replace(finding(Role.FEATURE, "z", SeriesKind.NOVEL), usual=0.01, now=0.97)], SuspectedKind.PIPELINE_FAULT),
    ],
)
def test_what_moved_and_what_did_not_says_what_is_suspected(
    findings: list[Finding], kind: SuspectedKind | None
) -> None:
    assert suspect(findings).kind is kind


def test_a_pipeline_fault_mutes_the_drift_that_it_causes() -> None:
    assert suspect([MOVED, MISSING, WORSE]).muted == (MOVED, WORSE)
