"""The webhook: the whole message, its key, its signature."""

from __future__ import annotations

import re
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from driftline.alerts.channels.webhook import Webhook
from driftline.alerts.message import Event, Message
from tests.alerts.channels.conftest import HOSTILE, NOW, message, messages, notice
from tests.support.receiver import Request, Server, strict_json

PAGE = Path(__file__).parents[3] / "docs" / "notifications.md"


def sent(server: Server, what: Message, secret: str = "") -> Request:
    Webhook(server.url + "/hook", secret=secret, now=lambda: NOW).send(what)
    return server.got[-1]


def test_the_body_is_the_message(server: Server) -> None:
    what = message(notice(), notice(Event.RESOLVED, id="b", findings=None))
    request = sent(server, what)
    assert msgspec.json.decode(request.body, type=Message) == what
    assert request.headers["idempotency-key"] == what.key
    assert "x-driftline-signature" not in request.headers


@settings(max_examples=50)
@given(messages)
def test_whatever_is_in_a_message_the_body_is_strict_json(what: Message) -> None:
    strict_json(msgspec.json.encode(what))


@pytest.mark.parametrize("text", HOSTILE)
def test_whatever_is_in_a_key_it_is_one_header(server: Server, text: str) -> None:
    request = sent(server, msgspec.structs.replace(message(), key="k" + text[:500]))
    assert request.headers["idempotency-key"].startswith("k")
    assert request.headers.keys() == sent(server, message()).headers.keys()


def documented() -> Any:
    """The function of the documentation that checks a signature."""
    blocks = re.findall(r"^```python\n(.*?)^```", PAGE.read_text(), re.DOTALL | re.MULTILINE)
    [block] = [one for one in blocks if "def is_from_driftline" in one]
    names: dict[str, Any] = {}
    exec(block, names)  # it is our own page
    return names["is_from_driftline"]


def test_the_documented_check_takes_what_is_sent_and_nothing_else(server: Server) -> None:
    request = sent(server, message(notice(title="Grüße\n&")), secret="hush ü")
    headers, body, check = request.headers, request.body, documented()
    named = {"-".join(part.title() for part in name.split("-")): value for name, value in headers.items()}
    assert headers["x-driftline-timestamp"] == str(int(NOW.timestamp()))
    assert check(named, body, "hush ü", NOW.timestamp() + 60)
    assert not check(named, body + b" ", "hush ü", NOW.timestamp())
    assert not check(named, body, "other", NOW.timestamp())
    assert not check(named, body, "hush ü", NOW.timestamp() + 3600), "an old message, sent again by a stranger"
    later = named | {"X-Driftline-Timestamp": str(int(NOW.timestamp()) + 1)}
    assert not check(later, body, "hush ü", NOW.timestamp())
    assert not check({}, body, "hush ü", NOW.timestamp())


@given(secret=st.text(min_size=1, max_size=40), seconds=st.integers(0, 10**9))
def test_each_sending_is_signed_with_its_own_time(shared_server: Server, secret: str, seconds: int) -> None:
    now = datetime.fromtimestamp(0, NOW.tzinfo) + timedelta(seconds=seconds, microseconds=999_999)
    Webhook(shared_server.url, secret=secret, now=lambda: now).send(message())
    request = shared_server.got.pop()
    assert request.headers["x-driftline-timestamp"] == str(seconds)
    assert re.fullmatch("sha256=[0-9a-f]{64}", request.headers["x-driftline-signature"])
