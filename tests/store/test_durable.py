"""A file is replaced whole or not at all, whoever else writes it and wherever it fails."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest

from driftline.store.durable import replace_file, replacing


def test_readers_see_the_old_file_or_the_new_one_and_nothing_is_left_beside(tmp_path: Path) -> None:
    path = tmp_path / "told.json"
    texts = [f"{number}" * 50_000 for number in range(4)]
    replace_file(path, texts[0])
    over = threading.Event()
    seen: set[str] = set()

    def read() -> None:
        while not over.is_set():
            seen.add(path.read_text())

    def write(text: str) -> None:
        for _ in range(5):
            replace_file(path, text)

    reader = threading.Thread(target=read)
    writers = [threading.Thread(target=write, args=(text,)) for text in texts]
    for thread in (reader, *writers):
        thread.start()
    for thread in writers:
        thread.join()
    over.set()
    reader.join()
    assert seen <= {*texts} and seen
    assert [one.name for one in tmp_path.iterdir()] == ["told.json"]


def test_where_it_fails_the_old_file_stays_and_what_was_begun_goes(tmp_path: Path) -> None:
    path = tmp_path / "rows"
    replace_file(path, b"\xff\x00")

    def fail() -> None:
        with replacing(path) as beside:
            beside.write_bytes(b"half")
            raise OSError(28, "No space left on device")

    with pytest.raises(OSError, match="No space left"):
        fail()
    assert path.read_bytes() == b"\xff\x00"
    assert [one.name for one in tmp_path.iterdir()] == ["rows"]
