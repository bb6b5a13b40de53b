"""``driftline check``: two files, one verdict, one exit code."""

from __future__ import annotations

import contextlib
import sys
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from driftline.cli.configured import which_engine, which_model
from driftline.cli.main import ALERTS, OK
from driftline.cli.streams import print_json
from driftline.environment import quiet_blas, read_little_ahead
from driftline.errors import ConfigError, UnknownNameError, UsageError

if TYPE_CHECKING:  # what computes is imported when it is needed: --help and mistakes are answered at once
    from driftline.checks.report import Report
    from driftline.monitoring.options import ModelConfig
    from driftline.statistics import EffectThresholds


@click.command()
@click.argument("reference")
@click.argument("current")
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
@click.option("--time", metavar="C", help="The column of the time of a row; gaps in it are reported.")
@click.option(
    "--time-format",
    metavar="F",
    help="How times are written, such as '%d/%m/%Y', or a unit: s, ms, us, ns.",
)
@click.option(
    "--categorical",
    metavar="C",
    multiple=True,
    help="A column of numbers that are codes. May be repeated; '' for none.",
)
@click.option("--cluster", metavar="C", help="The column of what groups rows that are not independent: a customer.")
@click.option(
    "--missing",
    metavar="TEXT",
    multiple=True,
    help="A text that stands for no value, instead of the usual ones.",
)
@click.option("--id", "identifier", metavar="C", help="The column that identifies a row: repeated ids are an alert.")
@click.option(
    "--segment",
    "segments",
    metavar="C",
    multiple=True,
    help="Tell performance apart by this column. May be repeated.",
)
@click.option("--ignore", metavar="C", multiple=True, help="A column to leave out. May be repeated.")
@click.option("--positive", metavar="CLASS", help="The positive class of precision, recall, F1 and ROC AUC.")
@click.option(
    "--multivariate", metavar="WAY", help="Relations between columns: correlation (default), classifier or none."
)
@click.option("--floor", "floors", metavar="NAME=VALUE", multiple=True, help="Minimum effect size, such as js=0.2.")
@click.option(
    "--fail-on",
    metavar="KINDS",
    multiple=True,
    default=("any",),
    help="Which alerts make the exit code 1: any, drift, performance, quality, rule, never. With commas, or repeated.",
)
@click.option(
    "--config",
    type=click.Path(path_type=Path),
    metavar="F",
    help="Take columns, task and rules from driftline.yaml.",
)
@which_model
@which_engine
@click.option("--json", "as_json", is_flag=True, help="One JSON document on stdout, and nothing else there.")
@click.option("--html", type=click.Path(path_type=Path), metavar="F", help="Write the report as one HTML file.")
def command(
    reference: str,
    current: str,
    scores: tuple[str, ...],
    identifier: str | None,
    floors: tuple[str, ...],
    fail_on: tuple[str, ...],
    config: Path | None,
    model: str | None,
    engine: str | None,
    as_json: bool,
    html: Path | None,
    **options: Any,
) -> int:
    """Compare a current file with a reference: one verdict, one exit code.

    REFERENCE and CURRENT are Parquet, CSV, Arrow IPC or NDJSON files, tables of Delta Lake, patterns such as
    'data/*.parquet', addresses such as s3://bucket/rows.parquet, or what `driftline profile` has made of such rows.
    With --engine and --config, both are profiled where they lie, and their profiles are compared here.
    Exits with 0 when all is well, 1 when there are alerts, 2 when the input cannot be used.
    """
    quiet_blas()
    if "://" not in reference + current:
        read_little_ahead()
    from driftline.checks.api import check

    kinds = _kinds(fail_on)
    settings = _configured(config, model)
    given = {**options, "id": identifier, "score": read_scores(scores), "floors": _floors(floors, settings)}
    settings |= {name: value for name, value in given.items() if value not in (None, ())}
    _require_own_layout(config, model, reference, current)
    with progress("comparing") as told, warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of libraries, about what is none of the user's code
        sides = _opened(config, model, engine, told, reference, current)
        report = check(*sides, progress=told, **settings)
    if html is not None:
        try:
            report.to_html(html)
        except OSError as error:
            raise UsageError(f"--html {html}: cannot be written: {error.strerror}") from error
    if as_json:
        print_json(report.to_json())
    else:
        _print(report, html)
    return ALERTS if report.alerts_of(kinds) else OK


def _opened(
    config: Path | None, model: str | None, engine: str | None, told: Callable[[float], None] | None, *files: str
) -> Sequence[Any]:
    """Profile files that are rows, if there is an engine; open those whose columns are not all to be shown.

    Others are opened by the check.
    """
    if config is None:
        if engine is not None:
            raise UsageError(
                f"--engine {engine} came without --config; what becomes of a row has to be known before it is read: "
                "add --config F, of which the reference decides it"
            )
        return files
    from driftline.config.load import load

    chosen_model = chosen(load(config).models, model, config)
    from driftline.sources.profiled import is_profiles

    if engine is not None:
        from driftline.monitoring.profiling import profiled_by

        return [
            one if is_profiles(one) else profiled_by(engine, chosen_model, [one], told, by_window=False)
            for one in files
        ]
    if not chosen_model.store:
        return files
    from driftline.monitoring.hiding import opened

    return [one if is_profiles(one) else opened(one, chosen_model) for one in files]


