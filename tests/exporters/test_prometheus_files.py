"""The files for Prometheus and Alertmanager, judged by promtool, amtool and the servers themselves."""

from __future__ import annotations

import graphlib
import re
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from datetime import timedelta
from itertools import product
from pathlib import Path
from typing import Any

import httpx
import pytest
import yaml
from click.testing import CliRunner
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from driftline.cli.export import command
from driftline.errors import UsageError
from driftline.events import Segment
from driftline.exporters.files import File, write_files
from driftline.exporters.prometheus_files import Addresses, prometheus_files, yaml_text
from driftline.exporters.prometheus_rules import ModelAlerts, duration, groups_of, unit_tests
from driftline.rules import Rule, Severity
from driftline.rules.topic import STALENESS, is_of_window
from driftline.statistics.catalogue import rule_measures
from tests.support.churn import MODEL, prediction, write_config
from tests.support.served import post, serving, wait_until_idle
from tests.support.servers import Alertmanager, Prometheus, until
from tests.support.steps import a_day

PAGE = Path(__file__).parents[2] / "docs" / "prometheus.md"
DAY, HOUR = timedelta(days=1), timedelta(hours=1)
ADDRESSES = Addresses("127.0.0.1:8000", "127.0.0.1:9093")

HOSTILE = (
    'it\'s "low" {{ $labels.model }}',
    "{{ range query `up` }}",
    "}} {{{ \\ \\n %s",
    "précision 低 🌧 | : # & * !",
    "- null",
    "~",
    "0o7",
    "yes",
)
WINDOW_MEASURES = tuple(filter(is_of_window, rule_measures()))
RULES = (
    *(Rule(name, "accuracy", below=0.75 + index / 100) for index, name in enumerate(HOSTILE)),
    Rule("for", "accuracy", below=0.8, for_windows=3, min_samples=30, keep_firing_for=2, severity=Severity.PAGE),
    Rule("mae-high", "mae", above=-1.5e-9, severity=Severity.INFO),
    *(Rule(f"{measure}-high", measure, above=0.25) for measure in WINDOW_MEASURES),
    *(Rule(f"{name} moved", f"drift.{name}", above=0.2) for name in HOSTILE),
    Rule("coverage-low", "label_coverage", below=0.5),
    Rule("DriftlineDown", "recall", below=0.0, for_windows=400),
    Rule("each {{ segment }}", "accuracy", below=0.7, segment="all"),
    Rule("winter", "accuracy", below=0.7, for_windows=2, segment=Segment("season", "winter")),
    Rule("versions", "prediction_drift", above=1.0, version="each"),
)
MODELS = (
    ModelAlerts("churn", HOUR, 6 * HOUR, RULES),
    ModelAlerts("weather", 31 * DAY, None, [Rule("accuracy-low", "accuracy", below=0.7, for_windows=2)]),
    ModelAlerts("quiet.model-1", HOUR, None, ()),
)


def run(folder: Path, *command: str) -> str:
    """Run a program that has to succeed; return what it prints."""
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def export(folder: Path, models: Sequence[ModelAlerts] = MODELS, **options: Any) -> dict[str, Any]:
    """Write the files; return what YAML reads from them, by name."""
    files = prometheus_files(models, ADDRESSES, **options)
    write_files(files, folder)
    return {file.name: yaml.safe_load(file.text) for file in files}


def rules_in(document: Mapping[str, Any]) -> list[dict[str, Any]]:
    return [rule for group in document["groups"] for rule in group["rules"]]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("files")
    export(folder)
    return folder


# ---- the files ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("models", [MODELS, MODELS[2:], ()], ids=("hostile", "quiet", "none"))
def test_the_programs_take_their_files(tmp_path: Path, models: Sequence[ModelAlerts]) -> None:
    export(tmp_path, models, pushed_after=97.5 * DAY)
    run(tmp_path, "promtool", "check", "config", "prometheus.yml")
    run(tmp_path, "promtool", "check", "rules", "driftline.rules.yml")
    run(tmp_path, "amtool", "check-config", "alertmanager.yml")


