"""``driftline backtest``: a history through the very code that judges live windows."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

from driftline.cli.configured import config_file, which_engine, which_model
from driftline.cli.main import ALERTS, OK
from driftline.cli.streams import print_json
from driftline.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import datetime

    from driftline.config.load import Config
    from driftline.engines.stored import StoredProfiles
    from driftline.monitoring.options import ModelConfig
    from driftline.rules.backtest import Backtest

_SERVED = "served:"


@click.command("backtest")
@click.argument("history")
@config_file("Columns, window, reference, budget and rules of the model.")
@which_model
@click.option("--changed", metavar="T", help="When the world changed, such as 2026-03-01: how late was each alert?")
@click.option(
    "--against",
    type=click.Path(path_type=Path),
    metavar="F",
    help="Another configuration, judged on the same history beside this one.",
)
@which_engine
@click.option("--html", type=click.Path(path_type=Path), metavar="F", help="Write the timeline as one HTML file.")
@click.option("--json", "as_json", is_flag=True, help="One JSON document on stdout, and nothing else there.")
def command(
    history: str,
    config_path: Path,
    model: str | None,
    changed: str | None,
    against: Path | None,
    engine: str | None,
    html: Path | None,
    as_json: bool,
) -> int:
    """Say what would have fired over a history, had this configuration been on.

    HISTORY is a file or a pattern of rows with times, predictions and, where they are known, labels; the profiles that
    `driftline profile` has made of such rows; or served:MODEL, the windows of a model that `driftline serve` has
    judged. With --engine rows are profiled where they lie, and judged here, with the same result. Exits with 0 when
    nothing would have fired, 1 when something would, 2 when the input cannot be used.
    """
    import msgspec

    from driftline.cli.check import progress
    from driftline.text.moments import read_moment

    moment = None if changed is None else read_moment("--changed", changed)
    with progress("judging") as told:
        read = _Reading(history, engine, told)
        found = _backtest(read, config_path, model, moment)
        if against is not None:
            other = _backtest(read, against, model or found.model, moment)
            found = msgspec.structs.replace(found, against=other)
    if html is not None:
        _write(found, html)
    if as_json:
        print_json(msgspec.json.encode(found).decode())
    else:
        _print(found, html)
    return ALERTS if found.alerts else OK


class _Reading:
    """The history of one command, which two configurations may be judged on; rows are profiled once for both."""

    def __init__(self, history: str, engine: str | None, told: Callable[[float], None] | None) -> None:
        from driftline.sources.profiled import is_profiles

        if history.startswith(_SERVED) and engine is not None:
            raise UsageError(f"{history} came with --engine {engine}; its windows are profiled already: leave it out")
        self.history, self.told, self._engine = history, told, engine
        self._are_profiles = is_profiles(history)
        self._made: list[StoredProfiles] = []

    def profiles(self, config: ModelConfig) -> StoredProfiles | None:
        """The profiles to judge; None if the rows are read as they are."""
        if self._are_profiles:
            from driftline.engines.stored import open_profiles

            self._made = self._made or [open_profiles(self.history)]
            return self._made[0]
        if self._engine is None:
            return None
        from dataclasses import replace

        from driftline.monitoring.profiling import layout_of_history, profiled_by

        if self._made:  # of the configuration that this one is judged beside, which mostly reads rows in the same way
            layout = layout_of_history(config, [self.history])
            if layout == self._made[0].layout and not layout.hashed:
                return replace(self._made[0], model=config.name)
        self._made.append(profiled_by(self._engine, config, [self.history], self.told))
        return self._made[-1]


def _backtest(read: _Reading, path: Path, model: str | None, changed: datetime | None) -> Backtest:
    from driftline.cli.check import chosen
    from driftline.config.load import load
    from driftline.monitoring.backtest import backtest_profiles, backtest_rows, subject_of

    config = load(path)
    if read.history.startswith(_SERVED):
        return _of_served(config, read, path, model, changed)
    known = chosen(config.models, model, path)
    made = read.profiles(known)
    if made is None:
        return backtest_rows(subject_of(known), read.history, changed=changed, progress=read.told)
    return backtest_profiles(subject_of(known), made, changed=changed, progress=read.told)


def _of_served(config: Config, read: _Reading, path: Path, model: str | None, changed: datetime | None) -> Backtest:
    from driftline.cli.check import chosen
    from driftline.monitoring.assess import Arrived
    from driftline.monitoring.backtest import backtest_windows, subject_of
    from driftline.store.counters import LABELS_UNTIL
    from driftline.views.offline import open_state

    history = read.history
    served = history.removeprefix(_SERVED)
    if model not in (None, served):
        raise UsageError(f"{history} came with --model {model}; name the same model, or leave --model out")
    known = chosen(config.models, served, path)
    with open_state(config).read() as reading:
        stored, rows = reading.models.get(served), reading.windows.between(served)
        labels_until, said = reading.counters.moment(served, LABELS_UNTIL), reading.feedback.of(served)
    if stored is None or stored.watermark is None or not rows:
        raise UsageError(f"{history} has no windows yet; a backtest needs some that `driftline serve` has judged")
    come = Arrived(stored.watermark, labels_until)
    return backtest_windows(subject_of(known), rows, come, said, changed=changed, progress=read.told)


def _write(found: Backtest, path: Path) -> None:
    from driftline.reports.backtest_html import backtest_html

    try:
        path.write_text(backtest_html(found), "utf-8")
    except OSError as error:
        raise UsageError(f"--html {path}: cannot be written: {error.strerror}") from error


def _print(found: Backtest, html: Path | None) -> None:
    from rich.console import Console

    from driftline.reports.backtest_text import renderables
    from driftline.reports.words import cleaned

    console = Console(highlight=False, markup=False, emoji=False)
    if console.width < 1:  # COLUMNS=0, which some use for "unknown"; nothing would be shown
        console.width = 80
    for part in renderables(found, encoding=sys.stdout.encoding or "utf-8", width=console.width):
        console.print(part)
    if html is not None:
        console.print(f"\nThe timeline as a page: {cleaned(str(html))}")
