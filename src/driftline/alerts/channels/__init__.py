"""The kinds of receivers: one file each, which owns its keys in ``driftline.yaml`` and how it is opened.

Another kind is another file with a `KIND` and its name in `KINDS`: configuration, JSON Schema and service are composed
of these. A file imports what it needs to send when it sends: whoever only reads a configuration needs none of it.
"""

from __future__ import annotations

import functools
import importlib

from driftline.alerts.channel import ChannelKind

KINDS = ("webhook", "alertmanager", "slack", "teams", "pagerduty", "email", "apprise")
"""An entry of ``notify`` has exactly one of these keys."""


@functools.cache
def kind_of(name: str) -> ChannelKind:
    """Return what is to be known of a kind in `KINDS`."""
    kind: ChannelKind = importlib.import_module(f"{__name__}.{name}").KIND
    return kind
