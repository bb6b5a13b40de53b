"""What the detectors of models have learnt, the values of their series by window, and states to go on from."""

import sqlalchemy as sa
from alembic import op

revision = "0010"
down_revision = "0009"


def upgrade() -> None:
    """Add the tables."""
    op.create_table(
        "detectors",
        sa.Column("model", sa.String(), primary_key=True),
        sa.Column("fingerprint", sa.LargeBinary(), nullable=False),
        sa.Column("begins", sa.BigInteger(), nullable=False),
        sa.Column("from_reference", sa.Boolean(), nullable=False),
        sa.Column("learnt", sa.LargeBinary(), nullable=False),
    )
    op.create_table(
        "detections",
        sa.Column("model", sa.String(), primary_key=True),
        sa.Column("start", sa.BigInteger(), primary_key=True),
        sa.Column("values", sa.LargeBinary(), nullable=False),
        sa.Column("said", sa.LargeBinary()),
    )
    op.create_table(
        "detector_states",
        sa.Column("model", sa.String(), primary_key=True),
        sa.Column("start", sa.BigInteger(), primary_key=True),
        sa.Column("kept", sa.Boolean(), nullable=False),
        sa.Column("state", sa.LargeBinary(), nullable=False),
    )
