"""A kind of receivers is one file and one name in a table; reading a configuration loads nothing that sends."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import msgspec
import pytest

from driftline.alerts.channel import Channel
from driftline.alerts.channels import KINDS, kind_of
from driftline.alerts.options import NotifyConfig, NotifySection
from driftline.alerts.receivers import open_channel
from driftline.clock import now
from driftline.rules import Severity

OPTIONS = {
    "email": {"host": "mail.example", "from": "a@mail.example", "to": ["b@mail.example"]},
    "pagerduty": "key",
    "apprise": "json://127.0.0.1:9",
}
LOADED = """
import json, sys
import driftline.config.load, driftline.config.schema
driftline.config.schema.json_schema()
print(json.dumps([name for name in ("httpx", "smtplib", "jinja2", "PIL", "apprise") if name in sys.modules]))
"""


@pytest.mark.filterwarnings("ignore:'imghdr' is deprecated:DeprecationWarning")  # Apprise's
@pytest.mark.parametrize("name", KINDS)
def test_a_kind_says_what_its_keys_are_and_opens_a_channel(name: str) -> None:
    kind = kind_of(name)
    assert set(kind.addresses) <= {name, *kind.more}
    assert {name, *kind.more} <= set(NotifySection.__struct_fields__)
    section = NotifySection(**{name: msgspec.convert(OPTIONS.get(name, "http://127.0.0.1:9/hook"), kind.option)})
    channel: Channel = open_channel(NotifyConfig("one", name, section, tuple(Severity), (), None), now)
    assert callable(channel.send)


def test_every_file_of_a_kind_stands_in_the_table() -> None:
    folder = Path(sys.modules["driftline.alerts.channels"].__file__ or "").parent
    files = {one.stem for one in folder.glob("*.py") if "\nKIND = " in one.read_text()}
    assert files == set(KINDS)


def test_reading_a_configuration_loads_nothing_that_sends() -> None:
    told = subprocess.run([sys.executable, "-c", LOADED], check=True, capture_output=True, text=True, timeout=60)
    assert json.loads(told.stdout) == []
