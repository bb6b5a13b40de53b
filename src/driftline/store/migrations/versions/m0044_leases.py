"""Several processes: which of them holds what, and who is alive. What channels know of their receivers."""

import sqlalchemy as sa
from alembic import op

revision = "0044"
down_revision = "0042"


def upgrade() -> None:
    """Add the tables."""
    op.create_table(
        "leases",
        sa.Column("name", sa.String(), primary_key=True),
        sa.Column("holder", sa.String(), nullable=False),
        sa.Column("token", sa.BigInteger(), nullable=False),
        sa.Column("expires_at", sa.BigInteger(), nullable=False),
    )
    op.create_table(
        "processes",
        sa.Column("id", sa.String(), primary_key=True),
        sa.Column("role", sa.String(), nullable=False),
        sa.Column("host", sa.String(), nullable=False),
        sa.Column("pid", sa.BigInteger(), nullable=False),
        sa.Column("storage", sa.String(), nullable=False),
        sa.Column("started_at", sa.BigInteger(), nullable=False),
        sa.Column("said_at", sa.BigInteger(), nullable=False),
        sa.Column("expires_at", sa.BigInteger(), nullable=False),
        sa.Column("status", sa.LargeBinary(), nullable=False),
    )
    op.create_table(
        "channels",
        sa.Column("channel", sa.String(), primary_key=True),
        sa.Column("memory", sa.LargeBinary(), nullable=False),
    )
