"""``driftline schema``."""

from __future__ import annotations

import json

import click

from driftline.cli.streams import print_json


@click.command("schema")
def command() -> None:
    """Print the JSON Schema of driftline.yaml, for editors and other checkers."""
    from driftline.config.schema import json_schema

    print_json(json.dumps(json_schema(), indent=2))
