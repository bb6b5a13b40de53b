"""The first page: who needs a person first; found by search, team, tag and state; told once where nothing changed."""

from __future__ import annotations

import ast
import dataclasses
import json
import re
import shlex
from collections.abc import Iterator
from datetime import datetime, timedelta
from typing import Any
from urllib.parse import parse_qsl

import msgspec
import pytest
import yaml
from fastapi import FastAPI
from hypothesis import given
from hypothesis import strategies as st
from starlette.testclient import TestClient

from driftline.events import Kind, Schema, Task
from driftline.monitoring.alerting import STALE_RULE
from driftline.service.runtime import Service
from driftline.views.fleet import FleetRow
from driftline.web.app import create_app
from driftline.web.ui import pages
from driftline.web.ui.first_events import first_events, first_labels, first_segments, set_aside
from driftline.web.ui.fleet import SHOWN, Asked
from tests.support.churn import MODEL as CHURN
from tests.support.effort import counted
from tests.support.steps import send_day, work
from tests.web.ui.fabricate import MODEL, NOW, RULE, Fake, a_fleet, config, fake, firing, healthy, hostile
from tests.web.ui.test_pages import Elements, plain


def client(views: Fake, now: datetime = NOW) -> TestClient:
    app = FastAPI()
    app.include_router(pages(views, now=lambda: now))
    return TestClient(app)


def seen(views: Fake, path: str = "/") -> Elements:
    answer = client(views).get(path)
    assert answer.status_code == 200, answer.text[:500]
    return Elements(answer.text)


def names(views: Fake, path: str = "/") -> list[str]:
    return [one["data-model"] for one in seen(views, path).having("data-model")]


FLEET = a_fleet(2)


def test_who_needs_a_person_comes_first_and_it_says_why_and_where() -> None:
    assert names(FLEET) == [
        *("burning-000", "burning-001", "challenged-000", "challenged-001"),
        *("new-000", "new-001", "well-000", "well-001"),
    ]
    page = seen(FLEET)
    words = plain(page.words)
    assert words.startswith(" ⚠️ 4 of 8 need a person · Models · Driftline")
    assert "Needs a person 4" in words and "The others 4" in words
    links = {one["href"] for one in page.having("href")}
    alert = next(one for one in FLEET.of_alerts["burning-000"] if one.status == "firing")
    assert {f"/alerts/{alert.id}", "/models/challenged-000#challengers", "/models/well-000"} <= links
    assert (
        "Alerts: 1 page" in words
        and "Firing: Model accuracy below threshold!" in words
        and "Challenger v2 waits for approval" in words
    )
    news = [one["data-news"] for one in page.having("data-news")]
    assert news[0] == "burning-000: Firing: Model accuracy below threshold!" and len(news) == 4


def test_a_model_tells_its_measure_labels_age_and_version() -> None:
    page = seen(healthy())
    [cell] = page.having("data-value")
    newest = healthy().of_windows[MODEL][-1].summary.performance["accuracy"]
    assert (cell["data-measure"], float(cell["data-value"])) == ("accuracy", newest.value)
    words = plain(page.words)
    assert "0.774 accuracy0.599 to 0.887" in words and "9 minutes ago" in words and "All well" in words
    assert "accuracy in 3 windows: from 0.774 to 0.786" in {one["aria-label"] for one in page.having("aria-label")}
    [moment] = page.having("datetime")
    assert datetime.fromisoformat(moment["datetime"]) == NOW - timedelta(minutes=9)


@pytest.mark.parametrize(
    ("query", "kinds"),
    [
        ("q=burn", {"burning"}),
        ("q=BURN+team", {"burning"}),
        ("q=burn+nothing", set()),
        ("team=team+1", {"burning", "new"}),
        ("tag=well", {"well"}),
        ("tag=all&team=team+0&state=ok", {"well"}),
        ("state=attention", {"burning", "challenged"}),
        ("state=firing", {"burning"}),
        ("state=challenger", {"challenged"}),
        ("state=stale", set()),
        ("state=unknown", {"new"}),
        ("state=nonsense&sort=nonsense&skip=-1", {"burning", "challenged", "new", "well"}),
    ],
)
def test_models_are_found_by_what_the_address_asks_for(query: str, kinds: set[str]) -> None:
    found = names(FLEET, f"/?{query}")
    assert {name[:-4] for name in found} == kinds and len(found) == 2 * len(kinds)
    page = seen(FLEET, f"/?{query}")
    if not kinds:
        assert "No model is like that" in page.words
    fields = {one["name"]: one for one in page.having("name") if one["name"] in ("q", "team", "tag", "state", "sort")}
    assert fields["q"]["value"] == Asked.of(dict([one.split("=") for one in query.split("&")])).q.replace("+", " ")