def test_the_unit_tests_of_the_rules_pass(folder: Path) -> None:
    assert "SUCCESS" in run(folder, "promtool", "test", "rules", "driftline.rules.test.yml")


def test_the_unit_tests_would_notice(tmp_path: Path) -> None:
    export(tmp_path, ())
    rules = tmp_path / "driftline.rules.yml"
    tests = tmp_path / "driftline.rules.test.yml"
    document = yaml.safe_load(tests.read_text())
    document["tests"] = [one for one in document["tests"] if one["name"] == "DriftlineWorkerFailing"]
    tests.write_text(yaml.safe_dump(document))
    assert "SUCCESS" in run(tmp_path, "promtool", "test", "rules", tests.name)
    rules.write_text(rules.read_text().replace("(driftline_worker_failing) == 1", "(driftline_worker_failing) == 0"))
    done = subprocess.run(["promtool", "test", "rules", tests.name], cwd=tmp_path, capture_output=True, check=False)
    assert done.returncode == 1


def test_every_alert_has_a_unit_test_that_fires_and_one_that_does_not() -> None:
    files = {file.name: yaml.safe_load(file.text) for file in prometheus_files(MODELS, ADDRESSES)}
    fires, quiet = set(), set()
    for test in files["driftline.rules.test.yml"]["tests"]:
        for one in test["alert_rule_test"]:
            (fires if one["exp_alerts"] else quiet).add(one["alertname"])
    alerts = {rule["alert"] for rule in rules_in(files["driftline.rules.yml"]) if "alert" in rule}
    assert len(alerts) > 30
    assert fires == quiet == alerts


def test_every_alert_has_labels_to_route_by_and_a_runbook(folder: Path) -> None:
    anchors = {re.sub(r"[^\w\- ]", "", line.lower()).strip().replace(" ", "-") for line in _headings()}
    for rule in rules_in(yaml.safe_load((folder / "driftline.rules.yml").read_text())):
        if "alert" not in rule:
            continue
        assert rule["labels"]["service"] == "driftline"
        if rule["alert"] != "DriftlineAlertsFiring":  # its severity is that of the series
            assert rule["labels"]["severity"] in list(Severity)
            assert rule["labels"]["measure"]
        assert set(rule["annotations"]) == {"summary", "description", "runbook"}
        page, _, anchor = rule["annotations"]["runbook"].partition("#")
        assert (page, anchor) == ("docs/prometheus.md", anchor)
        assert anchor in anchors


def test_the_runbook_of_a_documented_model_is_its_own() -> None:
    docs = "https://wiki.example.com/churn?q={{x}}"
    [group] = groups_of([ModelAlerts("churn", DAY, None, RULES[:1], docs)])
    [runbook] = {rule["annotations"]["runbook"] for rule in group["rules"] if "alert" in rule}
    assert runbook.replace('{{ "{{" }}', "{{") == docs


def _headings() -> list[str]:
    return re.findall(r"^#+ +(.+)$", PAGE.read_text(), flags=re.MULTILINE)


def test_what_the_rules_read_is_documented(folder: Path) -> None:
    rules = (folder / "driftline.rules.yml").read_text()
    known = (PAGE.parent / "metrics.md").read_text()
    read = set(re.findall(r"(?<![:\w])driftline_\w+(?!:)\b", "\n".join(re.findall(r"[^#]*?\n", rules))))
    assert {name for name in read if f"`{name}" not in known} == set()


def test_names_come_out_as_they_went_in(folder: Path) -> None:
    rules = rules_in(yaml.safe_load((folder / "driftline.rules.yml").read_text()))
    assert [rule["alert"] for rule in rules if rule.get("alert") in HOSTILE] == list(HOSTILE)


def test_staleness_is_said_where_it_is_not_the_default() -> None:
    [group] = groups_of(MODELS)
    seconds = {rule["labels"]["model"]: rule["expr"] for rule in group["rules"] if "record" in rule}
    assert seconds == {"churn": "21600", "weather": str(62 * 86_400)}
    assert groups_of(MODELS[2:]) == []


