"""Measures the detector: false alarms a year without a change, windows until a change is seen, and its speed.

python -m benchmarks.detection.bench [--quick] [--streams N] [--seeds FIRST] [--only PATTERN] [--part PART]

A quick run has four streams of 1,000 rows; the whole takes about an hour of one core. Seeds are 500 and up without a
change, 600 and up with one: nothing is tuned on these; --seeds takes others. The exit code is 1 where a target is
missed beyond noise.

Parts are alarms, delays, dummies, model (labels, segments), open (a fault while another alarm is open), budget (1 per 7
to 1 per 365 days; --chart draws it), real (--data is its folder; skipped without) and speed.
"""

from __future__ import annotations

import argparse
import math
import re
import sys
from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta
from functools import partial
from pathlib import Path
from time import process_time

import numpy as np

from benchmarks.detection.chart import Spent, draw
from benchmarks.detection.evaluate import (
    A_YEAR,
    CADENCE,
    QUIET,
    Said,
    always,
    counted,
    delays,
    driftline,
    episodes,
    false_alarms,
    judged,
    learn,
    never,
)
from benchmarks.detection.real import CONTROLS, INCIDENTS, Found, control_stream, judge_incident
from benchmarks.detection.streams import (
    CHANGES,
    DAY_EFFECTS,
    IID,
    REALISTIC,
    Change,
    Scenario,
    Stream,
    make_stream,
    model_windows,
    windows,
)
from benchmarks.detection.targets import ALARMS, FOUND, MODEL_ALARMS
from driftline.detection import Basis

FIRST_SEED, CHANGED_AFTER = 500, 100
AFTER, FOLLOWED = 30, 72
PARTS = ("alarms", "delays", "dummies", "model", "open", "budget", "real", "speed")
REAL_STREAMS = 8
BUDGETS = (7, 14, 30, 60, 90, 180, 365)
"""Days in which one false alarm may come."""
_QUICK_CHANGES = ("mean 0.5", "mean 1", "scale 1.5", "cat_move 0.15", "new_cat 0.02", "missing 0.1")


_say = partial(print, file=sys.stdout, flush=True)


def scenarios(*, quick: bool) -> Iterator[tuple[str, Scenario]]:
    """The scenarios by the names that they have in tables."""
    if quick:
        yield from ((one.name, one) for one in (REALISTIC, IID))
        return
    yield from (
        (one.name, replace(one, rows=rows)) for one in (IID, DAY_EFFECTS, REALISTIC) for rows in (100, 1_000, 10_000)
    )
    yield from ((f"realistic reference={count}", replace(REALISTIC, reference=count)) for count in (7, 14, 56))
    yield "realistic annual=0.5", replace(REALISTIC, annual=0.5)
    yield "realistic holidays=3%", replace(REALISTIC, holidays=0.03)
    yield "realistic 4 columns", replace(REALISTIC, columns=4)


def changes(*, quick: bool) -> Iterator[tuple[Change, int]]:
    """The changes, and the rows of the windows that they come in."""
    for rows in (1_000,) if quick else (1_000, 10_000, 100):
        yield from ((one, rows) for one in CHANGES if not quick or one.label in _QUICK_CHANGES)


def measure_alarms(streams: int, only: str, *, quick: bool, seed: int = FIRST_SEED) -> bool:
    """Print a table of false alarms; whether all are within their targets."""
    good = True
    _say("| without a change | rows | alarms a year (s.e.) | most | notified a year | days in alarm | target |")
    _say("| --- | --- | --- | --- | --- | --- | --- |")
    for name, scenario in scenarios(quick=quick):
        if not re.search(only, name):
            continue
        found = false_alarms(driftline, (make_stream(scenario, seed + i) for i in range(streams)))
        mean, error, target = found.alarms.mean(), found.standard_error, ALARMS[name, scenario.rows]
        missed = bool(mean - 2 * (0 if math.isnan(error) else error) > target)
        good &= not missed
        _say(
            f"| {name} | {scenario.rows:,} | {mean:.1f} ({error:.1f}) | {found.alarms.max():.0f} | "
            f"{found.notifications.mean():.1f} | {found.windows.mean():.1f} | {target:.1f}{' MISSED' * missed} |"
        )
    return good


def measure_delays(streams: int, only: str, *, quick: bool, seed: int = FIRST_SEED) -> bool:
    """Print a table of delays; whether all changes are found as often as their targets say, one stream less."""
    good = True
    _say("| change | rows | found within 1/3/7/28 windows | named first | not judged | target |")
    _say("| --- | --- | --- | --- | --- | --- |")
    for change, rows in changes(quick=quick):
        if not re.search(only, change.label):
            continue
        scenario = replace(REALISTIC, rows=rows)
        found = delays(driftline, [_changed(scenario, seed + CHANGED_AFTER + i, change) for i in range(streams)])
        share, within = FOUND.get((change.label, rows), (0.0, 28))
        missed = bool(found.within(within) < share - 1 / streams)
        good &= not missed
        shares = "/".join(f"{100 * found.within(count):.0f}" for count in (1, 3, 7, 28))
        _say(
            f"| {change.label} | {rows:,} | {shares} % | {100 * found.named_first:.0f} % | {found.skipped} | "
            f"{100 * share:.0f} % within {within}{' MISSED' * missed} |"
        )
    return good


