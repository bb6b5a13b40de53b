"""Backtests a model's configuration on a history: what would have fired, how often, and how late."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime

from driftline.detection import HistoryWindow, turns_of
from driftline.engines.stored import StoredProfiles
from driftline.errors import DataError
from driftline.events import WHOLE
from driftline.lookalikes import shown
from driftline.monitoring.assess import Arrived
from driftline.monitoring.budget import (
    cadence_of,
    detail_of,
    judge_all,
    judged_windows,
    reference_windows,
    rule_of,
    verdict_of,
)
from driftline.monitoring.feedback import Guidance, guidance_for
from driftline.monitoring.layouts import layout_of_setup
from driftline.monitoring.model import read_reference, rows_as_served
from driftline.monitoring.options import Budget, ModelConfig
from driftline.monitoring.replay import Replayed, replay_profiles, replay_rows, replay_windows, tracks_of
from driftline.monitoring.setup import ModelSetup
from driftline.profiles.layout import Layout
from driftline.rules import JudgedWindow
from driftline.rules.backtest import Backtest, Track, backtest_of
from driftline.store.feedback import FeedbackRow
from driftline.store.windows import WindowRow

Progress = Callable[[float], None] | None
"""Is told the share of the work that is done, 0 to 1."""


@dataclass(frozen=True, slots=True)
class Subject:
    """A model to be backtested, and the windows of its reference; none where that has no times.

    ``until`` is the end of the last window that the reference has rows in, None where it has no times.
    """

    setup: ModelSetup
    reference: Sequence[HistoryWindow]
    until: datetime | None = None


def subject_of(config: ModelConfig) -> Subject:
    """Read what a model's windows are profiled with and judged by; errors as of `read_reference`."""
    schema, reference, rows = read_reference(config)
    setup = ModelSetup(config, schema, reference)
    newest = rows["time"].max() if "time" in rows.columns else None
    until = config.window.window_of(newest).end if isinstance(newest, datetime) else None
    return Subject(setup, reference_windows(setup, rows) if config.budget is not None else (), until)


def backtest_rows(subject: Subject, history: str, *, changed: datetime | None, progress: Progress = None) -> Backtest:
    """Backtest on the rows of a file, a pattern or an address, with times. A label that it has is known at once.

    Raises `UsageError` for what is not there or has no times, `DataError` for what is broken or has no rows.
    """
    setup = subject.setup
    rows = rows_as_served(history, setup.config)
    replayed = list(replay_rows(setup, rows, _shares(progress)))
    if not replayed:
        raise DataError(f"{history} has no row with a time; a backtest judges windows of time")
    return _backtest(subject, replayed, changed, guidance_for(setup.config, ()))


def backtest_profiles(
    subject: Subject, stored: StoredProfiles, *, changed: datetime | None, progress: Progress = None
) -> Backtest:
    """Backtest on the profiles that `driftline profile` has made of a history: as on its rows, but that no row is read.

    Raises `DataError` for profiles of another layout than the model's, or without a window.
    """
    setup = subject.setup
    require_layout(stored, layout_of_setup(setup), setup.name)
    replayed = list(replay_profiles(setup, stored.table, _shares(progress)))
    if not replayed:
        raise DataError(f"{stored.name} has no row with a time; a backtest judges windows of time")
    notes = [f"{note}." for note in stored.notes]
    if stored.model != setup.name:
        notes.append(f"{stored.name} has profiles of the model {shown(stored.model)}, not of {shown(setup.name)}.")
    if setup.config.measures:
        names = ", ".join(sorted(setup.config.measures))
        notes.append(f"Measures of one's own are left out ({names}): they rest on rows, which profiles do not have.")
    return _backtest(subject, replayed, changed, guidance_for(setup.config, ()), notes=notes)


def require_layout(stored: StoredProfiles, layout: Layout, model: str) -> None:
    """Refuse profiles that cannot be compared with a model's reference."""
    if stored.layout.digest == layout.digest:
        return
    differs = " and ".join(stored.layout.differences(layout))
    raise DataError(
        f"{stored.name} has profiles of {shown(stored.model)} that were made with another configuration or reference "
        f"than that of {shown(model)}: the {differs} differ; profile the rows again with this configuration"
    )


def backtest_windows(
    subject: Subject,
    stored: Sequence[WindowRow],
    come: Arrived,
    said: Iterable[FeedbackRow],
    *,
    changed: datetime | None,
    progress: Progress = None,
) -> Backtest:
    """Backtest on the stored windows of a served model, in order of time, whose events have ``come`` so far.

    The detector is guided by what people ``said`` of them.
    """
    replayed = replay_windows(subject.setup, stored, come, _shares(progress))
    return _backtest(subject, replayed, changed, guidance_for(subject.setup.config, said), come.watermark)


def _backtest(
    subject: Subject,
    windows: Iterable[Replayed],
    changed: datetime | None,
    guidance: Guidance,
    until: datetime | None = None,
    notes: Sequence[str] = (),
) -> Backtest:
    setup, budget = subject.setup, subject.setup.config.budget
    subject, replayed, note = _after_reference(subject, list(windows))
    tracks = tracks_of(setup, replayed)
    if budget is not None:
        tracks.insert(0, detector_track(subject, budget, replayed, guidance, until))
    return backtest_of(
        setup.name,
        [one.window for one in replayed],
        tracks,
        changed=changed,
        budget=None if budget is None else budget.per_year,
        timezone=setup.config.window.timezone,
        notes=(*([note] if note else []), *notes),
    )


def _after_reference(subject: Subject, every: list[Replayed]) -> tuple[Subject, list[Replayed], str]:
    """Leave out the windows that the reference has rows in, or that came before it; say in words what was done.

    What was learnt from cannot be judged. Where no window comes after it, all are judged, and the detector learns from
    the first of them as if the reference had no times.
    """
    until = subject.until
    if until is None:
        return subject, every, ""
    after = [one for one in every if one.window.start >= until]
    if not after and every:
        note = "No window comes after the reference: all are judged, also those that the reference has rows of."
        return replace(subject, reference=()), every, note
    left_out = len(every) - len(after)
    windows = "1 window is" if left_out == 1 else f"{left_out:,} windows are"
    note = f"{windows} not judged: the reference has rows of the same time, or later ones." if left_out else ""
    return subject, after, note


def detector_track(
    subject: Subject,
    budget: Budget,
    replayed: Sequence[Replayed],
    guidance: Guidance | None = None,
    until: datetime | None = None,
) -> Track:
    """What the detector says of a history, with the guidance of its configuration if no other is given.

    Event time has come ``until`` a moment, or to the end of the last window.

    It learns from the windows of the reference, or where these are too few from the first ones of the history.
    """
    setup, cadence = subject.setup, cadence_of(subject.setup.config, budget)
    known = ((one.window, one.observed, one.labelled) for one in replayed)
    guidance = guidance_for(setup.config, ()) if guidance is None else guidance
    windows = judged_windows(known, cadence, guidance, until)
    said = judge_all(setup, budget, list(turns_of(windows, cadence, until)), subject.reference, guidance)
    judged = [JudgedWindow(one.window, verdict_of(one, cadence)) for one in said]
    details = {one.window.start: detail_of(one, cadence) for one in said if one.findings}
    return Track(rule_of(setup.config), WHOLE, judged, details, guidance.endings)


def _shares(progress: Progress) -> Callable[[int, int], None]:
    return lambda done, of: progress(done / of if of else 1.0) if progress is not None else None
