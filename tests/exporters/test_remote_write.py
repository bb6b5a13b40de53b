"""Remote write: windows in event time, in a real Prometheus, and again when late labels correct them."""

from __future__ import annotations

import struct
from collections.abc import Iterator, Sequence
from datetime import timedelta
from pathlib import Path
from typing import Any

import cramjam
import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from driftline.config.load import Config, load
from driftline.errors import RefusedError, UnavailableError, UnreachableError
from driftline.exporters.remote_write import RemoteWriter, Series, encode
from driftline.monitoring.pushing import LEAD_MILLISECONDS, push_windows, series_of
from driftline.monitoring.rebuild import rebuild
from driftline.monitoring.summary import MeasureView, WindowSummary
from driftline.service.runtime import Service
from driftline.store.windows import WindowRow
from tests.support.churn import MODEL, START, label, prediction, write_config
from tests.support.receiver import Answer, Server
from tests.support.seasons import seasons_config, send
from tests.support.servers import Prometheus, until
from tests.support.steps import deliver, send_day, work


@pytest.fixture(scope="module")
def prometheus(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Prometheus]:
    config = "storage: {tsdb: {out_of_order_time_window: 10000d}}\n"
    server = Prometheus(tmp_path_factory.mktemp("prometheus"), config, "--web.enable-remote-write-receiver")
    yield server
    server.stop()


def writer(server: Prometheus) -> RemoteWriter:
    return RemoteWriter(f"{server.url}/api/v1/write")


def value(server: Prometheus, query: str, day: float) -> float | None:
    at = (START + timedelta(days=day)).timestamp()
    answer = httpx.get(f"{server.url}/api/v1/query", params={"query": query, "time": at}, verify=False).json()
    found = answer["data"]["result"]
    return float(found[0]["value"][1]) if found else None


ACCURACY = 'last_over_time(driftline_window_performance{model="churn",metric="accuracy"}[1d])'


def test_windows_are_there_in_event_time_and_again_when_they_are_corrected(
    service: Service, prometheus: Prometheus
) -> None:
    for day, wrong in enumerate((0, 6, 30)):
        send_day(service, day, right=60 - wrong, wrong=wrong)
    deliver(service, "predictions", [prediction("next", 3.5, said=1)])
    work(service)
    assert push_windows([MODEL], service.state, writer(prometheus)) == 3
    assert push_windows([MODEL], service.state, writer(prometheus)) == 0
    for later in (0.0, 0.01, 0.99):  # at midnight, as a daily range query asks, and until the next one
        assert [value(prometheus, ACCURACY, day + 1 + later) for day in range(3)] == [1.0, 0.9, 0.5]
    low, high = (
        value(prometheus, f'driftline_window_performance_ci_{end}{{metric="accuracy"}}', 1.001)
        for end in ("lower", "upper")
    )
    assert low is not None and high is not None and low < 1.0 <= high
    deliver(service, "labels", [label(f"2-{index}", 3.6, truth=index % 2) for index in range(60)])
    work(service)
    assert push_windows([MODEL], service.state, writer(prometheus)) == 1
    assert [value(prometheus, ACCURACY, day) for day in (1, 2, 3, 3.01, 3.99)] == [1.0, 0.9, 1.0, 1.0, 1.0]
    for _ in range(2):  # what is worked out anew stands after what has gone out before
        rebuild(service.models[MODEL], service.state)
        work(service)
        push_windows([MODEL], service.state, writer(prometheus))
    deliver(service, "labels", [label(f"1-{index}", 3.7, truth=index % 2) for index in range(60)])
    work(service)
    push_windows([MODEL], service.state, writer(prometheus))
    assert [value(prometheus, ACCURACY, day) for day in (1, 2, 3)] == [1.0, 1.0, 1.0]


def test_segments_are_pushed_once_a_window_however_many_versions_it_has(tmp_path: Path) -> None:
    pushed: list[Series] = []

    class Writer(RemoteWriter):
        def push(self, series: Sequence[Series]) -> None:
            pushed.extend(series)

    service = Service(seasons_config(tmp_path))
    for version in ("v1", "v2"):
        send(service, 0, {"summer": (30, 40), "winter": (20, 20)}, version=version)
    send(service, 3, {"summer": (1, 1)})
    work(service)
    assert push_windows([MODEL], service.state, Writer("http://127.0.0.1:9/write")) == 2
    found = [(one.labels, one.samples[0][1]) for one in pushed if one.name == "driftline_window_performance"]
    accuracy = [
        ({name: text for name, text in labels.items() if name in ("version", "segment")}, value)
        for labels, value in found
        if labels["metric"] == "accuracy"
    ]
    whole = [({"version": version}, 50 / 60) for version in ("v1", "v2")]
    segments = [({"segment": "season=summer"}, 0.75), ({"segment": "season=winter"}, 1.0)]
    assert sorted(accuracy, key=str) == sorted([*whole, *segments], key=str)
    service.stop()