def _changed(scenario: Scenario, seed: int, change: Change) -> Stream:
    return make_stream(scenario, seed, change, after=AFTER, windows=FOLLOWED)


def measure_dummies(streams: int, *, seed: int = FIRST_SEED) -> None:
    """Print what those have that alarm in every window and in none: what the numbers of the tables mean."""
    calm = [make_stream(REALISTIC, seed + i) for i in range(streams)]
    changed = [_changed(REALISTIC, seed + CHANGED_AFTER + i, Change("mean", 1.0)) for i in range(streams)]
    _say("| dummy | alarms a year | days in alarm a year | mean 1 found within 1 window | not judged |")
    _say("| --- | --- | --- | --- | --- |")
    for name, judge in (("fires always", always), ("fires never", never)):
        found, seen = false_alarms(judge, calm), delays(judge, changed)
        share = f"{100 * seen.within(1):.0f} %" if len(seen.windows) else "none was judged"
        _say(f"| {name} | {found.alarms.mean():.1f} | {found.windows.mean():.1f} | {share} | {seen.skipped} |")


def measure_model(streams: int, *, seed: int = FIRST_SEED) -> bool:
    """Print the alarms of models with labels, a tenth of them late, and segments; and how soon worse ones are seen."""

    def calm(stream_seed: int) -> Said:
        stream = make_stream(REALISTIC, stream_seed)
        return judged(model_windows(stream, REALISTIC, stream_seed), stream.reference)

    per_year = [A_YEAR / REALISTIC.windows * episodes(calm(seed + i).alarm) for i in range(streams)]
    mean, error = float(np.mean(per_year)), float(np.std(per_year, ddof=1) / math.sqrt(streams))
    _say("| a model with labels and segments | streams | result | target |")
    _say("| --- | --- | --- | --- |")
    missed = mean - 2 * error > MODEL_ALARMS
    _say(f"| no change | {streams} | {mean:.1f} ({error:.1f}) alarms a year | {MODEL_ALARMS}{' MISSED' * missed} |")
    for worse in (0.02, 0.05, 0.1):
        told = []
        for i in range(streams):
            stream = make_stream(REALISTIC, seed + CHANGED_AFTER + i, after=AFTER, windows=FOLLOWED)
            said = judged(model_windows(stream, REALISTIC, seed + i, worse=worse), stream.reference)
            if not said.alarm[AFTER - QUIET : AFTER].any():
                told.append(next((day for day, one in enumerate(said.alarm[AFTER:], 1) if one), math.inf))
        shares = "/".join(f"{100 * sum(one <= day for one in told) / max(len(told), 1):.0f}" for day in (1, 3, 7, 28))
        _say(f"| accuracy falls by {worse:g} | {len(told)} | found within 1/3/7/28 windows: {shares} % | |")
    return not missed


def measure_open(streams: int, *, seed: int = FIRST_SEED) -> None:
    """Print how soon a fault is notified that comes while the alarm of a season is open."""
    scenario, kinds = replace(REALISTIC, annual=0.5), (Change("missing", 0.1), Change("new_cat", 0.02))
    _say("| fault while a season's alarm is open | streams | notified by its column within 1/3/7 windows |")
    _say("| --- | --- | --- |")
    for change in kinds:
        told = []
        for i in range(streams):
            stream = make_stream(scenario, seed + CHANGED_AFTER + i, change, after=180, windows=200)
            said, at = driftline(stream), 180
            if not said.alarm[at - QUIET : at].any():
                continue
            notified = (said.notifies[day] and bool(stream.changed & {*said.named[day]}) for day in range(at, 200))
            told.append(next((day for day, one in enumerate(notified, 1) if one), math.inf))
        shares = "/".join(f"{100 * sum(one <= day for one in told) / max(len(told), 1):.0f}" for day in (1, 3, 7))
        _say(f"| {change.label} | {len(told)} | {shares} % |")


def measure_budgets(streams: int, chart: Path | None, *, seed: int = FIRST_SEED) -> bool:
    """Print, and draw where a file is given, budgets against alarms had; whether none is overspent beyond noise."""
    had = []
    _say("| budget | alarms a year stated | alarms a year had (s.e.) |")
    _say("| --- | --- | --- |")
    learnt = [learn(make_stream(REALISTIC, seed + i)) for i in range(streams)]
    for days in BUDGETS:
        cadence = replace(CADENCE, budget=timedelta(days=days))
        found = counted([one.said(cadence) for one in learnt])
        had.append(Spent(A_YEAR / days, float(found.alarms.mean()), found.standard_error))
        _say(f"| 1 per {days}d | {had[-1].stated:.1f} | {had[-1].had:.1f} ({had[-1].error:.1f}) |")
    if chart is not None:
        chart.write_text(draw(had), "utf-8")
    return all(one.had - 2 * (0 if math.isnan(one.error) else one.error) <= one.stated for one in had)


