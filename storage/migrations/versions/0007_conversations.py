"""Links between subjects, who reads what, and follow-ups that are told together.

Revision ID: 0007
Revises: 0006
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "link",
        sa.Column("reference", sa.String(), nullable=False),
        sa.Column("conversation", sa.String(), nullable=False),
        sa.Column("how", sa.String(), nullable=False),
        sa.Column("connection", sa.String(), nullable=False),
        sa.Column("subject", sa.String(), nullable=False),
        sa.Column("proven", sa.Boolean(), nullable=False),
        sa.Column("by", sa.String(), nullable=False),
        sa.Column("evidence", sa.Text(), nullable=False),
        sa.Column("created_at", sa.Double(), nullable=False),
        sa.PrimaryKeyConstraint("reference", "conversation"),
    )
    op.create_index("ix_link_conversation", "link", ["conversation"], unique=False)
    op.create_table(
        "place",
        sa.Column("connection", sa.String(), nullable=False),
        sa.Column("container", sa.String(), nullable=False),
        sa.Column("visibility", sa.String(), nullable=False),
        sa.Column("updated_at", sa.Double(), nullable=False),
        sa.PrimaryKeyConstraint("connection", "container"),
    )
    for name in ("visibility", "taint"):
        op.add_column("conversation", sa.Column(name, sa.String(), nullable=False, server_default="private"))
    op.add_column(
        "conversation_subject", sa.Column("how", sa.String(), nullable=False, server_default="origin")
    )
    op.add_column("conversation_subject", sa.Column("reference", sa.String(), nullable=True))
    op.create_index(
        "ix_conversation_subject_conversation", "conversation_subject", ["conversation"], unique=False
    )
    op.add_column("dispatch", sa.Column("kind", sa.String(), nullable=True))
    op.add_column("dispatch", sa.Column("artefact", sa.String(), nullable=True))
    op.create_index(
        "ix_dispatch_conversation_artefact", "dispatch", ["conversation", "artefact"], unique=False
    )
    op.add_column("run", sa.Column("manner", sa.String(), nullable=True))
    op.add_column("run", sa.Column("gather", sa.Double(), nullable=False, server_default="0"))
    op.add_column("run", sa.Column("joined_to", sa.String(), nullable=True))
    op.create_index("ix_run_joined_to", "run", ["joined_to"], unique=False)


def downgrade() -> None:
    op.drop_index("ix_run_joined_to", table_name="run")
    for name in ("joined_to", "gather", "manner"):
        op.drop_column("run", name)
    op.drop_index("ix_dispatch_conversation_artefact", table_name="dispatch")
    for name in ("artefact", "kind"):
        op.drop_column("dispatch", name)
    op.drop_index("ix_conversation_subject_conversation", table_name="conversation_subject")
    for name in ("reference", "how"):
        op.drop_column("conversation_subject", name)
    for name in ("taint", "visibility"):
        op.drop_column("conversation", name)
    op.drop_table("place")
    op.drop_index("ix_link_conversation", table_name="link")
    op.drop_table("link")
