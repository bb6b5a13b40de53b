"""The tables and the chart of docs/performance.md, from the results.

python -m benchmarks.report writes them anew from ``.bench/results.json``, without measuring.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from pathlib import Path

from benchmarks.chart import draw
from benchmarks.contenders import DRIFTLINE, FLOORS, WORKS
from benchmarks.goals import judge
from benchmarks.measure import Run
from benchmarks.results import Case, Entry, Results, read

ROOT = Path(__file__).parents[1]
PAGE = ROOT / "docs" / "performance.md"
CHART = ROOT / "docs" / "images" / "performance.svg"
RESULTS = ROOT / ".bench" / "results.json"
SECTIONS = ("machine", "goals", *WORKS)

_BLANK = "–"
_BUSY = 1.5  # of the load a core; up to there the threads of one contender may wait for each other


def write_page(results: Results, page: Path = PAGE, chart: Path = CHART) -> None:
    """Put the tables between the page's markers and draw the chart."""
    tables = {name: section(name, results) for name in SECTIONS}
    page.write_text(with_tables(page.read_text(encoding="utf-8"), tables), encoding="utf-8")
    chart.write_text(draw(results), encoding="utf-8")


def with_tables(page: str, tables: dict[str, str]) -> str:
    """The page with what stands between ``<!-- bench: NAME -->`` and ``<!-- end -->`` replaced; each must be there.

    >>> with_tables("a\\n<!-- bench: x -->\\nold\\n<!-- end -->\\n", {"x": "new"})
    'a\\n<!-- bench: x -->\\n\\nnew\\n\\n<!-- end -->\\n'
    """
    for name, table in tables.items():
        between = re.compile(rf"(<!-- bench: {re.escape(name)} -->\n).*?(<!-- end -->)", re.DOTALL)
        page, found = between.subn(lambda match, table=table: f"{match[1]}\n{table}\n\n{match[2]}", page)  # type: ignore[misc]
        if found != 1:
            raise SystemExit(f"{found} places for the table {name}; wanted one: <!-- bench: {name} --> … <!-- end -->")
    return page


def as_text(results: Results) -> str:
    """All tables with their titles, the goals last, for a terminal."""
    titles = {"machine": "Machine", "goals": "Goals"} | {key: work.title for key, work in WORKS.items()}
    order = ("machine", *WORKS, "goals")
    return "\n".join(f"{titles[name]}\n\n{section(name, results)}\n" for name in order)


def section(name: str, results: Results) -> str:
    """One table, by name."""
    if name == "machine":
        return table(("", ""), list(results.machine.items()))
    if name == "goals":
        marks = {True: "yes", False: "**no**", None: "not measured"}
        rows = [(one.work, one.goal, one.measured or _BLANK, marks[one.met]) for one in judge(results)]
        made = table(("work", "goal", "measured", "met"), rows)
        doubtful = [work.title for key, work in WORKS.items() if is_provisional(results, key)]
        if not doubtful:
            return made
        why = "measured while others wanted the cores, or with the load unknown"
        return f"{made}\n\n**Provisional**, {why}: {'; '.join(doubtful)}."
    measured = results.works.get(name)
    if measured is None:
        return "Not measured."
    lines = [line for case in measured.cases for line in _lines(name, case)]
    when = f"Measured from {measured.when} on, at commit {measured.commit or 'unknown'}"
    load = f"{min(measured.load):.1f} to {max(measured.load):.1f}" if measured.load else "not recorded"
    unsure = (
        " **Provisional**: others wanted the cores, or the load is unknown; the ratios may be off."
        * is_provisional(results, name)
    )
    return f"{table(_heads(name), lines)}\n\n{when}; load average {load}.{unsure}"


def is_provisional(results: Results, name: str) -> bool:
    """Whether a work was measured while half as much again as the cores was asked for, or nobody knows.

    The processor time of a run is no witness: it is right even where the time by the clock is not.
    """
    measured = results.works.get(name)
    if measured is None:
        return False
    return any(not case.load or max(case.load) > _BUSY * results.cores for case in measured.cases)


def table(heads: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A Markdown table; a bar in a cell is escaped, a line break becomes a blank."""
    lines = [heads, ["---"] * len(heads), *rows]
    return "\n".join(f"| {' | '.join(_cell(one) for one in line)} |" for line in lines)


def _cell(text: str) -> str:
    return " ".join(text.split()).replace("|", "\\|")


def _heads(name: str) -> tuple[str, ...]:
    if name == "log":
        return ("", "µs a call", "runs")
    size = () if name == "start" else ("rows", "columns")
    found = () if name == "start" else ("without imports", "found")
    floor = "bare Python" if name == "start" else "the read"
    return (*size, "", "seconds", "CPU s", "peak MB", f"× {floor}", "× Driftline", *found, "runs")


def _lines(name: str, case: Case) -> list[tuple[str, ...]]:
    floor = next((entry for entry in case.entries if entry.contender in FLOORS), None)
    ours = case.entry(DRIFTLINE)
    return [_line(name, case, entry, floor, ours) for entry in case.entries]


def _line(name: str, case: Case, entry: Entry, floor: Entry | None, ours: Entry | None) -> tuple[str, ...]:
    shown = f"**{entry.contender}**" if entry.contender == DRIFTLINE else entry.contender
    runs = str(len(entry.good)) if entry.good else _BLANK
    if name == "log":
        return (shown, entry.reason or _spread(entry, lambda run: (run.answer or {}).get("call_microseconds")), runs)
    size = () if name == "start" else (f"{case.rows:,}", str(case.columns) if case.columns else "labels")
    answer = () if name == "start" else (_seconds(entry.inside_seconds), _found(entry))
    return (
        *size,
        shown,
        entry.reason or _spread(entry, lambda run: run.wall_seconds),
        _seconds(entry.cpu_seconds),
        _BLANK if entry.peak_bytes is None else f"{entry.peak_bytes / 1e6:.0f}",
        _times(entry, floor),
        _times(entry, ours),
        *answer,
        runs,
    )


def _spread(entry: Entry, of: Callable[[Run], float | None]) -> str:
    """The median, and the range in brackets where there is more than one run."""
    values = [value for run in entry.good if (value := of(run)) is not None]
    if len(values) < 2:
        return _seconds(entry.median(of))
    return f"{_seconds(entry.median(of))} ({_seconds(min(values))} to {_seconds(max(values))})"


def _seconds(value: float | None) -> str:
    """Three digits, but no more than whole numbers from 100 on.

    >>> [_seconds(one) for one in (None, 0.0123456, 1.23456, 12.3456, 1234.56)]
    ['–', '0.0123', '1.23', '12.3', '1,235']
    """
    if value is None:
        return _BLANK
    return f"{value:,.0f}" if value >= 100 else f"{value:#.3g}".rstrip(".")


def _times(entry: Entry, other: Entry | None) -> str:
    if entry is other or other is None or entry.wall_seconds is None or not other.wall_seconds:
        return _BLANK
    ratio = entry.wall_seconds / other.wall_seconds
    return f"{ratio:.0f}" if ratio >= 10 else f"{ratio:.2f}"


def _found(entry: Entry) -> str:
    answer = entry.good[0].answer if entry.good else None
    return ", ".join(f"{name} {value}" for name, value in (answer or {}).items()) or _BLANK


def main() -> None:
    """Write the page from the results that are there."""
    if not RESULTS.exists():
        raise SystemExit("no results yet: make bench")
    write_page(read(RESULTS))


if __name__ == "__main__":
    main()
