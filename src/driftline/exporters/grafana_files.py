"""Write files that bring Driftline into Grafana: dashboards, provisioning, and a compose file that starts it all."""

from __future__ import annotations

import json
from collections.abc import Iterator
from importlib import resources
from importlib.resources.abc import Traversable

from driftline.errors import UsageError
from driftline.exporters.files import File
from driftline.net.addresses import is_address

PROMETHEUS = "http://127.0.0.1:9090"
"""The address of the Prometheus that `compose.yml` starts."""

_DATA_SOURCE = "provisioning/datasources/driftline.yml"


def grafana_files(prometheus: str = PROMETHEUS) -> list[File]:
    """Return all files, sorted by name; the same address gives the same files.

    ``prometheus`` is the address of the Prometheus that scrapes Driftline, as seen from Grafana's server. Raises
    `UsageError` for an invalid address.
    """
    address = _checked(prometheus)
    shipped = sorted(_shipped(resources.files("driftline.exporters") / "grafana"))
    # Grafana replaces $NAME in provisioning files by the environment; $$ stands for $.
    quoted = json.dumps(address.replace("$", "$$"), ensure_ascii=False)
    return [
        File(name, text.replace(json.dumps(PROMETHEUS), quoted) if name == _DATA_SOURCE else text)
        for name, text in shipped
    ]


def _shipped(folder: Traversable, under: str = "") -> Iterator[File]:
    for one in folder.iterdir():
        if one.is_dir():
            yield from _shipped(one, f"{under}{one.name}/")
        else:
            yield File(under + one.name, one.read_text(encoding="utf-8"))


def _checked(address: str) -> str:
    if not is_address(address, plain=True) or "@" in address:
        raise UsageError(
            f"--prometheus came as {address!r}; write http://HOST:PORT or https://HOST:PORT/PATH without credentials, "
            f"such as {PROMETHEUS}"
        )
    return address.rstrip("/")
