"""``driftline send``."""

from __future__ import annotations

import contextlib
import json
import sys
from collections.abc import Callable, Iterator
from glob import glob
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

import click

from driftline.cli.main import ALERTS, OK
from driftline.cli.streams import print_json
from driftline.errors import UsageError
from driftline.text import visible

if TYPE_CHECKING:
    from driftline.cli.send_place import Place, Progress
    from driftline.client.frames import Sent
    from driftline.client.tables import PolarsTable


@click.command("send")
@click.argument("model")
@click.argument("source")
@click.option("--kind", required=True, type=click.Choice(["predictions", "labels"]), help="What the rows are.")
@click.option("--url", default="http://127.0.0.1:8000", show_default=True, help="The address of the service.")
@click.option("--token", metavar="env:NAME|file:PATH", help="Where a token of the role write is.")
@click.option("--query", metavar="SQL", help="Of a database: the rows of this query.")
@click.option("--table", metavar="NAME", help="Of a database: the rows of this table.")
@click.option("--order-by", metavar="COLUMN", help="Of a database: a unique column, by which it is resumed.")
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
    source: str,
    kind: Literal["predictions", "labels"],
    url: str,
    token: str | None,
    query: str | None,
    table: str | None,
    order_by: str | None,
    on_error: str,
    as_json: bool,
) -> int:
    """Send the rows of SOURCE to MODEL of a service: each batch is durable there before the next one is sent.

    SOURCE is whatever `check` reads: Parquet, CSV, Arrow IPC, NDJSON, Delta, patterns, addresses such as s3://…; or a
    database with --query or --table: sqlite:///FILE, postgresql://USER@HOST/NAME, or env:NAME, a variable that holds
    such an address. Columns go by the names that they have in the service's configuration, or by id, time, version,
    prediction, score and label; the others are features. What was interrupted goes on where it was when the same
    command is run again. Exits with 0 if all rows were accepted, 1 if some were set aside, 2 if the service refused one
    or stays away.
    """
    from driftline import clock
    from driftline.cli.send_sql import Wanted, is_database
    from driftline.client.frames import Shipment
    from driftline.client.transport import Transport
    from driftline.environment import is_named, secret

    if token is not None and not is_named(token):
        raise UsageError("--token takes env:NAME or file:PATH, where the token is: other people see a command line")
    transport = Transport(model, url, None if token is None else secret(token), timeout_seconds=60.0)
    told = [url, model, kind, on_error]
    with contextlib.ExitStack() as stack:
        stack.callback(transport.hang_up)
        if is_database(source):
            load = _of_database(source, Wanted(query, table, order_by), told, stack)
        elif query or table or order_by:
            raise UsageError("--query, --table and --order-by are of a database: sqlite:///FILE or postgresql://…")
        else:
            load = _of_file(source, told)
        progress = load.place.load()
        resumed = progress.rows

        def keep(new: Progress) -> None:
            nonlocal progress
            progress = new
            load.place.save(new)

        shipment = Shipment(
            transport,
            kind,
            load.name,
            quarantine=on_error == "quarantine",
            cuts=progress.cuts,
            on_cut=lambda cut: keep(progress.with_cut(cut)),
            now=clock.monotonic_seconds,
        )
        tell = stack.enter_context(_progress(load.total))
        tell(resumed)
        for batch in load.batches(progress):
            for height, answer in shipment.send(batch.rows, batch.offset, batch.begin):
                done = progress.rows + height
                keep(progress.plus(height, answer, batch.key_before(done)))
                tell(done)
    load.place.forget()
    _print(model, kind, progress.sent, resumed, as_json=as_json)
    return ALERTS if progress.sent.quarantined else OK


# ---- what is sent ---------------------------------------------------------------------------------------------------


class _Batch(NamedTuple):
    """Rows that begin at an offset, where their batch began, and the order key of each of them."""

    rows: PolarsTable
    offset: int
    begin: int
    keys: Any = None

    def key_before(self, done: int) -> Any:
        """Return the order key of the last row before a place."""
        return None if self.keys is None else self.keys[done - self.offset - 1]


class _Load(NamedTuple):
    """What is sent: a name for it, its rows from where it was, how many rows there are, and how far it was."""

    name: str
    batches: Callable[[Progress], Iterator[_Batch]]
    total: int | None
    place: Place


def _of_file(file: str, told: list[str]) -> _Load:
    from driftline.cli.send_place import Place
    from driftline.client.tables import PolarsTable, batch_rows, evenly
    from driftline.sources.files import open_rows

    rows = open_rows(file)
    most = batch_rows(len(rows.schema))

    def batches(progress: Progress) -> Iterator[_Batch]:
        begin = 0
        for table in evenly(map(PolarsTable, rows.batches(list(rows.schema))), most):
            skipped = max(progress.rows - begin, 0)
            if skipped < table.height:
                yield _Batch(table.part(skipped, table.height - skipped), begin + skipped, begin)
            begin += table.height

    named = [*told, file if "://" in file else str(Path(file).absolute())]
    states = None if "://" in file else _states(file)
    place = Place(_home(), [*named, *(states or ())], known=states is not None)
    return _Load(json.dumps(named), batches, rows.count, place)


def _of_database(source: str, wanted: Any, told: list[str], stack: contextlib.ExitStack) -> _Load:
    from driftline.cli.send_place import Place
    from driftline.cli.send_sql import Database
    from driftline.client.tables import PolarsTable, batch_rows

    database = Database(source, wanted)
    stack.callback(database.close)
    most = batch_rows(database.columns())
    if database.order_by is None:
        click.echo(_UNORDERED, err=True)

    def batches(progress: Progress) -> Iterator[_Batch]:
        offset = progress.rows
        for chunk in database.chunks(progress.key, most - offset % most, most):
            table = PolarsTable(chunk.frame)
            yield _Batch(table, offset, offset - offset % most, chunk.keys)
            offset += table.height

    named = [*told, *database.told]
    return _Load(json.dumps(named), batches, None, Place(_home(), named, known=database.order_by is not None))


_UNORDERED = (
    "driftline: without --order-by, a unique column, this begins anew when it is interrupted, and rows without ids "
    "may be stored twice then"
)


def _states(file: str) -> list[str] | None:
    """Return what tells files from those that have changed since; None where it cannot be told."""
    try:
        found = Path(file)
        files = [found] if found.is_file() else sorted(found.rglob("*") if found.is_dir() else map(Path, glob(file)))
        return [f"{one} {(status := one.stat()).st_size} {status.st_mtime_ns}" for one in files]
    except OSError:
        return None


def _home() -> Path | None:
    """Return the folder in which programs of this user keep their state; None where there is none."""
    from driftline.environment import environment

    try:
        return Path(environment().get("XDG_STATE_HOME") or Path.home() / ".local" / "state")
    except RuntimeError:
        return None


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


def _print(model: str, kind: str, sent: Sent, resumed: int, *, as_json: bool) -> None:
    from driftline.text.numbers import count

    if as_json:
        told = {"accepted": sent.accepted, "quarantined": sent.quarantined, "resumed_from": resumed}
        print_json(json.dumps(told))
        return
    before = f" ({count(resumed)} rows had been sent before)" if resumed else ""
    click.echo(f"{visible(model)}: {count(sent.accepted)} {kind} accepted{before}.")
    if sent.quarantined:
        click.echo(f"{count(sent.quarantined)} rows were set aside; see /api/v1/models/{visible(model)}/quarantine.")
