"""``driftline doctor``."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import click

from driftline.cli.configured import configured
from driftline.cli.main import ALERTS, OK
from driftline.cli.streams import print_json
from driftline.text import visible

if TYPE_CHECKING:
    from driftline.config.load import Config


@click.command("doctor")
@configured
@click.option("--json", "as_json", is_flag=True, help="Print one JSON document.")
def command(config: Callable[[], Config], as_json: bool) -> int:
    """Examine a service, whether it runs or not: disk, database, clocks, files, tokens. Exits with 1 if a check failed.

    Nothing is changed, and nothing is sent anywhere.
    """
    import msgspec
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    from driftline import clock
    from driftline.service.doctor import Status, diagnose

    found = diagnose(config(), clock.now())
    if as_json:
        print_json(msgspec.json.encode(found).decode())
    else:
        styles = {Status.OK: "green", Status.WARNING: "yellow", Status.FAILED: "bold red"}
        table = Table(box=None, pad_edge=False, show_header=False)
        table.add_column(no_wrap=True)
        table.add_column(no_wrap=True)
        table.add_column(overflow="fold")
        for one in found.checks:
            table.add_row(Text(one.status.value, styles[one.status]), one.name, Text(visible(one.message)))
        Console(highlight=False).print(table)
    return OK if found.ok else ALERTS
