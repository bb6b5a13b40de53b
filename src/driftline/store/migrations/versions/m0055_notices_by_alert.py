"""Notices are found by the alert that they speak of: its page tells who was told what."""

from alembic import op

revision = "0055"
down_revision = "0050"


def upgrade() -> None:
    """Add the index."""
    op.create_index("notifications_by_alert", "notifications", ["alert", "id"])
