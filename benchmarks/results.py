"""What was measured, as it is kept in JSON."""

from __future__ import annotations

import statistics
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import msgspec

from benchmarks.measure import Run


@dataclass(frozen=True, slots=True)
class Entry:
    """One contender on one case: its runs, or why there are none (``skipped``). A run with a problem does not count."""

    contender: str
    runs: list[Run] = field(default_factory=list)
    skipped: str = ""

    @property
    def good(self) -> list[Run]:
        """The runs that count."""
        return [run for run in self.runs if not run.problem]

    @property
    def reason(self) -> str:
        """Why there is no number; empty where there is one."""
        if self.good:
            return ""
        return self.skipped or next((run.problem for run in self.runs), "not run")

    def median(self, of: Callable[[Run], float | None]) -> float | None:
        """The median over the runs that count and have this number; None without any."""
        found = [value for run in self.good if (value := of(run)) is not None]
        return statistics.median(found) if found else None

    @property
    def wall_seconds(self) -> float | None:
        """Median of the whole process, by the clock."""
        return self.median(lambda run: run.wall_seconds)

    @property
    def inside_seconds(self) -> float | None:
        """Median of what the process timed itself, without its imports."""
        return self.median(lambda run: run.inside_seconds)

    @property
    def cpu_seconds(self) -> float | None:
        """Median of the processor time, all cores together."""
        return self.median(lambda run: run.cpu_seconds)

    @property
    def peak_bytes(self) -> float | None:
        """Median of the peak memory."""
        return self.median(lambda run: run.peak_bytes)

    @property
    def call_microseconds(self) -> float | None:
        """Median of what one call took, where calls were timed."""
        return self.median(lambda run: (run.answer or {}).get("call_microseconds"))


@dataclass(frozen=True, slots=True)
class Case:
    """All contenders on files of one size; 0 × 0 where there is no file.

    ``load`` is the load average of a minute before each round: over 1, others were at work too, as one run goes at a
    time and mostly on one core.
    """

    rows: int
    columns: int
    entries: list[Entry] = field(default_factory=list)
    load: list[float] = field(default_factory=list)

    def entry(self, contender: str) -> Entry | None:
        """The entry of a contender, if it was there."""
        return next((entry for entry in self.entries if entry.contender == contender), None)


@dataclass(frozen=True, slots=True)
class Measured:
    """One work: when it began, at which commit, its cases."""

    when: str
    commit: str
    cases: list[Case] = field(default_factory=list)

    @property
    def load(self) -> list[float]:
        """The load averages of all its cases."""
        return [one for case in self.cases for one in case.load]

    def entry(self, rows: int, columns: int, contender: str) -> Entry | None:
        """The entry of a contender on files of a size, if there is one."""
        found = (case.entry(contender) for case in self.cases if (case.rows, case.columns) == (rows, columns))
        return next(found, None)


@dataclass(frozen=True, slots=True)
class Results:
    """The machine, by what is said of it and its cores, and the works that were measured, by key."""

    machine: dict[str, str] = field(default_factory=dict)
    works: dict[str, Measured] = field(default_factory=dict)
    cores: int = 1

    def entry(self, work: str, rows: int, columns: int, contender: str) -> Entry | None:
        """The entry of a contender at a work, on files of a size, if there is one."""
        measured = self.works.get(work)
        return measured.entry(rows, columns, contender) if measured else None


def read(path: Path) -> Results:
    """The results in a file; none where there is no file."""
    return msgspec.json.decode(path.read_bytes(), type=Results) if path.exists() else Results()


def save(results: Results, path: Path) -> None:
    """Write a file, whole or not at all."""
    part = path.with_suffix(".part")
    part.write_bytes(msgspec.json.format(msgspec.json.encode(results), indent=1))
    part.replace(path)
