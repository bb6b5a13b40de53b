"""The benchmark of the label join, with a few thousand: it requires that what is counted is what was sent."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from benchmarks import label_join
from driftline.monitoring import draining
from driftline.store import runs


def test_labels_are_joined_through_the_services_own_parts(
    address: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """In several batches and runs, in every database that the state can be in."""
    monkeypatch.setattr(draining, "MOST_EVENTS", 600)
    monkeypatch.setattr(runs, "FULL", 1500)
    label_join.measure(3_000, 1_100, 2, address, tmp_path)
    predictions, labels = capsys.readouterr().out.splitlines()
    assert re.search(r"^3,000 predictions of 2 features: .* ids: 24\.[0-9] bytes each in [2-9] runs", predictions)
    assert re.search(r"^1,100 labels: joined in .* s a million", labels)


def test_it_notices_what_is_counted_wrongly(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real = label_join.send_labels
    monkeypatch.setattr(label_join, "send_labels", lambda service, numbers, of: real(service, numbers[:-1], of))
    with pytest.raises(SystemExit, match="were sent"):
        label_join.measure(1_000, 200, 1, "sqlite:///./state.db", tmp_path)
