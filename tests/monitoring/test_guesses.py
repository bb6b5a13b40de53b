"""What a service took for granted of its models: at the start, in the API and on the model's page."""

from __future__ import annotations

import html
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from sklearn.metrics import roc_auc_score
from starlette.testclient import TestClient

from driftline.config.load import load
from driftline.monitoring.guesses import guesses_of
from driftline.service.runtime import Service
from driftline.web.app import create_app

N = 800


def reference(score: str = "s") -> pl.DataFrame:
    rng = np.random.default_rng(4)
    true = rng.random(N) < 0.3
    return pl.DataFrame(
        {
            "age": rng.normal(40, 9, N),
            "label": np.where(true, "fraud", "ok"),
            "prediction": np.where(rng.random(N) < 0.8, np.where(true, "fraud", "ok"), "ok"),
            score: np.clip(true * 0.35 + rng.random(N) * 0.6, 0, 1),
        }
    )


def configured(folder: Path, model: str, rows: pl.DataFrame) -> Path:
    rows.write_parquet(folder / "reference.parquet")
    file = folder / "driftline.yaml"
    file.write_text(f"models:\n  m:\n    reference: {{path: reference.parquet}}\n{model}\nstorage: ./data\n")
    return file


WITH_SCORE = "    columns: {prediction: prediction, score: s, label: label}"


Open = Callable[..., Service]


@pytest.fixture
def opened() -> Iterator[Open]:
    """Opens services that are not started, and closes them in the end."""
    services: list[Service] = []

    def open_one(folder: Path, model: str, rows: pl.DataFrame) -> Service:
        services.append(Service(load(configured(folder, model, rows))))
        return services[-1]

    yield open_one
    for one in services:
        one.stop()


def lines(service: Service) -> list[str]:
    return [line for name, found in service.guesses.items() for line in found.lines(name)]


def test_a_guessed_class_is_said_and_doubted_by_the_reference(opened: Open, tmp_path: Path) -> None:
    rows = reference()
    doubt, *more = lines(opened(tmp_path, WITH_SCORE, rows))
    auc = roc_auc_score(rows["label"] == "ok", rows["s"])
    assert doubt.startswith(f"m: on the reference, ROC AUC {auc:.3f} (")
    assert doubt.endswith("; say `positive: fraud`")
    assert more == [
        "m: positive class ok, the last by name of fraud and ok; `positive:` says otherwise",
        "m: task binary, guessed by the reference's label; `task:` says otherwise",
    ]


def test_who_does_what_is_advised_hears_no_more(opened: Open, tmp_path: Path) -> None:
    service = opened(tmp_path, f"{WITH_SCORE}\n    task: binary\n    positive: fraud", reference())
    assert lines(service) == []
    (view,) = service.views.models()
    assert view.positive is not None and view.positive.name == "fraud" and not view.positive.guessed


def test_a_said_class_against_its_score_is_told_the_key_of_the_score(opened: Open, tmp_path: Path) -> None:
    service = opened(tmp_path, f"{WITH_SCORE}\n    task: binary\n    positive: ok", reference())
    (line,) = lines(service)
    assert line.endswith("; say `columns: {score: {fraud: s}}`")
    advised = WITH_SCORE.replace("score: s", "score: {fraud: s}")
    (tmp_path / "next").mkdir()
    again = opened(tmp_path / "next", f"{advised}\n    task: binary\n    positive: ok", reference())
    assert lines(again) == []


def test_columns_without_a_part_are_said_where_nobody_named_any(opened: Open, tmp_path: Path) -> None:
    (line,) = lines(opened(tmp_path, "    task: multiclass", reference("score")))
    assert line == (
        "m: columns label, prediction and score are taken as inputs; `columns: {label: label}`, "
        "`columns: {prediction: prediction}` and `columns: {score: score}` give them their parts"
    )


def test_the_guess_is_remembered_with_the_state(opened: Open, tmp_path: Path) -> None:
    """At the next start the schema comes from the state: what is said of it is the same."""
    first = opened(tmp_path, WITH_SCORE, reference("s"))
    said = lines(first)
    first.stop()
    model = first.models["m"]
    assert list(guesses_of(model.config, model.schema, model.reference).lines("m")) == said
    assert lines(opened(tmp_path, WITH_SCORE, reference("s"))) == said


@pytest.mark.parametrize("score", ["s", "p_fraud"])
def test_page_and_api_say_it(opened: Open, score: str, tmp_path: Path) -> None:
    rows = reference(score)
    service = opened(tmp_path, WITH_SCORE.replace("score: s", f"score: {score}"), rows)
    client = TestClient(create_app(service), base_url="http://127.0.0.1")
    (model,) = client.get("/api/v1/models").json()["models"]
    page = html.unescape(client.get("/models/m").text)
    named = score == "p_fraud"
    assert model["positive"]["class"] == ("fraud" if named else "ok")
    assert model["positive"]["guessed"] is True
    assert bool(model["positive"]["doubt"]) is not named
    assert model["notes"] == ["task binary, guessed by the reference's label; `task:` says otherwise"]
    assert f'data-positive="{model["positive"]["class"]}"' in page
    assert model["positive"]["by"] in page and model["notes"][0].split(",")[0] in page
    assert ('id="doubt"' in page) is not named


def test_serve_prints_it_at_the_start(tmp_path: Path) -> None:
    file = configured(tmp_path, WITH_SCORE, reference())
    command = [sys.executable, "-m", "driftline", "serve", "--config", str(file), "--port", "0"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) as process:
        assert process.stdout is not None
        said: list[str] = []
        for line in process.stdout:
            said.append(line.rstrip("\n"))
            if "`task:` says" in " ".join(said):
                break
        process.terminate()
    assert all(len(line) < 80 for line in said if "/tmp" not in line)
    text = " ".join(" ".join(said).split())
    assert "m: on the reference, ROC AUC 0.0" in text and "say `positive: fraud`" in text
    assert "positive class ok, the last by name of fraud and ok" in text