def test_a_rule_asks_how_many_windows_driftline_has_counted() -> None:
    [group] = groups_of(MODELS)
    once, thrice = (next(rule for rule in group["rules"] if rule.get("alert") == name) for name in ("~", "for"))
    assert once["expr"] == (
        'max by (model) (last_over_time(driftline_monitor_breaches{model="churn",monitor="~"}[5m])) >= 1'
    )
    assert thrice["expr"].endswith(" >= 3")
    assert "for" not in thrice and "keep_firing_for" not in thrice  # these are counted in windows, too
    assert thrice["labels"]["severity"] == "page"


def test_addresses_stand_where_they_belong() -> None:
    files = {
        file.name: yaml.safe_load(file.text) for file in prometheus_files((), Addresses("[::1]:1", "am.local:65535"))
    }
    prometheus = files["prometheus.yml"]
    assert prometheus["scrape_configs"][0]["static_configs"] == [{"targets": ["[::1]:1"]}]
    assert prometheus["alerting"]["alertmanagers"][0]["static_configs"] == [{"targets": ["am.local:65535"]}]
    assert "storage" not in prometheus


def test_pushed_samples_are_given_the_time_that_they_need() -> None:
    [prometheus, *_] = prometheus_files(MODELS, ADDRESSES, pushed_after=97.5 * DAY)
    assert yaml.safe_load(prometheus.text)["storage"] == {"tsdb": {"out_of_order_time_window": "98d"}}


@pytest.mark.parametrize(
    "address",
    ["", "localhost", "http://localhost:8000", "a:0", "a:65536", "a:1/x", "a:1\n", "a b:1", ":1", "[::1]", "u@a:1"],
)
def test_what_is_no_address_is_refused(address: str) -> None:
    with pytest.raises(UsageError, match=r"--target came as .* write HOST:PORT"):
        Addresses(address, "127.0.0.1:9093")
    with pytest.raises(UsageError, match="--alertmanager"):
        Addresses("127.0.0.1:8000", address)


@given(st.integers(0, 36_500 * 86_400))
def test_a_duration_reads_back(seconds: int) -> None:
    sizes = {"d": 86_400, "h": 3_600, "m": 60, "s": 1}
    parts = re.findall(r"(\d+)([dhms])", duration(seconds))
    assert "".join(number + unit for number, unit in parts) == duration(seconds)
    assert sum(int(number) * sizes[unit] for number, unit in parts) == seconds
    assert [unit for _, unit in parts] == sorted((unit for _, unit in parts), key="dhms".index)


names = (
    st.text(
        st.sampled_from("{}$\"'`\\%a é低🌧.#:|&*!-[]0~") | st.characters(exclude_categories=("Cs",)),
        min_size=1,
        max_size=100,
    )
    .map(str.strip)
    .filter(lambda text: bool(text) and text.isprintable())
)
thresholds = st.floats(allow_nan=False, allow_infinity=False)


@st.composite
def rules(draw: st.DrawFn) -> Rule:
    side = draw(st.sampled_from(("below", "above")))
    return Rule(
        draw(names),
        draw(st.sampled_from(rule_measures())),
        below=draw(thresholds) if side == "below" else None,
        above=draw(thresholds) if side == "above" else None,
        for_windows=draw(st.integers(1, 4) | st.just(10**9)),
        severity=draw(st.sampled_from(Severity)),
        min_samples=draw(st.integers(0, 10**9)),
        keep_firing_for=draw(st.integers(0, 3) | st.just(10**9)),
    )


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    st.lists(rules(), min_size=1, max_size=4, unique_by=lambda rule: rule.name),
    st.sampled_from((timedelta(minutes=1), HOUR, DAY, 36_525 * DAY)),
)
@example([Rule("x", "mae", above=1.7e308), Rule("y", "mae", below=5e-324), Rule("z", "mae", above=1e22)], DAY)
def test_whatever_a_rule_is_called_and_says_its_alert_fires(
    tmp_path_factory: pytest.TempPathFactory, rules: list[Rule], window: timedelta
) -> None:
    """The rules of the configuration alone: with all others, promtool would take seconds each time."""
    folder = tmp_path_factory.mktemp("rules")
    models = [ModelAlerts("churn", window, None, rules)]
    groups, tests = groups_of(models), unit_tests([], [], models)
    (folder / "driftline.rules.yml").write_text(yaml_text({"groups": groups}))
    (folder / "driftline.rules.test.yml").write_text(yaml_text(tests))
    run(folder, "promtool", "check", "rules", "driftline.rules.yml")
    run(folder, "promtool", "test", "rules", "driftline.rules.test.yml")


