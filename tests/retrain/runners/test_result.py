"""What a run leaves: read strictly, and never anything outside of its folder."""

from __future__ import annotations

import contextlib
import json
import math
import os
import re
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from driftline.errors import DataError
from driftline.retrain.runners.runner import Predictions, Report, Result, decode_result, inside, read_result

FILES = ("challenger.parquet", "champion.parquet", "model/model.bin")
GOOD: dict[str, Any] = {
    "version": "2026-11-23.1+a_b",
    "predictions": {"champion": "champion.parquet", "challenger": "challenger.parquet"},
    "artifacts": ["model/model.bin"],
    "data": {"rows": 1200},
    "code": "0123abc",
}


@pytest.fixture
def run(tmp_path: Path) -> Path:
    folder = tmp_path / "run"
    for name in FILES:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(b"x" * 100)
    (tmp_path / "secret").write_text("hush")
    return folder


def write(folder: Path, **changes: Any) -> None:
    (folder / "result.json").write_bytes(msgspec.json.encode(GOOD | changes))


def test_a_result_is_read(run: Path) -> None:
    write(run)
    assert read_result(run) == Result(
        "2026-11-23.1+a_b",
        Predictions("challenger.parquet", "champion.parquet"),
        ("model/model.bin",),
        {"rows": 1200},
        "0123abc",
    )


def test_what_need_not_be_said_may_be_left_out(run: Path) -> None:
    (run / "result.json").write_text('{"version": "1", "predictions": {"challenger": "challenger.parquet"}}')
    assert read_result(run) == Result("1", Predictions("challenger.parquet"))


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"version": ""}, r"\$\.version"),
        ({"version": "../1"}, r"\$\.version"),
        ({"version": "1\n"}, r"\$\.version"),
        ({"version": "x" * 101}, r"\$\.version"),
        ({"version": 1}, r"Expected `str`, got `int` - at `\$\.version`"),
        ({"predictions": {"champion": "champion.parquet"}}, "missing required field `challenger`"),
        ({"predictions": {"challenger": "challenger.parquet", "other": "x"}}, "unknown field `other`"),
        ({"artefacts": []}, "unknown field `artefacts`"),
        ({"artifacts": ["model/model.bin"] * 1001}, "length <= 1000"),
        ({"artifacts": ["missing"]}, "'missing', which is no file"),
        ({"artifacts": [""]}, "'', which is no file"),
        ({"artifacts": ["."]}, "no file in the run's folder"),
        ({"artifacts": ["../secret"]}, "no file in the run's folder"),
        ({"artifacts": ["model/../../secret"]}, "no file in the run's folder"),
        ({"artifacts": ["/etc/passwd"]}, "no file in the run's folder"),
        ({"artifacts": ["a\0b"]}, "no file in the run's folder"),
        ({"artifacts": ["x" * 5000]}, "no file in the run's folder"),
        ({"code": "x" * 501}, r"\$\.code"),
        ({"data": []}, r"\$\.data"),
        ({"data": {"x": "y" * 1_000_000}}, "more than 1000000 bytes"),
    ],
)
def test_what_does_not_fit_is_said(run: Path, changes: dict[str, Any], reason: str) -> None:
    write(run, **changes)
    with pytest.raises(DataError, match=reason):
        read_result(run)


@pytest.mark.parametrize("text", ["", "{", "[]", "null", "\xff", '{"version": "1"}', "[" * 100_000])
def test_what_is_no_result_is_said(run: Path, text: str) -> None:
    (run / "result.json").write_bytes(text.encode("latin-1"))
    with pytest.raises(DataError, match="is not as it should be"):
        read_result(run)


def test_a_result_that_is_not_there_or_no_file_is_said(run: Path) -> None:
    with pytest.raises(DataError, match=r"left no result\.json"):
        read_result(run)
    (run / "result.json").mkdir()
    with pytest.raises(DataError, match="cannot be read: Is a directory"):
        read_result(run)


def test_links_lead_out_of_the_folder_as_well(run: Path) -> None:
    (run / "link").symlink_to("../secret")
    (run / "out").symlink_to("..")
    (run / "circle").symlink_to("circle")
    (run / "inner").symlink_to("model/model.bin")
    os.mkfifo(run / "pipe")
    for name in ("link", "out/secret", "circle", "pipe"):
        write(run, artifacts=[name])
        with pytest.raises(DataError, match="no file in the run's folder"):
            read_result(run)
    write(run, artifacts=["inner"])
    assert read_result(run).artifacts == ("inner",)


def test_a_folder_stands_for_its_files(run: Path) -> None:
    (run / "model" / "deep").mkdir()
    (run / "model" / "deep" / "a").write_text("x")
    write(run, artifacts=["model", "challenger.parquet"])
    assert read_result(run).artifacts == ("model/deep/a", "model/model.bin", "challenger.parquet")
    (run / "model" / "out").symlink_to("../../secret")
    with pytest.raises(DataError, match="'model/out', which is no file in the run's folder"):
        read_result(run)
    (run / "model" / "out").unlink()
    for number in range(1000):
        (run / "model" / str(number)).touch()
    with pytest.raises(DataError, match="names more than 1000 files as artifacts"):
        read_result(run)


def test_nan_in_what_is_only_shown_is_null(run: Path) -> None:
    write(run)
    text = json.dumps(GOOD | {"data": {"auc": math.nan, "rows": [1, -math.inf]}})
    assert "NaN" in text
    (run / "result.json").write_text(text)
    assert read_result(run).data == {"auc": None, "rows": [1, None]}
    (run / "result.json").write_text('{"version": NaN}')
    with pytest.raises(DataError, match="is not as it should be"):
        read_result(run)


def test_the_files_have_a_bound(run: Path) -> None:
    write(run)
    assert read_result(run, most_bytes=300)
    with pytest.raises(DataError, match="have 300 bytes in all; 299 is the most"):
        read_result(run, most_bytes=299)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.sampled_from(["..", ".", "", "model", "secret", "run", "model.bin", "\0", "~", "link"])))
def test_whatever_a_name_is_it_leads_into_the_folder_or_nowhere(run: Path, parts: list[str]) -> None:
    try:
        path = inside(run, "/".join(parts))
    except DataError:
        return
    assert path.read_bytes() == b"x" * 100
    assert path.resolve().is_relative_to(run.resolve())


@given(st.binary(max_size=200) | st.text(max_size=200).map(str.encode))
def test_whatever_a_run_writes_it_is_a_result_or_a_mistake(text: bytes) -> None:
    with contextlib.suppress(DataError):
        assert isinstance(decode_result(text), Result)


def test_a_report_has_a_result_or_a_reason() -> None:
    page = (Path(__file__).parents[3] / "docs" / "runners.md").read_text()
    [text] = re.findall(r'```json\n(\{\n  "ok".*?)```', page, re.DOTALL)
    report = msgspec.json.decode(text, type=Report)
    assert report.result is not None and report.result.version == "2"
    assert report.evidence is not None and report.evidence.challenger.prediction == ["rain", "sun"]
    with pytest.raises(msgspec.ValidationError, match="unknown field"):
        msgspec.json.decode(b'{"ok": true, "decision": "promote"}', type=Report)
