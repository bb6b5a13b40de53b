"""``driftline check``: two files, one verdict, one exit code."""

from __future__ import annotations

import contextlib
import io
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click
from rich.console import Console
from rich.table import Table
from rich.text import Text

from driftline.cli.main import ALERTS, OK
from driftline.errors import ConfigError, UnknownNameError, UsageError
from driftline.service.check import check
from driftline.service.check_report import ColumnReport, Report
from driftline.service.config import load
from driftline.statistics import Measure
from driftline.statistics.drift import percent

_ROWS_SHOWN = 20
_SHORT = {"wasserstein": "shift"}


@click.command()
@click.argument("reference", type=click.Path(path_type=Path))
@click.argument("current", type=click.Path(path_type=Path))
@click.option("--task", metavar="T", help="binary, multiclass or regression; inferred otherwise.")
@click.option("--prediction", metavar="C", help="The column of the prediction.")
@click.option(
    "--score",
    "scores",
    metavar="C",
    multiple=True,
    help="The column of the positive class's probability; or CLASS=C for each class.",
)
@click.option("--label", metavar="C", help="The column of the true class or value.")
@click.option("--time", metavar="C", help="The column of the time of a row; it is not compared.")
@click.option("--id", "identifier", metavar="C", help="The column that identifies a row; it is not compared.")
@click.option("--ignore", metavar="C", multiple=True, help="A column to leave out. May be repeated.")
@click.option("--positive", metavar="CLASS", help="The class that precision, recall, F1 and ROC AUC speak of.")
@click.option(
    "--config",
    type=click.Path(path_type=Path),
    metavar="F",
    help="Take columns and task from driftline.yaml.",
)
@click.option("--model", metavar="NAME", help="Which model of the configuration, if it has more than one.")
@click.option("--json", "as_json", is_flag=True, help="One JSON document on stdout, and nothing else there.")
@click.option("--html", type=click.Path(path_type=Path), metavar="F", help="Write the report as one HTML file.")
def command(
    reference: Path,
    current: Path,
    scores: tuple[str, ...],
    identifier: str | None,
    config: Path | None,
    model: str | None,
    as_json: bool,
    html: Path | None,
    **options: Any,
) -> int:
    """Compare a current file with a reference: one verdict, one exit code.

    REFERENCE and CURRENT are Parquet, CSV, Arrow IPC or NDJSON files, or folders of Delta Lake. Exits with 0
    when all is well, 1 when there are alerts, 2 when the input cannot be used.
    """
    given = {**options, "id": identifier, "score": _score(scores)}
    settings = _configured(config, model)
    settings |= {name: value for name, value in given.items() if value not in (None, ())}
    with _progress(f"comparing {current} with {reference}"):
        report = check(reference, current, **settings)
    if html is not None:
        try:
            report.to_html(html)
        except OSError as error:
            raise UsageError(f"--html {html}: cannot be written: {error.strerror}") from error
    if as_json:
        print(report.to_json())
    else:
        _print(report, html)
    return ALERTS if report.alerts else OK


def _score(scores: tuple[str, ...]) -> str | dict[str, str] | None:
    """One column, or a column for each class from CLASS=COLUMN."""
    if len(scores) == 1 and "=" not in scores[0]:
        return scores[0]
    for score in scores:
        if "=" not in score:
            raise UsageError(f"--score {score!r} came among several; each is CLASS=COLUMN, such as rain=p_rain")
    return {name: column for name, _, column in (score.partition("=") for score in scores)} or None


def _configured(path: Path | None, name: str | None) -> dict[str, Any]:
    if path is None:
        if name is not None:
            raise UsageError("--model names a model of a configuration; add --config F")
        return {}
    models = load(path).models
    if name is None and len(models) != 1:
        raise ConfigError(f"has {len(models)} models ({', '.join(models)}); name one with --model", path=path)
    if name is not None and name not in models:
        raise UnknownNameError("model", name, models)
    model = models[name or next(iter(models))]
    columns = model.columns
    return {
        "task": model.task,
        "positive": model.positive,
        "prediction": columns.prediction,
        "score": columns.score,
        "label": columns.label,
        "time": columns.time,
        "id": columns.id,
        "features": columns.features,
        "ignore": tuple(filter(None, (*columns.ignore, columns.version))),
    }


