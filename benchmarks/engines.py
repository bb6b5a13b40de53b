"""What profiles cost: by rows, by columns, by windows, to merge, and on Spark with one core and with two.

    python -m benchmarks.engines [--quick] [--only rows|columns|windows|merge|spark] [--write]

Each figure is of a process of its own (`benchmarks.jobs.profiles`); what it costs to make the rows is measured by
itself and taken off. Results are kept in ``.bench/engines.json``, so that some can be measured again; ``--write`` puts
all that are there into docs/scale.md, with the time and the load of the machine at which they were measured.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from benchmarks.between import between, measured_now
from benchmarks.chart import drawing
from driftline.text.numbers import number

ROOT = Path(__file__).parents[1]
KEPT, PAGE, PICTURE = ROOT / ".bench/engines.json", ROOT / "docs/scale.md", ROOT / "docs/images/scale.svg"
MILLION, COLUMNS, WINDOWS = 10**6, 25, 30
FEW = 5  # columns of the rows that are counted by the hundred million
ROWS, QUICK_ROWS = (MILLION, 10 * MILLION, 100 * MILLION), (100_000, MILLION)
WIDTHS, LENGTHS, CORES = (5, 25, 100), (30, 300, 3_000), (1, 2)
COLOURS = {"one process": "#0072b2", "Spark, one core": "#d55e00", "Spark, two cores": "#009e73"}


class Asked(NamedTuple):
    """One measurement: its part, its name among the kept ones, and the arguments of the job."""

    part: str
    name: str
    arguments: tuple[str, ...]


def asked(*, quick: bool) -> Iterator[Asked]:
    """All measurements, the longest one last."""
    rows = QUICK_ROWS if quick else ROWS
    million = 100_000 if quick else MILLION
    for columns in WIDTHS:
        yield _job("columns", "made", million, columns, WINDOWS)
        yield _job("columns", "local", million, columns, WINDOWS)
    for windows in LENGTHS[:2] if quick else LENGTHS:
        yield _job("windows", "local", million, COLUMNS, windows)
    for columns in WIDTHS:
        yield _job("merge", "merge", columns, WINDOWS)
    for cores in CORES:
        for count in rows[:2]:
            yield _job("spark", "spark", count, FEW, WINDOWS, cores)
    for count in rows:
        yield _job("rows", "made", count, FEW, WINDOWS)
        yield _job("rows", "local", count, FEW, WINDOWS)


def _job(part: str, *arguments: object) -> Asked:
    words = tuple(map(str, arguments))
    return Asked(part, " ".join(words), words)


def measure(job: Asked) -> dict[str, Any]:
    """Run one measurement; what went wrong ends everything, since a figure would be missing."""
    command = [sys.executable, "-W", "ignore", "-m", "benchmarks.jobs.profiles", *job.arguments]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(f"{' '.join(command)} failed: {done.stderr.strip()[-500:]}")
    found: dict[str, Any] = json.loads(done.stdout.strip().splitlines()[-1])
    if found.get("same") is False:
        raise SystemExit(f"{' '.join(command)}: Spark made other profiles than this process of the same rows")
    return found | {"when": measured_now()}


# ---- the page --------------------------------------------------------------------------------------------------------


def tables(kept: Mapping[str, Mapping[str, Any]]) -> dict[str, list[str]]:
    """The tables of the page by their names, of all that has been measured."""
    return {
        "columns": _table(
            ("columns", "CPU seconds a million rows", "bytes a window of 33,000 rows", "CPU ms to merge one"),
            [_by_columns(kept, columns) for columns in WIDTHS],
        ),
        "extrapolated": _table(
            ("columns", "CPU hours for 10⁹ rows", "cores, if it takes a day", "cores, if it takes an hour"),
            [_extrapolated(kept, columns) for columns in WIDTHS],
        ),
        "windows": _table(
            ("windows", "rows of each", "CPU seconds a million rows", "bytes a window"),
            [_by_windows(kept, windows) for windows in LENGTHS],
        ),
        "rows": _table(
            ("rows", "where", "CPU seconds", "a million rows", "seconds", "peak memory", "measured"),
            [*(_by_rows(kept, rows) for rows in ROWS), *_on_spark(kept)],
        ),
    }


def _by_columns(kept: Mapping[str, Mapping[str, Any]], columns: int) -> list[str] | None:
    found = kept.get(f"local {MILLION} {columns} {WINDOWS}")
    made = kept.get(f"made {MILLION} {columns} {WINDOWS}")
    if found is None or made is None:
        return None
    merged = kept.get(f"merge {columns} {WINDOWS}")
    took = "–" if merged is None else _figure(1e3 * merged["processor"])
    each = found["bytes"] // found["windows"]
    return [str(columns), _figure(found["processor"] - made["processor"]), f"{each:,}", took]


def _extrapolated(kept: Mapping[str, Mapping[str, Any]], columns: int) -> list[str] | None:
    """A thousand times what a million rows took."""
    line = _by_columns(kept, columns)
    if line is None:
        return None
    found, made = (kept[f"{what} {MILLION} {columns} {WINDOWS}"] for what in ("local", "made"))
    hours = 1_000 * (found["processor"] - made["processor"]) / 3_600
    return [str(columns), _figure(hours), _figure(hours / 24), _figure(hours)]


def _by_windows(kept: Mapping[str, Mapping[str, Any]], windows: int) -> list[str] | None:
    found = kept.get(f"local {MILLION} {COLUMNS} {windows}")
    made = kept.get(f"made {MILLION} {COLUMNS} {WINDOWS}")
    if found is None or made is None:
        return None
    each = found["bytes"] // found["windows"]
    return [f"{windows:,}", f"{MILLION // windows:,}", _figure(found["processor"] - made["processor"]), f"{each:,}"]


def _by_rows(kept: Mapping[str, Mapping[str, Any]], rows: int) -> list[str] | None:
    found, made = (kept.get(f"{what} {rows} {FEW} {WINDOWS}") for what in ("local", "made"))
    if found is None or made is None:
        return None
    took = found["processor"] - made["processor"]
    wall = found["wall"] - made["wall"]
    return _line(rows, "one process", took, wall, found)


def _on_spark(kept: Mapping[str, Mapping[str, Any]]) -> Iterator[list[str] | None]:
    for cores, where in zip(CORES, ("Spark, one core", "Spark, two cores"), strict=True):
        for rows in ROWS:
            found = kept.get(f"spark {rows} {FEW} {WINDOWS} {cores}")
            yield None if found is None else _line(rows, where, found["processor"], found["wall"], found)


def _line(rows: int, where: str, took: float, wall: float, found: Mapping[str, Any]) -> list[str]:
    each = _figure(took / (rows / MILLION))
    memory = f"{found['peak'] / 1e6:,.0f} MB"
    return [f"{rows:,}", where, _figure(took), each, _figure(wall), memory, found["when"].removeprefix("Measured ")]


def _figure(value: float) -> str:
    return number(value)


def _table(head: tuple[str, ...], lines: list[list[str] | None]) -> list[str]:
    there = ["| " + " | ".join(line) + " |" for line in lines if line is not None]
    return ["| " + " | ".join(head) + " |", "| " + " | ".join(["---"] * len(head)) + " |", *there]


def draw(kept: Mapping[str, Mapping[str, Any]]) -> str:
    """CPU seconds and peak memory by rows, both on logarithmic axes."""
    seconds: dict[str, list[tuple[float, float]]] = {name: [] for name in COLOURS}
    memory: dict[str, list[tuple[float, float]]] = {name: [] for name in COLOURS}
    for rows in ROWS:
        names = (f"local {rows} {FEW} {WINDOWS}", *(f"spark {rows} {FEW} {WINDOWS} {cores}" for cores in CORES))
        for where, name in zip(COLOURS, names, strict=True):
            if name in kept:
                seconds[where].append((rows, kept[name]["processor"]))
                memory[where].append((rows, kept[name]["peak"] / 1e6))
    title = "profiles by rows, in one process and on Spark"
    across = f"rows of {FEW} columns"
    return drawing(title, [("CPU seconds", across, seconds), ("Peak memory of a process, MB", across, memory)], COLOURS)


def write(kept: Mapping[str, Mapping[str, Any]]) -> None:
    """Put what has been measured into the page, and draw it."""
    page = PAGE.read_text()
    for name, lines in tables(kept).items():
        page = between(page, f"<!-- engines: {name} -->", f"<!-- engines: {name}, end -->", lines)
    PAGE.write_text(page)
    PICTURE.write_text(draw(kept))


def _kept() -> dict[str, Any]:
    found: dict[str, Any] = json.loads(KEPT.read_text()) if KEPT.exists() else {}
    return found


def main() -> None:
    """Read the arguments; measure, keep and write."""
    parser = argparse.ArgumentParser(description="Measure what profiles cost.")
    parser.add_argument("--quick", action="store_true", help="a tenth of the rows; nothing is kept")
    parser.add_argument("--only", choices=("rows", "columns", "windows", "merge", "spark"), help="this part alone")
    parser.add_argument("--write", action="store_true", help="put what is kept into docs/scale.md, and measure nothing")
    said = parser.parse_args()
    kept = _kept()
    if not said.write:
        for job in asked(quick=said.quick):
            if said.only in (None, job.part):
                found = measure(job)
                sys.stdout.write(f"{job.name}: {json.dumps(found)}\n")
                sys.stdout.flush()
                if not said.quick:
                    kept = _kept() | {job.name: found}  # another run may have measured something meanwhile
                    KEPT.write_text(json.dumps(kept, indent=1))
    if said.write or not said.quick:
        write(kept)


if __name__ == "__main__":
    main()
