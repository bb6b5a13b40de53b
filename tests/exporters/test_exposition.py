"""What /metrics says: all of the vocabulary, in both formats, within its budget, of hundreds of models."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import msgspec
import psutil
import pytest
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client import CollectorRegistry
from prometheus_client.exposition import generate_latest
from prometheus_client.openmetrics import exposition as openmetrics
from prometheus_client.openmetrics.parser import text_string_to_metric_families as parse_openmetrics
from prometheus_client.parser import text_string_to_metric_families as parse_text

from driftline.config.load import Config, parse
from driftline.events import WHOLE, Segment, Slice
from driftline.exporters.prometheus import ServiceCollector
from driftline.exporters.samples import (
    DriftSample,
    LatencyCounts,
    ModelMetrics,
    Monitor,
    OutputDriftSample,
    PerformanceSample,
    ServiceMetrics,
    TransitionCount,
)
from driftline.exporters.series_budget import within
from driftline.monitoring.summary import DriftView, MeasureView, WindowSummary
from driftline.store.database import open_database
from driftline.store.inbox import Inbox
from driftline.store.judgements import Judgement
from driftline.store.models import ModelRow
from driftline.store.state import State
from driftline.store.windows import WindowRow
from driftline.views.metrics import MetricsReader

NOW = datetime(2026, 1, 1, tzinfo=UTC)
WINTER = Slice(segment=Segment("season", "winter"))


def model(name: str = "churn", **changes: Any) -> ModelMetrics:
    whole = ModelMetrics(
        model=name,
        predictions={"v1": 100, "v2": 50},
        labels=90,
        corrected_labels=3,
        duplicates=2,
        invalid={"predictions.features.age": 4},
        waiting_labels=1,
        queued_events=0,
        performance=[
            PerformanceSample("v1", "accuracy", 0.8, 0.7, 0.9, 90),
            PerformanceSample("v1", "r2", None, None, None, 0),
        ],
        drift=[DriftSample("v1", "age", "psi", 0.3, 0.1), DriftSample("v1", "plan", "psi", None, 0.1)],
        missing={"age": 0.25, "plan": 0.0},
        label_coverage=0.9,
        window_end_timestamp_seconds=1.7e9,
        alerts={"page": 1, "warning": 0, "info": 0},
        monitors={Monitor("accuracy-low"): "breach", Monitor("segment-low", WINTER): "ok"},
        breaches={Monitor("accuracy-low"): 1, Monitor("segment-low", WINTER): 0},
        latency=LatencyCounts([0] * 12 + [150], 150, 12.5),
        task="binary",
        output_drift=[
            OutputDriftSample("v1", "prediction", "psi", 0.2, 0.1),
            OutputDriftSample("v1", "label", "psi", 0.0, 0.1),
        ],
        drifted_features={"v1": 0.5},
        last_event_timestamp_seconds=1.7e9,
        last_evaluation_timestamp_seconds=1.7e9,
        failing=False,
        transitions={"fired": TransitionCount(2, "a1")},
        muted=1,
        pushed_windows={"taken": 3},
        retraining_runs={("alert", "promoted"): 1, ("manual", "held"): 2},
        retraining_open={"running": 1},
        alarm_budget=4.06,
        alarms=3,
    )
    return whole._replace(**changes)


def service(*models: ModelMetrics) -> ServiceMetrics:
    return ServiceMetrics("0.1.0", models, {"delivered": {"hook": 7}, "refused": {}}, {"hook": 1}, {"hook": 2})


def exposed(metrics: ServiceMetrics, most_series: int = 10_000) -> tuple[str, str]:
    registry = CollectorRegistry()
    registry.register(ServiceCollector(lambda: metrics, most_series))
    return generate_latest(registry).decode(), openmetrics.generate_latest(registry).decode()


Samples = dict[tuple[str, frozenset[tuple[str, str]]], float]


def samples(families: Iterator[Any]) -> Samples:
    return {(one.name, frozenset(one.labels.items())): one.value for family in families for one in family.samples}


def test_the_whole_vocabulary_is_there() -> None:
    found = samples(parse_text(exposed(service(model()))[0]))
    names = {name for name, _ in found}
    page = (Path(__file__).parents[2] / "docs" / "metrics.md").read_text()
    assert {
        name
        for name in names
        if f"`{name.removesuffix('_bucket').removesuffix('_count').removesuffix('_sum')}`" not in page
    } == set()
    assert (
        found[
            "driftline_drift_score",
            frozenset({"model": "churn", "version": "v1", "feature": "age", "method": "psi"}.items()),
        ]
        == 0.3
    )
    assert (
        "driftline_drift_score",
        frozenset({"model": "churn", "version": "v1", "feature": "plan", "method": "psi"}.items()),
    ) not in found
    assert found["driftline_alarm_budget", frozenset({"model": "churn"}.items())] == 4.06
    assert found["driftline_alarms_total", frozenset({"model": "churn"}.items())] == 3
    assert found["driftline_notifications_total", frozenset({"channel": "hook", "result": "delivered"}.items())] == 7


def test_both_formats_say_the_same_and_the_newest_alert_is_an_exemplar() -> None:
    text, open_text = exposed(service(model()))
    assert samples(parse_text(text)) == samples(parse_openmetrics(open_text))
    [step] = [
        one
        for family in parse_openmetrics(open_text)
        for one in family.samples
        if one.name == "driftline_alert_transitions_total"
    ]
    assert step.exemplar.labels == {"alert_id": "a1"}


NAMES = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\r"), min_size=1, max_size=8)


@given(NAMES, NAMES, NAMES)
def test_names_of_any_signs_come_back_as_they_were(name: str, version: str, feature: str) -> None:
    one = model(name, predictions={version: 1}, drift=[DriftSample(version, feature, "psi", 0.5, 0.1)], missing={})
    found = samples(parse_text(exposed(service(one))[0]))
    assert (
        found[
            "driftline_drift_score",
            frozenset({"model": name, "version": version, "feature": feature, "method": "psi"}.items()),
        ]
        == 0.5
    )
    assert found["driftline_predictions_total", frozenset({"model": name, "version": version}.items())] == 1


def test_promtool_finds_nothing_to_blame(tmp_path: Path) -> None:
    promtool = shutil.which("promtool")
    assert promtool, "promtool is missing: apt-get install prometheus"
    text = exposed(service(model()))[0]
    done = subprocess.run([promtool, "check", "metrics"], input=text, text=True, capture_output=True, check=False)
    assert (done.returncode, done.stdout + done.stderr) == (0, "")


# ---- the budget -----------------------------------------------------------------------------------------------


def featured(name: str, scores: Mapping[str, float]) -> ModelMetrics:
    return model(
        name,
        drift=[DriftSample("v1", feature, "psi", score, 0.1) for feature, score in scores.items()],
        missing=dict.fromkeys(scores, 0.0),
    )


@given(st.sets(NAMES, min_size=1, max_size=30), st.integers(100, 300))
def test_segments_are_told_before_features_and_in_the_budget(values: set[str], most: int) -> None:
    samples = [PerformanceSample("", "accuracy", 0.8, 0.7, 0.9, 90, f"zone={value}") for value in values]
    one = featured("m", {f"f{n}": 0.1 for n in range(40)})._replace(segments=samples)
    [kept] = within([one], most)
    assert count([kept]) <= max(most, count([one._replace(drift=[], missing={}, segments=[])]))
    assert kept.series_dropped == count([one]) - count([kept])
    assert len(kept.segments) == len(values) or not kept.drift or most < count([kept]) + 4


def test_only_rules_on_a_slice_have_its_labels() -> None:
    found = samples(parse_text(exposed(service(model()))[0]))
    whole, winter = {"model": "churn", "monitor": "accuracy-low"}, {"model": "churn", "monitor": "segment-low"}
    assert found["driftline_monitor_breaches", frozenset(whole.items())] == 1
    assert found["driftline_monitor_breaches", frozenset({**winter, "segment": "season=winter"}.items())] == 0
    named = {**winter, "segment": "season=winter", "state": "ok"}
    assert found["driftline_monitor_state", frozenset(named.items())] == 1


def count(metrics: list[ModelMetrics]) -> int:
    return len(
        [one for one in samples(parse_text(exposed(service(*metrics), 10**9)[0])) if "notification" not in one[0]]
    )


@given(
    st.lists(st.dictionaries(NAMES, st.floats(0, 1), max_size=30), min_size=1, max_size=5),
    st.integers(100, 600),
)
def test_there_are_at_most_so_many_series_of_features_and_what_is_left_out_is_said(
    features: list[dict[str, float]], most: int
) -> None:
    models = [featured(f"m{place}", scores) for place, scores in enumerate(features)]
    whole, bare = count(models), count([one._replace(drift=[], missing={}) for one in models])
    kept = within(models, most)
    assert sum(one.series_dropped for one in kept) == whole - count(kept)
    assert count(kept) <= max(most, bare)
    if whole <= most - 10 * len(models):
        assert kept == models
    for before, after in zip(models, kept, strict=True):
        if after.drift and after.series_dropped:  # the worst stay
            left = {one.feature for one in before.drift} - {one.feature for one in after.drift}
            scores = {one.feature: one.score or 0.0 for one in before.drift}
            assert max(scores[name] for name in left) <= min(scores[one.feature] for one in after.drift) + 0.025


def test_a_model_with_few_features_leaves_its_share_to_the_others() -> None:
    small, large = featured("small", {"a": 0.1}), featured("large", {f"f{n}": 0.1 for n in range(100)})
    bare = count([small._replace(drift=[], missing={}), large._replace(drift=[], missing={})])
    kept = within([small, large], bare + 93)
    assert kept[0].series_dropped == 0
    assert 20 <= len(kept[1].missing) <= 30


# ---- hundreds of models ---------------------------------------------------------------------------------------


def fabricated(folder: Path, models: int, features: int) -> tuple[Config, State, Inbox]:
    """A state with one judged window a model, as the worker leaves it."""
    names = [f"model-{number:03}" for number in range(models)]
    sections = "".join(f"  {name}:\n    reference: {{path: r.parquet}}\n" for name in names)
    config = parse(f"models:\n{sections}storage: {folder}\n", folder / "driftline.yaml")
    engine = open_database(config.database)
    state = State(engine)
    view = DriftView("psi", 0.01, 0.1, False, 0.5, "", (), 0.0, 0.0)
    measure = MeasureView(0.9, 0.8, 0.95, 100)
    body = msgspec.msgpack.encode(
        WindowSummary(
            start=NOW,
            end=NOW + timedelta(days=1),
            version="v1",
            stage="judged",
            predictions=100,
            labelled=100,
            coverage=measure,
            performance=dict.fromkeys(("accuracy", "precision", "recall", "f1", "roc_auc", "log_loss"), measure),
            drift={f"feature_{number}": view for number in range(features)},
            prediction_drift=view,
            label_drift=view,
        )
    )
    with state.work() as work:
        for name in names:
            work.models.put(ModelRow(name, b"", b"", b"", b"", NOW, None, NOW))
            work.windows.put(WindowRow(name, NOW, "v1", NOW + timedelta(days=1), 100, 100, b"", False, True))
            for slice in (Slice("v1"), WHOLE):
                work.summaries.put(name, NOW, slice, body)
            work.counters.add(name, "predictions", "v1", 100)
            work.judgements.put(
                Judgement(name, "low", NOW, NOW + timedelta(days=1), NOW, "ok", 0.9, 0.8, 0.95, 100, 0.7, "", True)
            )
    return config, state, Inbox(engine)


@pytest.fixture(scope="module")
def many(tmp_path_factory: pytest.TempPathFactory) -> CollectorRegistry:
    config, state, inbox = fabricated(tmp_path_factory.mktemp("many"), 200, 50)
    tasks = dict.fromkeys(config.models, "binary")
    registry = CollectorRegistry()
    reader = MetricsReader(config, tasks, state, inbox)
    registry.register(ServiceCollector(lambda: reader.snapshot({}, NOW), 100_000))
    return registry


def test_two_hundred_models_of_fifty_features_are_all_there(many: CollectorRegistry) -> None:
    found = samples(parse_text(generate_latest(many).decode()))
    assert sum(name == "driftline_drift_score" for name, _ in found) == 200 * 50
    assert sum(name == "driftline_performance" for name, _ in found) == 200 * 6


def test_scrape_after_scrape_takes_no_more_memory(many: CollectorRegistry) -> None:
    for _ in range(5):
        generate_latest(many)
    before = psutil.Process().memory_info().rss
    for _ in range(10):
        generate_latest(many)
    assert psutil.Process().memory_info().rss - before < 20e6
