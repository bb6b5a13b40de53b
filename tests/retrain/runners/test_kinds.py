"""A kind of runners is one file and one line in a table."""

from __future__ import annotations

import sys
from pathlib import Path

import msgspec
import pytest

from driftline.config.load import parse
from driftline.retrain.options import RunSection
from driftline.retrain.runners import KINDS, kind_of
from driftline.retrain.runners.run import Limits

OPTIONS = {
    "commands": [["python", "train.py"]],
    "function": "train.py:train",
    "github": {"repository": "example/models", "token": "key"},
    "airflow": {"url": "http://127.0.0.1:9", "dag": "train"},
    "prefect": {"url": "http://127.0.0.1:9/api", "deployment": "train/churn"},
    "dagster": {"url": "http://127.0.0.1:9", "job": "train", "location": "models"},
    "webhook": {"url": "http://127.0.0.1:9/hook"},
}
CONFIG = {"reference": {"path": "reference.csv"}, "columns": {"prediction": "p", "label": "y"}}


@pytest.mark.parametrize("key", KINDS)
def test_a_kind_says_what_its_key_is_and_opens_a_runner(key: str, tmp_path: Path) -> None:
    model = {**CONFIG, "retrain": {"run": {key: OPTIONS[key], "memory": "1GB"}}}
    config = parse(msgspec.json.encode({"models": {"churn": model}}).decode(), tmp_path / "driftline.yaml")
    retrain = config.retrain["churn"]
    assert retrain.run.key == key
    assert retrain.run.elsewhere is kind_of(key).elsewhere
    assert retrain.run.most_time == ("1d" if retrain.run.elsewhere else "1h")
    runner = kind_of(key).open(getattr(retrain.run, key), retrain)
    assert callable(runner.start)
    if not retrain.run.elsewhere:
        assert runner.limits == Limits(seconds=3600.0, memory_bytes=10**9)  # type: ignore[attr-defined]


def test_every_file_of_a_kind_stands_in_the_table() -> None:
    folder = Path(sys.modules["driftline.retrain.runners"].__file__ or "").parent
    files = {one.stem for one in folder.glob("*.py") if "\nKIND = " in one.read_text()}
    assert files == set(KINDS.values())
    assert {*KINDS} <= set(RunSection.__struct_fields__)  # type: ignore[attr-defined]
