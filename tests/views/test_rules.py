"""What the page says would have fired is what a service fires that is configured so, on the same windows."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from msgspec.structs import replace

from driftline.config.load import load
from driftline.errors import UnknownNameError
from driftline.rules import Rule
from driftline.service.runtime import Service
from driftline.views.rules import TRIED_WINDOWS
from tests.support.churn import MODEL, write_config
from tests.support.steps import send_day, work

RIGHT = (58, 40, 44, 57, 20, 42, 58, 30, 59, 44, 41, 57)
"""Of sixty rows a day so many are right."""

OTHERS = ((0.5, 1), (0.8, 2))


def told(folder: Path, *changes: tuple[str, str]) -> Service:
    """A service on these days, with other rules."""
    path = write_config(folder)
    text = path.read_text()
    for before, after in changes:
        assert before in text
        text = text.replace(before, after)
    path.write_text(text)
    service = Service(load(path))
    for day, right in enumerate(RIGHT):
        send_day(service, day, right=right, wrong=60 - right)
        work(service)
    send_day(service, len(RIGHT) + 3, right=60, wrong=0)
    work(service)
    return service


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    each = "{name: each, measure: accuracy, below: 0.9, version: each}"
    recall = "        - {name: recall-low"
    found = told(tmp_path_factory.mktemp("rules"), (recall, f"        - {each}\n{recall}"))
    yield found
    found.stop()


@pytest.mark.parametrize(("threshold", "windows"), OTHERS)
def test_what_would_have_fired_is_what_such_a_service_fires(
    service: Service, threshold: float, windows: int, tmp_path: Path
) -> None:
    rule = Rule("accuracy-low", "accuracy", below=threshold, for_windows=windows, severity="page")
    found = service.views.try_rule(MODEL, rule)
    other = told(tmp_path, ("below: 0.75, severity: page", f"below: {threshold}, for: {windows}, severity: page"))
    try:
        fired = {
            (one.window.start, one.value, one.threshold)
            for one in other.views.alerts(MODEL)
            if one.rule == "accuracy-low"
        }
    finally:
        other.stop()
    assert {(one.window.start, one.value, one.threshold) for one in found.after.alerts} == fired
    assert len(found.windows) == len(RIGHT) == found.after.windows


def test_as_it_is_it_is_what_has_fired(service: Service) -> None:
    for rule in service.config.models[MODEL].rules:
        found = service.views.try_rule(MODEL, rule)
        assert found.before == found.after
        fired = {one.window.start for one in service.views.alerts(MODEL) if one.rule == rule.name}
        assert {one.window.start for one in found.after.alerts} == fired


def test_a_rule_of_slices_is_tried_on_each_of_them(service: Service) -> None:
    [rule] = [one for one in service.config.models[MODEL].rules if one.name == "each"]
    found = service.views.try_rule(MODEL, replace(rule, below=0.6))
    assert found.slice.version == "v1" and {one.slice for one in found.after.alerts} == {"version = v1"}


def test_the_rules_say_the_newest_judged_window_and_count_what_fired(service: Service) -> None:
    seen = service.views.rules(MODEL)
    assert seen.window is not None
    newest = [one for one in service.views.windows(MODEL) if one.summary.stage == "judged"][-1]
    assert (seen.window.start, seen.window.end) == (newest.summary.start, newest.summary.end)
    for one in seen.rules:
        said = [verdict for verdict in newest.verdicts if verdict.rule == one.rule.name]
        assert [(slice, verdict.value) for slice, verdict in one.verdicts] == [
            (each.slice, each.value) for each in said
        ]
        mine = [alert for alert in service.views.alerts(MODEL) if alert.rule == one.rule.name]
        assert (one.fired, one.firing) == (len(mine), sum(alert.status == "firing" for alert in mine))


def test_only_the_newest_windows_are_read(service: Service, monkeypatch: pytest.MonkeyPatch) -> None:
    assert TRIED_WINDOWS >= 365
    monkeypatch.setattr("driftline.views.rules.TRIED_WINDOWS", 5)
    [rule, *_] = service.config.models[MODEL].rules
    found = service.views.try_rule(MODEL, rule)
    assert len(found.windows) == 5 and found.windows[-1].window.end > found.windows[0].window.end
    with pytest.raises(UnknownNameError, match="unknown rule of churn 'gone'"):
        service.views.try_rule(MODEL, Rule("gone", "accuracy", below=0.5))
