"""Profiles on Ray Data: blocks become profiles where they lie, which merge in a tree on the cluster.

Ray only carries rows to `driftline.profiles.carried` and bytes back, so the result is, byte for byte, that of one
process. Importing this module needs no Ray.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from driftline.errors import UsageError
from driftline.profiles.carried import (
    KEYS,
    as_carried,
    carried_layout,
    columns_read,
    merge_group,
    profile_partition,
    told_apart,
)
from driftline.profiles.layout import Layout
from driftline.profiles.table import ProfileTable, as_batch, from_frame
from driftline.sources.frames import frame_of_table

if TYPE_CHECKING:
    import pyarrow as pa
    from ray.data import Dataset

FAN_IN = 16
"""So many tables of profiles are merged by one task."""


def profile(data: Dataset, layout: Layout, by: Iterable[str] = KEYS) -> ProfileTable:
    """Profile a data set of Ray, which is read block by block.

    ``by`` says what rows are told apart by, see `driftline.profiles.carried.told_apart`. A task holds one block, or
    `FAN_IN` tables of profiles.
    """
    layout = told_apart(layout, by)
    try:
        import ray
    except ImportError as error:
        raise UsageError(
            "driftline.ray needs Ray, which is not installed here; run: python -m pip install 'driftline[ray]'"
        ) from error
    if not isinstance(data, ray.data.Dataset):
        raise UsageError(
            f"a {type(data).__module__}.{type(data).__qualname__} came; driftline.ray takes a Dataset of ray.data"
        )
    carried = as_carried(layout)
    names = columns_read(layout, data.columns() or [])
    parts = data.select_columns(list(names)).map_batches(
        _profile_block, batch_size=None, batch_format="pyarrow", fn_kwargs={"carried": carried}
    )
    merge = ray.remote(_merged)
    tables: list[Any] = parts.to_arrow_refs()
    while len(tables) > 1:
        tables = [merge.remote(carried, *tables[place : place + FAN_IN]) for place in range(0, len(tables), FAN_IN)]
    whole = ray.get(tables[0]) if tables else None
    if whole is None or not whole.num_rows:  # of no rows Ray makes blocks without columns
        return ProfileTable()
    return from_frame(frame_of_table(whole), layout, "what Ray returned")


def _profile_block(block: pa.Table, carried: bytes) -> pa.Table:
    import pyarrow as pa

    nothing = as_batch(ProfileTable(), carried_layout(carried))
    return pa.Table.from_batches([nothing, *profile_partition([block], block.schema.names, carried)])


def _nothing(carried: bytes) -> pa.Table:
    import pyarrow as pa

    return pa.Table.from_batches([as_batch(ProfileTable(), carried_layout(carried))])


def _merged(carried: bytes, *tables: pa.Table) -> pa.Table:
    import pyarrow as pa

    return merge_group(pa.concat_tables([_nothing(carried), *(one for one in tables if one.num_rows)]), carried)
