"""``driftline explain``: where an alert's threshold came from, and whether its verdict comes out the same again."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

import click

from driftline.cli.configured import configured
from driftline.cli.main import ALERTS, OK
from driftline.cli.streams import print_json

if TYPE_CHECKING:
    from datetime import datetime

    from driftline.config.load import Config
    from driftline.monitoring.explanation import Explanation


@click.command("explain")
@click.argument("alert")
@configured
@click.option("--json", "as_json", is_flag=True, help="One JSON document on stdout, and nothing else there.")
def command(alert: str, config: Callable[[], Config], as_json: bool) -> int:
    """Say where the threshold of ALERT (its id) came from, and judge its window again from what is stored.

    Exits with 0 when the verdict is the same, 1 when it differs: late or corrected labels, another rule; 2 when there
    is no such alert.
    """
    import msgspec

    from driftline.views.offline import read_explanation

    found = read_explanation(config(), alert)
    if as_json:
        print_json(msgspec.json.encode(found).decode())
    else:
        from rich.console import Console

        from driftline.text import visible

        console = Console(highlight=False, markup=False, emoji=False)
        if console.width < 1:  # COLUMNS=0, which some use for "unknown"
            console.width = 80
        for sentence in sentences(found):
            console.print(visible(sentence))
    return OK if found.rerun.same else ALERTS


def sentences(found: Explanation) -> Iterator[str]:
    """An explanation in words, a sentence a line."""
    from driftline.text.moments import day_or_moment
    from driftline.text.numbers import number, percent

    def moment(at: datetime) -> str:
        return day_or_moment(at, found.timezone)

    origin, rerun = found.threshold, found.rerun
    value = "no value" if found.value is None else number(found.value)
    yield f"Alert {found.alert}: {found.rule} of {found.model} fired on the window of {moment(found.window.start)}."
    yield f"Value: {value}; threshold: {number(origin.value)}."
    if origin.series:
        yield f"Series: {origin.series}."
    if origin.baseline is not None:
        of = origin.baseline
        yield f"Held against: {of.windows} windows from {moment(of.start)} to {moment(of.end)}."
        yield f"Season: {origin.season or 'none that these windows show'}."
    elif origin.season is not None:
        yield f"Season: {origin.season}."
    if origin.share is not None:
        yield f"Share of the budget of false alarms: {percent(origin.share)}."
    yield f"Windows looked at together: {origin.lookback}."
    now = "no value" if rerun.value is None else number(rerun.value)
    yield f"Judged again: {rerun.verdict}, {now}{f' ({rerun.reason})' if rerun.reason else ''}."
    yield "The verdict is the same." if rerun.same else "The verdict differs from the one that fired."
