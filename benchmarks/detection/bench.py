"""Measures the detector: false alarms a year without a change, windows until a change is seen, and its speed.

python -m benchmarks.detection.bench [--quick] [--streams N] [--seeds FIRST] [--only PATTERN] [--part PART]

A quick run has four streams of 1,000 rows; the whole takes about an hour of one core. Seeds are 500 and up without a
change, 600 and up with one: nothing is tuned on these; --seeds takes others. The exit code is 1 where a target is
missed beyond noise. --write puts the tables, each with its command, into docs/detection.md.

Parts are alarms, delays, dummies, model (labels, segments), open (a fault while another alarm is open), budget (1 per 7
to 1 per 365 days; --chart draws it), peers (other tools' rules at their defaults and at equal budget, held to the
packages where they are installed; and GLIDE on one measure), real (--data is its folder; skipped without) and speed.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import math
import re
import sys
from collections.abc import Iterator, Sequence
from dataclasses import replace
from datetime import timedelta
from functools import partial
from pathlib import Path
from time import process_time
from typing import TextIO

import numpy as np
import numpy.typing as npt

from benchmarks.detection.chart import Spent, draw
from benchmarks.detection.evaluate import (
    A_YEAR,
    CADENCE,
    QUIET,
    Delays,
    FalseAlarms,
    Judge,
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
from benchmarks.detection.packages import GLIDE, PACKAGES, compare, glide_alarms, is_installed
from benchmarks.detection.peers import Peer, equal_threshold, peers, scored
from benchmarks.detection.real import CONTROLS, INCIDENTS, control_stream, judge_incident
from benchmarks.detection.streams import (
    CHANGES,
    DAY_EFFECTS,
    IID,
    NO_CHANGE,
    REALISTIC,
    Change,
    Scenario,
    Stream,
    accuracies,
    make_stream,
    model_windows,
    windows,
)
from benchmarks.detection.targets import ALARMS, FOUND, HARDLY_FOUND, MODEL_ALARMS, NAMED_FIRST
from benchmarks.report import with_tables
from driftline.detection import Basis, HistoryWindow

Bools = npt.NDArray[np.bool_]

FIRST_SEED, CHANGED_AFTER = 500, 100
AFTER, FOLLOWED = 30, 72
PARTS = ("alarms", "delays", "dummies", "model", "open", "budget", "peers", "real", "speed")
REAL_STREAMS = 20
BUDGET = A_YEAR / 90
TUNED_AFTER, TUNED_ON = 200, 12
COMPARED_WINDOWS = 14
MOST_KINDS = 4
BUDGETS = (7, 14, 30, 60, 90, 180, 365)
"""Days in which one false alarm may come."""
_QUICK_CHANGES = ("mean 0.5", "mean 1", "scale 1.5", "cat_move 0.15", "new_cat 0.02", "missing 0.1")


PAGE = Path(__file__).parents[2] / "docs" / "detection.md"
CHART = PAGE.parent / "images" / "detection-budget.svg"
_say = partial(print, flush=True)


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
    for days in (1, 3):
        yield f"realistic paydays={days}", replace(REALISTIC, paydays=days)
    yield "realistic 4 columns", replace(REALISTIC, columns=4)


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
    """Print a table of delays; whether all changes are found as often as their targets say, one stream less, and the
    changed column is mostly named first.
    """
    good, sizes = True, (1_000,) if quick else (1_000, 10_000, 100)
    first, found_at_all, judged_streams = dict.fromkeys(sizes, 0.0), dict.fromkeys(sizes, 0), dict.fromkeys(sizes, 0)
    _say(f"| found within 1/3/7/28 windows, % | {' | '.join(f'{rows:,} rows a window' for rows in sizes)} |")
    _say("| --- |" + " --- |" * len(sizes))
    for change in CHANGES:
        if (quick and change.label not in _QUICK_CHANGES) or not re.search(only, change.label):
            continue
        cells = []
        for rows in sizes:
            scenario = replace(REALISTIC, rows=rows)
            found = delays(driftline, [_changed(scenario, seed + CHANGED_AFTER + i, change) for i in range(streams)])
            share, within = FOUND.get((change.label, rows), (0.0, 28))
            missed = bool(found.within(within) < share - 1 / streams)
            good &= not missed
            target = f"; at least {100 * share:.0f} within {within}" if share else ""
            cells.append(_shares(found) + target + " MISSED" * missed)
            judged_streams[rows] = len(found.windows)
            if change.label not in HARDLY_FOUND and (count := int(np.isfinite(found.windows).sum())):
                first[rows], found_at_all[rows] = first[rows] + count * found.named_first, found_at_all[rows] + count
        _say(f"| {change.label} | {' | '.join(cells)} |")
    named = {rows: first[rows] / found_at_all[rows] if found_at_all[rows] else math.nan for rows in sizes}
    good &= all(not share < NAMED_FIRST for share in named.values())
    cells = [f"{100 * share:.0f}; at least {100 * NAMED_FIRST:.0f}" for share in named.values()]
    _say(f"| of what is found, a changed column named first, % | {' | '.join(cells)} |")
    _say(f"| streams judged, of {streams} | {' | '.join(map(str, judged_streams.values()))} |")
    return good


def _shares(found: Delays) -> str:
    return "/".join(f"{100 * found.within(count):.0f}" for count in (1, 3, 7, 28))


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
    _say("| budget | alarms a year that it allows | alarms a year that there were (s.e.) |")
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


def measure_peers(streams: int, only: str, *, quick: bool, seed: int = FIRST_SEED) -> None:
    """Print what the rules of other tools have, at their defaults and at this budget: raised on other streams."""
    rules = peers(REALISTIC.columns)
    tuning = [make_stream(REALISTIC, seed + TUNED_AFTER + i) for i in range(4 if quick else TUNED_ON)]
    thresholds = [equal_threshold([scored(one, stream) for stream in tuning], BUDGET) for one in rules]
    judges: list[tuple[str, Judge]] = [("Driftline", driftline)]
    judges += [(one.name, _at(one, threshold)) for one, threshold in zip(rules, thresholds, strict=True)]
    calm = [make_stream(REALISTIC, seed + i) for i in range(streams)]
    _say("| no change | default | alarms a year, days in alarm | at equal budget | alarms a year, days in alarm |")
    _say("| --- | --- | --- | --- | --- |")
    found = false_alarms(driftline, calm)
    _say(f"| Driftline | 1 per 90d | {_had(found)} | | |")
    for rule, threshold, (_, judge) in zip(rules, thresholds, judges[1:], strict=True):
        default, equal = false_alarms(_at(rule, rule.threshold), calm), false_alarms(judge, calm)
        shown = f"{rule.shown(rule.threshold)} | {_had(default)} | {rule.shown(threshold)} | {_had(equal)}"
        _say(f"| {rule.name} | {shown} |")
    _say()
    _say(f"| found within 1/3/7/28 windows, % | {' | '.join(name for name, _ in judges)} |")
    _say("| --- |" + " --- |" * len(judges))
    skipped = [""] * len(judges)
    for change in (NO_CHANGE, *CHANGES):
        if (quick and change.label not in _QUICK_CHANGES) or not re.search(only, change.label):
            continue
        changed = [_changed(REALISTIC, seed + CHANGED_AFTER + i, change) for i in range(streams)]
        told = [delays(judge, changed) for _, judge in judges]
        _say(f"| {change.label if change is not NO_CHANGE else 'nothing'} | {' | '.join(map(_shares, told))} |")
        skipped = [f"{one.skipped} of {streams}" for one in told]
    _say(f"| in alarm before: not judged | {' | '.join(skipped)} |")


def _at(rule: Peer, threshold: float) -> Judge:
    return lambda stream: scored(rule, stream).said(threshold)


def _had(found: FalseAlarms) -> str:
    return f"{found.alarms.mean():.1f} ({found.standard_error:.1f}), {found.windows.mean():.0f}"


def measure_packages(*, quick: bool, seed: int = FIRST_SEED) -> None:
    """Print how far the packages' own scores are from those of their rules as stated again."""
    _say()
    stream, windows = make_stream(REALISTIC, seed), 2 if quick else COMPARED_WINDOWS
    for package in PACKAGES:
        if not is_installed(package):
            _say(f"- {package} IS NOT INSTALLED: its rules are stated again, and were not held to the package")
            continue
        rules = [one for one in peers(REALISTIC.columns) if one.package == package]
        for rule, told in zip(rules, compare(package, rules, stream, windows), strict=True):
            _say(
                f"- {rule.name}: in {told.windows} windows of {REALISTIC.columns} columns, no score of the package "
                f"differs by more than a relative {told.difference:.0e}; alarms are alike in {told.alike}"
            )


