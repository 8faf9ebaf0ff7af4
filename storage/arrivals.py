"""What a connection's deliveries were like so far: when the last one came, how long the gaps were. Reads only.

Only what the vendor delivered counts: what was fetched says that it did not.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

from sqlalchemy import ColumnElement, Connection, and_, func, select

from storage.clock import read_clock
from storage.rows import table
from storage.tables import Delivery, DeliveryOrigin

Clock = Callable[[Connection], float]
HISTORY: Final = 31 * 86_400.0
"""Seconds of history that are looked at."""


@dataclass(frozen=True, slots=True)
class Arrivals:
    """A connection's deliveries within HISTORY, by the database's clock, which says `now`."""

    now: float
    first: float
    last: float
    count: int


def arrivals(
    connection: Connection, names: Sequence[str], *, clock: Clock = read_clock
) -> dict[str, Arrivals]:
    """Connections that had any delivery, with first, last and number of them."""
    rows = table(Delivery)
    now = clock(connection)
    query = (
        select(
            rows.c.connection,
            func.min(rows.c.received_at).label("first"),
            func.max(rows.c.received_at).label("last"),
            func.count().label("number"),
        )
        .where(and_(rows.c.received_at >= now - HISTORY, rows.c.connection.in_(names), _delivered()))
        .group_by(rows.c.connection)
    )
    return {
        row.connection: Arrivals(now, row.first, row.last, row.number) for row in connection.execute(query)
    }


def last_arrivals(
    connection: Connection, names: Sequence[str], *, since: float, clock: Clock = read_clock
) -> tuple[float, dict[str, float]]:
    """The time, and when the last delivery of each connection came, where one came since."""
    rows = table(Delivery)
    query = (
        select(rows.c.connection, func.max(rows.c.received_at))
        .where(and_(rows.c.received_at >= since, rows.c.connection.in_(names), _delivered()))
        .group_by(rows.c.connection)
    )
    return clock(connection), {row[0]: row[1] for row in connection.execute(query)}


def longest_gaps(
    connection: Connection, name: str, *, limit: int, clock: Clock = read_clock
) -> tuple[float, ...]:
    """The longest gaps between two deliveries of the connection within HISTORY, longest first, in seconds."""
    rows = table(Delivery)
    now = clock(connection)
    inner = (
        select(
            (rows.c.received_at - func.lag(rows.c.received_at).over(order_by=rows.c.received_at)).label("gap")
        )
        .where(and_(rows.c.received_at >= now - HISTORY, rows.c.connection == name, _delivered()))
        .subquery()
    )
    query = select(inner.c.gap).where(inner.c.gap.is_not(None)).order_by(inner.c.gap.desc()).limit(limit)
    return tuple(connection.execute(query).scalars())


def count_between(
    connection: Connection, name: str, spans: Sequence[tuple[float, float]], *, most: int
) -> tuple[int, ...]:
    """Deliveries of the connection in each span (after the first moment, up to the second), counted up to `most`."""
    rows = table(Delivery)
    counts = []
    for begin, end in spans:
        some = (
            select(rows.c.id)
            .where(
                and_(
                    rows.c.received_at > begin,
                    rows.c.received_at <= end,
                    rows.c.connection == name,
                    _delivered(),
                )
            )
            .limit(most)
            .subquery()
        )
        counts.append(int(connection.execute(select(func.count()).select_from(some)).scalar_one()))
    return tuple(counts)


def _delivered() -> ColumnElement[bool]:
    return table(Delivery).c.origin == DeliveryOrigin.DELIVERED.value
