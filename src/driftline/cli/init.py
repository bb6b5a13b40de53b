"""``driftline init``: from a file of rows to a first, commented driftline.yaml."""

from __future__ import annotations

import os
import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from driftline.cli.main import OK
from driftline.cli.streams import print_json
from driftline.errors import UnknownNameError, UsageError
from driftline.text import visible

if TYPE_CHECKING:
    from driftline.events import Task
    from driftline.guessing.guess import Guess
    from driftline.guessing.model import ModelGuess

_DEFAULT = "driftline.yaml"
_MOST_SHOWN = 60


@click.command("init")
@click.argument("data")
@click.option(
    "--output",
    default=_DEFAULT,
    show_default=True,
    type=click.Path(path_type=Path),
    metavar="F",
    help="The file to write.",
)
@click.option("--force", is_flag=True, help="Replace a file that is there.")
@click.option("--model", metavar="NAME", help="The name of the model; that of the file otherwise.")
@click.option("--task", metavar="T", help="binary, multiclass or regression; guessed otherwise, as are the next ones.")
@click.option("--label", metavar="C", help="The column of the true class or value.")
@click.option("--prediction", metavar="C", help="The column of the prediction.")
@click.option(
    "--score",
    "scores",
    metavar="C",
    multiple=True,
    help="The column of the positive class's probability; or CLASS=C for each class.",
)
@click.option("--id", "identifier", metavar="C", help="The column that identifies a row.")
@click.option("--time", metavar="C", help="The column of the time of a row.")
@click.option("--time-format", metavar="F", help="How times are written, such as '%d/%m/%Y', or a unit: s, ms, us, ns.")
@click.option("--json", "as_json", is_flag=True, help="One JSON document on stdout, and nothing else there.")
def command(
    data: str,
    output: Path,
    force: bool,
    model: str | None,
    task: str | None,
    label: str | None,
    prediction: str | None,
    scores: tuple[str, ...],
    identifier: str | None,
    time: str | None,
    time_format: str | None,
    as_json: bool,
) -> int:
    """Guess a model's configuration from a file of its rows, and write it with comments.

    DATA is one file: Parquet, CSV, Arrow IPC or NDJSON. It becomes the model's reference. Each guess stands in the file
    with its reason; what could not be guessed stands there switched off, with what to fill in.
    """
    from driftline.cli.check import read_scores
    from driftline.config.first_file import first_file
    from driftline.config.load import parse
    from driftline.guessing.model import Said, guess_model
    from driftline.guessing.roles import Given

    _require_free(output, force=force)
    given = Given(identifier, prediction, read_scores(scores), label)
    guess = guess_model(data, model, Said(given, time, time_format, _task(task)))
    one_file = Path(data).is_file()
    reference = Path(data) if one_file else output.parent / f"{guess.name}-reference.parquet"
    text = first_file(guess, _from_folder(reference, output.parent), data)
    parse(text, output)  # what is written can be read
    if not one_file:
        _require_free(reference, force=force)
        _copy(data, guess, reference)
    _write(text, output, force=force)
    steps = next_steps(guess, data, output)
    if as_json:
        print_json(_document(guess, output, steps))
    else:
        _print(guess, output, None if one_file else reference, steps)
    return OK


def next_steps(guess: ModelGuess, data: str, config: Path) -> list[str]:
    """Return the two commands to run next; without times nothing can be back-tested, and rows are checked instead."""
    rows = shlex.quote(data if not data.startswith("-") else f"./{data}")
    named = shlex.quote(str(config))
    first = f"backtest {rows}" if guess.columns.time is not None else f"check {rows} {rows}"
    serve = "driftline serve" if str(config) == _DEFAULT else f"driftline serve --config {named}"
    return [f"driftline {first} --config {named}", serve]


def _task(task: str | None) -> Task | None:
    from driftline.events import Task

    if task is not None and task not in [one.value for one in Task]:
        raise UnknownNameError("task", task, [one.value for one in Task])
    return None if task is None else Task(task)


def _require_free(path: Path, *, force: bool) -> None:
    if not force and (path.exists() or path.is_symlink()):
        raise UsageError(f"{path} is there already and was left as it is; name another --output, or add --force")


def _from_folder(path: Path, folder: Path) -> str:
    """Return a path as it is seen from the configuration's folder."""
    try:
        return os.path.relpath(path.absolute(), folder.absolute())
    except ValueError:  # on another drive
        return str(path.absolute())


def _copy(data: str, guess: ModelGuess, path: Path) -> None:
    """Copy rows into one Parquet file, which a reference is."""
    from driftline.sources.files import open_rows, whole

    rows = whole(open_rows(data, guess.columns.missing))
    try:
        rows.write_parquet(path)
    except OSError as error:
        raise UsageError(f"{path} cannot be written: {error.strerror or error}; name another --output") from error


def _write(text: str, path: Path, *, force: bool) -> None:
    try:
        with path.open("w" if force else "x", encoding="utf-8", newline="\n") as file:
            file.write(text)
    except OSError as error:
        raise UsageError(f"{path} cannot be written: {error.strerror}; name another --output") from error


def _document(guess: ModelGuess, output: Path, steps: list[str]) -> str:
    import msgspec

    task = guess.task
    document = {
        "config": str(output),
        "model": guess.name,
        "task": None if task is None else task.value,
        "columns": {name: value for name, value in columns_of(guess).items() if value not in (None, [])},
        "guesses": guess.guesses,
        "left_out": guess.aside,
        "notes": guess.notes,
        "next": steps,
    }
    return msgspec.json.format(msgspec.json.encode(document)).decode()


def columns_of(guess: ModelGuess) -> dict[str, Any]:
    """Return the columns' roles as they stand in the file."""
    import msgspec

    roles = msgspec.structs.asdict(guess.columns)
    return {
        **{name: roles[name] for name in ("id", "time", "time_format", "version", "prediction", "score", "label")},
        **{name: list(roles[name]) for name in ("features", "segments")},
        "categorical": list(guess.schema.codes),
        "missing": list(roles["missing"]) if guess.guess("columns.missing") is not None else None,
    }


def _print(guess: ModelGuess, output: Path, copy: Path | None, steps: list[str]) -> None:
    lines = [f"Wrote {visible(str(output))}: the model {guess.name}, guessed from its rows."]
    if copy is not None:
        lines.append(f"Wrote {visible(str(copy))}: a copy of the rows, as a reference is one file.")
    lines += [f"  {visible(note)}" for note in guess.notes]
    lines += [f"  {one.key.rpartition('.')[2]:<13}{_value(one)} ({visible(one.reason)})" for one in guess.guesses]
    lines += ["", "Look at the guesses in it, then:", *(f"  {visible(step)}" for step in steps)]
    print("\n".join(lines))


def _value(guess: Guess) -> str:
    from driftline.config.first_file import written
    from driftline.events import MISSING_TEXTS

    if guess.value is None:
        return "not guessed"
    if guess.key == "columns.missing":  # the usual texts go without saying
        return f"also {', '.join(map(written, guess.value[len(MISSING_TEXTS) :]))}"
    text = written(guess.value)
    return text if len(text) <= _MOST_SHOWN else f"{text[: _MOST_SHOWN - 1]}…"
