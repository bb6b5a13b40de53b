"""``driftline hold``."""

from __future__ import annotations

import getpass
from collections.abc import Callable
from typing import TYPE_CHECKING

import click

from driftline.cli.configured import configured
from driftline.cli.streams import print_json
from driftline.errors import UnknownNameError, UsageError
from driftline.text import visible

if TYPE_CHECKING:
    from driftline.config.load import Config


@click.command("hold")
@click.argument("model")
@click.option("--reason", default="", help="Why, such as the case; needed to hold.")
@click.option("--release", "is_release", is_flag=True, help="Release the hold.")
@click.option("--by", default=getpass.getuser, show_default="your user name", help="Who says so.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON document.")
@configured
def command(model: str, reason: str, is_release: bool, by: str, as_json: bool, config: Callable[[], Config]) -> None:
    """Have nothing of MODEL deleted, neither what is old nor what is to be forgotten, until the hold is released."""
    import msgspec

    from driftline import clock
    from driftline.monitoring.forgetting import HoldBody, hold, release
    from driftline.views.offline import open_state

    known = config()
    if model not in known.models:
        raise UnknownNameError("model", model, known.models)
    if not reason.strip() and not is_release:
        raise UsageError("a hold has a reason; say it with --reason")
    state = open_state(known)
    if is_release:
        row = release(state, model, by, clock.now())
    else:
        row = hold(state, model, HoldBody(reason, by), clock.now())
    if as_json:
        print_json(msgspec.json.encode({"held": not is_release, "hold": row}).decode())
    elif is_release:
        click.echo(f"The hold on {visible(model)} is released; what is too old is deleted again.")
    else:
        click.echo(f"{visible(model)} is held: nothing of it is deleted until the hold is released.")
