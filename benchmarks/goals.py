"""The goals of the design, and how far they are met."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from benchmarks.contenders import (
    COLUMNS,
    DRIFTLINE,
    EVIDENTLY,
    HELP,
    HELPS,
    LARGE,
    MIDDLE,
    NANNYML,
    READ,
    SMALL,
    WHYLOGS,
)
from benchmarks.results import Entry, Results

_CHECKS = {"check": "", "skewed": ", skewed"}
_MOST_BYTES, _START_SECONDS = 250e6, 0.1


class Judged(NamedTuple):
    """A goal: the work, what is wanted, what was measured in words, and whether that meets it (None: not measured)."""

    work: str
    goal: str
    measured: str
    met: bool | None


def judge(results: Results) -> list[Judged]:
    """Every goal that `make bench` can judge, in the design's order; what was not measured in these results says so.

    Where the goal was set from a figure of the peer without its imports (profile, daily performance), it is judged
    without the imports of either side, and the ratio of the whole processes stands beside it.
    """
    at = (MIDDLE, COLUMNS)
    check, evidently = results.entry("check", *at, DRIFTLINE), results.entry("check", *at, EVIDENTLY)
    profile, whylogs = results.entry("profile", *at, DRIFTLINE), results.entry("profile", *at, WHYLOGS)
    daily, nannyml = (results.entry("performance", MIDDLE, 0, name) for name in (DRIFTLINE, NANNYML))
    return [
        _at_most(
            "check, 1 M × 25 × 2 files, whole process",
            "≤ 1.25 × a bare Polars read",
            _ratio(_wall(check), _wall(results.entry("check", *at, READ))),
            1.25,
            "{:.2f} ×",
        ),
        _at_most(
            "the same, skewed: zstd, 10 to 1,000 categories, 1 % missing everywhere",
            "≤ 1.5 × a bare Polars read",
            _ratio(_wall(results.entry("skewed", *at, DRIFTLINE)), _wall(results.entry("skewed", *at, READ))),
            1.5,
            "{:.2f} ×",
        ),
        _faster("check, 1 M × 25 × 2 files", 200, EVIDENTLY, _ratio(_wall(evidently), _wall(check)), None),
        _faster(
            "profile of 1 M × 25",
            100,
            WHYLOGS,
            _ratio(_inside(whylogs), _inside(profile)),
            _ratio(_wall(whylogs), _wall(profile)),
        ),
        _faster(
            "daily performance, 1 M labelled rows, 30 windows",
            30,
            NANNYML,
            _ratio(_inside(nannyml), _inside(daily)),
            _ratio(_wall(nannyml), _wall(daily)),
        ),
        *(_memory(results, key, words) for key, words in _CHECKS.items()),
        _seconds("import driftline", 0.1, results.entry("start", 0, 0, DRIFTLINE)),
        _helps(results),
        _at_most("SDK log, a call", "≤ 5 µs, median", _call(results.entry("log", 0, 0, DRIFTLINE)), 5, "{:.1f} µs"),
    ]


def _at_most(work: str, goal: str, value: float | None, most: float, shown: str) -> Judged:
    if value is None:
        return Judged(work, goal, "", None)
    return Judged(work, goal, shown.format(value), value <= most)


def _faster(work: str, times: float, peer: str, ratio: float | None, whole: float | None) -> Judged:
    goal = f"≥ {times:g} × faster than {peer}"
    if ratio is None:
        return Judged(work, goal, "", None)
    beside = "" if whole is None else f" without imports, {whole:.0f} × as whole processes"
    return Judged(work, goal, f"{ratio:.0f} ×{beside}", ratio >= times)


def _seconds(work: str, most: float, entry: Entry | None) -> Judged:
    return _at_most(f"{work}, whole process", f"≤ {most:g} s", _wall(entry), most, "{:.3f} s")


def _helps(results: Results) -> Judged:
    work, goal = "--help of every command, whole process", "≤ 0.1 s"
    commands = ("driftline", *HELPS), (HELP, *HELPS.values())
    took = {short: _wall(results.entry("start", 0, 0, name)) for short, name in zip(*commands, strict=True)}
    known = sorted((seconds, short) for short, seconds in took.items() if seconds is not None)
    if len(known) < len(took):
        return Judged(work, goal, "", None)
    over = [short for seconds, short in known if seconds > _START_SECONDS]
    slow = f"; over it: {', '.join(over)}" if over else ""
    return Judged(
        work, goal, f"{known[0][0]:.3f} s ({known[0][1]}) to {known[-1][0]:.3f} s ({known[-1][1]}){slow}", not over
    )


def _memory(results: Results, check: str, words: str) -> Judged:
    work, goal = f"memory of a check{words}, 25 columns", f"≤ {_MOST_BYTES / 1e6:g} MB at 10 M rows"
    by_rows = [(rows, results.entry(check, rows, COLUMNS, DRIFTLINE)) for rows in (SMALL, MIDDLE, LARGE)]
    peaks = [(rows, entry.peak_bytes) for rows, entry in by_rows if entry is not None and entry.peak_bytes is not None]
    if not peaks or peaks[-1][0] != LARGE:
        return Judged(work, goal, "", None)
    shown = ", ".join(f"{peak / 1e6:.0f} MB at {rows / 1e6:g} M" for rows, peak in peaks)
    return Judged(work, goal, shown, peaks[-1][1] <= _MOST_BYTES)


def _of(value: Callable[[Entry], float | None]) -> Callable[[Entry | None], float | None]:
    return lambda entry: None if entry is None else value(entry)


_wall = _of(lambda entry: entry.wall_seconds)
_inside = _of(lambda entry: entry.inside_seconds)
_call = _of(lambda entry: entry.call_microseconds)


def _ratio(above: float | None, below: float | None) -> float | None:
    return None if above is None or not below else above / below
