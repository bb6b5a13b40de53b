"""A feature in one segment is the ordinary profile of its rows, read once, and what cannot be read is said."""

from __future__ import annotations

import html
from collections.abc import Iterator
from contextlib import ExitStack
from datetime import timedelta
from functools import reduce
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import numpy as np
import polars as pl
import pytest
from starlette.testclient import TestClient

from driftline.config.load import Config, load
from driftline.events import Segment, Window
from driftline.monitoring import segment_rows
from driftline.monitoring.forgetting import ForgetBody, ask_to_forget, forget_next
from driftline.monitoring.segment_rows import Part, parts_of_reference, parts_of_window
from driftline.net.limits import QueueFullError
from driftline.profiles import Column, NumericColumn, WindowProfile
from driftline.profiles.column import merge_columns
from driftline.service.runtime import Service
from driftline.sketches import decode, encode
from driftline.store.log import EventLog
from driftline.store.retention import Cut
from driftline.views import segment_features
from driftline.views.segment_features import MOST_WAITING, SegmentReader
from driftline.web.app import create_app
from tests.support.churn import MODEL, START, label
from tests.support.effort import counted
from tests.support.steps import NOW, deliver, work
from tests.web.ui.test_pages import Elements, plain

HOSTILE = "<b>7:7</b>/&amp;?=\"'{{ 7 * 7 }}"
SEASONS = ("summer", "winter", "autumn", HOSTILE)
DAY = timedelta(days=1)
PAGE, DOCUMENT = f"/models/{MODEL}/features/age", f"/api/v1/models/{MODEL}/features/age"
CONFIG = """
models:
  churn:
    task: binary
    columns:
      {{id: id, time: time, prediction: prediction, label: label,
        features: [age, plan, note], segments: [season, plan], store: {{plan: hash}}}}
    window: 1d
    timezone: America/Los_Angeles
    labels: {{expected_within: 2d, accepted_for: 30d}}
    reference: {{path: reference.parquet{season}}}
    alerts: {{budget: none}}
storage: ./data
keep: {{events: forever, quarantine: forever, notifications: forever, runs: forever}}
"""


def configured(folder: Path, *, hours: float = 1, season: str = "") -> Config:
    """A model with seasons and hashed plans, whose reference has 400 rows, so many hours after one another."""
    rng = np.random.default_rng(5)
    truth, at = rng.integers(0, 2, 400), np.arange(400)
    folder.mkdir(parents=True, exist_ok=True)
    pl.DataFrame(
        {
            "id": [f"r{one}" for one in at],
            "time": [START - timedelta(days=500) + timedelta(hours=float(one) * hours) for one in at],
            "age": [None if one % 9 == 0 else float(rng.normal(40, 10)) for one in at],
            "plan": rng.choice(["basic", "pro", "N/A"], 400),
            "note": [f"word{one % 7} and {'more ' * (one % 30)}{one}" for one in at],
            "season": rng.choice(SEASONS, 400),
            "prediction": truth,
            "label": truth,
        }
    ).write_parquet(folder / "reference.parquet")
    path = folder / "driftline.yaml"
    path.write_text(CONFIG.format(season=season))
    return load(path)


def send_days(service: Service, days: int) -> None:
    """Days of 40 rows in summer and in winter, 5 of a season that the reference has not, 3 of none and 4 hostile ones.

    The winter becomes older by the day; a second version answers a quarter from day 1 on.
    """
    for day in range(days):
        rng, rows = np.random.default_rng(day), []
        for season, size in [("summer", 40), ("winter", 40), ("spring", 5), (None, 3), (HOSTILE, 4)]:
            for at in range(size):
                version = "v2" if day and at % 4 == 0 else "v1"
                features = {
                    "age": None if at % 10 == 9 else float(rng.normal(40 + 20 * day * (season == "winter"), 10)),
                    "plan": "pro" if at % 3 else "basic",
                    "note": f"word{at % 7} and {'more ' * (at % 20)}{at}",
                } | ({} if season is None else {"season": season})
                time = START + day * DAY + timedelta(hours=9, minutes=5 * at)
                row = {"id": f"{day}-{season}-{at}", "time": time.isoformat(), "version": version}
                rows.append({**row, "features": features, "prediction": at % 2})
        deliver(service, "predictions", rows)
        deliver(service, "labels", [label(row["id"], day + 0.9, truth=row["prediction"]) for row in rows])
    work(service)


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """Three days, the last still open."""
    service = Service(configured(tmp_path_factory.mktemp("segments")))
    send_days(service, 3)
    yield service
    service.stop()


