"""The segments of a service: what became worse is found over any windows, against the reference's own segments."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from starlette.testclient import TestClient

from driftline.profiles import Reference
from driftline.profiles.segments import SegmentProfiles
from driftline.service.runtime import Service
from driftline.sketches import decode, encode
from driftline.web.app import create_app
from tests.support.churn import MODEL, START
from tests.support.effort import counted
from tests.support.seasons import WHOLE_RULE, seasons_config, send
from tests.support.steps import work

ADDRESS = f"/api/v1/models/{MODEL}/segments"
FINE, BAD_WINTER = {"summer": (98, 100), "winter": (39, 40)}, {"summer": (98, 100), "winter": (20, 40), None: (1, 2)}
DAY = timedelta(days=1)


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """Two fine days, then two of a bad winter; the second of these by a new version for a part."""
    service = Service(seasons_config(tmp_path_factory.mktemp("segments"), WHOLE_RULE))
    for day in range(4):
        send(service, day, FINE if day < 2 else BAD_WINTER)
    send(service, 3, {"winter": (5, 10)}, version="v2")
    send(service, 4, {"summer": (1, 1)})
    work(service)
    yield service
    service.stop()


def asked(service: Service, **query: Any) -> Any:
    answer = TestClient(create_app(service)).get(ADDRESS, params=query)
    assert answer.status_code == 200, answer.text
    return answer.json()


def states(document: Any) -> dict[str, str]:
    [column] = document["columns"]
    return {one["value"]: one["state"] for one in column["segments"]}


def between(first: int, last: int) -> dict[str, str]:
    return {"start": (START + first * DAY).isoformat(), "end": (START + last * DAY).isoformat()}


def test_the_winter_became_worse_and_is_most_of_the_change(service: Service) -> None:
    found = asked(service, **between(3, 4))
    assert (found["measure"], found["windows"], found["problem"]) == ("accuracy", 1, "")
    assert states(found) == {"winter": "worse", "summer": "no worse", "(missing)": "not judged"}
    [column] = found["columns"]
    winter, *_ = column["segments"]
    assert winter["current"]["rows"] == 50 and winter["current"]["value"] == 0.5  # of both versions
    assert winter["reference"]["value"] == 1.0 and winter["change"] == -0.5
    assert column["mix"] + column["within"] == pytest.approx(column["change"]) == pytest.approx(124 / 152 - 1)
    assert sum(one["mix"] + one["within"] for one in column["segments"]) == pytest.approx(column["change"])
    assert winter["within"] < 0.9 * column["change"]


def test_several_windows_are_put_together_and_the_newest_is_usual(service: Service) -> None:
    newest = asked(service)
    assert newest["windows"] == 1 and newest["start"] == (START + 3 * DAY).strftime("%Y-%m-%dT00:00:00Z")
    whole = asked(service, windows=120)
    assert whole["windows"] == 4 and whole["start"] < asked(service, windows=2)["start"] < newest["start"]
    assert set(states(asked(service, **between(0, 2))).values()) == {"no worse"}


def test_any_measure_of_the_model_can_be_asked_for(service: Service) -> None:
    found = asked(service, measure="recall", **between(3, 4))
    assert found["measures"][:2] == ["accuracy", "log_loss"] and "recall" in found["measures"]
    [column] = found["columns"]
    assert column["problem"].startswith("recall is no mean over rows") and column["mix"] is None
    assert states(found)["winter"] == "worse"


@pytest.mark.parametrize(
    ("query", "status", "words"),
    [
        ({"measure": "mae"}, 404, "accuracy"),
        ({"start": "2026-01-01"}, 400, "without a time zone"),
        ({"start": "2026-01-02T00:00Z", "end": "2026-01-01T00:00Z"}, 400, "a span ends after it begins"),
        ({"windows": "0"}, 400, "windows"),
    ],
)
def test_what_cannot_be_asked_is_said(service: Service, query: dict[str, str], status: int, words: str) -> None:
    answer = TestClient(create_app(service)).get(ADDRESS, params=query)
    assert answer.status_code == status and words in answer.json()["error"]["message"]


def test_without_a_judged_window_it_says_so(service: Service) -> None:
    assert asked(service, **between(200, 201))["problem"].startswith("no window was judged in this span")


def test_a_bounded_number_of_statements(service: Service) -> None:
    with counted() as effort:
        service.views.segments_changed(MODEL, newest=120)
    assert len(effort.statements) <= 3 and effort.writes == []


def test_a_reference_of_an_earlier_release_is_read_again_and_windows_stay(tmp_path: Path) -> None:
    config = seasons_config(tmp_path, WHOLE_RULE)
    service = Service(config)
    send(service, 0, FINE)
    send(service, 1, {"summer": (1, 1)})
    work(service)
    with service.state.work() as changing:
        stored = changing.models.get(MODEL)
        assert stored is not None
        kept = decode(stored.reference, Reference)
        plain = type(kept)(kept.grids, kept.profile, kept.months, kept.anchors, kept.naive)
        assert plain.segments == SegmentProfiles() and kept.segments.columns.keys() == {"season"}
        changing.models.put(replace(stored, reference=encode(plain)))
    found = service.views.segments_changed(MODEL, newest=2)
    assert found.problem == "the reference's segments are not known yet: they are read when the service starts"
    service.stop()
    again = Service(config)
    assert not again.models[MODEL].rebuild
    assert again.views.segments_changed(MODEL, newest=2).problem == ""
    again.stop()