def measure_glide(streams: int, *, seed: int = FIRST_SEED) -> None:
    """Print how GLIDE's monitor and Driftline see accuracy fall, and what they say where it does not."""
    if not is_installed(GLIDE):
        _say(f"{GLIDE} IS NOT INSTALLED (it needs Python 3.12): accuracy is not compared")
        return
    _say()
    _say("| accuracy falls by | Driftline, accuracy named | GLIDE | |")
    _say("| --- | --- | --- | --- |")
    for worse in (0.0, 0.02, 0.05, 0.1):
        made = []
        for i in range(streams):
            stream = (
                make_stream(REALISTIC, seed + CHANGED_AFTER + i, after=AFTER, windows=FOLLOWED)
                if worse
                else make_stream(REALISTIC, seed + i)
            )
            made.append((model_windows(stream, REALISTIC, seed + i, worse=worse), stream.reference))
        ours = [_accuracy_named(history, count) for history, count in made]
        theirs = _glide(made)
        if worse:
            cells = [_found(one) for one in (ours, theirs)]
            what = "found within 1/3/7/28 windows, of those not in alarm before"
        else:
            cells = [
                f"{np.mean([one.any() for one in own]):.0%}, {A_YEAR * np.mean([one.mean() for one in own]):.0f}"
                for own in (ours, theirs)
            ]
            what = "streams with an alarm in a year, days in alarm"
        _say(f"| {worse:g} | {cells[0]} | {cells[1]} | {what} |")


