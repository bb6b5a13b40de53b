"""How much a token may send, and in which request something was changed."""

import sqlalchemy as sa
from alembic import op

revision = "0050"
down_revision = "0048"


def upgrade() -> None:
    """Add the columns: tokens without a limit, changes whose requests are not known."""
    op.add_column("tokens", sa.Column("rate", sa.String()))
    op.add_column("audit", sa.Column("request", sa.String(), nullable=False, server_default=""))
