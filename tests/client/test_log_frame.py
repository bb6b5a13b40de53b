"""`Monitor.log_frame` and what it shares with `driftline send`: tables of any kind, batch by batch, each row once."""

from __future__ import annotations

import builtins
import io
import sys
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from driftline.client import Monitor, Sent, batches, tables
from driftline.client.frames import Cut, Shipment
from driftline.client.tables import ArrowTable, PolarsTable, batch_rows, evenly, source_of
from driftline.client.transport import Answer, Refused, Transport
from driftline.errors import DataError, RefusedError, UnreachableError, UsageError
from tests.support.churn import MODEL
from tests.support.sdk_server import free_port
from tests.support.served import wait_until_idle

ROWS = 50


@pytest.fixture
def service(churn_address: str) -> str:
    return churn_address


@pytest.fixture
def monitor(service: str) -> Iterator[Monitor]:
    with Monitor(MODEL, service, version="v7") as one:
        yield one


@pytest.fixture(autouse=True)
def small_batches(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tables, "_MOST_ROWS", 20)


def rows(prefix: str, count: int = ROWS) -> pl.DataFrame:
    start = datetime(2024, 3, 1, tzinfo=UTC)
    return pl.DataFrame(
        {
            "key": [f"frame-{prefix}-{number}" for number in range(count)],
            "when": [start + timedelta(minutes=number) for number in range(count)],
            "age": [20.0 + number if number % 9 else None for number in range(count)],
            "plan": ["basic"] * count,
            "guess": [number % 2 for number in range(count)],
            "chance": [0.25 + number % 2 / 2 for number in range(count)],
            "left": [number % 2 for number in range(count)],
        }
    )


NAMES = {"prediction": "guess", "score": "chance", "id": "key", "time": "when"}

KINDS = {
    "polars": lambda frame: frame,
    "pandas": lambda frame: frame.to_pandas(),
    "arrow": lambda frame: frame.to_arrow(),
    "reader": lambda frame: pa.RecordBatchReader.from_batches(
        frame.to_arrow().schema, [batch for part in frame.iter_slices(7) for batch in part.to_arrow().to_batches()]
    ),
}


def totals(address: str) -> tuple[int, int]:
    wait_until_idle(address)
    model = httpx.get(f"{address}/api/v1/models/{MODEL}", trust_env=False, verify=False).json()
    return model["predictions"], model["labels"]


# ---- frames ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", KINDS)
def test_a_frame_of_any_kind_is_on_the_server_when_the_call_returns(monitor: Monitor, service: str, kind: str) -> None:
    before, frame = totals(service), rows(kind)
    assert monitor.log_frame(KINDS[kind](frame), **NAMES) == Sent(ROWS, 0, 0)
    assert monitor.log_frame(KINDS[kind](frame), id="key", label="left", time="when") == Sent(ROWS, 0, ROWS)
    assert totals(service) == (before[0] + ROWS, before[1] + ROWS)


def test_predictions_and_their_labels_come_from_one_frame(monitor: Monitor, service: str) -> None:
    before = totals(service)
    assert monitor.log_frame(rows("both"), label="left", **NAMES) == Sent(ROWS, 0, ROWS)
    assert totals(service) == (before[0] + ROWS, before[1] + ROWS)


@pytest.mark.parametrize("features", [None, ["age", "plan"]])
def test_ids_and_times_are_read_as_those_of_a_file(monitor: Monitor, service: str, features: list[str] | None) -> None:
    start = 10**9 if features else 2 * 10**9
    frame = rows("types", 4).with_columns(
        key=pl.Series([start, start + 1, start + 2, start + 3]).cast(pl.Float64),
        when=pl.lit("2024-03-01 12:00:00"),
        age=pl.Series([1.0, None, float("nan"), 2.0]),
    )
    assert monitor.log_frame(frame, features=features, **NAMES) == Sent(4, 0, 0)
    assert monitor.log_frame(frame.with_columns(key=pl.col("key").cast(pl.Int64)), id="key", label="left").labels == 4
    url = f"{service}/api/v1/models/{MODEL}"
    before = totals(service)[0]
    again = httpx.post(
        f"{url}/predictions", json=[{"id": str(start), "prediction": 1, "features": {}}], trust_env=False
    )
    assert again.status_code == 202 and totals(service)[0] == before  # it is known under that id


