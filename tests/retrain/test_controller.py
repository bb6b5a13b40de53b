"""The loop on a service: asked by an alert, trained in a process of its own, judged, promoted, rolled back."""

from __future__ import annotations

import time
from collections.abc import Callable
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import msgspec
import polars as pl
import pytest

from driftline.config.load import load
from driftline.errors import ConflictError, UsageError
from driftline.monitoring.rebuild import rebuild
from driftline.retrain.controller import RetrainingController, open_controller
from driftline.retrain.registry import Version
from driftline.retrain.request import Stage
from driftline.retrain.requests import AskBody, ask_by_person, decide_by_person
from driftline.retrain.views import champion_view, request_view, requests_view
from driftline.rules.contest import Contest
from driftline.service.runtime import Service
from driftline.store.retraining import Retraining
from tests.support.churn import MODEL, START, label, prediction, write_config
from tests.support.retraining import NOW, TRAIN, day, days, loop, requests
from tests.support.steps import deliver, retrained, work


def reopened(service: Service) -> RetrainingController:
    """The loop as a service that is started again has it."""
    loop = service.loop
    return open_controller(loop.configs, service.models, service.state, loop.registry, loop.folder, lambda line: None)


def test_an_alert_asks_the_challenger_wins_and_is_baked(lived: Callable[..., Service], tmp_path: Path) -> None:
    service = lived()
    row = loop(service)
    assert (row.trigger, row.reason, row.by) == ("alert", "the alert accuracy-low is firing", "driftline")
    assert (row.stage, row.version, row.champion) == (Stage.BAKING.value, "v2", "v1")
    contest = msgspec.json.decode(row.contest, type=Contest)
    assert contest.decision == "promote"
    assert contest.difference.first == pytest.approx(0.9)
    assert contest.difference.second == pytest.approx(0.1)
    assert champion_view(service.loop, MODEL).champion == "v2"
    assert champion_view(service.loop, MODEL).on_probation
    learned = service.loop.registry.path(MODEL, "v2") / "model.json"
    assert msgspec.json.decode(learned.read_bytes()) == {"basic": 1, "pro": 0}
    version = service.loop.registry.version(MODEL, "v2")
    assert (version.parent, version.code, version.signature) == ("v1", "abc", {"age": "numeric", "plan": "categorical"})
    days(service, 12, 17, version="v2")
    assert loop(service).stage == Stage.PROMOTED.value
    view = champion_view(service.loop, MODEL)
    assert (view.champion, view.previous, view.on_probation) == ("v2", "v1", False)
    stages = [step.stage for step in request_view(service.state, row.id).steps]
    assert stages == ["asked", "prepared", "running", "ran", "promoting", "baking", "promoted"]


def test_the_rows_of_a_run_are_of_before_and_after(lived: Callable[..., Service], tmp_path: Path) -> None:
    service = lived()
    row = loop(service)
    run = tmp_path / "data" / "runs" / row.id
    train, rows = pl.read_parquet(run / "train.parquet"), pl.read_parquet(run / "evaluation.parquet")
    assert train["time"].max() < rows["time"].min()  # type: ignore[operator]
    assert (len(train), len(rows)) == (200, 200)
    assert "prediction" not in train.columns


def test_by_default_a_person_approves_or_refuses(lived: Callable[..., Service]) -> None:
    service = lived(approval="manual")
    row = loop(service)
    assert row.stage == Stage.WAITING.value
    assert row.note.endswith("A person has to approve.")
    assert champion_view(service.loop, MODEL).champion == "v1"
    decide_by_person(service.config.retrain, service.state, row.id, Stage.PROMOTING, AskBody("ann", "looks right"), NOW)
    with pytest.raises(ConflictError, match="only one that is waiting"):
        decide_by_person(service.config.retrain, service.state, row.id, Stage.REFUSED, AskBody("bob", "no"), NOW)
    assert loop(service).stage == Stage.BAKING.value
    assert champion_view(service.loop, MODEL).champion == "v2"
    [step] = [one for one in request_view(service.state, row.id).steps if one.stage == "promoting"]
    assert (step.by, step.note) == ("ann", "looks right")


def test_one_that_a_person_refuses_is_not_promoted(lived: Callable[..., Service]) -> None:
    service = lived(approval="manual")
    row = loop(service)
    decide_by_person(
        service.config.retrain, service.state, row.id, Stage.REFUSED, AskBody("bob", "not before the holidays"), NOW
    )
    assert loop(service).stage == Stage.REFUSED.value
    assert champion_view(service.loop, MODEL).champion == "v1"


