"""What `make chaos` counts as wrong: each kind of it is found where it is, and none in a good log and good windows."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import httpx
import polars as pl
import pytest

from benchmarks.chaos_ingest import noting, require_busy
from benchmarks.chaos_verdict import START, WRONG, Acknowledged, Pace, doubled, rebuild, verify
from driftline.store.blobs import Folder
from tests.support.receiver import Request

MODEL, PACE, NUMBER = "json", Pace(), 130
TIMES = {f"json-{number}": START + PACE.event * number for number in range(NUMBER)}

Rows = dict[str, list[Any]]
Window = dict[str, Any]


def good() -> tuple[Rows, Rows, list[Window], Acknowledged]:
    """Three windows: of the first nothing is kept, and of the second one row was forgotten, of which labels came."""
    kept = [id for id, at in TIMES.items() if at - START >= PACE.window and id != "json-70"]
    predictions: Rows = {"id": kept, "time": [TIMES[id] for id in kept]}
    labels: Rows = {"id": [*kept, "json-80"], "label": ["0"] * len(kept) + ["1"], "seq": [*range(len(kept) + 1)]}
    windows: list[Window] = [
        {
            "start": (START + PACE.window * index).isoformat(),
            "predictions": number,
            "forgotten": forgotten,
            "events": words,
        }
        for index, (number, forgotten, words) in enumerate([(60, 0, "deleted"), (60, 1, ""), (10, 0, "")])
    ]
    labelled = dict.fromkeys(TIMES, 0) | {"json-80": 1, "json-90": None}
    known = Acknowledged(dict(TIMES), set(TIMES) - {"json-129"}, labelled, set(TIMES), {"json-70"})
    return predictions, labels, windows, known


def found(folder: Path, predictions: Rows, labels: Rows, windows: list[Window], known: Acknowledged) -> dict[str, int]:
    log = folder / "log" / MODEL
    pl.DataFrame(predictions).write_delta(log / "predictions")
    pl.DataFrame(labels).write_delta(log / "labels")
    return verify(Folder(folder), MODEL, known, windows, PACE)


def test_a_good_run_has_nothing_wrong(tmp_path: Path) -> None:
    told = found(tmp_path, *good())
    assert [told.get(name, 0) for name in WRONG] == [0] * len(WRONG)
    assert (told["sent"], told["acknowledged"], told["in the log"], told["windows count"]) == (130, 129, 69, 130)
    assert (told["too old to be kept"], told["windows without events"]) == (60, 1)


def without(rows: Rows, id: str) -> None:
    index = rows["id"].index(id)
    for column in rows.values():
        column.pop(index)


def again(rows: Rows, id: str) -> None:
    rows["id"].append(id)
    rows["time"].append(TIMES.get(id, TIMES["json-129"]))


Harm = Callable[[Rows, Rows, list[Window]], object]
MISCOUNTED = "windows that count otherwise than the log"
HARMS: dict[str, tuple[Harm, set[str]]] = {
    "a prediction is lost": (lambda rows, said, windows: without(rows, "json-100"), {"lost", MISCOUNTED}),
    "one came twice": (lambda rows, said, windows: again(rows, "json-100"), {"twice", MISCOUNTED}),
    "one came that nobody sent": (lambda rows, said, windows: again(rows, "torn"), {"never sent", MISCOUNTED}),
    "one was not forgotten": (
        lambda rows, said, windows: again(rows, "json-70"),
        {"there though forgotten", MISCOUNTED},
    ),
    "one was not deleted": (lambda rows, said, windows: again(rows, "json-3"), {"there though too old"}),
    "a label is lost": (lambda rows, said, windows: without(said, "json-100"), {"labels lost"}),
    "a correction is lost": (
        lambda rows, said, windows: said["label"].__setitem__(-1, "0"),
        {"labels other than the newest"},
    ),
    "a window counts twice": (lambda rows, said, windows: windows[2].update(predictions=20), {MISCOUNTED}),
    "a window is gone": (lambda rows, said, windows: windows.pop(), {MISCOUNTED}),
    "one counted too few before its rows went": (
        lambda rows, said, windows: windows[0].update(predictions=59),
        {"windows without events that count otherwise than was sent"},
    ),
}


@pytest.mark.parametrize("name", HARMS)
def test_each_kind_of_harm_is_found(tmp_path: Path, name: str) -> None:
    harm, kinds = HARMS[name]
    predictions, labels, windows, known = good()
    harm(predictions, labels, windows)
    told = found(tmp_path, predictions, labels, windows, known)
    assert {one for one in WRONG if told.get(one)} == kinds


def test_a_label_that_may_or_may_not_have_come_is_right_either_way(tmp_path: Path) -> None:
    predictions, labels, windows, known = good()
    labels["label"][labels["id"].index("json-90")] = "1"
    assert found(tmp_path, predictions, labels, windows, known)["labels other than the newest"] == 0


def test_a_notice_that_came_under_two_keys_was_told_twice() -> None:
    def message(notice: str, key: str) -> Request:
        return Request("/", {"idempotency-key": key}, b'{"notices": [{"key": "%b"}]}' % notice.encode())

    assert doubled([message("a", "1"), message("a", "1"), message("b", "2")]) == []
    assert doubled([message("a", "1"), message("a", "2")]) == ["a"]


def test_event_time_goes_on_within_windows_of_whole_minutes() -> None:
    assert not PACE.window % timedelta(minutes=1) and not PACE.window % PACE.event


def test_a_writer_that_was_told_what_nobody_should_be_told_is_counted() -> None:
    failed: list[str] = []
    for status in (429, 503, 500):
        with contextlib.suppress(SystemExit):
            noting(lambda status=status: require_busy(httpx.Response(status, text="oh")), failed)  # type: ignore[misc]
    assert failed == ["SystemExit: 500: oh"] and "writers that ended by themselves" in WRONG


def test_a_rebuild_that_fails_is_a_difference(tmp_path: Path) -> None:
    assert rebuild(tmp_path, MODEL) == 1
