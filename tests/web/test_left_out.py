"""What rows leave out is nothing in a body, but something once they are checked: it counts as unpacked, too."""

from __future__ import annotations

import io
import json
from collections.abc import Iterator

import polars as pl
import pytest

from driftline.config.load import load
from driftline.net.limits import TooLargeError
from driftline.service.runtime import Service
from driftline.store.framed import PredictionFrame
from driftline.web.desk import Desk, Incoming
from driftline.web.requests import ARROW, JSON, NDJSON, PARQUET
from tests.support.churn import MODEL, reference_rows, write_config

FEATURES = 60
MOST = 200_000 // (8 * FEATURES)


@pytest.fixture(scope="module")
def desk(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Desk]:
    folder = tmp_path_factory.mktemp("wide")
    more = [f"f{place}" for place in range(FEATURES)]
    reference_rows(20).with_columns(pl.lit(0.5).alias(name) for name in more).write_parquet(
        folder / "reference.parquet"
    )
    path = write_config(folder, "limits: {unpacked: 200KB}")
    path.write_text(path.read_text().replace("[age, plan]", f"[{', '.join(more)}]"))
    service = Service(load(path))
    yield Desk(service, MODEL)
    service.stop()


def body_of(format: str, rows: int) -> bytes:
    events = [{"id": f"a{place}", "prediction": 1} for place in range(rows)]
    if format in (JSON, NDJSON):
        return json.dumps(events).encode() if format == JSON else b"\n".join(json.dumps(one).encode() for one in events)
    to, frame = io.BytesIO(), pl.DataFrame(events)
    _ = frame.write_ipc_stream(to) if format == ARROW else frame.write_parquet(to)
    return to.getvalue()


@pytest.mark.parametrize("format", [JSON, NDJSON, ARROW, PARQUET])
def test_a_small_body_of_many_rows_without_features_is_refused_before_they_are_made(desk: Desk, format: str) -> None:
    fits = desk.check(Incoming("predictions", body_of(format, MOST), format))
    assert len(fits.events) == MOST
    assert isinstance(fits.events, PredictionFrame) is (format in (ARROW, PARQUET))
    larger = body_of(format, MOST + 1)
    assert desk.quickly(Incoming("predictions", larger, format)) is None
    with pytest.raises(TooLargeError, match=r"all 60 features of its model; .*limits\.unpacked.*smaller batches"):
        desk.check(Incoming("predictions", larger, format))


def test_labels_have_no_features_to_leave_out(desk: Desk) -> None:
    labels = pl.DataFrame({"id": [f"a{place}" for place in range(5 * MOST)], "label": 1})
    to = io.BytesIO()
    labels.write_ipc_stream(to)
    assert len(desk.check(Incoming("labels", to.getvalue(), ARROW)).events) == 5 * MOST
