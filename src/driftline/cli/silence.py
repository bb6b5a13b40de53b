"""``driftline silence``."""

from __future__ import annotations

import getpass
from collections.abc import Callable
from typing import TYPE_CHECKING

import click

from driftline.cli.configured import configured
from driftline.errors import UsageError
from driftline.text import visible

if TYPE_CHECKING:
    from driftline.config.load import Config
    from driftline.store.state import State


@click.group("silence")
@configured
@click.pass_context
def command(context: click.Context, config: Callable[[], Config]) -> None:
    """Silence some alerts for a while."""
    from driftline.views.offline import open_state

    def state(*, planned: bool = False) -> State:  # not before a subcommand needs it: its --help does not
        return open_state(config(), or_folder=planned)

    context.obj = state


@command.command("add")
@click.option(
    "--match",
    "matches",
    multiple=True,
    required=True,
    metavar="FIELD=PATTERN",
    help="id, model, rule, measure, severity, version or segment (such as season=winter); `*` stands for any text. "
    "All have to match.",
)
@click.option("--for", "duration", required=True, help="How long, such as 2h.")
@click.option("--reason", required=True)
@click.option("--by", default=getpass.getuser, show_default="your user name")
@click.pass_obj
def add(state: Callable[..., State], matches: tuple[str, ...], duration: str, reason: str, by: str) -> None:
    """Add a silence from now on."""
    from driftline import clock
    from driftline.alerts.attention import SilenceBody, add_silence
    from driftline.text.moments import moment

    pairs = [one.partition("=") for one in matches]
    for field, sign, pattern in pairs:
        if not (field and sign and pattern):
            raise UsageError(f"{field + sign + pattern!r} came; write FIELD=PATTERN, such as model=churn")
    body = SilenceBody(match={field: pattern for field, _, pattern in pairs}, by=by, reason=reason, duration=duration)
    row = add_silence(state(planned=True), body, clock.now())
    click.echo(f"{row.id}: silent until {moment(row.ends_at)}")


@command.command("list")
@click.pass_obj
def list_them(state: Callable[[], State]) -> None:
    """List the silences that are not over."""
    from driftline import clock
    from driftline.store.outbox import Outbox
    from driftline.text.moments import moment

    with state().read() as read:
        rows = Outbox(read.connection).silences(after=clock.now())
    for row in rows:
        match = " ".join(f"{field}={pattern}" for field, pattern in row.match.items())
        span = f"{moment(row.starts_at)} to {moment(row.ends_at)}"
        click.echo(visible(f"{row.id}: {match}, {span}, by {row.by}: {row.reason}"))
    if not rows:
        click.echo("There is no silence.")


@command.command("end")
@click.argument("silence")
@click.option("--by", default=getpass.getuser, show_default="your user name")
@click.pass_obj
def end(state: Callable[[], State], silence: str, by: str) -> None:
    """End SILENCE (its id) now."""
    from driftline import clock
    from driftline.alerts.attention import end_silence

    end_silence(state(), silence, clock.now(), by=by)
    click.echo(f"{visible(silence)} is over.")
