"""How often a receiver refused a notice, beside how often it was tried."""

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"


def upgrade() -> None:
    """Add the column. What waits starts anew: why its attempts failed is not known."""
    op.add_column("notifications", sa.Column("refusals", sa.Integer(), nullable=False, server_default="0"))