def test_the_same_frame_again_is_not_stored_twice_although_its_rows_have_no_ids(monitor: Monitor, service: str) -> None:
    before, frame = totals(service)[0], rows("again").drop("key")
    for _ in range(2):
        assert monitor.log_frame(frame, prediction="guess", time="when").accepted == ROWS
    assert totals(service)[0] == before + ROWS
    assert monitor.log_frame(frame, prediction="guess", time="when", name="meant").accepted == ROWS
    assert totals(service)[0] == before + 2 * ROWS


def test_a_bad_row_is_named_and_those_before_it_are_stored(monitor: Monitor, service: str) -> None:
    before = totals(service)[0]
    bad = rows("bad").with_columns(
        pl.when(pl.col("key") == "frame-bad-30").then(pl.lit("")).otherwise("key").alias("key")
    )
    with pytest.raises(RefusedError, match="row 31: id: "):
        monitor.log_frame(bad, **NAMES)
    assert totals(service)[0] == before + 20
    sent = monitor.log_frame(bad, on_error="quarantine", **NAMES)
    assert sent == Sent(ROWS - 1, 1, 0)
    assert totals(service)[0] == before + ROWS - 1


def test_an_unknown_model_and_a_server_that_is_away_are_errors_with_names(service: str) -> None:
    with Monitor("churm", service) as other, pytest.raises(RefusedError, match="Did you mean 'churn'"):
        other.log_frame(rows("x", 1), **NAMES)
    with Monitor(MODEL, f"http://127.0.0.1:{free_port()}") as away, pytest.raises(UnreachableError, match="Refused"):
        away.log_frame(rows("x", 1), patience_seconds=0, **NAMES)


@pytest.mark.parametrize(
    ("frame", "names", "said"),
    [
        (rows("x", 1), {"prediction": "gues"}, "no column 'gues'; it has .*Did you mean 'guess'"),
        (rows("x", 1), {"prediction": "guess", "features": ["agee"]}, "Did you mean 'age'"),
        (rows("x", 1), {"prediction": "guess", "score": {"1": "p"}}, "no column 'p'"),
        (rows("x", 1).rename({"age": "id"}), {**NAMES, "features": ["id"]}, "feature 'id' has the name of a field"),
        (rows("x", 1), {"label": "left"}, "say id=, the column"),
        (rows("x", 1), {}, "no column 'prediction', and neither prediction= nor label="),
        (rows("x", 1), {**NAMES, "on_error": "skip"}, "on_error 'skip' came"),
        (rows("x", 1).lazy(), NAMES, r"collect\(\) it first"),
        ([{"guess": 1}], NAMES, "a builtins.list came; allowed is a frame"),
        (KINDS["reader"](rows("x", 9)), {**NAMES, "label": "left"}, "a stream is read only once"),
    ],
    ids=range(10),
)
def test_a_mistake_is_said_before_anything_is_sent(frame: Any, names: dict[str, Any], said: str) -> None:
    with Monitor(MODEL, "http://127.0.0.1:9") as nobody, pytest.raises(UsageError, match=said):
        nobody.log_frame(frame, patience_seconds=0, **names)


def test_a_frame_that_cannot_be_read_is_an_error_with_its_kind() -> None:
    mixed = pd.DataFrame({"prediction": [1, "a", None]})
    with Monitor(MODEL, "http://127.0.0.1:9") as nobody, pytest.raises(DataError, match=r"pandas\.DataFrame cannot be"):
        nobody.log_frame(mixed)


@pytest.mark.parametrize("gone", [{"pyarrow"}, {"pyarrow", "polars"}])
def test_without_a_library_that_reads_it_the_error_says_which(monkeypatch: pytest.MonkeyPatch, gone: set[str]) -> None:
    known = tables._library
    monkeypatch.setattr(tables, "_library", lambda name: None if name in gone else known(name))
    with pytest.raises(UsageError, match="needs pyarrow to be sent"):
        source_of(rows("x", 3).to_pandas())
    if gone == {"pyarrow"}:
        assert source_of(rows("x", 3).to_arrow()).total == 3  # Polars reads it


def test_progress_is_told_to_who_looks_and_wiped_at_the_end(monitor: Monitor, monkeypatch: pytest.MonkeyPatch) -> None:
    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    shown = Terminal()
    monkeypatch.setattr(batches, "_LINE_SECONDS", 0.0)
    monkeypatch.setattr(sys, "stderr", shown)
    monitor.log_frame(rows("told"), **NAMES)
    assert "\rsending 20 of 50 predictions\rsending 40 of 50 predictions\rsending 50 of 50" in shown.getvalue()
    assert shown.getvalue().endswith("\r\x1b[K")


