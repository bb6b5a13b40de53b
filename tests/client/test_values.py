"""The SDK's values: what is missing in any container is missing, and what cannot be sent costs no more than itself."""

from __future__ import annotations

import enum
import json
import math
import time
import uuid
from collections.abc import Iterator, Mapping
from datetime import UTC, date, datetime, timedelta, timezone
from decimal import Decimal
from fractions import Fraction
from typing import Any

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from driftline.client import encoding
from driftline.events import missing
from tests.support.sdk_server import SLOW_SECONDS, Server, counted, monitoring, served


@pytest.fixture
def server() -> Iterator[Server]:
    with served() as one:
        yield one


@pytest.fixture
def far_west(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A machine whose own time zone is not UTC."""
    with monkeypatch.context() as patch:
        patch.setenv("TZ", "America/Los_Angeles")
        time.tzset()
        yield
    time.tzset()


class Sky(enum.Enum):
    GREY = "grey"
    NONE = float("nan")


class Level(enum.IntEnum):
    HIGH = 3


MISSING = {
    "None": None,
    "nan": float("nan"),
    "np.nan": np.float64("nan"),
    "np.float32 nan": np.float32("nan"),
    "0-d nan": np.array(float("nan")),
    "pd.NA": pd.NA,
    "Int64": pd.array([40, None], dtype="Int64")[1],
    "boolean": pd.array([True, None], dtype="boolean")[1],
    "NaT": pd.NaT,
    "np NaT": np.datetime64("NaT"),
    "np NaT in ns": np.datetime64("NaT", "ns"),
    "np span NaT": np.timedelta64("NaT", "s"),
    "masked": np.ma.masked,
    "masked entry": np.ma.array([1.0, 2.0], mask=[False, True])[1],
    "masked 1 of 1": np.ma.array([5.0], mask=[True]),
    "Decimal": Decimal("NaN"),
    "signalling": Decimal("sNaN"),
    "arrow null": pa.scalar(None, pa.int64()),
    "Enum": Sky.NONE,
    "one of Series": pd.Series([None], dtype="Float64"),
    "one of Polars": pl.Series([None], dtype=pl.Int64),
}

VALUES = [
    (np.float32(1.5), 1.5),
    (np.float32(0.1), 0.1),
    (np.float16(0.1), 0.1),
    (np.float64(2.5), 2.5),
    (np.int64(-3), -3),
    (np.uint8(3), 3),
    (np.bool_(True), True),
    (np.str_("rain"), "rain"),
    (np.array(7), 7),
    (np.array([7]), 7),
    (True, True),
    ("grün\n\u2028", "grün\n\u2028"),
    ("NaN", "NaN"),
    ("Infinity", "Infinity"),
    (10**30, 10**30),
    (Decimal("1.25"), 1.25),
    (Fraction(1, 4), 0.25),
    (Sky.GREY, "grey"),
    (Level.HIGH, 3),
    (pd.Timestamp("2024-05-01"), "2024-05-01T00:00:00"),
    (np.datetime64("2024-05-01T12:00", "ns"), "2024-05-01T12:00:00"),
    (date(2024, 5, 1), "2024-05-01"),
    (pa.scalar(5), 5),
    (pd.array([40, None], dtype="Int64")[0], 40),
]

UNSENDABLE = [object(), 10**5000, "\ud800", type, [object()], lambda: 0]


# ---- values ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("value", "sent"), VALUES, ids=repr)
def test_values_are_sent_as_json_says_them(server: Server, value: object, sent: object) -> None:
    with monitoring(server) as monitor:
        monitor.log({"x": value}, prediction=value, score={np.int64(0): value, True: value})
        monitor.label("id", value)
    [row] = server.rows("predictions")
    assert row["features"] == {"x": sent} and row["prediction"] == sent and row["score"] == {"0": sent, "1": sent}
    assert type(row["prediction"]) is type(sent)
    assert server.rows("labels")[0]["label"] == sent
    assert not monitor.stats.dropped and not monitor.stats.left_out


@pytest.mark.parametrize("value", MISSING.values(), ids=MISSING)
def test_missing_is_missing_in_every_place_and_container(server: Server, value: object) -> None:
    """Only the value: the row is sent, and says nothing of what it does not know."""
    before = datetime.now(UTC)
    with monitoring(server) as monitor:
        given_id: Any = monitor.log(
            {"x": value, "y": 1.0},
            prediction="rain",
            score=value,
            version=value,
            id=value,
            time=value,
            latency_seconds=value,  # type: ignore[arg-type]
        )
        monitor.log({"z": [1.0, value]}, prediction=value, score={"rain": 0.7, "sun": value})
        monitor.label(given_id, value)
        assert monitor.flush(SLOW_SECONDS)
        assert monitor.stats.dropped == {"label is missing": 1} and not monitor.stats.left_out
        assert counted(monitor.stats) == monitor.stats.logged == 3
    plain, other = server.rows("predictions")
    assert uuid.UUID(given_id).version == 7
    assert before - timedelta(seconds=1) <= datetime.fromisoformat(plain.pop("time")) <= datetime.now(UTC)
    assert plain == {"id": given_id, "features": {"x": None, "y": 1.0}, "prediction": "rain"}
    assert other["features"] == {"z": [1.0, None]} and other["prediction"] is None and other["score"] == {"rain": 0.7}


@pytest.mark.parametrize("value", [value for value in MISSING.values() if np.ndim(np.ma.getdata(value)) == 0], ids=repr)
def test_missing_is_the_one_notion_of_events(value: object) -> None:
    of_events = missing.is_missing(value.value if isinstance(value, enum.Enum) else value)
    assert encoding.is_missing(value) or not of_events
    assert not any(encoding.is_missing(one) for one, _ in VALUES)


@pytest.mark.parametrize("value", [float("inf"), float("-inf"), np.float32("inf"), Decimal("-Infinity")], ids=repr)
def test_infinite_numbers_are_sent_as_missing(server: Server, value: object) -> None:
    with monitoring(server) as monitor:
        monitor.log({"x": value}, prediction="rain")
    assert server.rows("predictions")[0]["features"] == {"x": None}


def test_a_row_of_a_frame_with_gaps_arrives(server: Server) -> None:
    """evidently#937: exactly the rows with gaps were lost."""
    frame = pd.DataFrame(
        {
            "age": pd.array([40, None], dtype="Int64"),
            "plan": pd.array(["pro", None], dtype="string"),
            "paid": pd.array([None, True], dtype="boolean"),
            "since": pd.to_datetime(["2024-05-01", None]),
            "income": [1.5, np.nan],
        }
    )
    with monitoring(server) as monitor:
        for row in frame.to_dict("records"):
            monitor.log(row, prediction="yes")
    first, second = (row["features"] for row in server.rows("predictions"))
    assert first == {"age": 40, "plan": "pro", "paid": None, "since": "2024-05-01T00:00:00", "income": 1.5}
    assert second == {"age": None, "plan": None, "paid": True, "since": None, "income": None}


@pytest.mark.parametrize("value", UNSENDABLE, ids=lambda value: type(value).__name__)
def test_what_cannot_be_sent_costs_its_field_and_not_the_row(server: Server, value: object) -> None:
    with monitoring(server) as monitor:
        monitor.log({"x": value, "y": 2.0}, prediction="rain", score=value, version="v1")
        monitor.log({"x": value}, prediction="rain", score={"rain": 0.5, "sun": value})
        assert monitor.flush(SLOW_SECONDS)
        assert monitor.stats.left_out == {"features.x": 2, "score": 1, "score.sun": 1}
        assert not monitor.stats.dropped and monitor.stats.sent == 2
    first, second = server.rows("predictions")
    assert first["features"] == {"y": 2.0} and "score" not in first and first["version"] == "v1"
    assert second["features"] == {} and second["score"] == {"rain": 0.5}


@pytest.mark.parametrize("value", UNSENDABLE, ids=lambda value: type(value).__name__)
def test_a_row_that_says_nothing_without_its_field_costs_no_other(server: Server, value: Any) -> None:
    with monitoring(server, flush_seconds=3600.0) as monitor:
        monitor.log({}, prediction=value)
        monitor.log({}, prediction=1, id=value)
        monitor.label("id", value)
        good = monitor.log({}, prediction=1)
        assert monitor.flush(SLOW_SECONDS)
        assert monitor.stats.dropped == {"cannot be encoded": 3} and monitor.stats.sent == 1
    assert server.ids() == [good]


@pytest.mark.parametrize(
    "of", [np.array, pd.Series, pl.Series, pa.array, tuple, list], ids=lambda of: f"{of.__module__}.{of.__name__}"
)
def test_a_vector_is_sent_as_a_list(server: Server, of: Any) -> None:
    with monitoring(server) as monitor:
        monitor.log({"embedding": of([0.5, 1.5, float("nan")])}, prediction=1)
    assert server.rows("predictions")[0]["features"] == {"embedding": [0.5, 1.5, None]}


def test_classes_of_a_float_encoder_are_the_classes_of_the_server(server: Server) -> None:
    """`dict(zip(model.classes_, probabilities))`, where the labels had been floats."""
    with monitoring(server) as monitor:
        monitor.log({}, prediction=np.float64(1.0), score=dict(zip(np.array([0.0, 1.0]), [0.25, 0.75], strict=True)))
        monitor.log({}, prediction=1.0, score={0.0: 0.25, 1.0: 0.75})
    assert [row["score"] for row in server.rows("predictions")] == [{"0": 0.25, "1": 0.75}] * 2


@pytest.mark.parametrize("of", [17, 17.0, "17", np.int64(17), np.float64(17.0), Decimal(17)], ids=repr)
def test_ids_match_whatever_their_type(server: Server, of: Any) -> None:
    with monitoring(server) as monitor:
        assert monitor.log({}, prediction=1, id=of) is of
        monitor.label(of, 1)
    assert [str(row["id"]) for kind in ("predictions", "labels") for row in server.rows(kind)] == ["17", "17"]
    assert not any(isinstance(row["id"], float) for kind in ("predictions", "labels") for row in server.rows(kind))


def test_a_uuid_is_an_id(server: Server) -> None:
    mine: Any = uuid.uuid4()
    with monitoring(server) as monitor:
        assert monitor.log({}, prediction=1, id=mine) == mine
    assert server.ids() == [str(mine)]


# ---- times ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("moment", "sent"),
    [
        (datetime(2013, 4, 1, 12), "2013-04-01T12:00:00+00:00"),  # naive: taken as UTC
        (datetime(2013, 4, 1, 12, tzinfo=UTC), "2013-04-01T12:00:00+00:00"),
        (datetime(2013, 4, 1, 12, 0, 0, 5, timezone(timedelta(hours=-7))), "2013-04-01T19:00:00.000005+00:00"),
        (datetime(2013, 4, 1, 12, tzinfo=timezone(timedelta(seconds=28378))), "2013-04-01T04:07:02+00:00"),
        (pd.Timestamp("2013-04-01T12:00:00.123456789Z"), "2013-04-01T12:00:00.123456+00:00"),
        (pd.Timestamp("2013-04-01T12:00:00"), "2013-04-01T12:00:00+00:00"),
        (np.datetime64("2013-04-01T12:00:00", "ns"), "2013-04-01T12:00:00+00:00"),
        (np.datetime64("2013-04-01"), "2013-04-01T00:00:00+00:00"),
        (date(2013, 4, 1), "2013-04-01T00:00:00+00:00"),
    ],
    ids=str,
)
def test_times_are_sent_with_their_zone(server: Server, moment: Any, sent: str, far_west: None) -> None:
    with monitoring(server) as monitor:
        monitor.log({}, prediction=0, time=moment)
        monitor.label("id", 0, time=moment)
    told = [row["time"] for kind in ("predictions", "labels") for row in server.rows(kind)]
    assert [datetime.fromisoformat(one) for one in told] == [datetime.fromisoformat(sent)] * 2
    assert all(datetime.fromisoformat(one).tzinfo is not None for one in told)


