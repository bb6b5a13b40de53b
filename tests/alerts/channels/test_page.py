"""The page on receivers: its entries are taken by the configuration, its message is one."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import msgspec
import pytest
import yaml

from driftline.alerts.message import Message
from driftline.alerts.receivers import open_channel
from driftline.config.load import load
from tests.alerts.channels.conftest import NOW, notice
from tests.support.receiver import strict_json

PAGE = (Path(__file__).parents[3] / "docs" / "notifications.md").read_text(encoding="utf-8")
MODELS = "models:\n  churn: {reference: {path: reference.parquet}}\n"

pytestmark = pytest.mark.filterwarnings("ignore:'imghdr' is deprecated:DeprecationWarning")


def blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", PAGE, re.DOTALL | re.MULTILINE)


ENTRIES = [block for block in blocks("yaml") if block.startswith("notify:")]


@pytest.mark.parametrize("entry", ENTRIES)
def test_an_entry_is_a_receiver(entry: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in re.findall(r"env:(\w+)", entry):
        monkeypatch.setenv(name, "http://127.0.0.1:9/")
    (tmp_path / "driftline.yaml").write_text(MODELS + entry, encoding="utf-8")
    receivers = load(tmp_path / "driftline.yaml").notify
    assert len(receivers) == len(yaml.safe_load(entry)["notify"])
    for one in receivers:
        channel = open_channel(one, lambda: NOW)
        assert type(channel).__name__.lower() == one.kind


def test_each_receiver_has_a_section_with_an_entry() -> None:
    kinds = {kind for entry in ENTRIES for one in yaml.safe_load(entry)["notify"] for kind in one}
    assert {"webhook", "alertmanager", "slack", "teams", "pagerduty", "email", "apprise"} <= kinds


def keys(document: Any) -> Any:
    return {name: keys(value) for name, value in document.items()} if isinstance(document, dict) else None


def test_the_message_has_what_messages_have() -> None:
    [shown] = blocks("json")
    read = msgspec.json.decode(shown, type=Message)
    document = strict_json(shown.encode())
    assert keys(strict_json(msgspec.json.encode(read))) == keys(document)
    assert read.text.startswith(read.title) and read.alert.title in read.title


def test_the_fields_of_a_notice_are_named() -> None:
    [named] = re.findall(r"Each has ((?:`\w+`,? ?)+), and in `recent`", PAGE)
    fields = set(strict_json(msgspec.json.encode(notice())))
    assert set(re.findall(r"\w+", named)) | {"recent", "told"} == fields
