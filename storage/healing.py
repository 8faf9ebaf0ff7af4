"""Who looks for what a vendor could not deliver, how far that got, and storing what was found.

One process at a time per connection: a lease with a fence, which every write of the sweep names.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Final

import orjson
from sqlalchemy import Connection, and_, or_, select, update

from storage.clock import read_clock
from storage.deliveries import Incoming, store_deliveries
from storage.healing_tables import HealingCursor, HealingRow, HealingScope
from storage.rows import insert_new, plain, table
from storage.tables import Delivery, DeliveryOrigin, EventRow

LOOK_BACK: Final = 86_400.0
"""Seconds. How far back a stream is read again when a sort of fact is seen for the first time: the first one of its
sort may be the one that was lost."""
FARTHEST: Final = 3 * 86_400.0
"""Seconds. Nothing older is asked for, whatever the cursor says: GitHub keeps deliveries for three days, and an agent
that answers last week's event does harm."""
LATE: Final = 60.0
"""Seconds. An event may become visible so long after the moment that is written on it."""
CHUNK: Final = 300
MAX_SUBJECTS: Final = 200


@dataclass(frozen=True, slots=True)
class Claim:
    """A connection that this process looks after until its lease ends."""

    connection: str
    owner: str
    fence: int
    begun_at: float
    renew_at: float
    now: float


@dataclass(frozen=True, slots=True)
class Cursor:
    """Where a stream stands. `since` is never before what may be asked for."""

    stream: str
    since: float
    upto: float | None
    page: str | None
    off: bool
    reason: str | None


@dataclass(frozen=True, slots=True)
class Standing:
    """A connection as people see it; times are ages in seconds."""

    connection: str
    swept_ago: float | None
    fetched: int
    redelivered: int
    error: str | None
    off: tuple[tuple[str, str], ...]
    """Streams that are switched off, each with the vendor's reason."""


class LostLeaseError(Exception):
    """Somebody else looks after the connection now: nothing was written."""


def ensure(connection: Connection, names: Iterable[str]) -> None:
    """Make the rows of connections that have none. One that had webhooks before begins at the last of them."""
    rows, deliveries = table(HealingRow), table(Delivery)
    known = set(connection.execute(select(rows.c.connection)).scalars())
    now = read_clock(connection)
    for name in names:
        if name in known:
            continue
        newest = (
            select(deliveries.c.received_at)
            .where(deliveries.c.connection == name)
            .order_by(deliveries.c.received_at.desc())
            .limit(1)
        )
        last: float | None = connection.execute(newest).scalar_one_or_none()
        insert_new(
            connection,
            HealingRow,
            [
                {
                    "connection": name,
                    "begun_at": now if last is None else min(now, last),
                    "due_at": now,
                    "lease_owner": None,
                    "lease_until": None,
                    "fence": 0,
                    "learned_at": 0.0,
                    "renew_at": now,
                    "swept_at": None,
                    "fetched": 0,
                    "redelivered": 0,
                    "error": None,
                }
            ],
        )


def claim(connection: Connection, names: Collection[str], *, owner: str, lease: float) -> Claim | None:
    """The connection that has been due for longest and that nobody looks after, or None."""
    rows = table(HealingRow)
    now = read_clock(connection)
    free = and_(
        rows.c.connection.in_(names),
        rows.c.due_at <= now,
        or_(rows.c.lease_until.is_(None), rows.c.lease_until <= now),
    )
    query = select(rows).where(free).order_by(rows.c.due_at).limit(1).with_for_update(skip_locked=True)
    row = connection.execute(query).mappings().one_or_none()
    if row is None:
        return None
    fence = row["fence"] + 1
    connection.execute(
        update(rows)
        .where(rows.c.connection == row["connection"])
        .values(lease_owner=owner, lease_until=now + lease, fence=fence)
    )
    return Claim(row["connection"], owner, fence, row["begun_at"], row["renew_at"], now)


def hold(connection: Connection, held: Claim, *, lease: float) -> float:
    """Keep the lease for longer and return the time. Raises LostLeaseError."""
    now = read_clock(connection)
    _own(connection, held, {"lease_until": now + lease})
    return now


def finish(
    connection: Connection,
    held: Claim,
    *,
    delay: float,
    error: str | None,
    renew_in: float | None = None,
) -> None:
    """Give the connection back until `delay` seconds from now. Raises LostLeaseError."""
    now = read_clock(connection)
    values: dict[str, Any] = {
        "lease_owner": None,
        "lease_until": None,
        "due_at": now + delay,
        "error": plain(error),
    }
    if error is None:
        values["swept_at"] = now
    if renew_in is not None:
        values["renew_at"] = now + renew_in
    _own(connection, held, values)


