"""Tests of a configuration: given some windows, these alerts fire and no others."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, date, datetime, time, timedelta
from typing import Annotated, Literal
from zoneinfo import ZoneInfo

import msgspec
import numpy as np
import polars as pl
from msgspec import Meta

from driftline.detection import Cadence
from driftline.errors import UnknownNameError, UsageError
from driftline.events import WHOLE, Window, WindowSpec
from driftline.fields import Count, Short, Text
from driftline.lookalikes import shown
from driftline.monitoring.backtest import Subject, detector_track
from driftline.monitoring.model import read_reference, rows_as_served
from driftline.monitoring.options import ModelConfig
from driftline.monitoring.replay import replay_rows, tracks_of
from driftline.monitoring.setup import ModelSetup
from driftline.rules import JudgedWindow, Rule, interval_confidence, judge
from driftline.rules.backtest import BUDGET, Backtest, BacktestAlert, Track, backtest_of
from driftline.statistics import Measure
from driftline.text.numbers import exact

LEARNT_WINDOWS = 28
"""So many windows without a change come before the first day: the detector learns from these."""

_BEGIN = date(2024, 1, 1)
_DAY = timedelta(days=1)
_UNSEEN = "driftline: unseen"

# ---- what a file of tests says ---------------------------------------------------------------------------------------

ChangeKind = Literal["shift", "scale", "missing", "unseen", "volume"]
"""``shift`` by so many standard deviations, ``scale`` by a factor, a share of ``missing`` values or of ``unseen`` ones,
``volume`` by a factor.
"""


class ChangeSection(msgspec.Struct, forbid_unknown_fields=True, frozen=True, rename={"since": "from"}):
    """What changes in generated rows, from a day on; days count from 1."""

    kind: ChangeKind
    size: float
    column: Text | None = None
    since: Count = 1


class GenerateSection(msgspec.Struct, forbid_unknown_fields=True, frozen=True):
    """Rows that are drawn from those of the reference: so many ``rows`` on each of so many ``days``."""

    days: Annotated[int, Meta(ge=1, le=3660)]
    rows: Annotated[int, Meta(ge=1, le=100_000)] = 200
    change: ChangeSection | None = None
    seed: Annotated[int, Meta(ge=0, le=2**32)] = 0


class GivenMeasure(msgspec.Struct, forbid_unknown_fields=True, frozen=True):
    """A measure of one window: its value, the ends of the interval that the rule compares, and its rows."""

    value: float
    low: float | None = None
    high: float | None = None
    n: Count | None = None


class ExpectSection(msgspec.Struct, forbid_unknown_fields=True, frozen=True, rename={"since": "from"}):
    """An alert that is expected to fire in one of the days, or given windows, ``from`` … ``until``, both counted."""

    rule: Short
    column: Text | None = None
    since: Count = 1
    until: Count | None = None


class RuleTestSection(msgspec.Struct, forbid_unknown_fields=True, frozen=True):
    """One test: windows that are given or generated, and the alerts that are expected; no others may fire."""

    name: Text
    model: Text | None = None
    windows: Annotated[list[dict[str, float | GivenMeasure]], Meta(min_length=1)] | None = None
    generate: GenerateSection | None = None
    expect: list[ExpectSection] = []


# ---- what came of it -------------------------------------------------------------------------------------------------


class FiredAlert(msgspec.Struct, frozen=True, rename={"since": "from"}):
    """An alert that fired in the days, or given windows, ``from`` … ``until``: those of the window that notified."""

    rule: str
    columns: tuple[str, ...]
    since: int
    until: int
    slice: str = ""
    reason: str = ""


class RuleTestResult(msgspec.Struct, frozen=True):
    """A test that was run: it passed where there are no ``failures``, which say what was expected and what fired."""

    name: str
    model: str
    passed: bool
    failures: tuple[str, ...]
    alerts: tuple[FiredAlert, ...]


class RuleTestResults(msgspec.Struct, frozen=True):
    """How many tests passed and failed, and each of them."""

    passed: int
    failed: int
    tests: tuple[RuleTestResult, ...]

    @classmethod
    def of(cls, tests: Sequence[RuleTestResult]) -> RuleTestResults:
        """Count them."""
        passed = sum(one.passed for one in tests)
        return cls(passed, len(tests) - passed, tuple(tests))


def run_rule_test(config: ModelConfig, test: RuleTestSection) -> RuleTestResult:
    """Run one test on the model that it is of.

    Raises `UsageError` and `DataError` for what cannot be run: windows both given and generated, a rule, measure or
    column that is not there, a reference that cannot be read.
    """
    known = [*(rule.name for rule in config.rules), *([] if config.budget is None else [BUDGET])]
    for one in test.expect:
        if one.rule not in known:
            raise UnknownNameError("rule", one.rule, known)
        if one.until is not None and one.until < one.since:
            raise UsageError(f"expect: from {one.since} until {one.until} came; the end is before the beginning")
    if (test.windows is None) == (test.generate is None):
        raise UsageError("each test has either `windows` or `generate`")
    fired = _of_given(config, test.windows) if test.windows is not None else _of_generated(config, test.generate)
    failures = tuple(_failures(test.expect, fired))
    return RuleTestResult(test.name, config.name, not failures, failures, tuple(fired))


def _failures(expected: Sequence[ExpectSection], fired: Sequence[FiredAlert]) -> Iterator[str]:
    for want in expected:
        if not any(_meets(want, one) for one in fired):
            of = "nothing" if not fired else "; ".join(_told(one) for one in fired)
            yield f"expected {_wanted(want)}; fired: {of}"
    for one in fired:
        if not any(_meets(want, one) for want in expected):
            yield f"not expected, but fired: {_told(one)}{f': {one.reason}' if one.reason else ''}"


def _meets(want: ExpectSection, one: FiredAlert) -> bool:
    column = want.column is None or want.column in one.columns
    return one.rule == want.rule and column and one.until >= want.since and one.since <= (want.until or math.inf)


def _wanted(want: ExpectSection) -> str:
    of = f" on {shown(want.column)}" if want.column is not None else ""
    return f"{want.rule}{of} from {want.since} {f'until {want.until}' if want.until is not None else 'on'}"


def _told(one: FiredAlert) -> str:
    on = f" on {', '.join(shown(name) for name in one.columns)}" if one.columns else ""
    of = f" ({one.slice})" if one.slice else ""
    return f"{one.rule}{of}{on} at {one.since}" + (f" to {one.until}" if one.until > one.since else "")


# ---- given windows ---------------------------------------------------------------------------------------------------


def _of_given(config: ModelConfig, given: Sequence[Mapping[str, float | GivenMeasure]]) -> list[FiredAlert]:
    """The alerts of the rules on all rows; the detector judges no values."""
    asked = {rule.measure for rule in config.rules}
    for name in (name for one in given for name in one):
        if name not in asked:
            raise UnknownNameError("measure of a rule", name, asked)
    begin = datetime.combine(_BEGIN, time(), UTC)
    spans = [Window(begin + place * _DAY, begin + (place + 1) * _DAY) for place in range(len(given))]
    tracks = [
        Track(rule, WHOLE, [_judged(rule, span, one.get(rule.measure)) for span, one in zip(spans, given, strict=True)])
        for rule in config.rules
    ]
    return _fired(backtest_of(config.name, spans, tracks), begin)


def _judged(rule: Rule, span: Window, given: float | GivenMeasure | None) -> JudgedWindow:
    if given is None:
        return JudgedWindow(span, judge(rule, Measure(rule.measure, problem="it is not given")))
    one = given if isinstance(given, GivenMeasure) else GivenMeasure(given)
    rows, confidence = max(rule.min_samples, 1) if one.n is None else one.n, interval_confidence(rule)
    measure = Measure(rule.measure, one.value, one.low, one.high, n=rows, confidence=confidence)
    return JudgedWindow(span, judge(rule, measure))


def _fired(found: Backtest, begin: datetime) -> list[FiredAlert]:
    return [_alert(one, begin) for one in found.alerts]


def _alert(one: BacktestAlert, begin: datetime) -> FiredAlert:
    first = math.floor((one.window.start - begin) / _DAY + 1e-6) + 1
    last = max(math.ceil((one.window.end - begin) / _DAY - 0.1), first)  # a day in which clocks change is one
    columns = tuple(dict.fromkeys(finding.column for finding in one.findings))
    return FiredAlert(one.rule, columns, max(first, 1), last, one.slice, one.reason)


# ---- generated windows -----------------------------------------------------------------------------------------------


def _of_generated(config: ModelConfig, generate: GenerateSection | None) -> list[FiredAlert]:
    assert generate is not None  # one of both is there
    schema, reference, _ = read_reference(config)
    setup = ModelSetup(config, schema, reference)
    rows = rows_as_served(config.reference, config)
    _, first = _begins(config)
    drawn = generate_rows(config, rows, generate, np.random.default_rng(generate.seed))
    replayed = list(replay_rows(setup, drawn))
    judged = [one for one in replayed if one.window.start >= first]
    tracks = tracks_of(setup, judged)
    if config.budget is not None:
        track = detector_track(Subject(setup, ()), config.budget, replayed)
        if track is not None:
            tracks.append(replace(track, judged=[one for one in track.judged if one.window.start >= first]))
    return _fired(backtest_of(config.name, [one.window for one in judged], tracks), first)


def _begins(config: ModelConfig) -> tuple[datetime, datetime]:
    """When the windows that the detector learns from begin, and when the first day does; aware UTC."""
    window = config.window
    spec = WindowSpec("1d", window.timezone) if Cadence(window).below_a_day else window
    begin = spec.window_of(datetime.combine(_BEGIN, time(12), ZoneInfo(window.timezone)).astimezone(UTC)).start
    first = begin
    for _ in range(LEARNT_WINDOWS if config.budget is not None else 0):
        first = spec.window_of(first).end
    return begin, first


def generate_rows(
    config: ModelConfig, reference: pl.DataFrame, generate: GenerateSection, rng: np.random.Generator
) -> pl.DataFrame:
    """Draw rows with replacement from those of a reference, shape (n, columns), and change them from a day on.

    Before the first day come days without a change, which the detector learns from. Where the reference is one of the
    time of year, the rows of a day are drawn from those of its month, if there are any.
    """
    time_column = config.columns.time
    if time_column is None:
        raise UsageError(f"models.{config.name}.columns.time is not set; generated rows have times")
    zone = ZoneInfo(config.window.timezone)
    (begin, first), change = _begins(config), generate.change
    change_day = _day_of(first, zone) + timedelta(days=(change.since if change is not None else 1) - 1)
    last = _day_of(first, zone) + timedelta(days=generate.days - 1)
    pools = _pools(config, reference, time_column)
    places, times, changed = list[np.ndarray](), list[np.ndarray](), list[bool]()
    for offset in range((last - _day_of(begin, zone)).days + 1):
        day = _day_of(begin, zone) + timedelta(days=offset)
        is_changed = change is not None and day >= change_day
        more = change.size if change is not None and is_changed and change.kind == "volume" else 1.0
        count = max(round(generate.rows * more), 0)
        pool = pools.get(day.month, pools[0])
        places.append(pool[rng.integers(0, len(pool), count)])
        start = int(datetime.combine(day, time(), zone).timestamp() * 1e6)
        times.append(start + np.arange(count) * 86_000_000_000 // max(count, 1))
        changed += [is_changed] * count
    drawn = reference[np.concatenate(places)].with_columns(
        pl.Series(time_column, np.concatenate(times)).cast(pl.Datetime("us")).dt.replace_time_zone("UTC")
    )
    if config.columns.id is not None and config.columns.id in drawn.columns:
        drawn = drawn.with_columns(pl.int_range(pl.len()).cast(pl.String).alias(config.columns.id))
    if change is None or change.kind == "volume":
        return drawn
    return _changed(drawn, reference, change, pl.Series(changed, dtype=pl.Boolean), rng)


def _day_of(moment: datetime, zone: ZoneInfo) -> date:
    return moment.astimezone(zone).date()


def _pools(config: ModelConfig, reference: pl.DataFrame, time_column: str) -> dict[int, np.ndarray]:
    """The places of the rows that are drawn from, by month; 0 has all of them."""
    pools = {0: np.arange(reference.height)}
    times = reference.get_column(time_column, default=None)
    if config.season == "yearly" and times is not None and times.dtype.is_temporal():
        months = times.dt.month().fill_null(0).to_numpy()
        pools |= {month: np.flatnonzero(months == month) for month in range(1, 13) if (months == month).any()}
    return pools


def _changed(
    drawn: pl.DataFrame, reference: pl.DataFrame, change: ChangeSection, where: pl.Series, rng: np.random.Generator
) -> pl.DataFrame:
    name, size = change.column, change.size
    if name is None:
        raise UsageError(f"change: the kind {change.kind} is of a column; name it with `column`")
    if name not in reference.columns:
        raise UnknownNameError("column", name, reference.columns)
    column, values = pl.col(name), reference[name]
    if change.kind in ("missing", "unseen"):
        if not 0 <= size <= 1:
            raise UsageError(f"change: size {exact(size)} came; the kind {change.kind} takes a share, 0 to 1")
        where = where & pl.Series(rng.random(drawn.height) < size)
    elif not values.dtype.is_numeric():
        raise UsageError(f"change: {shown(name)} has no numbers; allowed are the kinds missing and unseen")
    else:
        column, values = column.cast(pl.Float64), values.cast(pl.Float64)
    return drawn.with_columns(pl.when(where).then(_new_values(change, column, values)).otherwise(column).alias(name))


def _new_values(change: ChangeSection, column: pl.Expr, values: pl.Series) -> pl.Expr:
    if change.kind == "missing":
        return pl.lit(None)
    if change.kind == "unseen":
        if not values.dtype.is_numeric():
            return pl.lit(_UNSEEN)
        least, most = float(values.min() or 0), float(values.max() or 0)  # type: ignore[arg-type]  # they are numbers
        return pl.lit(most + (most - least or 1.0)).cast(values.dtype)
    if change.kind == "shift":
        shifted: pl.Expr = column + change.size * float(values.std() or 0)  # type: ignore[arg-type]
        return shifted
    middle = float(values.mean() or 0)  # type: ignore[arg-type]
    scaled: pl.Expr = (column - middle) * change.size + middle
    return scaled
