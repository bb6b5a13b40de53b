"""``driftline serve``."""

from __future__ import annotations

import logging
import sys
import textwrap
from collections.abc import Callable
from typing import TYPE_CHECKING

import click

from driftline.cli.configured import configured
from driftline.text import visible

if TYPE_CHECKING:
    from driftline.cli.printer import Printer
    from driftline.config.load import Config

_WIDTH = 79
_LAST_WORDS_SECONDS = 1.0


@click.command("serve")
@configured
@click.option("--host", default="127.0.0.1", show_default=True)
@click.option("--port", default=8000, show_default=True, type=click.IntRange(0, 65535), help="0 takes a free one.")
def command(config: Callable[[], Config], host: str, port: int) -> None:
    """Take events over HTTP; judge windows, alert, expose /metrics and a page."""
    from driftline.cli.printer import Printer, printed_errors

    known = config()
    with printed_errors() as log:
        _serve(known, host, port, Printer.on(sys.stdout), log)


def _serve(config: Config, host: str, port: int, out: Printer, log: Printer) -> None:
    """Serve until a signal ends it; printing never blocks it."""
    from driftline.cli.printer import PrinterHandler
    from driftline.web.server import Server, listen

    logging.basicConfig(handlers=[PrinterHandler(log)], level=logging.WARNING)
    server = Server(config, listen(host, port), tell=out.say)
    out.say(f"Driftline serves {', '.join(config.models)} at {server.address}")
    out.say(f"  metrics {server.address}/metrics\n  API     {server.address}/api/docs\n  data    {config.blobs.root}")
    for line in server.guesses:
        out.say(textwrap.fill(visible(line), _WIDTH, initial_indent="  ", subsequent_indent="    "))
    try:
        server.run()
    finally:
        out.wait(_LAST_WORDS_SECONDS)
        log.wait(_LAST_WORDS_SECONDS)
