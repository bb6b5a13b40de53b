"""What detectors know of whole windows and of single hours, stored apart: each is written when it changes."""

import sqlalchemy as sa
from alembic import op

revision = "0012"
down_revision = "0011"


def upgrade() -> None:
    """Begin with no detectors: all windows are judged anew."""
    op.drop_table("detectors")
    op.drop_table("detector_states")
    op.create_table(
        "detectors",
        sa.Column("model", sa.String(), primary_key=True),
        sa.Column("fingerprint", sa.LargeBinary(), nullable=False),
        sa.Column("begins", sa.BigInteger(), nullable=False),
        sa.Column("from_reference", sa.Boolean(), nullable=False),
        sa.Column("learnt", sa.LargeBinary(), nullable=False),
        sa.Column("so_far", sa.LargeBinary(), nullable=False),
    )
    op.create_table(
        "detector_states",
        sa.Column("model", sa.String(), primary_key=True),
        sa.Column("part", sa.String(), primary_key=True),
        sa.Column("start", sa.BigInteger(), primary_key=True),
        sa.Column("kept", sa.Boolean(), nullable=False),
        sa.Column("state", sa.LargeBinary(), nullable=False),
    )
