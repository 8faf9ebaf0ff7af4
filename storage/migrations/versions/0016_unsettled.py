"""Sessions that may cost more than the ledger says, so that no death of a process forgets to ask.

Revision ID: 0016
Revises: 0015
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0016"
down_revision = "0015"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "unsettled",
        sa.Column("session_id", sa.String(), nullable=False),
        sa.Column("run_id", sa.String(), nullable=False),
        sa.Column("since", sa.Double(), nullable=False),
        sa.Column("looked_at", sa.Double(), server_default="0", nullable=False),
        sa.PrimaryKeyConstraint("session_id"),
    )