def _accuracy_named(history: Sequence[HistoryWindow], count: int) -> Bools:
    return np.array(["accuracy" in named for named in judged(history, count).named])


def _glide(made: Sequence[tuple[Sequence[HistoryWindow], int]]) -> list[Bools]:
    """Of the windows behind each reference: an alarm where labels are in, and accuracy is below the reference's."""
    asked, places = [], []
    for history, count in made:
        known = accuracies(history)
        right, rows = np.array([one for one in known[:count] if one]).sum(axis=0)
        later = [(at, one) for at, one in enumerate(known[count:]) if one and one[1] > 1]
        asked.append((right / rows, [one for _, one in later]))
        places.append([at for at, _ in later])
    told = []
    for (history, count), at, alarms in zip(made, places, glide_alarms(asked), strict=True):
        own = np.zeros(len(history) - count, np.bool_)
        own[at] = alarms
        told.append(own)
    return told


def _found(alarms: Sequence[Bools]) -> str:
    judged_ones = [one[AFTER:] for one in alarms if not one[AFTER - QUIET : AFTER].any()]
    first = np.array([one.argmax() + 1 if one.any() else math.inf for one in judged_ones])
    shares = "/".join(f"{100 * (first <= day).mean():.0f}" for day in (1, 3, 7, 28)) if len(first) else "none"
    return f"{shares} % of {len(first)}"


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
    _say()
    _say("| real drift | in alarm before | first window in alarm | suspected | performance named | named first |")
    _say("| --- | --- | --- | --- | --- | --- |")
    for incident in INCIDENTS:
        if not re.search(only, incident.name):
            continue
        told = judge_incident(incident, folder)
        early = sum(one.delay < 1 for one in told.found)
        first = next((one for one in told.found if one.delay >= 1), None)
        kinds = ", ".join(f"from window {at} {kind}" for at, kind in told.kinds[:MOST_KINDS]) or "nothing"
        kinds += ", and so on" * (len(told.kinds) > MOST_KINDS)
        _say(
            f"| {incident.name} | {early} of {told.before} | {first.delay if first else 'never'} | {kinds} | "
            f"{told.performance or 'never'} | {', '.join(first.named[:4]) if first else ''} |"
        )
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
    _say(f"- 365 windows of 100 columns ({len(basis.map.series)} series): {year:.1f} s of processor time, target 5 s")
    _say(f"- one more window: {1000 * single:.0f} ms, target 20 ms")
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
    parser.add_argument(
        "--chart",
        type=Path,
        metavar="SVG",
        help="draw budgets against alarms there; with --write into the page's images",
    )
    parser.add_argument("--write", action="store_true", help=f"put what was measured into docs/{PAGE.name}")
    asked = parser.parse_args()
    tables, good = dict[str, str](), True
    for part in asked.part or PARTS:
        with contextlib.redirect_stdout(_Tee(sys.stdout)) as said:
            good &= _measure(part, asked)
        if part != "real" or asked.data is not None:
            tables[f"detection {part}"] = f"{said.recorded.strip()}\n\n`{_command(part, asked)}`"
    if asked.write:
        PAGE.write_text(with_tables(PAGE.read_text("utf-8"), tables), "utf-8")
    _say("all targets reached" if good else "targets MISSED")
    return 0 if good else 1


