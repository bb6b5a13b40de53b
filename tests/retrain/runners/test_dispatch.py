"""Requests that are handed over: what the servers get, what their answers mean, and that nothing is sent twice.

The answers are those that Airflow 3.3.2, Prefect 3.8.8 and Dagster 1.13.27 gave.
"""

from __future__ import annotations

import hashlib
import hmac
import json
from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from driftline.errors import RefusedError, StorageError, UnavailableError, UnreachableError, UsageError
from driftline.retrain.runners.airflow import Airflow
from driftline.retrain.runners.dagster import Dagster
from driftline.retrain.runners.github import GitHub
from driftline.retrain.runners.prefect import Prefect
from driftline.retrain.runners.runner import Runner
from driftline.retrain.runners.webhook import Webhook
from tests.retrain.runners.conftest import ID, NOW, request
from tests.support.receiver import Answer, Server

PAYLOAD = {
    "request_id": ID,
    "model": "churn",
    "trigger": "alert",
    "reason": "the alert accuracy-low is firing",
    "asked_at": "2026-11-23T12:30:15Z",
    "callback": f"https://driftline.example/api/v1/retraining/{ID}/result",
}
TOKEN = "t0ken-that-is-secret"


def says(status: int, body: Any) -> Answer:
    return Answer(status, {"Content-Type": "application/json"}, json.dumps(body).encode())


def github(url: str) -> Runner:
    return GitHub("example/models", TOKEN, url)


def airflow(url: str) -> Runner:
    return Airflow(url, "train/churn", token=TOKEN)


def prefect(url: str) -> Runner:
    return Prefect(f"{url}/api", "train/churn", token=TOKEN)


def dagster(url: str) -> Runner:
    return Dagster(url, "train_churn", "defs.py", token=TOKEN)


def webhook(url: str) -> Runner:
    return Webhook(f"{url}/hook?key={TOKEN}", lambda: NOW, TOKEN)


ALL = [github, airflow, prefect, dagster, webhook]


# ---- all of them -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("runner", ALL)
@pytest.mark.parametrize(
    ("answer", "error"),
    [
        (Answer(401, body=f"who is {TOKEN}?".encode()), UnavailableError),
        (Answer(404), UnavailableError),
        (Answer(503, {"Retry-After": "7"}), UnavailableError),
        (Answer(302, {"Location": "http://127.0.0.1:9/"}), UnavailableError),
        (Answer(422, body=TOKEN.encode()), RefusedError),
        (Answer(500, body=b"\xff\xfe" * 1_000_000), UnavailableError),
    ],
)
def test_a_request_that_was_not_taken_can_be_sent_again(
    server: Server, tmp_path: Path, runner: Callable[[str], Runner], answer: Answer, error: type[Exception]
) -> None:
    server.answers = [answer]
    with pytest.raises(error) as caught:
        runner(server.url).start(request(), tmp_path / "run")
    assert TOKEN not in str(caught.value)
    assert len(str(caught.value)) < 400
    assert str(caught.value).startswith(f"status {answer.status}")
    assert len(server.got) == 1, "no redirect is followed"


@pytest.mark.parametrize("runner", ALL)
def test_a_server_that_does_not_answer_is_said(runner: Callable[[str], Runner], tmp_path: Path) -> None:
    with pytest.raises(UnreachableError, match="ConnectError") as caught:
        runner("http://127.0.0.1:9").start(request(), tmp_path)
    assert TOKEN not in str(caught.value)


@pytest.mark.parametrize("runner", ALL)
def test_no_secret_is_shown(runner: Callable[[str], Runner]) -> None:
    assert TOKEN not in repr(runner("http://127.0.0.1:9"))


@pytest.mark.parametrize("runner", [airflow, prefect, dagster])
@pytest.mark.parametrize("body", [b"", b"<html>", b"[]", b'{"data": null}', b'{"id": 3}', b"\xff"])
def test_an_answer_that_is_not_understood_is_no_success(
    server: Server, tmp_path: Path, runner: Callable[[str], Runner], body: bytes
) -> None:
    if runner is airflow and body == b'{"id": 3}':
        body = b"3"
    if runner is airflow and body == b'{"data": null}':
        body = b"null"
    server.answers = [Answer(200, body=body)]
    with pytest.raises(UnavailableError, match="the answer is not understood"):
        runner(server.url).start(request(), tmp_path)


