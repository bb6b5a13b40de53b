"""Columns that are not to be stored are nowhere in clear, whichever door they come by and whatever else is wrong."""

from __future__ import annotations

import io
import json
import logging
import os
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import msgspec
import polars as pl
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from driftline.cli.main import main
from driftline.config.load import load, parse
from driftline.errors import ConfigError, EventError, UsageError
from driftline.monitoring.backtest import backtest_rows, subject_of
from driftline.monitoring.hiding import NOT_STORED, PREFIX, Hiding
from driftline.monitoring.model import look_at_model
from driftline.monitoring.rebuild import rebuild
from driftline.service.runtime import Service
from driftline.store.database import open_database
from driftline.store.hash_key import HashKey
from driftline.store.state import State
from driftline.web.arrow_rows import as_events, rows_of_frame
from tests.monitoring.test_forgetting import aside, forget
from tests.support.churn import MODEL, START, label, prediction, reference_rows, write_config
from tests.support.retraining import RETRAIN, TRAIN, loop
from tests.support.served import serving, wait_until_idle
from tests.support.steps import NOW, deliver, work
from tests.support.traces import files_with

CUSTOMER, NAME = "MARKER-customer-4711", "MARKER-name-0815"


def configured(folder: Path, more: str = "") -> Path:
    """The model with a column that is hashed, one that is not stored, and hashed ids."""
    rows = reference_rows()
    customers = ["alpha", "beta", CUSTOMER] * (rows.height // 3 + 1)
    rows = rows.with_columns(
        pl.Series("customer", customers[: rows.height]), pl.Series("name", [NAME] * rows.height), key=pl.row_index()
    )
    folder.mkdir(parents=True, exist_ok=True)
    rows.write_parquet(folder / "reference.parquet")
    path = write_config(folder, more)
    text = path.read_text().replace(
        "features: [age, plan]",
        "id: key, features: [age, plan, customer], store: {customer: hash, name: no, key: hash}",
    )
    path.write_text(text)
    return path


@pytest.fixture
def hidden(tmp_path: Path) -> Iterator[Service]:
    service = Service(load(configured(tmp_path)))
    yield service
    service.stop()


def row(id: str, day: float, **features: Any) -> dict[str, Any]:
    found = prediction(id, day, said=1, score=0.9)
    return found | {"features": found["features"] | {"customer": CUSTOMER, "name": NAME} | features}


ID = "MARKER-id-0001"


def is_clean(service: Service, *more: str) -> bool:
    """Whether nothing below the folder of data has one of the markers; the reference beside it has them."""
    assert files_with(service.config.storage.parent, CUSTOMER)
    return files_with(service.config.storage, "MARKER", *more) == []


def test_what_is_accepted_or_set_aside_or_refused_has_no_value_in_clear(
    hidden: Service, caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
) -> None:
    bad: list[Any] = [
        row(ID, 0.2, age="MARKER-old"),
        row(ID, 0.2, custmer=CUSTOMER),
        row(ID, 0.2) | {"name": NAME},
        row(ID, 0.2) | {"features": [CUSTOMER]},
        row(ID, 0.2) | {"id": "MARKER" * 2000},
        row(ID, 0.2) | {"id": [ID]},
        f"MARKER {ID}",
        [ID],
        {"customer": CUSTOMER, "prediction": 1},
    ]
    deliver(
        hidden,
        "predictions",
        [
            row(f"{ID}-{k}", k / 10, customer=value)
            for k, value in enumerate([CUSTOMER, {"x": CUSTOMER}, [CUSTOMER], None])
        ],
    )
    with caplog.at_level(logging.DEBUG):
        for one in bad[1:]:
            if isinstance(one, dict) and "name" in one:
                deliver(hidden, "predictions", [one])
                continue
            with pytest.raises(EventError) as refused:
                deliver(hidden, "predictions", [one])
            assert "MARKER" not in str(refused.value) + repr(refused.value.rows)
        aside(hidden, [*bad[1:], row(f"{ID}-x", 0.3)])
        deliver(hidden, "labels", [label(f"{ID}-0", 0.5, truth=1)])
        assert is_clean(hidden)
        work(hidden)
    assert is_clean(hidden)
    assert "MARKER" not in caplog.text and "MARKER" not in "".join(capfd.readouterr())
    assert hidden.models[MODEL].log.count("labels") == 1  # of the same id, as it was hashed
    assert rebuild(hidden.models[MODEL], hidden.state).differing == ()
    shown = msgspec.json.encode(hidden.inbox.quarantined(MODEL, most=100)).decode()
    assert NOT_STORED in shown


def test_a_value_is_the_same_by_every_door_and_in_the_reference(hidden: Service) -> None:
    model, hiding = hidden.models[MODEL], Hiding.of(hidden.config.models[MODEL])
    assert hiding is not None
    [known] = {one for one in model.schema.features if one == "customer"}
    assert "name" not in model.schema.features and model.schema.features[known] == "categorical"
    [event] = hiding.events([row(ID, 0.1)], "predictions", model.schema)
    hashed = event["features"]["customer"]
    assert hashed == hiding.text(CUSTOMER) and hashed.startswith(PREFIX) and "name" not in event["features"]
    flat = pl.DataFrame(
        {"key": [ID], "age": [40.0], "plan": ["pro"], "customer": [CUSTOMER], "name": [NAME], "prediction": [1]}
    )
    named = as_events(flat, "predictions", model.config.columns)
    struct = flat.select(id="key", prediction="prediction", features=pl.struct("age", "plan", "customer"))
    for frame in (named, struct):
        [other] = hiding.events(rows_of_frame(frame), "predictions", model.schema)
        assert other["features"]["customer"] == hashed and other["id"] == event["id"]
    assert hiding.frame(flat)["customer"].to_list() == [hashed] and "name" not in hiding.frame(flat).columns
    assert hiding.frame(flat)["key"].to_list() == [event["id"]]
    # Drift is seen: the categories of the reference are those of the events.
    deliver(hidden, "predictions", [row(str(k), k / 100, customer="alpha") for k in range(60)])
    deliver(hidden, "predictions", [row("z", 2.5)])
    work(hidden)
    drift = hidden.views.windows(MODEL)[0].summary.drift["customer"]
    assert drift.drifted and drift.value is not None and not any("alpha" in one for one in drift.changes)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.one_of(
        st.text(min_size=1, max_size=20),
        st.integers(-(2**53), 2**53),
        st.booleans(),
        st.floats(allow_nan=False, allow_infinity=False),
    )
)
def test_files_and_events_hash_alike(tmp_path_factory: pytest.TempPathFactory, value: Any) -> None:
    hiding = Hiding(frozenset({"c"}), frozenset(), None, (), KEY)
    frame = hiding.frame(pl.DataFrame({"c": [value]}))
    assert frame["c"].to_list() == [hiding._value(value)]


