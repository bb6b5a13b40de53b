"""The HTTP surface: what is taken, what is refused with which words, and that nothing else is lost by it."""

from __future__ import annotations

import io
import time
from typing import Any

import msgspec
import polars as pl
import pytest
import sqlalchemy as sa
from fastapi.testclient import TestClient
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from prometheus_client.parser import text_string_to_metric_families

from driftline.monitoring import accept
from driftline.service.runtime import Service
from driftline.web.app import create_app
from tests.support.churn import MODEL, START, label, prediction
from tests.support.steps import a_day

PREDICTIONS, LABELS = f"/api/v1/models/{MODEL}/predictions", f"/api/v1/models/{MODEL}/labels"
NDJSON = {"Content-Type": "application/x-ndjson"}


@pytest.fixture
def client(service: Service) -> TestClient:
    service.start()
    return TestClient(create_app(service), raise_server_exceptions=False)


def settle(client: TestClient) -> None:
    for _ in range(500):
        if client.get("/ready").json()["idle"]:
            return
        time.sleep(0.02)
    pytest.fail("the worker did not come to rest")


def good() -> dict[str, Any]:
    return prediction("good", 0.0, said=1, score=0.9)


def accepted(client: TestClient) -> int:
    settle(client)
    return int(client.get(f"/api/v1/models/{MODEL}").json()["predictions"])


# ---- what is taken --------------------------------------------------------------------------------------------------


def test_an_array_is_taken_and_answered_with_its_number(client: TestClient) -> None:
    answer = client.post(PREDICTIONS, json=[good(), prediction("other", 0.1, said=0)])
    assert (answer.status_code, answer.json()) == (202, {"accepted": 2})
    assert accepted(client) == 2


def test_ndjson_and_arrow_say_the_same_as_json(client: TestClient) -> None:
    rows = [prediction(str(index), index / 10, said=index % 2, score=0.5) for index in range(3)]
    client.post(PREDICTIONS, json=rows[:1])
    lines = b"\n".join(msgspec.json.encode(row) for row in rows[1:2]) + b"\n\n"
    assert client.post(PREDICTIONS, content=lines, headers=NDJSON).json() == {"accepted": 1}
    frame = pl.DataFrame(
        {
            "id": ["2"],
            "time": [START],
            "version": ["v1"],
            "feature.age": [40.0],
            "feature.plan": ["pro"],
            "prediction": [0],
            "score.1": [0.5],
        }
    )
    stream = io.BytesIO()
    frame.write_ipc_stream(stream)
    headers = {"Content-Type": "application/vnd.apache.arrow.stream"}
    assert client.post(PREDICTIONS, content=stream.getvalue(), headers=headers).json() == {"accepted": 1}
    settle(client)
    [window] = client.get(f"/api/v1/models/{MODEL}/windows").json()["windows"]
    assert window["predictions"] == 3
    assert window["drift"]["age"]["missing_current"] == 0.0


def test_no_rows_are_fine(client: TestClient) -> None:
    assert client.post(PREDICTIONS, json=[]).json() == {"accepted": 0}


def test_an_id_is_made_where_none_is_given(client: TestClient) -> None:
    row = good()
    del row["id"]
    assert client.post(PREDICTIONS, json=[row, row]).json() == {"accepted": 2}
    assert accepted(client) == 2


def test_a_repeated_key_gets_the_first_answer(client: TestClient) -> None:
    headers = {"Idempotency-Key": "once"}
    for _ in range(2):
        assert client.post(PREDICTIONS, json=[good()], headers=headers).json() == {"accepted": 1}
    other = client.post(PREDICTIONS, json=[good(), good()], headers=headers)
    assert (other.status_code, other.json()["error"]["type"]) == (409, "ConflictError")
    assert accepted(client) == 1


# ---- what is refused ------------------------------------------------------------------------------------------------