def release_all(connection: Connection) -> None:
    """For the process that owns the database alone, at its start: whoever held a lease is gone, and while nobody was
    here something may have been missed."""
    rows = table(HealingRow)
    connection.execute(update(rows).values(lease_owner=None, lease_until=None, due_at=read_clock(connection)))


def cursor(connection: Connection, held: Claim, stream: str) -> Cursor:
    """Where the stream stands; a new one begins where the connection did, but not long ago."""
    rows = table(HealingCursor)
    now = read_clock(connection)
    where = and_(rows.c.connection == held.connection, rows.c.stream == stream)
    row = connection.execute(select(rows).where(where)).mappings().one_or_none()
    if row is None:
        since = max(held.begun_at, now - LOOK_BACK)
        insert_new(
            connection,
            HealingCursor,
            [
                {
                    "connection": held.connection,
                    "stream": stream,
                    "since": since,
                    "upto": None,
                    "page": None,
                    "off_until": None,
                    "reason": None,
                    "updated_at": now,
                }
            ],
        )
        return Cursor(stream, since, None, None, off=False, reason=None)
    return Cursor(
        stream,
        max(row["since"], held.begun_at, now - FARTHEST),
        row["upto"],
        row["page"],
        off=row["off_until"] is not None and row["off_until"] > now,
        reason=row["reason"],
    )


def advance(
    connection: Connection,
    held: Claim,
    stream: str,
    *,
    upto: float,
    page: str | None,
    found: Sequence[Incoming] = (),
    redelivered: int = 0,
    lease: float,
) -> set[str]:
    """Store what one page held and move the cursor over it, in one transaction. `page` None: the pass has ended.

    Returns the ids of the events that are new. Raises LostLeaseError, and then nothing is kept.
    """
    now = hold(connection, held, lease=lease)
    fresh = store_deliveries(connection, found) if found else set()
    rows, heads = table(HealingCursor), table(HealingRow)
    values: dict[str, Any] = {
        "upto": upto,
        "page": page,
        "off_until": None,
        "reason": None,
        "updated_at": now,
    }
    if page is None:
        values |= {"since": upto, "upto": None}
    connection.execute(
        update(rows)
        .where(and_(rows.c.connection == held.connection, rows.c.stream == stream))
        .values(**values)
    )
    if fresh or redelivered:
        connection.execute(
            update(heads)
            .where(heads.c.connection == held.connection)
            .values(fetched=heads.c.fetched + len(fresh), redelivered=heads.c.redelivered + redelivered)
        )
    return fresh


def begin_anew(connection: Connection, held: Claim, stream: str) -> None:
    """Forget the page of a pass, which the vendor does not know any more. Raises LostLeaseError."""
    _own(connection, held, {})
    rows = table(HealingCursor)
    connection.execute(
        update(rows)
        .where(and_(rows.c.connection == held.connection, rows.c.stream == stream))
        .values(page=None, upto=None, updated_at=read_clock(connection))
    )


def switch_off(connection: Connection, held: Claim, stream: str, *, reason: str, seconds: float) -> None:
    """The vendor refuses this stream: leave it alone for a time. Its cursor stays. Raises LostLeaseError."""
    _own(connection, held, {})
    rows = table(HealingCursor)
    now = read_clock(connection)
    connection.execute(
        update(rows)
        .where(and_(rows.c.connection == held.connection, rows.c.stream == stream))
        .values(off_until=now + seconds, reason=plain(reason), page=None, upto=None, updated_at=now)
    )


def brought(connection: Connection, held: Claim) -> list[tuple[str, str]]:
    """(kind, subject) of what webhooks brought since the last `learn`. What was fetched proves nothing."""
    heads, events, deliveries = table(HealingRow), table(EventRow), table(Delivery)
    since = connection.execute(
        select(heads.c.learned_at).where(heads.c.connection == held.connection)
    ).scalar_one()
    query = (
        select(events.c.kind, events.c.subject)
        .join(deliveries, deliveries.c.id == events.c.delivery_id)
        .where(
            and_(
                events.c.received_at >= since - LATE,
                events.c.connection == held.connection,
                deliveries.c.origin == DeliveryOrigin.DELIVERED.value,
            )
        )
        .distinct()
    )
    return [(row.kind, row.subject) for row in connection.execute(query)]


