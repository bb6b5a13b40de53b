"""`driftline models`: the models of a service, whether it runs or not."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import CliRunner

from driftline.cli.models import command
from driftline.errors import UsageError
from driftline.service.runtime import Service
from tests.support.churn import write_config
from tests.support.steps import send_day, work


def test_models_are_told_beside_a_running_service(service: Service, tmp_path: Path) -> None:
    for day in range(3):
        send_day(service, day, right=20, wrong=40)
    work(service)
    config = ["--config", str(tmp_path / "driftline.yaml")]
    said = CliRunner().invoke(command, config, standalone_mode=False, catch_exceptions=False)
    header, row = said.output.splitlines()
    assert header.split() == ["model", "task", "predictions", "labels", "windows", "data", "until", "firing"]
    assert row.split()[:5] == ["churn", "binary", "180", "180", "3"] and row.split()[-1] == "2"
    assert max(map(len, said.output.splitlines())) < 80
    document = json.loads(CliRunner().invoke(command, [*config, "--json"], catch_exceptions=False).output)
    [model] = document["models"]
    assert (model["name"], model["task"], model["predictions"], model["firing"]) == ("churn", "binary", 180, 2)


def test_teams_are_told_where_a_model_has_one(service: Service, tmp_path: Path) -> None:
    file = tmp_path / "driftline.yaml"
    added = "models:\n  new: {team: 'ann & co', tags: [a, b], reference: {path: reference.parquet}}\n"
    file.write_text(file.read_text().replace("models:\n", added), encoding="utf-8")
    command_line = ["--config", str(file)]
    wide, narrow = (
        CliRunner().invoke(command, command_line, catch_exceptions=False, env={"COLUMNS": width}).output.splitlines()
        for width in ("120", "80")
    )
    assert wide[0].split()[:3] == ["model", "team", "task"]
    assert "ann & co" in wide[1] and wide[2].split()[:3] == ["churn", "–", "binary"]
    assert narrow[0].split()[:2] == ["model", "task"] and narrow[2].strip() == "ann & co"
    assert narrow[3].split()[:2] == ["churn", "binary"] and max(map(len, narrow)) <= 80
    document = CliRunner().invoke(command, [*command_line, "--json"], catch_exceptions=False).output
    new, churn = json.loads(document)["models"]
    assert (new["team"], new["tags"]) == ("ann & co", ["a", "b"]) and (churn["team"], churn["tags"]) == ("", [])


def test_a_model_that_was_added_since_has_nothing_yet(service: Service, tmp_path: Path) -> None:
    text = (tmp_path / "driftline.yaml").read_text()
    (tmp_path / "driftline.yaml").write_text(
        text.replace("models:\n", "models:\n  new: {task: regression, reference: {path: reference.parquet}}\n")
    )
    said = CliRunner().invoke(command, ["--config", str(tmp_path / "driftline.yaml")], catch_exceptions=False)
    assert [line.split()[0] for line in said.output.splitlines()] == ["model", "new", "churn"]
    assert said.output.splitlines()[1].split()[1:] == ["regression", "0", "0", "0", "–", "0"]


def test_where_no_service_has_worked_it_says_so(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="no `driftline serve` has run in"):
        CliRunner().invoke(
            command, ["--config", str(write_config(tmp_path))], standalone_mode=False, catch_exceptions=False
        )
