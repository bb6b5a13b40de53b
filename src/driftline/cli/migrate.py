"""``driftline migrate``."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import TYPE_CHECKING

import click

from driftline.cli.configured import configured
from driftline.cli.streams import print_json

if TYPE_CHECKING:
    from driftline.config.load import Config


@click.command("migrate")
@configured
@click.option("--json", "as_json", is_flag=True, help="Print one JSON document.")
def command(config: Callable[[], Config], as_json: bool) -> None:
    """Bring the database to this release's tables, as `serve` does at its start; an empty one gets them."""
    from driftline.store.addresses import resolved, without_secrets
    from driftline.store.database import migrate_database

    address = config().database
    before, after = migrate_database(address)
    shown = without_secrets(resolved(address))
    if as_json:
        print_json(json.dumps({"database": shown, "from": before or None, "to": after}))
    elif before == after:
        click.echo(f"{shown} has all tables of this release ({after}).")
    else:
        click.echo(f"{shown} was brought from {before or 'nothing'} to {after}.")
