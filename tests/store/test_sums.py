"""Bytes of the log that the disk has changed are found before a value of them is read, and never brought together."""

from __future__ import annotations

import contextlib
import random
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from driftline.errors import StorageError
from driftline.store import sums
from driftline.store.log import EventLog
from driftline.store.sums import SUMS, Sums
from driftline.store.tidy import live_sizes
from tests.store.test_tidy import SCHEMA, append, ids

HERE = settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=30, deadline=None)


def files_of(folder: Path) -> list[Path]:
    return sorted(folder.glob("*.parquet"))


def live(log: EventLog) -> list[str]:
    return sorted(live_sizes(log._tables["predictions"]))


def flip(file: Path, place: int, bit: int = 3) -> None:
    content = bytearray(file.read_bytes())
    content[place % len(content)] ^= 1 << bit
    file.write_bytes(bytes(content))


@pytest.fixture
def log(tmp_path: Path) -> EventLog:
    log = EventLog(tmp_path / "m", SCHEMA)
    append(log, 1, 13)  # ten were brought together, and three were not
    return log


def again(log: EventLog) -> EventLog:
    """The log after a new start, which knows nothing of what was read before."""
    return EventLog(log.place, SCHEMA)


@HERE
@given(place=st.integers(0, 10**6), bit=st.integers(0, 7), data=st.data())
def test_any_bit_that_flips_is_found_and_nothing_is_read(log: EventLog, place: int, bit: int, data: Any) -> None:
    file = Path(log.place.root) / "predictions" / data.draw(st.sampled_from(live(log)))
    before, expected = file.read_bytes(), ids(again(log))
    flip(file, place, bit)
    with pytest.raises(StorageError) as caught:
        ids(again(log))
    assert f"m/predictions/{file.name} of the event log is damaged" in str(caught.value)
    assert "driftline rebuild m --accept-loss" in str(caught.value)
    file.write_bytes(before)
    assert ids(again(log)) == expected


def test_without_checksums_some_flips_would_be_other_values(log: EventLog) -> None:
    """Why there are checksums: Parquet does not notice."""
    file = files_of(Path(log.place.root) / "predictions")[-1]
    content, rng, wrong = file.read_bytes(), random.Random(1), 0
    expected = pl.read_parquet(file)
    for _ in range(60):
        flip(file, rng.randrange(len(content)))
        with contextlib.suppress(pl.exceptions.PolarsError, pl.exceptions.PanicException, OSError):
            wrong += not pl.read_parquet(file).equals(expected)
        file.write_bytes(content)
    assert wrong > 0


def test_a_damaged_file_is_not_brought_together_with_others(log: EventLog) -> None:
    folder = Path(log.place.root) / "predictions"
    single = folder / next(name for name in live(log) if not name.startswith("tier"))
    flip(single, 200)
    other = again(log)
    append(other, 14, 25)
    assert single.exists() and len([one for one in files_of(folder) if one.name.startswith("tier")]) == 1
    with pytest.raises(StorageError, match=single.name):
        other.require_undamaged()
    assert other.last_seq("predictions") == 25  # and what arrives is kept


def test_each_file_is_read_for_its_checksum_once(log: EventLog, monkeypatch: pytest.MonkeyPatch) -> None:
    looked_at: Counter[str] = Counter()
    real = sums._sum_of
    monkeypatch.setattr(sums, "_sum_of", lambda file: looked_at.update([file.name]) or real(file))
    other = again(log)
    for _ in range(5):
        ids(other)
    append(other, 14, 16)
    ids(other)
    assert set(looked_at.values()) == {1}


def test_files_of_an_earlier_release_are_taken_as_they_are_and_watched_from_then_on(log: EventLog) -> None:
    folder = Path(log.place.root) / "predictions"
    expected = ids(log)
    (folder / SUMS).unlink()
    assert ids(again(log)) == expected
    flip(next(one for one in files_of(folder) if one.name.startswith("tier")), 300)
    with pytest.raises(StorageError, match="damaged"):
        ids(again(log))


SUFFERED: dict[str, Callable[[bytes], bytes]] = {
    "cut off": lambda lines: lines[:-7],
    "a sum is another": lambda lines: lines.replace(lines[1:9], b"00000000"),
    "not text": lambda lines: b"\xff\x00" + lines[5:],
    "empty": lambda lines: b"",
}


@pytest.mark.parametrize("how", SUFFERED)
def test_checksums_that_suffered_themselves_call_no_file_damaged(log: EventLog, how: str) -> None:
    lines = Path(log.place.root) / "predictions" / SUMS
    lines.write_bytes(SUFFERED[how](lines.read_bytes()))
    expected = ids(log)
    other = again(log)
    assert ids(other) == expected
    append(other, 14, 15)
    assert len(ids(again(log))) == len(expected) + 4
    known = Sums(Path(log.place.root) / "predictions")._load()
    assert set(live(other)) <= known.keys()


@HERE
@given(
    files=st.dictionaries(st.text("ab ~-.é", min_size=1, max_size=8), st.binary(max_size=30), max_size=5),
    data=st.data(),
)
def test_what_is_kept_is_known_and_the_rest_is_forgotten(
    files: dict[str, bytes], data: Any, tmp_path_factory: pytest.TempPathFactory
) -> None:
    folder = tmp_path_factory.mktemp("sums")
    paths = [folder / f"f{name}" for name in files]
    for path, content in zip(paths, files.values(), strict=True):
        path.write_bytes(content)
    first = Sums(folder)
    first.add(path.name for path in paths)
    kept = data.draw(st.sets(st.sampled_from(paths))) if paths else set()
    first.keep([path.name for path in kept])
    assert Sums(folder)._load().keys() == {path.name for path in kept}
    for path in paths:
        path.write_bytes(path.read_bytes() + b"x")
    assert set(Sums(folder).damaged(path.name for path in paths)) == {path.name for path in kept}


def test_a_long_file_is_read_in_blocks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sums, "_BLOCK_BYTES", 7)
    file = tmp_path / "long"
    file.write_bytes(bytes(range(256)))
    Sums(tmp_path).add(["long"])
    monkeypatch.undo()
    assert Sums(tmp_path).damaged(["long"]) == []
