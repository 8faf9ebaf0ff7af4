"""Approvals that people give, their votes, and what a waiting run waits for."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0010"
down_revision = "0009"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "approval",
        sa.Column("id", sa.String(), primary_key=True, nullable=False),
        sa.Column("run_id", sa.String(), nullable=False),
        sa.Column("rule", sa.String(), nullable=False),
        sa.Column("conversation", sa.String(), nullable=False),
        sa.Column("call", sa.String(), nullable=False),
        sa.Column("name", sa.String(), nullable=False),
        sa.Column("result_id", sa.String(), nullable=True),
        sa.Column("digest", sa.String(), nullable=False),
        sa.Column("body", sa.LargeBinary(), nullable=True),
        sa.Column("code", sa.String(), nullable=False),
        sa.Column("what", sa.Text(), nullable=False),
        sa.Column("policy", sa.Text(), nullable=False),
        sa.Column("asker", sa.String(), nullable=True),
        sa.Column("status", sa.String(), nullable=False),
        sa.Column("needed", sa.Integer(), nullable=False),
        sa.Column("asked_at", sa.Double(), nullable=False),
        sa.Column("expires_at", sa.Double(), nullable=False),
        sa.Column("decided_at", sa.Double(), nullable=True),
        sa.Column("decided_by", sa.Text(), nullable=True),
        sa.Column("reason", sa.Text(), nullable=True),
        sa.Column("ask", sa.String(), nullable=True),
        sa.Column("stale", sa.Boolean(), nullable=False),
        sa.Column("told", sa.Integer(), nullable=False),
    )
    for column in ("run_id", "conversation", "code", "status", "stale"):
        op.create_index(f"ix_approval_{column}", "approval", [column])
    op.create_table(
        "approval_vote",
        sa.Column("approval", sa.String(), primary_key=True, nullable=False),
        sa.Column("voter", sa.String(), primary_key=True, nullable=False),
        sa.Column("approve", sa.Boolean(), nullable=False),
        sa.Column("trust", sa.String(), nullable=False),
        sa.Column("name", sa.String(), nullable=False),
        sa.Column("evidence", sa.String(), nullable=False),
        sa.Column("at", sa.Double(), nullable=False),
    )
    op.add_column("run", sa.Column("waits_for", sa.String(), nullable=True))
