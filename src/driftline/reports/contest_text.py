"""Print a contest in a terminal: the decision, the gates, the segments."""

from __future__ import annotations

from rich.console import Console
from rich.table import Table
from rich.text import Text

from driftline.reports.words import cleaned, told_segments
from driftline.rules.contest import Contest
from driftline.text.numbers import decimals_of, fixed

_STYLES = {"promote": "bold green", "hold": "bold yellow", "rollback": "bold red"}
_MARKS = {True: Text("✓", "green"), False: Text("✗", "bold red"), None: Text("–", "dim")}


def print_contest(contest: Contest, console: Console | None = None) -> None:
    """Print a contest to a console, by default standard output."""
    console = console or Console(highlight=False)
    console.print(Text(contest.decision.upper(), _STYLES[contest.decision]))
    console.print(Text(contest.reason))
    if contest.positive is not None:
        if contest.positive.doubt:
            console.print(Text(cleaned(contest.positive.doubt), "bold yellow"))
        if contest.positive.guessed:
            console.print(Text(cleaned(f"guessed: positive class {contest.positive.words}"), "dim"))
    for note in contest.notes:
        console.print(Text(cleaned(f"note: {note}"), "dim"))
    console.print()
    table = Table(box=None, pad_edge=False, show_header=False)
    for options in ({"no_wrap": True}, {"no_wrap": True}, {"overflow": "fold"}):
        table.add_column(**options)
    for gate in contest.gates:
        table.add_row(_MARKS[gate.passed], Text(gate.name), Text(gate.reason))
    console.print(table)
    if contest.segments:
        console.print()
        console.print(_segments(contest))


def _segments(contest: Contest) -> Table:
    table = Table(box=None, pad_edge=False, header_style="bold")
    table.add_column("segment", overflow="fold")
    for name in ("rows", "champion", "challenger", "difference", "interval"):
        table.add_column(name, justify="right", no_wrap=True)
    for name, one in zip(told_segments(contest), contest.segments, strict=True):
        found = one.difference
        digits = decimals_of(found.value, found.low, found.high)
        numbers = (found.second, found.first, found.value)
        table.add_row(
            Text(cleaned(name)),
            str(found.n),
            *(fixed(number, digits) for number in numbers),
            "–" if found.low is None else " to ".join(fixed(end, digits, sign=True) for end in (found.low, found.high)),
        )
    return table
