"""``driftline watch``: a schedule around a function that returns a score."""

from __future__ import annotations

import contextlib
import json
import os
import sys
from collections.abc import Iterator
from typing import TYPE_CHECKING

import click

from driftline.cli.main import ALERTS, OK
from driftline.cli.streams import print_json
from driftline.errors import UsageError
from driftline.text import visible

if TYPE_CHECKING:
    from driftline.cli.printer import Printer
    from driftline.watching.schedule import Evaluation, Watching

_READ_WITHIN_SECONDS = 1.0


@click.command()
@click.argument("target")
@click.option("--every", default="1h", show_default=True, help="Time between two evaluations: 30s, 5min, 1h, 1d.")
@click.option(
    "--alert",
    "alerts",
    multiple=True,
    metavar="EXPR",
    help="'accuracy < 0.75', 'recall < 60% for 3'. May be repeated.",
)
@click.option("--count", type=click.IntRange(min=1), help="End after so many evaluations; exit 1 if an alert fired.")
@click.option(
    "--load-within", default="1min", show_default=True, help="A script that is still being loaded then is given up."
)
@click.option("--name", help="The name of the model; the name of the file otherwise.")
@click.option("--model-version", default="", help="The version of the model, for the metrics.")
@click.option("--host", default="127.0.0.1", show_default=True, help="Where to serve the page and /metrics.")
@click.option("--port", type=click.IntRange(0, 65535), default=8000, show_default=True, help="0 takes a free port.")
@click.option(
    "--allow-host", "hosts", multiple=True, metavar="NAME", help="A name by which Prometheus scrapes. May be repeated."
)
@click.option("--json", "as_json", is_flag=True, help="One JSON document on stdout at the end; needs --count.")
@click.option("-v", "--verbose", is_flag=True, help="Show the traceback of an evaluation that fails, on stderr.")
def command(
    target: str,
    every: str,
    alerts: tuple[str, ...],
    count: int | None,
    load_within: str,
    name: str | None,
    model_version: str,
    host: str,
    port: int,
    hosts: tuple[str, ...],
    as_json: bool,
    verbose: bool,
) -> int:
    """Run a script that returns a score, on a schedule; log it and alert.

    TARGET is FILE.py:FUNCTION or MODULE:FUNCTION. The function takes no arguments and returns a number
    (accuracy), a mapping of measures, or (y_true, y_pred).
    """
    from driftline import clock
    from driftline.cli.printer import Printer
    from driftline.events import parse_duration
    from driftline.rules import parse_expression
    from driftline.watching.history import History
    from driftline.watching.loading import time_limit
    from driftline.watching.metrics import Page, serve_metrics
    from driftline.watching.page import page, policy
    from driftline.watching.report import WatchMetrics, document, introduction, lines_of
    from driftline.watching.schedule import StopSignal, Watching, watch
    from driftline.watching.target import load_target

    span = parse_duration(every)
    if not span:
        raise UsageError(f"--every came as {every!r}; it is longer than nothing, such as '1h'")
    if as_json and count is None:
        raise UsageError("--json writes one document at the end, and without --count there is no end; add --count N")
    rules = list(dict.fromkeys(parse_expression(text, min_samples=0) for text in alerts))
    within = parse_duration(load_within)
    told: list[Evaluation] = []
    with _output(as_json):
        with time_limit(target.rpartition(":")[0], within, lambda words: print(words, file=sys.stderr, flush=True)):
            found = load_target(target)  # a signal ends it
        stop = StopSignal()
        stop.install()
        watching = Watching.of(name or found.model, rules, span, model_version)
        metrics = WatchMetrics(watching)
        seen = [History(watching)]
        shown = Page(lambda: page(seen[0], target, clock.now()), policy())
        server = serve_metrics(metrics, host, port, hosts, shown)
        try:
            out = Printer.on(sys.stdout)
            _say(out, introduction(watching, target, server.url))
            run = watch(found.function, watching, now=clock.now, steady=clock.steady(), stop=stop, count=count)
            for watching, evaluation in run:
                metrics.watching, seen[0] = watching, seen[0].after(watching, evaluation)
                _say(out, lines_of(evaluation))
                if verbose and evaluation.outcome.traceback:
                    print(evaluation.outcome.traceback, end="", file=sys.stderr, flush=True)
                if as_json:
                    told.append(evaluation)
        finally:
            server.close()
    if as_json:
        print_json(json.dumps(document(watching, told), indent=2, allow_nan=False))
    return _exit_code(watching) if count is not None else OK


def _exit_code(watching: Watching) -> int:
    if watching.fired:
        return ALERTS
    for monitor in watching.monitors:
        if watching.evaluations and not monitor.judged and monitor.verdict is not None:
            raise UsageError(f"the alert {monitor.rule.expression!r} was never judged: {monitor.verdict.reason}")
    return OK


def _say(out: Printer, lines: list[str]) -> None:
    """Print lines, and wait a moment for them to be read; the reader may be slow or gone."""
    sys.stdout.flush()  # what the function printed comes first
    out.say("\n".join(visible(line) for line in lines))
    out.wait(_READ_WITHIN_SECONDS)


@contextlib.contextmanager
def _output(as_json: bool) -> Iterator[None]:
    """With --json, send all that is printed to stderr.

    The file descriptor itself is turned round, because the watched function may start programs that print.
    """
    if not as_json:
        yield
        return
    sys.stdout.flush()
    kept = os.dup(1)
    os.dup2(2, 1)
    try:
        yield
    finally:
        sys.stdout.flush()
        os.dup2(kept, 1)
        os.close(kept)
