"""Canaries."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "canary",
        sa.Column("connection", sa.String(), nullable=False),
        sa.Column("slot", sa.Integer(), nullable=False),
        sa.Column("event_id", sa.String(), nullable=False),
        sa.Column("sent_at", sa.Double(), nullable=False),
        sa.Column("came_at", sa.Double(), nullable=True),
        sa.PrimaryKeyConstraint("connection", "slot"),
        sa.UniqueConstraint("event_id"),
    )


def downgrade() -> None:
    op.drop_table("canary")
