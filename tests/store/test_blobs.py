"""One suite for every implementation of blobs: what a store promises, a folder and a bucket keep alike."""

from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from driftline.errors import UsageError
from driftline.store.blobs import Blobs, Folder, fetch
from driftline.store.s3 import Bucket
from tests.support.s3 import S3

NAMES = st.text(st.characters(categories=["L", "N"], include_characters=" %+&=#?~._-'\"é"), min_size=1, max_size=12)
HERE = settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=10, deadline=None)


@pytest.fixture(params=["folder", "bucket"])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Blobs:
    """A new place of each kind."""
    if request.param == "folder":
        return Folder(tmp_path / "blobs")
    server: S3 = request.getfixturevalue("s3")
    return Bucket.at(server.address())


def usable(name: str) -> bool:
    return not name.startswith(".") and not name.endswith(".")


@HERE
@given(contents=st.dictionaries(NAMES.filter(usable), st.binary(max_size=40), max_size=4), folder=NAMES.filter(usable))
def test_what_is_put_is_what_is_got_found_and_listed_whatever_its_name(
    place: Blobs, contents: dict[str, bytes], folder: str
) -> None:
    below = place.within(folder)
    for one in below.list():
        below.delete(one.name)
    for name, content in contents.items():
        below.put(name, b"before")
        below.put(name, content)
    assert [one.name for one in below.list()] == sorted(contents)
    for one in below.list():
        assert below.get(one.name) == contents[one.name] == b"".join(below.stream(one.name))
        assert one.size_bytes == len(contents[one.name])
        found = below.find(one.name)
        assert found is not None and found[:2] == one[:2] and found.modified.tzinfo is not None
        assert place.get(f"{folder}/{one.name}") == contents[one.name]


def test_a_missing_blob_is_said_by_its_kind_of_error_and_none_is_taken_away_twice(place: Blobs) -> None:
    assert place.find("none") is None and place.list() == [] and place.list("none") == []
    place.delete("none")
    with pytest.raises(FileNotFoundError):
        place.get("none")
    with pytest.raises(FileNotFoundError):
        place.tagged("none")
    with pytest.raises(FileNotFoundError):
        list(place.stream("none"))
    place.put("a/b", b"1")
    place.delete("a/b")
    assert place.find("a/b") is None and place.list("a") == []


def test_a_folder_lists_all_that_is_below_it_and_nothing_beside_it(place: Blobs) -> None:
    for name in ("a/x", "a/b/y", "ab/z", "a.txt", "b"):
        place.put(name, name.encode())
    assert [one.name for one in place.list("a")] == ["a/b/y", "a/x"]
    assert [one.name for one in place.within("a").list()] == ["b/y", "x"]
    assert [one.name for one in place.list()] == sorted(["a/x", "a/b/y", "ab/z", "a.txt", "b"])


@pytest.mark.parametrize("name", ["", "/a", "a/", "a//b", "../a", "a/../../b", ".", "a/./b", "a\\b", "a\0b"])
def test_no_name_leads_out_of_its_place(place: Blobs, name: str) -> None:
    calls: list[Callable[[], object]] = [
        lambda: place.put(name, b""),
        lambda: place.put_new(name, b""),
        lambda: place.swap(name, b"", None),
        lambda: place.get(name),
        lambda: place.find(name),
        lambda: place.delete(name),
        lambda: place.within(name),
    ]
    for call in calls:
        with pytest.raises(UsageError, match="would not lie in its place"):
            call()


def test_a_blob_is_put_once_and_what_was_there_stays(place: Blobs) -> None:
    assert place.put_new("a/b", b"first")
    assert not place.put_new("a/b", b"second")
    assert place.get("a/b") == b"first" and len(place.list()) == 1


def test_of_many_that_put_at_once_one_is_told_so(place: Blobs) -> None:
    told: list[bytes] = []
    starting = threading.Barrier(8)

    def put(content: bytes) -> None:
        starting.wait()
        if place.put_new("one", content):
            told.append(content)

    threads = [threading.Thread(target=put, args=(str(number).encode(),)) for number in range(8)]
    for one in threads:
        one.start()
    for one in threads:
        one.join()
    assert told == [place.get("one")]


def test_swapping_counts_without_losing_any(place: Blobs) -> None:
    """Each adds one to a number that all of them change: what is read is what is replaced, or the swap says so."""
    assert place.swap("number", b"0", None) and not place.swap("number", b"7", None)

    def add() -> None:
        for _ in range(5):
            while True:
                content, tag = place.tagged("number")
                if place.swap("number", str(int(content) + 1).encode(), tag):
                    break

    threads = [threading.Thread(target=add) for _ in range(4)]
    for one in threads:
        one.start()
    for one in threads:
        one.join()
    assert place.get("number") == b"20"
    assert not place.swap("none", b"", place.tagged("number")[1])


def test_large_files_go_up_and_come_down_in_parts(place: Blobs, tmp_path: Path) -> None:
    """Larger than a part of an upload to S3."""
    source, target = tmp_path / "large", tmp_path / "far" / "again"
    source.write_bytes(b"0123456789abcdef" * (12 * 2**16) + b"end")
    place.put("large", source)
    assert place.put_new("new", source) and not place.put_new("new", source)
    assert max(len(part) for part in place.stream("large")) < source.stat().st_size
    for name in ("large", "new"):
        fetch(place, name, target)
        assert target.read_bytes() == source.read_bytes()
        assert b"".join(place.stream(name)) == (tmp_path / "large").read_bytes()
        found = place.find(name)
        assert found is not None and found.size_bytes == source.stat().st_size
    with pytest.raises(FileNotFoundError):
        fetch(place, "none", tmp_path / "nothing")
    assert not (tmp_path / "nothing").exists()