@given(st.integers(0, 30_000), st.integers(0, 30_000))
def test_a_later_correction_stands_later_but_within_its_window(one: int, other: int) -> None:
    measure = MeasureView(0.9, 0.8, 0.95, 60)
    end = START + timedelta(minutes=1)
    summary = WindowSummary(START, end, "v1", "judged", 60, 60, measure, {}, {}, None, None)

    def at(revision: int) -> int:
        row = WindowRow(MODEL, START, "v1", end, 60, 60, b"", False, True, False, revision)
        [milliseconds] = {series.samples[0][0] for series in series_of(row, summary)}
        return milliseconds

    assert START.timestamp() * 1000 < at(one) <= end.timestamp() * 1000
    if one < other <= LEAD_MILLISECONDS and one > 0:
        assert at(one) < at(other)


def test_a_server_without_room_for_old_samples_does_not_hold_up_the_rest(service: Service, tmp_path: Path) -> None:
    server = Prometheus(tmp_path / "prometheus", "{}", "--web.enable-remote-write-receiver")
    now = int((START + timedelta(days=10)).timestamp() * 1000)
    writer(server).push([Series("newest", {}, [(now, 1.0)])])
    for day in range(2):
        send_day(service, day, right=60, wrong=0)
    deliver(service, "predictions", [prediction("next", 2.5, said=1)])
    work(service)
    assert push_windows([MODEL], service.state, writer(server)) == 2
    with service.state.read() as read:
        assert read.counters.of(MODEL)["pushed_windows", "refused"] == 2
    assert push_windows([MODEL], service.state, writer(server)) == 0
    server.stop()


def test_a_server_that_is_away_gets_everything_when_it_is_back(service: Service, prometheus: Prometheus) -> None:
    send_day(service, 20, right=54, wrong=6)
    deliver(service, "predictions", [prediction("next", 21.5, said=1)])
    work(service)
    with pytest.raises(UnreachableError):
        push_windows([MODEL], service.state, RemoteWriter("http://127.0.0.1:9/write?token=SECRET"))
    push_windows([MODEL], service.state, writer(prometheus))
    assert value(prometheus, ACCURACY, 21.01) == 0.9


def test_a_running_service_pushes_by_itself(tmp_path: Path, prometheus: Prometheus) -> None:
    address = f"{prometheus.url}/api/v1/write"
    config: Config = load(write_config(tmp_path, f'prometheus: {{remote_write: "{address}"}}'))
    service = Service(config)
    service.start()
    send_day(service, 40, right=45, wrong=15)
    deliver(service, "predictions", [prediction("next", 41.5, said=1)])
    service.wake()
    assert until(lambda: value(prometheus, ACCURACY, 41.01), "the window is there") == 0.75
    service.stop()


@pytest.mark.parametrize(
    ("status", "error"), [(400, RefusedError), (404, RefusedError), (429, UnavailableError), (500, UnavailableError)]
)
def test_what_an_answer_means(status: int, error: type[Exception]) -> None:
    receiver = Server(Answer(status))
    with pytest.raises(error) as caught:
        RemoteWriter(receiver.url + "?token=SECRET").push([Series("a", {}, [(0, 1.0)])])
    assert type(caught.value) is error
    assert "SECRET" not in str(caught.value)
    receiver.close()


# ---- the encoding, read back by another road --------------------------------------------------------------------


def fields(data: bytes) -> list[tuple[int, Any]]:
    """The fields of a protobuf message: numbers of 64 bits and of variable length, and bytes."""
    found: list[tuple[int, Any]] = []
    at = 0

    def varint() -> int:
        nonlocal at
        number = shift = 0
        while True:
            byte = data[at]
            at += 1
            number |= (byte & 0x7F) << shift
            shift += 7
            if byte < 0x80:
                return number

    while at < len(data):
        key = varint()
        match key & 7:
            case 0:
                found.append((key >> 3, varint()))
            case 1:
                found.append((key >> 3, struct.unpack("<d", data[at : at + 8])[0]))
                at += 8
            case 2:
                length = varint()
                found.append((key >> 3, data[at : at + length]))
                at += length
            case other:
                pytest.fail(f"wire type {other}")
    return found


def read_back(data: bytes) -> list[tuple[dict[str, str], list[tuple[int, float]]]]:
    series = []
    for _, one in fields(data):
        labels = {}
        samples = []
        for number, part in fields(one):
            inner = dict(fields(part))
            if number == 1:
                labels[inner[1].decode()] = inner[2].decode()
            else:
                samples.append((inner[2] - 2**64 if inner[2] >= 2**63 else inner[2], inner[1]))
        series.append((labels, samples))
    return series


TEXTS = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=300)


@given(
    st.lists(
        st.builds(
            Series,
            TEXTS,
            st.dictionaries(TEXTS.filter(lambda name: name != "__name__"), TEXTS, max_size=5),
            st.lists(st.tuples(st.integers(-(2**60), 2**60), st.floats(allow_nan=False)), max_size=4),
        ),
        max_size=5,
    )
)
def test_what_was_encoded_can_be_read(series: Sequence[Series]) -> None:
    expected = [({"__name__": one.name, **one.labels}, list(one.samples)) for one in series]
    assert read_back(encode(series)) == expected
    packed = bytes(cramjam.snappy.compress_raw(encode(series)))
    assert bytes(cramjam.snappy.decompress_raw(packed)) == encode(series)


def test_labels_come_in_order_of_name_and_empty_ones_not_at_all() -> None:
    [(labels, _)] = read_back(encode([Series("a", {"z": "1", "b": "2", "e": ""}, [(0, 1.0)])]))
    assert list(labels) == ["__name__", "b", "z"]