# ---- writing -----------------------------------------------------------------------------------------------


def test_files_are_written_once_and_never_over_yours(tmp_path: Path) -> None:
    folder = tmp_path / "a" / "b"
    files = [File("x", "one\n"), File("y", "zwei ü\n")]
    assert write_files(files, folder) == {folder / "x": True, folder / "y": True}
    assert write_files(files, folder) == {folder / "x": False, folder / "y": False}
    (folder / "y").write_text("mine\n")
    (folder / "x").unlink()
    with pytest.raises(UsageError, match=r"y would be overwritten .* add --force"):
        write_files(files, folder)
    assert [path.name for path in folder.iterdir()] == ["y"]
    assert (folder / "y").read_text() == "mine\n"
    assert write_files(files, folder, force=True) == {folder / "x": True, folder / "y": True}
    assert (folder / "y").read_text() == "zwei ü\n"


@pytest.mark.parametrize("name", ["file", "file/in", "folder"])
def test_a_folder_that_cannot_be_written_to_is_named(tmp_path: Path, name: str) -> None:
    (tmp_path / "file").touch()
    (tmp_path / "folder" / "x").mkdir(parents=True)
    with pytest.raises(UsageError, match=r"cannot be written to .*; name another folder"):
        write_files([File("x", "one")], tmp_path / name)


def test_the_command(tmp_path: Path) -> None:
    config, out = (
        write_config(tmp_path, 'prometheus: {remote_write: "http://127.0.0.1:9090/api/v1/write"}'),
        tmp_path / "out",
    )
    arguments = ["prometheus", str(out), "--config", str(config), "--target", "10.0.0.7:8001"]
    done = CliRunner().invoke(command, arguments, catch_exceptions=False)
    names = ("prometheus.yml", "driftline.rules.yml", "driftline.rules.test.yml", "alertmanager.yml")
    assert done.output.splitlines() == [f"wrote {out / name}" for name in names]
    written = yaml.safe_load((out / "prometheus.yml").read_text())
    assert written["scrape_configs"][0]["static_configs"] == [{"targets": ["10.0.0.7:8001"]}]
    assert written["storage"] == {"tsdb": {"out_of_order_time_window": "32d"}}
    again = CliRunner().invoke(command, arguments, catch_exceptions=False)
    assert again.output.splitlines() == [f"unchanged {out / name}" for name in names]
    other = CliRunner().invoke(command, [*arguments[:-1], "10.0.0.8:8001"])
    assert isinstance(other.exception, UsageError)
    forced = CliRunner().invoke(command, [*arguments[:-1], "10.0.0.8:8001", "--force"], catch_exceptions=False)
    assert forced.output.splitlines()[0] == f"wrote {out / names[0]}"


# ---- who mutes whom ----------------------------------------------------------------------------------------

Labels = Mapping[str, str]


def kinds_of_alerts(folder: Path) -> list[Labels]:
    """Every kind of alert that there is of one model: of the rules, and of Driftline itself."""
    rules = rules_in(yaml.safe_load((folder / "driftline.rules.yml").read_text()))
    found = [{"alertname": rule["alert"], "model": "churn", **rule["labels"]} for rule in rules if "alert" in rule]
    forwarded = [one for one in found if "severity" not in one]
    found += [dict(one, severity=severity.value) for one in forwarded for severity in Severity]
    measures = (*WINDOW_MEASURES, STALENESS, "accuracy", "recall", "drift.age", "missing.age", "drift.plan")
    both = product(measures, Severity, ({}, {"alert_id": "1f"}))
    found += [
        {"alertname": f"{m}-x", "service": "driftline", "model": "churn", "measure": m, "severity": s.value, **own}
        for m, s, own in both
    ]
    found += [
        dict(one, segment="season=winter")
        for one in found
        if one.get("measure") in ("accuracy", "recall", "label_coverage")
    ]
    return [one for one in found if "severity" in one]