KEY = HashKey(Path("/nowhere"))
KEY._key = b"of the tests, which need none"


@pytest.mark.parametrize(
    "value", [True, [1], {"a": 1}, "", float("nan"), 10**5000], ids=lambda value: type(value).__name__
)
def test_what_is_no_id_is_not_made_one_by_its_hash(value: Any) -> None:
    hiding = Hiding(frozenset({"who"}), frozenset(), "who", (), KEY)
    assert hiding.identifier(value) == ""


def test_a_file_is_checked_and_backtested_as_it_is_served(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    config = configured(tmp_path)
    later = pl.read_parquet(tmp_path / "reference.parquet").with_columns(
        pl.lit("MARKER-other").alias("customer"), time=pl.col("time") + pl.duration(days=40)
    )
    later.write_parquet(tmp_path / "later.parquet")
    later.write_csv(tmp_path / "later.csv")
    said = []
    for name in ("later.parquet", "later.csv"):
        with pytest.raises(SystemExit) as end:
            main(
                [
                    "check",
                    str(tmp_path / "reference.parquet"),
                    str(tmp_path / name),
                    "--config",
                    str(config),
                    "--json",
                    "--html",
                    str(tmp_path / "report.html"),
                ]
            )
        assert end.value.code == 1
        out = capsys.readouterr()
        assert "MARKER" not in out.out + out.err + (tmp_path / "report.html").read_text()
        report = json.loads(out.out)
        said.append({one["column"]: one["drift"]["value"] for one in report["columns"]}["customer"])
    assert said[0] == said[1] and "name" not in {one["column"] for one in report["columns"]}
    found = backtest_rows(subject_of(load(config).models[MODEL]), str(tmp_path / "later.csv"), changed=None)
    assert found.windows and "MARKER" not in repr(found)


def test_rows_for_retraining_have_hashes_and_no_name(tmp_path: Path) -> None:
    path = configured(tmp_path)
    path.write_text(path.read_text().replace("storage:", RETRAIN.format(approval="auto")).replace("score: score, ", ""))
    (tmp_path / "train.py").write_text(TRAIN.replace('rows.select("id"', 'rows.select("key"'))
    service = Service(load(path))
    for day in range(12):
        rows = [
            row(f"MARKER-{day}-{k}", day + k / 100, plan="pro" if k % 2 else "basic") | {"prediction": k % 2}
            for k in range(40)
        ]
        for one in rows:
            del one["score"]
        deliver(service, "predictions", rows)
        deliver(service, "labels", [label(f"MARKER-{day}-{k}", day + 0.9, truth=1 - k % 2) for k in range(40)])
        work(service)
    done = loop(service)
    folder = service.loop.folder / done.id
    assert pl.read_parquet(folder / "train.parquet")["customer"].str.starts_with(PREFIX).all()
    assert (
        pl.read_parquet(folder / "reference.parquet").columns
        == pl.read_parquet(tmp_path / "reference.parquet").drop("name").columns
    )
    assert is_clean(service)
    assert forget(service, ["MARKER-3-1"]).state == "done"  # an id in clear is hashed as it was
    assert service.models[MODEL].log.count("predictions") == 479
    service.stop()


def test_a_service_answers_and_shows_nothing_in_clear(tmp_path: Path) -> None:
    """Real bodies of all kinds to a real server: JSON, NDJSON, Arrow; what is answered, the pages, and the folder."""
    config = configured(tmp_path)
    flat = pl.DataFrame(
        {"key": [f"{ID}-a"], "age": [40.0], "plan": ["pro"], "customer": [CUSTOMER], "name": [NAME], "prediction": [1]}
    )
    body = io.BytesIO()
    flat.write_ipc_stream(body)
    bad = row(ID, 0.2) | {"features": {"customer": CUSTOMER, "MARKER-column": NAME}}
    with serving(config) as (_, address):
        url = f"{address}/api/v1/models/{MODEL}"
        texts = []
        for content, kind in (
            (msgspec.json.encode([row(f"{ID}-j", 0.2)]), "application/json"),
            (msgspec.json.encode(row(f"{ID}-n", 0.3)) + b"\nMARKER no json\n", "application/x-ndjson"),
            (body.getvalue(), "application/vnd.apache.arrow.stream"),
            (msgspec.json.encode([bad]), "application/json"),
        ):
            asked = f"{url}/predictions?on_error=quarantine"
            answer = httpx.post(asked, content=content, headers={"Content-Type": kind}, trust_env=False, verify=False)
            assert answer.status_code == 202, answer.text
            texts.append(answer.text)
        wait_until_idle(address)
        pages = (
            f"/models/{MODEL}",
            f"/api/v1/models/{MODEL}/windows",
            f"/api/v1/models/{MODEL}/quarantine",
            "/metrics",
        )
        texts += [httpx.get(address + path, trust_env=False, verify=False, timeout=20).text for path in pages]
        assert [found for text in texts for found in (CUSTOMER, NAME, ID, "MARKER no") if found in text] == []
        assert files_with(tmp_path / "data", CUSTOMER, NAME, ID, "MARKER no json") == []
    assert stat.S_IMODE(os.stat(tmp_path / "data" / "hash.key").st_mode) == 0o600


def test_the_key_is_of_the_environment_or_of_the_folder_and_another_one_is_another_reference(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = HashKey(tmp_path).shown("a")
    assert HashKey(tmp_path).shown("a") == first != HashKey(tmp_path / "other").shown("a")
    path = configured(tmp_path / "model")
    Service(load(path)).stop()
    monkeypatch.setenv("DRIFTLINE_HASH_KEY", "a secret of sixteen characters or more")
    assert HashKey(tmp_path).shown("a") == HashKey(tmp_path / "other").shown("a") != first
    service = Service(load(path))
    assert service.models[MODEL].rebuild  # its categories are others now
    service.stop()
    monkeypatch.setenv("DRIFTLINE_HASH_KEY", "short")
    with pytest.raises(UsageError, match="DRIFTLINE_HASH_KEY is shorter than 16 characters"):
        HashKey(tmp_path).shown("a")
    monkeypatch.delenv("DRIFTLINE_HASH_KEY")
    (tmp_path / "hash.key").write_text("")
    with pytest.raises(UsageError, match="bring back the one from a backup"):
        HashKey(tmp_path).shown("a")
    assert NOW > START


def test_no_process_makes_a_key_that_the_others_do_not_have(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = configured(tmp_path)
    place = "storage: s3://lake/driftline\nscratch: ./scratch\ndatabase: "
    for database, apart in (("sqlite:///./state.db", False), ("postgresql+psycopg://h/d", True)):
        text = path.read_text().replace("storage: ./data", place + database)
        config = parse(text, path)
        assert config.models[MODEL].key.apart == apart
    with pytest.raises(ConfigError, match="set DRIFTLINE_HASH_KEY for each of them"):
        look_at_model(config.models[MODEL], tmp_path, State(open_database("sqlite://")))
    assert not (tmp_path / "scratch").exists()
    monkeypatch.setenv("DRIFTLINE_HASH_KEY", "a secret of sixteen characters or more")
    assert config.models[MODEL].key.shown("a") == HashKey(tmp_path / "other", apart=True).shown("a")
    monkeypatch.delenv("DRIFTLINE_HASH_KEY")
    HashKey(tmp_path).shown("a")  # a key that was there before is brought to each
    assert HashKey(tmp_path, apart=True).shown("a") == HashKey(tmp_path).shown("a")
