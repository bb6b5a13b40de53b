"""Rules that are changed, removed and brought back while an alert fires: applied, and said as what they are."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from driftline.config.load import load
from driftline.errors import StorageError
from driftline.monitoring.alerting import AlertEvent, end_orphans
from driftline.monitoring.model import remember_rules
from driftline.rules import Rule, Severity
from driftline.rules.rule import difference
from driftline.service.runtime import Service
from tests.support.churn import MODEL, label, prediction, write_config
from tests.support.steps import NOW, deliver, send_day, work

PAGE = "{name: low, measure: accuracy, below: 0.75, severity: page}"


class Story:
    """One model over many starts, each with rules of its own."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def start(self, *rules: str, model: str = MODEL) -> Service:
        path = write_config(self.folder)
        head, _, rest = path.read_text().partition("      rules:\n")
        lines = "".join(f"        - {rule}\n" for rule in rules)
        text = f"{head}      rules:\n{lines}storage:{rest.partition('storage:')[2]}".replace("churn:", f"{model}:")
        path.write_text(text)
        service = Service(load(path))
        path.unlink()
        return service

    def run(self, *rules: str, model: str = MODEL) -> list[AlertEvent]:
        """Start with rules, judge what is stored, and stop; what people hear of."""
        service = self.start(*rules, model=model)
        known = {name: {rule.name for rule in one.rules} for name, one in service.config.models.items()}
        with service.state.work() as change:
            events = end_orphans(change, known, NOW)
        events += work(service)
        for one in service.models.values():
            remember_rules(one, service.state)
        service.stop()
        return events

    def steps(self, *rules: str) -> list[tuple[str, str]]:
        service = self.start(*rules)
        [alert] = service.views.alerts(MODEL)
        service.stop()
        return [(step.kind, step.reason) for step in alert.history]


@pytest.fixture
def story(tmp_path: Path) -> Story:
    """Two days that are right in half of the rows, of which the rule has made an alert that goes on."""
    story = Story(tmp_path)
    service = story.start(PAGE)
    for day in (0, 1):
        send_day(service, day, right=30, wrong=30)
    deliver(service, "predictions", [prediction("next", 2.5, said=1)])
    [fired] = work(service)
    assert fired.alert.rule == "low"
    remember_rules(service.models[MODEL], service.state)
    service.stop()
    return story


def told(events: list[AlertEvent]) -> list[tuple[str, str, str]]:
    return [(event.kind.value, event.alert.severity, event.reason) for event in events]


def test_another_severity_holds_for_the_alert_that_goes_on(story: Story) -> None:
    rule = PAGE.replace("page", "info")
    [event] = story.run(rule)
    assert told([event]) == [("changed", "info", "the rule was changed: severity page → info")]
    assert event.before is not None
    assert event.before.severity == "page"
    assert story.run(rule) == []  # said once
    assert story.steps(rule)[-1] == ("changed", "the rule was changed: severity page → info")


def test_another_threshold_that_is_breached_too_is_applied(story: Story) -> None:
    [event] = story.run(PAGE.replace("0.75", "0.8"))
    assert told([event]) == [("changed", "page", "the rule was changed: accuracy < 0.75 → accuracy < 0.8")]
    assert (event.alert.threshold, event.alert.value) == (0.8, 0.5)


def test_what_is_no_breach_by_the_new_rule_is_over_and_not_taken_back(story: Story) -> None:
    rule = PAGE.replace("0.75", "0.2")
    reason = "the rule was changed: accuracy < 0.75 → accuracy < 0.2; by it, its windows are no breach"
    assert told(story.run(rule)) == [("resolved", "page", reason)]
    assert story.run(rule) == []
    service = story.start(rule)
    send_day(service, 5, right=60, wrong=0)  # nor is it taken back when more is judged
    deliver(service, "predictions", [prediction("later", 6.5, said=1)])
    assert work(service) == []
    assert [alert.status for alert in service.views.alerts(MODEL)] == ["resolved"]
    service.stop()