def measure_real(folder: Path | None, streams: int, only: str, *, seed: int = FIRST_SEED) -> bool:
    """Print false alarms on real data without a change, and what is said of real drift, if there is a folder."""
    if folder is None:
        _say("REAL DATA SKIPPED: DATA=FOLDER (--data FOLDER) names the folder of its Parquet files")
        return True
    good = True
    _say("| control | streams | alarms a year (s.e.) | most | days in alarm | target |")
    _say("| --- | --- | --- | --- | --- | --- |")
    for control in CONTROLS:
        if not re.search(only, control.name):
            continue
        found = false_alarms(driftline, (control_stream(control, folder, seed + i) for i in range(streams)))
        mean, error = found.alarms.mean(), found.standard_error
        missed = bool(mean - 2 * (0 if math.isnan(error) else error) > control.target)
        good &= not missed
        _say(
            f"| {control.name} | {streams} | {mean:.1f} ({error:.1f}) | {found.alarms.max():.0f} | "
            f"{found.windows.mean():.1f} | {control.target}{' MISSED' * missed} |"
        )
    _say("| real drift | windows before, in alarm | first window in alarm | suspected | named |")
    _say("| --- | --- | --- | --- | --- |")
    for incident in INCIDENTS:
        if not re.search(only, incident.name):
            continue
        told = judge_incident(incident, folder)
        early = sum(one.delay < 1 for one in told.found)
        first = next((one for one in told.found if one.delay >= 1), Found(0, None, ()))
        when = str(first.delay) if first.delay else "never"
        named = ", ".join(first.named[:4])
        _say(f"| {incident.name} | {told.before}, {early} | {when} | {first.suspected or ''} | {named} |")
    return good


def measure_speed() -> bool:
    """Print the processor time of 365 windows of 100 columns, and of one more; whether both are within targets."""
    stream = make_stream(replace(REALISTIC, columns=100), FIRST_SEED)
    history = windows(stream)
    reference, rest = history[: stream.reference], history[stream.reference :]
    began = process_time()
    basis = Basis.of(reference, CADENCE)
    state, _ = basis.detector.fold(basis.start(reference), basis.windows(rest))
    year = process_time() - began
    began = process_time()
    for one in rest[:20]:
        basis.detector.step(state, *basis.windows([replace(one, window=rest[-1].window)]))
    single = (process_time() - began) / 20
    _say(f"365 windows of 100 columns ({len(basis.map.series)} series): {year:.1f} s of processor time, target 5 s")
    _say(f"one more window: {1000 * single:.0f} ms, target 20 ms")
    return year <= 5 and single <= 0.02


def main() -> int:
    """Measure what is asked for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="few streams of 1,000 rows")
    parser.add_argument("--streams", type=int, help="streams a line; 20 for alarms and 12 for delays, 4 if quick")
    parser.add_argument("--only", default="", help="lines whose name this regular expression finds")
    parser.add_argument("--seeds", type=int, default=FIRST_SEED, help="the first seed")
    parser.add_argument("--part", choices=PARTS, action="append", help="all parts without it")
    parser.add_argument("--data", type=Path, metavar="FOLDER", help="the folder of real data")
    parser.add_argument("--chart", type=Path, metavar="SVG", help="draw budgets against alarms there")
    asked = parser.parse_args()
    parts, good = asked.part or PARTS, True
    if "speed" in parts:
        good &= measure_speed()
    if "alarms" in parts:
        streams = asked.streams or (4 if asked.quick else 20)
        good &= measure_alarms(streams, asked.only, quick=asked.quick, seed=asked.seeds)
    if "delays" in parts:
        streams = asked.streams or (4 if asked.quick else 12)
        good &= measure_delays(streams, asked.only, quick=asked.quick, seed=asked.seeds)
    if "dummies" in parts:
        measure_dummies(asked.streams or 4, seed=asked.seeds)
    if "model" in parts:
        good &= measure_model(asked.streams or (4 if asked.quick else 12), seed=asked.seeds)
    if "open" in parts:
        measure_open(asked.streams or (4 if asked.quick else 12), seed=asked.seeds)
    if "budget" in parts:
        good &= measure_budgets(asked.streams or (4 if asked.quick else 12), asked.chart, seed=asked.seeds)
    if "real" in parts:
        good &= measure_real(asked.data, asked.streams or REAL_STREAMS, asked.only, seed=asked.seeds)
    _say("all targets reached" if good else "targets MISSED")
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())
