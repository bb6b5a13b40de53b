"""What is no longer kept: since when a model has events, who has it held, and whose rows are to be forgotten."""

import sqlalchemy as sa
from alembic import op

revision = "0048"
down_revision = "0044"


def upgrade() -> None:
    """Add the tables."""
    op.create_table(
        "cuts",
        sa.Column("model", sa.String(), primary_key=True),
        sa.Column("before", sa.BigInteger(), nullable=False),
        sa.Column("period", sa.String(), nullable=False),
        sa.Column("at", sa.BigInteger(), nullable=False),
        sa.Column("finished", sa.Boolean(), nullable=False),
    )
    op.create_table(
        "holds",
        sa.Column("model", sa.String(), primary_key=True),
        sa.Column("by", sa.String(), nullable=False),
        sa.Column("reason", sa.String(), nullable=False),
        sa.Column("at", sa.BigInteger(), nullable=False),
    )
    op.create_table(
        "forgotten_rows",
        sa.Column("model", sa.String(), primary_key=True),
        sa.Column("start", sa.BigInteger(), primary_key=True),
        sa.Column("version", sa.String(), primary_key=True),
        sa.Column("rows", sa.BigInteger(), nullable=False),
    )
    op.create_table(
        "forgotten_ids",
        sa.Column("model", sa.String(), primary_key=True),
        sa.Column("digest", sa.LargeBinary(), primary_key=True),
        sa.Column("at", sa.BigInteger(), nullable=False),
    )
    op.create_table(
        "forgettings",
        sa.Column("id", sa.String(), primary_key=True),
        sa.Column("model", sa.String(), nullable=False),
        sa.Column("by", sa.String(), nullable=False),
        sa.Column("reason", sa.String(), nullable=False),
        sa.Column("asked_at", sa.BigInteger(), nullable=False),
        sa.Column("ids", sa.LargeBinary()),
        sa.Column("number", sa.BigInteger(), nullable=False),
        sa.Column("state", sa.String(), nullable=False),
        sa.Column("note", sa.String(), nullable=False),
        sa.Column("done_at", sa.BigInteger()),
        sa.Column("found", sa.LargeBinary()),
    )
    op.create_index("forgettings_by_state", "forgettings", ["state", "model"])
