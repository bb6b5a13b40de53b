"""Dashboards: made anew they are the same, they keep the rules of the house, and every query finds something."""

from __future__ import annotations

import contextlib
import itertools
import json
import re
import subprocess
import threading
import time
from collections.abc import Iterator, Mapping
from http.server import ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httpx
import promql_parser
import pytest
import yaml
from click.testing import CliRunner
from prometheus_client import CollectorRegistry
from prometheus_client.exposition import MetricsHandler
from prometheus_client.parser import text_string_to_metric_families as parse_text

from dashboards.__main__ import texts
from driftline.cli.export import command
from driftline.errors import UsageError
from driftline.exporters.grafana_files import PROMETHEUS, grafana_files
from driftline.exporters.prometheus import ServiceCollector
from driftline.exporters.prometheus_files import Addresses, prometheus_files
from tests.exporters.test_exposition import exposed, model, samples, service
from tests.support.churn import MODEL, label, prediction
from tests.support.receiver import Server
from tests.support.retraining import TRAIN, configured
from tests.support.served import post, serving
from tests.support.servers import Prometheus, until

SHIPPED = {file.name: file.text for file in grafana_files()}
BOARDS: Mapping[str, Any] = {
    Path(name).stem: json.loads(text) for name, text in SHIPPED.items() if name.startswith("dashboards/")
}
RATES = ("rate", "increase")
KEPT = "driftline_retraining_runs_total"
"""A counter that Driftline's database keeps and that never begins anew; it may be shown as it stands."""

VALUES = {
    "$__rate_interval": "8s",
    "${datasource}": "prometheus",
    "$model": "churn",
    "$version": "v1",
    "$metric": "accuracy",
    "$feature": "age",
}


def panels(board: Any) -> Iterator[Any]:
    for panel in board["panels"]:
        yield panel
        yield from panel.get("panels", [])


def drawn(board: Any) -> Iterator[Any]:
    return (panel for panel in panels(board) if panel["type"] not in ("row", "text"))


def expressions() -> list[tuple[str, str]]:
    found = []
    for uid, board in BOARDS.items():
        for panel in drawn(board):
            found += [(f"{uid}: {panel['title']}", target["expr"]) for target in panel["targets"]]
        marks = [one for one in board["annotations"].get("list", ()) if "expr" in one]
        found += [(f"{uid}: {one['name']}", one["expr"]) for one in marks]
    return found


def filled(text: str, values: Mapping[str, str] = VALUES) -> str:
    """The text with a value for each variable, as Grafana would put it in."""
    for name, value in sorted(values.items(), key=lambda one: -len(one[0])):
        text = text.replace(name, value)
    assert "$" not in text
    return text


Node = Any


def nodes(node: Node, function: str = "") -> Iterator[tuple[Node, str]]:
    """Each part of a parsed expression, and the innermost function that it stands in."""
    yield node, function
    inside = node.func.name if isinstance(node, promql_parser.Call) else function
    for name in ("lhs", "rhs", "expr", "param", "vector_selector"):
        child = getattr(node, name, None)
        if child is not None and not isinstance(child, str):
            yield from nodes(child, inside)
    for child in getattr(node, "args", ()):
        yield from nodes(child, inside)


def selectors(node: Node) -> list[tuple[Node, str]]:
    return [(one, function) for one, function in nodes(node) if isinstance(one, promql_parser.VectorSelector)]


EXPRESSIONS = expressions()


def test_made_anew_they_are_what_is_shipped() -> None:
    """After a change of dashboards/: `python -m dashboards`."""
    assert {f"dashboards/{name}": text for name, text in texts()} == {
        name: text for name, text in SHIPPED.items() if name.startswith("dashboards/")
    }
    assert len(BOARDS) >= 4


