"""How often the batch at the head of an inbox was tried; where the log stood when the state was last written."""

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"


def upgrade() -> None:
    """Add the table and the column. Where the log stood before is not known."""
    op.create_table(
        "attempts",
        sa.Column("model", sa.String(), nullable=False),
        sa.Column("seq", sa.BigInteger(), nullable=False),
        sa.Column("tried", sa.Integer(), nullable=False),
        sa.PrimaryKeyConstraint("model"),
    )
    op.add_column("models", sa.Column("log_marks", sa.LargeBinary(), nullable=True))
