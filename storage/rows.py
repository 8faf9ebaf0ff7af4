"""Small pieces of SQL that every query module needs: inserting only what is new, and text that both databases take."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from sqlalchemy import Connection, Table
from sqlalchemy.dialects.postgresql import insert as postgresql_insert
from sqlalchemy.dialects.sqlite import insert as sqlite_insert
from sqlmodel import SQLModel

MAX_ROWS_PER_STATEMENT = 200


def table(model: type[SQLModel]) -> Table:
    """The SQLAlchemy table behind a SQLModel class."""
    found: Table = model.__table__  # type: ignore[attr-defined]  # set by SQLModel's metaclass for table=True
    return found


def insert_new(connection: Connection, model: type[SQLModel], rows: Sequence[Mapping[str, Any]]) -> set[str]:
    """Insert rows, leaving those whose key exists, and return the first primary key column of those that are new."""
    target = table(model)
    keys = [column.name for column in target.primary_key.columns]
    key = target.c[keys[0]]
    new: set[str] = set()
    # Two transactions that insert the same keys in different order would wait for each other for ever.
    ordered = sorted(rows, key=lambda row: tuple(row[name] for name in keys))
    for start in range(0, len(ordered), MAX_ROWS_PER_STATEMENT):
        part = ordered[start : start + MAX_ROWS_PER_STATEMENT]
        if connection.dialect.name == "postgresql":
            statement = postgresql_insert(target).values(part).on_conflict_do_nothing().returning(key)
            new.update(connection.execute(statement).scalars())
        else:
            compiled = sqlite_insert(target).on_conflict_do_nothing().returning(key)
            if len(part) == 1:
                new.update(connection.execute(compiled, part[0]).scalars())
            else:
                new.update(connection.execute(compiled, [dict(row) for row in part]).scalars())
    return new


def plain(text: str | None, *, limit: int = 4000) -> str | None:
    """Text as a column can hold it: PostgreSQL refuses NUL, and a column is no place for megabytes."""
    return None if text is None else text.replace("\x00", "\ufffd")[:limit]