def matches(matcher: str, labels: Labels) -> bool:
    found = re.fullmatch(r'(\w+)(=~|!~|!=|=)"(.*)"', matcher)
    assert found is not None, matcher
    name, sign, wanted = found.groups()
    value = labels.get(name, "")
    same = bool(re.fullmatch(wanted, value)) if "~" in sign else value == wanted
    return same != sign.startswith("!")


def mutes(rule: Mapping[str, Any], source: Labels, target: Labels) -> bool:
    """As Alertmanager sees it."""
    first, second = (
        [all(matches(one, labels) for one in rule[key]) for key in ("source_matchers", "target_matchers")]
        for labels in (source, target)
    )
    equal = all(source.get(name, "") == target.get(name, "") for name in rule.get("equal", ()))
    return first[0] and second[1] and equal and not (first[1] and second[0])


def test_no_alerts_mute_each_other(folder: Path) -> None:
    """Were there a circle, nobody would be told of any alert in it."""
    kinds = kinds_of_alerts(folder)
    inhibitions = yaml.safe_load((folder / "alertmanager.yml").read_text())["inhibit_rules"]
    graph: dict[int, set[int]] = {}
    for source, target in product(range(len(kinds)), repeat=2):
        if any(mutes(rule, kinds[source], kinds[target]) for rule in inhibitions):
            graph.setdefault(target, set()).add(source)
    assert len(graph) > 20
    tuple(graphlib.TopologicalSorter(graph).static_order())  # raises CycleError


def test_an_alert_of_one_segment_mutes_none_of_all_rows(folder: Path) -> None:
    inhibitions = yaml.safe_load((folder / "alertmanager.yml").read_text())["inhibit_rules"]
    kinds = [one for one in kinds_of_alerts(folder) if one.get("measure") != "up"]
    winter = [one for one in kinds if "segment" in one]
    for source, target in product(winter, kinds):
        muted = any(mutes(rule, source, target) for rule in inhibitions)
        own = "alert_id" in source and "alert_id" not in target
        assert not muted or (own and target.get("segment", "season=winter") == "season=winter")
        assert not muted or target.get("segment") or "measure" not in target


@pytest.fixture(scope="module")
def alertmanager(folder: Path) -> Iterator[Alertmanager]:
    """The real one, with the file that was written."""
    server = Alertmanager(folder / "alertmanager", "http://127.0.0.1:9/")
    server.kill()
    (folder / "alertmanager" / "alertmanager.yml").write_text((folder / "alertmanager.yml").read_text())
    server.start()
    yield server
    server.stop()


def told(alertmanager: Alertmanager, *alerts: Labels) -> set[str]:
    """Post alerts; return which of them are not inhibited. Each call has a model of its own."""
    body = [{"labels": {"service": "driftline", **one}} for one in alerts]
    assert httpx.post(f"{alertmanager.url}/api/v2/alerts", json=body, trust_env=False, verify=False).status_code == 200
    [model] = {one["model"] for one in alerts if "model" in one}

    def states() -> list[dict[str, Any]]:
        found = httpx.get(
            f"{alertmanager.url}/api/v2/alerts", params={"filter": f'model="{model}"'}, trust_env=False, verify=False
        )
        listed: list[dict[str, Any]] = found.json()
        return listed

    until(lambda: len(states()) == len(body), "Alertmanager has the alerts")
    until(lambda: all(one["status"]["state"] != "unprocessed" for one in states()), "Alertmanager has looked at them")
    return {one["labels"]["alertname"] for one in states() if not one["status"]["inhibitedBy"]}


