"""``driftline profile``: a history to profiles by window, where it lies."""

from __future__ import annotations

import importlib
import importlib.metadata
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from driftline.cli.configured import config_file, which_model
from driftline.cli.main import OK
from driftline.cli.streams import print_json
from driftline.errors import UsageError

if TYPE_CHECKING:
    from driftline.monitoring.options import ModelConfig
    from driftline.sql import SqlProfiles

ENGINES = ("local", "spark", "sql")


@click.command("profile")
@click.argument("paths", metavar="PATH...", nargs=-1, required=True)
@config_file("Columns, window and reference of the model.")
@which_model
@click.option(
    "--output",
    required=True,
    metavar="P",
    help="Where to: a Parquet file, or a folder that ends in / for a table of Delta Lake.",
)
@click.option(
    "--engine",
    metavar="E",
    type=click.Choice(ENGINES),
    default="local",
    show_default=True,
    help="Who reads the rows: local (this machine, all cores), spark, or sql (the database in which they are).",
)
@click.option(
    "--rows", metavar="TABLE|SELECT", help="For sql: the table, or a query; PATH is then the address of the database."
)
@click.option("--json", "as_json", is_flag=True, help="One JSON document on stdout, and nothing else there.")
def command(
    paths: tuple[str, ...],
    config_path: Path,
    model: str | None,
    output: str,
    engine: str,
    rows: str | None,
    as_json: bool,
) -> int:
    """Profile a history by window, where it lies, for `driftline check` and `backtest`.

    PATH is a file, folder or pattern of rows, a table of Delta Lake, or an address such as s3://bucket/rows.parquet;
    with --engine sql, duckdb:FILE, postgresql://HOST/DATABASE or env:NAME.
    Every window and version becomes one row of --output, a few kilobytes, which check and backtest read like any
    history. Tables of several months are read together, as 'profiles/*.parquet'. Exits with 0, or 2 when the input
    cannot be used.
    """
    import json

    from driftline.cli.check import chosen, progress
    from driftline.clock import monotonic_seconds
    from driftline.config.load import load
    from driftline.engines.stored import stored_frame
    from driftline.monitoring.profiling import profiled_by, require_free, summary_of, write_profiles

    began = monotonic_seconds()
    config = chosen(load(config_path).models, model, config_path)
    require_free(output)
    with progress("profiling") as told:
        if engine == "sql":
            counted = _counted(config, paths, rows)
            table, layout, left_out = counted.table, counted.layout, counted.left_out
        elif rows is not None:
            raise UsageError("--rows names a table or query of a database; it goes with --engine sql")
        else:
            made = profiled_by(engine, config, paths, told)
            table, layout, left_out = made.table, made.layout, {}
    release = importlib.metadata.version("driftline")
    written = write_profiles(stored_frame(table, layout, config.name, release), output)
    summary = summary_of(table)
    if as_json:
        document: dict[str, Any] = {"model": config.name, "output": output, "engine": engine, **summary._asdict()}
        document |= {"left_out": dict(left_out)} if engine == "sql" else {}
        for end in ("start", "end"):
            document[end] = None if document[end] is None else document[end].isoformat()
        print_json(json.dumps(document | {"bytes": written, "seconds": round(monotonic_seconds() - began, 3)}))
    else:
        for line in summary.lines(output, written, monotonic_seconds() - began):
            click.echo(line)
        for name, reason in left_out.items():
            click.echo(f"left out: {name}, because {reason}")
    return OK


def _counted(config: ModelConfig, paths: tuple[str, ...], rows: str | None) -> SqlProfiles:
    from urllib.parse import urlsplit

    from driftline import sql
    from driftline.monitoring.profiling import layout_of_history, require_times, require_windows

    require_times(config)
    if len(paths) != 1 or rows is None:
        raise UsageError("of a database, say its address as PATH, and the table or query as --rows TABLE|SELECT")
    if urlsplit(paths[0]).password:
        raise UsageError(
            "the address holds a password, and other people see a command line; put the address into a variable and "
            "say env:NAME, or the password into PGPASSWORD or ~/.pgpass"
        )
    found = sql.profile(paths[0], rows, layout_of_history(config, ()))
    require_windows(found.table, rows)
    return found
