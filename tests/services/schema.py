"""Comparing a database with the models, for tests of migrations."""

from __future__ import annotations

from typing import Any

from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy import Connection
from sqlmodel import SQLModel

from storage import tables

assert tables.EventRow.__tablename__ == "event"  # importing the module puts every table on the metadata


def differences(connection: Connection) -> list[Any]:
    """What Alembic would change to bring the database to the models."""
    context = MigrationContext.configure(
        connection, opts={"compare_type": True, "compare_server_default": True}
    )
    return list(compare_metadata(context, SQLModel.metadata))