BAD_ROWS = [
    ({"features": {"agee": 1}}, "features.agee", "Did you mean 'age'?"),
    ({"features": {"age": "old"}}, "features.age", "numeric"),
    ({"features": {"age": True}}, "features.age", "numeric"),
    ({"features": {"plan": {"a": 1}}}, "features.plan", "categorical"),
    ({"features": [1]}, "features", "object"),
    ({"prediction": None}, "prediction", "null"),
    ({"prediction": "maybe"}, "prediction", "0, 1"),
    ({"score": 1.5}, "score.1", "0 to 1"),
    ({"score": {"1": -0.1}}, "score.1", "0 to 1"),
    ({"time": "yesterday"}, "time", "RFC 3339"),
    ({"time": "2024-03-01T00:00:00"}, "time", "time zone"),
    ({"time": "2999-01-01T00:00:00Z"}, "time", "clock"),
    ({"id": ""}, "id", "empty"),
    ({"id": "x" * 300}, "id", "at most 256"),
    ({"id": "a\x00b"}, "id", "NUL"),
    ({"latency_seconds": -1}, "latency_seconds", "0 or more"),
    ({"version": "*"}, "version", "all versions"),
    ({"lable": 1}, "lable", "not a known field"),
]


@pytest.mark.parametrize(("change", "field", "words"), BAD_ROWS)
def test_a_bad_row_is_refused_with_index_field_and_reason(
    client: TestClient, change: dict[str, Any], field: str, words: str
) -> None:
    answer = client.post(PREDICTIONS, json=[good(), {**good(), "id": "second", **change}])
    assert answer.status_code == 422
    [row] = answer.json()["error"]["rows"]
    assert (row["index"], row["field"]) == (1, field)
    assert words in row["reason"]
    assert accepted(client) == 0  # nothing of the batch is stored


def test_a_missing_field_is_named(client: TestClient) -> None:
    row = good()
    del row["prediction"]
    [refused] = client.post(PREDICTIONS, json=[row]).json()["error"]["rows"]
    assert (refused["index"], refused["field"]) == (0, "prediction")


@pytest.mark.parametrize("depth", [100, *range(900, 1_000, 20), 5_000])
def test_a_row_that_is_nested_deeply_is_refused_or_set_aside(client: TestClient, depth: int) -> None:
    as_json = {"Content-Type": "application/json"}
    row = b"[" * depth + b"]" * depth
    for body in (b"[" + row + b"]", b"[NaN," + row + b"]", b'[{"prediction":1,"features":{"age":' + row + b"}}]"):
        assert client.post(PREDICTIONS, content=body, headers=as_json).status_code in (
            400,
            422,
        )
        answer = client.post(f"{PREDICTIONS}?on_error=quarantine", content=body, headers=as_json)
        assert answer.status_code in (202, 400)
    assert client.get(f"/api/v1/models/{MODEL}/quarantine").status_code == 200


def test_with_quarantine_the_good_go_on_and_the_bad_can_be_read(client: TestClient) -> None:
    lines = msgspec.json.encode(good()) + b'\n{"broken\n' + msgspec.json.encode({**good(), "prediction": None})
    answer = client.post(f"{PREDICTIONS}?on_error=quarantine", content=lines, headers=NDJSON)
    assert (answer.status_code, answer.json()) == (202, {"accepted": 1, "quarantined": 2})
    rows = client.get(f"/api/v1/models/{MODEL}/quarantine").json()["rows"]
    assert [(row["index"], row["field"]) for row in rows] == [(2, "prediction"), (1, "")]
    assert rows[1]["row"] == '{"broken'
    assert accepted(client) == 1


