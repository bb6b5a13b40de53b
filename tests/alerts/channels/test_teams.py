"""Teams: a card that is not too large, in which names are only names."""

from __future__ import annotations

from typing import Any

from hypothesis import given, settings

from driftline.alerts.channels.teams import SIZE_LIMIT_BYTES, Teams, payload
from driftline.alerts.message import Event, Message
from driftline.rules.findings import Findings
from tests.alerts.channels.conftest import message, messages, notice, walk
from tests.support.receiver import Answer, Server, strict_json


def card(server: Server, what: Message) -> dict[str, Any]:
    server.answers.append(Answer(202))
    Teams(server.url + "/workflows/1").send(what)
    body = server.got[-1].json
    [attachment] = body["attachments"]
    assert body["type"] == "message"
    assert attachment["contentType"] == "application/vnd.microsoft.card.adaptive"
    found: dict[str, Any] = attachment["content"]
    assert (found["type"], found["version"]) == ("AdaptiveCard", "1.4")
    return found


def shown(card: dict[str, Any]) -> list[str]:
    return ["".join(run["text"] for run in item["inlines"]) for item in card["body"]]


def test_an_alert_as_a_card(server: Server) -> None:
    found = card(server, message(notice(url="https://driftline.example/alerts/1")))
    assert shown(found) == [
        "churn: ⚠️ Alert: Model accuracy below threshold!",
        "accuracy-low (page)",
        "Measure  accuracy 0.512 [0.45, 0.57]",
        "Threshold  0.75",
        "Window  2024-03-01 to 2024-03-02",
        "n  1200",
        "Input rain changed: 52 % → 0 % (gone).",
        "Other inputs stable: wind.",
    ]
    assert found["actions"] == [
        {"type": "Action.OpenUrl", "title": "Open in Driftline", "url": "https://driftline.example/alerts/1"}
    ]
    assert found["body"][0]["inlines"][0]["color"] == "Attention"
    assert found["fallbackText"] == "churn: ⚠️ Alert: Model accuracy below threshold!"


def test_what_ended_is_good_and_says_why(server: Server) -> None:
    found = card(server, message(notice(Event.CORRECTED, "late labels", value_now=0.9)))
    assert found["body"][0]["inlines"][0]["color"] == "Good"
    assert {"As known now  0.9", "late labels"} <= set(shown(found))
    assert "actions" not in found


def test_many_alerts_are_counted(server: Server) -> None:
    found = card(server, message(*(notice(id=str(at), title=f"title {at}") for at in range(22))))
    titles = [text for text in shown(found) if "title" in text]
    assert titles == [f"churn: ⚠️ Alert: title {at}" for at in range(10)]
    assert shown(found)[-1] == "and 12 more"


def test_what_is_large_is_counted_sooner(server: Server) -> None:
    large = "雨" * 5_000
    findings = Findings((), (), (), (large,))
    several = [notice(id=str(at), model=large, title=large, findings=findings) for at in range(12)]
    found = card(server, message(*several))
    there = sum("⚠️ Alert" in text for text in shown(found))
    assert 1 < there < 10
    assert shown(found)[-1] == f"and {12 - there} more"


@settings(max_examples=50)
@given(messages)
def test_the_limit_is_kept_and_no_name_becomes_markup_whatever_the_message(what: Message) -> None:
    body = payload(what)
    assert len(body) <= SIZE_LIMIT_BYTES
    kinds = {one["type"] for one in walk(strict_json(body)) if "type" in one}
    assert kinds <= {"message", "AdaptiveCard", "RichTextBlock", "TextRun", "Action.OpenUrl"}
    for one in walk(strict_json(body)):
        if one.get("type") == "TextRun":
            assert one["text"] and len(one["text"].splitlines()) == 1
        if one.get("type") == "Action.OpenUrl":
            assert one["url"].startswith(("https://", "http://"))