def test_a_rule_that_asks_for_more_windows_is_applied(story: Story) -> None:
    rule = PAGE.replace("severity", "for: 3, severity")
    assert told(story.run(rule)) == [
        ("resolved", "page", "the rule was changed: for 1 → 3; by it, its windows are no breach")
    ]
    assert story.run(rule) == []


def test_a_rule_of_the_same_name_on_another_measure_ends_the_alert(story: Story) -> None:
    rule = "{name: low, measure: recall, below: 0.2, severity: page}"
    assert told(story.run(rule)) == [("resolved", "page", "the rule was changed: accuracy < 0.75 → recall < 0.2")]
    assert story.run(rule) == []


def test_a_rule_that_is_removed_and_comes_back_says_so_and_the_alert_goes_on(story: Story) -> None:
    other = "{name: other, measure: accuracy, below: 0.1}"
    assert told(story.run(other)) == [("resolved", "page", "the rule was removed from the configuration")]
    [event] = story.run(PAGE)
    assert event.kind.value == "reopened"
    assert event.reason.startswith("the rule is configured again; judged again, it has not ended: accuracy is 0.5")
    assert story.run(PAGE) == []


def test_a_model_that_is_removed_and_comes_back_says_so_and_the_alert_goes_on(story: Story) -> None:
    assert told(story.run(PAGE, model="fraud")) == [
        ("resolved", "page", "the model was removed from the configuration")
    ]
    [event] = story.run(PAGE)
    assert (event.kind.value, event.alert.status) == ("reopened", "firing")
    assert event.reason.startswith("the rule is configured again")


def test_a_change_that_was_not_judged_by_yet_is_said_at_the_next_start(story: Story) -> None:
    rule = PAGE.replace("page", "info")
    story.start(rule).stop()  # killed before it came to judge
    assert [kind for kind, _, _ in told(story.run(rule))] == ["changed"]


def test_late_labels_still_take_an_alert_back_that_lived_through_a_change(story: Story) -> None:
    rule = PAGE.replace("page", "info")
    story.run(rule)
    service = story.start(rule)
    deliver(service, "labels", [label(f"{day}-{at}", 2.6, truth=at % 2) for day in (0, 1) for at in range(60)])
    [event] = work(service)
    assert event.kind.value == "corrected"
    service.stop()


rules = st.builds(
    Rule,
    st.just("a"),
    st.sampled_from(["accuracy", "recall"]),
    below=st.sampled_from([0.5, 0.75]),
    for_windows=st.integers(1, 2),
    severity=st.sampled_from(Severity),
    confidence=st.sampled_from([0.9, 0.95]),
    min_samples=st.integers(0, 2),
    inclusive=st.booleans(),
    clear=st.none() | st.just(0.8),
    keep_firing_for=st.integers(0, 1),
    min_coverage=st.sampled_from([0.0, 0.5]),
)


@given(rules, rules)
def test_every_change_of_a_rule_is_said_and_nothing_else_is(old: Rule, new: Rule) -> None:
    assert (difference(old, new) == "") is (old == new)


def test_a_change_is_told_once_also_where_the_log_is_damaged(story: Story, monkeypatch: pytest.MonkeyPatch) -> None:
    """The first look at the log fails; the rule has judged all windows by then."""
    service = story.start(PAGE.replace("page", "info"))
    monkeypatch.setattr(service.models[MODEL].log, "require_undamaged", fail_to_read)
    service.worker.guard(MODEL, lambda: service.worker.catch_up(MODEL))
    for day in (2, 3):
        send_day(service, day, right=30, wrong=30)
        service.worker.guard(MODEL, lambda: service.worker.work(MODEL))
    assert service.problems == {MODEL: "the log is damaged"}
    service.stop()
    changed = [kind for kind, _ in story.steps(PAGE.replace("page", "info")) if kind == "changed"]
    assert changed == ["changed"]


def fail_to_read() -> None:
    raise StorageError("the log is damaged")
