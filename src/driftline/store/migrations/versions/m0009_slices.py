"""Summaries, judgements and alerts of a slice of a window's rows: all of them, a version or a segment."""

from urllib.parse import quote

import sqlalchemy as sa
from alembic import op

revision = "0009"
down_revision = "0008"


def upgrade() -> None:
    """Add the columns. What is there is of all rows, but for summaries: ``*`` was all versions, others were one."""
    op.add_column("windows", sa.Column("segments", sa.LargeBinary(), nullable=True))
    for table in ("judgements", "alerts"):
        op.add_column(table, sa.Column("slice", sa.String(), nullable=False, server_default=""))
    with op.batch_alter_table("summaries") as batch:
        batch.alter_column("version", new_column_name="slice", existing_type=sa.String(), existing_nullable=False)
    summaries, connection = sa.table("summaries", sa.column("slice")), op.get_bind()
    for version in list(connection.execute(sa.select(summaries.c.slice).distinct()).scalars()):
        text = "" if version == "*" else f"version={quote(version, safe='', errors='surrogatepass')}"
        connection.execute(summaries.update().where(summaries.c.slice == version).values(slice=text))
