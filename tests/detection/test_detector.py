"""The detector: what it is held to by an oracle, by laws, and by stories of single alarms."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from functools import cache

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.special import log_ndtr

from benchmarks.detection import oracle
from benchmarks.detection.streams import DAY_EFFECTS, IID, REALISTIC, Change, Scenario, Stream, make_stream, windows
from driftline.detection import (
    Basis,
    Cadence,
    Detector,
    DetectorState,
    DetectorVerdict,
    HistoryWindow,
    Outcome,
    Role,
    Series,
    SeriesKind,
    SeriesWindow,
    Settings,
    Use,
)
from driftline.detection.scores import WindowScores, evidence
from driftline.detection.series import Side
from driftline.detection.series_map import Observed, SeriesMap
from driftline.errors import UsageError
from driftline.events import Window, WindowSpec
from driftline.profiles.segments import SegmentProfile, SegmentProfiles
from driftline.sketches import decode, encode

CADENCE = Cadence(WindowSpec("1d"))
START = datetime(2024, 1, 1, tzinfo=UTC)


@cache
def made(scenario: Scenario, seed: int, change: Change, count: int) -> tuple[Stream, list[HistoryWindow]]:
    stream = make_stream(scenario, seed, change, after=10, windows=count)
    return stream, windows(stream)


@cache
def ready() -> tuple[Basis, DetectorState, list[SeriesWindow]]:
    stream, history = made(replace(REALISTIC, columns=3), 3, Change("mean", 1.0), 60)
    reference = history[: stream.reference]
    basis = Basis.of(reference, CADENCE)
    return basis, basis.start(reference), basis.windows(history[stream.reference :])


def drawn(rng: np.random.Generator, day: int, *, y: float = 0.0, rows: float = 1000.0, series: int = 5) -> SeriesWindow:
    """A window of independent series around 0, or around ``y``."""
    start = START + timedelta(days=day)
    values = y + rng.standard_normal(series) / np.sqrt(rows)
    return SeriesWindow(Window(start, start + timedelta(days=1)), day % 7, values, np.full(series, rows))


def simple(series: int = 5, role: Role = Role.FEATURE, **settings: float) -> Detector:
    of = [Series(role, f"x{i}", "location", SeriesKind.LOCATION, 1 / series) for i in range(series)]
    return Detector(tuple(of), Settings(**settings))  # type: ignore[arg-type]


def said(verdicts: list[DetectorVerdict]) -> list[tuple[object, ...]]:
    return [(one.outcome, one.chance, one.findings, one.episode, one.notifies) for one in verdicts]


# ---- the oracle --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("scenario", "seed", "change"),
    [
        (replace(REALISTIC, columns=12), 11, Change("mean", 0.5)),
        (replace(REALISTIC, columns=8, reference=10, rows=100, annual=0.5), 12, Change("missing", 0.1)),
        (replace(DAY_EFFECTS, columns=8, reference=14), 13, Change("new_cat", 0.02)),
    ],
    ids=["shift", "few windows", "new category"],
)
def test_it_says_what_the_oracle_says(scenario: Scenario, seed: int, change: Change) -> None:
    stream, history = made(scenario, seed, change, 110)
    basis = Basis.of(history[: stream.reference], CADENCE)
    _, verdicts = basis.detector.fold(
        basis.start(history[: stream.reference]), basis.windows(history[stream.reference :])
    )
    expected = oracle.judge(stream)
    assert [one.outcome is Outcome.ALARM for one in verdicts] == [one.alarm for one in expected]
    scores = [-np.log(2 * (one.chance or 1)) for one in verdicts]
    np.testing.assert_allclose(scores, [one.score for one in expected], atol=0.05)  # cells near each other are merged
    for mine, theirs in zip(verdicts, expected, strict=True):
        assert [one.column for one in mine.findings] == [name for name, _ in theirs.named]
        np.testing.assert_allclose(
            [one.shift for one in mine.findings], [shift for _, shift in theirs.named], atol=0.01
        )
    assert any(one.alarm for one in expected)


# ---- laws --------------------------------------------------------------------------------------------------


@settings(max_examples=4, deadline=None)
@given(st.integers(0, 59))
def test_folding_on_from_a_stored_state_is_as_if_it_had_never_stopped(stop: int) -> None:
    basis, start, rest = ready()
    end, verdicts = basis.detector.fold(start, rest)
    half, first = basis.detector.fold(start, rest[:stop])
    stored = decode(encode(half), DetectorState)
    assert stored == half
    again, second = basis.detector.fold(stored, rest[stop:])
    assert again == end
    assert said(first + second) == said(verdicts)


@settings(max_examples=4, deadline=None)
@given(st.integers(0, 59), st.integers(0, 59))
def test_a_window_judged_again_needs_only_the_fold_from_before_it(changed: int, stop: int) -> None:
    basis, start, rest = ready()
    other = [*rest]
    other[changed] = replace(rest[changed], y=rest[changed].y + 0.3)
    before, _ = basis.detector.fold(start, rest[: min(stop, changed)])
    assert basis.detector.fold(before, other[min(stop, changed) :])[0] == basis.detector.fold(start, other)[0]


@given(st.integers(2, 28), st.integers(0, 2**32 - 1))
def test_without_correlation_and_doubt_a_lookback_is_the_sum_over_the_root(m: int, seed: int) -> None:
    score = np.random.default_rng(seed).standard_normal((28, 1))
    recent = [WindowScores(one, np.full(1, 2.0), np.zeros(1), np.zeros(1), one / 2) for one in score]
    found = evidence(recent, np.zeros(1), [Side.RISE], [m])
    assert found.log_chance[0] == pytest.approx(log_ndtr(-score[-m:].sum() / np.sqrt(m)), rel=1e-9)
    assert found.shift[0] == pytest.approx(score[-m:].mean() / 2)


@pytest.mark.parametrize("scenario", [IID, REALISTIC], ids=["iid", "realistic"])
def test_scores_of_windows_without_a_change_are_standard_normal(scenario: Scenario) -> None:
    stream = make_stream(scenario, 31, windows=80)
    history = windows(stream)
    basis = Basis.of(history[: stream.reference], CADENCE)
    state, scores = basis.start(history[: stream.reference]), []
    for window in basis.windows(history[stream.reference :]):
        state, _ = basis.detector.step(state, window)
        scores.append(state.recent[-1].score)
    for kind in (SeriesKind.LOCATION, SeriesKind.SHAPE, SeriesKind.SHARE):
        of_kind = np.array(scores)[:, [one.kind is kind for one in basis.map.series]]
        assert of_kind.mean() == pytest.approx(0, abs=0.12)
        assert of_kind.std() == pytest.approx(1, abs=0.1)


def test_an_alarm_is_below_the_share_of_the_budget_that_the_weight_gives() -> None:
    plain = simple(series=4)
    assert plain.settings.threshold == pytest.approx(np.log(2 * 90 * 6))
    assert simple(series=4, share=0.1).settings.threshold == pytest.approx(np.log(2 * 90 * 6 / 0.1))


# ---- stories -----------------------------------------------------------------------------------------------


def calm(detector: Detector, days: int = 28, seed: int = 1) -> tuple[DetectorState, np.random.Generator]:
    rng = np.random.default_rng(seed)
    return detector.start([drawn(rng, day, series=len(detector.series)) for day in range(days)]), rng


def shifted(window: SeriesWindow, *places: int, by: float = 0.5) -> SeriesWindow:
    y = window.y.copy()
    y[list(places)] += by
    return replace(window, y=y)


def test_an_alarm_opens_names_what_moved_and_closes_after_seven_quiet_windows() -> None:
    detector = simple()
    state, rng = calm(detector)
    day = iter(range(28, 100))
    state, verdict = detector.step(state, shifted(drawn(rng, next(day)), 2))
    assert verdict.opens and verdict.notifies and verdict.episode is not None and verdict.episode.number == 1
    [finding] = verdict.findings
    assert finding.column == "x2" and finding.lookback == 1 and finding.shift == pytest.approx(0.5, abs=0.15)
    assert verdict.chance is not None and verdict.chance < 0.5
    state, verdict = detector.step(state, shifted(drawn(rng, next(day)), 2))
    assert verdict.outcome is Outcome.ALARM and not verdict.opens and not verdict.notifies
    state, verdict = detector.step(state, shifted(drawn(rng, next(day)), 2, 4))
    assert verdict.notifies and not verdict.opens, "a column that was not named yet notifies again"
    closed = None
    for _ in range(45):
        state, verdict = detector.step(state, drawn(rng, next(day)))
        closed = closed or verdict.closed
    assert closed is not None and closed.number == 1 and [name for _, name, _ in closed.named] == ["x2", "x4"]
    assert state.episode is None


def test_values_that_go_missing_are_news_in_a_column_that_has_drifted_and_after_those_of_another() -> None:
    kinds = (("a", SeriesKind.LOCATION), ("a", SeriesKind.MISSING), ("b", SeriesKind.MISSING))
    series = [Series(Role.FEATURE, name, kind.value, kind, 1 / 3) for name, kind in kinds]
    detector = Detector(tuple(series), Settings())
    state, rng = calm(detector)
    notified = []
    for day, places in enumerate([(0,), (0, 2), (0, 2), (0,), (0, 1), (0, 1)], 28):
        state, verdict = detector.step(state, shifted(drawn(rng, day, series=3), *places))
        notified.append(verdict.notifies)
    assert notified == [True, True, False, False, True, False]


def test_an_accepted_new_normal_ends_the_alarm_and_the_old_level_is_news() -> None:
    detector = simple()
    state, rng = calm(detector)
    state, _ = detector.fold(state, [shifted(drawn(rng, day), 2) for day in range(28, 38)])
    assert state.episode is not None
    with pytest.raises(UsageError, match="needs at least 7"):
        detector.accept(state, START + timedelta(days=35))
    state = detector.accept(state, START + timedelta(days=28))
    assert state.episode is None
    state, verdicts = detector.fold(state, [shifted(drawn(rng, day), 2) for day in range(38, 50)])
    assert {one.outcome for one in verdicts} == {Outcome.OK}
    _, verdict = detector.step(state, drawn(rng, 50))
    assert [one.column for one in verdict.findings] == ["x2"]


def test_what_rests_on_labels_has_a_clock_of_its_own() -> None:
    detector = simple(role=Role.PERFORMANCE)
    state, rng = calm(detector)
    waiting = replace(shifted(drawn(rng, 28), 0), labelled=False)
    after, verdict = detector.step(state, waiting)
    assert verdict.outcome is Outcome.OK and not after.recent_labelled
    _, verdict = detector.step(state, replace(waiting, labelled=True))
    assert [one.column for one in verdict.findings] == ["x0"]
    small = [replace(shifted(drawn(rng, day), 0, by=0.06), labelled=day % 2 == 0) for day in range(28, 56)]
    _, verdicts = detector.fold(state, small)
    found = [one for one in verdicts if one.findings]
    assert found and max(finding.lookback for one in found for finding in one.findings) >= 4


def test_windows_left_out_are_not_learnt_from_and_no_ordinary_day_is_not_judged() -> None:
    detector = simple()
    rng = np.random.default_rng(5)
    odd = [replace(shifted(drawn(rng, day), 0, by=3.0), use=Use.JUDGE) for day in range(28, 35)]
    state = detector.start([*(drawn(rng, day) for day in range(28)), *odd])
    assert abs(state.baseline.level[0]) < 0.05
    after, verdict = detector.step(state, replace(shifted(drawn(rng, 35), 0), use=Use.SKIP))
    assert verdict.outcome is Outcome.SKIPPED and after.recent == state.recent
    with pytest.raises(UsageError, match="6 reference windows"):
        detector.start([drawn(rng, day) for day in range(6)])


def test_a_rolling_baseline_follows_slow_drift_and_sees_a_step_for_a_while() -> None:
    """The other one has both for good: it says that things are not as they were, the rolling one that they change."""
    rolling = Cadence(WindowSpec("1d"), rolling=timedelta(days=28)).settings
    assert (rolling.most_windows, rolling.hold_back, rolling.rolling) == (28, 7, True)
    for course, opens in ((lambda day: (day - 28) * 0.0005, False), (lambda day: 0.5 * (day >= 70), True)):
        for which in (Settings(), rolling):
            detector = replace(simple(), settings=which)
            state, rng = calm(detector)
            _, verdicts = detector.fold(state, [drawn(rng, day, y=course(day)) for day in range(28, 200)])
            days = [(one.window.start - START).days for one in verdicts if one.opens]
            assert bool(days) is (opens or which != rolling)
            assert (verdicts[-1].episode is not None) is (which != rolling)
            if opens:
                assert days == [70]
            if opens and which == rolling:  # the new level is all that it is held against, and a week is quiet
                [closed] = [(one.window.start - START).days for one in verdicts if one.closed]
                assert closed <= 70 + 28 + 2 * 7 + 7


def test_a_rolling_baseline_is_that_of_the_newest_windows_but_seven() -> None:
    detector = replace(simple(), settings=Cadence(WindowSpec("1d"), rolling=timedelta(days=14)).settings)
    rng = np.random.default_rng(1)
    state = detector.start([drawn(rng, day) for day in range(40)])
    assert state.baseline.windows == 14
    state, _ = detector.fold(state, [drawn(rng, day, y=0.001 * day) for day in range(40, 82)])
    assert (state.baseline.windows, state.learnt_until) == (14, 75)
    known = {one.position: one.y for one in state.history}
    assert np.allclose(state.baseline.level, np.mean([known[place] for place in range(61, 75)], axis=0), atol=0.02)


def test_it_says_that_the_season_is_not_learnt_yet() -> None:
    detector = simple()
    state, rng = calm(detector, days=9)
    _, verdict = detector.step(state, drawn(rng, 9))
    assert verdict.reason == "season not learnt yet: learning, 10 of 14 windows"
    state, rng = calm(detector, days=14)
    assert detector.step(state, drawn(rng, 14))[1].reason == ""


def test_weeks_have_no_season() -> None:
    detector, rng = simple(period=1), np.random.default_rng(1)
    weeks = [replace(drawn(rng, at), slot=0) for at in range(35)]
    state = detector.start(weeks[:28])
    assert not state.baseline.season.any()
    assert {one.outcome for one in detector.fold(state, weeks[28:])[1]} == {Outcome.OK}


def test_a_segment_column_that_the_reference_never_had_is_not_held_up_when_it_comes() -> None:
    """The first rows that name a season are no fall of those without one from 99 to 1 %."""

    def window(**rows: int) -> Observed:
        seasons = {"(missing)" if name == "nothing" else name: SegmentProfile(count) for name, count in rows.items()}
        countries = {"DE": SegmentProfile(60), "(missing)": SegmentProfile(40)}
        return Observed(segments=SegmentProfiles({"season": seasons, "country": countries}))

    known = SeriesMap.of([window(nothing=100)] * 14).segments
    assert {one.segment.words for one in known} == {"country = DE", "country = (missing)"}
    assert len(SeriesMap.of([window(nothing=100), window(nothing=99, winter=1)]).segments) == 4
