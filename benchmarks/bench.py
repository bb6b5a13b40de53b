"""Measure every contender at every work, in turn, and write what came out.

python -m benchmarks.bench [--quick] [--only WORK]… [--rounds N]

A full run keeps its results in ``.bench/results.json`` and writes the tables and the chart of docs/performance.md from
them. A quick one (small files, 60 s at most for whoever takes longest) keeps its own in ``.bench/quick.json`` and only
prints. Missed goals are no failure: the exit code is 0.
"""

from __future__ import annotations

import argparse
import hashlib
import os
import platform
import re
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from importlib import metadata
from pathlib import Path

from benchmarks import report
from benchmarks.contenders import FLOORS, HERE, WORKS, Contender, Size, Work, foreseen_seconds, python
from benchmarks.measure import Limits, Run, run_once
from benchmarks.results import Case, Entry, Measured, read, save

ROOT = Path(__file__).parents[1]
FOLDER = ROOT / ".bench"
ROUNDS = 5
PATIENCE_SECONDS = 60.0
"""After so long in one case a contender takes part in no further round of it."""

_QUICK_ROUNDS, _QUICK_SECONDS = 3, 60.0
_WRITING = Limits(seconds=3600)


def main() -> None:
    """Read the command line, measure, write."""
    parser = argparse.ArgumentParser(prog="make bench", description="Measure Driftline beside its peers.")
    parser.add_argument("--quick", action="store_true", help="small files and short runs: a few minutes, no page")
    parser.add_argument("--only", action="append", choices=WORKS, help="this work; the others keep their results")
    parser.add_argument("--rounds", type=int, help=f"how often each is measured, {ROUNDS} unless said")
    given = parser.parse_args()
    limits = Limits(seconds=_QUICK_SECONDS) if given.quick else Limits()
    rounds = given.rounds or (_QUICK_ROUNDS if given.quick else ROUNDS)
    kept = FOLDER / ("quick.json" if given.quick else "results.json")
    (FOLDER / "data").mkdir(parents=True, exist_ok=True)
    results = replace(read(kept), machine=machine(), cores=os.cpu_count() or 1)
    tell = _teller()
    for key, work in WORKS.items():
        if given.only and key not in given.only:
            continue
        done: list[Case] = []
        begun = Measured(time.strftime("%Y-%m-%d %H:%M UTC", time.gmtime()), commit())
        for size in work.quick if given.quick else work.sizes:
            done.append(measure_case(work, size, done, limits=limits, rounds=rounds, tell=tell))
            results = replace(results, works=results.works | {key: replace(begun, cases=list(done))})
            save(results, kept)
    tell("")
    if not given.quick:
        report.write_page(results)
    sys.stdout.write(report.as_text(results))


def measure_case(
    work: Work,
    size: Size,
    before: Sequence[Case],
    *,
    limits: Limits,
    rounds: int,
    tell: Callable[[str], None],
    folder: Path = FOLDER,
) -> Case:
    """Measure all contenders on files of a size, one run each a round, in an order that turns from round to round.

    ``before`` are the smaller cases of this work: they tell who would take longer than the limit and is left out.
    """
    shown = f"{work.title}, {size.rows:,} × {size.columns}" if size.rows else work.title
    files = files_of(size, folder / "data", tell)
    skipped = {one.name: skip_reason(one, size, before, limits, folder) for one in work.contenders}
    taking_part = [one for one in work.contenders if not skipped[one.name]]
    runs: dict[str, list[Run]] = {one.name: [] for one in work.contenders}
    for one in taking_part:
        if one.name in FLOORS:  # the files are in the system's cache from here on, for all alike
            run_once(one.command(folder, files), limits=limits)
    load: list[float] = []
    for turn in range(rounds):
        load.append(os.getloadavg()[0])
        for one in (*taking_part[turn % len(taking_part) :], *taking_part[: turn % len(taking_part)]):
            mine = runs[one.name]
            if sum(run.wall_seconds for run in mine) > PATIENCE_SECONDS or any(run.problem for run in mine):
                continue
            tell(f"{shown}: round {turn + 1} of {rounds}, {one.name}")
            run = run_once(one.command(folder, files), limits=limits, exit_codes=one.exit_codes)
            mine.append(replace(run, answer=one.answer(run.answer)) if run.answer else run)
    entries = [Entry(name, mine, skipped[name]) for name, mine in runs.items()]
    return Case(size.rows, size.columns, entries, load)


