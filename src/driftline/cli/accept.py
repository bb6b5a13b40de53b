"""``driftline accept``."""

from __future__ import annotations

import getpass
from collections.abc import Callable
from typing import TYPE_CHECKING

import click

from driftline.cli.configured import configured
from driftline.errors import UnknownNameError
from driftline.text import visible

if TYPE_CHECKING:
    from driftline.config.load import Config


@click.command("accept")
@click.argument("model")
@click.option("--since", required=True, help="Since when it is normal: an ISO 8601 moment or date, such as 2024-03-01.")
@click.option("--reason", default="", help="Why it is as it should be.")
@click.option("--by", default=getpass.getuser, show_default="your user name", help="Who accepts it.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON document.")
@configured
def command(model: str, since: str, reason: str, by: str, *, as_json: bool, config: Callable[[], Config]) -> None:
    """Take all windows of MODEL since a moment, at least 7, for the new normal.

    Its detector learns from them, and its alert ends. A moment without a time zone is in that of the model.
    """
    import msgspec

    from driftline import clock
    from driftline.alerts.feedback import AcceptBody, accept
    from driftline.text.moments import day_or_moment, read_moment
    from driftline.views.offline import open_state

    read = config()
    if model not in read.models:
        raise UnknownNameError("model", model, read.models)
    one = read.models[model]
    body = AcceptBody(read_moment("--since", since, one.window.timezone), reason, by)
    found = accept(open_state(read), one, body, clock.now())
    if as_json:
        click.echo(msgspec.json.encode(found))
    else:
        begin = day_or_moment(found.since, one.window.timezone)
        click.echo(visible(f"{found.windows} windows since {begin} are the new normal of {model}, says {found.by}."))
