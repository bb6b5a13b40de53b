"""The options of every command that works with a configuration: which file, and which folder of data."""

from __future__ import annotations

import functools
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

if TYPE_CHECKING:
    from driftline.config.load import Config

_Result = TypeVar("_Result")

_file = click.option(
    "--config", "config_path", default="driftline.yaml", show_default=True, type=click.Path(path_type=Path)
)
_folder = click.option(
    "--data", type=click.Path(path_type=Path), help="Folder of events and state, instead of `storage`."
)

which_model = click.option("--model", metavar="NAME", help="Which model of the configuration, if it has more than one.")
"""The option of commands that work with one model, ``model``."""


which_engine = click.option(
    "--engine",
    metavar="E",
    type=click.Choice(("local", "spark")),
    help="Profile the rows first, where they lie, and judge the profiles: local (this machine, all cores) or spark.",
)
"""The option of commands that read rows themselves if it is not given, ``engine``: one of `profiling.ENGINES`."""


def config_file(help: str) -> Callable[[Callable[..., _Result]], Callable[..., _Result]]:
    """Return the option ``config_path`` of commands that read a configuration and no folder of data."""
    return click.option(
        "--config",
        "config_path",
        default="driftline.yaml",
        show_default=True,
        type=click.Path(path_type=Path),
        metavar="F",
        help=help,
    )


def configured(command: Callable[..., _Result]) -> Callable[..., _Result]:
    """Give a command ``--config`` and ``--data``, and the argument ``config``: a function that reads them.

    Nothing is read before it is called: a group's own options stand before its commands' ``--help``.
    """

    @_file
    @_folder
    @functools.wraps(command)
    def called(*args: Any, config_path: Path, data: Path | None, **options: Any) -> _Result:
        return command(*args, config=functools.partial(_read, config_path, data), **options)

    return called


def _read(path: Path, data: Path | None) -> Config:
    from driftline.config.load import load

    config = load(path)
    return config if data is None else config.at(data)
