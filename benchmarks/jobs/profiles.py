"""One measurement of profiles for `benchmarks.engines`, in a process of its own; prints what it found as JSON.

    python -m benchmarks.jobs.profiles local ROWS COLUMNS WINDOWS
    python -m benchmarks.jobs.profiles made ROWS COLUMNS WINDOWS       the rows are made, and not profiled
    python -m benchmarks.jobs.profiles merge COLUMNS WINDOWS
    python -m benchmarks.jobs.profiles spark ROWS COLUMNS WINDOWS CORES

Rows are made as they are read: a block of random ones again and again, with later times each time, in their order.
"""

from __future__ import annotations

import json
import os
import re
import sys
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import polars as pl

from driftline.events import Kind, Schema, Task, WindowSpec
from driftline.profiles.carried import profile_parts, told_apart
from driftline.profiles.columns import Columns
from driftline.profiles.frame import canonical
from driftline.profiles.layout import Layout
from driftline.profiles.reference import layout_of
from driftline.profiles.table import ProfileTable, as_frame, from_frame

BLOCK = 100_000
START = datetime(2025, 1, 1, tzinfo=UTC)
PARTITIONS = 16


def block_of(columns: int, rows: int = BLOCK) -> pl.DataFrame:
    """Rows of a binary model with labels: of five features four are numbers, and the fifth a category of 30."""
    rng = np.random.default_rng(7)
    features: dict[str, Any] = {}
    for place in range(columns):
        made = (rng.normal, rng.exponential, rng.lognormal, rng.random)[place % 4](size=rows)
        names = np.char.add("kind ", (rng.zipf(1.5, rows) % 30).astype(str))
        features[f"f{place:03}"] = names if place % 5 == 4 else made
    score = rng.random(rows)
    said = (score > 0.5).astype(np.int64)
    was = np.where(rng.random(rows) < 0.8, said, 1 - said)
    return pl.DataFrame({**features, "score": score, "said": said, "was": was})


def layout_of_block(block: pl.DataFrame) -> Layout:
    """The layout that such rows decide, with windows of a day."""
    roles = Columns(time="at", prediction="said", score="score", label="was")
    kinds = {name: Kind.CATEGORICAL if block[name].dtype == pl.String else Kind.NUMERIC for name in block.columns[:-3]}
    schema = Schema(Task.BINARY, kinds, ("0", "1"), "1")
    known = canonical(timed(block.head(20_000), 0, 20_000, 1), roles, schema)
    return Layout(roles, schema, *layout_of(known, schema), WindowSpec("1d"))


def timed(block: pl.DataFrame, begin: int, of: int, windows: int) -> pl.DataFrame:
    """The block with the times of its rows, which are spread evenly over the windows, a day each."""
    step = timedelta(days=windows) / max(of, 1) / timedelta(microseconds=1)
    micros = (np.arange(begin, begin + block.height) * step).astype(np.int64) + int(START.timestamp()) * 1_000_000
    return block.with_columns(pl.Series("at", micros).cast(pl.Datetime("us")).dt.replace_time_zone("UTC"))


def blocks(block: pl.DataFrame, first: int, last: int, of: int, windows: int) -> Iterator[pl.DataFrame]:
    """Some of the rows, block by block."""
    for begin in range(first, last, block.height):
        yield timed(block.head(last - begin), begin, of, windows)


def peak_bytes() -> int:
    """The most memory that this process has had."""
    [kilobytes] = re.findall(r"VmHWM:\s+([0-9]+) kB", Path("/proc/self/status").read_text())
    return int(kilobytes) * 1024


def local(rows: int, columns: int, windows: int, *, profiled: bool = True) -> dict[str, Any]:
    """What one process does; without ``profiled``, only what it takes to make the rows."""
    block = block_of(columns)
    layout = layout_of_block(block)
    list(profile_parts([timed(block.head(1_000), 0, 1_000, 1)], layout))  # whatever is done once
    processor, wall, before = time.process_time(), time.perf_counter(), peak_bytes()
    made = blocks(block, 0, rows, rows, windows)
    table = (
        ProfileTable.of_all(profile_parts(made, layout))
        if profiled
        else ProfileTable.of_all(ProfileTable() for _ in made)
    )
    took = {"processor": time.process_time() - processor, "wall": time.perf_counter() - wall}
    stored = as_frame(table, layout) if profiled else pl.DataFrame({"profile": []}, schema={"profile": pl.Binary})
    said = {"predictions": table.predictions, "windows": len(table.parts), "before": before, "peak": peak_bytes()}
    return took | said | {"bytes": int(stored["profile"].bin.size().sum() or 0)}