def _measure(part: str, asked: argparse.Namespace) -> bool:
    """Measure a part and print it; whether all targets are reached."""
    quick, seed, only = asked.quick, asked.seeds, asked.only
    streams = asked.streams or (4 if quick else 12)
    if part == "alarms":
        return measure_alarms(asked.streams or (4 if quick else 20), only, quick=quick, seed=seed)
    if part == "delays":
        return measure_delays(streams, only, quick=quick, seed=seed)
    if part == "model":
        return measure_model(streams, seed=seed)
    if part == "budget":
        return measure_budgets(streams, asked.chart or (CHART if asked.write else None), seed=seed)
    if part == "real":
        return measure_real(asked.data, asked.streams or REAL_STREAMS, only, seed=seed)
    if part == "speed":
        return measure_speed()
    if part == "dummies":
        measure_dummies(streams, seed=seed)
    elif part == "open":
        measure_open(streams, seed=seed)
    else:
        measure_peers(streams, only, quick=quick, seed=seed)
        measure_glide(streams, seed=seed)
        measure_packages(quick=quick, seed=seed)
    return True


def _command(part: str, asked: argparse.Namespace) -> str:
    """What to type to measure a part again."""
    words = ["--seeds", str(asked.seeds), "--part", part]
    words += ["--quick"] * asked.quick + (["--streams", str(asked.streams)] if asked.streams else [])
    words += ["--only", asked.only] if asked.only else []
    words += ["--write"] * asked.write
    data = "DATA=FOLDER " if part == "real" else ""
    return f'make bench-detection {data}ARGS="{" ".join(words)}"'


class _Tee(io.TextIOBase):
    """Writes to a stream, and keeps what was written."""

    def __init__(self, to: TextIO) -> None:
        self.to, self.recorded = to, ""

    def write(self, text: str) -> int:
        self.recorded += text
        return self.to.write(text)

    def flush(self) -> None:
        self.to.flush()


if __name__ == "__main__":
    sys.exit(main())
