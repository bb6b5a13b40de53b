"""Print a plain table, as wide as the terminal: what strangers wrote acts on nothing in it."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from driftline.text import visible


def print_table(columns: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
    """Print rows under the names of their columns; long texts are folded."""
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table(box=None, pad_edge=False, header_style="bold")
    for column in columns:
        table.add_column(column, overflow="fold")
    for row in rows:
        table.add_row(*(Text(visible(text)) for text in row))
    Console(highlight=False).print(table)
