"""Slack: what it gets, what it would refuse."""

from __future__ import annotations

import re
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from driftline.alerts.channels import slack
from driftline.alerts.channels.slack import Slack, escaped, payload
from driftline.alerts.message import Event, Message
from driftline.errors import RefusedError, UnavailableError
from tests.alerts.channels.conftest import message, messages, notice, texts, units, walk
from tests.support.receiver import Answer, Server, strict_json

URL = "https://driftline.example/alerts/1?a=b&c=d|e"


def sent(server: Server, what: Message) -> Any:
    server.answers.append(Answer(200, {}, b"ok"))
    Slack(server.url + "/services/T/B/x").send(what)
    return server.got[-1].json


def test_an_alert_in_blocks(server: Server) -> None:
    body = sent(server, message(notice(url=URL)))
    header, section, context = body["blocks"]
    assert header == {
        "type": "header",
        "text": {"type": "plain_text", "text": "churn: ⚠️ Alert: Model accuracy below threshold!", "emoji": False},
    }
    assert section["text"]["text"].splitlines() == [
        "accuracy-low",
        "Input rain changed: 52 % → 0 % (gone).",
        "Other inputs stable: wind.",
    ]
    assert [field["text"] for field in section["fields"]] == [
        "*Measure*\naccuracy 0.512 [0.45, 0.57]",
        "*Threshold*\n0.75",
        "*Window*\n2024-03-01 to 2024-03-02",
        "*n*\n1200",
    ]
    [said] = context["elements"]
    assert said["text"] == (
        "page · fired 2026-11-23 11:30 UTC · <https://driftline.example/alerts/1?a=b&amp;c=d%7Ce|Open in Driftline>"
    )
    assert body["text"].startswith("churn: ⚠️ Alert: Model accuracy below threshold!\naccuracy-low: window")


def test_without_an_address_of_the_page_there_is_no_link(server: Server) -> None:
    assert "<" not in server_text(sent(server, message(notice(url=""))))
    assert "<" not in server_text(sent(server, message(notice(url="javascript:alert(1)"))))


def server_text(body: Any) -> str:
    return " ".join(one["text"] for one in walk(body) if isinstance(one.get("text"), str))


def test_several_alerts_each_with_its_title_and_the_rest_counted(server: Server) -> None:
    what = message(*(notice(Event.RESOLVED, f"reason {at}", id=str(at), title=f"title {at}") for at in range(22)))
    blocks = sent(server, what)["blocks"]
    sections = [block["text"]["text"] for block in blocks if block["type"] == "section"]
    assert sections[:2] == [
        "churn: ✅ Resolved: title 0\naccuracy-low\nreason 0",
        "churn: ✅ Resolved: title 1\naccuracy-low\nreason 1",
    ]
    assert len(sections) == 10
    assert blocks[-1]["elements"][0]["text"] == "and 12 more"
    assert blocks[0]["text"]["text"] == "churn: ✅ Resolved: title 0 (and 21 more)"


def test_names_are_shown_and_do_nothing(server: Server) -> None:
    name = "<!channel> & <https://evil.example|click>"
    body = sent(server, message(notice(model=name, rule=name, measure=name, title=name, severity=name)))
    for one in walk(body):
        if one.get("type") == "mrkdwn":
            assert "<" not in one["text"] and ">" not in one["text"]
            assert one["verbatim"]
    assert "&lt;!channel&gt; &amp; &lt;https://evil.example|click&gt;" in body["blocks"][1]["text"]["text"]
    assert "<" not in body["text"]


@pytest.mark.parametrize(
    ("status", "text", "error"),
    [(400, b"invalid_payload", RefusedError), (404, b"no_service", UnavailableError), (429, b"", UnavailableError)],
)
def test_refusals(server: Server, status: int, text: bytes, error: type[Exception]) -> None:
    server.answers.append(Answer(status, {"Retry-After": "30"}, text))
    with pytest.raises(error, match=f"status {status}") as caught:
        Slack(server.url).send(message())
    assert isinstance(caught.value, UnavailableError)
    assert caught.value.retry_after == (None if error is RefusedError else 30.0)


@settings(max_examples=50)
@given(messages)
def test_slacks_limits_are_kept_whatever_the_message(what: Message) -> None:
    body = strict_json(msgspec.json.encode(payload(what)))
    assert 1 <= units(body["text"]) <= slack.TEXT_LIMIT
    assert 1 <= len(body["blocks"]) <= slack.BLOCK_LIMIT
    for block in body["blocks"]:
        match block["type"]:
            case "header":
                assert 1 <= units(block["text"]["text"]) <= slack.HEADER_LIMIT
            case "section":
                assert 1 <= units(block["text"]["text"]) <= slack.TEXT_LIMIT
                assert 1 <= len(block["fields"]) <= 10
                assert all(1 <= units(field["text"]) <= slack.FIELD_LIMIT for field in block["fields"])
            case _:
                assert 1 <= len(block["elements"]) <= 10
                assert all(1 <= units(element["text"]) <= slack.TEXT_LIMIT for element in block["elements"])


@given(texts, st.integers(1, 300))
def test_escaped_text_fits_and_no_sign_is_cut_in_two(text: str, limit: int) -> None:
    found = escaped(text, limit)
    assert units(found) <= limit
    assert "<" not in found and ">" not in found
    assert re.sub("&(amp|lt|gt);", "", found).count("&") == 0
    plain = found.replace("&lt;", "<").replace("&gt;", ">").replace("&amp;", "&")
    assert plain == text or text.startswith(plain[:-1])
