"""The rows of a request as they were handed out, where no run can reach them."""

import sqlalchemy as sa
from alembic import op

revision = "0007"
down_revision = "0006"


def upgrade() -> None:
    """Add the column. The rows of requests that are going on are not known: they have failed, and say so."""
    op.add_column("retraining", sa.Column("rows", sa.LargeBinary(), nullable=False, server_default="null"))
