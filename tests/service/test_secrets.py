"""Secrets: wherever one may stand in driftline.yaml, a variable or a file does as well, and nothing ever shows it."""

from __future__ import annotations

import functools
import itertools
import re
import signal
import subprocess
import sys
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import httpx
import pytest

from driftline import clock
from driftline.access.callers import Role
from driftline.access.tokens import create_token
from driftline.alerts.receivers import open_channel
from driftline.config.load import load
from driftline.environment import secret
from driftline.errors import ConfigError, UsageError
from driftline.retrain.controller import open_runner
from driftline.service.runtime import Service
from driftline.web.app import create_app
from tests.support.churn import MODEL, write_config
from tests.support.servers import until
from tests.support.steps import a_day

NOWHERE = "127.0.0.1:1"
HUSH = re.compile("hush[0-9]+")

NOTIFY = [
    "{webhook: <address>, secret: <word>}",
    "{alertmanager: <address>}",
    "{slack: <address>}",
    "{teams: <address>}",
    "{pagerduty: <word>, url: <address>}",
    "{email: {host: '::1', port: 1, security: none, username: <word>, password: <word>, from: a@a, to: [a@a]}}",
    "{apprise: <apprise>}",
]
RUNNERS = [
    "{webhook: {url: <address>, secret: <word>}, report_secret: <word>}",
    "{github: {repository: a/b, token: <word>, url: <address>}}",
    "{airflow: {url: <address>, dag: d, username: <word>, password: <word>}}",
    "{airflow: {url: <address>, dag: d, token: <word>}}",
    "{prefect: {url: <address>, deployment: f/d, token: <word>}}",
    "{dagster: {url: <address>, job: j, location: l, token: <word>}}",
]
MORE = "prometheus: {remote_write: <address>}\nregistry: <address>\nlog: {format: json, level: debug}\n"
TRIED = {"webhook-1", "slack-3", "teams-4", "email-6", "apprise-7"}
"""Those of the receivers that hear of an alert that was over when it was first seen."""

VALUES = {"address": f"http://{NOWHERE}/", "apprise": f"json://{NOWHERE}/", "word": ""}


def planted(folder: Path, way: Callable[[str, str], str], runner: str = RUNNERS[0], more: str = MORE) -> Path:
    """Write a configuration with a secret of its own in each key that may have one; ``way`` says how it is written."""
    numbers = itertools.count(1)

    def put(found: re.Match[str]) -> str:
        name = f"hush{next(numbers)}"
        return f"'{way(name, VALUES[found[1]] + name)}'"

    retrain = (
        f"    retrain: {{run: {runner}, least_labels: 1, evaluate_on: 1d, tell: {{url: <address>, secret: <word>}}}}\n"
    )
    more = "notify:\n" + "".join(f"  - {one}\n" for one in NOTIFY) + more + "auth: {required: true}\n"
    config = write_config(folder)
    text = config.read_text().replace("storage: ./data", f"{retrain}storage: ./data") + more
    config.write_text(re.sub("<([a-z]+)>", put, text))
    return config


def driftline(folder: Path, *words: str) -> str:
    done = subprocess.run(
        [sys.executable, "-m", "driftline", *words], cwd=folder, capture_output=True, text=True, check=False, timeout=60
    )
    assert done.returncode in (0, 1, 2), done.stderr
    return done.stdout + done.stderr


def _tried(metrics: str) -> set[str]:
    """The receivers for which an attempt has failed."""
    found = re.findall(r'driftline_notification_failures_total\{channel="([^"]+)"\} ([0-9.]+)', metrics)
    return {name for name, count in found if float(count) > 0}


def addresses(service: Service) -> list[str]:
    found = set()
    for one in create_app(service).routes:
        inner = getattr(one, "original_router", None)
        found |= {route.path for route in ([one] if inner is None else inner.routes) if "GET" in route.methods}
    return sorted(re.sub(r"\{\w+(:path)?\}", "nothing", path.replace("{model}", MODEL)) for path in found)