def merge(columns: int, windows: int) -> dict[str, Any]:
    """What it takes to merge one more profile of each window with what there is: read its bytes, add, write bytes."""
    block = block_of(columns, 20_000)
    layout = layout_of_block(block)
    rows = windows * 2_000
    stored = as_frame(
        ProfileTable.of_all(profile_parts(blocks(block.head(2_000), 0, rows, rows, windows), layout)), layout
    )
    twice = pl.concat([stored, stored])
    from_frame(twice.head(2), layout)
    processor = time.process_time()
    as_frame(from_frame(twice, layout), layout)
    took = (time.process_time() - processor) / (2 * stored.height)
    return {"processor": took, "windows": stored.height, "bytes": int(stored["profile"].bin.size().sum() or 0)}


def on_spark(rows: int, columns: int, windows: int, cores: int) -> dict[str, Any]:
    """What Spark does on this machine with so many cores; its Python workers say what they took, each partition."""
    from driftline import spark
    from tests.engines.sessions import session

    block = block_of(columns)
    layout = layout_of_block(block)
    own = spark.profile_partition
    with TemporaryDirectory() as where, session(f"local[{cores}]") as started:
        block.write_parquet(f"{where}/block.parquet")
        each = rows // PARTITIONS

        def make(batches: Any) -> Any:
            kept = pl.read_parquet(f"{where}/block.parquet")
            for number in (one for batch in batches for one in batch.column(0).to_pylist()):
                for frame in blocks(kept, number * each, (number + 1) * each, rows, windows):
                    yield from frame.to_arrow().cast(arrow).to_batches(max_chunksize=10_000)

        def measured(batches: Any, names: Any, carried: bytes) -> Any:
            processor = time.process_time()
            yield from own(batches, names, carried)
            said = {"processor": time.process_time() - processor, "peak": peak_bytes()}
            Path(where, f"{os.getpid()}-{os.urandom(4).hex()}.json").write_text(json.dumps(said))

        import pyarrow as pa

        sample = timed(block.head(1), 0, 1, 1).to_arrow()
        texts = [
            pa.string() if pa.types.is_large_string(one) or "view" in str(one) else one for one in sample.schema.types
        ]
        arrow = pa.schema(list(zip(sample.schema.names, texts, strict=True)))
        types = {"double": "double", "int64": "bigint", "string": "string", "timestamp[us, tz=UTC]": "timestamp"}
        ddl = ", ".join(f"`{one.name}` {types[str(one.type)]}" for one in arrow)
        spark.profile_partition = measured
        started.range(0, 100, 1, 2).mapInArrow(lambda some: some, "id bigint").collect()  # workers are up
        wall = time.perf_counter()
        table = spark.profile_table(started.range(0, PARTITIONS, 1, PARTITIONS).mapInArrow(make, ddl), layout)
        took = time.perf_counter() - wall
        said = [json.loads(one.read_text()) for one in Path(where).glob("*.json")]
    processor = sum(one["processor"] for one in said)
    whole = told_apart(layout)
    same = None
    if rows <= 1_000_000:
        spans = [(number * each, (number + 1) * each) for number in range(PARTITIONS)]
        made = (one for first, last in spans for one in blocks(block, first, last, rows, windows))
        here = ProfileTable.of_all(profile_parts(made, whole))
        same = as_frame(here, whole).equals(as_frame(table, whole))
    return {
        "processor": processor,
        "wall": took,
        "predictions": table.predictions,
        "windows": len(table.parts),
        "peak": max(one["peak"] for one in said),
        "same": same,
    }


def main() -> None:
    """Read the arguments and measure."""
    what, *numbers = sys.argv[1:]
    asked = [int(one) for one in numbers]
    if what == "spark":
        found = on_spark(*asked)
    elif what == "merge":
        found = merge(*asked)
    else:
        found = local(*asked, profiled=what == "local")
    sys.stdout.write(json.dumps(found) + "\n")


if __name__ == "__main__":
    main()
