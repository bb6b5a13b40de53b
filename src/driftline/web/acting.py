"""Does what people decide on the page of an alert; the API does the same by its own routes."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, TypeVar

import msgspec

from driftline import clock
from driftline.alerts.attention import AcknowledgeBody, SilenceBody, acknowledge, add_silence
from driftline.alerts.feedback import AcceptBody, FeedbackBody, accept, say
from driftline.alerts.message import AlertView
from driftline.errors import UsageError
from driftline.net.bodies import read_body
from driftline.retrain.requests import AskBody, ask_by_person

if TYPE_CHECKING:
    from driftline.service.runtime import Service

_Body = TypeVar("_Body", bound=msgspec.Struct)
_LONGEST = {"by": 200, "reason": 1000}


class ServiceActs:
    """Acts on a service; see `driftline.web.ui.alert.Acts`."""

    def __init__(self, service: Service) -> None:
        self._service = service

    def do(self, action: str, alert: AlertView, said: Mapping[str, str]) -> None:
        """Do it under the name and for the reason that were given; an unknown action is a `UsageError`."""
        known = {
            "acknowledge": self._acknowledge,
            "silence": self._silence,
            "ask": self._ask,
            "accept": self._accept,
            "expected": self._expect,
        }
        if action not in known:
            raise UsageError(f"the action came as {action[:80]!r}; allowed is {', '.join(known)}")
        who = {name: said.get(name, "").strip() for name in _LONGEST}
        for name, words in (("by", "Say who you are."), ("reason", "Say why.")):
            if not who[name]:
                raise UsageError(words)
            if len(who[name]) > _LONGEST[name]:
                raise UsageError(f"`{name}` came with {len(who[name])} signs; allowed are {_LONGEST[name]}")
        known[action](alert, who, said)
        self._service.wake()

    def _acknowledge(self, alert: AlertView, who: Mapping[str, str], said: Mapping[str, str]) -> None:
        acknowledge(self._service.state, alert.id, _body(AcknowledgeBody, who), clock.now())

    def _silence(self, alert: AlertView, who: Mapping[str, str], said: Mapping[str, str]) -> None:
        by_what = {
            "alert": {"id": alert.id},
            "rule": {"model": alert.model, "rule": alert.rule},
            "model": {"model": alert.model},
        }
        if (what := said.get("what", "alert")) not in by_what:
            raise UsageError(f"`what` came as {what[:80]!r}; allowed is {', '.join(by_what)}")
        match = {field: as_it_is(text) for field, text in by_what[what].items()}
        add_silence(self._service.state, _body(SilenceBody, who, {"match": match, "for": said.get("for")}), clock.now())

    def _ask(self, alert: AlertView, who: Mapping[str, str], said: Mapping[str, str]) -> None:
        service, model = self._service, alert.model
        body = _body(AskBody, who)
        ask_by_person(service.state, service.models[model], service.config.retrain.get(model), body, clock.now())

    def _accept(self, alert: AlertView, who: Mapping[str, str], said: Mapping[str, str]) -> None:
        config = self._service.views.model_config(alert.model)
        accept(self._service.state, config, _body(AcceptBody, who, {"since": alert.span.start}), clock.now())

    def _expect(self, alert: AlertView, who: Mapping[str, str], said: Mapping[str, str]) -> None:
        config = self._service.views.model_config(alert.model)
        body = _body(FeedbackBody, who, {"kind": "expected", "alert": alert.id})
        say(self._service.state, config, body, clock.now())


def as_it_is(text: str) -> str:
    """Return the pattern of a silence that matches this text and no other.

    >>> as_it_is("churn"), as_it_is("a*[b]?")
    ('churn', 'a[*][[]b][?]')
    """
    return re.sub(r"([*?[])", r"[\1]", text)


def _body(kind: type[_Body], who: Mapping[str, str], more: Mapping[str, Any] | None = None) -> _Body:
    return read_body(msgspec.json.encode({**who, **(more or {})}), kind)
