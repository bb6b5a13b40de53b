"""From which moment of event time on a window has to be judged (again): what is not due is left alone."""

import sqlalchemy as sa
from alembic import op

revision = "0008"
down_revision = "0007"


def upgrade() -> None:
    """Add the column and the indexes by which the few windows are found that have something to do."""
    op.add_column("windows", sa.Column("assess_at", sa.BigInteger(), nullable=True))
    op.create_index("windows_to_assess", "windows", ["model", "settled", "start", "assess_at"])
    op.create_index("windows_by_labels_changed", "windows", ["model", "labels_changed", "start"])
    op.create_index("windows_to_push", "windows", ["model", "pushed", "settled", "start", "version"])
    op.create_index("models_by_arrival", "models", ["model", "last_arrival"])
