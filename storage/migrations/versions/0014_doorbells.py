"""Runs that are rung for or looked at while they wait, and credentials that cannot be renewed.

Revision ID: 0014
Revises: 0013
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0014"
down_revision = "0013"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("run", sa.Column("rung", sa.Integer(), server_default="0", nullable=False))
    op.add_column("run", sa.Column("looked_at", sa.Double(), nullable=True))
    op.add_column("run", sa.Column("look_at", sa.Double(), nullable=True))
    op.add_column("run", sa.Column("seen_as", sa.String(), nullable=True))
    op.create_table(
        "credential_failure",
        sa.Column("credential_id", sa.String(), nullable=False),
        sa.Column("vault_id", sa.String(), nullable=False),
        sa.Column("event_id", sa.String(), nullable=False),
        sa.Column("failed_at", sa.Double(), nullable=False),
        sa.Column("checked_at", sa.Double(), nullable=False),
        sa.PrimaryKeyConstraint("credential_id"),
    )
    op.create_index("ix_credential_failure_vault_id", "credential_failure", ["vault_id"], unique=False)