# ---- laws -----------------------------------------------------------------------------------------------------------

PLAIN = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-(2**70), 2**70),
    st.floats(),
    st.text(max_size=6),
    st.decimals(allow_nan=True, allow_infinity=True, places=3),
    st.lists(st.floats(), max_size=3),
)
NAMES = st.one_of(st.text(max_size=4), st.integers(), st.floats(allow_nan=False, allow_infinity=False), st.booleans())


@given(
    st.dictionaries(st.text(st.characters(exclude_categories=["Cs"]), max_size=4), PLAIN, max_size=4),
    st.one_of(st.none(), st.floats(), st.dictionaries(NAMES, st.floats(), max_size=3)),
)
def test_the_quick_way_says_what_the_careful_one_says(features: Mapping[str, Any], score: Any) -> None:
    row = {"id": "a", "features": features, "prediction": 1, "score": score, "time": datetime(2024, 5, 1, tzinfo=UTC)}
    if score is None:
        del row["score"]
    careful, left_out = encoding.carefully(row)
    text = careful.decode()
    json.loads(text, parse_constant=lambda constant: pytest.fail(f"{constant} is no JSON"))
    assert not left_out
    quick = encoding.quickly(dict(row))
    if quick is not None:
        assert {"score": {}} | json.loads(quick) == {"score": {}} | json.loads(text)
    sent = json.loads(text)
    if isinstance(score, dict):
        finite = sum(math.isfinite(value) for value in score.values())
        assert len(sent.get("score", {})) <= finite and all(math.isfinite(p) for p in sent.get("score", {}).values())
