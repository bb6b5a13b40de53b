"""Segments of a served model: profiles by value, alerts of their own, and what their number and size is bounded by."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from functools import reduce
from pathlib import Path
from typing import Any

import msgspec
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec import structs

from driftline.config.load import Config, load
from driftline.errors import ConfigError
from driftline.events import MISSING_VALUE, OTHER_VALUES, WHOLE, Segment, Slice, slice_of
from driftline.exporters.samples import Monitor, ServiceMetrics
from driftline.monitoring.alerting import _alert_id
from driftline.monitoring.model import _digest, _digest_of_file
from driftline.monitoring.rebuild import rebuild
from driftline.monitoring.segments import decoded_segments
from driftline.profiles import WindowProfile
from driftline.profiles.performance import merge_performance
from driftline.profiles.segments import MOST_VALUES
from driftline.rules import Rule
from driftline.service.runtime import Service
from driftline.sketches import decode, encode
from driftline.store.alerts import AlertRow
from driftline.store.tables import SUMMARIES, WINDOWS
from driftline.views.metrics import MetricsReader
from driftline.views.values import WindowView
from tests.support.churn import MODEL, label
from tests.support.seasons import ALL_RULE, WHOLE_RULE, day_of, seasons_config, send
from tests.support.steps import NOW, deliver, work

FINE, BAD_WINTER = {"summer": (95, 100), "winter": (38, 40)}, {"summer": (98, 100), "winter": (20, 40)}


@pytest.fixture
def service(tmp_path: Path) -> Iterator[Service]:
    service = Service(seasons_config(tmp_path, WHOLE_RULE, ALL_RULE))
    yield service
    service.stop()


def alerts(service: Service) -> list[AlertRow]:
    with service.state.read() as read:
        return read.alerts.find(MODEL)


def test_one_season_goes_wrong_while_the_whole_looks_fine(service: Service) -> None:
    for day in range(3):
        send(service, day, FINE if day == 0 else BAD_WINTER)
    send(service, 3, FINE)
    work(service)
    [alert] = alerts(service)
    assert (alert.rule, alert.segment, alert.version, alert.status) == ("segment-low", "season=winter", "", "firing")
    assert alert.title == "Model accuracy below threshold! (season = winter)"
    assert (alert.value, alert.n) == (0.5, 40)


# ---- laws -----------------------------------------------------------------------------------------------------

COUNTS = st.tuples(st.integers(0, 12), st.integers(0, 12)).map(lambda one: (min(one), max(one)))
DAYS = st.lists(st.dictionaries(st.sampled_from(["summer", "winter", "autumn", None]), COUNTS, max_size=4), max_size=3)


@settings(max_examples=10, deadline=None)
@given(days=DAYS, data=st.data())
def test_segments_add_up_and_a_rebuild_finds_them_whatever_comes_late(
    tmp_path_factory: pytest.TempPathFactory, days: list[dict[str | None, tuple[int, int]]], data: st.DataObject
) -> None:
    sent = [day_of(day, right, version=f"v{day % 2}") for day, right in enumerate(days)]
    predictions = data.draw(st.permutations([row for rows, _ in sent for row in rows]))
    labels = data.draw(st.permutations([row for _, rows in sent for row in rows]))
    labels = labels[data.draw(st.integers(0, 4)) :]  # some never come
    late = data.draw(st.integers(0, len(labels)))
    service = Service(seasons_config(tmp_path_factory.mktemp("segments"), ALL_RULE))
    for rows in (predictions[::2], predictions[1::2]):
        deliver(service, "predictions", rows)
    for some in (labels[late:], labels[:late], corrected(labels[:3])):
        deliver(service, "labels", some)
        work(service)
    [model] = service.models.values()
    with service.state.read() as read:
        for row in read.windows.between(MODEL):
            segments = decoded_segments(row.segments).by_segment()
            whole = decode(row.profile, WindowProfile)
            assert sum(one.predictions for one in segments.values()) == row.predictions
            assert sum(one.labelled for one in segments.values()) == row.labelled
            merged = reduce(merge_performance, (one.performance for one in segments.values()), None)
            assert merged == whole.performance
            known = {"summer", "winter", OTHER_VALUES, MISSING_VALUE}
            assert {segment.value for segment in segments} <= known
    assert rebuild(model, service.state).differing == ()
    service.stop()


def corrected(labels: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    return [{**row, "label": 1 - row["label"]} for row in labels]


# ---- small ones, new ones, gaps -------------------------------------------------------------------------------


def windows(service: Service, segment: str) -> list[WindowView]:
    return service.views.windows(MODEL, segment=segment)


def test_a_small_segment_has_too_few_rows_and_not_a_number(service: Service) -> None:
    send(service, 0, {"summer": (60, 60), "winter": (0, 29)})
    send(service, 3, FINE)
    work(service)
    [first, _] = windows(service, "season:winter")
    accuracy = first.summary.performance["accuracy"]
    assert (accuracy.value, accuracy.low, accuracy.problem) == (
        None,
        None,
        "too few rows: 29, where at least 30 are needed",
    )
    [verdict] = first.verdicts
    assert (verdict.state, verdict.segment) == ("nodata", Segment("season", "winter"))
    assert verdict.reason == "accuracy cannot be had: too few rows: 29, where at least 30 are needed"
    assert alerts(service) == []


def test_values_that_the_reference_does_not_have_and_gaps_are_segments_too(service: Service) -> None:
    send(service, 0, {"autumn": (0, 20), "fall": (0, 20), None: (40, 40), "summer": (200, 200)})
    send(service, 3, FINE)
    work(service)
    [others], [missing] = (windows(service, f"season:{value}")[:1] for value in (OTHER_VALUES, MISSING_VALUE))
    assert (others.summary.predictions, others.summary.performance["accuracy"].value) == (40, 0.0)
    assert (missing.summary.predictions, missing.summary.performance["accuracy"].value) == (40, 1.0)
    assert [alert.segment for alert in alerts(service)] == ["season=(other values)"]


def test_a_late_label_opens_its_segment_again(service: Service) -> None:
    send(service, 0, BAD_WINTER)
    send(service, 3, FINE)
    work(service)
    assert [alert.status for alert in alerts(service)] == ["firing"]
    deliver(service, "labels", [label(f"0-winter-v1-{index}", 5, truth=index % 2) for index in range(40)])
    work(service)
    [first, _] = windows(service, "season:winter")
    assert first.summary.performance["accuracy"].value == 1.0
    assert [alert.status for alert in alerts(service)] == ["corrected"]


@pytest.mark.parametrize("later", [[], [11]], ids=["at once", "after a late label"])
def test_the_alert_of_a_segment_that_is_gone_ends_and_says_why(service: Service, later: list[int]) -> None:
    send(service, 0, BAD_WINTER)
    for day in range(1, 7):
        send(service, day, {"summer": (98, 100)})
    send(service, 9, {"summer": (98, 100)})  # six windows without winter are closed
    work(service)
    [alert] = alerts(service)
    assert alert.status == "firing"
    [shown] = service_metrics(service).models
    assert shown.monitors[Monitor("segment-low", alert.slice)] == "nodata"
    send(service, 12, {"summer": (98, 100)})
    work(service)
    for day in later:
        deliver(service, "labels", [label("0-winter-v1-0", day, truth=0)])
        work(service)
    [ended] = alerts(service)
    assert (ended.id, ended.status) == (alert.id, "resolved")
    with service.state.read() as read:
        reason = read.alerts.transitions([alert.id])[alert.id][-1].reason
    assert reason == "7 windows in a row had no such rows, the last from 2024-03-10 00:00 UTC"
    [shown] = service_metrics(service).models
    assert Monitor("segment-low", alert.slice) not in shown.monitors


def test_a_segment_that_comes_back_as_bad_as_it_was_opens_its_alert_again(service: Service) -> None:
    send(service, 0, BAD_WINTER)
    for day in range(1, 9):
        send(service, day, {"summer": (98, 100)})
    work(service)
    send(service, 12, BAD_WINTER)
    send(service, 15, FINE)
    work(service)
    [alert] = alerts(service)
    with service.state.read() as read:
        kinds = [step.kind for step in read.alerts.transitions([alert.id])[alert.id]]
    assert (alert.status, kinds) == ("firing", ["fired", "resolved", "reopened"])


def service_metrics(service: Service) -> ServiceMetrics:
    return MetricsReader(service.config, service.tasks, service.state, service.inbox).snapshot({}, NOW)


# ---- rules ----------------------------------------------------------------------------------------------------


def test_two_versions_and_segments_are_judged_by_themselves(tmp_path: Path) -> None:
    each = "{name: version-low, measure: accuracy, below: 0.75, version: each}"
    one = "{name: new-low, measure: accuracy, below: 0.75, version: v2}"
    service = Service(seasons_config(tmp_path, WHOLE_RULE, ALL_RULE, each, one))
    send(service, 0, {"summer": (100, 100), "winter": (100, 100)})
    send(service, 0, {"summer": (20, 20), "winter": (0, 20)}, version="v2")
    send(service, 3, FINE)
    work(service)
    fired = {(row.rule, row.version, row.segment): row for row in alerts(service)}
    assert fired.keys() == {("version-low", "v2", ""), ("new-low", "v2", "")}  # winter is of both versions together
    assert fired["version-low", "v2", ""].title == "Model accuracy below threshold! (version = v2)"
    with service.state.read() as read:
        judged = {(one.rule, one.slice.words) for one in read.judgements.find(MODEL)}
    assert judged == {
        ("accuracy-low", ""),
        ("segment-low", "season = summer"),
        ("segment-low", "season = winter"),
        ("version-low", "version = v1"),
        ("version-low", "version = v2"),
        ("new-low", "version = v2"),
    }
    service.stop()


def test_a_rule_that_is_no_longer_of_segments_leaves_none_of_their_alerts_firing(tmp_path: Path) -> None:
    service = Service(seasons_config(tmp_path, ALL_RULE))
    send(service, 0, BAD_WINTER)
    send(service, 3, FINE)
    work(service)
    assert [alert.status for alert in alerts(service)] == ["firing"]
    service.stop()
    service = Service(seasons_config(tmp_path, ALL_RULE.replace(", segment: all", "")))
    work(service)
    [alert] = alerts(service)
    with service.state.read() as read:
        assert {one.slice for one in read.judgements.find(MODEL)} == {WHOLE}
        said = read.alerts.transitions([alert.id])[alert.id][-1].reason
    assert alert.status == "resolved"
    assert said == "the rule was changed: segment all → none; by it, its windows are no breach"
    service.stop()


def test_a_column_that_is_no_longer_one_of_segments_corrects_nothing(tmp_path: Path) -> None:
    """What was true stays true: its alerts are over, and say why."""

    def configured(columns: str) -> Config:
        seasons_config(tmp_path, ALL_RULE)
        reference, path = tmp_path / "reference.parquet", tmp_path / "driftline.yaml"
        pl.read_parquet(reference).with_columns(zone=pl.lit("n")).write_parquet(reference)
        path.write_text(path.read_text().replace("segments: [season]", f"segments: [{columns}]"))
        return load(path)

    service = Service(configured("season, zone"))
    send(service, 0, BAD_WINTER)
    send(service, 3, FINE)
    work(service)
    [before] = [alert for alert in alerts(service) if alert.segment == "season=winter"]
    assert before.status == "firing"
    service.stop()
    service = Service(configured("zone"))
    service.worker.catch_up(MODEL)
    [after] = [alert for alert in alerts(service) if alert.segment == "season=winter"]
    assert (after.id, after.status) == (before.id, "resolved")
    with service.state.read() as read:
        assert (
            "season is no longer one of `columns.segments`" in read.alerts.transitions([after.id])[after.id][-1].reason
        )
    service.stop()


@pytest.mark.parametrize("segment", ["none", "all", Segment("season", "winter")])
def test_a_rule_is_known_again_from_the_state(segment: Segment | str) -> None:
    rule = Rule("low", "accuracy", below=0.75, segment=segment)
    assert msgspec.json.decode(msgspec.json.encode(rule), type=Rule) == rule
    slices = [WHOLE, Slice("1"), *(Slice(segment=Segment("season", name)) for name in ("summer", "winter"))]
    expected = {"none": [WHOLE], "all": slices[2:]}.get(str(segment), slices[3:])
    assert [one for one in slices if rule.judges(one)] == expected


def test_an_alert_of_all_rows_has_the_id_that_it_always_had() -> None:
    start = datetime(2024, 3, 1, tzinfo=UTC)
    before = hashlib.sha256(f"churn\nlow\n{start.isoformat()}\n{NOW.isoformat()}".encode()).hexdigest()[:16]
    assert _alert_id("churn", "low", start, NOW, WHOLE) == before
    assert _alert_id("churn", "low", start, NOW, Slice("")) != before


@given(st.builds(Slice, st.none() | st.text(), st.none() | st.builds(Segment, st.text(), st.text())))
def test_the_text_of_a_slice_is_read_back(slice: Slice) -> None:
    assert slice_of(slice.text) == slice
    assert (slice > WHOLE) is (slice != WHOLE)


def test_a_state_of_an_earlier_release_gets_its_segments_from_the_log(tmp_path: Path) -> None:
    """That release had the columns in its configuration, and made nothing of them."""
    config = seasons_config(tmp_path, WHOLE_RULE)
    service = Service(config)
    send(service, 0, BAD_WINTER)
    send(service, 3, FINE)
    work(service)
    [model] = service.models.values()
    one = config.models[MODEL]
    parts = (one.columns, one.task, one.positive, one.window, one.season, _digest_of_file(one.reference))
    with service.state.work() as work_:
        stored = work_.models.get(MODEL)
        assert stored is not None
        schema = encode(structs.replace(model.schema, segments={}, aside=()))
        work_.models.put(replace(stored, schema=schema, fingerprint=_digest(repr(parts).encode())))
        work_.connection.execute(WINDOWS.update().values(segments=None))
        work_.connection.execute(SUMMARIES.delete().where(SUMMARIES.c.slice.not_in([WHOLE, Slice("v1")])))
    service.stop()
    service = Service(seasons_config(tmp_path, WHOLE_RULE, ALL_RULE))
    assert service.models[MODEL].rebuild
    service.worker.catch_up(MODEL)
    assert [alert.segment for alert in alerts(service)] == ["season=winter"]
    assert windows(service, "season:winter")[0].summary.performance["accuracy"].value == 0.5
    assert rebuild(service.models[MODEL], service.state).differing == ()
    service.stop()


# ---- what is refused ------------------------------------------------------------------------------------------


def opened(folder: Path, columns: str, rules: str = "", zones: Sequence[Any] = ("n", "s")) -> Config:
    config = seasons_config(folder, rules)
    frame = pl.read_parquet(config.models[MODEL].reference)
    frame.with_columns(zone=pl.Series([zones[at % len(zones)] for at in range(len(frame))])).write_parquet(
        config.models[MODEL].reference
    )
    path = folder / "driftline.yaml"
    path.write_text(path.read_text().replace("segments: [season]", columns))
    return load(path)


NUMERIC = (
    "columns.segments: the column zone is numeric in the reference; segments are told apart by names: "
    "add it to `columns.categorical` if its numbers are codes, or leave it out"
)


@pytest.mark.parametrize(
    ("columns", "rule", "said"),
    [
        ("segments: [zone]", "", NUMERIC),
        ("segments: [label]", "", "columns.segments: the column label is also the label; segments are told apart by"),
        ("segments: [saison]", "", "columns.segments: unknown column 'saison'"),
    ],
)
def test_what_cannot_tell_segments_apart_is_refused_when_it_is_opened(
    tmp_path: Path, columns: str, rule: str, said: str
) -> None:
    with pytest.raises(ConfigError) as caught:
        Service(opened(tmp_path, columns, rule, zones=(1, 2)))
    assert f"models.churn.{said}" in str(caught.value)


def test_a_rule_on_a_value_that_the_reference_does_not_show_is_told_of_at_the_start(tmp_path: Path) -> None:
    """It may come with the next reference: it stops nothing."""
    rule = "{name: a, measure: accuracy, below: 0.5, segment: {season: wintr}}"
    service = Service(opened(tmp_path, "segments: [season]", rule))
    [line] = [line for line in service.guesses[MODEL].lines(MODEL) if "wintr" in line]
    assert line == (
        "churn: alerts.rules.0.segment: unknown value of season 'wintr'; known: (missing), (other values), summer, "
        "winter. Did you mean 'winter'? The rule is not judged until the reference shows that value"
    )
    send(service, 0, BAD_WINTER)
    send(service, 3, FINE)
    work(service)
    assert alerts(service) == []
    service.stop()


def test_numbers_that_are_said_to_be_codes_tell_segments_apart(tmp_path: Path) -> None:
    service = Service(opened(tmp_path, "segments: [zone], categorical: [zone]", zones=(1, 2)))
    rows = [{**row, "features": {"age": 4.0, "zone": 1.0}} for row in day_of(0, {"summer": (1, 1)})[0]]
    deliver(service, "predictions", rows)
    work(service)
    with service.state.read() as read:
        [row] = read.windows.between(MODEL)
    assert decoded_segments(row.segments).by_segment().keys() == {Segment("zone", "1")}
    service.stop()


def test_of_very_many_values_the_most_frequent_are_segments(tmp_path: Path) -> None:
    zones = [f"z{at:03}" for at in range(60)] + ["z007"]
    service = Service(opened(tmp_path, "segments: [zone]", zones=zones))
    [model] = service.models.values()
    assert len(model.schema.segments["zone"]) == MOST_VALUES and "z007" in model.schema.segments["zone"]
    assert any("most frequent values of zone" in note for note in service.guesses[MODEL].notes)
    service.stop()