@pytest.mark.parametrize(
    ("body", "headers", "status", "words"),
    [
        (b"[{", {"Content-Type": "application/json"}, 400, "not JSON"),
        (b"[NaN]", {"Content-Type": "application/json"}, 422, "a row is a JSON object"),
        (b"[NaN", {"Content-Type": "application/json"}, 400, "not JSON"),
        (b"\xff\xfe", {"Content-Type": "application/json"}, 400, "not JSON"),
        (b"[" * 100_000, {"Content-Type": "application/json"}, 400, "JSON"),
        (b"{}", {"Content-Type": "application/json"}, 400, "array"),
        (b"7", {"Content-Type": "application/json"}, 400, "array"),
        (b"not arrow", {"Content-Type": "application/vnd.apache.arrow.stream"}, 400, "Arrow"),
        (b"a,b", {"Content-Type": "text/csv"}, 415, "application/json"),
        (b"[]", {}, 415, "no Content-Type"),
        (b"[]", {"Content-Type": "application/json", "Content-Encoding": "gzip"}, 400, "Content-Encoding"),
        (b"[]", {"Content-Type": "application/json", "Content-Encoding": "br"}, 415, "Content-Encoding"),
        (b"PAR1", {"Content-Type": "application/vnd.apache.parquet"}, 400, "Parquet"),
    ],
)
def test_a_broken_body_is_refused_as_a_whole(
    client: TestClient, body: bytes, headers: dict[str, str], status: int, words: str
) -> None:
    answer = client.post(PREDICTIONS, content=body, headers=headers)
    assert answer.status_code == status
    assert words in answer.json()["error"]["message"]
    assert accepted(client) == 0


def test_a_full_queue_says_so_and_when_to_come_again(client: TestClient, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(accept, "QUEUE_LIMIT_EVENTS", -1)
    answer = client.post(PREDICTIONS, json=[good()])
    assert (answer.status_code, answer.headers["retry-after"]) == (429, "1")


def test_a_full_disk_is_said_in_plain_words(
    client: TestClient, service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    full = sa.exc.OperationalError("INSERT …", {}, Exception("database or disk is full"))
    monkeypatch.setattr(service.inbox, "accept_all", lambda deliveries: [full for _ in deliveries])
    answer = client.post(PREDICTIONS, json=[good()])
    assert (answer.status_code, answer.headers["retry-after"]) == (503, "1")
    assert answer.json()["error"] == {
        "type": "StorageError",
        "message": "the disk is full: the database cannot grow; try again later",
    }


@pytest.mark.parametrize("path", ["predictions", "labels"])
def test_an_unknown_model_is_named_with_the_known(client: TestClient, path: str) -> None:
    answer = client.post(f"/api/v1/models/churm/{path}", json=[])
    assert answer.status_code == 404
    assert "Did you mean 'churn'?" in answer.json()["error"]["message"]


@pytest.mark.parametrize(
    ("path", "status"),
    [
        ("/api/v1/models/nope/windows", 404),
        ("/api/v1/models/nope/alerts", 404),
        ("/api/v1/models/nope/quarantine", 404),
        (f"/api/v1/models/{MODEL}/windows?start=2024-01-01T00:00:00", 400),
        (f"/api/v1/models/{MODEL}/windows?start=soon", 400),
        (f"/api/v1/models/{MODEL}/alerts?status=loud", 400),
        (f"/api/v1/models/{MODEL}/quarantine?limit=0", 400),
        (f"{PREDICTIONS}?on_error=ignore", 405),
        ("/nothing/here", 404),
    ],
)
def test_every_error_has_the_same_shape(client: TestClient, path: str, status: int) -> None:
    answer = client.get(path)
    assert answer.status_code == status
    assert set(answer.json()["error"]) >= {"type", "message"}


def test_bad_labels_are_refused_and_a_label_without_prediction_waits(client: TestClient) -> None:
    answer = client.post(LABELS, json=[{"id": "a"}, {"id": "a", "label": [1]}, {"label": 1}])
    assert [row["index"] for row in answer.json()["error"]["rows"]] == [0, 1, 2]
    assert client.post(LABELS, json=[label("good", 0.1, truth=1)]).json() == {"accepted": 1}
    settle(client)
    assert client.get(f"/api/v1/models/{MODEL}").json()["waiting_labels"] == 1
    client.post(PREDICTIONS, json=[good()])
    settle(client)
    view = client.get(f"/api/v1/models/{MODEL}").json()
    assert (view["waiting_labels"], view["labels"]) == (0, 1)


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=6,
)
fields = st.sampled_from(["id", "time", "version", "features", "prediction", "score", "latency_seconds", "label", "x"])


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.dictionaries(fields, json_values, max_size=7) | json_values, max_size=3), st.booleans())
def test_whatever_json_comes_is_taken_or_refused_and_never_a_fault(
    client: TestClient, rows: list[Any], quarantine: bool
) -> None:
    for path in (PREDICTIONS, LABELS):
        query = "?on_error=quarantine" if quarantine else ""
        body = msgspec.json.encode(rows)
        answer = client.post(path + query, content=body, headers={"Content-Type": "application/json"})
        assert answer.status_code in ((202,) if quarantine else (202, 422)), answer.text
    assert client.get("/ready").json()["problems"] == {}


