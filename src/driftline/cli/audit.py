"""``driftline audit``."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import click

from driftline.cli.configured import configured
from driftline.cli.streams import print_json
from driftline.cli.tables import print_table

if TYPE_CHECKING:
    from driftline.config.load import Config


@click.command("audit")
@configured
@click.option("--model", metavar="M", help="Only changes of this model.")
@click.option("--limit", default=100, show_default=True, type=click.IntRange(1, 100_000), help="How many at most.")
@click.option("--json", "as_json", is_flag=True, help="One JSON document.")
def command(config: Callable[[], Config], model: str | None, limit: int, as_json: bool) -> None:
    """List who changed what, when and why; the newest first."""
    import msgspec

    from driftline.text.moments import moment
    from driftline.views.offline import open_state

    with open_state(config()).read() as read:
        rows = read.audit.newest(limit, model=model)
    if as_json:
        print_json(msgspec.json.encode({"changes": rows}).decode())
        return
    if not rows:
        click.echo("Nobody has changed anything yet.")
        return
    columns = ("at", "by", "action", "model", "subject", "reason")
    print_table(columns, ((moment(one.at), one.by, one.action, one.model, one.subject, one.reason) for one in rows))
