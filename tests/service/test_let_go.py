"""A worker that could not take a model over, and lost it to another, says nothing of it any more."""

from __future__ import annotations

import pytest

from driftline.service.runtime import Service
from driftline.service.worker import LeaseLostError
from tests.support.churn import MODEL


class Lost:
    """Leases, all of which others hold."""

    def using(self, name: str) -> None:
        raise LeaseLostError(name)

    def held(self, name: str) -> bool:
        return False


def test_what_was_wrong_with_a_model_goes_with_its_lease(service: Service, monkeypatch: pytest.MonkeyPatch) -> None:
    worker = service.worker
    worker._mine.pop(MODEL, None)  # its taking over failed
    worker._troubles.words[MODEL] = "the database is away"
    monkeypatch.setattr(worker, "_keeper", Lost())
    worker._change_hands()
    assert worker.problems == {}
