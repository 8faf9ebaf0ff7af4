"""Bringing a database to the current schema with Alembic. Safe to run from several processes at once."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Final

from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, text

from storage.database import Database

MIGRATIONS: Final = Path(__file__).parent / "migrations"
LOCK_KEY: Final = 7_241_977
"""PostgreSQL advisory lock: only one process migrates, the others wait for it. Any constant does."""


def configuration() -> Config:
    """Alembic's configuration, without an ini file."""
    config = Config()
    config.set_main_option("script_location", str(MIGRATIONS))
    return config


def head() -> str:
    """The newest revision known to this version of triggerhub."""
    revision = ScriptDirectory.from_config(configuration()).get_current_head()
    if revision is None:
        msg = f"no migrations found in {MIGRATIONS}"
        raise RuntimeError(msg)
    return revision


def current(connection: Connection) -> str | None:
    """The revision the database is at; None for an empty one."""
    return MigrationContext.configure(connection).get_current_revision()


def upgrade_connection(connection: Connection, revision: str = "head") -> None:
    """Upgrade inside the caller's transaction."""
    if connection.dialect.name == "postgresql":
        connection.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": LOCK_KEY})
    config = configuration()
    config.attributes["connection"] = connection
    command.upgrade(config, revision)


async def upgrade(database: Database) -> float:
    """Bring `database` to the newest schema. Return the seconds it took."""
    began = time.monotonic()
    await database.write(upgrade_connection)
    return time.monotonic() - began
