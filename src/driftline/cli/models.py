"""``driftline models``."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import click

from driftline.cli.configured import configured
from driftline.cli.streams import print_json
from driftline.text import visible

if TYPE_CHECKING:
    from driftline.config.load import Config
    from driftline.views.values import ModelView


@click.command("models")
@configured
@click.option("--json", "as_json", is_flag=True, help="One JSON document.")
def command(config: Callable[[], Config], as_json: bool) -> int:
    """List the models of a service: how much came of each, until when, and how many alerts are firing."""
    import msgspec

    from driftline.views.offline import read_models

    known = config()
    models = read_models(known)
    if as_json:
        print_json(msgspec.json.encode({"models": models}).decode())
    else:
        _print(known, models)
    return 0


def _print(config: Config, models: Sequence[ModelView]) -> None:
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    from driftline.text.moments import day_or_moment
    from driftline.text.numbers import count

    table = Table(box=None, pad_edge=False, header_style="bold")
    table.add_column("model", overflow="fold")
    with_teams = any(one.team for one in models)
    if with_teams:
        table.add_column("team", overflow="fold")
    table.add_column("task", overflow="fold")
    for name in ("predictions", "labels", "windows"):
        table.add_column(name, justify="right", overflow="fold")
    table.add_column("data until", overflow="fold")
    table.add_column("firing", justify="right")
    for one in models:
        timezone = config.models[one.name].window.timezone
        table.add_row(
            Text(visible(one.name)),
            *([Text(visible(one.team) or "–")] if with_teams else []),
            one.task or "–",
            count(one.predictions),
            count(one.labels),
            count(one.windows),
            "–" if one.watermark is None else day_or_moment(one.watermark, timezone),
            Text(str(one.firing), "bold red" if one.firing else ""),
        )
    Console(highlight=False).print(table)