# ---- columns --------------------------------------------------------------------------------------------------------


def body_of(frame: Any, **names: Any) -> pl.DataFrame:
    """What would be sent: the columns of the first batch."""
    found: list[bytes] = []

    class Kept(Transport):
        def post(self, kind: Any, body: bytes, *_: Any, **__: Any) -> Answer:
            found.append(body)
            return Answer("taken")

    monitor = Monitor(MODEL, "http://127.0.0.1:9", version="v7")
    monitor._batches._connect = lambda: Kept(MODEL, "http://127.0.0.1:9", None, 1.0)
    monitor.log_frame(frame, **names)
    return pl.read_ipc_stream(found[0])


@pytest.mark.parametrize("kind", ["polars", "pandas", "arrow"])
def test_columns_are_sent_under_the_names_of_fields(kind: str) -> None:
    frame = KINDS[kind](rows("x", 4))
    sent = body_of(frame, **NAMES)
    assert sent.columns == ["prediction", "id", "time", "score", "age", "plan", "left", "version"]
    assert sent["version"].to_list() == ["v7"] * 4
    chosen = body_of(frame, score={"1": "chance"}, features=["age"], prediction="guess", version="plan")
    assert chosen.columns == ["prediction", "version", "score.1", "age"]
    assert chosen["version"].to_list() == ["basic"] * 4
    assert chosen["age"].null_count() == 1
    labels = body_of(frame, id="key", label="left")
    assert labels.columns == ["id", "label"]


def test_fields_that_have_their_names_need_not_be_named_and_another_of_a_name_is_left_out() -> None:
    frame = rows("x", 2).rename({"key": "id", "when": "time", "left": "label"})
    assert {"prediction", "id", "time"} <= {*body_of(frame, prediction="guess").columns}
    assert "label" not in body_of(frame, prediction="guess").columns
    both = frame.with_columns(prediction=pl.lit("other"))
    assert body_of(both, prediction="guess")["prediction"].to_list() == [0, 1]


def test_an_index_of_pandas_is_no_column() -> None:
    frame = pd.DataFrame({"prediction": [1, 2]}, index=pd.Index(["a", "b"]))
    assert body_of(frame).columns == ["prediction", "version"]
    assert body_of(pd.DataFrame({"prediction": [1.0, np.nan]}))["prediction"].null_count() == 1


# ---- batches --------------------------------------------------------------------------------------------------------


@settings(max_examples=50)
@given(st.lists(st.integers(0, 30), max_size=8), st.integers(1, 12), st.booleans())
def test_rows_come_in_even_batches_however_they_came(heights: list[int], most: int, by_polars: bool) -> None:
    wanted = list(range(sum(heights)))
    start, came = 0, []
    for height in heights:
        part = pl.DataFrame({"x": wanted[start : start + height]}, schema={"x": pl.Int64})
        came.append(PolarsTable(part) if by_polars else ArrowTable(part.to_arrow()))
        start += height
    made = list(evenly(came, most))  # type: ignore[type-var]
    assert [pl.read_ipc_stream(one.body())["x"].to_list() for one in made] == [
        wanted[at : at + most] for at in range(0, len(wanted), most)
    ]


def test_rows_make_the_same_bytes_however_they_were_cut(tmp_path: Path) -> None:
    frame = rows("bytes", 300)
    frame.write_parquet(tmp_path / "rows.parquet", row_group_size=70)
    read = pl.read_parquet(tmp_path / "rows.parquet")
    once = PolarsTable(pl.read_parquet(tmp_path / "rows.parquet").rechunk()[100:180]).body()
    again = PolarsTable(pl.concat([read[90:130], read[130:200]], rechunk=False)).part(10, 80).body()
    assert once == again and len(once) < 2 * len(PolarsTable(rows("bytes", 80)).body())


@pytest.mark.parametrize(("columns", "most"), [(0, 20), (1, 20), (100_000, 10), (10**7, 1)])
def test_wide_rows_are_sent_few_at_a_time(columns: int, most: int) -> None:
    assert batch_rows(columns) == most


