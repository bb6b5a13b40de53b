"""The loop from outside: over HTTP, on the command line, and with a run that is handed over to another server."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import msgspec
import polars as pl
import pytest
from click.testing import CliRunner
from starlette.testclient import TestClient

from driftline import clock
from driftline.cli.challengers import command as challengers
from driftline.cli.retrain import command as retrain
from driftline.errors import ConflictError, UnavailableError, UnknownNameError
from driftline.net.signatures import signed
from driftline.retrain.request import CANCELLABLE, FOLLOWING, Stage
from driftline.retrain.requests import AskBody, cancel_by_person, decide_by_person
from driftline.retrain.runners.run import Run
from driftline.retrain.views import request_view
from driftline.rules.contest import Contest
from driftline.rules.evidence import evidence_of
from driftline.service.runtime import Service
from driftline.store.database import open_database
from driftline.store.retraining import Retraining, RetrainingRow
from driftline.store.state import State
from driftline.web.app import create_app
from tests.rules.test_contest import binary
from tests.support.churn import MODEL
from tests.support.receiver import Answer, Server
from tests.support.retraining import NOW, TRAIN, days, loop, requests
from tests.support.servers import until

API = f"/api/v1/models/{MODEL}"
SAID = {"by": "ann", "reason": "a new library"}


def client(service: Service) -> TestClient:
    return TestClient(create_app(service))


def test_ask_look_approve_and_poll_the_champion(make: Callable[..., Service]) -> None:
    service = make(approval="manual")
    http = client(service)
    days(service, 0, 12)
    asked = http.post(f"{API}/retrain", json=SAID)
    assert asked.status_code == 202
    id = asked.json()["id"]
    assert (asked.json()["stage"], asked.json()["trigger"], asked.json()["by"]) == ("asked", "manual", "ann")
    assert http.get(f"{API}/champion").json()["champion"] is None
    loop(service)
    found = http.get(f"/api/v1/retraining/{id}").json()
    assert (found["stage"], found["version"], found["champion"]) == ("waiting", "v2", "v1")
    assert found["contest"]["decision"] == "promote"
    assert [step["stage"] for step in found["steps"]] == ["asked", "prepared", "running", "ran", "waiting"]
    picture = http.get(f"/api/v1/retraining/{id}/report")
    assert picture.headers["content-type"].startswith("text/html")
    assert "v2 against v1" in picture.text
    page = http.get(f"/models/{MODEL}").text
    assert f'data-request="{id}" data-stage="waiting"' in page
    champion = http.get(f"{API}/champion")
    assert champion.json() == {"model": MODEL, "champion": "v1", "previous": None, "on_probation": False}
    unchanged = http.get(f"{API}/champion", headers={"If-None-Match": champion.headers["ETag"]})
    assert (unchanged.status_code, unchanged.content) == (304, b"")
    approved = http.post(f"/api/v1/retraining/{id}/approve", json=SAID | {"reason": "looks right"})
    assert approved.json()["stage"] == "promoting"
    assert http.post(f"/api/v1/retraining/{id}/refuse", json=SAID).status_code == 409
    loop(service)
    changed = http.get(f"{API}/champion", headers={"If-None-Match": champion.headers["ETag"]})
    assert changed.json() == {"model": MODEL, "champion": "v2", "previous": "v1", "on_probation": True}
    assert http.post(f"{API}/rollback", json=SAID).json()["stage"] == "rolled back"
    assert http.get(f"{API}/champion").json()["champion"] == "v1"
    assert http.post(f"{API}/rollback", json=SAID).status_code == 409
    assert [one["id"] for one in http.get(f"{API}/retraining").json()["requests"]] == [id]


def test_a_request_without_a_body_is_one_but_not_from_another_site(lived: Callable[..., Service]) -> None:
    service = lived(flipped=False)
    http = client(service)
    assert http.post(f"{API}/retrain", headers={"Origin": "https://evil.example"}).status_code == 415
    asked = http.post(f"{API}/retrain")
    assert (asked.status_code, asked.json()["by"], asked.json()["reason"]) == (202, "api", "asked over HTTP")


def test_what_blocks_a_challenger_is_said(lived: Callable[..., Service]) -> None:
    service = lived(**{"least_labels: 50": "least_labels: 5000"})
    service.loop.step(MODEL, NOW)
    found = client(service).get(f"{API}/retraining").json()
    assert found["requests"] == []
    assert found["blocked"] == (
        "the alert accuracy-low is firing, but there are 200 labelled rows to learn from; 5000 are needed"
    )
    answer = client(service).post(f"{API}/retrain", json=SAID)
    assert (answer.status_code, answer.json()["error"]["type"]) == (409, "ConflictError")


@pytest.mark.parametrize(
    ("path", "body", "status"),
    [
        (f"{API}/retrain", {"by": "", "reason": "x"}, 400),
        (f"{API}/retrain", {"by": "ann"}, 400),
        ("/api/v1/models/nobody/retrain", SAID, 404),
        ("/api/v1/models/nobody/rollback", SAID, 404),
        ("/api/v1/retraining/r9/approve", SAID, 404),
        ("/api/v1/retraining/r9/result", {"ok": False}, 404),
        ("/api/v1/retraining/r9/result", {"ok": "no"}, 404),
    ],
)
def test_what_does_not_fit(make: Callable[..., Service], path: str, body: Any, status: int) -> None:
    http = client(make())
    assert http.post(path, json=body).status_code == status
    assert http.get("/api/v1/retraining/r9").status_code == 404
    assert http.post(path, content=json.dumps(body), headers={"content-type": "text/plain"}).status_code in (415, 404)


def test_metrics_count_what_is_over_and_what_is_not(lived: Callable[..., Service]) -> None:
    service = lived(train=TRAIN.replace('pl.col("plan").replace_strict(learned, default=0)', 'pl.col("prediction")'))
    loop(service)
    page = client(service).get("/metrics").text
    assert f'driftline_retraining_runs_total{{model="{MODEL}",result="held",trigger="alert"}} 1.0' in page


# ---- the command line ---------------------------------------------------------------------------------------------


def test_on_the_command_line(lived: Callable[..., Service], tmp_path: Path) -> None:
    service = lived(approval="manual")
    config = ["--config", str(tmp_path / "driftline.yaml")]
    nothing = CliRunner().invoke(challengers, config, catch_exceptions=False)
    assert nothing.output == "No challenger has been asked for.\n"
    asked = CliRunner().invoke(retrain, [MODEL, "--by", "ann", "--reason", "try", *config], catch_exceptions=False)
    assert asked.exit_code == 0
    [row] = requests(service)
    assert asked.output.splitlines()[-1] == f"Request {row.id}. `driftline challengers` shows what becomes of it."
    with pytest.raises(ConflictError, match="is going on"):
        CliRunner().invoke(retrain, [MODEL, *config], catch_exceptions=False)
    loop(service)
    listed = CliRunner().invoke(challengers, config, catch_exceptions=False).output
    assert listed.startswith(f"{row.id}  waiting  churn, v2 against v1\n")
    assert "manual, by ann: try" in listed
    assert max(map(len, listed.splitlines())) <= 80
    as_json = CliRunner().invoke(challengers, [*config, "--json"], catch_exceptions=False)
    assert json.loads(as_json.output)["requests"][0]["contest"]["decision"] == "promote"
    decide = [*config, "approve", row.id, "--reason", "looks right", "--by", "bob"]
    assert CliRunner().invoke(challengers, decide, catch_exceptions=False).output == "v2 of churn is approved by bob.\n"
    assert loop(service).stage == Stage.BAKING.value
    with pytest.raises(UnknownNameError):
        CliRunner().invoke(challengers, [*config, "refuse", "r9", "--reason", "no"], catch_exceptions=False)
    with pytest.raises(UnknownNameError, match="unknown model 'chrn'"):
        CliRunner().invoke(retrain, ["chrn", *config], catch_exceptions=False)


def test_without_a_service_it_is_trained_here(lived: Callable[..., Service], tmp_path: Path) -> None:
    service = lived(approval="manual")
    service.stop()
    words = [MODEL, "--config", str(tmp_path / "driftline.yaml")]
    done = CliRunner().invoke(retrain, [*words, "--wait"], catch_exceptions=False, standalone_mode=False)
    assert done.return_value == 0
    stages = [line.split()[1] for line in done.output.splitlines()]
    assert stages == ["asked:", "prepared:", "running:", "ran:", "waiting:"]
    [row] = requests(service)
    decide_by_person(service.config.retrain, service.state, row.id, Stage.REFUSED, AskBody("ann", "no"), NOW)
    later = CliRunner().invoke(retrain, words, catch_exceptions=False)
    assert later.output.endswith("No `driftline serve` runs here: it is trained when one does, or now with --wait.\n")


def test_waiting_for_the_contest_prints_the_steps_and_ends_with_its_verdict(
    lived: Callable[..., Service], tmp_path: Path
) -> None:
    service = lived(
        train=TRAIN.replace('pl.col("plan").replace_strict(learned, default=0)', 'pl.col("prediction")'), flipped=False
    )
    service.start()
    words = [MODEL, "--wait", "--config", str(tmp_path / "driftline.yaml")]
    done = CliRunner().invoke(retrain, words, catch_exceptions=False, standalone_mode=False)
    assert done.return_value == 1
    stages = [line.split()[1] for line in done.output.splitlines()]
    assert stages == ["asked:", "prepared:", "running:", "ran:", "held:"]


# ---- a run elsewhere ----------------------------------------------------------------------------------------------


@pytest.fixture
def handed_over(make: Callable[..., Service], server: Server) -> Service:
    """A service whose request has been handed over to a server."""
    return given_away(make, server)


def given_away(make: Callable[..., Service], server: Server, run: str = "") -> Service:
    """A service whose request has been handed over; ``run`` are more keys of its configuration."""
    webhook = f'{run}webhook: {{url: "{server.url}/train", secret: hush}}, time_limit'
    service = make(**{'function: "train.py:train", time_limit': webhook})
    service.address = "http://127.0.0.1:8000"
    days(service, 0, 12)
    while not requests(service) or requests(service)[0].stage != Stage.RUNNING.value:
        service.loop.step(MODEL, NOW)
    for _ in range(3):  # it is not handed over again while it runs, nor after a restart
        service.loop.step(MODEL, NOW)
    return service


def evidence(**how: Any) -> dict[str, Any]:
    found: dict[str, Any] = msgspec.to_builtins(evidence_of(*binary(**how)))
    return found


def report(**changes: Any) -> dict[str, Any]:
    return {
        "ok": True,
        "result": {"version": "ci-7", "predictions": {"challenger": "challenger.parquet"}, "artifacts": ["model.onnx"]},
        "evidence": evidence(),
        "link": "https://ci.example/7",
    } | changes


def test_a_run_elsewhere_is_told_once_and_its_report_decides(handed_over: Service, server: Server) -> None:
    [row] = requests(handed_over)
    [told] = server.got
    assert told.json["request_id"] == row.id
    assert told.json["callback"] == f"http://127.0.0.1:8000/api/v1/retraining/{row.id}/result"
    http = client(handed_over)
    assert http.post(f"/api/v1/retraining/{row.id}/result", json=report()).status_code == 202
    second = http.post(f"/api/v1/retraining/{row.id}/result", json=report(ok=False))
    again = http.post(f"/api/v1/retraining/{row.id}/result", json=report())  # by a sender that has lost the answer
    assert (second.status_code, again.status_code) == (409, 202)
    done = loop(handed_over)
    assert (done.stage, done.version, done.champion) == (Stage.BAKING.value, "ci-7", "v1")
    contest = msgspec.json.decode(done.contest, type=Contest)
    assert (contest.champion, contest.challenger, contest.difference.n) == ("v1", "ci-7", 600)
    assert contest.settings.least_rows == 50, "the gates are those of the configuration"
    assert handed_over.loop.registry.version(MODEL, "ci-7").files == {}
    assert http.post(f"/api/v1/retraining/{row.id}/result", json=report()).status_code == 202
    late = http.post(f"/api/v1/retraining/{row.id}/result", json=report(ok=False))
    assert (late.status_code, late.json()["error"]["type"]) == (409, "ConflictError")


@pytest.mark.parametrize(
    ("changes", "stage", "note"),
    [
        ({"ok": False, "reason": "the tests of the data fail"}, Stage.FAILED, "the tests of the data fail https://ci"),
        ({"ok": False, "result": None}, Stage.FAILED, "the run reported neither a challenger nor why there is none"),
    ],
)
def test_a_run_elsewhere_that_fails(handed_over: Service, changes: dict[str, Any], stage: Stage, note: str) -> None:
    [row] = requests(handed_over)
    answer = client(handed_over).post(f"/api/v1/retraining/{row.id}/result", json=report(**changes))
    assert answer.status_code == 202
    done = loop(handed_over)
    assert (done.stage, done.note.startswith(note)) == (stage.value, True)


def test_a_report_that_is_none_is_refused_and_another_can_follow(handed_over: Service) -> None:
    [row] = requests(handed_over)
    http = client(handed_over)
    whole = evidence()
    bad: list[dict[str, Any]] = [
        {"evidence": None},
        {"contest": {"decision": "promote"}},
        {"result": None},
        {"evidence": whole | {"label": ["0"]}},
        {"evidence": whole | {"label": [None] * 600}},
        {"evidence": whole | {"label": [0, "1"] * 300}},
        {"evidence": whole | {"id": ["1"] * 600}},
        {"evidence": whole | {"seconds": [1e300] * 600}},
        {"evidence": whole | {"decision": "promote"}},
    ]
    for one in bad:
        assert http.post(f"/api/v1/retraining/{row.id}/result", json=report(**one)).status_code == 400, one
    assert http.post(f"/api/v1/retraining/{row.id}/result", json=report()).status_code == 202


def test_a_held_contest_elsewhere_is_held_here(handed_over: Service) -> None:
    [row] = requests(handed_over)
    http = client(handed_over)
    held = report(evidence=evidence(new=0.75))
    assert http.post(f"/api/v1/retraining/{row.id}/result", json=held).status_code == 202
    assert loop(handed_over).stage == Stage.HELD.value


def test_labels_and_answers_that_the_log_knows_are_not_a_reports_to_say(handed_over: Service) -> None:
    """The job says that its challenger is right everywhere; by the log it is wrong wherever the champion is right."""
    [row] = requests(handed_over)
    rows = pl.read_parquet(handed_over.loop.folder / row.id / "evaluation.parquet")
    lie = (1 - rows["label"]).to_list()
    said = {
        "id": rows["id"].to_list(),
        "label": lie,
        "champion": {"prediction": rows["prediction"].to_list()},
        "challenger": {"prediction": lie},
    }
    answer = client(handed_over).post(f"/api/v1/retraining/{row.id}/result", json=report(evidence=said))
    assert answer.status_code == 202
    done = loop(handed_over)
    contest = msgspec.json.decode(done.contest, type=Contest)
    assert (done.stage, contest.difference.first, contest.difference.second) == ("held", 0.0, pytest.approx(0.1))
    assert contest.difference.method == "t of 5 days", "of rows that the job gave no times of"


def test_older_rows_of_the_log_are_not_a_reports_to_say_either(handed_over: Service) -> None:
    """The job judges by the days before those of the contest, and says that the champion was wrong on them."""
    [row] = requests(handed_over)
    learned = pl.read_parquet(handed_over.loop.folder / row.id / "train.parquet")
    said = {
        "id": learned["id"].to_list(),
        "label": learned["label"].to_list(),
        "champion": {"prediction": [0] * len(learned)},
        "challenger": {"prediction": learned["label"].to_list()},
    }
    client(handed_over).post(f"/api/v1/retraining/{row.id}/result", json=report(evidence=said))
    done = loop(handed_over)
    assert (done.stage, done.note.startswith("the replay of v1 says other than v1 did in ")) == ("failed", True), done


def test_a_signed_report_is_taken_and_no_other(make: Callable[..., Service], server: Server) -> None:
    service = given_away(make, server, "report_secret: swordfish, ")
    [row] = requests(service)
    http, where = client(service), f"/api/v1/retraining/{row.id}/result"
    body = json.dumps(report(request_id=row.id)).encode()
    now = clock.now()
    for secret, at, sent in (
        ("", now, body),
        ("guess", now, body),
        ("swordfish", now - timedelta(minutes=6), body),
        ("swordfish", now, json.dumps(report(request_id="another")).encode()),
    ):
        headers = {"Content-Type": "application/json", **signed(sent, secret, at)}
        refused = http.post(where, content=sent, headers=headers)
        assert (refused.status_code, refused.json()["error"]["type"]) == (403, "UnsignedError")
    headers = {"Content-Type": "application/json", **signed(body, "swordfish", now)}
    assert http.post(where, content=body + b" ", headers=headers).status_code == 403
    assert http.post(where, content=body, headers=headers).status_code == 202


def test_a_run_on_this_machine_reports_nothing(lived: Callable[..., Service], tmp_path: Path) -> None:
    """Neither over HTTP nor by a file in its folder: what it leaves is judged, and its word is none."""
    (tmp_path / "forged.json").write_text(json.dumps(report()))
    forging = '(run / "report.json").write_text((run.parents[2] / "forged.json").read_text())\n    (run / "model'
    forged = TRAIN.replace('(run / "model', forging)
    forged = forged.replace('pl.col("plan").replace_strict(learned, default=0)', 'pl.col("prediction")')
    service = lived(train=forged)
    row = loop(service, until=lambda row: row.stage == Stage.RUNNING.value)
    refused = client(service).post(f"/api/v1/retraining/{row.id}/result", json=report())
    assert (refused.status_code, "runs on this machine" in refused.text) == (409, True)
    assert loop(service).stage == Stage.HELD.value


# ---- ways out -----------------------------------------------------------------------------------------------------


def test_a_run_elsewhere_that_never_reports_fails_when_its_time_is_over(handed_over: Service) -> None:
    handed_over.loop.step(MODEL, NOW + timedelta(seconds=59))
    assert requests(handed_over)[0].stage == "running"
    handed_over.loop.step(MODEL, NOW + timedelta(minutes=1))
    [row] = requests(handed_over)
    assert (row.stage, row.note) == ("failed", "nothing was reported within 1 minute")
    late = client(handed_over).post(f"/api/v1/retraining/{row.id}/result", json=report())
    assert (late.status_code, client(handed_over).post(f"{API}/retrain", json=SAID).status_code) == (409, 202)


def test_a_request_that_a_server_refuses_fails_at_once(lived: Callable[..., Service], server: Server) -> None:
    server.answers += [Answer(422, body=b"no such model")]
    service = lived(**{'function: "train.py:train", time_limit': f'webhook: {{url: "{server.url}/"}}, time_limit'})
    row = loop(service)
    assert (row.stage, row.note) == ("failed", "the request was refused: status 422: no such model")
    for _ in range(3):
        service.loop.step(MODEL, NOW)
    assert len(server.got) == 1


def test_a_server_that_stays_away_is_given_up_when_the_time_is_over(lived: Callable[..., Service]) -> None:
    service = lived(**{'function: "train.py:train", time_limit': 'webhook: {url: "http://127.0.0.1:9/"}, time_limit'})
    with pytest.raises(UnavailableError):
        loop(service)
    loop(service, now=NOW + timedelta(minutes=2))
    [row] = requests(service)
    assert (row.stage, row.note[:54]) == ("failed", "the request could not be handed over within 1 minute: ")


def test_a_person_cancels_what_does_not_end(handed_over: Service, tmp_path: Path) -> None:
    [row] = requests(handed_over)
    button = f'data-post="/api/v1/retraining/{row.id}/cancel"'
    assert button in client(handed_over).get(f"/models/{MODEL}").text
    words = ["--config", str(tmp_path / "driftline.yaml"), "cancel", row.id, "--reason", "lost", "--by", "ann"]
    done = CliRunner().invoke(challengers, words, catch_exceptions=False)
    assert done.output == f"Request {row.id} of churn is cancelled by ann.\n"
    step = request_view(handed_over.state, row.id).steps[-1]
    assert (step.stage, step.by, step.note) == ("failed", "ann", "cancelled by ann: lost")
    assert button not in client(handed_over).get(f"/models/{MODEL}").text
    http = client(handed_over)
    assert http.post(f"/api/v1/retraining/{row.id}/result", json=report()).status_code == 409
    assert http.post(f"/api/v1/retraining/{row.id}/cancel", json=SAID).status_code == 409
    assert http.post("/api/v1/retraining/r9/cancel", json=SAID).status_code == 404
    assert http.post(f"{API}/retrain", json=SAID).status_code == 202


@pytest.mark.parametrize("stage", list(Stage))
def test_what_can_be_cancelled_by_its_stage(tmp_path: Path, stage: Stage) -> None:
    state = State(open_database(f"sqlite:///{tmp_path / 'state.db'}"))
    with state.work() as work:
        row = RetrainingRow("r1", MODEL, "manual", "try", "ann", NOW, NOW, stage.value, NOW, "", 0)
        Retraining(work.connection).add(row, busy=())
    if stage in CANCELLABLE:
        done = cancel_by_person(state, tmp_path / "runs", "r1", AskBody("bob", "lost"), NOW)
        assert (done.stage, done.note) == ("failed", "cancelled by bob: lost")
    for _ in range(2):  # once only, and never what was decided
        with pytest.raises(ConflictError, match="only one whose contest was not held can be cancelled"):
            cancel_by_person(state, tmp_path / "runs", "r1", AskBody("bob", "lost"), NOW)
    with state.read() as read:
        now = Retraining(read.connection).row("r1").stage
    assert now == ("failed" if stage in CANCELLABLE else stage.value)


def test_a_run_here_that_is_cancelled_is_ended(lived: Callable[..., Service], tmp_path: Path) -> None:
    service = lived(train="import time\n\n\ndef train(run):\n    (run / 'began').touch()\n    time.sleep(60)\n")
    row = loop(service, until=lambda row: (tmp_path / "data" / "runs" / row.id / "began").exists())
    assert client(service).post(f"/api/v1/retraining/{row.id}/cancel", json=SAID).json()["stage"] == "failed"
    run = Run(service.loop.folder / row.id)
    until(lambda: run.outcome() is not None, "the run is over")
    outcome = run.outcome()
    assert outcome is not None and "was stopped" in outcome.reason
    service.loop.step(MODEL, NOW)
    assert (requests(service)[0].stage, requests(service)[0].note) == ("failed", "cancelled by ann: a new library")


@pytest.mark.parametrize("stage", list(Stage))
def test_whatever_is_not_over_has_a_way_out_that_a_person_can_take(stage: Stage) -> None:
    if not stage.over:
        by_hand = {Stage.WAITING: Stage.REFUSED, Stage.PROMOTING: Stage.FAILED, Stage.BAKING: Stage.ROLLED_BACK}
        out = by_hand.get(stage, Stage.FAILED)
        assert out in FOLLOWING[stage] and out.over
        assert (stage in CANCELLABLE) == (stage not in by_hand)


def test_a_server_that_is_away_is_asked_again(lived: Callable[..., Service]) -> None:
    service = lived(**{'function: "train.py:train", time_limit': 'webhook: {url: "http://127.0.0.1:9/"}, time_limit'})
    service.start()
    try:
        until(lambda: requests(service) and requests(service)[0].stage == Stage.RUNNING.value, "it is running")
        [row] = requests(service)
        assert row.stage == Stage.RUNNING.value
    finally:
        service.stop()
