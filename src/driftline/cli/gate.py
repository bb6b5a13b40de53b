"""``driftline gate``."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from driftline.cli.main import ALERTS, OK
from driftline.cli.streams import print_json
from driftline.errors import UsageError


@click.command("gate")
@click.argument("champion")
@click.argument("challenger")
@click.argument("data")
@click.option("--label", required=True, metavar="C", help="The column of the true class or value in DATA.")
@click.option("--id", metavar="C", help="The column by which rows are matched; without it, by their order.")
@click.option("--time", metavar="C", help="The column of the time of a row: rows of one time may depend on each other.")
@click.option("--time-format", metavar="F", help="How times are written, such as '%d/%m/%Y', or a unit: s, ms, us, ns.")
@click.option("--missing", metavar="TEXT", multiple=True, help="A text that stands for no value, instead of the usual.")
@click.option("--prediction", default="prediction", show_default=True, metavar="C", help="The column of predictions.")
@click.option("--score", "scores", metavar="C", multiple=True, help="The positive class's probability; or CLASS=C.")
@click.option("--segment", "segments", metavar="C", multiple=True, help="For none of its values may it be worse.")
@click.option("--task", metavar="T", help="binary, multiclass or regression; inferred otherwise.")
@click.option("--positive", metavar="CLASS", help="The positive class of precision, recall, F1 and ROC AUC.")
@click.option("--measure", metavar="M", help="What is compared, or FILE.py:FUNCTION; else ROC AUC, accuracy or MAE.")
@click.option("--better", metavar="SIDE", help="Of a function of yours: higher or lower values are better.")
@click.option("--margin", type=float, default=0.0, help="It need only be no worse than this.")
@click.option("--improvement", type=float, default=0.0, help="It has to be better by more than this.")
@click.option("--floor", type=float, help="The worst value that will do, whatever the champion does.")
@click.option("--confidence", type=float, default=0.95, show_default=True, help="How sure it has to be, one-sided.")
@click.option("--least-rows", type=int, default=100, show_default=True, help="So many labelled rows at least.")
@click.option(
    "--least-class-rows", type=int, default=30, show_default=True, help="And so many of a class that the measure is of."
)
@click.option("--trained-until", metavar="TIME", help="When the challenger's training data ended (ISO 8601).")
@click.option("--json", "as_json", is_flag=True, help="One JSON document on stdout, and nothing else there.")
@click.option(
    "--evidence", type=click.Path(path_type=Path), metavar="F", help="Write what it rests on as JSON, for a report."
)
@click.option("--html", type=click.Path(path_type=Path), metavar="F", help="Write the report as one HTML file.")
def command(
    champion: str,
    challenger: str,
    data: str,
    as_json: bool,
    html: Path | None,
    evidence: Path | None,
    trained_until: str | None,
    **options: Any,
) -> int:
    """Judge CHALLENGER against CHAMPION on the labelled rows of DATA.

    CHAMPION and CHALLENGER are files of predictions (Parquet, CSV, Arrow IPC, NDJSON), or functions of yours,
    FILE.py:FUNCTION or MODULE:FUNCTION, that take a Polars frame of features and return predictions. Exits with 0 for
    promote, 1 for hold, 2 when the input cannot be used.
    """
    import msgspec

    from driftline.checks.labelled import GateColumns
    from driftline.cli.check import read_scores
    from driftline.events import MISSING_TEXTS, Task
    from driftline.reports.contest_html import contest_html
    from driftline.reports.contest_text import print_contest
    from driftline.retrain.gate import hold
    from driftline.rules.contestants import Settings
    from driftline.text.moments import read_moment

    task = options["task"]
    if task is not None and task not in list(Task):
        raise UsageError(f"--task came as {task!r}; allowed is {', '.join(Task)}")
    if options["better"] not in (None, "higher", "lower"):
        raise UsageError(f"--better came as {options['better']!r}; allowed is higher, lower")
    names = ("measure", "better", "margin", "improvement", "floor", "confidence", "least_rows", "least_class_rows")
    contest = hold(
        champion,
        challenger,
        data,
        GateColumns(
            label=options["label"],
            id=options["id"],
            time=options["time"],
            prediction=options["prediction"],
            score=read_scores(options["scores"]),
            segments=options["segments"],
            missing=options["missing"] or MISSING_TEXTS,
            time_format=options["time_format"],
        ),
        Settings(**{name: options[name] for name in names}),
        task=None if task is None else Task(task),
        positive=options["positive"],
        trained_until=None if trained_until is None else read_moment("--trained-until", trained_until),
        keep=None if evidence is None else lambda found: _write("--evidence", evidence, msgspec.json.encode(found)),
    )
    if html is not None:
        _write("--html", html, contest_html(contest).encode())
    if as_json:
        print_json(msgspec.json.encode(contest).decode())
    else:
        print_contest(contest)
    return OK if contest.decision == "promote" else ALERTS


def _write(option: str, path: Path, content: bytes) -> None:
    try:
        path.write_bytes(content)
    except OSError as error:
        raise UsageError(f"{option} {path}: cannot be written: {error.strerror}") from error
