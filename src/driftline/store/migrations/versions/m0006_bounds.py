"""What a rule compared with its threshold, beside the 95 % interval that is shown."""

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"


def upgrade() -> None:
    """Add the columns. What was compared before is not known; windows are judged again at the next start."""
    for table in ("judgements", "alerts"):
        op.add_column(table, sa.Column("bound", sa.Float(), nullable=True))
        op.add_column(table, sa.Column("confidence", sa.Float(), nullable=True))
