"""Profiles on Dask, as it is: `make test-engines` installs it. The same bytes as from one process."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import polars as pl
import pytest

dask = pytest.importorskip("dask", reason="make test-engines runs it")

from driftline import dask as on_dask
from driftline.errors import UsageError
from driftline.profiles.carried import KEYS, told_apart
from driftline.profiles.table import ProfileTable, as_frame, profile_batches
from tests.engines.workload import layout, write_parts

LAYOUT = layout()


@pytest.fixture(scope="module", params=["threads", "processes of a cluster"])
def client(request: pytest.FixtureRequest) -> Iterator[Any]:
    if request.param == "threads":
        with dask.config.set(scheduler="threads"):
            yield None
        return
    from dask.distributed import Client, LocalCluster

    with (
        LocalCluster(n_workers=2, threads_per_worker=1, host="127.0.0.1", dashboard_address=None) as cluster,
        Client(cluster) as client,
    ):
        yield client


@pytest.fixture(scope="module")
def parts(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[pl.DataFrame]]:
    folder = tmp_path_factory.mktemp("parts")
    return folder, write_parts(folder)


def expected(frames: list[pl.DataFrame], by: Any) -> pl.DataFrame:
    layout = told_apart(LAYOUT, by)
    return as_frame(profile_batches(frames, layout), layout)


@pytest.mark.parametrize("by", [KEYS, ["window"], []], ids=str)
def test_files_give_the_bytes_of_one_process(client: Any, parts: tuple[Path, list[pl.DataFrame]], by: Any) -> None:
    folder, frames = parts
    table = on_dask.profile_files(sorted(map(str, folder.glob("*.parquet"))), LAYOUT, by)
    assert as_frame(table, told_apart(LAYOUT, by)).equals(expected(frames, by))


def test_a_frame_of_dask_and_delayed_frames_give_the_bytes_of_one_process(
    client: Any, parts: tuple[Path, list[pl.DataFrame]], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A frame of Dask is made of pandas, in which what is no number is missing."""
    import dask.dataframe as dd

    monkeypatch.setattr(on_dask, "FAN_IN", 2)
    folder, frames = parts
    by = ["version", "segment"]
    known, late = frames[:4], [frame.with_columns(pl.col(pl.Float64).fill_nan(None)) for frame in frames[4:]]
    read = dd.read_parquet(sorted(map(str, folder.glob("*.parquet")))[4:])
    whole = on_dask.profile(read.repartition(npartitions=5), LAYOUT, by)
    assert as_frame(whole, told_apart(LAYOUT, by)).equals(expected(late, by))
    delayed = [dask.delayed(frame.to_arrow() if place % 2 else frame) for place, frame in enumerate(known)]
    some = on_dask.profile(delayed, LAYOUT, by)
    assert as_frame(some.merge(whole), told_apart(LAYOUT, by)).equals(expected([*known, *late], by))


def test_no_parts_give_the_identity(client: Any) -> None:
    assert on_dask.profile([], LAYOUT) == ProfileTable()
    assert on_dask.profile_files([], LAYOUT) == ProfileTable()


def test_what_is_no_frame_of_dask_is_refused(parts: tuple[Path, list[pl.DataFrame]]) -> None:
    with pytest.raises(UsageError, match=r"a polars\..*DataFrame came; driftline.dask takes a dask.dataframe, or a"):
        on_dask.profile(parts[1][0], LAYOUT)
    with pytest.raises(UsageError, match=r"a builtins\.list came"):
        on_dask.profile(parts[1], LAYOUT)
