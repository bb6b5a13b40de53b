"""``driftline serve``."""

from __future__ import annotations

import logging
import sys
import textwrap
from pathlib import Path

import click

from driftline.cli.printer import Printer, PrinterHandler, printed_errors
from driftline.config.load import Config, load
from driftline.text import visible
from driftline.web.server import Server, listen

_WIDTH = 79
_LAST_WORDS_SECONDS = 1.0


@click.command("serve")
@click.option("--config", "config_path", default="driftline.yaml", show_default=True, type=click.Path(path_type=Path))
@click.option("--data", type=click.Path(path_type=Path), help="Folder for events and state, instead of `storage`.")
@click.option("--host", default="127.0.0.1", show_default=True)
@click.option("--port", default=8000, show_default=True, type=click.IntRange(0, 65535), help="0 takes a free one.")
def command(config_path: Path, data: Path | None, host: str, port: int) -> None:
    """Take events over HTTP; judge windows, alert, expose /metrics and a page."""
    config = load(config_path)
    if data is not None:
        config = config.at(data)
    with printed_errors() as log:
        _serve(config, host, port, Printer.on(sys.stdout), log)


def _serve(config: Config, host: str, port: int, out: Printer, log: Printer) -> None:
    """Serve until told to stop; nobody may be reading what is said."""
    logging.basicConfig(handlers=[PrinterHandler(log)], level=logging.WARNING)
    server = Server(config, listen(host, port), tell=out.say)
    out.say(f"Driftline serves {', '.join(config.models)} at {server.address}")
    out.say(f"  metrics {server.address}/metrics\n  API     {server.address}/api/docs\n  data    {config.storage}")
    for line in server.guesses:
        out.say(textwrap.fill(visible(line), _WIDTH, initial_indent="  ", subsequent_indent="    "))
    try:
        server.run()
    finally:
        out.wait(_LAST_WORDS_SECONDS)
        log.wait(_LAST_WORDS_SECONDS)
