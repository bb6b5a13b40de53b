"""One suite for the registries of our own: in a folder, and in blobs of a folder and a bucket."""

from __future__ import annotations

import threading
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from driftline.errors import ConflictError, DamagedError, DataError, UnknownNameError, UsageError
from driftline.retrain.registry import BlobRegistry, FolderRegistry, Registry, Version
from driftline.store.blobs import Blobs, Folder
from driftline.store.s3 import Bucket
from tests.support.s3 import S3

NOW = datetime(2026, 1, 1, tzinfo=UTC)


@pytest.fixture(params=["folder", "blobs of a folder", "blobs of a bucket"])
def open_one(request: pytest.FixtureRequest, tmp_path: Path) -> Callable[[], Registry]:
    """Opens the registry of this test, each time as a process that knows nothing of it."""
    if request.param == "folder":
        return lambda: FolderRegistry(tmp_path / "models")
    place: Blobs = Folder(tmp_path / "far")
    if request.param == "blobs of a bucket":
        server: S3 = request.getfixturevalue("s3")
        place = Bucket.at(server.address())
    numbers = iter(range(100))
    return lambda: BlobRegistry(place, tmp_path / f"local {next(numbers)}")


@pytest.fixture
def registry(open_one: Callable[[], Registry]) -> Registry:
    return open_one()


@pytest.fixture
def files(tmp_path: Path) -> dict[str, Path]:
    """Two files of a model, one of them in a folder."""
    (tmp_path / "work").mkdir()
    for name, text in (("model.json", b"{}"), ("weights.bin", bytes(range(256)) * 5000)):
        (tmp_path / "work" / name).write_bytes(text)
    return {"model.json": tmp_path / "work" / "model.json", "deep/weights.bin": tmp_path / "work" / "weights.bin"}


def version(name: str, **changes: Any) -> Version:
    return Version("churn", name, NOW, **changes)


def test_a_version_comes_back_as_it_was_with_its_files(
    open_one: Callable[[], Registry], files: dict[str, Path]
) -> None:
    stored = open_one().register(version("v1", code="abc", parent="v0", signature={"age": "numeric"}), files)
    weights = files["deep/weights.bin"].read_bytes()
    files["model.json"].write_text("another")  # what the run's folder holds later is nothing to the version
    for registry in (open_one(), open_one()):
        assert registry.version("churn", "v1") == stored and registry.versions("churn") == [stored]
        for _ in range(2):
            path = registry.path("churn", "v1")
            assert (path / "deep" / "weights.bin").read_bytes() == weights
            assert (path / "model.json").read_text() == "{}"


def test_the_same_again_is_no_error_and_another_under_its_name_is(registry: Registry, files: dict[str, Path]) -> None:
    first = registry.register(version("v1"), files)
    assert registry.register(version("v1"), files) == first
    assert registry.register(version("v2"), files).files == first.files
    files["model.json"].write_text("another")
    with pytest.raises(ConflictError, match="has a version v1 with other files"):
        registry.register(version("v1"), files)
    assert registry.version("churn", "v1") == first


def test_versions_are_in_order_of_time_whatever_their_names(registry: Registry) -> None:
    assert registry.versions("churn") == []
    for name, days in (("models:/churn/12", 2), ("a b%ü", 3), ("x" * 300, 1), ("..", 4)):
        registry.register(Version("churn", name, NOW + timedelta(days=days)), {})
    assert [one.version for one in registry.versions("churn")] == ["x" * 300, "models:/churn/12", "a b%ü", ".."]
    assert registry.version("churn", "a b%ü").version == "a b%ü"


def test_what_is_not_known_or_leads_elsewhere(registry: Registry, files: dict[str, Path]) -> None:
    registry.register(version("v1"), {})
    with pytest.raises(UnknownNameError, match="unknown version of churn 'v2'; known: v1"):
        registry.version("churn", "v2")
    with pytest.raises(UnknownNameError):
        registry.promote("churn", "v2", None)
    assert registry.aliases("fraud") == {} and registry.versions("fraud") == []
    with pytest.raises(UsageError, match="it is 1 to 100 letters"):
        registry.register(Version("../x", "v1", NOW), {})
    with pytest.raises(UsageError, match="would not lie in the version's folder"):
        registry.register(version("v3"), {"../x": files["model.json"]})


def test_the_champion_is_promoted_once_and_rolled_back_once(open_one: Callable[[], Registry]) -> None:
    for name in ("v1", "v2", "v3"):
        open_one().register(version(name), {})
    for _ in range(2):
        assert open_one().promote("churn", "v1", None) == {"champion": "v1"}
    with pytest.raises(ConflictError, match="the champion of churn is v1, not v3"):
        open_one().promote("churn", "v2", "v3")
    with pytest.raises(ConflictError, match="nothing to roll back to"):
        open_one().roll_back("churn", "v1")
    for _ in range(2):
        assert open_one().promote("churn", "v2", "v1") == {"champion": "v2", "previous": "v1"}
    for _ in range(2):
        assert open_one().roll_back("churn", "v2")["champion"] == "v1"
    assert open_one().aliases("churn")["champion"] == "v1"


def test_of_many_that_promote_at_once_one_wins(open_one: Callable[[], Registry]) -> None:
    names = [f"v{number}" for number in range(6)]
    for name in ("v", *names):
        open_one().register(version(name), {})
    open_one().promote("churn", "v", None)
    won: list[str] = []
    starting = threading.Barrier(len(names))

    def promote(name: str, registry: Registry) -> None:
        starting.wait()
        try:
            registry.promote("churn", name, "v")
        except ConflictError:
            return
        won.append(name)

    threads = [threading.Thread(target=promote, args=(name, open_one())) for name in names]
    for one in threads:
        one.start()
    for one in threads:
        one.join()
    assert won == [open_one().aliases("churn")["champion"]]


@pytest.fixture(params=["a folder", "a bucket"])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Blobs:
    if request.param == "a folder":
        return Folder(tmp_path / "far")
    server: S3 = request.getfixturevalue("s3")
    return Bucket.at(server.address())


def test_what_suffered_in_the_store_is_not_given_out(place: Blobs, tmp_path: Path, files: dict[str, Path]) -> None:
    registry = BlobRegistry(place, tmp_path / "local")
    stored = registry.register(version("v1"), files)
    registry.register(version("v2"), {})
    blob = f"churn/files/{stored.files['model.json'].sha256}"
    for suffer in (lambda: place.put(blob, b"[]"), lambda: place.delete(blob)):
        suffer()
        with pytest.raises(DataError, match="is not the file that was registered"):
            registry.path("churn", "v1")
    place.put("churn/versions/v1.json", b"{")
    assert [one.version for one in registry.versions("churn")] == ["v2"]
    with pytest.raises(DataError, match=r"v1\.json is not what a registry writes"):
        registry.version("churn", "v1")
    place.put("churn/aliases.json", b"[")
    with pytest.raises(DamagedError, match=r"aliases\.json is not what a registry writes: .*; restore it"):
        registry.promote("churn", "v2", None)


def test_a_version_that_was_cut_off_before_its_record_is_registered_by_doing_it_again(
    place: Blobs, tmp_path: Path, files: dict[str, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    registry = BlobRegistry(place, tmp_path / "local")
    with monkeypatch.context() as patch:
        patch.setattr(type(place), "put_new", lambda *args: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            registry.register(version("v1"), files)
    assert registry.versions("churn") == []
    stored = registry.register(version("v1"), files)
    assert (registry.path("churn", "v1") / "model.json").read_text() == "{}" and registry.versions("churn") == [stored]
