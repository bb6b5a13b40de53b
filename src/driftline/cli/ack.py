"""``driftline ack``."""

from __future__ import annotations

import getpass
from collections.abc import Callable
from typing import TYPE_CHECKING

import click

from driftline.cli.configured import configured
from driftline.text import visible

if TYPE_CHECKING:
    from driftline.config.load import Config


@click.command("ack")
@click.argument("alert")
@click.option("--reason", required=True, help="Why, or what you do about it.")
@click.option("--by", default=getpass.getuser, show_default="your user name", help="Who acknowledges it.")
@configured
def command(alert: str, reason: str, by: str, config: Callable[[], Config]) -> None:
    """Acknowledge ALERT (its id): no more notifications of it are sent while it goes on."""
    from driftline import clock
    from driftline.alerts.attention import AcknowledgeBody, acknowledge
    from driftline.views.offline import open_state

    state = open_state(config())
    row = acknowledge(state, alert, AcknowledgeBody(by=by, reason=reason), clock.now())
    click.echo(visible(f"{row.name} of {row.model} is acknowledged by {by}."))
