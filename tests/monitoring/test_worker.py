"""What happens to events after their 202: windows, late and early labels, duplicates, alerts, corrections."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from sklearn.metrics import accuracy_score, f1_score, log_loss, precision_score, recall_score

from driftline.alerts.message import AlertView
from driftline.config.load import Config, load
from driftline.errors import ConflictError, UsageError
from driftline.events import Label, Prediction
from driftline.monitoring.agreement import agree
from driftline.monitoring.rebuild import rebuild
from driftline.service.jobs import Pass
from driftline.service.runtime import Service
from driftline.store.inbox import Delivery
from driftline.views.values import WindowView
from tests.support.churn import MODEL, START, label, prediction, write_config
from tests.support.known import known_of
from tests.support.steps import a_day, deliver, send_day, work


def windows(service: Service) -> list[WindowView]:
    return service.views.windows(MODEL)


def alerts(service: Service) -> list[AlertView]:
    return service.views.alerts(MODEL)


def test_an_accuracy_that_falls_fires_and_one_that_recovers_resolves(service: Service) -> None:
    for day, wrong in enumerate((4, 5, 30, 30, 4, 4)):
        send_day(service, day, right=60 - wrong, wrong=wrong)
        work(service)
    send_day(service, 6, right=1, wrong=0)  # event time passes the end of the last full day
    work(service)
    [alert] = alerts(service)
    assert (alert.rule, alert.status, alert.title) == ("accuracy-low", "resolved", "Model accuracy below threshold!")
    assert alert.value == 0.5 and alert.high is not None and alert.high < 0.75
    assert [step.kind for step in alert.history] == ["fired", "updated", "resolved"]
    assert [one.verdicts[0].state for one in windows(service)[:6]] == ["ok", "ok", "breach", "breach", "ok", "ok"]
    assert alert.findings is not None and any("plan" in sentence for sentence in alert.findings.sentences)


def test_a_window_is_judged_when_its_labels_are_in_or_overdue_and_not_before(service: Service) -> None:
    predictions, labels = a_day(0, right=20, wrong=20)
    deliver(service, "predictions", predictions)
    work(service)
    assert windows(service)[0].summary.stage == "open"
    deliver(service, "predictions", [prediction("next", 1.5, said=1)])
    deliver(service, "labels", labels[:39])
    work(service)
    assert windows(service)[0].summary.stage == "waiting for labels"
    assert not alerts(service)
    deliver(service, "predictions", [prediction("later", 3.0, said=1)])  # two days after the window's end
    work(service)
    assert windows(service)[0].summary.stage == "judged"
    assert windows(service)[0].summary.coverage.value == 39 / 40
    assert [alert.status for alert in alerts(service)] == ["firing"]


def test_corrected_labels_judge_again_and_keep_what_was_known_then(service: Service) -> None:
    send_day(service, 0, right=20, wrong=20)
    deliver(service, "predictions", [prediction("next", 1.5, said=1)])
    work(service)
    assert [alert.status for alert in alerts(service)] == ["firing"]
    _, truth = a_day(0, right=40, wrong=0)
    deliver(service, "labels", truth)
    [event] = work(service)
    assert event.kind.value == "corrected"
    [alert] = alerts(service)
    assert (alert.status, alert.value, alert.value_now) == ("corrected", 0.5, 1.0)
    with service.state.read() as read:
        history = read.judgements.find(MODEL, rule="accuracy-low", current=False)
    assert [(one.value, one.state, one.current) for one in history] == [(0.5, "breach", False), (1.0, "ok", True)]
    assert work(service) == []  # nothing is left to do


def test_measures_are_those_of_scikit_learn_on_the_same_rows(service: Service) -> None:
    send_day(service, 0, right=33, wrong=8)
    deliver(service, "predictions", [prediction("next", 1.5, said=1)])
    work(service)
    predictions, labels = a_day(0, right=33, wrong=8)
    said = [row["prediction"] for row in predictions]
    truth = [row["label"] for row in labels]
    score = [row["score"] for row in predictions]
    shown = {name: view.value for name, view in windows(service)[0].summary.performance.items()}
    assert shown["accuracy"] == pytest.approx(accuracy_score(truth, said), abs=1e-12)
    assert shown["precision"] == pytest.approx(precision_score(truth, said), abs=1e-12)
    assert shown["recall"] == pytest.approx(recall_score(truth, said), abs=1e-12)
    assert shown["f1"] == pytest.approx(f1_score(truth, said), abs=1e-12)
    assert shown["log_loss"] == pytest.approx(log_loss(truth, score), abs=1e-12)


def test_a_label_before_its_prediction_waits_for_it(service: Service) -> None:
    deliver(service, "labels", [label("early", 0.1, truth=1)])
    work(service)
    assert service.views.model(MODEL).waiting_labels == 1
    deliver(service, "predictions", [prediction("early", 0.0, said=1)])
    work(service)
    view = service.views.model(MODEL)
    assert (view.waiting_labels, view.labels, windows(service)[0].summary.labelled) == (0, 1, 1)


def test_repeats_count_once_and_corrections_once_each(service: Service) -> None:
    for _ in range(3):
        deliver(service, "predictions", [prediction("a", 0.0, said=1)] * 2)
        deliver(service, "labels", [label("a", 0.1, truth=1)] * 2)
        work(service)
    deliver(service, "labels", [label("a", 0.2, truth=0), label("a", 0.3, truth=0)])
    work(service)
    view = service.views.model(MODEL)
    assert (view.predictions, view.labels, view.corrected_labels, view.duplicate_events) == (1, 1, 1, 5 + 5 + 1)
    assert service.models[MODEL].log.count("predictions") == 1
    assert service.models[MODEL].log.count("labels") == 2  # both are history; the newest counts
    assert windows(service)[0].summary.performance["accuracy"].value == 0.0


def test_a_label_that_is_too_late_is_counted_and_changes_nothing(service: Service) -> None:
    deliver(service, "predictions", [prediction("a", 0.0, said=1)])
    deliver(service, "labels", [label("a", 31.0, truth=1)])
    work(service)
    view = service.views.model(MODEL)
    assert (view.labels, view.invalid_events) == (0, 1)


def test_a_label_whose_prediction_never_comes_is_given_up_in_the_end(service: Service) -> None:
    deliver(service, "labels", [label("lost", 0.0, truth=1)])
    work(service)
    deliver(service, "predictions", [prediction("much later", 31.0, said=1)])
    work(service)
    view = service.views.model(MODEL)
    assert (view.waiting_labels, view.invalid_events) == (0, 1)


def test_an_idempotency_key_gives_the_first_answer_and_stores_nothing_twice(service: Service) -> None:
    rows = [prediction("a", 0.0, said=1)]
    assert deliver(service, "predictions", rows, key="k") == 1
    assert deliver(service, "predictions", rows, key="k") == 1
    assert service.inbox.waiting_events() == {MODEL: 1}
    with pytest.raises(ConflictError, match="another body"):
        deliver(service, "predictions", [prediction("b", 0.0, said=1)], key="k")


def test_windows_of_two_versions_stand_apart_and_together(service: Service) -> None:
    rows = [prediction(f"p{index}", 0.1, said=1) for index in range(4)]
    for row in rows[:1]:
        row["version"] = "v2"
    deliver(service, "predictions", rows)
    work(service)
    assert [one.summary.predictions for one in service.views.windows(MODEL)] == [4]
    assert [one.summary.predictions for one in service.views.windows(MODEL, version="v1")] == [3]
    assert service.views.model(MODEL).versions == ["v1", "v2"]


def test_everything_is_still_there_after_a_restart(config: Config) -> None:
    service = Service(config)
    send_day(service, 0, right=20, wrong=20)
    deliver(service, "predictions", [prediction("next", 1.5, said=1)])
    work(service)
    before = (service.views.model(MODEL), alerts(service), windows(service))
    service.stop()
    again = Service(config)
    assert work(again) == []
    assert (again.views.model(MODEL), alerts(again), windows(again)) == before
    again.stop()


def test_another_window_length_rebuilds_the_windows_from_the_log(tmp_path: Path) -> None:
    path = write_config(tmp_path)
    service = Service(load(path))
    for day in range(3):
        send_day(service, day, right=20, wrong=0)
    work(service)
    assert service.views.model(MODEL).windows == 3
    service.stop()
    path.write_text(path.read_text().replace("window: 1d", "window: 1w"))
    again = Service(load(path))
    assert again.models[MODEL].rebuild
    assert rebuild(again.models[MODEL], again.state).windows == 1
    work(again)
    [window] = windows(again)
    assert (window.summary.predictions, window.summary.labelled) == (60, 60)
    again.stop()


def test_another_reference_is_read_again_and_the_same_one_is_not(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = write_config(tmp_path)
    first = Service(load(path))
    reference = first.models[MODEL].reference
    first.stop()
    with monkeypatch.context() as patch:
        patch.setattr("driftline.monitoring.hiding.open_rows", lambda *given: pytest.fail("the reference is stored"))
        again = Service(load(path))
    assert again.models[MODEL].reference == reference
    again.stop()
    rows = pl.read_parquet(tmp_path / "reference.parquet")
    rows.head(300).write_parquet(tmp_path / "reference.parquet")
    other = Service(load(path))
    assert other.models[MODEL].rebuild
    assert other.models[MODEL].reference.profile.predictions == 300
    other.stop()


def test_a_new_rule_judges_the_past_and_a_removed_one_goes_quiet(tmp_path: Path) -> None:
    path = write_config(tmp_path)
    service = Service(load(path))
    send_day(service, 0, right=30, wrong=10)
    deliver(service, "predictions", [prediction("next", 1.5, said=1)])
    work(service)
    assert not alerts(service)
    service.stop()
    path.write_text(path.read_text().replace("below: 0.75", "below: 0.99").replace("recall-low", "recall-poor"))
    again = Service(load(path))
    work(again)
    assert [alert.rule for alert in alerts(again)] == ["accuracy-low"]
    assert {one.rule for one in windows(again)[0].verdicts} == {"accuracy-low", "recall-poor"}
    again.stop()


def test_other_floors_judge_the_past_again(tmp_path: Path) -> None:
    path = write_config(tmp_path)
    service = Service(load(path))
    send_day(service, 0, right=40, wrong=0)
    deliver(service, "predictions", [prediction("next", 1.5, said=1)])
    work(service)
    assert windows(service)[0].summary.drift["age"].drifted  # everybody is 40
    service.stop()
    path.write_text(path.read_text().replace("alerts:", "alerts:\n      floors: {wasserstein: 1000, js: 1, unseen: 1}"))
    again = Service(load(path))
    work(again)
    view = windows(again)[0].summary.drift["age"]
    assert not view.drifted and view.value is not None
    again.stop()


def test_a_second_service_on_the_same_storage_is_refused(service: Service, config: Config) -> None:
    with pytest.raises(UsageError, match="in use by another driftline"):
        Service(config)


def test_verdicts_stand_in_the_order_of_the_rules(config: Config) -> None:
    """Whichever was stored first: a program may count on it."""
    service = Service(config)
    send_day(service, 0, right=40, wrong=2)
    deliver(service, "predictions", [prediction("next", 1.5, said=1)])
    work(service)
    rules = [rule.name for rule in config.models[MODEL].rules]
    assert [one.rule for one in windows(service)[0].verdicts] == rules
    with service.state.work() as change:
        [first, *_] = change.judgements.find(MODEL, rule=rules[0])
        change.judgements.retire(first)
        change.judgements.put(first)
    assert [one.rule for one in windows(service)[0].verdicts] == rules
    service.stop()


def test_trouble_that_is_over_is_not_shown_while_events_keep_coming(
    service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("driftline.service.worker.drain", lambda *_: 1)  # there is always more
    service.worker.guard("alerts", lambda: 1 / 0)
    assert set(service.worker.problems) == {"alerts"}
    assert service.worker.step() is Pass.AGAIN
    assert service.worker.problems == {}


def test_keys_that_could_not_be_forgotten_are_forgotten_in_the_next_pass(
    service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    answers = iter([OSError("away"), None, OSError("not asked again within the hour")])

    def forget(*_: object) -> None:
        if (error := next(answers)) is not None:
            raise error

    monkeypatch.setattr(service.inbox, "forget_receipts", forget)
    service.worker.step()
    assert set(service.worker.problems) == {"receipts"}
    for _ in range(2):
        service.worker.step()
        assert service.worker.problems == {}


def test_an_id_is_known_as_long_as_labels_are_accepted_for_it_and_a_day_longer(service: Service) -> None:
    """`accepted_for` is 30 days here. A label that comes after that finds no prediction; the log is as it was."""

    def came(day: float, rows: list[Any], kind: Any) -> None:
        times = [START + timedelta(days=day)] * len(rows)
        events: list[Any] = (
            [Label(id=id, label="1", time=time) for id, time in zip(rows, times, strict=True)]
            if kind == "labels"
            else [
                Prediction(
                    id=id,
                    time=time,
                    version="v1",
                    features={"age": 40.0, "plan": "pro"},
                    prediction="1",
                    score={},
                    latency_seconds=None,
                )
                for id, time in zip(rows, times, strict=True)
            ]
        )
        service.inbox.accept(Delivery(MODEL, kind, times[0], events))
        work(service)

    came(0, ["a", "b"], "predictions")
    came(30.9, ["c"], "predictions")
    came(30.9, ["a"], "predictions")
    came(30.9, ["b"], "labels")
    view = service.views.model(MODEL)
    assert (view.predictions, view.labels, view.waiting_labels) == (3, 0, 0)  # a duplicate, and a label too late
    came(31.1, ["d"], "predictions")
    came(31.2, ["b"], "labels")
    assert service.views.model(MODEL).waiting_labels == 1
    came(62.5, ["e"], "predictions")
    view = service.views.model(MODEL)
    assert (view.predictions, view.labels, view.waiting_labels) == (5, 0, 0)
    with service.state.read() as read:
        counters = read.counters.of(MODEL)
        assert sorted(known_of(read, MODEL, "abcde")) == ["e"]
    assert counters["invalid_events", "label.too_late"] == counters["invalid_events", "label.no_prediction"] == 1
    assert counters["duplicate_events", "prediction"] == 1
    assert rebuild(service.models[MODEL], service.state).differing == ()
    assert agree(service.models[MODEL], service.state) is service.models[MODEL]