def alert(model: str, name: str, severity: str, measure: str = "", alert_id: str = "") -> Labels:
    found = {"model": model, "alertname": name, "severity": severity, "measure": measure, "alert_id": alert_id}
    return {name: value for name, value in found.items() if value}


@pytest.mark.parametrize("alert_id", ["", "0f3a"])
@pytest.mark.parametrize("measure", ["hours_since_last_event", "worker_failing", "label_coverage", "model_absent"])
def test_a_fault_of_the_pipeline_explains_the_rest(alertmanager: Alertmanager, measure: str, alert_id: str) -> None:
    model = f"{measure}-{alert_id}"
    assert told(
        alertmanager,
        alert(model, "pipeline", "warning", measure, alert_id),
        alert(model, "accuracy-low", "warning", "accuracy", "77aa"),
        alert(model, "DriftlineFeatureDrift", "info", "feature_drift"),
        alert(model, "DriftlineInvalidEventsFast", "page", "invalid_events_ratio"),
    ) == {"pipeline", "DriftlineInvalidEventsFast"}


@pytest.mark.parametrize("severity", ["warning", "info"])
@pytest.mark.parametrize(
    ("measure", "explained"), [("label_coverage", "accuracy"), ("accuracy", "label_drift"), ("model_absent", "recall")]
)
def test_no_lesser_alert_mutes_a_page(alertmanager: Alertmanager, measure: str, explained: str, severity: str) -> None:
    model = f"{measure}-{severity}-page"
    both = alert(model, "lesser", severity, measure, "1"), alert(model, "page", "page", explained, "2")
    assert "page" in told(alertmanager, *both)


def test_performance_explains_drift_and_a_page_lesser_alerts(alertmanager: Alertmanager) -> None:
    assert told(
        alertmanager,
        alert("a", "accuracy-low", "page", "accuracy", "1"),
        alert("a", "recall-low", "warning", "recall", "2"),
        alert("a", "label-drift", "page", "label_drift", "3"),
        alert("a", "DriftlinePredictionDrift", "warning", "prediction_drift"),
        alert("a", "DriftlineInvalidEventsLasting", "warning", "invalid_events_ratio"),
    ) == {"accuracy-low", "DriftlineInvalidEventsLasting"}


def test_a_page_of_drift_does_not_hide_a_warning_of_performance(alertmanager: Alertmanager) -> None:
    assert told(
        alertmanager,
        alert("b", "accuracy-low", "warning", "accuracy", "1"),
        alert("b", "label-drift", "page", "label_drift", "2"),
    ) == {"accuracy-low", "label-drift"}


def test_what_both_sides_say_is_told_once(alertmanager: Alertmanager) -> None:
    assert told(
        alertmanager,
        alert("c", "accuracy-low", "page", "accuracy", "1"),
        alert("c", "accuracy-low of Prometheus", "page", "accuracy"),
        alert("c", "DriftlineAlertsFiring", "page"),
    ) == {"accuracy-low"}


def test_other_models_are_left_alone(alertmanager: Alertmanager) -> None:
    told(alertmanager, alert("d", "worker", "page", "worker_failing"))
    assert told(alertmanager, alert("e", "accuracy-low", "warning", "accuracy", "1")) == {"accuracy-low"}


@pytest.mark.parametrize(
    ("labels", "receiver"),
    [
        ("service=driftline severity=page model=churn measure=accuracy alert_id=1f", "driftline-page"),
        ("service=driftline severity=critical model=unknown", "driftline-page"),
        ("service=driftline severity=page measure=notifications channel=webhook-1", "driftline-page"),
        ("service=driftline severity=warning model=quiet.model-1", "driftline-warning"),
        ("service=driftline severity=info model=churn", "driftline-info"),
        ("service=driftline severity=odd", "driftline-warning"),
        ("service=shop severity=page", "others"),
    ],
)
def test_alerts_go_where_their_severity_says(folder: Path, labels: str, receiver: str) -> None:
    told_to = run(folder, "amtool", "config", "routes", "test", "--config.file=alertmanager.yml", *labels.split())
    assert told_to.strip() == receiver


