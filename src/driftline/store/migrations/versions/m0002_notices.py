"""What is told of alerts to whom; silences and acknowledgements; windows that go out by remote write."""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"


def upgrade() -> None:
    """Add to the tables of 0001. Messages that wait in the old form are given up: their alerts are told anew."""
    op.add_column("alerts", sa.Column("acknowledged_by", sa.String(), nullable=False, server_default=""))
    op.add_column("alerts", sa.Column("acknowledged_at", sa.BigInteger(), nullable=True))
    op.add_column("alerts", sa.Column("acknowledged_reason", sa.String(), nullable=False, server_default=""))
    op.add_column("alerts", sa.Column("muted", sa.String(), nullable=False, server_default=""))
    op.create_index("alerts_by_status", "alerts", ["status"], unique=False)
    op.add_column("models", sa.Column("last_arrival", sa.BigInteger(), nullable=True))
    op.add_column("windows", sa.Column("pushed", sa.Boolean(), nullable=False, server_default=sa.false()))
    op.add_column("windows", sa.Column("revision", sa.Integer(), nullable=False, server_default="0"))
    op.add_column("notifications", sa.Column("model", sa.String(), nullable=False, server_default=""))
    op.add_column("notifications", sa.Column("batch", sa.BigInteger(), nullable=True))
    op.execute("DELETE FROM notifications WHERE state = 'waiting'")
    op.create_table(
        "told",
        sa.Column("channel", sa.String(), nullable=False),
        sa.Column("alert", sa.String(), nullable=False),
        sa.Column("event", sa.String(), nullable=False),
        sa.Column("at", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("channel", "alert"),
    )
    op.create_table(
        "silences",
        sa.Column("id", sa.String(), nullable=False),
        sa.Column("match", sa.LargeBinary(), nullable=False),
        sa.Column("starts_at", sa.BigInteger(), nullable=False),
        sa.Column("ends_at", sa.BigInteger(), nullable=False),
        sa.Column("by", sa.String(), nullable=False),
        sa.Column("reason", sa.String(), nullable=False),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("id"),
    )
