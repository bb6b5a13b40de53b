"""``driftline ack``."""

from __future__ import annotations

import getpass
from collections.abc import Callable

import click

from driftline import clock
from driftline.alerts.attention import AcknowledgeBody, acknowledge
from driftline.cli.configured import configured
from driftline.config.load import Config
from driftline.text import visible
from driftline.views.reader import open_state


@click.command("ack")
@click.argument("alert")
@click.option("--reason", required=True, help="What you say of it.")
@click.option("--by", default=getpass.getuser, show_default="your user name", help="Who takes it on.")
@configured
def command(alert: str, reason: str, by: str, config: Callable[[], Config]) -> None:
    """Say that you have taken ALERT (its id) on: nobody is told of it again while it goes on."""
    state = open_state(config())
    row = acknowledge(state, alert, AcknowledgeBody(by=by, reason=reason), clock.now())
    click.echo(visible(f"{row.name} of {row.model} is acknowledged by {by}."))
