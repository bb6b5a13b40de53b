"""``driftline token``."""

from __future__ import annotations

import getpass
from collections.abc import Callable
from typing import TYPE_CHECKING

import click

from driftline.cli.configured import configured
from driftline.cli.streams import print_json
from driftline.cli.tables import print_table
from driftline.errors import UnknownNameError
from driftline.text import visible

if TYPE_CHECKING:
    from driftline.config.load import Config

_by = click.option("--by", default=getpass.getuser, show_default="your user name", help="Who does so.")


@click.group("token")
@configured
@click.pass_context
def command(context: click.Context, config: Callable[[], Config]) -> None:
    """Create, list and revoke the tokens by which people and programs sign in."""
    context.obj = config


@command.command("create")
@click.argument("name")
@click.option(
    "--role",
    required=True,
    type=click.Choice(["read", "write", "admin"]),
    help="read: every page and answer; write: send events, nothing else; admin: everything.",
)
@click.option("--model", "models", multiple=True, metavar="M", help="Only this model. May be repeated.")
@click.option("--expires", metavar="TIME", help="How long it is good, such as 90d; for ever unless said.")
@click.option("--limit", metavar="RATE", help="How many events it may send, such as 1000/s or 30/min.")
@_by
@click.pass_obj
def create(
    config: Callable[[], Config],
    name: str,
    role: str,
    models: tuple[str, ...],
    expires: str | None,
    limit: str | None,
    by: str,
) -> None:
    """Create a token of NAME, which is written wherever its holder changes something; print the token, this once."""
    from driftline import clock
    from driftline.access.callers import Role
    from driftline.access.tokens import create_token
    from driftline.events import parse_duration
    from driftline.views.offline import open_state

    known = config()
    for model in models:
        if model not in known.models:
            raise UnknownNameError("model", model, known.models)
    lasts = None if expires is None else parse_duration(expires)
    known.storage.mkdir(parents=True, exist_ok=True)  # tokens may be there before the first `serve`
    state = open_state(known, or_folder=True)
    click.echo(create_token(state, name, Role(role), clock.now(), models=models, lasts=lasts, rate=limit, by=by))


@command.command("list")
@click.option("--json", "as_json", is_flag=True, help="One JSON document.")
@click.pass_obj
def list_(config: Callable[[], Config], as_json: bool) -> None:
    """List the tokens by name; the tokens themselves are kept nowhere."""
    import msgspec

    from driftline import clock
    from driftline.access.tokens import state_of
    from driftline.text.moments import moment
    from driftline.views.offline import open_state

    now = clock.now()
    with open_state(config(), or_folder=True).read() as read:
        rows = read.tokens.all()
    if as_json:
        shown = [
            {
                "name": one.name,
                "role": one.role,
                "models": one.models,
                "created_at": one.created_at,
                "expires_at": one.expires_at,
                "limit": one.rate,
                "state": state_of(one, now),
            }
            for one in rows
        ]
        print_json(msgspec.json.encode({"tokens": shown}).decode())
        return
    if not rows:
        click.echo("There are no tokens.")
        return
    columns = ("name", "role", "models", "created", "good until", "limit", "")
    print_table(
        columns,
        (
            (
                one.name,
                one.role,
                ", ".join(one.models) or "all",
                moment(one.created_at),
                "–" if one.expires_at is None else moment(one.expires_at),
                one.rate or "–",
                state_of(one, now),
            )
            for one in rows
        ),
    )


@command.command("revoke")
@click.argument("name")
@_by
@click.pass_obj
def revoke(config: Callable[[], Config], name: str, by: str) -> None:
    """Revoke the token of NAME: within a second nobody signs in by it any more."""
    from driftline import clock
    from driftline.access.tokens import revoke_token
    from driftline.views.offline import open_state

    row = revoke_token(open_state(config(), or_folder=True), name, clock.now(), by=by)
    click.echo(f"The token of {visible(row.name)} is good no more.")
