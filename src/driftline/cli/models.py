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


_WIDE = 100
"""In a narrower terminal, the team of a model stands below its name."""


def _print(config: Config, models: Sequence[ModelView]) -> None:
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    from driftline.text.moments import day_or_moment
    from driftline.text.numbers import count

    table = Table(box=None, pad_edge=False, header_style="bold")
    table.add_column("model", overflow="fold")
    console = Console(highlight=False)
    with_teams = any(one.team for one in models)
    below = with_teams and console.width < _WIDE
    if with_teams and not below:
        table.add_column("team", overflow="fold")
    table.add_column("task", no_wrap=True)
    for name in ("predictions", "labels", "windows"):
        table.add_column(name, justify="right", no_wrap=True)
    table.add_column("data until", overflow="fold", min_width=len("2026-03-01"))
    table.add_column("firing", justify="right", no_wrap=True)
    for one in models:
        timezone = config.models[one.name].window.timezone
        table.add_row(
            Text(visible(one.name)).append(f"\n{visible(one.team)}" if below and one.team else "", "dim"),
            *([Text(visible(one.team) or "–")] if with_teams and not below else []),
            one.task or "–",
            count(one.predictions),
            count(one.labels),
            count(one.windows),
            "–" if one.watermark is None else day_or_moment(one.watermark, timezone),
            Text(str(one.firing), "bold red" if one.firing else ""),
        )
    console.print(table)
