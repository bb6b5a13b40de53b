"""``driftline send``."""

from __future__ import annotations

import contextlib
import hashlib
import json
import sys
from collections.abc import Callable, Iterator
from glob import glob
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import click

from driftline.cli.main import ALERTS, OK
from driftline.cli.streams import print_json
from driftline.errors import UsageError
from driftline.text import visible

if TYPE_CHECKING:
    from driftline.client.frames import Sent, Shipment
    from driftline.client.transport import Answer
    from driftline.sources.rows import Rows


@click.command("send")
@click.argument("model")
@click.argument("file")
@click.option("--kind", required=True, type=click.Choice(["predictions", "labels"]), help="What the rows are.")
@click.option("--url", default="http://127.0.0.1:8000", show_default=True, help="The address of the service.")
@click.option("--token", metavar="env:NAME|file:PATH", help="Where a token of the role write is.")
@click.option(
    "--on-error",
    default="refuse",
    show_default=True,
    type=click.Choice(["refuse", "quarantine"]),
    help="refuse: a bad row ends it; quarantine: bad rows are set aside.",
)
@click.option("--json", "as_json", is_flag=True, help="Print one JSON document.")
def command(
    model: str,
    file: str,
    kind: Literal["predictions", "labels"],
    url: str,
    token: str | None,
    on_error: str,
    as_json: bool,
) -> int:
    """Send the rows of FILE to MODEL of a service: each batch is durable there before the next one is sent.

    FILE is whatever `check` reads: Parquet, CSV, Arrow IPC, NDJSON, Delta, patterns, addresses such as s3://…. Columns
    go by the names that they have in the service's configuration, or by id, time, version, prediction, score and label;
    the others are features. What was interrupted goes on where it was when the same command is run again. Exits with 0
    if all rows were accepted, 1 if some were set aside, 2 if the service refused one or stays away.
    """
    from driftline import clock
    from driftline.client.frames import Shipment
    from driftline.client.transport import Transport
    from driftline.environment import is_named, secret
    from driftline.sources.files import open_rows

    if token is not None and not is_named(token):
        raise UsageError("--token takes env:NAME or file:PATH, where the token is: other people see a command line")
    transport = Transport(model, url, None if token is None else secret(token), timeout_seconds=60.0)
    rows = open_rows(file)
    name = json.dumps([url, model, kind, on_error, str(Path(file).absolute()) if "://" not in file else file])
    place = _place(name, file)
    resumed, sent = _known(place)
    shipment = Shipment(transport, kind, name, quarantine=on_error == "quarantine", now=clock.monotonic_seconds)
    with _progress(rows.count) as told:
        told(resumed)
        done = resumed
        try:
            for height, answer in _shipped(shipment, rows, resumed):
                done, sent = done + height, sent.plus(answer)
                _remember(place, done, sent)
                told(done)
        finally:
            transport.hang_up()
    if place is not None:
        place.unlink(missing_ok=True)
    if as_json:
        told_all = {"accepted": sent.accepted, "quarantined": sent.quarantined, "resumed_from": resumed}
        print_json(json.dumps(told_all))
    else:
        _print(model, kind, sent, resumed)
    return ALERTS if sent.quarantined else OK


def _shipped(shipment: Shipment, rows: Rows, resumed: int) -> Iterator[tuple[int, Answer]]:
    """Send the rows behind those that were sent before."""
    from driftline.client.frames import batch_rows

    most, offset = batch_rows(len(rows.schema)), 0
    for frame in rows.batches(list(rows.schema)):
        for part in frame.iter_slices(most):
            end = offset + part.height
            if end > resumed:
                skipped = max(resumed - offset, 0)
                yield from shipment.send(part[skipped:], offset + skipped)
            offset = end


# ---- where it was ---------------------------------------------------------------------------------------------------


def _place(name: str, file: str) -> Path | None:
    """Where it is kept how far the rows of that name were sent; files that have changed since have another place.

    None where it cannot be told whether they have changed, as behind an address, or where there is no home: then it
    begins anew, and what was stored is not stored twice.
    """
    from driftline.environment import environment

    if "://" in file:
        return None
    told = [name]
    try:
        found = Path(file)
        files = [found] if found.is_file() else sorted(found.rglob("*") if found.is_dir() else map(Path, glob(file)))
        for one in files:
            status = one.stat()
            told.append(f"{one} {status.st_size} {status.st_mtime_ns}")
        home = Path(environment().get("XDG_STATE_HOME") or Path.home() / ".local" / "state")
    except (OSError, RuntimeError):
        return None
    return home / "driftline" / f"{hashlib.sha256(json.dumps(told).encode()).hexdigest()}.json"


def _known(place: Path | None) -> tuple[int, Sent]:
    from driftline.client.frames import Sent

    try:
        told = json.loads(b"" if place is None else place.read_bytes())
        return int(told["rows"]), Sent(int(told["accepted"]), int(told["quarantined"]))
    except (OSError, ValueError, KeyError, TypeError):
        return 0, Sent()


def _remember(place: Path | None, rows: int, sent: Sent) -> None:
    """Write down how far it is. Where that cannot be, it begins anew: what was stored is not stored twice."""
    if place is None:
        return
    with contextlib.suppress(OSError):
        place.parent.mkdir(parents=True, exist_ok=True)
        beside = place.with_suffix(".new")
        beside.write_text(json.dumps({"rows": rows, "accepted": sent.accepted, "quarantined": sent.quarantined}))
        beside.replace(place)


# ---- what people see ------------------------------------------------------------------------------------------------


@contextlib.contextmanager
def _progress(rows: int | None) -> Iterator[Callable[[int], None]]:
    """A bar on stderr where somebody is looking."""
    if not sys.stderr.isatty():
        yield lambda done: None
        return
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    shown = (TextColumn("sending"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*shown, console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task("sending", total=rows)
        yield lambda done: bar.update(task, completed=done)


def _print(model: str, kind: str, sent: Sent, resumed: int) -> None:
    from driftline.text.numbers import count

    before = f" ({count(resumed)} rows had been sent before)" if resumed else ""
    click.echo(f"{visible(model)}: {count(sent.accepted)} {kind} accepted{before}.")
    if sent.quarantined:
        click.echo(f"{count(sent.quarantined)} rows were set aside; see /api/v1/models/{visible(model)}/quarantine.")
