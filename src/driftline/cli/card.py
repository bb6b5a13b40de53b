"""``driftline card``."""

from __future__ import annotations

from pathlib import Path

import click

from driftline.config.load import load
from driftline.errors import UnknownNameError, UsageError
from driftline.monitoring.model import open_model
from driftline.reports.model_card import html, markdown
from driftline.retrain.cards import model_card
from driftline.retrain.controller import open_registry
from driftline.views.reader import open_state


@click.command("card")
@click.argument("model")
@click.argument("version", required=False)
@click.option("--html", "page", type=click.Path(path_type=Path), metavar="F", help="Write it as one HTML file.")
@click.option("--config", "config_path", default="driftline.yaml", show_default=True, type=click.Path(path_type=Path))
@click.option("--data", type=click.Path(path_type=Path), help="Folder of events and state, instead of `storage`.")
def command(model: str, version: str | None, page: Path | None, config_path: Path, data: Path | None) -> None:
    """Print the model card of VERSION of MODEL, by default of its champion, as Markdown."""
    config = load(config_path)
    config = config.at(data) if data is not None else config
    if model not in config.models:
        raise UnknownNameError("model", model, config.models)
    state = open_state(config)
    task = open_model(config.models[model], Path(config.storage), state).schema.task.value
    card = model_card(model, version, task, state, open_registry(config.registry, Path(config.storage)))
    if page is None:
        click.echo(markdown(card), nl=False)
        return
    try:
        page.write_text(html(card), encoding="utf-8")
    except OSError as error:
        raise UsageError(f"--html {page}: cannot be written: {error.strerror}") from error
