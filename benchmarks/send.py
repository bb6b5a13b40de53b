"""What `driftline send` of a file costs, beside a `driftline check` of the same rows: at most five times as long.

python -m benchmarks.send [--rows N] [--columns N] [--runs N]

A file of predictions (``rows`` × ``columns`` features, an id, a time and a score) is checked against a reference of as
many rows, and sent to a ``driftline serve`` on SQLite that is empty, in turns. What counts is the time until the last
row is acknowledged, and so on the disk. Beside it stands until when all of it is in the log and judged, and the
processor time of either side. It ends with 1 where the goal is missed.
"""

from __future__ import annotations

import argparse
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import httpx
import polars as pl

from benchmarks.measure import Run, run_once
from benchmarks.service import serving
from benchmarks.workload import Workload, write

MODEL = "m"
MOST_CHECKS = 5.0
"""The goal: sending takes less time than so many checks."""

_DRIFTLINE = (sys.executable, "-m", "driftline")
_LOOK_SECONDS, _PATIENCE_SECONDS = 0.1, 600.0
_CONFIG = f"""
models:
  {MODEL}:
    task: binary
    window: 1d
    columns: {{id: id, time: time, prediction: prediction, score: score, label: label}}
    reference: {{path: reference.parquet}}
keep: {{events: forever}}
"""


class Turn(NamedTuple):
    """One check and one sending, in seconds; of the sending also until all was judged, and what the service worked."""

    check: Run
    send: Run
    judged_seconds: float
    service_cpu_seconds: float


def prepare(folder: Path, rows: int, columns: int) -> None:
    """Write both files and the configuration."""
    for name, current in (("reference", False), ("current", True)):
        path = folder / f"{name}.parquet"
        write(Workload(rows, columns, current=current, labels=True), path)
        pl.read_parquet(path).with_row_index("id").with_columns(
            pl.format("{}-{}", pl.lit(name), "id").alias("id")
        ).write_parquet(path)
    (folder / "driftline.yaml").write_text(_CONFIG)


def take_turn(folder: Path, files: Path) -> Turn:
    """Check once and send once, to a service whose folder is new."""
    for name in ("reference.parquet", "driftline.yaml"):
        (folder / name).symlink_to(files / name)
    both, config = (files / "reference.parquet", files / "current.parquet"), ("--config", files / "driftline.yaml")
    check = run_once([*_DRIFTLINE, "check", *both, *config, "--json"], exit_codes=(0, 1))
    with serving(folder, sorted(os.sched_getaffinity(0))) as (process, address):
        _wait_until_judged(address)
        before, began = process.cpu_times(), time.perf_counter()
        send = run_once([*_DRIFTLINE, "send", MODEL, both[1], "--kind", "predictions", "--url", address, "--json"])
        _wait_until_judged(address)
        judged, after = time.perf_counter() - began, process.cpu_times()
    return Turn(check, send, judged, after.user + after.system - before.user - before.system)


def _wait_until_judged(address: str) -> None:
    give_up = time.perf_counter() + _PATIENCE_SECONDS
    while not httpx.get(f"{address}/ready", timeout=60, trust_env=False).json().get("idle"):
        if time.perf_counter() > give_up:
            raise SystemExit(f"not everything was processed within {_PATIENCE_SECONDS:g} s")
        time.sleep(_LOOK_SECONDS)


def problems(turns: Sequence[Turn], rows: int) -> list[str]:
    """Return why the turns do not count; empty where they do."""
    runs = [run for turn in turns for run in (turn.check, turn.send)]
    found = [run.problem for run in runs if run.problem]
    accepted = [(turn.send.answer or {}).get("accepted") for turn in turns if not turn.send.problem]
    return found + [f"{one} of {rows} rows were accepted" for one in accepted if one != rows]


def in_checks(turns: Sequence[Turn]) -> float:
    """Return how many checks a sending takes: the median over the turns, of which each has its own check."""
    return statistics.median(turn.send.wall_seconds / turn.check.wall_seconds for turn in turns)


def told(turns: Sequence[Turn]) -> str:
    """Return the table: medians by the clock, and processor seconds."""

    def line(what: str, seconds: Sequence[float], own: Sequence[float], service: Sequence[float] | None = None) -> str:
        served = "–" if service is None else f"{statistics.median(service):.1f}"
        return f"| {what} | {statistics.median(seconds):.1f} | {statistics.median(own):.1f} | {served} |"

    checks, sendings = [turn.check for turn in turns], [turn.send for turn in turns]
    served = [turn.service_cpu_seconds for turn in turns]
    return "\n".join(
        [
            "| what | s | processor s, the command | processor s, the service |",
            "|---|---:|---:|---:|",
            line("check", [one.wall_seconds for one in checks], [one.cpu_seconds for one in checks]),
            line(
                "send, until the last row is acknowledged",
                [one.wall_seconds for one in sendings],
                [one.cpu_seconds for one in sendings],
            ),
            line(
                "send, until all is in the log and judged",
                [one.judged_seconds for one in turns],
                [one.cpu_seconds for one in sendings],
                served,
            ),
        ]
    )


def main() -> int:
    """Measure, and print a table."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--columns", type=int, default=25)
    parser.add_argument("--runs", type=int, default=3)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="driftline-send-") as name:
        files, turns = Path(name), list[Turn]()
        prepare(files, given.rows, given.columns)
        for number in range(given.runs):
            folder = files / f"run-{number}"
            folder.mkdir()
            turns.append(take_turn(folder, files))
    if wrong := problems(turns, given.rows):
        raise SystemExit("\n".join(wrong))
    ratio = in_checks(turns)
    sys.stdout.write(
        f"{given.rows:,} rows × {given.columns} features, {given.runs} turns, medians\n\n{told(turns)}\n\n"
    )
    sys.stdout.write(f"A sending took {ratio:.1f} checks' time; the goal is less than {MOST_CHECKS:g}.\n")
    sys.stdout.write(f"Load average at the end: {os.getloadavg()[0]:.1f}\n")
    return int(ratio >= MOST_CHECKS)


if __name__ == "__main__":
    sys.exit(main())
