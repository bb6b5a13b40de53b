"""``driftline card``."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import click

from driftline.cli.configured import configured
from driftline.errors import UnknownNameError, UsageError

if TYPE_CHECKING:
    from driftline.config.load import Config


@click.command("card")
@click.argument("model")
@click.argument("version", required=False)
@click.option("--html", "page", type=click.Path(path_type=Path), metavar="F", help="Write it as one HTML file.")
@configured
def command(model: str, version: str | None, page: Path | None, config: Callable[[], Config]) -> None:
    """Print the model card of VERSION of MODEL, by default of its champion, as Markdown."""
    from driftline.monitoring.model import look_at_model
    from driftline.reports.model_card import html, markdown
    from driftline.retrain.cards import model_card
    from driftline.retrain.controller import open_registry
    from driftline.views.offline import open_state

    known = config()
    if model not in known.models:
        raise UnknownNameError("model", model, known.models)
    state = open_state(known)
    task = look_at_model(known.models[model], known.blobs, state).schema.task.value
    registry = open_registry(known.registry, Path(known.storage), known.blobs)
    zone = known.models[model].window.timezone
    card = model_card(model, version, task, state, registry, zone)
    if page is None:
        click.echo(markdown(card), nl=False)
        return
    try:
        page.write_text(html(card), encoding="utf-8")
    except OSError as error:
        raise UsageError(f"--html {page}: cannot be written: {error.strerror}") from error