def _require_own_layout(config: Path | None, model: str | None, *files: str) -> None:
    """Refuse tables of profiles that were not made with this configuration."""
    from driftline.sources.profiled import is_profiles

    stored = [one for one in files if is_profiles(one)]
    if config is None or not stored:
        return
    from driftline.config.load import load
    from driftline.engines.stored import open_profiles
    from driftline.monitoring.backtest import require_layout
    from driftline.monitoring.layouts import layout_of_model

    known = chosen(load(config).models, model, config)
    layout = layout_of_model(known)
    for one in stored:
        require_layout(open_profiles(one), layout, known.name)


def _kinds(fail_on: tuple[str, ...]) -> frozenset[str]:
    kinds = [kind.strip() for kinds in fail_on for kind in kinds.split(",")]
    if kinds == ["any"]:
        return frozenset(kinds)
    from driftline.results.check import kinds_of_alerts

    return kinds_of_alerts(kinds)


def _floors(given: tuple[str, ...], settings: Mapping[str, Any]) -> EffectThresholds | None:
    if not given:
        return None
    from msgspec import structs

    from driftline.statistics import EffectThresholds

    known = set(EffectThresholds.__struct_fields__)
    values: dict[str, Any] = {}
    for floor in given:
        name, _, text = floor.partition("=")
        if name not in known:
            raise UnknownNameError("floor", name, known)
        try:
            values[name] = int(text) if name == "rows" else float(text)
        except ValueError:
            such = "a whole number, such as rows=30" if name == "rows" else f"a number, such as {name}=0.2"
            raise UsageError(f"--floor {floor!r} came; allowed is {such}") from None
    configured: EffectThresholds = settings.get("floors", EffectThresholds())
    return structs.replace(configured, **values)


def read_scores(scores: tuple[str, ...]) -> str | dict[str, str] | None:
    """One column, or a column for each class from CLASS=COLUMN."""
    if len(scores) == 1 and "=" not in scores[0]:
        return scores[0]
    for score in scores:
        if "=" not in score:
            raise UsageError(f"--score {score!r} came among several; each is CLASS=COLUMN, such as rain=p_rain")
    named = [(name, column) for name, _, column in (score.partition("=") for score in scores)]
    for name, _ in named:
        if sum(name == other for other, _ in named) > 1:
            raise UsageError(f"--score {name}=… came more than once; each class has one column")
    return dict(named) or None


def _configured(path: Path | None, name: str | None) -> dict[str, Any]:
    if path is None:
        if name is not None:
            raise UsageError("--model names a model of a configuration; add --config F")
        return {}
    from driftline.config.load import load

    model = chosen(load(path).models, name, path)
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
        "segments": columns.segments,
        "missing": columns.missing,
        "time_format": columns.time_format,
        "categorical": columns.categorical,
        "cluster": columns.cluster,
        "floors": model.floors,
        "rules": model.rules,
        "measures": model.measures,
        "ignore": tuple(one for one in (*columns.ignore, columns.version) if one and one not in model.store),
    }


def chosen(models: Mapping[str, ModelConfig], name: str | None, path: Path) -> ModelConfig:
    """The model that is named, or the only one of a configuration."""
    if name is None and len(models) != 1:
        raise ConfigError(f"has {len(models)} models ({', '.join(models)}); name one with --model", path=path)
    if name is not None and name not in models:
        raise UnknownNameError("model", name, models)
    return models[name or next(iter(models))]


@contextlib.contextmanager
def progress(words: str) -> Iterator[Callable[[float], None] | None]:
    """A bar on stderr where somebody is looking."""
    if not sys.stderr.isatty():
        yield None
        return
    from rich.console import Console
    from rich.progress import BarColumn, Progress, SpinnerColumn, TaskProgressColumn, TextColumn, TimeRemainingColumn

    from driftline.reports.words import cleaned

    shown = (SpinnerColumn("line"), TextColumn("{task.description}", markup=False), BarColumn(), TaskProgressColumn())
    with Progress(*shown, TimeRemainingColumn(), console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task(cleaned(words), total=1.0)
        yield lambda share: bar.update(task, completed=share)


def _print(report: Report, html: Path | None) -> None:
    from rich.console import Console

    from driftline.reports.report_text import renderables
    from driftline.reports.words import cleaned

    encoding = sys.stdout.encoding or "utf-8"
    console = Console(highlight=False, markup=False, emoji=False)
    if console.width < 1:  # COLUMNS=0, which some use for "unknown"; nothing would be shown
        console.width = 80
    for part in renderables(report, report.profiles, encoding=encoding):
        console.print(part)
    if html is not None:
        console.print(f"\nThe report with its charts: {cleaned(str(html))}")
