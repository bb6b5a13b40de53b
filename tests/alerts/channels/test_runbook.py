"""Where a model is documented stands in every message of an alert that goes on, and in none that it is over."""

from __future__ import annotations

from collections.abc import Callable
from email.headerregistry import Address
from typing import Any

import msgspec
import pytest

from driftline.alerts.channels import alertmanager, email, pagerduty, slack, teams
from driftline.alerts.message import GOING_ON, Event, Notice
from tests.alerts.channels.conftest import NOW, message, notice

DOCS = "https://wiki.example.com/churn?page=1#runbook"


def mail(one: Notice) -> str:
    sent = email.mail_of(message(one), Address("a", "a", "example.com"), [Address("b", "b", "example.com")], NOW)
    parts = [sent.get_body([kind]) for kind in ("plain", "html")]
    return "\n".join(part.get_content() for part in parts if part is not None)


def as_text(document: Any) -> str:
    return msgspec.json.encode(document).decode()


SAID: dict[str, Callable[[Notice], str]] = {
    "alertmanager": lambda one: as_text(alertmanager.alert_of(one, NOW)),
    "email": mail,
    "pagerduty": lambda one: as_text(pagerduty.event_of(one, "trigger", "key")),
    "slack": lambda one: as_text(slack.payload(message(one))),
    "teams": lambda one: teams.payload(message(one)).decode(),
    "text": lambda one: message(one).text,  # of webhooks and Apprise
}


@pytest.mark.parametrize("channel", SAID)
@pytest.mark.parametrize("event", [one for one in Event if one is not Event.TEST])
def test_a_message_has_the_runbook_while_there_is_something_to_do(channel: str, event: Event) -> None:
    said = SAID[channel]
    assert (DOCS in said(notice(event, docs=DOCS))) == (event in GOING_ON)
    assert "unbook" not in said(notice(event)).replace('"runbook_url":""', "")


@pytest.mark.parametrize("channel", [one for one in SAID if one != "text"])
def test_what_is_no_address_is_no_link(channel: str) -> None:
    """A notice that waited in the outbox is as it was stored, whatever the configuration takes now."""
    said = SAID[channel](notice(docs="javascript:alert(1)"))
    for link in ('href="javascript', '"href":"javascript', "<javascript", '"url":"javascript', '_url":"javascript'):
        assert link not in said


def test_the_runbook_is_where_alertmanager_s_templates_look_for_it() -> None:
    found: Any = alertmanager.alert_of(notice(docs=DOCS), NOW)
    assert found["annotations"]["runbook_url"] == DOCS
    assert [one["text"] for one in pagerduty.event_of(notice(docs=DOCS), "trigger", "key")["links"]] == ["Runbook"]