@pytest.fixture(scope="module")
def http(service: Service) -> TestClient:
    return TestClient(create_app(service))


@pytest.fixture
def reads(monkeypatch: pytest.MonkeyPatch) -> list[list[str]]:
    """The columns that were read of the log, one entry a read."""
    found, usual = [], EventLog.inputs_of

    def noted(log: EventLog, *args: Any, **kwargs: Any) -> pl.DataFrame:
        rows = usual(log, *args, **kwargs)
        found.append(rows.columns)
        return rows

    monkeypatch.setattr(EventLog, "inputs_of", noted)
    return found


def anew(service: Service, monkeypatch: pytest.MonkeyPatch) -> None:
    """Forget what was read before."""
    monkeypatch.setattr(service.views, "_segments", SegmentReader(service.views._log))


def day_window(service: Service, day: int) -> Window:
    return service.config.models[MODEL].window.window_of(START + day * DAY + timedelta(hours=12))


def merged(parts: list[Part]) -> Column:
    return reduce(merge_columns, [one.column for one in parts if one.column is not None])


@pytest.mark.parametrize("by", ["season", "plan"])
@pytest.mark.parametrize("feature", ["age", "plan", "note"])
def test_the_segments_of_a_column_merge_to_what_is_stored_of_all_rows(service: Service, feature: str, by: str) -> None:
    model, window = service.models[MODEL], day_window(service, 1)
    schema, reference = model.schema, model.reference
    parts = parts_of_window(model.log, window, feature, by, schema, reference)
    with service.state.read() as read:
        rows = read.windows.at(MODEL, window.start)
    assert {row.version for row in rows} == {"v1", "v2"}
    for row in rows:
        of_version = [one for one in parts if one.version == row.version]
        stored = decode(row.profile, WindowProfile).features.columns[feature]
        assert encode(merged(of_version)) == encode(stored)
        assert sum(one.rows for one in of_version) == row.predictions
    before = parts_of_reference(model.config, feature, by, schema, reference, ())
    assert encode(merged(before)) == encode(reference.profile.features.columns[feature])
    assert {one.segment for one in before} == set(schema.segments[by]) | ({"(missing)"} if by == "plan" else set())


def test_the_reference_of_a_segment_is_that_of_its_season(tmp_path: Path) -> None:
    service = Service(configured(tmp_path, hours=30, season=", season: yearly"))
    model = service.models[MODEL]
    months = model.reference.months_like([3])
    assert months == [2, 3, 4]
    parts = parts_of_reference(model.config, "age", "season", model.schema, model.reference, months)
    assert encode(merged(parts)) == encode(model.reference.features_in_season([3]).columns["age"])
    assert merged(parts).rows < model.reference.profile.features.rows
    service.stop()


def test_a_segment_is_compared_with_the_same_rows_of_the_reference(service: Service) -> None:
    start = day_window(service, 1).start
    winter = service.views.feature(MODEL, "age", window=start, segment="season:winter")
    whole = service.views.feature(MODEL, "age", window=start)
    assert winter.now is not None and winter.before is not None and whole.now is not None
    assert isinstance(winter.now.column, NumericColumn) and winter.now.column.rows == 40 and whole.now.column.rows == 92
    known = pl.read_parquet(service.config.models[MODEL].reference).filter(season="winter")
    assert isinstance(winter.before.column, NumericColumn) and winter.before.column.rows == known.height
    assert winter.before.column.mean == pytest.approx(known["age"].mean())
    assert winter.compared is not None and winter.compared.drifted and winter.segment == Segment("season", "winter")
    summer = service.views.feature(MODEL, "age", window=start, segment="season:summer")
    assert summer.compared is not None and not summer.compared.drifted
    assert [(one.version, one.rows) for one in winter.versions] == [("v1", 30), ("v2", 10)]
    assert winter.history == whole.history and whole.segment is None and whole.by_segment == ()


