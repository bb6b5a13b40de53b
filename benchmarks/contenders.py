"""What is measured: each work, its sizes, and who does it with which command."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from benchmarks.results import Entry
from driftline.cli.main import COMMANDS

JOBS = Path(__file__).with_name("jobs")
SCRIPT = Path(sys.executable).with_name("driftline")
HERE = "driftline"
"""The environment that this runs in; the others are folders of `.bench/`."""

DRIFTLINE, READ, PYTHON = "Driftline", "Polars read", "bare Python"
EVIDENTLY, WHYLOGS, NANNYML = "Evidently 0.7.23", "whylogs 1.6.4", "NannyML 0.13.1"
HELPS = {command: f"driftline {command} --help" for command in COMMANDS}
HELP = "driftline --help"
FLOORS = (READ, PYTHON)

SMALL, MIDDLE, LARGE = 100_000, 1_000_000, 10_000_000
COLUMNS = 25
TARGETS = ("time", "score", "prediction", "label")

Command = list[str | Path]


@dataclass(frozen=True, slots=True)
class Contender:
    """Who does a work: in which environment, with which command after its Python, given the files of a case.

    ``exit_codes`` are those of success. ``answer`` picks from what the command printed what is worth keeping.
    """

    name: str
    room: str
    arguments: Callable[[Sequence[Path]], Command]
    exit_codes: tuple[int, ...] = (0,)
    answer: Callable[[Mapping[str, Any]], Mapping[str, Any]] = dict

    def command(self, folder: Path, files: Sequence[Path]) -> Command:
        """The whole command; ``folder`` holds the environments of the peers."""
        return [python(folder, self.room), *self.arguments(files)]


@dataclass(frozen=True, slots=True)
class Size:
    """Files of ``rows`` × ``columns`` features; ``sides`` of them, or one with ``labels``. 0 rows: no file.

    ``skewed`` names the second workload of `benchmarks.workload`.
    """

    rows: int
    columns: int
    sides: int = 2
    labels: bool = False
    skewed: bool = False


@dataclass(frozen=True, slots=True)
class Work:
    """A work, its title, who does it (the floor first) and on what, smallest files first."""

    title: str
    contenders: tuple[Contender, ...]
    sizes: tuple[Size, ...] = (Size(0, 0, sides=0),)
    quick: tuple[Size, ...] = field(default=(Size(0, 0, sides=0),))


def python(folder: Path, room: str) -> Path:
    """The interpreter of an environment."""
    return Path(sys.executable) if room == HERE else folder / room / "bin" / "python"


def _job(name: str, *before: str) -> Callable[[Sequence[Path]], Command]:
    return lambda files: [JOBS / f"{name}.py", *before, *files]


def _code(text: str) -> Callable[[Sequence[Path]], Command]:
    return lambda _: ["-c", text]


def _help(command: str) -> Contender:
    return Contender(HELPS[command], HERE, lambda _: [SCRIPT, command, "--help"])


def _check(files: Sequence[Path]) -> Command:
    return [SCRIPT, "check", *files, "--json"]


def _verdict(document: Mapping[str, Any]) -> dict[str, int]:
    return {"drifted": sum(bool(column["drift"]["drifted"]) for column in document["columns"])}


def _sizes(rows: Sequence[int], columns: Sequence[int], sides: int) -> tuple[Size, ...]:
    """By rows at 25 columns and by columns at the smallest number of rows, smallest files first."""
    pairs = {(one, COLUMNS) for one in rows} | {(rows[0], one) for one in columns}
    return tuple(Size(*pair, sides=sides) for pair in sorted(pairs, key=lambda pair: pair[0] * pair[1]))


WORKS: Mapping[str, Work] = {
    "start": Work(
        "Start",
        (
            Contender(PYTHON, HERE, _code("pass")),
            Contender(DRIFTLINE, HERE, _code("import driftline")),
            Contender(HELP, HERE, lambda _: [SCRIPT, "--help"]),
            *map(_help, COMMANDS),
            Contender(EVIDENTLY, "evidently", _code("import evidently")),
            Contender(WHYLOGS, "whylogs", _code("import whylogs")),
            Contender(NANNYML, "nannyml", _code("import nannyml")),
        ),
    ),
    "log": Work(
        "A call in the hot path",
        (
            Contender(DRIFTLINE, HERE, _job("driftline_sdk")),
            Contender(WHYLOGS, "whylogs", _job("whylogs_rows")),
        ),
    ),
    "performance": Work(
        "Daily performance",
        (
            Contender(READ, HERE, _job("read_floor", ",".join(TARGETS))),
            Contender(DRIFTLINE, HERE, _job("driftline_performance")),
            Contender(NANNYML, "nannyml", _job("nannyml_performance")),
        ),
        tuple(Size(rows, 0, sides=1, labels=True) for rows in (SMALL, MIDDLE, LARGE)),
        tuple(Size(rows, 0, sides=1, labels=True) for rows in (SMALL, MIDDLE)),
    ),
    "profile": Work(
        "Profile of one file",
        (
            Contender(READ, HERE, _job("read_floor", "-")),
            Contender(DRIFTLINE, HERE, _job("driftline_profile")),
            Contender(WHYLOGS, "whylogs", _job("whylogs_profile")),
        ),
        _sizes((SMALL, MIDDLE, LARGE), (10, 100, 1000), 1),
        _sizes((SMALL, MIDDLE), (), 1),
    ),
    "check": Work(
        "Check of two files",
        (
            Contender(READ, HERE, _job("read_floor", "-")),
            Contender(DRIFTLINE, HERE, _check, exit_codes=(0, 1), answer=_verdict),
            Contender(EVIDENTLY, "evidently", _job("evidently_drift")),
        ),
        _sizes((SMALL, MIDDLE, LARGE), (10, 100, 1000), 2),
        _sizes((SMALL, MIDDLE), (), 2),
    ),
    "skewed": Work(
        "Check of two skewed files",
        (
            Contender(READ, HERE, _job("read_floor", "-")),
            Contender(DRIFTLINE, HERE, _check, exit_codes=(0, 1), answer=_verdict),
        ),
        tuple(Size(rows, COLUMNS, skewed=True) for rows in (SMALL, MIDDLE, LARGE)),
        tuple(Size(rows, COLUMNS, skewed=True) for rows in (SMALL, MIDDLE)),
    ),
}


def foreseen_seconds(done: Sequence[tuple[int, Entry]], cells: int) -> float | None:
    """How long a contender will need for so many cells: on a line through its two largest cases.

    ``done`` has (cells, entry), smallest first. With one case only what it timed itself grows, not its imports; without
    any: None.
    """
    known = [(size, entry) for size, entry in done if entry.wall_seconds is not None and size]
    points = [(size, seconds) for size, entry in known if (seconds := entry.wall_seconds) is not None]
    if not points:
        return None
    (size, seconds), before = points[-1], points[:-1]
    if not before or before[-1][0] == size:
        inside = known[-1][1].inside_seconds
        return seconds + (seconds if inside is None else inside) * (cells / size - 1)
    slope = max((seconds - before[-1][1]) / (size - before[-1][0]), 0.0)
    return seconds + slope * (cells - size)
