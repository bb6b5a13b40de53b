"""``driftline notify``."""

from __future__ import annotations

from pathlib import Path

import click

from driftline.errors import UnknownNameError


@click.group("notify")
def command() -> None:
    """Try the receivers of alerts."""


@command.command("test")
@click.argument("receiver")
@click.option("--config", "config_path", default="driftline.yaml", show_default=True, type=click.Path(path_type=Path))
def test(receiver: str, config_path: Path) -> None:
    """Send a test message to RECEIVER: its `name`, or its kind and its place in the list, such as webhook-1.

    Receivers that hold alerts (Alertmanager, PagerDuty) are told at once that it is over.
    """
    from driftline.alerts.receivers import send_test
    from driftline.config.load import load

    config = load(config_path)
    found = {one.name: one for one in config.notify}
    if receiver not in found:
        raise UnknownNameError("receiver", receiver, found)
    send_test(found[receiver], next(iter(config.models)))
    click.echo(f"{receiver} took the message.")