@pytest.mark.parametrize("uid", BOARDS)
def test_every_panel_keeps_the_rules(uid: str) -> None:
    board = BOARDS[uid]
    assert board["uid"] == uid
    assert board["title"] and board["description"]
    assert "driftline" in board["tags"]
    assert board.get("id") is None
    ids = [panel["id"] for panel in panels(board)]
    assert len(ids) == len(set(ids))
    for panel in drawn(board):
        where = f"{uid}: {panel.get('title')}"
        assert panel["title"] and len(panel["description"]) > 20, where
        assert panel["fieldConfig"]["defaults"]["unit"], where
        for target in panel["targets"]:
            assert target["legendFormat"], where
            assert target["datasource"]["uid"] == "${datasource}", where
        letters = [target["refId"] for target in panel["targets"]]
        assert len(letters) == len(set(letters)), where
        assert panel["datasource"]["uid"] == "${datasource}", where


@pytest.mark.parametrize("uid", BOARDS)
def test_panels_lie_on_the_grid_and_not_on_each_other(uid: str) -> None:
    places = [panel["gridPos"] for panel in BOARDS[uid]["panels"]]
    for place in places:
        assert place["x"] >= 0 and place["x"] + place["w"] <= 24
    for one, other in itertools.combinations(places, 2):
        beside = one["x"] + one["w"] <= other["x"] or other["x"] + other["w"] <= one["x"]
        above = one["y"] + one["h"] <= other["y"] or other["y"] + other["h"] <= one["y"]
        assert beside or above, (one, other)


@pytest.mark.parametrize("uid", BOARDS)
def test_variables_are_asked_of_the_chosen_source_and_each_is_used(uid: str) -> None:
    board = BOARDS[uid]
    variables = {one["name"]: one for one in board["templating"]["list"]}
    assert variables["datasource"]["type"] == "datasource"
    whole = json.dumps(board)
    for name, one in variables.items():
        assert re.search(rf"\$\{{?{name}\b", whole), name
        if one["type"] == "query":
            assert one["datasource"]["uid"] == "${datasource}"
            assert f"${name}" in VALUES
    used = set(re.findall(r"\$\{?([a-z]\w*)", " ".join(expr for _, expr in expressions_of(uid))))
    assert used <= set(variables)


def expressions_of(uid: str) -> list[tuple[str, str]]:
    return [one for one in EXPRESSIONS if one[0].startswith(f"{uid}: ")]


@pytest.mark.parametrize(("where", "expr"), EXPRESSIONS, ids=[where for where, _ in EXPRESSIONS])
def test_expressions_are_sound(where: str, expr: str) -> None:
    """Counters only as rates over what Grafana finds long enough, and gauges never as rates."""
    parsed = promql_parser.parse(filled(expr, VALUES | {"$__rate_interval": "7777s"}))
    counters = 0
    for selector, function in selectors(parsed):
        counter = re.search("_(total|bucket|sum|count)$", selector.name) is not None
        allowed = RATES if counter else ("",)
        if selector.name == KEPT:
            allowed = (*RATES, "last_over_time")
        assert function in allowed or not (counter or function in RATES), (selector.name, function)
        counters += counter and function in RATES
    ranges = [
        one.range.total_seconds()
        for one, function in nodes(parsed)
        if isinstance(one, promql_parser.MatrixSelector) and function in RATES
    ]
    assert ranges == [7777] * counters, f"{where}: a rate over another time than $__rate_interval"


def test_every_name_is_in_the_vocabulary_and_all_of_it_is_shown() -> None:
    labels: dict[str, set[str]] = {}
    for name, found in samples(parse_text(exposed(service(model()))[0])):
        labels.setdefault(name, set()).update(name for name, _ in found)
    page = (Path(__file__).parents[2] / "docs" / "metrics.md").read_text()
    shown = set()
    for where, expr in EXPRESSIONS:
        for node, _ in nodes(promql_parser.parse(filled(expr))):
            if isinstance(node, promql_parser.VectorSelector):
                shown.add(node.name)
                assert node.name in labels, where
                assert f"`{re.sub('_(bucket|sum|count)$', '', node.name)}`" in page, node.name
                assert {one.name for one in node.matchers.matchers} <= labels[node.name], where
            if isinstance(node, promql_parser.AggregateExpr) and node.modifier is not None:
                assert node.modifier.type == promql_parser.AggModifierType.By, where
                for selector, _ in selectors(node):
                    assert set(node.modifier.labels) <= labels[selector.name], where
    derived = {f"driftline_prediction_latency_seconds_{part}" for part in ("count", "sum")}
    asked_by_rules = {"driftline_monitor_breaches"}  # the exported alert rules count by it
    assert set(labels) - shown - derived - asked_by_rules == set()


