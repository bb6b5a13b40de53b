"""A table of the log whose metadata suffered: what is only a hint is done without, the rest is told in one line."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from deltalake import DeltaTable

from driftline.errors import StorageError
from driftline.store import tidy
from driftline.store.log import EventLog
from tests.store.test_tidy import SCHEMA, append, ids


@pytest.fixture
def metadata(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The metadata of a table with a checkpoint, from whose first version on everything is still there."""
    monkeypatch.setattr(tidy, "CHECKPOINT_EVERY", 4)
    log = EventLog(tmp_path / "m", SCHEMA)
    append(log, 1, 7)
    found = Path(log.place.root) / "predictions" / "_delta_log"
    assert (found / "_last_checkpoint").exists() and list(found.glob("*.checkpoint*.parquet"))
    return found


def newest(metadata: Path) -> Path:
    return max(metadata.glob("*.json"))


def without_checkpoint(metadata: Path) -> None:
    for file in metadata.glob("*.checkpoint*.parquet"):
        file.unlink()


HARMLESS: dict[str, Callable[[Path], None]] = {
    "the hint is gone": lambda metadata: (metadata / "_last_checkpoint").unlink(),
    "the hint is garbage": lambda metadata: (metadata / "_last_checkpoint").write_bytes(b"\x00{") and None,
    "the hint is of another version": lambda metadata: (
        (metadata / "_last_checkpoint").write_text('{"version": 99, "size": 1}') and None
    ),
    "the checkpoint is gone": without_checkpoint,
    "hint and checkpoint are gone": lambda metadata: (
        (metadata / "_last_checkpoint").unlink(),
        without_checkpoint(metadata),
    )[1],
}


@pytest.mark.parametrize("how", HARMLESS)
def test_what_is_only_a_hint_is_done_without(metadata: Path, how: str) -> None:
    HARMLESS[how](metadata)
    log = EventLog(metadata.parents[1], SCHEMA)
    assert len(ids(log)) == 14 and log.last_seq("predictions") == 7
    append(log, 8, 12)
    assert len(ids(EventLog(log.place, SCHEMA))) == 24
    assert DeltaTable(str(metadata.parent)).version() == log._tables["predictions"].version()


@pytest.mark.parametrize("damage", [lambda content: content[: len(content) // 2], lambda content: b"\x00" * 40])
def test_a_damaged_commit_is_named_in_one_line(metadata: Path, damage: Callable[[bytes], bytes]) -> None:
    newest(metadata).write_bytes(damage(newest(metadata).read_bytes()))
    with pytest.raises(StorageError) as caught:
        EventLog(metadata.parents[1], SCHEMA).last_seq("predictions")
    assert str(caught.value).startswith(f"the commit {newest(metadata)} is cut off or damaged")
    assert "\n" not in str(caught.value) and "unknown" not in str(caught.value)


def test_a_table_that_is_not_whole_and_has_no_damaged_commit_is_still_one_line(metadata: Path) -> None:
    for file in metadata.iterdir():
        if file.name != newest(metadata).name:
            file.unlink()
    with pytest.raises(StorageError) as caught:
        EventLog(metadata.parents[1], SCHEMA).last_seq("predictions")
    assert "cannot be read" in str(caught.value) and "\n" not in str(caught.value)
