"""``driftline ack``."""

from __future__ import annotations

import getpass
from pathlib import Path

import click

from driftline import clock
from driftline.alerts.attention import AcknowledgeBody, acknowledge
from driftline.config.load import load
from driftline.text import visible
from driftline.views.reader import open_state


@click.command("ack")
@click.argument("alert")
@click.option("--reason", required=True, help="What you say of it.")
@click.option("--by", default=getpass.getuser, show_default="your user name", help="Who takes it on.")
@click.option("--config", "config_path", default="driftline.yaml", show_default=True, type=click.Path(path_type=Path))
@click.option("--data", type=click.Path(path_type=Path), help="Folder of events and state, instead of `storage`.")
def command(alert: str, reason: str, by: str, config_path: Path, data: Path | None) -> None:
    """Say that you have taken ALERT (its id) on: nobody is told of it again while it goes on."""
    config = load(config_path)
    state = open_state(config.at(data) if data is not None else config)
    row = acknowledge(state, alert, AcknowledgeBody(by=by, reason=reason), clock.now())
    click.echo(visible(f"{row.name} of {row.model} is acknowledged by {by}."))
