"""The ledger, what runs reserve, and what was spent before there was a ledger."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0013"
down_revision = "0012"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "spend",
        sa.Column("session_id", sa.String(), nullable=False),
        sa.Column("run_id", sa.String(), nullable=False),
        sa.Column("day", sa.Integer(), nullable=False),
        sa.Column("rule", sa.String(), nullable=False),
        sa.Column("team", sa.String(), nullable=True),
        sa.Column("cents", sa.Integer(), nullable=False),
        sa.PrimaryKeyConstraint("session_id", "run_id", "day"),
    )
    op.create_index("ix_spend_day", "spend", ["day"])
    op.add_column("run", sa.Column("reserved_cents", sa.Integer(), nullable=True))
    op.create_index("ix_run_intent", "run", ["intent_at"])
    op.execute(
        "INSERT INTO spend (session_id, run_id, day, rule, team, cents) "
        "SELECT session_id, id, CAST(floor(updated_at / 86400) AS INTEGER), rule, team, cost_cents FROM run "
        "WHERE session_id IS NOT NULL AND cost_cents > 0"
        if op.get_bind().dialect.name == "postgresql"
        else "INSERT INTO spend (session_id, run_id, day, rule, team, cents) "
        "SELECT session_id, id, CAST(updated_at / 86400 AS INTEGER), rule, team, cost_cents FROM run "
        "WHERE session_id IS NOT NULL AND cost_cents > 0"
    )
