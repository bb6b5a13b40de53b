"""What is known of ids, as sorted runs of some bytes an id instead of a row of a table each."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import msgspec
import numpy as np
import polars as pl
import sqlalchemy as sa
from alembic import op

from driftline.sketches.hashing import fingerprints, hash_texts
from driftline.store.runs import FULL, PART_ROWS

revision = "0042"
down_revision = "0040"

SERIAL = sa.BigInteger().with_variant(sa.Integer, "sqlite")
NO_MARK = 0x7FF8_0000_0000_0000


def upgrade() -> None:
    """Add the tables, and bring over what is known: the ids of a model in order of event time, as they came."""
    op.create_table(
        "known_runs",
        sa.Column("number", SERIAL, primary_key=True, autoincrement=True),
        sa.Column("model", sa.String(), nullable=False),
        sa.Column("rows", sa.BigInteger(), nullable=False),
        sa.Column("bits", sa.Integer(), nullable=False),
        sa.Column("oldest", sa.BigInteger(), nullable=False),
        sa.Column("newest", sa.BigInteger(), nullable=False),
        sqlite_autoincrement=True,
    )
    op.create_index("known_runs_by_model", "known_runs", ["model", "number"])
    op.create_table(
        "known_parts",
        sa.Column("run", sa.BigInteger(), primary_key=True),
        sa.Column("part", sa.Integer(), primary_key=True),
        sa.Column("body", sa.LargeBinary(), nullable=False),
    )
    connection = op.get_bind()
    models = connection.execute(sa.text("SELECT model, last_arrival FROM models")).all()
    for model, last_arrival in models:
        for rows in _known(connection, model):
            _write(connection, model, rows, last_arrival or 0)
    op.drop_table("predictions")


def _known(connection: sa.Connection, model: str) -> Iterator[Sequence[Any]]:
    asked = sa.text("SELECT id, time, label FROM predictions WHERE model = :model ORDER BY time")
    yield from connection.execute(asked, {"model": model}).partitions(FULL)


def _write(connection: sa.Connection, model: str, rows: Sequence[Any], last_arrival: int) -> None:
    high, low = fingerprints(pl.Series([row.id for row in rows], dtype=pl.String))
    order = np.lexsort((low, high))
    columns = (high, low, np.array([row.time for row in rows], "<i8"), _marks([row.label for row in rows]))
    sorted_ = np.stack([column.view("<u8")[order] for column in columns])
    bits = max(0, -(-len(rows) // PART_ROWS) - 1).bit_length()
    newest = max(last_arrival, rows[-1].time)
    said = {"model": model, "rows": len(rows), "bits": bits, "oldest": newest, "newest": newest}
    table = sa.table("known_runs", *map(sa.column, said))
    connection.execute(table.insert().values(said))
    run = connection.execute(sa.text("SELECT max(number) FROM known_runs")).scalar_one()
    which = sorted_[0] >> np.uint64(64 - bits) if bits else np.zeros(len(rows), np.uint64)
    parts, firsts = np.unique(which, return_index=True)
    bodies = [
        {"run": run, "part": part, "body": body.shape[1].to_bytes(8, "little") + body.tobytes()}
        for part, body in zip(parts.tolist(), np.split(sorted_, firsts[1:], axis=1), strict=True)
    ]
    connection.execute(sa.table("known_parts", *map(sa.column, ("run", "part", "body"))).insert(), bodies)


def _marks(labels: Sequence[bytes | None]) -> np.ndarray[Any, np.dtype[np.uint64]]:
    decoded = [None if one is None else msgspec.msgpack.decode(one) for one in labels]
    marks = np.full(len(decoded), NO_MARK, np.uint64)
    names = [place for place, one in enumerate(decoded) if isinstance(one, str)]
    numbers = [place for place, one in enumerate(decoded) if isinstance(one, float)]
    marks[names] = hash_texts(pl.Series([decoded[place] for place in names], dtype=pl.String))
    marks[numbers] = (np.array([decoded[place] for place in numbers], np.float64) + 0.0).view(np.uint64)
    return marks
