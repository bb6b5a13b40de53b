"""Profiles on Ray Data, as it is: `make test-engines` installs it. The same bytes as from one process."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import polars as pl
import pytest

ray = pytest.importorskip("ray", reason="make test-engines runs it")

from driftline import ray as on_ray
from driftline.errors import UsageError
from driftline.profiles.carried import KEYS, told_apart
from driftline.profiles.table import ProfileTable, as_frame, profile_batches
from tests.engines.workload import layout, rows_of, write_parts

LAYOUT = layout()


STARTS = 10
"""Ray gives its processes 30 seconds to start, which no setting changes; a busy machine takes longer at times."""


@pytest.fixture(scope="module", autouse=True)
def started() -> Iterator[None]:
    for again in reversed(range(STARTS)):
        try:
            ray.init(num_cpus=2, include_dashboard=False, log_to_driver=False, _node_ip_address="127.0.0.1")
            break
        except Exception as error:
            if not again or "timed out during startup" not in str(error):
                raise
            ray.shutdown()
    ray.data.DataContext.get_current().enable_progress_bars = False
    yield
    ray.shutdown()


@pytest.fixture(scope="module")
def parts(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[pl.DataFrame]]:
    folder = tmp_path_factory.mktemp("parts")
    return folder, write_parts(folder)


@pytest.mark.parametrize("by", [KEYS, ["window"], []], ids=str)
def test_blocks_give_the_bytes_of_one_process(
    parts: tuple[Path, list[pl.DataFrame]], by: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(on_ray, "FAN_IN", 2)
    folder, frames = parts
    layout = told_apart(LAYOUT, by)
    whole = as_frame(profile_batches(frames, layout), layout)
    files = sorted(map(str, folder.glob("*.parquet")))
    first, second = (
        on_ray.profile(ray.data.read_parquet(some).repartition(3), LAYOUT, by) for some in (files[:4], files[4:])
    )
    assert as_frame(first.merge(second), layout).equals(whole)


def test_no_rows_give_the_identity() -> None:
    assert on_ray.profile(ray.data.from_arrow(rows_of(0).to_arrow()), LAYOUT) == ProfileTable()


def test_what_is_no_data_of_ray_is_refused() -> None:
    with pytest.raises(UsageError, match=r"a polars\..*DataFrame came; driftline.ray takes a Dataset of ray.data"):
        on_ray.profile(rows_of(3), LAYOUT)