class _Scripted(Transport):
    """A server that answers as it is told, and remembers what came."""

    def __init__(self, *answers: Answer) -> None:
        super().__init__("m", "http://127.0.0.1:1", None, 1.0)
        self.answers, self.came = list(answers), list[tuple[int, str]]()

    def post(self, kind: Any, body: bytes, key: str, content_type: str = "", *, quarantine: bool = False) -> Answer:
        height = pl.read_ipc_stream(body).height
        self.came.append((height, key))
        return self.answers.pop(0) if self.answers else Answer("taken", accepted=height)


def shipped(transport: Transport, frame: pl.DataFrame, patience: float = 60.0) -> int:
    moments = iter(range(10_000))
    shipment = Shipment(
        transport, "labels", "name", patience_seconds=patience, now=lambda: next(moments), pause=lambda seconds: None
    )
    return sum(height for height, _ in shipment.send(PolarsTable(frame), 0))


def test_a_server_that_is_away_is_asked_again_with_the_same_key_until_patience_ends() -> None:
    away = [Answer("away", "503")] * 5
    transport = _Scripted(*away)
    assert shipped(transport, rows("a", 8)) == 8
    assert len(transport.came) == 6 and len({*transport.came}) == 1
    with pytest.raises(UnreachableError, match="takes nothing: 503"):
        shipped(_Scripted(*away), rows("a", 8), patience=3)


def test_a_batch_that_is_too_large_is_sent_in_halves() -> None:
    large = Answer("refused", "too large", 413)
    transport = _Scripted(large, large)
    assert shipped(transport, rows("a", 9)) == 9
    assert [height for height, _ in transport.came] == [9, 4, 2, 2, 5]
    assert len({key for _, key in transport.came}) == 5
    with pytest.raises(RefusedError, match="too large"):
        shipped(_Scripted(large), rows("a", 1))


def test_a_refusal_names_the_first_of_the_rows() -> None:
    refused = Answer("refused", "rows", 422, {3: Refused("label", "is empty"), 1: Refused("id", "is missing")})
    with pytest.raises(RefusedError, match="row 2 and 1 more of this batch: id: is missing"):
        shipped(_Scripted(refused), rows("a", 9))


class _Interrupted(Exception):
    """The sender died before it heard the answer."""


@settings(max_examples=150)
@given(
    st.integers(1, 40),
    st.lists(st.tuples(st.integers(1, 20), st.integers(0, 9)), max_size=6),
    st.booleans(),
)
def test_rows_without_ids_are_stored_once_whatever_is_interrupted_and_as_limits_rise(
    count: int, runs: list[tuple[int, int]], keyset: bool
) -> None:
    """A server that takes so many rows at most; each run ends after some posts, its last answer unheard.

    The next run begins from what was written down: with the rows of the batch that are left (``keyset``, a database),
    or with all of it (a file).
    """
    frame = pl.DataFrame({"x": range(count)})
    stored: dict[str, list[int]] = {}
    done, cuts = 0, set[Cut]()
    limit = 0

    class Server(Transport):
        posts = 0

        def post(self, kind: Any, body: bytes, key: str, *_: Any, **__: Any) -> Answer:
            values = pl.read_ipc_stream(body)["x"].to_list()
            self.posts -= 1
            if len(values) > limit:
                return Answer("refused", "too large", 413)
            assert stored.setdefault(key, values) == values
            if self.posts < 0:
                raise _Interrupted
            return Answer("taken", accepted=len(values))

    for most, posts in [*sorted(runs), (20, 10**6)]:
        limit = most
        server = Server("m", "http://127.0.0.1:1", None, 1.0)
        server.posts = posts
        shipment = Shipment(server, "labels", "name", cuts=cuts, on_cut=cuts.add, now=lambda: 0.0)
        try:
            for begin in range(0, count, 16):
                first = max(done, begin) if keyset else begin
                left = frame[first : begin + 16]
                skipped = max(done - first, 0)
                if skipped < left.height:
                    table = PolarsTable(left[skipped:])
                    for height, _ in shipment.send(table, first + skipped, begin):
                        done += height
        except _Interrupted:
            continue
    assert done == count
    assert sorted(value for values in stored.values() for value in values) == list(range(count))


def test_nothing_of_another_library_is_imported_for_a_table_of_ours(monkeypatch: pytest.MonkeyPatch) -> None:
    known = builtins.__import__

    def only(name: str, *rest: Any) -> Any:
        assert not name.startswith(("pyarrow", "pandas"))
        return known(name, *rest)

    monkeypatch.setattr(builtins, "__import__", only)
    assert PolarsTable(pl.DataFrame({"x": [1]})).body()