def test_all_segments_of_the_column_are_told_with_one_that_does_not_occur_any_more(service: Service) -> None:
    start = day_window(service, 1).start
    found = service.views.feature(MODEL, "age", window=start, segment="season:autumn")
    rows = {one.value: one.rows for one in found.by_segment}
    assert rows == {HOSTILE: 4, "autumn": 0, "summer": 40, "winter": 40, "(other values)": 5, "(missing)": 3}
    drifts = {one.value: one.drift for one in found.by_segment}
    assert drifts["autumn"] is None and drifts["(missing)"] is not None and "is not in the reference" in str(drifts)
    assert drifts["winter"] is not None and drifts["summer"] is not None
    assert not drifts["summer"].drifted and drifts[HOSTILE] is not None
    assert found.now is not None and found.now.problem == "the window has no rows with season = autumn"
    assert found.compared is None and found.versions == ()
    other = service.views.feature(MODEL, "age", window=start, segment="season:(other values)")
    assert other.before is not None and "the reference has no rows with season = (other values)" in other.before.problem


def test_a_hashed_column_has_its_segments_and_no_value_in_clear(service: Service, http: TestClient) -> None:
    pro = max(service.models[MODEL].schema.segments["plan"], key=lambda plan: _rows_of(service, plan))
    found = service.views.feature(MODEL, "plan", segment=f"plan:{pro}")
    assert pro.startswith("hash:") and found.now is not None and found.now.column is not None
    answer = http.get(f"/models/{MODEL}/features/plan?{urlencode({'segment': f'plan:{pro}'})}")
    assert answer.status_code == 200 and pro in answer.text and "basic" not in answer.text


def _rows_of(service: Service, plan: str) -> int:
    found = service.views.feature(MODEL, "age", segment=f"plan:{plan}")
    assert found.now is not None and found.now.column is not None
    return found.now.column.rows


# ---- what it costs --------------------------------------------------------------------------------------------------


