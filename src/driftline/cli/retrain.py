"""``driftline retrain``."""

from __future__ import annotations

import contextlib
import getpass
import time
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

import click

from driftline.cli.configured import configured
from driftline.cli.streams import print_json
from driftline.errors import InUseError, UnknownNameError
from driftline.retrain.request import Stage

if TYPE_CHECKING:
    from driftline.config.load import Config
    from driftline.retrain.controller import RetrainingController
    from driftline.retrain.views import RequestView
    from driftline.service.runtime import Service
    from driftline.store.state import State

_LOOK_EVERY_SECONDS = 0.5
_WON = (Stage.WAITING, Stage.PROMOTING, Stage.BAKING, Stage.PROMOTED)


@click.command("retrain")
@click.argument("model")
@click.option("--reason", default="asked by hand", show_default=True, help="Why.")
@click.option("--by", default=getpass.getuser, show_default="your user name", help="Who asks.")
@click.option("--shadow", metavar="VERSION", help="Train nothing: judge this version by what it said as a shadow.")
@click.option("--wait", is_flag=True, help="Wait for the contest; exit with 1 if the challenger has not won.")
@configured
@click.option("--json", "as_json", is_flag=True, help="One JSON document.")
def command(
    model: str,
    reason: str,
    by: str,
    shadow: str | None,
    wait: bool,
    config: Callable[[], Config],
    as_json: bool,
) -> int:
    """Ask for a challenger of MODEL.

    The running `driftline serve` has it trained and judges it; without one, --wait does so here.
    """
    import msgspec

    from driftline import clock
    from driftline.monitoring.model import look_at_model
    from driftline.retrain.requests import AskBody, ShadowBody, ask_by_person, ask_for_shadow
    from driftline.views.offline import open_state

    known = config()
    if model not in known.models:
        raise UnknownNameError("model", model, known.models)
    with _service(known) as own:
        state = own.state if own is not None else open_state(known)
        opened = own.models[model] if own is not None else look_at_model(known.models[model], known.blobs, state)
        retrained = known.retrain.get(model)
        if shadow is None:
            row = ask_by_person(state, opened, retrained, AskBody(by=by, reason=reason), clock.now())
        else:
            body = ShadowBody(version=shadow, by=by, reason=reason)
            row = ask_for_shadow(state, opened, retrained, body, clock.now())
        view = _follow(state, row.id, own.loop if own is not None else None, wait=wait, quiet=as_json)
    if as_json:
        print_json(msgspec.json.encode(view).decode())
    elif not wait:
        click.echo(f"Request {view.id}. `driftline challengers` shows what becomes of it.")
        if own is not None:
            click.echo("No `driftline serve` runs here: it is trained when one does, or now with --wait.")
    return 1 if wait and Stage(view.stage) not in _WON else 0


def _follow(state: State, id: str, loop: RetrainingController | None, *, wait: bool, quiet: bool) -> RequestView:
    """Print the steps of a request as they come, and with a loop of our own take them; until its contest was held."""
    from driftline import clock
    from driftline.retrain.views import request_view
    from driftline.text.moments import clock_time

    shown = 0
    while True:
        view = request_view(state, id)
        for step in view.steps[shown:]:
            if not quiet:
                click.echo(f"{clock_time(step.at)} {step.stage}: {step.note}")
        shown = len(view.steps)
        if not wait or view.over or Stage(view.stage) in _WON:
            return view
        if loop is None or not loop.step(view.model, clock.now()):
            time.sleep(_LOOK_EVERY_SECONDS)


@contextlib.contextmanager
def _service(config: Config) -> Iterator[Service | None]:
    """A service of our own that is not started, to train with; None where one runs already."""
    from driftline.service.runtime import Service
    from driftline.views.offline import require_storage

    require_storage(config, or_log=True)
    try:
        own = Service(config, alone=True)
    except InUseError:
        yield None
        return
    try:
        yield own
    finally:
        own.stop()