def learn(connection: Connection, held: Claim, scopes: Collection[str]) -> frozenset[str]:
    """Note the scopes of what was brought, and return all that are known. A new one sends every cursor back a day.

    Raises LostLeaseError.
    """
    _own(connection, held, {"learned_at": held.now})
    rows, cursors = table(HealingScope), table(HealingCursor)
    where = rows.c.connection == held.connection
    known = set(connection.execute(select(rows.c.scope).where(where)).scalars())
    new = set(scopes) - known
    for scope in sorted(new):
        fields = {"connection": held.connection, "scope": scope, "learned_at": held.now}
        insert_new(connection, HealingScope, [fields])
    if new:
        back = max(held.begun_at, held.now - LOOK_BACK)
        connection.execute(
            update(cursors)
            .where(and_(cursors.c.connection == held.connection, cursors.c.since > back))
            .values(since=back, page=None, upto=None)
        )
    return frozenset(known | new)


def account(connection: Connection, name: str) -> str | None:
    """The account (site, workspace …) that the newest webhook of the connection named; keys of facts hold it."""
    events, deliveries = table(EventRow), table(Delivery)
    query = (
        select(events.c.body)
        .join(deliveries, deliveries.c.id == events.c.delivery_id)
        .where(and_(events.c.connection == name, deliveries.c.origin == DeliveryOrigin.DELIVERED.value))
        .order_by(events.c.received_at.desc())
        .limit(1)
    )
    body: bytes | None = connection.execute(query).scalar_one_or_none()
    source = str(orjson.loads(body).get("source", "")) if body is not None else ""
    return source.partition("/")[2] or None


def subjects(connection: Connection, name: str, *, since: float) -> tuple[str, ...]:
    """Subjects that the connection had events about since then, the newest first, at most MAX_SUBJECTS."""
    events = table(EventRow)
    query = (
        select(events.c.subject)
        .where(and_(events.c.received_at >= since, events.c.connection == name))
        .order_by(events.c.received_at.desc())
        .limit(10 * MAX_SUBJECTS)
    )
    return tuple(dict.fromkeys(connection.execute(query).scalars()))[:MAX_SUBJECTS]


def known_deliveries(connection: Connection, ids: Collection[str]) -> frozenset[str]:
    """Those of the deliveries (`<connection>:<vendor's id>`) that were stored."""
    return _known(connection, Delivery, ids)


def known_events(connection: Connection, ids: Collection[str]) -> frozenset[str]:
    """Those of the events that were stored."""
    return _known(connection, EventRow, ids)


def standings(connection: Connection) -> list[Standing]:
    """Every connection that is looked after."""
    heads, cursors = table(HealingRow), table(HealingCursor)
    now = read_clock(connection)
    off: dict[str, list[tuple[str, str]]] = {}
    for row in connection.execute(
        select(cursors).where(cursors.c.off_until > now).order_by(cursors.c.stream)
    ).mappings():
        off.setdefault(row["connection"], []).append((row["stream"], row["reason"] or ""))
    return [
        Standing(
            connection=row["connection"],
            swept_ago=None if row["swept_at"] is None else max(0.0, now - row["swept_at"]),
            fetched=row["fetched"],
            redelivered=row["redelivered"],
            error=row["error"],
            off=tuple(off.get(row["connection"], ())),
        )
        for row in connection.execute(select(heads).order_by(heads.c.connection)).mappings()
    ]


def _known(connection: Connection, model: type[Delivery | EventRow], ids: Collection[str]) -> frozenset[str]:
    rows = table(model)
    wanted, found = sorted(ids), set[str]()
    for start in range(0, len(wanted), CHUNK):
        part = wanted[start : start + CHUNK]
        found.update(connection.execute(select(rows.c.id).where(rows.c.id.in_(part))).scalars())
    return frozenset(found)


def _own(connection: Connection, held: Claim, values: dict[str, Any]) -> None:
    """Write to the connection's row if the lease is still ours; the write also keeps others out until the end of the
    transaction."""
    rows = table(HealingRow)
    changed = connection.execute(
        update(rows)
        .where(
            and_(
                rows.c.connection == held.connection,
                rows.c.lease_owner == held.owner,
                rows.c.fence == held.fence,
            )
        )
        .values(**(values or {"fence": held.fence}))
    )
    if changed.rowcount != 1:
        msg = f"{held.connection} is looked after by another process now"
        raise LostLeaseError(msg)
