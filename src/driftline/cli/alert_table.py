"""The table of ``driftline alerts``."""

from __future__ import annotations

from collections.abc import Sequence

from rich.console import Console
from rich.table import Table
from rich.text import Text

from driftline.alerts.message import AlertView, told
from driftline.text import visible
from driftline.text.moments import day_or_moment

_DAY = len("2026-03-01")
_STYLES = {"page": "bold red", "warning": "yellow", "info": "cyan"}


def print_alerts(alerts: Sequence[AlertView]) -> None:
    """Print a row an alert; below them, which are muted or acknowledged."""
    table = Table(box=None, pad_edge=False, header_style="bold")
    table.add_column("alert", no_wrap=True)
    table.add_column("severity", no_wrap=True)
    for name in ("model", "rule"):
        table.add_column(name, overflow="fold")
    table.add_column("since", overflow="fold", min_width=_DAY)
    for name in ("value", "limit"):
        table.add_column(name, justify="right", overflow="fold")
    notes: list[str] = []
    for one in alerts:
        said = told(one)
        table.add_row(
            Text(one.id),
            Text(one.severity, _STYLES.get(one.severity, "")) if one.status == "firing" else Text(one.status),
            Text(visible(one.model)),
            Text(visible(one.name)),
            Text(day_or_moment(one.span.start, one.timezone)),
            Text("–" if one.value is None else said.value),
            Text(said.threshold),
        )
        if one.muted and one.status == "firing":
            notes.append(f"{one.id}: {one.muted}")
        if one.acknowledged is not None:
            notes.append(f"{one.id}: acknowledged by {one.acknowledged.by}: {one.acknowledged.reason}")
    console = Console(highlight=False)
    console.print(table)
    for note in notes:
        console.print(Text(visible(note), "dim"))
