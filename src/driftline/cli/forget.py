"""``driftline forget``."""

from __future__ import annotations

import getpass
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import click

from driftline.cli.configured import configured
from driftline.cli.streams import print_json
from driftline.errors import DataError, UnknownNameError, UsageError
from driftline.text import visible

if TYPE_CHECKING:
    from driftline.config.load import Config
    from driftline.monitoring.forgetting import ForgettingView


@click.command("forget")
@click.argument("model")
@click.option("--id", "ids", multiple=True, metavar="ID", help="The id of a prediction. May be repeated.")
@click.option("--ids-file", type=click.Path(path_type=Path), metavar="F", help="A text file with an id a line.")
@click.option("--reason", default="", help="Why, for the audit; do not write the id here.")
@click.option("--by", default=getpass.getuser, show_default="your user name", help="Who asks.")
@click.option("--yes", is_flag=True, help="Do not ask whether to go on.")
@click.option("--wait", "patience", default="10min", show_default=True, metavar="TIME", help="How long to wait for it.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON document.")
@configured
def command(
    model: str,
    ids: tuple[str, ...],
    ids_file: Path | None,
    reason: str,
    by: str,
    yes: bool,
    patience: str,
    as_json: bool,
    config: Callable[[], Config],
) -> int:
    """Erase the rows of MODEL with these ids: from inbox, log, state, quarantine and the folders of runs.

    Windows keep their counts and values. A running service does it; where none runs, it is done here.
    """
    import msgspec

    from driftline.events import parse_duration
    from driftline.monitoring.forgetting import MOST_IDS, ForgetBody
    from driftline.service.alone import forget
    from driftline.views.offline import require_storage

    known = config()
    if model not in known.models:
        raise UnknownNameError("model", model, known.models)
    named = [*ids, *(_ids_of(ids_file) if ids_file is not None else [])]
    if not named:
        raise UsageError("nobody is to be forgotten; name ids with --id or --ids-file")
    if len(named) > MOST_IDS:
        raise UsageError(f"{len(named)} ids came; allowed are at most {MOST_IDS} at a time")
    require_storage(known, or_log=True)
    if not yes:
        _ask(model, len(named))
    found = forget(known, model, ForgetBody(list(named), reason, by), parse_duration(patience))
    if as_json:
        print_json(msgspec.json.encode(found).decode())
    else:
        _print(found)
    return 0 if found.state == "done" else 2


def _ids_of(file: Path) -> list[str]:
    try:
        text = file.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"the file of ids {file} cannot be read: {error}; write an id a line, in UTF-8") from None
    return [line.strip() for line in text.splitlines() if line.strip()]


def _ask(model: str, number: int) -> None:
    if not sys.stdin.isatty():
        raise UsageError("rows are erased for good; say --yes where nobody can be asked")
    rows = f"the rows of {number} ids" if number > 1 else "the rows of this id"
    click.confirm(f"Erase {rows} of {visible(model)} for good?", abort=True, err=True)


def _print(found: ForgettingView) -> None:
    from driftline.text.moments import moment
    from driftline.text.numbers import count

    if found.state != "done" or found.erased is None:
        print(
            f"driftline: request {found.id} is {found.state}: {visible(found.note or 'it is being done')}",
            file=sys.stderr,
        )
        return
    erased = found.erased
    parts = {
        "predictions": erased.predictions,
        "labels": erased.labels,
        "shadows": erased.shadows,
        "that waited": erased.inbox,
        "set aside": erased.quarantine,
        "of runs": erased.runs,
    }
    told = ", ".join(f"{count(number)} {name}" for name, number in parts.items() if number) or "there were none"
    click.echo(f"The rows of {count(found.ids)} ids of {visible(found.model)} are erased: {told}.")
    for one in erased.windows:
        version = f" of version {visible(one.version)}" if one.version else ""
        click.echo(f"  the window of {moment(one.start)}{version} still counts {count(one.rows)}")
