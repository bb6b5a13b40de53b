"""Shadows: what another version would have said. No window, measure or alert speaks of them; a contest does."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import msgspec
import pytest
from click.testing import CliRunner

from driftline.cli.retrain import command as retrain
from driftline.client import Monitor
from driftline.config.load import load
from driftline.errors import ConflictError, EventError
from driftline.monitoring import ingest
from driftline.retrain.requests import ShadowBody, ask_for_shadow
from driftline.retrain.views import champion_view
from driftline.rules.contest import Contest
from driftline.service.runtime import Service
from tests.retrain.test_surface import client
from tests.support.churn import MODEL, prediction
from tests.support.receiver import Answer, Server
from tests.support.retraining import NOW, configured, days, loop, requests
from tests.support.steps import deliver, work

SECOND = timedelta(seconds=1)


@pytest.fixture
def make(tmp_path: Path) -> Iterator[Callable[..., Service]]:
    made: list[Service] = []

    def one(folder: str = "one", **options: Any) -> Service:
        made.append(Service(load(configured(tmp_path / folder, **options))))
        return made[-1]

    yield one
    for service in made:
        service.stop()


def shadows(first: int, last: int, *, version: str = "v9", right: bool = True, rows: int = 40) -> list[dict[str, Any]]:
    """What a version that knows that the world has turned says of the rows of some days."""
    return [
        prediction(f"{number}-{index}", number + index / rows / 2, said=int((index % 2 == 0) is right))
        | {"version": version, "role": "shadow"}
        for number in range(first, last)
        for index in range(rows)
    ]


def test_windows_measures_and_alerts_are_the_same_with_and_without(make: Callable[..., Service]) -> None:
    alone, beside = make("alone", approval="manual"), make("beside", approval="manual")
    for service in (alone, beside):
        days(service, 0, 6)
    deliver(beside, "predictions", shadows(0, 6))
    work(beside)
    assert beside.views.windows(MODEL) == alone.views.windows(MODEL)
    assert beside.views.model(MODEL).predictions == alone.views.model(MODEL).predictions == 240
    assert beside.views.model(MODEL).versions == ["v1"]
    assert [one.rule for one in beside.views.alerts(MODEL)] == [one.rule for one in alone.views.alerts(MODEL)]
    assert len(beside.models[MODEL].log.shadow_rows("v9")) == 240


def test_a_shadow_may_have_a_name_that_no_run_may_give(make: Callable[..., Service]) -> None:
    service = make(**{"when: {alerts: [accuracy-low]}": "when: {}"})
    days(service, 0, 12)
    deliver(service, "predictions", shadows(3, 11, version="models:/churn/12"))
    work(service)
    ask_for_shadow(
        service.state,
        service.models[MODEL],
        service.config.retrain[MODEL],
        ShadowBody("models:/churn/12", "ann", "a week"),
        NOW,
    )
    done = loop(service)
    assert (done.stage, champion_view(service.loop, MODEL).champion) == ("baking", "models:/churn/12"), done.note


def test_a_shadow_that_is_better_is_promoted_on_the_rows_that_both_have_answered(make: Callable[..., Service]) -> None:
    service = make(approval="manual", **{"when: {alerts: [accuracy-low]}": "when: {}"})
    days(service, 0, 12)
    deliver(service, "predictions", shadows(3, 11))
    deliver(service, "predictions", shadows(3, 11, right=False))  # sent again, and otherwise: the first counts
    work(service)
    row = ask_for_shadow(
        service.state,
        service.models[MODEL],
        service.config.retrain[MODEL],
        ShadowBody("v9", "ann", "it has run for a week"),
        NOW,
    )
    done = loop(service)
    assert (done.id, done.trigger, done.version, done.champion, done.stage) == (row.id, "shadow", "v9", "v1", "waiting")
    contest = msgspec.json.decode(done.contest, type=Contest)
    assert contest.difference.n == contest.rows == 8 * 40
    assert contest.difference.first == pytest.approx(0.9)
    assert next(one.passed for one in contest.gates if one.name == "leakage") is None
    assert service.loop.registry.version(MODEL, "v9").files == {}


def test_one_that_is_worse_is_held_and_one_that_said_nothing_fails(make: Callable[..., Service]) -> None:
    service = make(**{"when: {alerts: [accuracy-low]}": "when: {}"})
    days(service, 0, 12, flipped=False)
    deliver(service, "predictions", shadows(2, 11))
    work(service)
    ask_for_shadow(
        service.state, service.models[MODEL], service.config.retrain[MODEL], ShadowBody("v9", "ann", "?"), NOW
    )
    assert loop(service).stage == "held"
    ask_for_shadow(
        service.state, service.models[MODEL], service.config.retrain[MODEL], ShadowBody("v10", "ann", "?"), NOW + SECOND
    )
    failed = loop(service)
    assert failed.stage == "failed"
    assert "has an answer of v10 as a shadow; log its predictions with `role: shadow`" in failed.note


def test_a_worker_that_dies_in_between_keeps_each_shadow_once(
    make: Callable[..., Service], monkeypatch: pytest.MonkeyPatch
) -> None:
    service = make()
    days(service, 0, 1)
    deliver(service, "predictions", shadows(0, 1))
    real = ingest._update_model

    def dies(*args: Any) -> Any:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(ingest, "_update_model", dies)
        with pytest.raises(KeyboardInterrupt):
            work(service)
    assert ingest._update_model is real
    work(service)
    assert service.models[MODEL].log.count("shadow") == 40
    with service.state.read() as read:
        assert read.counters.of(MODEL)["shadow_predictions", "v9"] == 40


@pytest.mark.parametrize("missing", ["id", "version"])
def test_a_shadow_of_nothing_is_refused(make: Callable[..., Service], missing: str) -> None:
    [row] = shadows(0, 1, rows=1)
    with pytest.raises(EventError, match=f"{missing}: is missing; a shadow has the id"):
        deliver(make(), "predictions", [{name: value for name, value in row.items() if name != missing}])
    with pytest.raises(EventError, match="role"):
        deliver(make("other"), "predictions", [row | {"role": "ghost"}])


def test_over_http_and_on_the_command_line(make: Callable[..., Service], tmp_path: Path) -> None:
    service = make(approval="manual", **{"when: {alerts: [accuracy-low]}": "when: {}"})
    days(service, 0, 12)
    http = client(service)
    sent = http.post(f"/api/v1/models/{MODEL}/predictions", json=shadows(3, 11))
    assert (sent.status_code, sent.json()) == (202, {"accepted": 320})
    work(service)
    body = {"version": "v9", "by": "ann", "reason": "a week"}
    asked = http.post(f"/api/v1/models/{MODEL}/shadow-contest", json=body)
    assert (asked.status_code, asked.json()["trigger"]) == (202, "shadow")
    assert http.post(f"/api/v1/models/{MODEL}/shadow-contest", json=body).status_code == 409
    assert loop(service).stage == "waiting"
    words = [MODEL, "--shadow", "v9", "--json", "--config", str(tmp_path / "one" / "driftline.yaml")]
    with pytest.raises(ConflictError, match="is going on"):
        CliRunner().invoke(retrain, words, catch_exceptions=False)
    assert http.post(f"/api/v1/retraining/{requests(service)[0].id}/refuse", json={"by": "a", "reason": "b"}).is_success
    again = CliRunner().invoke(retrain, words, catch_exceptions=False)
    assert (json.loads(again.output)["trigger"], json.loads(again.output)["version"]) == ("shadow", "v9")


def test_the_sdk_sends_shadows_with_the_id_of_the_answer(server: Server) -> None:
    server.answers += [Answer(202, {"Content-Type": "application/json"}, b'{"accepted": 2}')] * 3
    monitor = Monitor(MODEL, url=server.url, version="v1")
    id = monitor.log({"age": 40, "plan": "pro"}, prediction=1)
    assert monitor.log({"age": 40, "plan": "pro"}, prediction=0, id=id, version="v9", role="shadow") == id
    monitor.close()
    sent = [json.loads(line) for request in server.got for line in request.body.splitlines()]
    rows = [row for one in sent for row in (one if isinstance(one, list) else [one])]
    assert [(row["version"], row.get("role")) for row in rows] == [("v1", None), ("v9", "shadow")]
    assert {row["id"] for row in rows} == {id}