def test_none_is_approved_that_nothing_would_promote(lived: Callable[..., Service]) -> None:
    service = lived(approval="manual")
    row = loop(service)
    with pytest.raises(ConflictError, match=f"{MODEL} has no `retrain` in the configuration any more"):
        decide_by_person({}, service.state, row.id, Stage.PROMOTING, AskBody("ann", "looks right"), NOW)
    assert loop(service).stage == Stage.WAITING.value
    decide_by_person({}, service.state, row.id, Stage.REFUSED, AskBody("ann", "it is gone"), NOW)
    assert loop(service).stage == Stage.REFUSED.value


def test_a_bad_champion_is_rolled_back_by_its_alert(lived: Callable[..., Service]) -> None:
    service = lived()
    first = loop(service)
    assert first.stage == Stage.BAKING.value
    days(service, 12, 14, version="v2")  # the alert of before ends
    days(service, 14, 16, version="v2", flipped=False)  # and the world turns back
    loop(service)
    after, row = requests(service)
    assert row.id == first.id
    assert row.stage == Stage.ROLLED_BACK.value
    assert row.note == "accuracy-low fires on windows since the promotion; v1 is champion again"
    assert champion_view(service.loop, MODEL).champion == "v1"
    # The alert still fires and asks for another one; the same version under its old name is not judged again.
    assert (after.stage, after.trigger) == (Stage.FAILED.value, "alert")
    assert "there is a version v2 of churn already" in after.note


def test_a_person_rolls_back_while_it_is_on_probation(lived: Callable[..., Service]) -> None:
    service = lived()
    with pytest.raises(ConflictError, match="on probation"):
        service.loop.roll_back(MODEL, "ann", "complaints", NOW)
    loop(service)
    row = service.loop.roll_back(MODEL, "ann", "complaints", NOW)
    assert (row.stage, row.note) == (Stage.ROLLED_BACK.value, "ann: complaints")
    assert champion_view(service.loop, MODEL).champion == "v1"


