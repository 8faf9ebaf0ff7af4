"""The shared limits per minute, on both databases: never more than the limit in any 60 seconds, whoever asks."""

from __future__ import annotations

import asyncio

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import Connection, delete, select, text

from storage.clock import read_clock
from storage.database import Database
from storage.rates import WINDOW_SECONDS, acquire
from storage.rows import table
from storage.tables import RateUse

NAME = "creates"


def used_before(connection: Connection, uses: dict[int, int]) -> int:
    """As if calls had been made: {seconds ago: how many}. Returns the current second."""
    rows = table(RateUse)
    now = int(read_clock(connection))
    connection.execute(delete(rows))
    if uses:
        connection.execute(
            rows.insert(), [{"name": NAME, "second": now - ago, "used": n} for ago, n in uses.items()]
        )
    return now


def uses_now(connection: Connection) -> dict[int, int]:
    """Seconds and calls, without the row that serves as a lock."""
    rows = table(RateUse)
    return {row.second: row.used for row in connection.execute(select(rows).where(rows.c.used > 0))}


def most_in_a_window(uses: dict[int, int]) -> int:
    """The most calls in any 60 consecutive seconds. Two calls 60 rows apart may be less than 60 seconds apart."""
    return max(
        (sum(n for second, n in uses.items() if start <= second <= start + WINDOW_SECONDS) for start in uses),
        default=0,
    )


async def test_a_limit_gives_what_it_has_and_then_says_how_long_to_wait(database: Database) -> None:
    assert [await database.write(acquire, NAME, limit=3) for _ in range(3)] == [0.0] * 3
    wait = await database.write(acquire, NAME, limit=3)
    assert WINDOW_SECONDS - 5 < wait <= WINDOW_SECONDS + 1
    assert sum((await database.read(uses_now)).values()) == 3


async def test_concurrent_askers_never_get_more_than_the_limit(
    database: Database, other_database: Database
) -> None:
    waits = await asyncio.gather(
        *(where.write(acquire, NAME, limit=25) for where in [database, other_database] * 30)
    )
    assert sum(wait == 0.0 for wait in waits) == 25
    assert sum((await database.read(uses_now)).values()) == 25


async def test_the_first_askers_of_a_new_limit_do_not_disturb_each_other(
    database: Database, other_database: Database
) -> None:
    for n in range(10):
        waits = await asyncio.gather(
            *(where.write(acquire, f"new-{n}", limit=1) for where in [database, other_database] * 4)
        )
        assert sum(wait == 0.0 for wait in waits) == 1


async def test_limits_do_not_share(database: Database) -> None:
    assert await database.write(acquire, "a", limit=1) == 0.0
    assert await database.write(acquire, "b", limit=1) == 0.0
    assert await database.write(acquire, "a", limit=1) > 0


async def test_several_calls_are_taken_together_or_not_at_all(database: Database) -> None:
    assert await database.write(acquire, NAME, limit=5, count=3) == 0.0
    assert await database.write(acquire, NAME, limit=5, count=3) > 0
    assert await database.write(acquire, NAME, limit=5, count=2) == 0.0


async def test_what_was_used_a_minute_ago_is_free_again(database: Database) -> None:
    await database.write(used_before, {WINDOW_SECONDS + 2: 5})
    assert await database.write(acquire, NAME, limit=5) == 0.0


async def test_the_wait_is_until_the_oldest_use_leaves_the_window(database: Database) -> None:
    await database.write(used_before, {40: 1, 10: 4})
    wait = await database.write(acquire, NAME, limit=5)
    assert WINDOW_SECONDS - 40 - 2 < wait <= WINDOW_SECONDS - 40 + 1


async def test_old_rows_are_swept(database: Database) -> None:
    await database.write(used_before, {1000: 1, 5000: 1})
    await database.write(acquire, NAME, limit=5)
    assert len(await database.read(uses_now)) == 1


async def test_a_wait_is_never_nothing(database: Database) -> None:
    """Whoever is refused and waits as told must not ask in a tight loop."""
    for ago in (59, 60, 61):
        await database.write(used_before, {ago: 5})
        wait = await database.write(acquire, NAME, limit=5)
        assert wait == 0.0 or wait >= 0.05
    await database.write(used_before, {})
    assert await database.write(acquire, NAME, limit=1, count=2) >= 0.05


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    uses=st.dictionaries(st.integers(0, 130), st.integers(1, 4), max_size=25),
    limit=st.integers(1, 12),
    asks=st.lists(st.integers(1, 3), min_size=1, max_size=12),
)
async def test_no_window_of_sixty_seconds_holds_more_than_the_limit(
    database: Database, uses: dict[int, int], limit: int, asks: list[int]
) -> None:
    """Whatever was used before (at most the limit in any window), asking on top never passes the limit."""
    while most_in_a_window(uses) > limit:
        uses.popitem()
    await database.write(used_before, uses)
    for count in asks:
        await database.write(acquire, NAME, limit=limit, count=count)
    assert most_in_a_window(await database.read(uses_now)) <= limit


async def test_the_lock_row_is_there_once_where_callers_must_be_kept_apart(database: Database) -> None:
    """On SQLite the one writer keeps them apart."""
    await database.write(acquire, NAME, limit=5)
    await database.write(acquire, NAME, limit=5)
    found = await database.read(
        lambda c: c.execute(text("SELECT count(*) FROM rate_use WHERE second = 0")).scalar_one()
    )
    backend = await database.read(lambda c: c.dialect.name)
    assert found == (1 if backend == "postgresql" else 0)


async def test_calls_that_are_made_later_are_counted_later(database: Database) -> None:
    now = await database.write(used_before, {})
    assert await database.write(acquire, NAME, limit=2, count=2, ahead=1) == 0.0
    assert set(await database.read(uses_now)) <= {now + 1, now + 2}
    assert await database.write(acquire, NAME, limit=2) > 0