@contextlib.contextmanager
def _progress(words: str) -> Iterator[None]:
    if not sys.stderr.isatty():
        yield
        return
    with Console(stderr=True).status(_clean(words)):
        yield


# ---- the report in a terminal ------------------------------------------------------------------------------


def _print(report: Report, html: Path | None) -> None:
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="replace")
    console = Console(highlight=False, markup=False, emoji=False)
    drifted = [column for column in report.columns.values() if column.drift is not None and column.drift.drifted]
    count = len(report.alerts)
    verdict = f"ALERT: {count} alert{'s' if count > 1 else ''} found" if count else "OK: no alert"
    console.print(Text(verdict, "bold red" if count else "bold green"))
    console.print(
        f"{report.rows.current:,} current rows against {report.rows.reference:,} of the reference; "
        f"{len(drifted)} of {len(report.columns)} columns drifted"
    )
    for alert in report.alerts:
        if alert.kind == "performance":
            console.print(Text(_clean(alert.message), "red"))
    _print_columns(console, report)
    _print_performance(console, report)
    if html is not None:
        console.print(f"\nThe report with its charts: {_clean(str(html))}")


def _print_columns(console: Console, report: Report) -> None:
    shown = [column for column in report.columns.values() if column.drift is None or column.drift.drifted]
    quiet = len(report.columns) - len(shown)
    if shown:
        table = _table(("column", "kind", "drift", "missing", "what changed"))
        for column in shown[:_ROWS_SHOWN]:
            style = "red" if column.drift is not None else "dim"
            changes = [change for change in column.changes if not change.startswith("missing ")]
            table.add_row(
                Text(_clean(column.column), style),
                column.kind,
                _drift(column),
                _missing(column),
                Text(_clean("\n".join(changes) if changes or column.changes else column.problem, keep="\n")),
            )
        console.print()
        console.print(table)
    if len(shown) > _ROWS_SHOWN:
        console.print(f"and {len(shown) - _ROWS_SHOWN} more; --json and --html have them all")
    if quiet:
        count = "column" if quiet == 1 and shown else "1 column" if quiet == 1 else f"{quiet} columns"
        console.print(f"{'The other ' if shown else ''}{count}: no drift")


def _drift(column: ColumnReport) -> str:
    drift = column.drift
    if drift is None:
        return "–"
    if drift.value is None or drift.threshold is None:
        return "yes"
    return f"{_SHORT.get(drift.measure, drift.measure)} {drift.value:.2f} ≥ {drift.threshold:.2f}"


def _missing(column: ColumnReport) -> str:
    before, now = column.missing.reference, column.missing.current
    if not before and not now:
        return "–"
    return " → ".join("–" if share is None else percent(share) for share in (before, now))


def _table(names: tuple[str, ...], *, right: bool = False) -> Table:
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="dim")
    for at, name in enumerate(names):
        last = name == "what changed"
        table.add_column(name, justify="right" if right and at else "left", overflow="fold", ratio=1 if last else None)
    return table


def _print_performance(console: Console, report: Report) -> None:
    if report.performance is None:
        return
    table = _table(("measure", "current", "95 % interval", "rows", "reference"), right=True)
    problems = []
    for name, measure in report.performance.items():
        if measure.value is None or measure.low is None or measure.high is None:
            problems.append(f"{name}: {measure.problem}")
            continue
        before = (report.reference_performance or {}).get(name)
        table.add_row(
            name,
            f"{measure.value:.3f}",
            f"{measure.low:.3f} to {measure.high:.3f}",
            f"{measure.n:,}",
            "–" if before is None or before.value is None else f"{before.value:.3f}",
        )
    console.print()
    if table.row_count:
        console.print(table)
    for problem in problems:
        console.print(Text(_clean(problem), "dim"))
    coverage: Measure | None = report.label_coverage
    if coverage is not None and coverage.value is not None and coverage.value < 1:
        console.print(f"{percent(coverage.value)} of the current rows have a label")


def _clean(text: str, *, keep: str = "") -> str:
    """Names come from strangers: nothing in them moves the cursor or rings the bell."""
    return "".join(letter if letter.isprintable() or letter in keep else "\N{REPLACEMENT CHARACTER}" for letter in text)