def test_a_promotion_that_was_not_stored_can_be_rolled_back(
    lived: Callable[..., Service], monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is on probation from the moment in which it is champion, and whoever sees that may roll back."""
    service = lived()
    real = Retraining.move

    def move(self: Retraining, id: str, before: str, after: str, at: datetime, **values: Any) -> bool:
        if after == Stage.BAKING.value:
            raise KeyboardInterrupt(after)
        return real(self, id, before, after, at, **values)

    with monkeypatch.context() as dying:
        dying.setattr(Retraining, "move", move)
        with pytest.raises(KeyboardInterrupt):
            loop(service)
    view = champion_view(service.loop, MODEL)
    assert (requests(service)[-1].stage, view.champion, view.on_probation) == (Stage.PROMOTING.value, "v2", True)
    row = service.loop.roll_back(MODEL, "ann", "complaints", NOW)
    assert (row.stage, row.note) == (Stage.ROLLED_BACK.value, "ann: complaints")
    view = champion_view(service.loop, MODEL)
    assert (view.champion, view.on_probation) == ("v1", False)


def test_a_rollback_that_was_done_and_not_stored_is_no_promotion(
    lived: Callable[..., Service], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Dies between the alias that goes back and the row that says so, whoever rolls back."""
    service = lived()
    loop(service)

    def die(*_: object, **__: object) -> bool:
        raise KeyboardInterrupt

    with monkeypatch.context() as dying:
        dying.setattr(Retraining, "move", die)
        with pytest.raises(KeyboardInterrupt):
            service.loop.roll_back(MODEL, "ann", "complaints", NOW)
    service.loop = reopened(service)
    service.loop.step(MODEL, NOW)
    row = requests(service)[-1]
    assert (row.stage, row.note) == (Stage.ROLLED_BACK.value, "it was rolled back: v1 is champion again")
    assert service.loop.registry.aliases(MODEL) == {"champion": "v1", "rolled_back": "v2"}


def test_a_champion_that_was_followed_by_another_is_on_probation_no_longer(lived: Callable[..., Service]) -> None:
    service = lived()
    first = loop(service)
    assert first.stage == Stage.BAKING.value
    registry = service.loop.registry
    registry.register(Version(MODEL, "by-hand", NOW), {})
    registry.promote(MODEL, "by-hand", "v2")
    assert not champion_view(service.loop, MODEL).on_probation
    days(service, 12, 14, version="v2", flipped=False)  # an alert on its windows would roll it back
    loop(service)
    row = next(one for one in requests(service) if one.id == first.id)
    assert (row.stage, row.note) == (Stage.PROMOTED.value, "its probation is over: by-hand is champion by now")
    assert champion_view(service.loop, MODEL).champion == "by-hand"


def test_a_challenger_that_is_no_better_is_held(lived: Callable[..., Service]) -> None:
    same = TRAIN.replace('pl.col("plan").replace_strict(learned, default=0)', 'pl.col("prediction")')
    service = lived(train=same)
    row = loop(service)
    assert row.stage == Stage.HELD.value
    assert "is not shown to be better" in row.note
    assert champion_view(service.loop, MODEL).champion == "v1"
    assert [one.version for one in service.loop.registry.versions(MODEL)] == ["v1", "v2"]
    day(service, 12)
    service.loop.step(MODEL, NOW)
    assert len(requests(service)) == 1  # the cooldown
    day(service, 13)
    service.loop.step(MODEL, NOW)
    assert len(requests(service)) == 2  # and it still fires


@pytest.mark.parametrize(
    ("train", "why"),
    [
        ("def train(run):\n    raise ValueError('no rows')\n", "no rows"),
        (
            "def train(run):\n    return {'version': 'v2', 'predictions': {'challenger': 'x'}}\n",
            "'x', which is no file",
        ),
        (TRAIN.replace('"version": "v2"', '"version": "v1"'), "calls its challenger v1, as the champion"),
        (TRAIN.replace('"id", prediction', '"age", prediction'), "has no column 'id'"),
        (
            TRAIN.replace('(run / "model', '(run / "evaluation.parquet").unlink()\n    (run / "model'),
            "evaluation.parquet, which the challenger is judged by, cannot be read: No such file",
        ),
        (  # the champion is wrong everywhere
            TRAIN.replace(
                '(run / "model',
                """rows.with_columns(prediction=1 - pl.col("label")).write_parquet(run / "evaluation.parquet")
    (run / "rows.json").unlink()
    (run / "model""",
            ),
            "evaluation.parquet, which the challenger is judged by, is not as it was handed out",
        ),
    ],
)
def test_a_run_that_fails_says_why_and_leaves_the_champion(lived: Callable[..., Service], train: str, why: str) -> None:
    service = lived(train=train)
    row = loop(service)
    assert row.stage == Stage.FAILED.value
    assert why in row.note
    assert champion_view(service.loop, MODEL).champion in (None, "v1")


def test_a_challenger_that_leaves_rows_out_is_held(lived: Callable[..., Service]) -> None:
    service = lived(train=TRAIN.replace('rows.select("id"', 'rows.head(150).select("id"'))
    row = loop(service)
    assert (row.stage, row.note) == (Stage.HELD.value, "v2 has no answer to 50 of 200 rows.")


def test_broken_labels_keep_every_request_out(make: Callable[..., Service]) -> None:
    service = make()
    days(service, 0, 7)
    for number in range(7, 12):  # whatever happens, the labels say 0
        predictions = [prediction(f"{number}-{index}", number + index / 100, said=index % 2) for index in range(40)]
        deliver(service, "predictions", predictions)
        deliver(service, "labels", [label(f"{number}-{index}", number + 0.9, truth=0) for index in range(40)])
        work(service)
    assert not service.loop.step(MODEL, NOW)
    view = requests_view(service.state, service.models[MODEL], service.config.retrain[MODEL], most=10)
    assert view.requests == []
    assert view.blocked.startswith(
        "the alert accuracy-low is firing, but the labels cannot be trusted: 0 of 40 labels are '1', which was"
    )
    with pytest.raises(ConflictError, match="the labels cannot be trusted"):
        ask_by_person(*retrained(service), AskBody("ann", "try"), NOW)


def test_a_person_asks_and_a_second_one_is_told_to_wait(make: Callable[..., Service]) -> None:
    service = make(approval="manual")
    with pytest.raises(ConflictError, match="no window of churn has been judged yet"):
        ask_by_person(*retrained(service), AskBody("ann", "try"), NOW)
    days(service, 0, 12, flipped=False)
    assert not service.loop.step(MODEL, NOW)  # nothing fires
    row = ask_by_person(
        service.state, service.models[MODEL], service.config.retrain[MODEL], AskBody("ann", "a new library"), NOW
    )
    with pytest.raises(ConflictError, match=f"request {row.id} is going on"):
        ask_by_person(
            service.state, service.models[MODEL], service.config.retrain[MODEL], AskBody("bob", "me too"), NOW
        )
    done = loop(service)
    assert (done.id, done.trigger, done.by, done.stage) == (row.id, "manual", "ann", Stage.HELD.value)


def test_without_retrain_in_the_configuration_nobody_can_ask(tmp_path: Path) -> None:
    service = Service(load(write_config(tmp_path)))
    with pytest.raises(UsageError, match="has no `retrain` in"):
        ask_by_person(*retrained(service), AskBody("ann", "try"), NOW)
    service.stop()


@pytest.mark.parametrize("stage", ["asked", "prepared", "running", "ran", "promoting", "baking"])
def test_a_service_that_dies_after_any_step_goes_on_and_promotes_once(
    lived: Callable[..., Service], tmp_path: Path, stage: str
) -> None:
    counted = TRAIN.replace('"""Learns', 'with open(run.parent / "count", "a") as f: f.write("x")\n    """Learns')
    service = lived(train=counted)
    before = loop(service, until=lambda row: row.stage == stage)
    # A new process knows what is stored, and nothing else.
    again: RetrainingController = reopened(service)
    service.loop = again
    row = loop(service)
    assert (row.id, row.stage) == (before.id, Stage.BAKING.value)
    assert (tmp_path / "data" / "runs" / "count").read_text() == "x"
    assert [one.version for one in again.registry.versions(MODEL)] == ["v1", "v2"]
    stages = [step.stage for step in request_view(service.state, row.id).steps]
    assert len(stages) == len(set(stages))


def test_a_request_waits_while_windows_that_were_built_again_are_judged(lived: Callable[..., Service]) -> None:
    """As after an upgrade: for a moment no window is judged."""
    service = lived()
    asked = loop(service, until=lambda row: row.stage == Stage.ASKED.value)
    rebuild(service.models[MODEL], service.state)
    assert loop(service).stage == Stage.ASKED.value
    work(service)
    row = loop(service)
    assert (row.id, row.stage) == (asked.id, Stage.BAKING.value)


def test_a_step_that_was_done_and_not_stored_is_done_again_without_harm(
    lived: Callable[..., Service], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Dies between what a step does to the outside and the row that says so: for each step."""
    service = lived()
    real = Retraining.move
    died: set[str] = set()

    def move(self: Retraining, id: str, before: str, after: str, at: datetime, **values: Any) -> bool:
        if after not in died:
            died.add(after)
            raise KeyboardInterrupt(after)
        return real(self, id, before, after, at, **values)

    monkeypatch.setattr(Retraining, "move", move)
    end = time.monotonic() + 60
    while not (rows := requests(service)) or rows[0].stage != Stage.BAKING.value:
        try:
            service.loop.step(MODEL, NOW)
        except KeyboardInterrupt:
            service.loop = reopened(service)
        view = champion_view(service.loop, MODEL)
        assert (view.champion == "v2") == view.on_probation == ("baking" in died)  # not a moment without
        assert time.monotonic() < end
    assert died == {"prepared", "running", "ran", "promoting", "baking"}
    assert len(requests(service)) == 1
    assert champion_view(service.loop, MODEL).champion == "v2"
    assert service.loop.registry.aliases(MODEL) == {"champion": "v2", "previous": "v1"}


def test_a_result_that_is_another_when_it_is_judged_fails(lived: Callable[..., Service], tmp_path: Path) -> None:
    service = lived()
    row = loop(service, until=lambda row: row.stage == Stage.RAN.value)
    result = tmp_path / "data" / "runs" / row.id / "result.json"
    result.write_text(result.read_text().replace('"v2"', '"v3"'))
    row = loop(service)
    assert (row.stage, row.note.startswith("the run called its challenger v2, and then v3")) == ("failed", True)


def test_event_time_rules_the_cooldown(lived: Callable[..., Service]) -> None:
    service = lived(train="def train(run):\n    raise ValueError('no')\n")
    first = loop(service)
    service.loop.step(MODEL, NOW + timedelta(days=30))  # a month by the clock, and no new event
    assert [row.id for row in requests(service)] == [first.id]
    assert first.event_time > START