# ---- against a real server ----------------------------------------------------------------------------------


@contextlib.contextmanager
def scraping(folder: Path, target: str) -> Iterator[Prometheus]:
    """Prometheus as `driftline export prometheus` sets it up, in haste, once it has scraped often enough for rates."""
    files = {file.name: file.text for file in prometheus_files([], Addresses(target, "127.0.0.1:9"))}
    config = yaml.safe_load(files["prometheus.yml"])
    config["global"] = {"scrape_interval": "1s", "evaluation_interval": "1s"}
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "driftline.rules.yml").write_text(files["driftline.rules.yml"])
    server = Prometheus(folder, yaml.safe_dump(config))
    try:
        until(lambda: asked(server, "count_over_time(driftline_labels_total[10s]) >= 4"), "it has been scraped")
        yield server
    finally:
        server.stop()


@pytest.fixture(scope="module")
def prometheus(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Prometheus]:
    """Prometheus that has scraped all of the vocabulary: fabricated, of two models whose counters grow."""
    rounds = itertools.count()
    registry = CollectorRegistry()
    ends = ("promoted", "held", "refused", "failed", "rolled back")

    def grown() -> Any:
        by = next(rounds)
        return service(
            *(
                model(
                    name,
                    predictions={"v1": 100 + by, "v2": 50 + by},
                    labels=90 + by,
                    duplicates=2 + by,
                    retraining_runs={("alert", end): 1 for end in ends},
                    retraining_open={"running": 1, "waiting": 2, "baking": 1},
                )
                for name in ("churn", "fraud")
            )
        )

    registry.register(ServiceCollector(grown, 10_000))
    handler = type("Metrics", (MetricsHandler,), {"registry": registry, "log_message": lambda *_: None})
    exporter = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    threading.Thread(target=exporter.serve_forever, daemon=True).start()
    try:
        with scraping(tmp_path_factory.mktemp("prometheus"), f"127.0.0.1:{exporter.server_port}") as server:
            yield server
    finally:
        exporter.shutdown()
        exporter.server_close()


def asked(server: Prometheus, expr: str) -> Any:
    return answered(server, "query", query=expr)["result"]


def answered(server: Prometheus, path: str, **parameters: Any) -> Any:
    answer = httpx.get(f"{server.url}/api/v1/{path}", params=parameters, trust_env=False, verify=False).json()
    assert answer["status"] == "success", (parameters, answer.get("error"))
    assert not answer.get("warnings"), (parameters, answer["warnings"])
    return answer["data"]


def drawn_from(server: Prometheus, expr: str) -> list[dict[str, str]]:
    """The labels of the series that a query gives over the last ten seconds."""
    now = time.time()
    found = answered(server, "query_range", query=expr, start=now - 10, end=now, step=1)["result"]
    return [one["metric"] for one in found]


def not_drawn(server: Prometheus, values: Mapping[str, str]) -> set[str]:
    """The queries that find nothing, nor would if nothing were not shown as 0."""
    empty = set()
    for where, expr in EXPRESSIONS:
        asks = [filled(expr, values)]
        for node, _ in nodes(promql_parser.parse(asks[0])):
            shows_zero = isinstance(node, promql_parser.BinaryExpr) and str(node.rhs) == "vector(0)"
            if shows_zero and not any(one.offset for one, _ in selectors(node.lhs)):
                asks.append(node.lhs.prettify())
        empty |= {where for ask in asks if not drawn_from(server, ask)}
    return empty


@pytest.mark.parametrize("chosen", [{}, {"$model": "(churn|fraud)"}], ids=["one", "several"])
def test_every_query_finds_something(prometheus: Prometheus, chosen: Mapping[str, str]) -> None:
    several = {f"{uid}: " for uid, board in BOARDS.items() if _takes_several(board, "model")}
    empty = not_drawn(prometheus, VALUES | chosen)
    if chosen:
        empty = {where for where in empty if any(where.startswith(uid) for uid in several)}
    assert empty == set()


