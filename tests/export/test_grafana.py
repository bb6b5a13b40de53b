"""Dashboards: made anew they are the same, they keep the rules of the house, and every query finds something."""

from __future__ import annotations

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
from driftline.export.grafana_files import PROMETHEUS, grafana_files
from driftline.export.prometheus import ServiceCollector
from driftline.export.prometheus_files import Addresses, prometheus_files
from tests.export.test_exposition import exposed, model, samples, service
from tests.servers import Prometheus, until

SHIPPED = {file.name: file.text for file in grafana_files()}
BOARDS: Mapping[str, Any] = {
    Path(name).stem: json.loads(text) for name, text in SHIPPED.items() if name.startswith("dashboards/")
}
RANGE_FUNCTIONS = ("rate", "increase", "irate", "deriv", "delta", "idelta")
VALUES = {
    "$__rate_interval": "4s",
    "$__range": "60s",
    "$__interval": "2s",
    "${datasource}": "prometheus",
    "$model": "churn",
    "$version": "v1",
    "$metric": "accuracy",
    "$feature": "age",
    "$channel": "team",
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


def filled(text: str) -> str:
    """The text with a value for each variable, as Grafana would put it in."""
    for name, value in sorted(VALUES.items(), key=lambda one: -len(one[0])):
        text = text.replace(name, value)
    return text


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
    assert promql_parser.parse(filled(expr))
    for function, inside in re.findall(rf"\b({'|'.join(RANGE_FUNCTIONS)})\(([^()]*)\)", expr):
        assert "$__rate_interval" in inside, (where, function)
    for name, after in re.findall(r"\b(driftline_\w+?_(?:total|bucket|sum|count))\b(?:\{[^}]*\})?(\[)?", expr):
        assert after == "[", f"{where}: the counter {name} is shown as it stands"


def test_every_name_is_in_the_vocabulary_and_on_its_page() -> None:
    known = {name for name, _ in samples(parse_text(exposed(service(model()))[0]))}
    page = (Path(__file__).parents[2] / "docs" / "metrics.md").read_text()
    for where, expr in EXPRESSIONS:
        for name in re.findall(r"\bdriftline_\w+", expr):
            assert name in known, f"{where}: {name}"
            assert f"`{re.sub('_(bucket|sum|count)$', '', name)}" in page, name


# ---- against a real server ----------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def prometheus(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Prometheus]:
    """Prometheus that has scraped a service whose counters grow."""
    rounds = itertools.count()
    registry = CollectorRegistry()

    def grown() -> Any:
        by = next(rounds)
        return service(
            *(
                model(name, predictions={"v1": 100 + by, "v2": 50 + by}, labels=90 + by, duplicates=2 + by)
                for name in ("churn", "fraud")
            )
        )

    registry.register(ServiceCollector(grown, 10_000))
    handler = type("Metrics", (MetricsHandler,), {"registry": registry, "log_message": lambda *_: None})
    exporter = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    threading.Thread(target=exporter.serve_forever, daemon=True).start()
    files = {
        file.name: file.text
        for file in prometheus_files([], Addresses(f"127.0.0.1:{exporter.server_port}", "127.0.0.1:9"))
    }
    config = yaml.safe_load(files["prometheus.yml"])
    config["global"] = {"scrape_interval": "1s", "evaluation_interval": "1s"}
    folder = tmp_path_factory.mktemp("prometheus")
    (folder / "driftline.rules.yml").write_text(files["driftline.rules.yml"])
    server = Prometheus(folder, yaml.safe_dump(config))
    try:
        until(lambda: asked(server, "count_over_time(driftline_labels_total[10s]) >= 4"), "it has been scraped")
        yield server
    finally:
        server.stop()
        exporter.shutdown()
        exporter.server_close()


def asked(server: Prometheus, expr: str) -> Any:
    answer = httpx.get(f"{server.url}/api/v1/query", params={"query": expr}, trust_env=False).json()
    assert answer["status"] == "success", f"{expr}: {answer.get('error')}"
    return answer["data"]["result"]


def test_every_query_finds_something(prometheus: Prometheus) -> None:
    empty = []
    for where, expr in EXPRESSIONS:
        now = time.time()
        answer = httpx.get(
            f"{prometheus.url}/api/v1/query_range",
            params={"query": filled(expr), "start": now - 10, "end": now, "step": 1},
            trust_env=False,
        ).json()
        assert answer["status"] == "success", f"{where}: {answer.get('error')}: {filled(expr)}"
        if not answer["data"]["result"]:
            empty.append((where, filled(expr)))
    assert not empty


def test_every_variable_has_values(prometheus: Prometheus) -> None:
    for uid, board in BOARDS.items():
        for one in board["templating"]["list"]:
            if one["type"] != "query":
                continue
            found = re.fullmatch(r"label_values\((.*), (\w+)\)", one["query"]["query"])
            assert found, one["query"]
            answer = httpx.get(
                f"{prometheus.url}/api/v1/label/{found[2]}/values",
                params={"match[]": filled(found[1])},
                trust_env=False,
            ).json()
            assert VALUES[f"${one['name']}"] in answer["data"], (uid, one["name"])


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
