"""``driftline profile``: a history to profiles by window, where it lies."""

from __future__ import annotations

import importlib
import importlib.metadata
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from driftline.cli.main import OK
from driftline.cli.streams import print_json

if TYPE_CHECKING:
    from collections.abc import Callable

    from driftline.monitoring.options import ModelConfig
    from driftline.profiles.layout import Layout
    from driftline.profiles.table import ProfileTable

ENGINES = ("local", "spark")


@click.command("profile")
@click.argument("paths", metavar="PATH...", nargs=-1, required=True)
@click.option(
    "--config",
    "config_path",
    default="driftline.yaml",
    show_default=True,
    type=click.Path(path_type=Path),
    metavar="F",
    help="Columns, window and reference of the model.",
)
@click.option("--model", metavar="NAME", help="Which model of the configuration, if it has more than one.")
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
    help="Who reads the rows: local (this machine, all cores) or spark.",
)
@click.option("--json", "as_json", is_flag=True, help="One JSON document on stdout, and nothing else there.")
def command(
    paths: tuple[str, ...], config_path: Path, model: str | None, output: str, engine: str, as_json: bool
) -> int:
    """Profile a history by window, where it lies, for `driftline check` and `backtest`.

    PATH is a file, folder or pattern of rows, a table of Delta Lake, or an address such as s3://bucket/rows.parquet.
    Every window and version becomes one row of --output, a few kilobytes, which check and backtest read like any
    history. Tables of several months are read together, as 'profiles/*.parquet'. Exits with 0, or 2 when the input
    cannot be used.
    """
    import json

    from driftline.cli.check import chosen, progress
    from driftline.clock import monotonic_seconds
    from driftline.config.load import load
    from driftline.engines.stored import stored_frame
    from driftline.monitoring.profiling import require_free, summary_of, write_profiles

    began = monotonic_seconds()
    config = chosen(load(config_path).models, model, config_path)
    require_free(output)
    with progress("profiling") as told:
        table, layout = _profiled(engine, config, paths, told)
    release = importlib.metadata.version("driftline")
    written = write_profiles(stored_frame(table, layout, config.name, release), output)
    summary = summary_of(table)
    if as_json:
        document: dict[str, Any] = {"model": config.name, "output": output, "engine": engine, **summary._asdict()}
        for end in ("start", "end"):
            document[end] = None if document[end] is None else document[end].isoformat()
        print_json(json.dumps(document | {"bytes": written, "seconds": round(monotonic_seconds() - began, 3)}))
    else:
        for line in summary.lines(output, written, monotonic_seconds() - began):
            click.echo(line)
    return OK


def _profiled(
    engine: str, config: ModelConfig, paths: tuple[str, ...], told: Callable[[float], None] | None
) -> tuple[ProfileTable, Layout]:
    from driftline.monitoring.profiling import layout_of_history, open_history, profile_history, require_windows

    if engine == "local":
        history = open_history(config, paths)
        return profile_history(history, told), history.layout
    # It imports no Spark, and says in one line how to get one.
    profile_files: Callable[..., ProfileTable] = importlib.import_module("driftline.spark").profile_files
    layout = layout_of_history(config, paths)
    return require_windows(profile_files(list(paths), layout), ", ".join(paths)), layout
