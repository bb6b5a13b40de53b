"""Segments over HTTP: windows of one, the model's list, /metrics, and the page."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from fastapi.testclient import TestClient
from prometheus_client.parser import text_string_to_metric_families as parse_text

from driftline import clock
from driftline.service.runtime import Service
from driftline.web.app import create_app
from tests.support.seasons import ALL_RULE, WHOLE_RULE, seasons_config, send
from tests.support.steps import work

WINDOWS = "/api/v1/models/churn/windows"


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """Two judged days: a good one, and one on which winter alone is bad and few rows have no season."""
    service = Service(seasons_config(tmp_path_factory.mktemp("seasons"), WHOLE_RULE, ALL_RULE))
    send(service, 0, {"summer": (95, 100), "winter": (38, 40)})
    send(service, 1, {"summer": (98, 100), "winter": (20, 40), None: (3, 3)})
    send(service, 4, {"summer": (1, 1)})
    work(service)
    yield service
    service.stop()


@pytest.fixture(scope="module")
def client(service: Service) -> TestClient:
    return TestClient(create_app(service))


def windows(client: TestClient, **query: str) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = client.get(WINDOWS, params=query).json()["windows"]
    return found


def test_windows_of_a_segment_are_asked_for_and_say_which(client: TestClient) -> None:
    _, winter = windows(client, segment="season:winter")
    assert winter["segment"] == {"column": "season", "value": "winter"}
    assert (winter["version"], winter["predictions"], winter["performance"]["accuracy"]["value"]) == ("*", 40, 0.5)
    [verdict] = winter["verdicts"]
    assert (verdict["rule"], verdict["state"], verdict["segment"]) == ("segment-low", "breach", winter["segment"])
    whole = windows(client)[1]
    assert whole["segment"] is None
    assert {(one["rule"], one["segment"] and one["segment"]["value"]): one["state"] for one in whole["verdicts"]} == {
        ("accuracy-low", None): "ok",
        ("segment-low", "summer"): "ok",
        ("segment-low", "winter"): "breach",
        ("segment-low", "(missing)"): "nodata",
    }
    assert [one["rule"] for one in windows(client, version="v1")[1]["verdicts"]] == ["accuracy-low"]


@pytest.mark.parametrize(
    ("query", "status", "said"),
    [
        ({"segment": "winter"}, 400, "write a column and its value, such as season:winter"),
        ({"segment": "saison:winter"}, 404, "Did you mean 'season'?"),
        ({"segment": "season:spring"}, 404, "known: (missing), (other values), summer, winter"),
        ({"version": "v2"}, 404, "unknown version of churn 'v2'; known: v1"),
        ({"segment": "season:winter", "version": "v1"}, 400, "give one"),
    ],
)
def test_what_is_no_segment_is_told(client: TestClient, query: dict[str, str], status: int, said: str) -> None:
    answer = client.get(WINDOWS, params=query)
    assert answer.status_code == status and said in answer.json()["error"]["message"]


def test_the_model_lists_its_segments_and_alerts_say_theirs(client: TestClient) -> None:
    values = ["summer", "winter", "(other values)", "(missing)"]
    assert client.get("/api/v1/models/churn").json()["segments"] == [{"column": "season", "values": values}]
    [alert] = client.get("/api/v1/alerts").json()["alerts"]
    assert alert["title"] == "Model accuracy below threshold! (season = winter)"
    assert (alert["version"], alert["segment"]) == (None, {"column": "season", "value": "winter"})
    assert alert["newest"]["value"] == 0.5


def test_metrics_have_each_segment_of_the_newest_judged_window(client: TestClient) -> None:
    families = parse_text(client.get("/metrics").text)
    samples = {(one.name, *sorted(one.labels.items())): one.value for family in families for one in family.samples}

    def performance(segment: str, version: str = "", more: str = "") -> float | None:
        labels = {"model": "churn", "version": version, "metric": "accuracy", "segment": segment, "kind": "actual"}
        return samples.get((f"driftline_performance{more}", *sorted(labels.items())))

    assert performance("season=winter") == 0.5
    assert performance("", "v1") == 121 / 143
    assert performance("season=winter", more="_samples") == 40
    assert (performance("season=winter", more="_ci_lower") or 1) < 0.5
    assert performance("season=(missing)") is None and performance("season=(missing)", more="_samples") == 3
    breaches = (("model", "churn"), ("monitor", "segment-low"), ("segment", "season=winter"))
    assert samples["driftline_monitor_breaches", *breaches] == 1
    assert ("driftline_monitor_breaches", ("model", "churn"), ("monitor", "segment-low")) not in samples


def test_the_page_shows_segments_and_the_windows_of_one(client: TestClient) -> None:
    whole = client.get("/models/churn").text
    assert 'href="/models/churn?segment=season%3Awinter"' in whole
    assert "too few rows: 3, where at least 30 are needed" in whole
    assert 'data-predictions="143"' in whole and "segment-low (season = winter): " in whole
    winter = client.get("/models/churn", params={"segment": "season:winter"}).text
    assert 'data-slice="season = winter"' in winter and 'href="/models/churn">All rows' in winter
    assert 'data-predictions="40"' in winter and 'data-predictions="143"' not in winter
    assert "older windows" not in winter  # the last window has no winter
    assert "<small>all rows, " in winter and 'href="/models/churn/features/age?segment=season%3Awinter"' in winter
    assert client.get("/models/churn", params={"version": "v1"}).text.count('data-predictions="143"') == 1


def test_a_segment_is_silenced_by_itself(client: TestClient, service: Service) -> None:
    body = {"by": "ann", "reason": "snow", "for": "2h"}
    for pattern, muted in (("season=sum*", False), ("season=win*", True)):
        made = client.post("/api/v1/silences", json=body | {"match": {"rule": "segment-low", "segment": pattern}})
        assert made.status_code == 201
        service._announcer.tick(service.state, clock.now())
        [alert] = client.get("/api/v1/alerts").json()["alerts"]
        assert alert["muted"].startswith("silenced by ann") is muted
