"""Many rows into a table of SQLite in one step of one statement, whatever their number.

The driver gives the interpreter lock away at every step, and getting it back from a busy event loop takes up to
milliseconds. A statement with a parameter for each value would be one step too, but another text for each number of
rows, which SQLite compiles anew. So the rows travel as one JSON array, and their bytes, which JSON does not have, as one
blob that the array points into. No other database takes this way.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from functools import lru_cache
from typing import Any

import orjson
from sqlalchemy import Connection, LargeBinary, Table


def insert_rows(connection: Connection, target: Table, rows: Sequence[Mapping[str, Any]]) -> None:
    """Insert rows that all have the columns of the first. Values are text, numbers, bytes or None."""
    names = tuple(rows[0])
    binary = tuple(isinstance(target.columns[name].type, LargeBinary) for name in names)
    blob = [b"\x00"]  # SQLite makes NULL of a part of nothing, so there is something before the first
    at = 2  # it counts bytes from one
    lines: list[list[Any]] = []
    for row in rows:
        line: list[Any] = []
        for name, is_binary in zip(names, binary, strict=True):
            value = row[name]
            if is_binary and value is not None:
                blob.append(value)
                line.append([at, len(value)])
                at += len(value)
            else:
                line.append(value)
        lines.append(line)
    statement = _insert(target.name, tuple(zip(names, binary, strict=True)))
    connection.exec_driver_sql(statement, (orjson.dumps(lines).decode(), b"".join(blob)))


def known_keys(connection: Connection, target: Table, column: str, keys: Iterable[str]) -> set[str]:
    """Those of `keys` that stand in a column already."""
    query = (
        f'SELECT json_group_array("{column}") FROM "{target.name}" '  # noqa: S608 - names of our own tables
        f'WHERE "{column}" IN (SELECT value FROM json_each(?))'
    )
    found = connection.exec_driver_sql(query, (orjson.dumps(list(keys)).decode(),)).scalar_one()
    return set(orjson.loads(found))


@lru_cache(maxsize=64)
def _insert(name: str, columns: tuple[tuple[str, bool], ...]) -> str:
    quoted = ",".join(f'"{column}"' for column, _ in columns)
    values = ",".join(
        # `?2` is named in every statement, because the driver counts the parameters.
        f"substr(?2, value->>'$[{at}][0]', value->>'$[{at}][1]')" if is_binary else f"value->>{at}"
        for at, (_, is_binary) in enumerate(columns)
    )
    return f'INSERT INTO "{name}" ({quoted}) SELECT {values} FROM json_each(?1) WHERE ?2 IS NOT NULL'  # noqa: S608 - the same
