"""``driftline challengers``."""

from __future__ import annotations

import getpass
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import click

from driftline.cli.configured import configured
from driftline.cli.streams import print_json
from driftline.retrain.request import Stage

if TYPE_CHECKING:
    from driftline.config.load import Config


@click.group("challengers", invoke_without_command=True)
@configured
@click.option("--model", help="Of this model only.")
@click.option("--json", "as_json", is_flag=True, help="One JSON document.")
@click.pass_context
def command(context: click.Context, config: Callable[[], Config], model: str | None, as_json: bool) -> None:
    """List the requests for challengers, the newest first; approve or refuse one that has won, or cancel one."""
    import msgspec

    from driftline.cli.request_table import print_requests
    from driftline.retrain.views import all_requests
    from driftline.views.offline import open_state

    context.obj = config
    if context.invoked_subcommand is not None:
        return
    found = all_requests(open_state(config()), model)
    if as_json:
        print_json(msgspec.json.encode({"requests": found}).decode())
    elif not found:
        click.echo("No challenger has been asked for.")
    else:
        print_requests(found)


def _decision(name: str, stage: Stage, help: str, said: str) -> None:
    @command.command(name, help=help)
    @click.argument("request")
    @click.option("--reason", required=True, help="Why.")
    @click.option("--by", default=getpass.getuser, show_default="your user name", help="Who says so.")
    @click.pass_obj
    def decide(config: Callable[[], Config], request: str, reason: str, by: str) -> None:
        from driftline import clock
        from driftline.retrain.requests import AskBody, decide_by_person
        from driftline.views.offline import open_state

        known = config()
        body = AskBody(by=by, reason=reason)
        row = decide_by_person(known.retrain, open_state(known), request, stage, body, clock.now())
        click.echo(f"{row.version} of {row.model} is {said} by {by}.")


@command.command("cancel")
@click.argument("request")
@click.option("--reason", required=True, help="Why.")
@click.option("--by", default=getpass.getuser, show_default="your user name", help="Who says so.")
@click.pass_obj
def cancel(config: Callable[[], Config], request: str, reason: str, by: str) -> None:
    """End REQUEST before its contest was held: it has failed, and its run on this machine is ended."""
    from driftline import clock
    from driftline.retrain.requests import AskBody, cancel_by_person
    from driftline.views.offline import open_state

    found = config()
    runs = Path(found.storage) / "runs"
    row = cancel_by_person(open_state(found), runs, request, AskBody(by=by, reason=reason), clock.now())
    click.echo(f"Request {row.id} of {row.model} is cancelled by {by}.")


_decision("approve", Stage.PROMOTING, "Have the challenger of REQUEST promoted: it has won.", "approved")
_decision("refuse", Stage.REFUSED, "Keep the champion, although the challenger of REQUEST has won.", "refused")
