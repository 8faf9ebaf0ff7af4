"""Small pieces of SQL that every query module needs: inserting only what is new, and text that both databases take."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Any, TypeVar

import orjson
from sqlalchemy import Column, Connection, Table
from sqlalchemy.dialects.postgresql import insert as postgresql_insert
from sqlmodel import SQLModel

MAX_ROWS_PER_STATEMENT = 200
STEP = 8
"""Between the numbers of rows that a statement of SQLite may have: few texts, so that the driver keeps them compiled."""
T = TypeVar("T")


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
                statement = _insert_sql(target.name, tuple(row), 1)
                if connection.exec_driver_sql(statement, tuple(row.values())).rowcount == 1:
                    new.add(row[key.name])
        else:
            new |= _insert_absent(connection, target, key, part)
    return new


def _insert_absent(
    connection: Connection, target: Table, key: Column[Any], rows: Sequence[Mapping[str, Any]]
) -> set[str]:
    """On SQLite the writer is alone, so looking first is safe.

    One statement for all rows: the driver gives the interpreter lock away at every step, and getting it back from a
    busy event loop takes milliseconds.
    """
    wanted = {row[key.name]: row for row in reversed(rows)}
    keys = _padded(list(wanted))
    query = _known_sql(target.name, key.name, len(keys))
    known = set(orjson.loads(connection.exec_driver_sql(query, tuple(keys)).scalar_one()))
    fresh = [row for row in reversed(wanted.values()) if row[key.name] not in known]
    if fresh:
        insert_many(connection, target, fresh)
    return {row[key.name] for row in fresh}


def insert_many(connection: Connection, target: Table, rows: Sequence[Mapping[str, Any]]) -> None:
    """Insert rows that are known to be new, all with the same columns, in one statement."""
    if connection.dialect.name == "postgresql":
        connection.execute(target.insert().values(rows))
        return
    names = tuple(rows[0])
    padded = _padded(rows)
    connection.exec_driver_sql(
        _insert_sql(target.name, names, len(padded)), tuple(row[name] for row in padded for name in names)
    )


def _padded(things: Sequence[T]) -> Sequence[T]:
    """With the last one repeated until their number is a multiple of STEP, which ON CONFLICT DO NOTHING passes over.

    The number is part of a statement's text. Without this, nearly every group would be another statement, and SQLite
    takes as long to compile one as to carry it out.
    """
    return [*things, *[things[-1]] * (-len(things) % STEP)] if len(things) > 1 else things


@lru_cache(maxsize=256)
def _insert_sql(name: str, columns: tuple[str, ...], count: int) -> str:
    row = f"({','.join('?' * len(columns))})"
    quoted = ",".join(f'"{column}"' for column in columns)
    values = ",".join([row] * count)
    return f'INSERT INTO "{name}" ({quoted}) VALUES {values} ON CONFLICT DO NOTHING'  # noqa: S608 - names of our own tables


@lru_cache(maxsize=256)
def _known_sql(name: str, column: str, count: int) -> str:
    """Those of some keys that are there, as one JSON array: one step, however many."""
    marks = ",".join("?" * count)
    return f'SELECT json_group_array("{column}") FROM "{name}" WHERE "{column}" IN ({marks})'  # noqa: S608 - the same


def plain(text: str | None, *, limit: int = 4000) -> str | None:
    """Text as a column can hold it: PostgreSQL refuses NUL, and a column is no place for megabytes."""
    return None if text is None else text.replace("\x00", "\ufffd")[:limit]
