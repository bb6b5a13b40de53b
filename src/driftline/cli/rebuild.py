"""``driftline rebuild``."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from typing import TYPE_CHECKING

import click

from driftline.cli.configured import configured
from driftline.cli.streams import print_json
from driftline.errors import UnknownNameError

if TYPE_CHECKING:
    from driftline.config.load import Config


@click.command("rebuild")
@click.argument("model")
@configured
@click.option("--accept-loss", is_flag=True, help="Go on with what is left of a log that has lost rows.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON document.")
def command(model: str, config: Callable[[], Config], accept_loss: bool, as_json: bool) -> int:
    """Recompute a model's windows from the event log; exit with 1 if the stored ones were not the same."""
    from rich.console import Console
    from rich.progress import Progress

    from driftline.monitoring.rebuild import rebuild
    from driftline.service.runtime import Service
    from driftline.views.offline import require_storage

    known = config()
    if model not in known.models:
        raise UnknownNameError("model", model, known.models)
    require_storage(known, or_log=True)
    service = Service(known, accept_loss=model if accept_loss else None, alone=True)
    try:
        with Progress(console=Console(stderr=True), disable=not sys.stderr.isatty(), transient=True) as progress:
            task = progress.add_task("Rebuilding", total=None)
            opened, state = service.models[model], service.state_of(model)
            result = rebuild(opened, state, lambda done, of: progress.update(task, completed=done, total=of))
    finally:
        service.stop()
    differing = [start.isoformat() for start in result.differing]
    if as_json:
        print_json(json.dumps({"model": model, "windows": result.windows, "differing": differing, "left": result.left}))
    else:
        left = f"; {result.left} were left as they are, for rows of them are no longer kept" if result.left else ""
        click.echo(f"{model}: {result.windows} windows rebuilt from the log, {len(differing)} differed{left}.")
        for start in differing:
            click.echo(f"  {start}")
    return 1 if differing else 0
