"""Requests have ids: in the answer, in each line of the log, and in what a person reports."""

from __future__ import annotations

import contextlib
import json
import logging
import signal
import socket
import subprocess
import sys
import threading
from datetime import UTC, datetime
from pathlib import Path

import httpx
import pytest
from fastapi.testclient import TestClient

from driftline.access.callers import Role
from driftline.access.tokens import create_token
from driftline.config.load import load
from driftline.logs import json_line
from driftline.service.runtime import Service
from driftline.web.app import create_app
from driftline.web.numbered import numbered
from driftline.web.server import Server, listen
from tests.support.churn import MODEL, prediction, write_config

PREDICTIONS = f"/api/v1/models/{MODEL}/predictions"
SLOW_SECONDS = 60
HOOK = "http://127.0.0.1:1/services/SECRET-of-the-hook"


class Lines(logging.Handler):
    """Keeps each record as its line, made where it was logged."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[dict[str, object]] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.found.append(json.loads(json_line(record)))


def test_a_fault_is_reported_by_the_id_of_its_request(service: Service, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken() -> None:
        logging.getLogger("driftline").warning("in a thread")
        raise ArithmeticError

    monkeypatch.setattr(service.views, "models", broken)
    lines = Lines()
    logger = logging.getLogger("driftline")
    before = logger.level
    logger.setLevel(logging.INFO)  # not by hand: loggers remember what is enabled
    logger.addHandler(lines)
    try:
        client = TestClient(numbered(create_app(service)), raise_server_exceptions=False)
        answer = client.get("/api/v1/models", headers={"X-Request-Id": "from-a-proxy"})
        client.get("/health")
        unknown = client.get("/api/v1/models/nothing?token=SECRET", headers={"X-Request-Id": "not one"})
    finally:
        logger.removeHandler(lines)
        logger.setLevel(before)
    assert (answer.status_code, answer.headers["X-Request-Id"]) == (500, "from-a-proxy")
    assert "at request from-a-proxy" in answer.json()["error"]["message"]
    made = unknown.headers["X-Request-Id"]
    assert len(made) == 16
    assert [(one["logger"], one["request_id"], one["message"]) for one in lines.found] == [
        ("driftline", "from-a-proxy", "in a thread"),
        ("driftline.requests", "from-a-proxy", "GET /api/v1/models 500"),
        ("driftline.requests", made, "GET /api/v1/models/nothing 404"),
    ]
    assert lines.found[2]["model"] == "nothing"
    assert "SECRET" not in json.dumps(lines.found)


def test_the_servers_own_line_about_a_fault_has_the_id(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    server = Server(load(write_config(tmp_path)), listen("127.0.0.1", 0), tell=lambda line: None)

    def broken() -> None:
        raise ArithmeticError("a fault")

    monkeypatch.setattr(server._service.views, "models", broken)
    lines, logger = Lines(), logging.getLogger("uvicorn.error")
    logger.addHandler(lines)
    thread = threading.Thread(target=server.run)
    thread.start()
    try:
        headers = {"X-Request-Id": "of-the-fault"}
        answer = httpx.get(
            f"{server.address}/api/v1/models", headers=headers, trust_env=False, verify=False, timeout=30
        )
    finally:
        server.stop()
        thread.join(SLOW_SECONDS)
        logger.removeHandler(lines)
    assert (answer.status_code, answer.headers["X-Request-Id"]) == (500, "of-the-fault")
    [fault] = [one for one in lines.found if "exception" in one]
    assert (fault["request_id"], fault["level"]) == ("of-the-fault", "error")
    assert "ArithmeticError: a fault" in str(fault["exception"])


def test_a_change_names_its_request_and_one_by_a_command_none(service: Service) -> None:
    client = TestClient(numbered(create_app(service)))
    body = {"match": {"model": "x"}, "by": "ann", "reason": "r", "for": "1h"}
    made = client.post("/api/v1/silences", json=body, headers={"X-Request-Id": "of-ann"}).json()
    create_token(service.state, "ci", Role.READ, datetime.now(UTC), by="root")
    client.delete(f"/api/v1/silences/{made['id']}", headers={"X-Request-Id": "two words"})
    changes = client.get("/api/v1/audit").json()["changes"]
    ended, command, silenced = changes
    assert (silenced["request"], command["request"]) == ("of-ann", "")
    assert len(ended["request"]) == 16 and ended["action"] == "end silence"


def test_every_line_of_a_service_is_json_and_none_has_a_secret(tmp_path: Path) -> None:
    """At its most talkative: its start, uvicorn's lines, requests good and bad, a receiver that is away, its end."""
    more = f"log: {{format: json, level: debug}}\nauth: {{required: true}}\nnotify: [{{webhook: '{HOOK}'}}]"
    config = write_config(tmp_path, more)
    service = Service(load(config))
    token = create_token(service.state, "scorer", Role.WRITE, datetime.now(UTC), by="root")
    service.stop()
    command = [sys.executable, "-m", "driftline", "serve", "--config", str(config), "--port", "0"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            first = json.loads(process.stdout.readline())
            address = first["message"].split()[-1]
            headers = {"Authorization": f"Bearer {token}"}
            with httpx.Client(base_url=address, trust_env=False, headers=headers, verify=False) as client:
                sent = client.post(PREDICTIONS, json=[prediction("a", 0.1, said=1)], headers={"X-Request-Id": "r1"})
                assert (sent.status_code, sent.headers["X-Request-Id"]) == (202, "r1")
                assert client.get("/metrics").status_code == 403
                assert client.get("/ready", headers={"Host": "evil.example"}).headers["X-Request-Id"]
            host, port = address.removeprefix("http://").split(":")
            with contextlib.suppress(OSError), socket.create_connection((host, int(port))) as raw:
                raw.sendall(b"\x1b[2J\r\n\r\n")
                raw.recv(1000)
        finally:
            process.send_signal(signal.SIGTERM)
            out, err = process.communicate(timeout=SLOW_SECONDS)
    assert process.returncode == 0
    lines = [json.loads(line) for line in [*out.splitlines(), *err.splitlines()]]
    assert all({"time", "level", "logger", "message"} <= set(one) for one in lines)
    [request] = [one for one in lines if one.get("request_id") == "r1"]
    assert (request["by"], request["model"], request["status"]) == ("scorer", MODEL, 202)
    assert any(one["logger"].startswith("uvicorn") for one in lines)
    assert any(one.get("status") == 421 for one in lines)
    assert "SECRET" not in out + err and token not in out + err