def test_without_a_segment_nothing_is_read_and_with_one_each_window_once(
    service: Service, reads: list[list[str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    anew(service, monkeypatch)
    start, other = day_window(service, 1).start, day_window(service, 0).start
    with counted() as plainly:
        service.views.feature(MODEL, "age", window=start, against=other)
    assert reads == []
    with counted() as effort:
        service.views.feature(MODEL, "age", window=start, against=other, segment="season:winter")
    assert [sorted(one) for one in reads] == [["feature.age", "feature.season", "version"]] * 2
    assert effort.writes == [] and len(effort.statements) <= len(plainly.statements) + 6
    for value in ("season:summer", "season:winter"):  # another of the column, and the same again
        service.views.feature(MODEL, "age", window=other, segment=value)
    assert len(reads) == 2


def test_the_state_is_free_while_rows_are_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    service = Service(configured(tmp_path))
    send_days(service, 1)
    usual, came = EventLog.inputs_of, []

    def busy(log: EventLog, *args: Any, **kwargs: Any) -> pl.DataFrame:
        more = {"id": "late", "time": START.isoformat(), "features": {"age": 1.0}, "prediction": 1, "version": "v1"}
        came.append(deliver(service, "predictions", [more]))
        work(service)
        return usual(log, *args, **kwargs)

    monkeypatch.setattr(EventLog, "inputs_of", busy)
    found = service.views.feature(MODEL, "age", segment="season:summer")
    assert came == [1] and found.now is not None and found.now.column is not None
    assert found.now.column.rows == 40 and found.now.note == ""  # as the state was when it was asked
    service.stop()


def test_who_waits_too_long_for_a_turn_is_told_to_come_again(
    service: Service, http: TestClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    reader = SegmentReader(service.views._log, patience_seconds=0.0)
    monkeypatch.setattr(service.views, "_segments", reader)
    with reader._turn:
        with pytest.raises(QueueFullError, match="try again later"):
            service.views.feature(MODEL, "age", segment="season:winter")
        answer = http.get(DOCUMENT, params={"segment": "season:winter"})
        assert answer.status_code == 429 and answer.headers["retry-after"]
    assert service.views.feature(MODEL, "age", segment="season:winter").compared is not None


def test_of_many_that_wait_all_but_a_few_are_sent_away_at_once(service: Service) -> None:
    reader = SegmentReader(service.views._log, patience_seconds=60.0)
    with ExitStack() as held:
        for _ in range(MOST_WAITING):
            held.enter_context(reader._waiting)
        with pytest.raises(QueueFullError, match="try again later"), reader._my_turn():
            pass
    with reader._my_turn():
        assert not reader._turn.acquire(blocking=False)
    assert reader._turn.acquire(blocking=False)


def test_what_is_kept_is_bounded_by_its_parts(
    service: Service, monkeypatch: pytest.MonkeyPatch, reads: list[list[str]]
) -> None:
    anew(service, monkeypatch)
    monkeypatch.setattr(segment_features, "MOST_KEPT", 12)  # each side has five segments, of one version or of two
    start = day_window(service, 0).start
    for _ in range(2):
        for by in ("season:winter", "plan:(missing)"):
            service.views.feature(MODEL, "age", window=start, segment=by)
        kept = service.views._segments._kept.values()
        assert sum(map(len, kept)) <= 12
    assert len(reads) > 2  # what was forgotten is read again


# ---- what cannot be shown -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("feature", "most"), [("age", "MOST_ROWS"), ("note", "MOST_LONG_ROWS")])
def test_more_rows_than_are_read_are_no_picture(
    service: Service, monkeypatch: pytest.MonkeyPatch, reads: list[list[str]], feature: str, most: str
) -> None:
    monkeypatch.setattr(segment_rows, most, 91)
    found = service.views.feature(MODEL, feature, segment="season:winter")
    assert found.now is not None and found.now.column is None and found.compared is None and reads == []
    assert found.now.problem.startswith("the window has 92 rows; to show a segment")
    assert found.before is not None and found.before.problem.startswith("the reference has 400 rows")


def test_events_that_are_no_longer_kept_and_rows_that_were_forgotten_are_said(tmp_path: Path) -> None:
    service = Service(configured(tmp_path))
    send_days(service, 2)
    http, start = TestClient(create_app(service)), day_window(service, 1).start
    asked = {"window": start.isoformat(), "segment": "season:winter"}
    assert http.get(DOCUMENT, params=asked).json()["now"]["facts"]["rows"] == 40
    service.models[MODEL].log.erase("predictions", pl.col("id") == "1-winter-1")
    with service.state.work() as changing:
        changing.retention.add_forgotten(MODEL, {(start, "v1"): 1})
    now = http.get(DOCUMENT, params=asked).json()["now"]
    assert now["facts"]["rows"] == 39
    assert now["note"] == "1 of the 92 rows of the window were forgotten, and are in no segment"
    assert now["note"][2:] in plain(Elements(http.get(PAGE, params=asked).text).words)
    with service.state.work() as changing:
        changing.retention.put_cut(Cut(MODEL, start + DAY, "400d", NOW, finished=False))
    answer = http.get(PAGE, params=asked)
    words = plain(Elements(answer.text).words)
    assert answer.status_code == 200 and "were deleted by keep.events: 400d" in words and "nothing to draw" not in words
    assert "not judged" not in words.partition("Over time")[0] and "Drifted in" in words.partition("Over time")[2]
    service.stop()


def test_rows_that_are_being_forgotten_are_not_kept(tmp_path: Path) -> None:
    """They are counted before they are out of the log; what is read in between is of neither."""
    service = Service(configured(tmp_path))
    send_days(service, 1)
    model, shown = service.models[MODEL], []

    def rows() -> int:
        found = service.views.feature(MODEL, "age", segment="season:winter")
        assert found.now is not None and found.now.column is not None
        return found.now.column.rows

    ask_to_forget(service.state, model.config, ForgetBody(["0-winter-1"], "a letter", "ann"), NOW)
    shown.append(rows())
    while forget_next(model, service.state, lambda ids: 0, NOW):
        shown.append(rows())
    assert shown[0] == shown[1] == 40 and shown[-1] == rows() == 39
    service.stop()


def test_a_reference_that_is_not_at_hand_is_said_and_windows_go_on(tmp_path: Path) -> None:
    config = configured(tmp_path)
    service, file = Service(config), Path(config.models[MODEL].reference)
    send_days(service, 2)
    start, other = day_window(service, 0).start, day_window(service, 1).start
    for harm, words in (
        (lambda: file.write_bytes(b"PAR1"), "is not the file that was profiled"),
        (file.unlink, "there is no file"),
    ):
        harm()
        found = service.views.feature(MODEL, "age", window=start, segment="season:winter")
        assert found.before is not None and words in found.before.problem and found.before.column is None
        assert found.now is not None and found.now.column is not None and found.compared is None
    pair = service.views.feature(MODEL, "age", window=start, against=other, segment="season:winter")
    assert pair.compared is not None and pair.before is not None and pair.before.problem == ""
    service.stop()


@pytest.mark.parametrize(
    ("segment", "status", "words"),
    [
        ("season", 400, "write a column and its value"),
        ("age:40", 404, "unknown column of segments"),
        ("season:<script>", 404, "unknown value of season"),
        ("season:winter ", 404, "unknown value of season"),
        ("season:\u202e", 404, "\\u202e"),
        (f"season:{HOSTILE * 99}", 404, "unknown value of season"),
    ],
)
def test_a_segment_that_there_is_not_is_a_page_that_says_why(
    http: TestClient, segment: str, status: int, words: str
) -> None:
    answer = http.get(PAGE, params={"segment": segment}, headers={"accept": "text/html"})
    assert answer.status_code == status and words in html.unescape(answer.text) and "<script>" not in answer.text
    said = http.get(DOCUMENT, params={"segment": segment})
    assert said.status_code == status and said.json()["error"]["message"]


# ---- what people and programs see -----------------------------------------------------------------------------------


def test_the_page_and_its_json_say_the_same_of_a_segment(service: Service, http: TestClient) -> None:
    asked = {"window": day_window(service, 1).start.isoformat(), "segment": f"season:{HOSTILE}"}
    assert "4 rows in the current data; at least 30 are needed" in plain(
        Elements(http.get(PAGE, params=asked).text).words
    )
    asked["segment"] = "season:winter"
    page, said = Elements(http.get(PAGE, params=asked).text), http.get(DOCUMENT, params=asked).json()
    words = plain(page.words)
    assert "Below: the rows with season = winter. All rows" in words and "By season" in words
    assert "all rows, against the reference" in words and "this column alone, not adjusted for others" in words
    lines = {one["data-segment"]: one["data-state"] for one in page.having("data-segment", "data-state")}
    states = {one["value"]: one["compared"] for one in said["segments"]}
    assert lines.keys() == states.keys() and lines["autumn"] == "no rows" and states["autumn"] is None
    assert {name for name, state in lines.items() if state == "drifted"} == {
        name for name, one in states.items() if one is not None and one["drifted"]
    }
    assert [one["data-version"] for one in page.having("data-version")] == [one["version"] for one in said["versions"]]
    assert said["verdict"] is None and said["compared"]["column"] == "age" and len(said["bars"]["now"]) == 24
    links = {one["href"] for one in page.having("href")}
    assert f"/models/{MODEL}?segment=season%3Awinter" in links
    assert f"/{DOCUMENT.lstrip('/')}?window=2024-03-02T08%3A00%3A00Z&segment=season%3Awinter" in links
    hostile = next(one for one in links if urlencode({"segment": f"season:{HOSTILE}"}) in one)
    assert Elements(http.get(PAGE + hostile).text).having("data-slice")[0]["data-slice"] == f"season = {HOSTILE}"


def test_without_a_segment_the_json_has_the_verdict_of_the_window_and_its_course(
    service: Service, http: TestClient
) -> None:
    said = http.get(DOCUMENT).json()
    newest = service.views.feature(MODEL, "age")
    assert newest.now is not None and newest.now.window is not None
    assert said["verdict"]["value"] == next(
        one.drift["age"].value for one in newest.history if one.start == newest.now.window.start
    )
    assert said["segment"] is None and said["segments"] == [] and len(said["history"]) == 3
    assert said["before"]["start"] is None and said["now"]["facts"]["rows"] == 92
    other = http.get(DOCUMENT, params={"against": day_window(service, 0).start.isoformat()}).json()
    assert other["verdict"] is None and other["before"]["start"] == "2024-03-01T08:00:00Z"
    assert http.get(DOCUMENT, params={"window": "2024-03-01T00:00"}).status_code == 400  # of which time zone?
    assert http.get(DOCUMENT.replace("age", "season")).status_code == 404  # no input of the model


def test_the_page_of_a_model_leads_on_to_its_features_in_the_segment(service: Service, http: TestClient) -> None:
    segment = {"segment": f"season:{HOSTILE}"}
    page = Elements(http.get(f"/models/{MODEL}", params=segment).text)
    links = {one["href"] for one in page.having("href")}
    assert {f"/models/{MODEL}/features/{name}?{urlencode(segment)}" for name in ("age", "plan", "note")} <= links
    assert "A feature leads to its distributions in" in page.words
    assert f"{PAGE}" in {one["href"] for one in Elements(http.get(f"/models/{MODEL}").text).having("href")}
