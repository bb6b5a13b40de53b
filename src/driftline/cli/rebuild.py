"""``driftline rebuild``."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import click
from rich.console import Console
from rich.progress import Progress

from driftline.cli.streams import print_json
from driftline.config.load import load
from driftline.errors import UnknownNameError
from driftline.monitoring.rebuild import rebuild
from driftline.service.runtime import Service
from driftline.views.reader import require_storage


@click.command("rebuild")
@click.argument("model")
@click.option("--config", "config_path", default="driftline.yaml", show_default=True, type=click.Path(path_type=Path))
@click.option("--data", type=click.Path(path_type=Path), help="Folder for events and state, instead of `storage`.")
@click.option("--accept-loss", is_flag=True, help="Go on with what is left of a log that has lost rows.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON document.")
def command(model: str, config_path: Path, data: Path | None, accept_loss: bool, as_json: bool) -> int:
    """Recompute a model's windows from the event log; exit with 1 if the stored ones were not the same."""
    config = load(config_path)
    if data is not None:
        config = config.at(data)
    if model not in config.models:
        raise UnknownNameError("model", model, config.models)
    require_storage(config, or_log=True)
    service = Service(config, accept_loss=model if accept_loss else None)
    try:
        with Progress(console=Console(stderr=True), disable=not sys.stderr.isatty(), transient=True) as progress:
            task = progress.add_task("Rebuilding", total=None)
            result = rebuild(
                service.models[model], service.state, lambda done, of: progress.update(task, completed=done, total=of)
            )
    finally:
        service.stop()
    differing = [start.isoformat() for start in result.differing]
    if as_json:
        print_json(json.dumps({"model": model, "windows": result.windows, "differing": differing}))
    else:
        click.echo(f"{model}: {result.windows} windows rebuilt from the log, {len(differing)} differed.")
        for start in differing:
            click.echo(f"  {start}")
    return 1 if differing else 0
