"""The root event and depth of each dispatch, and the key that signs them in markers.

Revision ID: 0017
Revises: 0016
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0017"
down_revision = "0016"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("dispatch", sa.Column("root_event", sa.String(), nullable=True))
    op.add_column("dispatch", sa.Column("depth", sa.Integer(), nullable=False, server_default="0"))
    op.create_table(
        "hub_key",
        sa.Column("name", sa.String(), nullable=False),
        sa.Column("value", sa.String(), nullable=False),
        sa.Column("created_at", sa.Double(), nullable=False),
        sa.PrimaryKeyConstraint("name"),
    )
