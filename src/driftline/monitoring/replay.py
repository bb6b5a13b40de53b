"""Replays a history through the code that judges live windows: rows of a file, or the windows of a service."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import reduce
from itertools import groupby

import polars as pl

from driftline.detection import Observed
from driftline.errors import UsageError
from driftline.events import WHOLE, Slice, Window
from driftline.lookalikes import shown
from driftline.monitoring.assess import Arrived, Assessment, assess, sliced, stage_of
from driftline.monitoring.own import functions_on
from driftline.monitoring.segments import profile, stored_profiles
from driftline.monitoring.setup import ModelSetup
from driftline.profiles import WindowProfile, canonical
from driftline.profiles.by_window import Profiled, by_window, in_calendar
from driftline.profiles.segments import SegmentProfiles
from driftline.profiles.table import ProfileTable
from driftline.rules import JudgedWindow
from driftline.rules.backtest import Track
from driftline.sources.own import Replicates
from driftline.store.windows import WindowRow


@dataclass(frozen=True, slots=True)
class Replayed:
    """One window of a history: the profiles of its rows and of its segments, and what the rules say of it.

    It is not ``labelled`` where labels are still to come: then nothing is said of what rests on them.
    """

    window: Window
    observed: Observed
    assessment: Assessment
    labelled: bool = True


def replay_rows(
    setup: ModelSetup, rows: pl.DataFrame, progress: Callable[[int, int], None] = lambda done, of: None
) -> Iterator[Replayed]:
    """Judge each window of a file's rows, shape (n, columns), in order of event time, with all labels that there are.
    Without any at all, none are expected.

    Rows whose time is missing are in no window. ``progress`` is told how many windows are done, of how many. Raises
    `UsageError` where the model has no column of times.
    """
    columns = setup.config.columns
    if columns.time is None:
        raise UsageError(
            f"a history needs times, and models.{setup.name}.columns.time is not set; "
            "name the column that tells when each row was predicted"
        )
    if columns.time not in rows.columns:
        raise UsageError(f"the history has no column {shown(columns.time)}, which tells when each row was predicted")
    known = canonical(rows, columns, setup.schema)
    if "version" not in known.columns:
        known = known.with_columns(version=pl.lit("", pl.String))
    known = (
        known.with_columns(in_calendar(known["time"]))
        .filter(pl.col("time").is_not_null())
        .with_columns(pl.col("version").fill_null(""))
    )
    labelled = "label" in known.columns and known["label"].null_count() < known.height
    parts = sorted(by_window(known, setup.config.window).items(), key=lambda part: (part[0][0].start, part[0][1]))
    windows = [(window, list(group)) for window, group in groupby(parts, key=lambda part: part[0][0])]
    for index, (window, group) in enumerate(windows):
        progress(index, len(windows))
        profiled = {version: profile(part, setup.schema, setup.reference) for (_, version), part in group}
        own = functions_on(setup, pl.concat([part for _, part in group]))
        yield _judged(setup, window, profiled, own, labelled=labelled)
    progress(len(windows), len(windows))


def replay_profiles(
    setup: ModelSetup, table: ProfileTable, progress: Callable[[int, int], None] = lambda done, of: None
) -> Iterator[Replayed]:
    """Judge each window of a table of profiles, in order of event time, as `replay_rows` does those of its rows.

    Measures of one's own are left out: these rest on rows. Rows whose time is missing are in no window.
    """
    parts = [(key.window, key.version, part) for key, part in table.parts.items() if key.window is not None]
    labelled = any(part.whole.labelled for _, _, part in parts)
    windows = [(window, list(group)) for window, group in groupby(parts, key=lambda one: one[0])]
    for index, (window, group) in enumerate(windows):
        progress(index, len(windows))
        yield _judged(setup, window, {version: part for _, version, part in group}, {}, labelled=labelled)
    progress(len(windows), len(windows))


def _judged(
    setup: ModelSetup,
    window: Window,
    profiled: Mapping[str, Profiled],
    own: Mapping[str, Replicates],
    *,
    labelled: bool,
) -> Replayed:
    """A window that no more rows are waited for, by the profiles of its versions."""
    versions = {version: one.whole for version, one in profiled.items()}
    segments = reduce(SegmentProfiles.merge, [one.segments for one in profiled.values()])
    assessment = assess(setup, window, "judged", sliced(versions, segments), own, shown=False)
    return Replayed(window, Observed(reduce(WindowProfile.merge, versions.values()), segments), assessment, labelled)


def replay_windows(
    setup: ModelSetup,
    stored: Sequence[WindowRow],
    come: Arrived,
    progress: Callable[[int, int], None] = lambda done, of: None,
) -> Iterator[Replayed]:
    """Judge the stored windows of a served model, in order of event time, with all labels that are known.

    A window that is open when events have ``come`` so far is not judged, and one that waits for labels only by what
    needs none. Measures of one's own are left out: these rest on rows, which are not read.
    """
    windows = [list(group) for _, group in groupby(stored, key=lambda row: row.start)]
    for index, rows in enumerate(windows):
        progress(index, len(windows))
        versions, segments = stored_profiles(rows)
        window = rows[0].window
        stage = stage_of(window, rows, come.watermark, setup.config)
        if stage == "open":
            continue
        assessment = assess(setup, window, stage, sliced(versions, segments), {}, shown=False)
        whole = reduce(WindowProfile.merge, versions.values())
        yield Replayed(window, Observed(whole, segments), assessment, come.has_labels_of(window, rows, setup.config))
    progress(len(windows), len(windows))


def tracks_of(setup: ModelSetup, replayed: Sequence[Replayed]) -> list[Track]:
    """What each rule says of each of its slices, in the order of the rules; a rule that never spoke has a track too."""
    said: dict[tuple[str, Slice], list[JudgedWindow]] = {}
    for one in replayed:
        for slice, verdict in one.assessment.verdicts:
            said.setdefault((verdict.rule, slice), []).append(JudgedWindow(one.window, verdict))
    tracks: list[Track] = []
    for rule in setup.config.rules:
        slices = sorted(slice for name, slice in said if name == rule.name)
        tracks += [Track(rule, slice, said[rule.name, slice]) for slice in slices or []]
        if not slices:
            tracks.append(Track(rule, WHOLE, []))
    return tracks