# ---- what is answered -----------------------------------------------------------------------------------------------


def test_metrics_and_api_agree_and_parse(client: TestClient) -> None:
    predictions, labels = a_day(0, right=30, wrong=30)
    client.post(PREDICTIONS, json=[{**row, "latency_seconds": 0.02} for row in predictions])
    client.post(LABELS, json=labels)
    client.post(PREDICTIONS, json=[prediction("next", 1.5, said=1)])
    client.post(PREDICTIONS, json=[{**good(), "prediction": None}])
    settle(client)
    samples = {
        (sample.name, *sorted(sample.labels.items())): sample.value
        for family in text_string_to_metric_families(client.get("/metrics").text)
        for sample in family.samples
    }
    [window, _] = client.get(f"/api/v1/models/{MODEL}/windows").json()["windows"]
    key = {"kind": "actual", "model": MODEL, "segment": "", "version": "v1"}
    for name, view in window["performance"].items():
        labels_of = tuple(sorted({**key, "metric": name}.items()))
        assert samples["driftline_performance", *labels_of] == view["value"]
        assert samples["driftline_performance_ci_lower", *labels_of] == view["low"]
        assert samples["driftline_performance_samples", *labels_of] == view["n"]
    model = ("model", MODEL)
    assert samples["driftline_predictions_total", model, ("version", "v1")] == 61
    assert samples["driftline_labels_total", model] == 60
    assert samples["driftline_alerts", model, ("severity", "page")] == 1
    assert samples["driftline_label_coverage_ratio", model] == 1.0
    assert samples["driftline_invalid_events_total", model, ("reason", "predictions.prediction")] == 1
    assert samples["driftline_monitor_state", model, ("monitor", "accuracy-low"), ("state", "breach")] == 1
    assert samples["driftline_prediction_latency_seconds_bucket", ("le", "0.01"), model] == 0
    assert samples["driftline_prediction_latency_seconds_bucket", ("le", "0.025"), model] == 60
    assert samples["driftline_prediction_latency_seconds_count", model] == 60


def test_openmetrics_is_spoken_to_those_who_ask(client: TestClient) -> None:
    answer = client.get("/metrics", headers={"Accept": "application/openmetrics-text; version=1.0.0"})
    assert answer.headers["content-type"].startswith("application/openmetrics-text")
    assert answer.text.endswith("# EOF\n")


def test_health_and_readiness_and_the_api_description(client: TestClient) -> None:
    assert client.get("/health").json() == {"status": "ok"}
    assert client.get("/ready").json()["ready"] is True
    paths = client.get("/api/openapi.json").json()["paths"]
    assert "/api/v1/models/{model}/predictions" in paths
    assert "/api/v1/models/{model}/windows" in paths
    page = client.get("/api/docs").text
    assert all(path in page for path in paths)
    assert "latency_seconds" in page and "://" not in page.replace("http://www.w3.org", "")


def test_trouble_in_the_worker_is_shown_and_the_events_are_kept(
    client: TestClient, service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(
            "driftline.service.worker.drain", lambda *args: (_ for _ in ()).throw(OSError("No space left on device"))
        )
        client.post(PREDICTIONS, json=[good()])
        for _ in range(200):
            answer = client.get("/ready")
            if answer.status_code == 503:
                break
            time.sleep(0.02)
        assert "No space left" in answer.json()["problems"][MODEL]
    for _ in range(400):
        if client.get("/ready").status_code == 200:
            break
        time.sleep(0.02)
    assert accepted(client) == 1
