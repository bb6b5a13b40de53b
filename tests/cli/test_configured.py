"""``--config`` and ``--data`` mean the same for every command that has them, and a ``--help`` reads nothing."""

from __future__ import annotations

from pathlib import Path

import pytest
from click.testing import CliRunner

from driftline.cli import accept, ack, alerts, card, challengers, migrate, rebuild, retrain, serve, silence

COMMANDS = [one.command for one in (accept, ack, alerts, card, challengers, migrate, rebuild, retrain, serve, silence)]


@pytest.mark.parametrize("command", COMMANDS, ids=lambda command: command.name)
def test_each_has_both_options_in_the_same_words(command: object) -> None:
    said = " ".join(CliRunner().invoke(command, ["--help"]).output.split())  # type: ignore[arg-type]
    assert "--config PATH [default: driftline.yaml]" in said
    assert "--data PATH Folder of events and state, instead of `storage`." in said


def test_the_help_of_a_subcommand_needs_no_configuration(tmp_path: Path) -> None:
    missing = str(tmp_path / "none.yaml")
    for command in (silence.command, challengers.command):
        [name, *_] = command.commands
        answer = CliRunner().invoke(command, ["--config", missing, name, "--help"])
        assert answer.exit_code == 0, answer.output
