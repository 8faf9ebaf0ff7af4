"""Statements that are compiled once per database and then run as they are.

SQLAlchemy builds a statement anew for each execution and looks its text up in a cache; on the way of an event that costs
several times what the database does. Must not be used where a statement's shape depends on its values.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cached_property
from typing import Any, Final

from sqlalchemy import Connection, CursorResult, Dialect, Executable

_NO_LISTS: Final = "a fixed statement cannot take a list of values: its text would depend on their number"


class Fixed:
    """A statement with named parameters (`bindparam`), made by `build` when it is first run.

    Values go to the driver as they are given, and come back as it returns them: no type of SQLAlchemy converts them.
    """

    def __init__(self, build: Callable[[], Executable]) -> None:
        self._build = build
        self._texts: dict[str, tuple[str, tuple[str, ...], dict[str, Any]]] = {}

    def run(self, connection: Connection, /, **values: Any) -> CursorResult[*tuple[Any, ...]]:
        """Execute it with a value for each of its parameters. Raises KeyError where one is missing."""
        known = self._texts.get(connection.dialect.name)
        if known is None:
            known = self._texts[connection.dialect.name] = self._compile(connection.dialect)
        text, names, literals = known
        if literals:
            values = {**literals, **values}
        return connection.exec_driver_sql(text, tuple([values[name] for name in names]))

    @cached_property
    def _statement(self) -> Any:
        return self._build()

    def _compile(self, dialect: Dialect) -> tuple[str, tuple[str, ...], dict[str, Any]]:
        compiled: Any = self._statement.compile(dialect=dialect)
        if compiled.post_compile_params or compiled.literal_execute_params:
            raise ValueError(_NO_LISTS)
        names = tuple(compiled.positiontup)
        return (
            str(compiled),
            names,
            {name: compiled.params[name] for name in names if compiled.params[name] is not None},
        )
