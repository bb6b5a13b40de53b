"""The registry in a folder: durable, once only, and closed to names that lead elsewhere."""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import random
import re
import signal
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from driftline.errors import ConflictError, DamagedError, DataError, StorageError, UnknownNameError, UsageError
from driftline.retrain.registry import FolderRegistry, Version, folder
from driftline.retrain.registry.registry import folder_name

NOW = datetime(2026, 1, 1, tzinfo=UTC)


def version(name: str, **changes: Any) -> Version:
    return Version("churn", name, NOW, **changes)


@pytest.fixture
def files(tmp_path: Path) -> dict[str, Path]:
    """Two files of a model, one of them in a folder."""
    (tmp_path / "work").mkdir()
    for name, text in (("model.json", b"{}"), ("weights.bin", bytes(range(256)) * 5000)):
        (tmp_path / "work" / name).write_bytes(text)
    return {"model.json": tmp_path / "work" / "model.json", "deep/weights.bin": tmp_path / "work" / "weights.bin"}


@pytest.fixture
def registry(tmp_path: Path) -> FolderRegistry:
    return FolderRegistry(tmp_path / "models")


def test_a_version_comes_back_as_it_was_with_its_files(registry: FolderRegistry, files: dict[str, Path]) -> None:
    stored = registry.register(version("v1", code="abc", parent="v0", signature={"age": "numeric"}), files)
    assert registry.version("churn", "v1") == stored
    assert {name: record.size_bytes for name, record in stored.files.items()} == {
        "deep/weights.bin": 1_280_000,
        "model.json": 2,
    }
    path = registry.path("churn", "v1")
    assert (path / "deep" / "weights.bin").read_bytes() == files["deep/weights.bin"].read_bytes()
    files["model.json"].write_text("another")  # what the run's folder holds later is nothing to the version
    assert (registry.path("churn", "v1") / "model.json").read_text() == "{}"


def test_versions_are_in_order_of_time(registry: FolderRegistry) -> None:
    assert registry.versions("churn") == []
    for name, days in (("b", 2), ("a", 3), ("c", 1)):
        registry.register(Version("churn", name, NOW + timedelta(days=days)), {})
    assert [one.version for one in registry.versions("churn")] == ["c", "b", "a"]


def test_the_same_again_is_no_error_and_another_under_its_name_is(
    registry: FolderRegistry, files: dict[str, Path]
) -> None:
    first = registry.register(version("v1"), files)
    assert registry.register(version("v1"), files) == first
    files["model.json"].write_text("another")
    with pytest.raises(ConflictError, match="has a version v1 with other files"):
        registry.register(version("v1"), files)


def test_a_file_that_was_changed_is_not_given_out(registry: FolderRegistry, files: dict[str, Path]) -> None:
    registry.register(version("v1"), files)
    (registry.path("churn", "v1") / "model.json").write_text("[]")
    with pytest.raises(DataError, match="is not the file that was registered"):
        registry.path("churn", "v1")


def test_what_is_not_known(registry: FolderRegistry) -> None:
    registry.register(version("v1"), {})
    with pytest.raises(UnknownNameError, match="unknown version of churn 'v2'; known: v1"):
        registry.version("churn", "v2")
    with pytest.raises(UnknownNameError):
        registry.promote("churn", "v2", None)
    assert registry.aliases("fraud") == {}


@pytest.mark.parametrize("name", ["", "..", ".", "a/b", "a\\b", "/etc", "a\0b", "x" * 101, "con.", "-rf", "ü", "a b"])
def test_names_that_lead_elsewhere(registry: FolderRegistry, name: str) -> None:
    """The name of a model is refused; that of a version is written otherwise, and lies where it should."""
    with pytest.raises(UsageError, match="it is 1 to 100 letters"):
        registry.register(Version(name, "v1", NOW), {})
    if not name:
        with pytest.raises(UsageError, match="came without a name"):
            registry.register(Version("churn", name, NOW), {})
        return
    registry.register(Version("churn", name, NOW), {})
    registry.promote("churn", name, None)
    assert [one.version for one in registry.versions("churn")] == [name]
    assert registry.version("churn", name).version == registry.aliases("churn")["champion"] == name
    assert registry.path("churn", name).resolve().parent.parent.name == "versions"