def test_a_model_can_be_given_a_receiver_of_its_own(tmp_path: Path) -> None:
    export(tmp_path)
    config = tmp_path / "alertmanager.yml"
    text = config.read_text()
    own = text.replace("""['model="churn"'], receiver: driftline-page""", """['model="churn"'], receiver: others""")
    if own == text:
        own = text.replace("""[model="churn"], receiver: driftline-page""", """[model="churn"], receiver: others""")
    assert own != text
    config.write_text(own)
    test = (
        "amtool",
        "config",
        "routes",
        "test",
        "--config.file=alertmanager.yml",
        "service=driftline",
        "severity=page",
    )
    assert run(tmp_path, *test, "model=churn").strip() == "others"
    assert run(tmp_path, *test, "model=weather").strip() == "driftline-page"


# ---- the whole way -----------------------------------------------------------------------------------------


def asked(prometheus: Prometheus, path: str) -> Any:
    return httpx.get(f"{prometheus.url}/api/v1/{path}", trust_env=False, verify=False).json()["data"]


def test_an_alert_of_a_real_driftline_goes_through_a_real_prometheus(
    tmp_path: Path, alertmanager: Alertmanager
) -> None:
    """Of a model that is called as in no other test here: they share the Alertmanager."""
    with serving(write_config(tmp_path)) as (_, address):
        predictions, labels = a_day(0, right=30, wrong=30)
        assert post(address, "predictions", [*predictions, prediction("after", 1.5, said=1)])
        assert post(address, "labels", labels)
        wait_until_idle(address)
        arguments = ["prometheus", str(tmp_path / "out"), "--config", str(tmp_path / "driftline.yaml")]
        where = [address.removeprefix("http://"), "--alertmanager", alertmanager.url.removeprefix("http://")]
        CliRunner().invoke(command, [*arguments, "--target", *where], catch_exceptions=False)
        config = yaml.safe_load((tmp_path / "out" / "prometheus.yml").read_text())
        config["global"] = {"scrape_interval": "1s", "evaluation_interval": "1s"}
        prometheus = Prometheus(tmp_path / "out", yaml.safe_dump(config))
        try:
            firing = until(lambda: _firing(prometheus, "DriftlineAlertsFiring"), "Prometheus has Driftline's alert")
            assert firing == [{"model": MODEL, "severity": "page", "service": "driftline"}]
            [own] = until(lambda: _firing(prometheus, "accuracy-low"), "Prometheus comes to the same")
            assert (own["model"], own["rule"], own["measure"]) == (MODEL, "accuracy-low", "accuracy")
            until(lambda: _received(alertmanager) == {"driftline-page"}, "Alertmanager has it")
            rules = rules_in(asked(prometheus, "rules"))
            assert len(rules) == len(rules_in(yaml.safe_load((tmp_path / "out" / "driftline.rules.yml").read_text())))
            until(lambda: all(one["health"] == "ok" for one in rules_in(asked(prometheus, "rules"))), "all rules work")
            assert [one["lastError"] for one in rules_in(asked(prometheus, "rules")) if one.get("lastError")] == []
            assert "DriftlineDown" not in {one["labels"]["alertname"] for one in asked(prometheus, "alerts")["alerts"]}
        finally:
            prometheus.stop()


def _firing(prometheus: Prometheus, name: str) -> list[dict[str, str]]:
    found = [one for one in asked(prometheus, "alerts")["alerts"] if one["state"] == "firing"]
    labels = [one["labels"] for one in found if one["labels"]["alertname"] == name]
    return [{key: value for key, value in one.items() if key != "alertname"} for one in labels]


def _received(alertmanager: Alertmanager) -> set[str]:
    filters = [f'model="{MODEL}"', 'alertname="DriftlineAlertsFiring"']
    found = httpx.get(
        f"{alertmanager.url}/api/v2/alerts", params={"filter": filters}, trust_env=False, verify=False
    ).json()
    return {receiver["name"] for one in found for receiver in one["receivers"]}
