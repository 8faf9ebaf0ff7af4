"""Small pieces of SQL that every query module needs: inserting only what is new, and text that both databases take."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Any

from sqlalchemy import Column, Connection, Table
from sqlalchemy.dialects.postgresql import insert as postgresql_insert
from sqlmodel import SQLModel

from storage.bulk import insert_rows, known_keys

MAX_ROWS_PER_STATEMENT = 200


def table(model: type[SQLModel]) -> Table:
    """The SQLAlchemy table behind a SQLModel class."""
    found: Table = model.__table__  # type: ignore[attr-defined]  # set by SQLModel's metaclass for table=True
    return found


def insert_new(connection: Connection, model: type[SQLModel], rows: Sequence[Mapping[str, Any]]) -> set[str]:
    """Insert rows, leaving those whose key exists, and return the first primary key column of those that are new."""
    target = table(model)
    key, *further = target.primary_key.columns
    new: set[str] = set()
    if len(rows) > 1 and connection.dialect.name == "postgresql":
        # Two transactions that insert the same keys in different order would wait for each other until PostgreSQL
        # ends one of them as a deadlock.
        rows = sorted(rows, key=lambda row: tuple(row[column.name] for column in target.primary_key.columns))
    for start in range(0, len(rows), MAX_ROWS_PER_STATEMENT):
        part = rows[start : start + MAX_ROWS_PER_STATEMENT]
        if connection.dialect.name == "postgresql":
            returning = postgresql_insert(target).values(part).on_conflict_do_nothing().returning(key)
            new.update(connection.execute(returning).scalars())
        elif len(part) == 1 or further or len(target.constraints) > 1:
            for row in part:
                statement = _insert_sql(target.name, tuple(row))
                if connection.exec_driver_sql(statement, tuple(row.values())).rowcount == 1:
                    new.add(row[key.name])
        else:
            new |= _insert_absent(connection, target, key, part)
    return new


def _insert_absent(
    connection: Connection, target: Table, key: Column[Any], rows: Sequence[Mapping[str, Any]]
) -> set[str]:
    """On SQLite the writer is alone, so looking first is safe."""
    wanted = {row[key.name]: row for row in reversed(rows)}
    known = known_keys(connection, target, key.name, wanted)
    fresh = [row for row in reversed(wanted.values()) if row[key.name] not in known]
    if fresh:
        insert_rows(connection, target, fresh)
    return {row[key.name] for row in fresh}


def insert_many(connection: Connection, target: Table, rows: Sequence[Mapping[str, Any]]) -> None:
    """Insert rows that are known to be new, all with the same columns, in one statement."""
    if connection.dialect.name == "postgresql":
        connection.execute(target.insert().values(rows))
    else:
        insert_rows(connection, target, rows)


@lru_cache(maxsize=64)
def _insert_sql(name: str, columns: tuple[str, ...]) -> str:
    quoted = ",".join(f'"{column}"' for column in columns)
    marks = ",".join("?" * len(columns))
    return f'INSERT INTO "{name}" ({quoted}) VALUES ({marks}) ON CONFLICT DO NOTHING'  # noqa: S608 - names of our own tables


def plain(text: str | None, *, limit: int = 4000) -> str | None:
    """Text as a column can hold it: PostgreSQL refuses NUL, and a column is no place for megabytes."""
    return None if text is None else text.replace("\x00", "\ufffd")[:limit]
