"""`driftline send`: a file becomes events of a service, each once, whatever comes between."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import polars as pl
import pytest

from driftline.cli.main import main
from driftline.client import tables
from driftline.client.transport import Answer, Transport
from tests.support.churn import MODEL
from tests.support.served import wait_until_idle

ROWS = 90


@pytest.fixture
def service(churn_address: str) -> str:
    return churn_address


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    monkeypatch.setattr(tables, "_MOST_ROWS", 20)
    return tmp_path / "state"


def rows(prefix: str, count: int = ROWS) -> pl.DataFrame:
    start = datetime(2024, 3, 1, tzinfo=UTC)
    return pl.DataFrame(
        {
            "id": [f"{prefix}-{number}" for number in range(count)],
            "time": [start + timedelta(minutes=number) for number in range(count)],
            "age": [20.0 + number for number in range(count)],
            "plan": ["basic"] * count,
            "note": ["no feature of the model"] * count,
            "prediction": [number % 2 for number in range(count)],
            "label": [number % 2 for number in range(count)],
        }
    )


def send(capsys: pytest.CaptureFixture[str], address: str, source: Path | str, *words: str) -> tuple[int, str, str]:
    with pytest.raises(SystemExit) as ended:
        main(["send", MODEL, str(source), "--url", address, *words])
    said = capsys.readouterr()
    return int(ended.value.code or 0), said.out, said.err


@contextmanager
def interrupted(monkeypatch: pytest.MonkeyPatch, *, at: int) -> Iterator[None]:
    """A post arrives, and before its answer does, somebody presses Ctrl-C."""
    known, posts = Transport.post, []

    def post(self: Transport, *given: Any, **more: Any) -> Answer:
        posts.append(given)
        answer = known(self, *given, **more)
        if len(posts) == at:
            raise KeyboardInterrupt
        return answer

    with monkeypatch.context() as patch:
        patch.setattr(Transport, "post", post)
        yield


def totals(address: str) -> tuple[int, int]:
    wait_until_idle(address)
    model = httpx.get(f"{address}/api/v1/models/{MODEL}", trust_env=False, verify=False).json()
    return model["predictions"], model["labels"]


@pytest.mark.parametrize("suffix", ["parquet", "csv", "ndjson", "delta"])
def test_a_file_of_any_kind_becomes_events_and_then_their_labels(
    service: str, tmp_path: Path, capsys: pytest.CaptureFixture[str], suffix: str
) -> None:
    file, frame, before = tmp_path / f"rows.{suffix}", rows(suffix), totals(service)
    writers: dict[str, Any] = {
        "parquet": frame.write_parquet,
        "csv": frame.write_csv,
        "ndjson": frame.write_ndjson,
        "delta": frame.write_delta,
    }
    writers[suffix](file)
    code, said, _ = send(capsys, service, file, "--kind", "predictions", "--json")
    assert (code, json.loads(said)) == (0, {"accepted": ROWS, "quarantined": 0, "resumed_from": 0})
    code, said, _ = send(capsys, service, file, "--kind", "labels")
    assert (code, said) == (0, f"{MODEL}: {ROWS} labels accepted.\n")
    assert totals(service) == (before[0] + ROWS, before[1] + ROWS)


def test_what_was_interrupted_goes_on_and_counts_once(
    service: str, tmp_path: Path, home: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    rows("again").write_parquet(tmp_path / "rows.parquet")
    before = totals(service)[0]
    with interrupted(monkeypatch, at=3):
        assert send(capsys, service, tmp_path / "rows.parquet", "--kind", "predictions")[0] == 130
    code, said, _ = send(capsys, service, tmp_path / "rows.parquet", "--kind", "predictions", "--json")
    assert (code, json.loads(said)) == (0, {"accepted": ROWS, "quarantined": 0, "resumed_from": 40})
    assert totals(service)[0] == before + ROWS
    assert not list(home.rglob("*.json"))  # it is done, and begins anew next time


def test_the_next_night_has_other_rows_under_the_same_name(
    service: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before, pattern = totals(service)[0], tmp_path / "night-*.parquet"
    for night in range(2):
        rows(f"night-{night}").write_parquet(tmp_path / "night-1.parquet")
        assert send(capsys, service, pattern, "--kind", "predictions")[0] == 0
    assert totals(service)[0] == before + 2 * ROWS


def test_files_that_have_changed_since_are_sent_from_their_first_row(
    service: str, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    before, pattern = totals(service)[0], tmp_path / "part-*.parquet"
    rows("old").write_parquet(tmp_path / "part-1.parquet")
    with interrupted(monkeypatch, at=3):
        assert send(capsys, service, pattern, "--kind", "predictions")[0] == 130
    rows("new").write_parquet(tmp_path / "part-1.parquet")
    code, said, _ = send(capsys, service, pattern, "--kind", "predictions", "--json")
    assert (code, json.loads(said)) == (0, {"accepted": ROWS, "quarantined": 0, "resumed_from": 0})
    assert totals(service)[0] == before + ROWS + 60


def test_a_bad_row_is_named_by_its_place_in_the_file(
    service: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    bad = rows("bad").with_columns(id=pl.when(pl.col("id") == "bad-50").then(pl.lit("")).otherwise("id"))
    bad.write_parquet(tmp_path / "rows.parquet")
    code, said, error = send(capsys, service, tmp_path / "rows.parquet", "--kind", "predictions")
    assert (code, said) == (2, "") and error.startswith("driftline: row 51: id: ")
    code, said, _ = send(
        capsys, service, tmp_path / "rows.parquet", "--kind", "predictions", "--on-error", "quarantine", "--json"
    )
    assert (code, json.loads(said)["quarantined"]) == (1, 1)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--kind", "predictions", "--token", "dl_secret"], "--token takes env:NAME"),
        (
            ["--kind", "predictions", "--token", "env:NOBODY"],
            "a secret is asked for at 'env:NOBODY', but the environment has no NOBODY",
        ),
        (["--kind", "rows"], "'rows' is not one of"),
        (["--kind", "labels", "--url", "nowhere"], "allowed is http://HOST:PORT"),
    ],
)
def test_a_mistake_is_one_line(
    service: str, tmp_path: Path, capsys: pytest.CaptureFixture[str], words: list[str], said: str
) -> None:
    rows("m", 1).write_parquet(tmp_path / "rows.parquet")
    code, _, error = send(capsys, service, tmp_path / "rows.parquet", *words)
    assert code == 2 and said in error and error.count("\n") == 1 and "dl_secret" not in error


def test_an_unknown_model_is_said_by_the_service(
    service: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rows("u", 1).write_parquet(tmp_path / "rows.parquet")
    with pytest.raises(SystemExit) as ended:
        main(["send", "churm", str(tmp_path / "rows.parquet"), "--kind", "labels", "--url", service])
    assert ended.value.code == 2 and "Did you mean 'churn'?" in capsys.readouterr().err
