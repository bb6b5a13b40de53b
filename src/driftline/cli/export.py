"""``driftline export``: files for other programs."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING

import click

from driftline.exporters.ci_files import FILES, Training
from driftline.exporters.grafana_files import PROMETHEUS

if TYPE_CHECKING:
    from driftline.config.load import Config
    from driftline.exporters.files import File
    from driftline.exporters.prometheus_rules import ModelAlerts
    from driftline.monitoring.options import ModelConfig

CONFIG = "driftline.yaml"
_JOB = Training("model")


@click.group("export")
def command() -> None:
    """Write files that put Driftline into other programs."""


@command.command("prometheus")
@click.argument("folder", metavar="DIR", type=click.Path(path_type=Path))
@click.option(
    "--config",
    "config_path",
    type=click.Path(path_type=Path),
    show_default=f"{CONFIG} where there is one, else rules for any model only",
    help="The models whose rules are written too.",
)
@click.option("--target", default="127.0.0.1:8000", show_default=True, help="Where Driftline listens.")
@click.option("--alertmanager", default="127.0.0.1:9093", show_default=True, help="Where Alertmanager listens.")
@click.option("--force", is_flag=True, help="Overwrite files that differ.")
def prometheus(folder: Path, config_path: Path | None, target: str, alertmanager: str, force: bool) -> None:
    """Write rules with unit tests, and configurations of Prometheus and Alertmanager, into DIR."""
    from driftline.config.load import load
    from driftline.exporters.prometheus_files import Addresses, prometheus_files

    addresses = Addresses(target, alertmanager)
    if config_path is None and not Path(CONFIG).exists():
        _write(prometheus_files([], addresses), folder, force=force)
        return
    config = load(config_path or Path(CONFIG))
    models = [_alerts(one) for one in config.models.values()]
    files = prometheus_files(models, addresses, pushed_after=_pushed_after(config))
    _write(files, folder, force=force)


@command.command("grafana")
@click.argument("folder", metavar="DIR", type=click.Path(path_type=Path))
@click.option("--prometheus", default=PROMETHEUS, show_default=True, help="Prometheus, as Grafana's server sees it.")
@click.option("--force", is_flag=True, help="Overwrite files that differ.")
def grafana(folder: Path, prometheus: str, force: bool) -> None:
    """Write dashboards, their provisioning, and a compose file with Prometheus and Alertmanager, into DIR."""
    from driftline.exporters.grafana_files import grafana_files

    _write(grafana_files(prometheus), folder, force=force)


@command.command("ci")
@click.argument("system", type=click.Choice(sorted(FILES)))
@click.argument("folder", metavar="DIR", type=click.Path(path_type=Path))
@click.option("--model", required=True, metavar="M", help="The model that is trained.")
@click.option("--train", default=_JOB.train, show_default=True, help="Lines of shell that train a challenger.")
@click.option("--install", default=_JOB.install, show_default=True, help="Lines of shell that install what it needs.")
@click.option("--python", default=_JOB.python, show_default=True, help="The version of Python.")
@click.option("--champion", default=_JOB.champion, show_default=True, help="As `driftline gate` takes it.")
@click.option("--challenger", default=_JOB.challenger, show_default=True, help="As `driftline gate` takes it.")
@click.option("--data", default=_JOB.data, show_default=True, help="Labelled rows, as `driftline gate` takes them.")
@click.option("--label", default=_JOB.label, show_default=True, help="The column of the truth in the labelled rows.")
@click.option("--gate", "options", multiple=True, help="One more word for `driftline gate`, such as --gate=--id=id.")
@click.option("--minutes", default=_JOB.minutes, show_default=True, help="The most that the job may take.")
@click.option("--force", is_flag=True, help="Overwrite files that differ.")
def ci(
    system: str,
    folder: Path,
    model: str,
    train: str,
    install: str,
    python: str,
    champion: str,
    challenger: str,
    data: str,
    label: str,
    options: Sequence[str],
    minutes: int,
    force: bool,
) -> None:
    """Write a job that trains a challenger when Driftline asks for one, and judges it, into the repository DIR."""
    from driftline.exporters.ci_files import ci_files

    training = Training(model, train, install, python, champion, challenger, data, label, tuple(options), minutes)
    _write(ci_files(system, training), folder, force=force)


def _write(files: Sequence[File], folder: Path, *, force: bool) -> None:
    from driftline.exporters.files import write_files

    for path, written in write_files(files, folder, force=force).items():
        click.echo(f"{'wrote' if written else 'unchanged'} {path}")


def _alerts(model: ModelConfig) -> ModelAlerts:
    # The length of a window differs by the calendar: days and months are as long as the first ones of a leap year.
    from driftline.exporters.prometheus_rules import ModelAlerts

    window = model.window.window_of(datetime(2024, 1, 15, tzinfo=UTC))
    return ModelAlerts(model.name, window.end - window.start, model.stale_after, model.rules, model.docs)


def _pushed_after(config: Config) -> timedelta | None:
    """How old a pushed sample can be: a window begins with a prediction, whose label is taken for so long."""
    if config.prometheus.remote_write is None:
        return None
    return max(one.labels.accepted_for + one.labels.expected_within for one in config.models.values())