@pytest.mark.parametrize(
    "make",
    [
        *(lambda bad=bad: GitHub("a/b", TOKEN, bad) for bad in ("", "ftp://x", "http://", "http://a b", "http://x?y")),
        *(lambda bad=bad: Airflow(bad, "dag") for bad in ("", "x:8080", "http://x:99999", "http://x/#")),
        *(lambda bad=bad: Airflow("http://x", bad) for bad in ("", ".", "..")),
        *(lambda bad=bad: Prefect("http://x", bad) for bad in ("", "flow", "/a", "a/", "a/b/c", "../x", "x/..")),
        *(lambda bad=bad: Dagster("http://x", *bad) for bad in (("", "l"), ("j", ""), ("j", "l", ""))),
        lambda: Dagster("x", "j", "l"),
        *(
            lambda bad=bad: GitHub(bad, TOKEN)
            for bad in ("", "a", "a/b/c", "a/..", "a/.", "../b", "a/b?c", "a/b\n", "ä/b", "a b/c")
        ),
    ],
)
def test_an_address_or_name_that_is_none_is_refused(make: Callable[[], Runner]) -> None:
    with pytest.raises(UsageError):
        make()


# ---- GitHub ------------------------------------------------------------------------------------------------


def test_github_gets_an_event_with_the_request(server: Server, tmp_path: Path) -> None:
    github(server.url + "/").start(request(), tmp_path / "run")
    [got] = server.got
    assert got.path == "/repos/example/models/dispatches"
    assert got.json == {"event_type": "driftline-retrain", "client_payload": PAYLOAD}
    assert len(got.json["client_payload"]) <= 10, "GitHub takes no more"
    assert got.headers["authorization"] == f"Bearer {TOKEN}"
    assert got.headers["x-github-api-version"] == "2022-11-28"


TAKES = {
    airflow: [(200, {}), (200, {})],
    prefect: [(200, {"id": "b4f44578"}), (201, {})],
    dagster: [
        (200, {"data": {"runsOrError": {"__typename": "Runs"}}}),
        (200, {"data": {"launchRun": {"__typename": "LaunchRunSuccess"}}}),
    ],
}


@pytest.mark.parametrize("runner", ALL)
def test_what_was_taken_is_not_sent_again(server: Server, tmp_path: Path, runner: Callable[[str], Runner]) -> None:
    """The service starts a run again at each step, until the result is there."""
    server.answers = [says(*answer) for answer in TAKES.get(runner, [])]
    runner(server.url).start(request(), tmp_path)
    sent = len(server.got)
    for _ in range(3):
        assert runner(server.url).start(request(), tmp_path) is None
    assert len(server.got) == sent
    server.answers = [Answer(503)]
    with pytest.raises(UnavailableError):
        runner(server.url).start(request("other"), tmp_path / "other")


def test_github_is_asked_whether_it_took_what_may_have_been_sent(server: Server, tmp_path: Path) -> None:
    """The process was killed between the request and the file that says that it was sent."""
    (tmp_path / "github.sending").touch()
    runs = [{"display_title": "CI", "id": 1}, {"display_title": f"driftline-retrain {ID}", "id": 2}]
    server.answers = [says(200, {"total_count": 2, "workflow_runs": runs})]
    github(server.url).start(request(), tmp_path)
    github(server.url).start(request(), tmp_path)
    assert [got.path.partition("?")[0] for got in server.got] == ["/repos/example/models/actions/runs"]


@pytest.mark.parametrize(
    "answer",
    [
        says(200, {"workflow_runs": [{"display_title": f"driftline-retrain {ID}0"}, {}]}),
        says(200, {"workflow_runs": []}),
        says(403, {"message": "Resource not accessible by personal access token"}),
        says(404, {}),
    ],
)
def test_github_is_sent_what_it_does_not_know_or_does_not_tell(server: Server, tmp_path: Path, answer: Answer) -> None:
    server.answers = [Answer(502)]
    with pytest.raises(UnavailableError):
        github(server.url).start(request(), tmp_path)
    server.answers = [answer]
    github(server.url).start(request(), tmp_path)
    assert [got.path.rpartition("/")[2].partition("?")[0] for got in server.got] == ["dispatches", "runs", "dispatches"]


def test_the_payload_fits_whatever_the_reason_is(server: Server, tmp_path: Path) -> None:
    github(server.url).start(request(reason="😀" * 100_000), tmp_path)
    assert len(server.got[0].body) < 64_000


