"""``driftline serve``."""

from __future__ import annotations

import logging
import sys
import textwrap
from collections.abc import Callable
from typing import TYPE_CHECKING

import click

from driftline.cli.configured import configured
from driftline.cli.main import rare_collections
from driftline.errors import UsageError
from driftline.text import visible

if TYPE_CHECKING:
    from datetime import timedelta
    from socket import socket

    from driftline.cli.printer import Printer
    from driftline.config.load import Config
    from driftline.service.leases import Role

_WIDTH = 79
_LAST_WORDS_SECONDS = 1.0
_MOST_STOP_SECONDS = 86_400
_TALKATIVE = ("driftline", "uvicorn")
"""Whose lines below *warning* are written: those of other libraries have addresses with secrets in them."""
_DOES = {
    "all": "serves",
    "api": "answers for",
    "worker": "works on",
    "notify": "notifies of",
}


@click.command("serve")
@configured
@click.option("--host", default="127.0.0.1", show_default=True)
@click.option(
    "--role",
    default="all",
    show_default=True,
    type=click.Choice(["all", "api", "worker", "notify"]),
    help="What this process does; others than `all` need PostgreSQL.",
)
@click.option("--port", default=8000, show_default=True, type=click.IntRange(0, 65535), help="0 takes a free one.")
@click.option(
    "--stop-within",
    default="25s",
    show_default=True,
    metavar="TIME",
    help="How long it may take to stop after SIGTERM.",
)
def command(config: Callable[[], Config], host: str, role: str, port: int, stop_within: str) -> None:
    """Take events over HTTP; judge windows, alert, expose /metrics and a page."""
    with rare_collections():  # there is much to import, and none of it is garbage
        from driftline.cli.printer import Printer, printed_errors
        from driftline.events import parse_duration
        from driftline.logs import said_by_library
        from driftline.service.leases import ROLES
        from driftline.web.server import listen

    known, within = config(), parse_duration(stop_within)
    if not 0 < within.total_seconds() <= _MOST_STOP_SECONDS:
        raise UsageError(f"--stop-within came as {stop_within}; allowed is more than nothing and at most 1d")
    dress = said_by_library if known.log.is_json else visible
    with printed_errors(dress) as log:
        _serve(known, listen(host, port), ROLES[role], within, Printer.on(sys.stdout, dress), log)


def _serve(config: Config, listener: socket, role: Role, within: timedelta, out: Printer, log: Printer) -> None:
    """Serve until a signal ends it; printing never blocks it."""
    from driftline.cli.printer import PrinterHandler
    from driftline.logs import json_line, said_as_json, text_line
    from driftline.web.server import Server

    as_json = config.log.is_json
    handler = PrinterHandler(log, json_line if as_json else text_line)
    logging.basicConfig(handlers=[handler], level=max(config.log.least, logging.WARNING))
    for name in _TALKATIVE:
        logging.getLogger(name).setLevel(config.log.least)

    def tell(text: str) -> None:
        out.say(said_as_json(text) if as_json else text)

    server = Server(config, listener, tell=tell, role=role, stop_within=within)
    tell(f"Driftline {_DOES[role.name]} {', '.join(config.models)} at {server.address}")
    pages = [f"API     {server.address}/api/docs"] if role.answers else []
    for line in (f"metrics {server.address}/metrics", *pages, f"data    {config.blobs.root}"):
        tell(line if as_json else f"  {line}")
    for line in server.guesses:
        shown = visible(line)
        tell(shown if as_json else textwrap.fill(shown, _WIDTH, initial_indent="  ", subsequent_indent="    "))
    try:
        server.run()
    finally:
        out.wait(_LAST_WORDS_SECONDS)
        log.wait(_LAST_WORDS_SECONDS)