def _takes_several(board: Any, name: str) -> bool:
    return any(one["name"] == name and one.get("multi") for one in board["templating"]["list"])


def test_legends_and_columns_name_labels_that_come(prometheus: Prometheus) -> None:
    for uid, board in BOARDS.items():
        for panel in drawn(board):
            changed = panel.get("transformations", [])
            columns = [one["options"]["indexByName"] for one in changed if one["id"] == "organize"]
            for target in panel["targets"]:
                named = set(re.findall(r"\{\{(\w+)\}\}", target["legendFormat"]))
                for one in columns:
                    named |= {name for name in one if not name.startswith("Value")}
                for series in drawn_from(prometheus, filled(target["expr"])):
                    assert named <= set(series), (uid, panel["title"])


def test_every_variable_has_values(prometheus: Prometheus) -> None:
    every_variable_has_values(prometheus)


def every_variable_has_values(server: Prometheus) -> None:
    for uid, board in BOARDS.items():
        for one in board["templating"]["list"]:
            if one["type"] == "query":
                asks = re.fullmatch(r"label_values\((.*), (\w+)\)", one["query"]["query"])
                assert asks, one["query"]
                found = answered(server, f"label/{asks[2]}/values", **{"match[]": filled(asks[1])})
                assert VALUES[f"${one['name']}"] in found, (uid, one["name"])


def days(address: str, first: int, last: int) -> None:
    """Days on which the model, which says `pro` leaves, is wrong nine times in ten."""
    predictions, labels = [], []
    for number, index in itertools.product(range(first, last), range(40)):
        said, id = index % 2, f"{number}-{index}"
        row = prediction(id, number + index / 80, said=said) | {"latency_seconds": 0.01 * (1 + index % 5)}
        predictions.append(row | {"features": {"age": 70.0 + index, "plan": "pro" if said else "basic"}})
        labels.append(label(id, number + 0.9, truth=1 - said if index % 10 else said))
    assert post(address, "predictions", predictions)
    assert post(address, "labels", labels)


def test_of_a_real_service_only_that_is_missing_which_it_has_not_done(tmp_path: Path, server: Server) -> None:
    """A service that judges, alerts, tells people and retrains. What was fabricated above is said by itself here."""
    path = configured(tmp_path, approval="manual", train=TRAIN.replace('"v2"', "run.name"))  # another one each time
    path.write_text(
        f"{path.read_text()}\nnotify:\n  - {{webhook: {server.url}}}\n  - {{webhook: 'http://127.0.0.1:9'}}\n"
    )
    with (
        serving(path) as (_, address),
        scraping(tmp_path / "prometheus", address.removeprefix("http://")) as prometheus,
    ):
        api = f"{address}/api/v1"
        days(address, 0, 12)
        wrong = httpx.post(f"{api}/models/{MODEL}/predictions", json=[{"id": 1}], trust_env=False, verify=False)
        assert wrong.status_code == 422

        def waiting() -> Any:
            found = httpx.get(f"{api}/models/{MODEL}/retraining", trust_env=False, verify=False).json()["requests"]
            return [one["id"] for one in found if one["stage"] == "waiting"]

        said = {"by": "ann", "reason": "a look"}
        [id] = until(waiting, "a challenger waits")
        httpx.post(f"{api}/retraining/{id}/refuse", json=said, trust_env=False, verify=False).raise_for_status()
        httpx.post(f"{api}/models/{MODEL}/retrain", json=said, trust_env=False, verify=False).raise_for_status()
        until(waiting, "another one waits")
        until(lambda: asked(prometheus, "count_over_time(driftline_retraining_runs_total[10s]) >= 4"), "scraped")
        until(lambda: asked(prometheus, 'driftline_retraining_open{stage="waiting"}'), "scraped anew")
        missing = not_drawn(prometheus, VALUES)
        every_variable_has_values(prometheus)
    assert missing == {
        "driftline-model: Alarms of the detector",  # the model has no budget
        "driftline-pipeline: Windows pushed",
        "driftline-retraining: On probation",
        "driftline-retraining: Rolled back, last 30 days",
        "driftline-retraining: Failed, last 30 days",
    }


