"""Render a backtest for a terminal: how often, when and how late each rule would have fired, on a timeline."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise

from rich.console import RenderableType
from rich.table import Table
from rich.text import Text

from driftline.reports.report_text import Characters
from driftline.rules.backtest import Backtest, RuleRecord
from driftline.text.moments import day_or_moment
from driftline.text.numbers import fixed

ALERTS_SHOWN = 12
_LEAST_STRIP, _MOST_STRIP = 10, 60
_REST = 46
"""The width of the table's other columns, beside the timeline."""
_ORDER = "Ab.?"
_DRAWN, _PLAIN = {"A": "█", "b": "▄", ".": "·", "?": " "}, {"A": "#", "b": "+", ".": ".", "?": " "}


def renderables(found: Backtest, *, encoding: str = "utf-8", width: int = 80) -> Iterator[RenderableType]:
    """Yield the parts of a backtest for a terminal ``width`` characters wide, top to bottom, in the ``encoding``."""
    characters = Characters(encoding)
    yield _verdict(found, characters)
    if found.start is None or found.end is None:
        return
    until, since = day_or_moment(found.end, found.timezone), day_or_moment(found.start, found.timezone)
    yield characters.text(f"{found.model}: {found.windows:,} windows from {since} to {until}", keep="")
    if found.budget is not None:
        had = "–" if found.budget.per_year is None else fixed(found.budget.per_year, 1)
        yield characters.text(
            f"False alarms that may be: {fixed(found.budget.stated, 1)} a year; alarms there were: {had}"
        )
    yield from (characters.text(note, keep="") for note in found.notes)
    yield Text()
    yield _table(found, characters, min(max(width - _REST, _LEAST_STRIP), _MOST_STRIP))
    legend = characters.text("█ alert  ▄ breach without an alert  · ok  (blank) not judged", "dim")
    yield legend if characters.blocks[-1] == "█" else Text("# alert  + breach without an alert  . ok", "dim")
    yield from _alerts(found, characters)
    if found.against is not None:
        yield Text()
        yield Text("The other configuration on the same history:", "bold")
        yield from renderables(found.against, encoding=encoding, width=width)


def strip(states: str, width: int) -> str:
    """Shorten the states of windows (see `RuleRecord`) to at most ``width`` letters, each the most severe of several.

    >>> strip("..A...b?", 4), strip("A.", 10), strip("", 4)
    ('.A.b', 'A.', '')
    """
    if len(states) <= width:
        return states
    edges = [len(states) * place // width for place in range(width + 1)]
    return "".join(min(states[begin:end], key=_ORDER.index) for begin, end in pairwise(edges))


def _verdict(found: Backtest, characters: Characters) -> Text:
    count = len(found.alerts)
    rate = "" if found.per_year is None else f", {fixed(found.per_year, 1)} a year"
    said = f"ALERT: {count} alert{'s' if count > 1 else ''} would have fired{rate}" if count else "OK: no alert"
    late = ""
    if found.changed is not None and found.changed.delay_windows is not None:
        late = f"; after the change the first one in window {found.changed.delay_windows}"
    elif found.changed is not None:
        late = "; none after the change"
    return characters.text(said + late, "bold red" if count else "bold green")


def _table(found: Backtest, characters: Characters, width: int) -> Table:
    table = Table(box=None, pad_edge=False, header_style="bold")
    table.add_column("rule", overflow="fold", max_width=24)
    table.add_column("alerts", justify="right")
    table.add_column("a year", justify="right")
    if found.changed is not None:
        table.add_column("late", justify="right")
    table.add_column("when", no_wrap=True)
    for record in found.rules:
        table.add_row(*_cells(record, characters, width, late=found.changed is not None))
    return table


def _cells(record: RuleRecord, characters: Characters, width: int, *, late: bool) -> Iterator[Text]:
    yield characters.text(record.rule)
    yield Text(f"{record.alerts:,}", "bold red" if record.alerts else "")
    yield Text("–" if record.per_year is None else fixed(record.per_year, 1))
    if late:
        yield Text("–" if record.delay_windows is None else str(record.delay_windows))
    drawn = _DRAWN if characters.blocks[-1] == "█" else _PLAIN
    yield Text("".join(drawn[letter] for letter in strip(record.states, width)))


def _alerts(found: Backtest, characters: Characters) -> Iterator[RenderableType]:
    alerts, zone = found.alerts, found.timezone
    if not alerts:
        return
    yield Text()
    for alert in alerts[:ALERTS_SHOWN]:
        of = f" ({alert.slice})" if alert.slice else ""
        until = "to the end" if alert.until is None else f"until {day_or_moment(alert.until, zone)}"
        yield characters.text(f"{day_or_moment(alert.window.start, zone)} {alert.rule}{of}, {until}: {alert.reason}")
    if len(alerts) > ALERTS_SHOWN:
        yield Text(f"… and {len(alerts) - ALERTS_SHOWN} more: --json has all of them")
