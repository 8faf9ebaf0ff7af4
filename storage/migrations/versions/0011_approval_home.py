"""Where the run came from whose approval people are asked for: trusts count there."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0011"
down_revision = "0010"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("approval", sa.Column("home", sa.String(), nullable=True))
