"""The ``prometheus`` section of ``driftline.yaml``."""

from __future__ import annotations

from typing import Annotated

import msgspec
from msgspec import Meta

from driftline.fields import Text


class PrometheusSection(msgspec.Struct, forbid_unknown_fields=True, frozen=True):
    """How many series Prometheus gets at most, and the address that they are pushed to by remote write, if any."""

    max_series: Annotated[int, Meta(ge=100, le=10_000_000)] = 10_000
    remote_write: Text | None = None