# ---- the files around them ----------------------------------------------------------------------------------


def test_provisioning_and_compose_name_what_there_is() -> None:
    others = {file.name for file in prometheus_files([], Addresses("127.0.0.1:8000", "127.0.0.1:9093"))}
    [source] = yaml.safe_load(SHIPPED["provisioning/datasources/driftline.yml"])["datasources"]
    assert (source["type"], source["url"]) == ("prometheus", PROMETHEUS)
    [provider] = yaml.safe_load(SHIPPED["provisioning/dashboards/driftline.yml"])["providers"]
    compose = yaml.safe_load(SHIPPED["compose.yml"])
    services = compose["services"]
    mounted = {
        target: source
        for one in services.values()
        for source, target in (volume.split(":")[:2] for volume in one["volumes"])
    }
    assert mounted[provider["options"]["path"]] == "./dashboards"
    assert mounted["/etc/grafana/provisioning"] == "./provisioning"
    for name, flag in (("prometheus", "--config.file="), ("alertmanager", "--config.file=")):
        [file] = [Path(word.removeprefix(flag)) for word in services[name]["command"] if word.startswith(flag)]
        assert mounted[str(file.parent)] == "./" and file.name in others
    for name, one in services.items():
        assert re.fullmatch(r"[\w./-]+:v?\d+\.\d+\.\d+", one["image"]), "tags are pinned"
        listens = [word for word in one.get("command", []) if "listen-address=" in word]
        address = one.get("environment", {}).get("GF_SERVER_HTTP_ADDR")
        assert address == "127.0.0.1" or all(word.endswith("=") or "127.0.0.1:" in word for word in listens), name
        assert address or listens
    home = Path(services["grafana"]["environment"]["GF_DASHBOARDS_DEFAULT_HOME_DASHBOARD_PATH"])
    assert f"dashboards/{home.name}" in SHIPPED


def test_prometheus_takes_the_flags_of_compose(prometheus: Prometheus, tmp_path: Path) -> None:
    [command] = [one["command"] for name, one in _services().items() if name == "prometheus"]
    flags = [word.split("=")[0] for word in command]
    said = subprocess.run(["prometheus", "--help"], capture_output=True, text=True, check=False)
    for flag in flags:
        assert flag in said.stdout + said.stderr


def _services() -> Any:
    return yaml.safe_load(SHIPPED["compose.yml"])["services"]


@pytest.mark.parametrize("address", ["https://p.example/a$b", "http://[::1]:9090", "http://h:1/"])
def test_another_prometheus(address: str) -> None:
    files = {file.name: file.text for file in grafana_files(address)}
    [source] = yaml.safe_load(files["provisioning/datasources/driftline.yml"])["datasources"]
    assert source["url"].replace("$$", "$") == address.rstrip("/")
    assert urlsplit(source["url"]).hostname
    changed = {name for name in files if files[name] != SHIPPED[name]}
    assert changed == {"provisioning/datasources/driftline.yml"}


@pytest.mark.parametrize(
    "address", ["", "127.0.0.1:9090", "ftp://h", "http://", "http://u:p@h", 'http://h/"', "http://h:0"]
)
def test_what_is_no_address(address: str) -> None:
    with pytest.raises(UsageError, match="--prometheus came as"):
        grafana_files(address)


def test_on_the_command_line(tmp_path: Path) -> None:
    done = CliRunner().invoke(command, ["grafana", str(tmp_path / "here")])
    assert done.exit_code == 0
    assert {path.relative_to(tmp_path / "here").as_posix() for path in tmp_path.rglob("*") if path.is_file()} == set(
        SHIPPED
    )
    again = CliRunner().invoke(command, ["grafana", str(tmp_path / "here")])
    assert again.output.count("unchanged") == len(SHIPPED)