def test_models_are_sorted_as_the_address_asks() -> None:
    assert names(FLEET, "/?sort=name") == sorted(FLEET.shown)
    assert [name[:3] for name in names(FLEET, "/?sort=event")][:2] == ["new", "new"]
    assert [name[:3] for name in names(FLEET, "/?sort=alerts")][:2] == ["bur", "bur"]
    assert [name[:3] for name in names(FLEET, "/?sort=coverage")][-2:] == ["new", "new"]


def test_stale_models_and_labels_at_fault_are_told_apart() -> None:
    views = a_fleet()
    stale, fault = (
        msgspec.structs.replace(views.of_alerts["burning-000"][0], id=id, title=title, rule=rule)
        for id, title, rule in (
            ("s", "Model receives no events!", STALE_RULE),
            ("l", "Label fault suspected: label", "budget"),
        )
    )
    views.of_alerts["well-000"], views.of_alerts["new-000"] = [stale], [fault]
    assert names(views, "/?state=stale") == ["well-000"] and names(views, "/?state=labels") == ["new-000"]


def test_more_models_than_a_page_has_are_on_the_next_one(monkeypatch: pytest.MonkeyPatch) -> None:
    assert SHOWN == 500
    monkeypatch.setattr("driftline.web.ui.fleet.SHOWN", 3)
    views, found, address = a_fleet(2), list[str](), "/?team=team+1"
    for _ in range(2):
        page = seen(views, address)
        found += [one["data-model"] for one in page.having("data-model")]
        address = "/" + next((one["href"] for one in page.having("href") if "skip=" in one["href"]), "")
    assert len(found) == len(set(found)) == 4 and address == "/"


@given(st.dictionaries(st.sampled_from(["q", "team", "tag", "state", "sort", "skip"]), st.text(max_size=30)))
def test_no_address_breaks_the_page(query: dict[str, str]) -> None:
    answer = client(FLEET).get("/", params=query)
    assert answer.status_code == 200
    asked = Asked.of(query)
    assert Asked.of(dict(pairs(asked.query()))) == asked


def pairs(query: str) -> Iterator[tuple[str, str]]:
    yield from parse_qsl(query.removeprefix("?"), keep_blank_values=True)


def test_hostile_names_are_text() -> None:
    views = hostile()
    [bad] = views.shown
    views.configs[bad] = dataclasses.replace(views.configs[bad], team=bad, tags=(bad,))
    page = seen(views)
    assert [one["data-model"] for one in page.having("data-model")] == [bad]
    assert "img" not in {tag for tag, _ in page.found}
    assert bad in page.words


# ---- what has not changed costs nothing ------------------------------------------------------------------------------


def test_a_page_that_has_not_changed_is_told_without_reading_it() -> None:
    views = a_fleet()
    first = client(views).get("/")
    tag = {"If-None-Match": first.headers["etag"]}

    def fail(models: Any = ()) -> list[FleetRow]:
        raise AssertionError("it was read")

    read, views.fleet = views.fleet, fail  # type: ignore[method-assign]
    assert client(views).get("/", headers=tag).status_code == 304
    assert client(views, NOW + timedelta(seconds=30)).get("/", headers=tag).status_code == 304
    views.fleet = read  # type: ignore[method-assign]
    assert client(views).get("/?q=x", headers=tag).status_code == 200
    assert client(views, NOW + timedelta(minutes=1)).get("/", headers=tag).status_code == 200
    views.add(firing())
    assert client(views).get("/", headers=tag).status_code == 200


def test_a_service_answers_with_one_statement_and_follows_what_happens(service: Service) -> None:
    http = TestClient(create_app(service))
    send_day(service, 0, right=50, wrong=10)
    work(service)
    first = http.get("/")
    assert first.headers["content-encoding"] in ("gzip", "zstd") and first.headers["vary"] == "Accept-Encoding"
    with counted() as effort:
        again = http.get("/", headers={"If-None-Match": first.headers["etag"]})
    assert again.status_code == 304 and len(effort.statements) == 2  # one is BEGIN
    for day in range(1, 4):
        send_day(service, day, right=20, wrong=40)
    work(service)
    changed = http.get("/", headers={"If-None-Match": first.headers["etag"]})
    assert changed.status_code == 200 and "Firing: Model accuracy below threshold!" in changed.text


