"""A model that is retrained in a process of its own, and days of a world that turns."""

from __future__ import annotations

import atexit
import functools
import re
import shutil
import tempfile
import textwrap
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

from driftline.config.load import load
from driftline.retrain.request import Stage
from driftline.service.runtime import Service
from driftline.store.retraining import Retraining, RetrainingRow
from tests.support.churn import MODEL, label, prediction, write_config
from tests.support.steps import deliver, work

NOW = datetime(2026, 1, 1, tzinfo=UTC)


TRAIN = '''
import json
from pathlib import Path

import polars as pl


def train(run: Path):
    """Learns what each plan mostly does."""
    train, rows = pl.read_parquet(run / "train.parquet"), pl.read_parquet(run / "evaluation.parquet")
    learned = dict(train.group_by("plan").agg(pl.col("label").mean().round().cast(pl.Int64)).rows())
    (run / "model.json").write_text(json.dumps(learned))
    rows.select("id", prediction=pl.col("plan").replace_strict(learned, default=0)).write_parquet(run / "said.parquet")
    return {"version": "v2", "predictions": {"challenger": "said.parquet"}, "artifacts": ["model.json"], "code": "abc"}
'''


RETRAIN = """\
    retrain:
      run: {{function: "train.py:train", time_limit: 1min}}
      when: {{alerts: [accuracy-low]}}
      cooldown: 2d
      least_labels: 50
      train_on: 5d
      evaluate_on: 5d
      bake: 3d
      approval: {approval}
      gates: {{least_rows: 50}}
storage:"""


def configured(folder: Path, approval: str = "auto", train: str = TRAIN, **changes: str) -> Path:
    path = write_config(folder)
    text = path.read_text().replace("storage:", RETRAIN.format(approval=approval))
    for before, after in changes.items():
        text = text.replace(before, after)
    path.write_text(text.replace("score: score, ", ""))
    (folder / "train.py").write_text(textwrap.dedent(train))
    return path


def after_twelve_days(folder: Path, *, flipped: bool = True, **options: str) -> Service:
    """A service as `days` leaves it after twelve, which it has lived once for all who want one."""
    path = configured(folder, **options)
    shutil.copytree(_twelve_days(RETRAIN_PART.sub("", path.read_text()), flipped), folder / "data")
    return Service(load(path))


RETRAIN_PART = re.compile(r"^    retrain:\n.*?(?=^storage:)", re.DOTALL | re.MULTILINE)
"""What of a configuration says how a model is retrained: nothing that happens before anybody asks depends on it."""


@functools.cache
def _twelve_days(config: str, flipped: bool) -> Path:
    folder = Path(tempfile.mkdtemp(prefix="driftline-twelve-days-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    path = write_config(folder)
    path.write_text(config)
    service = Service(load(path))
    days(service, 0, 12, flipped=flipped)
    service.stop()
    return folder / "data"


def day(
    service: Service, number: int, *, version: str = "v1", flipped: bool = True, rows: int = 40, named: str = ""
) -> None:
    """A day: half of the rows are of each plan. The old model says `pro` leaves; since it turned, `basic` does.

    The rows carry the version, or where that is empty none, and then ``named`` is the model that answers.
    """
    _arrives(service, number, version, flipped, rows, named)
    work(service)


def _arrives(service: Service, number: int, version: str, flipped: bool, rows: int, named: str) -> None:
    predictions, labels = [], []
    for index in range(rows):
        plan = "pro" if index % 2 else "basic"
        truth = int((plan == "basic") is flipped) if index % 10 else 1 - int((plan == "basic") is flipped)
        said = int((plan == "pro") is ((named or version) == "v1"))
        id = f"{number}-{index}"
        row = prediction(id, number + index / rows / 2, said=said) | {"version": version}
        predictions.append(row | {"features": {"age": 30.0 + index, "plan": plan}})
        labels.append(label(id, number + 0.9, truth=truth))
    deliver(service, "predictions", predictions)
    deliver(service, "labels", labels)


def days(
    service: Service,
    first: int,
    last: int,
    *,
    version: str = "v1",
    flipped: bool = True,
    rows: int = 40,
    named: str = "",
) -> None:
    """Days that a service works on together: a third of the work of one after the other, and the same state."""
    for number in range(first, last):
        _arrives(service, number, version, flipped, rows, named)
    work(service)


def loop(service: Service, now: datetime = NOW, until: Callable[[RetrainingRow], bool] | None = None) -> RetrainingRow:
    """Step the loop until nothing moves and nothing runs; return the newest request."""
    end = time.monotonic() + 60
    while True:
        moved = service.loop.step(MODEL, now)
        rows = requests(service)
        if rows and until is not None and until(rows[0]):
            return rows[0]
        if not moved and (not rows or rows[0].stage != Stage.RUNNING.value):
            assert rows, "nobody asked"
            return rows[0]
        assert time.monotonic() < end
        time.sleep(0.03)


def requests(service: Service) -> list[RetrainingRow]:
    with service.state.read() as read:
        return Retraining(read.connection).rows(MODEL)
