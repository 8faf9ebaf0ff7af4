"""Budgets that people raise, and runs that wait for it."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0008"
down_revision = "0007"
branch_labels = None
depends_on = None

ACTIVE = "status IN ('creating','sending','running','stopping','waiting','reporting')"


def upgrade() -> None:
    op.add_column("run", sa.Column("budget_cents", sa.Integer(), nullable=True))
    op.drop_index("ux_run_active_conversation", table_name="run")
    op.create_index(
        "ux_run_active_conversation",
        "run",
        ["conversation"],
        unique=True,
        sqlite_where=sa.text(ACTIVE),
        postgresql_where=sa.text(ACTIVE),
    )
