"""The story of an alert: who was told what, what was found in its window, and an explanation that costs once."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta

import msgspec
import pytest

from driftline.alerts.message import Event
from driftline.config.load import load
from driftline.errors import UnknownNameError
from driftline.monitoring import explanation
from driftline.rules.backtest import BacktestFinding, Detail
from driftline.service.runtime import Service
from driftline.store.detections import DetectionRow
from driftline.store.outbox import Outbox, ToldRow
from driftline.views import reader
from driftline.views.story import NOTICES_SHOWN, WINDOWS_SHOWN, around
from tests.support.churn import MODEL, label, write_config
from tests.support.steps import NOW, deliver, send_day, work

NOTIFY = """
notify:
  - {webhook: "http://127.0.0.1:9/a", name: team}
  - {webhook: "http://127.0.0.1:9/b", name: notes, severity: [info]}
  - {webhook: "http://127.0.0.1:9/c", name: others, models: [fraud]}
"""


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """A model that was good on one day and bad on two."""
    path = write_config(tmp_path_factory.mktemp("story"), NOTIFY)
    path.write_text(path.read_text().replace("features: [age, plan]", "features: [age, plan], segments: [plan]"))
    service = Service(load(path))
    for day, right in enumerate((58, 20, 20)):
        send_day(service, day, right=right, wrong=60 - right)
        work(service)
    send_day(service, 6, right=60, wrong=0)
    work(service)
    yield service
    service.stop()


@pytest.fixture(scope="module")
def alert(service: Service) -> str:
    return next(one.id for one in service.views.alerts() if one.rule == "accuracy-low")


def test_notices_are_told_newest_last_and_not_too_many(service: Service, alert: str) -> None:
    with service.state.work() as put:
        outbox = Outbox(put.connection)
        for place in range(NOTICES_SHOWN + 3):
            said = {"event": Event.REPEATED, "said_at": NOW + timedelta(hours=place), "more": "is left out"}
            outbox.add("team", MODEL, alert, msgspec.json.encode(said), NOW)
        outbox.add("team", MODEL, "another", msgspec.json.encode({"event": "fired", "said_at": NOW}), NOW)
        newest = outbox.of_alert(alert, 1)
        outbox.settle([newest[0].id], state="refused", last_error="HTTP 400")
        outbox.put_told(ToldRow("team", alert, "repeated", NOW))
        outbox.put_told(ToldRow("gone", alert, "fired", NOW))
    found = service.views.story(alert)
    assert len(found.notices) == NOTICES_SHOWN
    assert [one.said_at for one in found.notices] == sorted(one.said_at for one in found.notices)
    last = found.notices[-1]
    assert (last.receiver, last.event, last.state, last.error) == ("team", Event.REPEATED, "refused", "HTTP 400")
    told = [(one.name, one.wants, one.event) for one in found.receivers]
    assert told == [("team", True, "repeated"), ("notes", False, None), ("others", False, None)]


def test_what_the_detector_found_in_the_window_is_its_suspicion(service: Service, alert: str) -> None:
    assert service.views.story(alert).suspicion is None
    start = service.views.alert(alert).window.start
    detail = Detail("input_drift", (BacktestFinding("age", "location", 1.0, 2, 0.01),), reason="the inputs moved: age")
    with service.state.work() as put:
        put.detections.put([DetectionRow(MODEL, start, b"", msgspec.msgpack.encode(detail))])
    found = service.views.story(alert).suspicion
    assert found is not None
    assert (found.kind, found.reason, found.findings) == (detail.suspected, detail.reason, detail.findings)


def test_the_segments_are_those_of_its_window(service: Service, alert: str) -> None:
    found = service.views.story(alert)
    assert [str(one.segment) for one in found.segments] == ["plan=pro"]
    assert {one.start for one in found.segments} == {service.views.alert(alert).window.start}
    assert not found.retrains and found.requests == []


def test_features_stand_beside_the_reference_in_its_window(service: Service, alert: str) -> None:
    start = service.views.alert(alert).window.start
    found = service.views.features_in(MODEL, start, ["age", "plan", "gone"])
    for one in found:
        alone = service.views.feature(MODEL, one.feature, window=start)
        assert (one.kind, one.compared) == (alone.kind, alone.compared)
        assert one.now == alone.now and one.before == alone.before
    assert [one.feature for one in found] == ["age", "plan"]
    assert service.views.features_in(MODEL, start, ["age", "plan", "gone"]) is found
    assert service.views.features_in(MODEL, NOW, ["age"]) == []


def test_an_unknown_alert_has_no_story(service: Service) -> None:
    with pytest.raises(UnknownNameError, match="unknown alert"):
        service.views.story("nothing")


def test_the_windows_around_hold_the_one_that_it_fired_on(service: Service, alert: str) -> None:
    one = service.views.alert(alert)
    for status, span in (("firing", 1), ("resolved", 1), ("resolved", 20)):
        shown = msgspec.structs.replace(
            one, status=status, span=msgspec.structs.replace(one.span, end=one.span.start + timedelta(days=span))
        )
        start, end = around(shown)
        assert start < one.window.start and (end is None or end > shown.span.end)
        assert end is None or (end - start) / timedelta(days=1) <= 2 * WINDOWS_SHOWN


def test_an_explanation_is_made_once_until_something_is_judged_anew(
    service: Service, alert: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = []

    def counted(*came: object) -> explanation.Explanation:
        made.append(came)
        return explanation.explain_alert(*came)  # type: ignore[arg-type]

    monkeypatch.setattr(reader, "explain_alert", counted)
    first = service.views.explanation(alert)
    assert first == service.views.explanation(alert) and len(made) == 1 and first.rerun.same
    assert service.views.explanation(alert).rerun.same
    deliver(service, "labels", [label(f"1-{index}", 1.9, truth=index % 2) for index in range(60)])
    work(service)
    again = service.views.explanation(alert)
    assert len(made) == 2 and not again.rerun.same and again.rerun.value == 1.0
