"""What operators ask: of a service of one process, and of a process that answers nobody else."""

from __future__ import annotations

import os

import pytest
from starlette.testclient import TestClient

from driftline.access.options import Auth
from driftline.service.runtime import Service
from driftline.web.access import Gate
from driftline.web.app import create_app, create_small_app


def test_a_service_of_one_process_has_no_leases(service: Service) -> None:
    with TestClient(create_app(service)) as client:
        system = client.get("/api/v1/system").json()
    [process] = system["processes"]
    assert (process["role"], process["pid"], process["problems"]) == ("all", os.getpid(), {})
    assert (system["leases"], system["waiting_events"]) == ([], {})


@pytest.mark.parametrize("required", [False, True])
def test_a_process_without_requests_answers_its_operators_alone(service: Service, required: bool) -> None:
    gate = Gate(service.state, Auth(), required=required)
    with TestClient(create_small_app(service, gate)) as client:
        assert client.get("/health").json() == {"status": "ok"}
        assert client.get("/ready").json()["ready"]
        metrics = client.get("/metrics")
        assert client.get("/").status_code == client.get("/api/v1/models").status_code == 404
    assert metrics.status_code == (401 if required else 200)
    assert required or "driftline_process_problems 0.0" in metrics.text
