"""What vendors could not deliver is looked for: cursors, leases, and where a delivery came from."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("delivery", sa.Column("origin", sa.String(), nullable=False, server_default="delivered"))
    op.create_table(
        "healing",
        sa.Column("connection", sa.String(), nullable=False),
        sa.Column("begun_at", sa.Double(), nullable=False),
        sa.Column("due_at", sa.Double(), nullable=False),
        sa.Column("lease_owner", sa.String(), nullable=True),
        sa.Column("lease_until", sa.Double(), nullable=True),
        sa.Column("fence", sa.Integer(), nullable=False),
        sa.Column("learned_at", sa.Double(), nullable=False),
        sa.Column("renew_at", sa.Double(), nullable=False),
        sa.Column("swept_at", sa.Double(), nullable=True),
        sa.Column("fetched", sa.Integer(), nullable=False),
        sa.Column("redelivered", sa.Integer(), nullable=False),
        sa.Column("error", sa.Text(), nullable=True),
        sa.PrimaryKeyConstraint("connection"),
    )
    op.create_table(
        "healing_cursor",
        sa.Column("connection", sa.String(), nullable=False),
        sa.Column("stream", sa.String(), nullable=False),
        sa.Column("since", sa.Double(), nullable=False),
        sa.Column("upto", sa.Double(), nullable=True),
        sa.Column("page", sa.Text(), nullable=True),
        sa.Column("off_until", sa.Double(), nullable=True),
        sa.Column("reason", sa.Text(), nullable=True),
        sa.Column("updated_at", sa.Double(), nullable=False),
        sa.PrimaryKeyConstraint("connection", "stream"),
    )
    op.create_table(
        "healing_scope",
        sa.Column("connection", sa.String(), nullable=False),
        sa.Column("scope", sa.String(), nullable=False),
        sa.Column("learned_at", sa.Double(), nullable=False),
        sa.PrimaryKeyConstraint("connection", "scope"),
    )
