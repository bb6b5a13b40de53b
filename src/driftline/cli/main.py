"""``driftline``: parse, call, print. Commands are imported only when they are called, so that ``--help`` is quick."""

from __future__ import annotations

import atexit
import contextlib
import gc
import importlib
import os
import sys
import traceback
from collections.abc import Iterator, Sequence

import click

from driftline.cli.streams import patient_streams
from driftline.errors import DriftlineError, UnknownNameError

COMMANDS = {
    "init": "Write a first driftline.yaml, guessed from a file of rows.",
    "watch": "Run a script that returns a score, on a schedule; log it and alert.",
    "check": "Compare a current file with a reference: one verdict, one exit code.",
    "backtest": "Say what would have fired over a history, had this been on.",
    "test": "Run tests of a configuration: given these windows, these alerts fire.",
    "profile": "Profile a history by window, where it lies, for check and backtest.",
    "gate": "Judge a challenger against the champion on labelled rows: promote or hold.",
    "serve": "Take events over HTTP; judge windows, alert, expose /metrics and a page.",
    "send": "Send the rows of a file to a service, as predictions or labels.",
    "rebuild": "Recompute a model's windows from the event log, and say where they differed.",
    "forget": "Erase a person's rows of a model, everywhere.",
    "hold": "Have nothing of a model deleted, until the hold is released.",
    "token": "Create, list and revoke the tokens by which people and programs sign in.",
    "audit": "List who changed what, when and why.",
    "doctor": "Examine a service: disk, database, clocks, files, tokens.",
    "migrate": "Bring the database to this release's tables.",
    "models": "List the models of a service: what came, until when, what is firing.",
    "alerts": "List the alerts that are firing.",
    "explain": "Say where an alert's threshold came from, and judge its window again.",
    "ack": "Acknowledge an alert.",
    "accept": "Take what a model's windows have come to for the new normal.",
    "silence": "Silence some alerts for a while.",
    "retrain": "Ask for a challenger of a model, by hand.",
    "challengers": "List requests for challengers; approve or refuse one that has won.",
    "card": "Print the model card of a version.",
    "notify": "Send a test message to a receiver of alerts.",
    "export": "Write files that put Driftline into other programs: Prometheus, Grafana, CI.",
    "demo": "Replay a real incident through a real service, in under a minute.",
    "schema": "Print the JSON Schema of driftline.yaml, for editors and other checkers.",
}
"""Each command is ``command`` in the module ``driftline.cli.<name>``; its first line of help is here."""

FIRST_STEPS = {
    "See all of it at work": "driftline demo",
    "Watch the score of a script": "driftline watch model.py:evaluate --every 1h --alert 'accuracy < 0.75'",
    "Begin with rows of a model": "driftline init rows.parquet",
}
"""What to do first, in words, and its line."""

OK, ALERTS, USAGE, BROKEN = 0, 1, 2, 70

_LASTING = {"serve", "watch", "demo"}
"""They run on and make garbage; the others end soon."""

_MANY_OBJECTS = 100_000


class _Commands(click.Group):
    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in COMMANDS:
            raise UnknownNameError("command", cmd_name, COMMANDS)
        command = importlib.import_module(f"driftline.cli.{cmd_name}").command
        assert isinstance(command, click.Command)
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl(list(COMMANDS.items()))

    def format_epilog(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("First steps"):
            for place, (words, line) in enumerate(FIRST_STEPS.items(), 1):
                formatter.write(f"  {place}. {words}:\n     {line}\n")


@click.group(cls=_Commands, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="driftline", message="%(prog)s %(version)s")
def root() -> None:
    """Driftline watches machine-learning models in production."""


def run() -> None:
    """Be the process of the command line: `main`, and at its end nothing is taken down that the system takes down.

    Freeing each object one by one takes a twentieth of a check of a million rows.
    """
    ended: list[int] = []
    atexit.register(_end, ended)  # the first that is registered is called last: everybody else has tidied up
    try:
        main()
    except SystemExit as end:
        ended.append(end.code if isinstance(end.code, int) else OK)
        raise


def _end(ended: Sequence[int]) -> None:
    if not ended:
        return
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(AttributeError, OSError, ValueError):  # there is none, or whoever read has gone
            stream.flush()
    os._exit(ended[0])


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command line; exit with 0 fine, 1 alerts found, 2 bad usage or bad input (one line on stderr), 70 for a
    fault of our own. Who reads what is printed, and how far, does not matter; that it cannot be written (a full disk)
    does.
    """
    with patient_streams() as out:
        code = _run(arguments)
        if out is not None and code != BROKEN:
            sys.stdout.flush()
            if out.failure is not None:
                code = _fail(f"stdout cannot be written: {out.failure.strerror}; what was found is not told")
    sys.exit(code)


def _run(arguments: Sequence[str] | None) -> int:
    first = (sys.argv[1:] if arguments is None else arguments)[:1]
    try:
        with contextlib.nullcontext() if _LASTING.intersection(first) else rare_collections():
            code = root.main(arguments, prog_name="driftline", standalone_mode=False)
    except click.exceptions.NoArgsIsHelpError as error:
        print(error.format_message())
        return USAGE
    except click.ClickException as error:
        return _fail(error.format_message())
    except click.Abort:
        return 130
    except DriftlineError as error:
        return _fail(str(error))
    except (SystemExit, KeyboardInterrupt):
        raise
    except BaseException as error:  # noqa: BLE001 - a panic of a library is no Exception, and must not look like an alert
        if words := _of_database(error):
            return _fail(words)
        traceback.print_exc()  # Python's own exit code would be that of an alert
        print("driftline: this is a fault of Driftline's own; please report it", file=sys.stderr)
        return BROKEN
    return code if isinstance(code, int) else OK


def _of_database(error: BaseException) -> str:
    """What a database that cannot be read or written has said, in words; empty for other errors."""
    known = sys.modules.get("sqlalchemy.exc")
    if known is None or not isinstance(error, known.DBAPIError):
        return ""
    from driftline.service.trouble import in_words, is_of_surroundings

    return in_words(error) if is_of_surroundings(error) else ""


@contextlib.contextmanager
def rare_collections() -> Iterator[None]:
    """Seldom look for cyclic garbage: a command that ends soon makes little, and imports make none.

    What was made meanwhile counts as old afterwards, or all of it would be looked at as soon as the command ends.
    """
    before = gc.get_threshold()
    gc.set_threshold(_MANY_OBJECTS, *before[1:])
    try:
        yield
    finally:
        gc.freeze()
        gc.unfreeze()
        gc.set_threshold(*before)


def _fail(message: str) -> int:
    """Print one line on stderr; return 2."""
    line = "".join(sign if sign.isprintable() else "\N{REPLACEMENT CHARACTER}" for sign in " ".join(message.split()))
    print(f"driftline: {line}", file=sys.stderr)
    return USAGE
