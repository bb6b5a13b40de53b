"""How many events wait is read from an index: who counts them reads no batch."""

from alembic import op

revision = "0040"
down_revision = "0030"


def upgrade() -> None:
    """Have the index by model hold the number of events as well."""
    op.drop_index("inbox_by_model", "inbox")
    op.create_index("inbox_by_model", "inbox", ["model", "seq", "kind", "events"], unique=False)
