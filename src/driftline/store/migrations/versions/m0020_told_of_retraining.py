"""What webhooks were told of requests for challengers, and when the next attempt is due; in files and memory before."""

import sqlalchemy as sa
from alembic import op

revision = "0020"
down_revision = "0012"


def upgrade() -> None:
    """Add the tables. What was told before is not known here: what is at most three days old is told once more."""
    op.create_table(
        "retraining_told",
        sa.Column("request", sa.String(), primary_key=True),
        sa.Column("stage", sa.String(), primary_key=True),
    )
    op.create_table(
        "retraining_attempts",
        sa.Column("model", sa.String(), primary_key=True),
        sa.Column("failed", sa.Integer(), nullable=False),
        sa.Column("due_at", sa.BigInteger(), nullable=False),
    )
