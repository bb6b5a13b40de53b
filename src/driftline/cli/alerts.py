"""``driftline alerts``."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import click

from driftline.cli.configured import configured
from driftline.cli.streams import print_json

if TYPE_CHECKING:
    from driftline.config.load import Config


@click.command("alerts")
@configured
@click.option("--model", help="Of this model only.")
@click.option("--all", "everything", is_flag=True, help="Those that are over, too.")
@click.option("--json", "as_json", is_flag=True, help="One JSON document.")
def command(config: Callable[[], Config], model: str | None, everything: bool, as_json: bool) -> int:
    """List the alerts that are firing, the most severe first; exit with 1 if there are any."""
    import msgspec

    from driftline.cli.alert_table import print_alerts
    from driftline.rules import Severity
    from driftline.views.offline import read_alerts

    found = read_alerts(config(), model)
    firing = [one for one in found if one.status == "firing"]
    shown = sorted(
        found if everything else firing, key=lambda one: (one.status != "firing", Severity(one.severity).rank)
    )
    if as_json:
        print_json(msgspec.json.encode({"alerts": shown}).decode())
    elif not shown:
        click.echo("No alert is firing.")
    else:
        print_alerts(shown)
    return 1 if firing else 0
