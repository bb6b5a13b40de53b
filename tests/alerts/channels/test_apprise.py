"""Apprise: title and text to a service that it knows."""

from __future__ import annotations

import sys

import pytest

from driftline.alerts.channels.apprise import Apprise
from driftline.alerts.message import Event
from driftline.errors import UnavailableError, UsageError
from tests.alerts.channels.conftest import HOSTILE, message, notice
from tests.support.receiver import Answer, Server

# Apprise imports it where there is one.
pytestmark = pytest.mark.filterwarnings("ignore:'imghdr' is deprecated:DeprecationWarning")


def address(server: Server) -> str:
    return server.url.replace("http://", "json://") + "/hook"


@pytest.mark.parametrize(
    ("event", "severity", "kind"),
    [
        (Event.FIRED, "page", "failure"),
        (Event.REPEATED, "warning", "warning"),
        (Event.FIRED, "info", "info"),
        (Event.RESOLVED, "page", "success"),
        (Event.CORRECTED, "page", "success"),
        (Event.TEST, "page", "info"),
    ],
)
def test_title_text_and_kind_arrive(server: Server, event: Event, severity: str, kind: str) -> None:
    what = message(notice(event, "late labels", severity=severity))
    Apprise(address(server)).send(what)
    [request] = server.got
    assert request.json["title"] == what.title
    assert request.json["message"] == what.text
    assert request.json["type"] == kind


@pytest.mark.parametrize("text", HOSTILE)
def test_whatever_the_names_it_arrives(server: Server, text: str) -> None:
    Apprise(address(server)).send(message(notice(model=text, rule=text, title=text, measure=text)))
    [request] = server.got
    assert request.json["title"] and request.json["message"]
    assert "\n" not in request.json["title"]


@pytest.mark.parametrize("status", [400, 404, 500])
def test_what_apprise_cannot_deliver_is_tried_again(server: Server, status: int) -> None:
    server.answers.append(Answer(status))
    with pytest.raises(UnavailableError, match="did not arrive"):
        Apprise(address(server)).send(message())


def test_nobody_there() -> None:
    with pytest.raises(UnavailableError):
        Apprise("json://127.0.0.1:9/").send(message())


@pytest.mark.parametrize("url", ["", "hush", "nosuch://hush", "slack://hush", "://hush", "json://"])
def test_an_address_that_is_not_understood_is_said_without_it(url: str) -> None:
    with pytest.raises(UsageError, match="not understood") as caught:
        Apprise(url)
    assert "hush" not in str(caught.value)


def test_without_apprise_what_to_install_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "apprise", None)
    with pytest.raises(UsageError, match="python -m pip install apprise"):
        Apprise("json://127.0.0.1/")
