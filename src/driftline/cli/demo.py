"""``driftline demo``."""

from __future__ import annotations

import json
import signal
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from driftline.cli.streams import print_json

if TYPE_CHECKING:
    from rich.console import Console

    from driftline.demo.story import Story

_BAR_WIDTH = 30


@click.command("demo")
@click.option("--port", default=8000, show_default=True, type=click.IntRange(0, 65535), help="0 takes a free one.")
@click.option("--exit", "then_exit", is_flag=True, help="End after the replay instead of serving on.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON document on stdout after the replay.")
@click.option("--webhook", metavar="URL", help="Send the alerts there too.")
@click.option("--alertmanager", metavar="URL", help="Send the alerts to this Alertmanager.")
@click.option("--files", type=click.Path(path_type=Path), help="Only write the weather as CSV files into this folder.")
@click.option("--data", type=click.Path(path_type=Path), help="A new folder to keep everything in.")
def command(
    port: int,
    then_exit: bool,
    as_json: bool,
    webhook: str | None,
    alertmanager: str | None,
    files: Path | None,
    data: Path | None,
) -> int:
    """Replay a real incident through a real service, in under a minute.

    In April 2013 a published table of Seattle's weather stopped saying "rain". A model trained on 2012 is served, three
    years are replayed over HTTP with late labels, and at the end the corrected labels arrive.
    """
    if files is not None:
        return _write(files)
    given = {"webhook": webhook, "alertmanager": alertmanager}
    receivers = {kind: address for kind, address in given.items() if address is not None}
    if data is not None:
        if data.exists() and any(data.iterdir()):
            raise click.BadParameter(f"{data} is not empty; name a new folder", param_hint="--data")
        data.mkdir(parents=True, exist_ok=True)
        return _run(data, port, then_exit, as_json, receivers)
    with tempfile.TemporaryDirectory(prefix="driftline-demo-") as folder:
        return _run(Path(folder), port, then_exit, as_json, receivers)


def _write(folder: Path) -> int:
    from driftline.demo.weather import weather_files
    from driftline.exporters.files import write_files

    for path, written in write_files(weather_files(), folder, otherwise="move it away").items():
        click.echo(f"{'wrote' if written else 'unchanged'} {path}")
    return 0


def _run(folder: Path, port: int, then_exit: bool, as_json: bool, receivers: Mapping[str, str]) -> int:
    from rich.console import Console
    from rich.padding import Padding
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
    from rich.text import Text

    from driftline.demo.story import play, prepare, serving
    from driftline.demo.weather import TRAINED_ON

    console = Console(stderr=as_json, highlight=False, soft_wrap=False)
    console.print(f"[bold]1[/] Training a random forest on Seattle's weather of {TRAINED_ON} …")
    config, model = prepare(folder, receivers)
    with serving(config, port, lambda line: console.print(Text(line))) as server:
        console.print(f"[bold]2[/] Serving it at [bold]{server.address}[/]; its rules are in")
        console.print(f"  {config}", soft_wrap=True)
        console.print("[bold]3[/] Replaying 2013 to 2015 over HTTP, labels 1 to 5 days late.\n")
        columns = (TextColumn("  {task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
        with Progress(*columns, console=console, transient=True) as bar:
            task = bar.add_task("days", total=None)

            def chapter(refused: str) -> None:
                console.print("\n[bold]4[/] Somebody asks for a new model. Driftline trains none:\n")
                console.print(Padding(Text(refused), (0, 0, 1, 3)))
                console.print("[bold]5[/] The corrected labels arrive; windows are judged again.\n")

            story = play(server.address, model, lambda done, of: bar.update(task, completed=done, total=of), chapter)
        summary = story.summary(server.address)
        _tell_story(console, story, summary)
        if as_json:
            print_json(json.dumps(summary))
        if not then_exit:
            console.print(f"\nServing on at [bold]{summary['url']}[/] and {server.address}/metrics. Ctrl-C ends it.")
            _wait_for_signal()
    return 0


def _tell_story(console: Console, story: Story, summary: dict[str, Any]) -> None:
    from rich.padding import Padding
    from rich.text import Text

    from driftline.text.numbers import effect, number

    after = {one["start"]: one for one in story.windows_corrected}
    console.print("\n  month    accuracy then                             with corrected labels")
    for window in story.windows:
        then, now = _accuracy(window), _accuracy(after[window["start"]])
        breach = any(one["state"] == "breach" for one in window["verdicts"])
        bar = "█" * round(then * _BAR_WIDTH)
        style = "red" if breach else "green"
        month = window["end"][:7] if window["start"][8:10] > "15" else window["start"][:7]
        console.print(
            f"  {month}  {effect(then)} [{style}]{bar:<{_BAR_WIDTH}}[/] {'⚠️' if breach else '  '}   {effect(now)}"
        )
    first = summary["first_alert"]
    console.print(
        f"\n  {summary['events']} predictions, {summary['labels']} labels, {summary['corrections']} corrected; "
        f"{summary['windows']} windows.\n  First alert: {first['window']['start'][:10]}, "
        f"accuracy {number(first['value'])} (threshold {first['threshold']}). "
        f"Worst month: {number(summary['worst_accuracy'])}.\n"
        f"  {summary['alerts']} alerts, {summary['corrected']} of them corrected by the late labels."
    )
    console.print("\n[bold]6[/] Asked again, a challenger learns from 2012 to 2014 and is judged on 2015:\n")
    console.print(Padding(Text(f"{story.request['stage']}: {story.request['note']}"), (0, 0, 0, 3)))


def _accuracy(window: dict[str, Any]) -> float:
    """The accuracy of a window; 0 where it has none."""
    value: float | None = window["performance"].get("accuracy", {}).get("value")
    return value or 0.0


def _wait_for_signal(signals: Sequence[signal.Signals] = (signal.SIGINT, signal.SIGTERM)) -> None:
    signal.pthread_sigmask(signal.SIG_BLOCK, signals)
    signal.sigwait(signals)