# ---- how the first events are sent -----------------------------------------------------------------------------------


def test_a_model_without_events_says_how_they_are_sent(service: Service) -> None:
    http = TestClient(create_app(service), base_url="http://127.0.0.1:8000")
    page = Elements(http.get("/").text)
    [start] = page.having("data-start")
    assert start["data-start"] == CHURN
    commands = re.findall(r"curl .*? \\\n  -d .*\n", page.words)
    for kind, command in zip(("predictions", "labels"), commands, strict=True):
        words = shlex.split(command.replace("\\\n", ""))
        header, body = words[words.index("-H") + 1], words[words.index("-d") + 1]
        assert words[1] == f"http://127.0.0.1:8000/api/v1/models/{CHURN}/{kind}"
        answer = http.post(words[1], content=body, headers=dict([header.split(": ")]))
        assert (answer.status_code, answer.json()) == (202, {"accepted": 1})
    work(service)
    assert service.views.model(CHURN).predictions == service.views.model(CHURN).labels == 1
    assert not Elements(http.get("/").text).having("data-start")


class _Asked:
    """What the lines read of a request."""

    base_url = "http://127.0.0.1:8000/a$(touch x)'b/"

    class state:  # noqa: N801
        caller = object()


@given(
    st.from_regex(r"[a-z0-9][a-z0-9._-]{0,9}", fullmatch=True),
    st.text(min_size=1, max_size=20),
    st.sampled_from(Task),
    st.dictionaries(st.text(min_size=1), st.sampled_from(Kind)),
)
def test_what_is_to_be_copied_is_quoted_for_where_it_goes(
    name: str, label: str, task: Task, features: dict[str, Kind]
) -> None:
    schema = Schema(task, features, (label,) if task is not Task.REGRESSION else ())
    asked: Any = _Asked()
    of_model = dataclasses.replace(config(rules=()), name=name)
    made = first_events(asked, of_model, schema)
    words = shlex.split(made.predictions.replace(" \\\n  -d ", " -d "))
    assert words[1].startswith("http://127.0.0.1:8000/a$(touch x)'b/api/v1/models/") and words[1].isprintable()
    [row] = json.loads(words[-1])
    assert set(row["features"]) <= set(features) and "Authorization: Bearer dl_…" in words
    assigned = ast.parse(made.program).body[1]
    assert isinstance(assigned, ast.Assign) and isinstance(assigned.value, ast.Call)
    assert ast.literal_eval(assigned.value.args[0]) == name
    assert row["prediction"] == (label if task is not Task.REGRESSION else 12.5)
    [rule] = yaml.safe_load(made.rule)["models"][name]["alerts"]["rules"]
    assert rule["measure"] == (RULE.measure if task is not Task.REGRESSION else "mae")
    command, program = first_labels(asked, of_model, schema)
    [row] = json.loads(shlex.split(command.text.replace(" \\\n  -d ", " -d "))[-1])
    said = ast.parse(program.text).body[2]
    assert isinstance(said, ast.Expr) and isinstance(said.value, ast.Call)
    assert [ast.literal_eval(one) for one in said.value.args] == [row["id"], row["label"]]
    columns = yaml.safe_load(first_segments(of_model, schema).text)["models"][name]["columns"]["segments"]
    named = [one for one, kind in features.items() if kind is Kind.CATEGORICAL]
    assert columns == (named[:2] or ["COLUMN"])
    words = shlex.split(set_aside(asked, of_model, schema).text.replace(" \\\n  -d ", " -d "))
    assert words[1].endswith("/predictions?on_error=quarantine") and json.loads(words[-1])[0]["id"] == "first"


def test_no_more_than_a_few_models_without_events_say_so() -> None:
    views = Fake()
    for place in range(5):
        views.add(fake(name=f"m{place}", rules=()))
    page = seen(views)
    assert len(page.having("data-start")) == 3 and "No events yet" in page.words
    assert "measure: accuracy, below: 0.75" in page.words