def skip_reason(one: Contender, size: Size, before: Sequence[Case], limits: Limits, folder: Path) -> str:
    """Why a contender is left out of a case: it is not installed, ran out of memory before, or would take too long.

    Empty where it takes part. A floor takes part always.
    """
    if one.room != HERE and not python(folder, one.room).exists():
        return "not installed"
    done = [(case.rows * max(case.columns, 1), entry) for case in before if (entry := case.entry(one.name))]
    ended = [run.problem for _, entry in done for run in entry.runs if run.problem.startswith("ended")]
    if ended:
        return f"not run: a smaller file was {ended[0]}"
    seconds = foreseen_seconds(done, size.rows * max(size.columns, 1))
    if one.name not in FLOORS and seconds is not None and seconds > limits.seconds:
        return f"not run: about {seconds / 60:.0f} min foreseen"
    return ""


def files_of(size: Size, folder: Path, tell: Callable[[str], None]) -> list[Path]:
    """The files of a size, made where they are not there yet; their names change with the code that makes them."""
    digest = hashlib.sha256(Path(__file__).with_name("workload.py").read_bytes()).hexdigest()[:8]
    files = []
    for side in ("reference", "current")[: size.sides]:
        options = ["--labels"] * size.labels + ["--current"] * (side == "current") + ["--skewed"] * size.skewed
        shape = f"{size.rows}x{size.columns}{'-skewed' if size.skewed else ''}"
        name = f"{shape}-{'labelled' if size.labels else side}-{digest}.parquet"
        files.append(folder / name)
        if not files[-1].exists():
            tell(f"writing {name}")
            options += ["--rows", str(size.rows), "--columns", str(size.columns)]
            run = run_once([sys.executable, "-m", "benchmarks.workload", files[-1], *options], limits=_WRITING)
            if run.problem:
                raise SystemExit(f"{name}: {run.problem}")
    return files


def machine() -> dict[str, str]:
    """The machine and the versions that Driftline runs with, as the page names them."""
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    return {
        "processor": f"{_processor()}, {os.cpu_count()} cores",
        "memory": f"{memory / 2**30:.0f} GiB",
        "system": f"{platform.system()} {platform.release()}",
        "Python": platform.python_version(),
        **{name: metadata.version(name) for name in ("driftline", "polars", "numpy")},
    }


def _processor() -> str:
    try:
        found = re.search(r"^model name\s*: (.*)$", Path("/proc/cpuinfo").read_text(encoding="utf-8"), re.MULTILINE)
    except OSError:
        found = None
    return found[1] if found else platform.machine()


def commit() -> str:
    """The commit that is measured, with a plus where the sources differ from it; empty outside a checkout."""

    def git(*arguments: str) -> str:
        return subprocess.run(["git", *arguments], cwd=ROOT, capture_output=True, text=True, check=False).stdout.strip()

    return git("rev-parse", "--short", "HEAD") + "+" * bool(git("status", "--porcelain", "--", "src"))


def _teller() -> Callable[[str], None]:
    """Say on stderr what is going on, if a terminal is there to show it; an empty text ends it."""
    if not sys.stderr.isatty():
        return lambda _: None
    from rich.console import Console

    status = Console(stderr=True).status("")

    def tell(text: str) -> None:
        if text:
            status.update(text)
            status.start()
        else:
            status.stop()

    return tell


if __name__ == "__main__":
    main()