def test_a_service_says_no_secret_wherever_one_is_looked_for(tmp_path: Path) -> None:
    """A fired alert that no receiver takes, a challenger that nobody trains, every page, answer and line of the log."""

    def write(name: str, value: str) -> str:
        if int(name.removeprefix("hush")) % 2:
            return value
        (tmp_path / name.replace("hush", "secret")).write_text(f"{value}\n")
        return f"file:{tmp_path / name.replace('hush', 'secret')}"

    # an MLflow that is away keeps the service from starting: that is said elsewhere
    known = load(planted(tmp_path, write, more=MORE.replace("registry: <address>\n", "")))
    service = Service(known)
    paths = addresses(service)
    token = create_token(service.state, "ann", Role.ADMIN, datetime.now(UTC), by="root")
    service.stop()
    said = [driftline(tmp_path, *words) for words in (["doctor", "--json"], ["models", "--json"])]
    command = [sys.executable, "-m", "driftline", "serve", "--port", "0"]
    with (
        (tmp_path / "log").open("w") as log,
        subprocess.Popen(command, cwd=tmp_path, stdout=subprocess.PIPE, stderr=log, text=True) as process,
    ):
        try:
            assert process.stdout is not None
            found = re.search(r"http://[0-9.:]+", process.stdout.readline())
            assert found is not None
            with httpx.Client(
                base_url=found[0],
                trust_env=False,
                verify=False,
                headers={"Authorization": f"Bearer {token}"},
                timeout=20,
            ) as client:
                for day in (0, 1, 3):
                    for kind, rows in zip(("predictions", "labels"), a_day(day, right=30, wrong=30), strict=True):
                        assert client.post(f"/api/v1/models/{MODEL}/{kind}", json=rows).status_code == 202
                until(lambda: client.get("/ready").json()["idle"], "the worker rests")
                fired = until(lambda: client.get("/api/v1/alerts").json()["alerts"], "an alert")
                asked = client.post(f"/api/v1/models/{MODEL}/retrain", json={"reason": "to see"})
                assert asked.status_code in (201, 202), asked.text
                paths += [f"/alerts/{fired[0]['id']}", f"/api/v1/alerts/{fired[0]['id']}/explanation"]
                until(lambda: _tried(client.get("/metrics").text) >= TRIED, "receivers are tried", 20)
                until(lambda: "retraining churn" in Path(log.name).read_text(), "the runner is tried", 20)
                for path in paths:
                    for accept in ("text/html", "application/json"):
                        answer = client.get(path, headers={"Accept": accept})
                        said.append(answer.text + str(answer.headers))
        finally:
            process.send_signal(signal.SIGTERM)
            out, _ = process.communicate(timeout=60)
    err = (tmp_path / "log").read_text()
    assert process.returncode == 0, err
    assert len(paths) > 25 and "retraining" in err
    assert not HUSH.search(out + err), HUSH.search(out + err)
    assert not [HUSH.findall(one) for one in said if HUSH.search(one)]
    assert token not in out + err


@pytest.mark.filterwarnings("ignore:'imghdr'")  # Apprise imports it
@pytest.mark.parametrize("runner", RUNNERS)
def test_every_place_takes_a_variable_that_has_to_be_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, runner: str
) -> None:
    """Each receiver and runner asks for the variables that it names: nothing is used as it was written."""
    values: dict[str, str] = {}

    def write(name: str, value: str) -> str:
        values[name.upper()] = value
        return f"env:{name.upper()}"

    config = load(planted(tmp_path, write, runner))
    retrain = config.retrain[MODEL]
    opening: list[Callable[[], object]] = [functools.partial(open_channel, one, clock.now) for one in config.notify]
    opening.append(functools.partial(open_runner, retrain))
    asked: set[str] = set()
    for opened in opening:
        while True:
            try:
                opened()
                break
            except UsageError as error:
                [name] = re.findall("'env:(HUSH[0-9]+)'", str(error))
                assert name not in asked
                asked.add(name)
                monkeypatch.setenv(name, values[name])
    assert retrain.tell is not None
    others = (retrain.tell.url, retrain.tell.secret, retrain.run.report_secret)
    kept = (*others, config.registry, config.prometheus.remote_write)
    assert asked | {one.removeprefix("env:") for one in kept if one is not None} == set(values)


@pytest.mark.parametrize(
    ("content", "path", "said"),
    [
        (None, "{}/nothing", "cannot be read: No such file"),
        (None, "{}", "cannot be read: Is a directory"),
        (b"", "{}/secret", "has 0 bytes"),
        (b"\n", "{}/secret", "has 1 bytes"),
        (b"\xff", "{}/secret", "it is not UTF-8"),
        (b"hush1" * 20_000, "{}/secret", "allowed are 1 to 65536"),
        (b"hush1", "secret", "is not absolute"),
    ],
)
def test_a_file_without_a_secret_is_said_and_its_content_is_not(
    tmp_path: Path, content: bytes | None, path: str, said: str
) -> None:
    if content is not None:
        (tmp_path / "secret").write_bytes(content)
    with pytest.raises(UsageError) as caught:
        secret(f"file:{path.format(tmp_path)}")
    assert said in str(caught.value) and "hush1" not in str(caught.value)


def test_a_file_ends_without_its_line_end(tmp_path: Path) -> None:
    (tmp_path / "secret").write_text(" s3cret \r\n")
    assert secret(f"file:{tmp_path / 'secret'}") == " s3cret "


@pytest.mark.parametrize(
    "mistake",
    [
        "notify: [{webhook: 'ftp://x/hush1'}]",
        "notify: [{slack: 'hush1'}]",
        "prometheus: {remote_write: 'hush1'}",
        "registry: 'http://a:b/hush1'",
        "database: 'mysql://u:hush1@h/d'",
        "database: 'postgresql+psycopg://u:hush1@h:0/d'",
        "database: 'postgresql+psycopg://u:hush1@h/d?x=1'",
    ],
)
def test_a_mistake_repeats_no_secret(tmp_path: Path, mistake: str) -> None:
    with pytest.raises(ConfigError) as caught:
        load(write_config(tmp_path, mistake))
    assert "hush1" not in str(caught.value)
