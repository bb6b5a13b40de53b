"""``driftline test``: tests of a configuration, in the manner of promtool."""

from __future__ import annotations

from pathlib import Path

import click

from driftline.cli.main import ALERTS, OK
from driftline.cli.streams import print_json


@click.command("test")
@click.argument("file", type=click.Path(path_type=Path))
@click.option(
    "--config",
    "config_path",
    type=click.Path(path_type=Path),
    metavar="F",
    help="The configuration that is tested, instead of the one that FILE names.",
)
@click.option("--json", "as_json", is_flag=True, help="One JSON document on stdout, and nothing else there.")
def command(file: Path, config_path: Path | None, as_json: bool) -> int:
    """Run the tests in FILE: given these windows, these alerts fire and no others.

    Exits with 0 when all tests pass, 1 when one fails, 2 when a test cannot be run.
    """
    import msgspec

    from driftline.config.rule_tests import RuleTests
    from driftline.text import visible

    results = RuleTests(file, config_path).run_all()
    if as_json:
        print_json(msgspec.json.encode(results).decode())
        return ALERTS if results.failed else OK
    for one in results.tests:
        click.echo(visible(f"{'passed' if one.passed else 'FAILED'}  {one.name} ({one.model})"))
        for failure in one.failures:
            click.echo(click.wrap_text(visible(failure), 80, "    ", "      "))
    click.echo(f"{results.passed} passed, {results.failed} failed")
    return ALERTS if results.failed else OK