def test_a_folder_that_cannot_be_marked_sends_nothing(server: Server, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(StorageError, match="cannot be written to"):
        github(server.url).start(request(), tmp_path / "file" / "run")
    assert server.got == []


# ---- Airflow -----------------------------------------------------------------------------------------------

CREATED = {"dag_run_id": f"driftline__{ID}", "dag_id": "train/churn", "state": "queued"}
TAKEN = {"detail": {"reason": "Unique constraint violation", "statement": "hidden"}}


def test_airflow_gets_a_run_of_the_name_of_the_request(server: Server, tmp_path: Path) -> None:
    server.answers = [says(201, {"access_token": "jwt"}), says(200, CREATED)]
    Airflow(server.url, "train/churn", "ann", "pass-word").start(request(), tmp_path)
    asked, created = server.got
    assert (asked.path, asked.json) == ("/auth/token", {"username": "ann", "password": "pass-word"})
    assert "authorization" not in asked.headers
    assert created.path == "/api/v2/dags/train%2Fchurn/dagRuns"
    assert created.headers["authorization"] == "Bearer jwt"
    assert created.json == {
        "dag_run_id": f"driftline__{ID}",
        "logical_date": None,
        "conf": PAYLOAD,
        "note": PAYLOAD["reason"],
    }


def test_airflow_has_the_run_already(server: Server, tmp_path: Path) -> None:
    server.answers = [says(409, TAKEN)]
    airflow(server.url).start(request(), tmp_path)
    assert server.got[0].headers["authorization"] == f"Bearer {TOKEN}"


def test_airflow_that_takes_everybody_for_an_admin_gives_a_token_for_nothing(server: Server, tmp_path: Path) -> None:
    server.answers = [says(201, {"access_token": "jwt"}), says(200, CREATED)]
    Airflow(server.url + "/", "train").start(request(), tmp_path)
    assert server.got[0].body == b""
    assert server.got[1].headers["authorization"] == "Bearer jwt"


def test_a_password_that_airflow_quotes_is_not_repeated(server: Server, tmp_path: Path) -> None:
    server.answers = [says(401, {"detail": "not pass-word"})]
    with pytest.raises(UnavailableError, match=r'status 401: \{"detail": "not …"\}'):
        Airflow(server.url, "train", "ann", "pass-word").start(request(), tmp_path)


# ---- Prefect -----------------------------------------------------------------------------------------------

DEPLOYMENT = {"id": "b4f44578-b918-4df0-bbb1-cc6806c01851", "name": "churn", "enforce_parameter_schema": True}


@pytest.mark.parametrize("status", [201, 200])
def test_prefect_gets_a_run_with_the_key_of_the_request(server: Server, tmp_path: Path, status: int) -> None:
    """It says 201 to the first of a key, and 200 with the same run to the next."""
    server.answers = [says(200, DEPLOYMENT), says(status, {"id": "2323ad2b-e06f-4528-82fa-86eeac000ef7"})]
    prefect(server.url).start(request(), tmp_path)
    found, created = server.got
    assert found.path == "/api/deployments/name/train/churn"
    assert created.path == f"/api/deployments/{DEPLOYMENT['id']}/create_flow_run"
    assert created.headers["authorization"] == f"Bearer {TOKEN}"
    assert created.json == {
        "name": f"driftline-{ID}",
        "idempotency_key": f"driftline-{ID}",
        "parameters": {"request": PAYLOAD},
        "tags": ["driftline", "churn"],
    }


def test_names_of_prefect_are_one_part_of_the_path_each(server: Server, tmp_path: Path) -> None:
    server.answers = [says(200, DEPLOYMENT), says(201, {})]
    Prefect(server.url, "a b?/c#").start(request(), tmp_path)
    assert server.got[0].path == "/deployments/name/a%20b%3F/c%23"
    assert "authorization" not in server.got[0].headers


def test_a_flow_that_takes_no_request_is_said(server: Server, tmp_path: Path) -> None:
    reason = "Error creating flow run: Validation failed. Failure reason: 'request' was unexpected"
    server.answers = [says(200, DEPLOYMENT), says(409, {"detail": reason})]
    with pytest.raises(UnavailableError, match="'request' was unexpected"):
        prefect(server.url).start(request(), tmp_path)


# ---- Dagster -----------------------------------------------------------------------------------------------


def graphql(name: str, reply: dict[str, Any]) -> Answer:
    return says(200, {"data": {name: reply}})


NONE_THERE = graphql("runsOrError", {"__typename": "Runs", "results": []})
LAUNCHED = graphql("launchRun", {"__typename": "LaunchRunSuccess", "run": {"runId": "69f16cbe"}})


def test_dagster_launches_a_job_with_the_request_in_its_tags(server: Server, tmp_path: Path) -> None:
    server.answers = [NONE_THERE, LAUNCHED]
    dagster(server.url).start(request(), tmp_path)
    found, launched = server.got
    assert found.path == launched.path == "/graphql"
    assert found.headers["dagster-cloud-api-token"] == TOKEN
    assert found.json["variables"] == {"tags": [{"key": "driftline/request_id", "value": ID}]}
    assert launched.json["variables"]["selector"] == {
        "repositoryLocationName": "defs.py",
        "repositoryName": "__repository__",
        "jobName": "train_churn",
    }
    tags = {tag["key"]: tag["value"] for tag in launched.json["variables"]["tags"]}
    assert tags == {f"driftline/{name}": value for name, value in PAYLOAD.items()}


def test_dagster_has_the_run_already(server: Server, tmp_path: Path) -> None:
    server.answers = [graphql("runsOrError", {"__typename": "Runs", "results": [{"runId": "545880bc"}]})]
    dagster(server.url).start(request(callback=""), tmp_path)
    assert len(server.got) == 1


@pytest.mark.parametrize(
    ("reply", "error", "reason"),
    [
        (
            {"__typename": "PipelineNotFoundError", "message": "Could not find Pipeline defs.py.__repository__.nope"},
            UnavailableError,
            "PipelineNotFoundError: Could not find Pipeline",
        ),
        (
            {
                "__typename": "RunConfigValidationInvalid",
                "errors": [{"message": 'Missing required config entry "ops" at the root.'}],
            },
            RefusedError,
            'RunConfigValidationInvalid: Missing required config entry "ops"',
        ),
        ({"__typename": "PythonError", "message": "x" * 9_000}, UnavailableError, "PythonError: xxx"),
        ({"__typename": "UnauthorizedError"}, UnavailableError, "UnauthorizedError"),
    ],
)
def test_errors_of_dagster_come_with_the_status_200(
    server: Server, tmp_path: Path, reply: dict[str, Any], error: type[Exception], reason: str
) -> None:
    server.answers = [NONE_THERE, graphql("launchRun", reply)]
    with pytest.raises(error, match=reason) as caught:
        dagster(server.url).start(request(), tmp_path)
    assert len(str(caught.value)) <= 200
    server.answers = [graphql("runsOrError", reply)]
    with pytest.raises(error, match=reason):
        dagster(server.url).start(request(), tmp_path)


def test_a_dagster_that_does_not_know_the_question_is_said(server: Server, tmp_path: Path) -> None:
    server.answers = [says(200, {"data": None, "errors": [{"message": "Cannot query field 'launchRun'"}]})]
    with pytest.raises(UnavailableError, match="the answer is not understood: Cannot query field 'launchRun'"):
        dagster(server.url).start(request(), tmp_path)


# ---- Webhook -----------------------------------------------------------------------------------------------


def test_a_webhook_gets_the_request_with_its_key_and_signature(server: Server, tmp_path: Path) -> None:
    webhook(server.url).start(request(), tmp_path)
    [got] = server.got
    assert got.path == f"/hook?key={TOKEN}"
    assert got.json == PAYLOAD
    assert got.headers["idempotency-key"] == ID
    assert got.headers["x-driftline-timestamp"] == str(int(NOW.timestamp()))
    signed = f"{int(NOW.timestamp())}.".encode() + got.body
    expected = hmac.new(TOKEN.encode(), signed, hashlib.sha256).hexdigest()
    assert got.headers["x-driftline-signature"] == f"sha256={expected}"


def test_a_webhook_without_a_secret_is_not_signed(server: Server, tmp_path: Path) -> None:
    Webhook(server.url, lambda: NOW).start(request(), tmp_path)
    assert not [name for name in server.got[0].headers if name.startswith("x-driftline")]


@settings(max_examples=30, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(model=st.text(max_size=50), reason=st.text(max_size=50), at=st.datetimes(timezones=st.just(NOW.tzinfo)))
def test_whatever_is_in_a_request_it_arrives(
    shared_server: Server, tmp_path: Path, model: str, reason: str, at: datetime
) -> None:
    shared_server.answers = [says(200, {})]
    sent = request(model=model, reason=reason, asked_at=at)
    (tmp_path / "run.taken").unlink(missing_ok=True)
    airflow(shared_server.url).start(sent, tmp_path)
    got = shared_server.got.pop().json
    assert (got["conf"]["model"], got["conf"]["reason"], got["note"]) == (model, reason, reason)
    assert datetime.fromisoformat(got["conf"]["asked_at"]) == at