@given(
    st.lists(st.text(min_size=1, max_size=8) | st.text("./\\%aA~2E ", min_size=1), min_size=2, max_size=2, unique=True)
)
def test_different_versions_have_folders_of_their_own_that_are_names_anywhere(names: list[str]) -> None:
    one, other = map(folder_name, names)
    assert one != other
    assert re.fullmatch(r"[0-9A-Za-z%][0-9A-Za-z._+%~-]*", one) and ".." not in one and not one.endswith(".")
    long = folder_name(names[0] * 300)
    assert len(long) <= 200 and long != folder_name(names[0] * 301)


@pytest.mark.parametrize("name", ["2026-01", "v1", "1.2.3+abc_d", "a" * 100])
def test_names_of_before_have_the_folders_of_before(name: str) -> None:
    assert folder_name(name) == name


def test_one_damaged_record_leaves_the_other_versions(
    registry: FolderRegistry, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    for name in ("v1", "v2"):
        registry.register(version(name), {})
    [record] = tmp_path.rglob("v2/version.json")
    (record.parents[1] / ".DS_Store").touch()
    (record.parents[1] / "stray").touch()
    record.write_text("{}")
    assert [one.version for one in registry.versions("churn")] == ["v1"]
    assert "is left out" in caplog.text
    with pytest.raises(DataError, match=r"v2/version\.json is not what a registry writes"):
        registry.promote("churn", "v2", None)
    registry.promote("churn", "v1", None)


def test_damaged_aliases_say_what_to_do_and_are_not_written_over(registry: FolderRegistry, tmp_path: Path) -> None:
    registry.register(version("v1"), {})
    registry.promote("churn", "v1", None)
    [aliases] = tmp_path.rglob("aliases.json")
    for text in ("", "{", "[]", '{"champion": 3}'):
        aliases.write_text(text)
        for call in (lambda: registry.aliases("churn"), lambda: registry.promote("churn", "v1", None)):
            with pytest.raises(DamagedError, match=r"aliases\.json is not what a registry writes: .*; restore it"):
                call()
        assert aliases.read_text() == text


@pytest.mark.parametrize("name", ["", "../x", "/x", "a/../../x", "a\\x", "a\0"])
def test_files_that_lead_elsewhere(registry: FolderRegistry, files: dict[str, Path], name: str) -> None:
    with pytest.raises(UsageError, match="would not lie in the version's folder"):
        registry.register(version("v1"), {name: files["model.json"]})
    assert registry.versions("churn") == []


# ---- aliases ----------------------------------------------------------------------------------------------------


class Aliases(RuleBasedStateMachine):
    """Promotions and roll-backs in any order, against three variables."""

    @initialize()
    def start(self) -> None:
        import tempfile

        self.held = tempfile.TemporaryDirectory()
        self.registry = FolderRegistry(Path(self.held.name))
        self.champion: str | None = None
        self.previous: str | None = None
        self.undone: str | None = None
        for name in "abc":
            self.registry.register(version(name), {})

    def teardown(self) -> None:
        self.held.cleanup()

    @rule(name=st.sampled_from("abc"), expected=st.sampled_from([None, "a", "b", "c"]))
    def promote(self, name: str, expected: str | None) -> None:
        if self.champion == name:
            self.registry.promote("churn", name, expected)  # done already
        elif self.champion != expected:
            with pytest.raises(ConflictError):
                self.registry.promote("churn", name, expected)
        else:
            self.registry.promote("churn", name, expected)
            self.champion, self.previous, self.undone = name, expected, None

    @rule(expected=st.sampled_from("abc"))
    def roll_back(self, expected: str) -> None:
        if self.undone == expected:
            self.registry.roll_back("churn", expected)  # done already
        elif self.champion != expected or self.previous is None:
            with pytest.raises(ConflictError):
                self.registry.roll_back("churn", expected)
        else:
            self.registry.roll_back("churn", expected)
            self.champion, self.previous, self.undone = self.previous, None, expected

    @invariant()
    def aliases_are_what_happened(self) -> None:
        found = FolderRegistry(Path(self.held.name)).aliases("churn")
        assert (found.get("champion"), found.get("previous")) == (self.champion, self.previous)


Aliases.TestCase.settings = settings(max_examples=25, stateful_step_count=15, deadline=None)
TestAliases = Aliases.TestCase


def promote_once(path: Path, name: str, results: Any) -> None:
    try:
        FolderRegistry(path).promote("churn", name, "v0")
    except ConflictError:
        results.put(None)
    else:
        results.put(name)


def test_of_two_that_promote_at_once_one_wins(tmp_path: Path) -> None:
    registry = FolderRegistry(tmp_path)
    for name in ("v0", "v1", "v2", "v3", "v4"):
        registry.register(version(name), {})
    registry.promote("churn", "v0", None)
    context = multiprocessing.get_context("fork")
    results = context.Queue()
    processes = [
        context.Process(target=promote_once, args=(tmp_path, name, results)) for name in ("v1", "v2", "v3", "v4")
    ]
    for process in processes:
        process.start()
    won = [results.get(timeout=30) for _ in processes]
    for process in processes:
        process.join()
    [winner] = [name for name in won if name is not None]
    assert registry.aliases("churn") == {"champion": winner, "previous": "v0"}


# ---- crashes ----------------------------------------------------------------------------------------------------


CALLS = ((os, "fsync"), (os, "open"), (Path, "rename"), (Path, "replace"), (Path, "mkdir"), (Path, "open"))


@pytest.mark.parametrize("step", range(40))
def test_a_crash_at_any_call_leaves_old_or_new(
    tmp_path: Path, files: dict[str, Path], monkeypatch: pytest.MonkeyPatch, step: int
) -> None:
    """Every call to the disk fails once; afterwards all is as before or done, and doing it again does it."""
    registry = FolderRegistry(tmp_path / "models")
    registry.register(version("v1"), files)
    registry.promote("churn", "v1", None)
    calls = 0

    def failing(name: str, real: Any) -> Any:
        def call(*args: Any, **options: Any) -> Any:
            nonlocal calls
            calls += 1
            if calls == step + 1:
                raise KeyboardInterrupt(name)
            return real(*args, **options)

        return call

    with monkeypatch.context() as patch:
        for owner, name in CALLS:
            patch.setattr(owner, name, failing(name, getattr(owner, name)))
        try:
            registry.register(version("v2"), files)
            registry.promote("churn", "v2", "v1")
        except KeyboardInterrupt:
            pass
    again = FolderRegistry(tmp_path / "models")
    known = [one.version for one in again.versions("churn")]
    assert known in (["v1"], ["v1", "v2"])
    aliases = again.aliases("churn")
    assert aliases in ({"champion": "v1"}, {"champion": "v2", "previous": "v1"})
    assert aliases["champion"] in known
    again.register(version("v2"), files)
    again.promote("churn", "v2", "v1")
    assert again.aliases("churn") == {"champion": "v2", "previous": "v1"}
    assert (again.path("churn", "v2") / "model.json").read_text() == "{}"
    assert not list((tmp_path / "models").rglob(".new-*"))


def register_for_ever(path: Path, source: Path) -> None:
    registry, number = FolderRegistry(path), 0
    champion = registry.aliases("churn").get("champion")
    while True:
        number += 1
        name = f"{os.getpid()}.{number}"
        registry.register(version(name), {"weights.bin": source})
        registry.promote("churn", name, champion)
        champion = name


def test_kill_minus_nine_leaves_whole_versions_and_one_champion(tmp_path: Path, files: dict[str, Path]) -> None:
    context, rng = multiprocessing.get_context("fork"), random.Random(4)
    registry, known = FolderRegistry(tmp_path / "models"), set[str]()
    for _ in range(8):
        process = context.Process(target=register_for_ever, args=(tmp_path / "models", files["deep/weights.bin"]))
        process.start()
        while process.is_alive() and len(registry.versions("churn")) <= len(known):
            time.sleep(0.01)
        time.sleep(rng.random() * 0.1)
        assert process.pid is not None
        os.kill(process.pid, signal.SIGKILL)
        process.join()
        known = {one.version for one in registry.versions("churn")}
        aliases = registry.aliases("churn")
        assert set(aliases.values()) <= known
        for name in aliases.values():
            assert (registry.path("churn", name) / "weights.bin").stat().st_size == 1_280_000
    assert len(known) >= 8


def test_a_full_disk_says_so_and_leaves_nothing_half_done(
    registry: FolderRegistry, files: dict[str, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(folder.os, "fsync", full)
        with pytest.raises(StorageError, match="No space left on device"):
            registry.register(version("v1"), files)
    assert registry.versions("churn") == []
    registry.register(version("v1"), files)
    assert [one.version for one in registry.versions("churn")] == ["v1"]


@given(st.binary(max_size=60))
@settings(max_examples=30)
def test_rubbish_in_its_place_is_an_error_of_ours(tmp_path_factory: pytest.TempPathFactory, data: bytes) -> None:
    path = tmp_path_factory.mktemp("registry")
    registry = FolderRegistry(path)
    registry.register(version("v1"), {})
    (path / "churn" / "aliases.json").write_bytes(data)
    with contextlib.suppress(DataError):
        assert isinstance(registry.aliases("churn"), dict)
