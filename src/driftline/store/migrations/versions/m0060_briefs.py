"""What a list of many models shows of a window, which is little, beside the summary, which may be large."""

import msgspec
import sqlalchemy as sa
from alembic import op

revision = "0060"
down_revision = "0055"

_ROWS = 500


def upgrade() -> None:
    """Add the table, and make its rows of the summaries that there are."""
    op.create_table(
        "briefs",
        sa.Column("model", sa.String(), primary_key=True),
        sa.Column("start", sa.BigInteger(), primary_key=True),
        sa.Column("body", sa.LargeBinary(), nullable=False),
        sqlite_with_rowid=False,
    )
    summaries = sa.table("summaries", *map(sa.column, ("model", "start", "slice", "body")))
    briefs = sa.table("briefs", *map(sa.column, ("model", "start", "body")))
    of_all_rows = sa.select(summaries.c.model, summaries.c.start, summaries.c.body).where(summaries.c.slice == "")
    connection = op.get_bind()
    for rows in connection.execute(of_all_rows.execution_options(yield_per=_ROWS)).partitions():
        values = [{"model": row.model, "start": row.start, "body": _brief(row.body)} for row in rows]
        connection.execute(briefs.insert(), values)


def _brief(body: bytes) -> bytes:
    """Return what a release of that time makes of a summary; written out here, since what it makes may change."""
    summary = msgspec.msgpack.decode(body)
    start, end = (summary[name] for name in ("start", "end"))
    columns = [*summary["drift"].values(), summary["prediction_drift"], summary["label_drift"]]
    compared = [one for one in columns if one is not None]
    return msgspec.msgpack.encode(
        [
            start,
            end,
            summary["stage"],
            summary["predictions"],
            summary["labelled"],
            summary["coverage"]["value"],
            {name: [one[key] for key in ("value", "low", "high", "n")] for name, one in summary["performance"].items()},
            len(compared),
            sum(one["drifted"] for one in compared),
        ]
    )
