"""Alembic's entry: runs the revisions on the connection that `storage.migrate` hands over."""

from __future__ import annotations

from alembic import context
from sqlmodel import SQLModel

import storage.tables  # noqa: F401 - registers every table on the metadata

connection = context.config.attributes["connection"]
context.configure(
    connection=connection,
    target_metadata=SQLModel.metadata,
    transactional_ddl=False,  # the caller's transaction is the only one
    compare_type=True,
)
context.run_migrations()
