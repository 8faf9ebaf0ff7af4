"""What the router writes, on both databases: an event is routed once, every verdict is kept, ownership is known."""

from __future__ import annotations

import asyncio

from services.facts import body_of, make_delivery, make_dispatch, make_event
from sqlalchemy import select, update

from schemas.dispatch import Dispatch
from storage import routing
from storage.conversations import run_id_of
from storage.database import Database
from storage.deliveries import store_deliveries
from storage.links import Ownership, link_subject, owners_of
from storage.routing import RecordedVerdict, record_routing
from storage.rows import table
from storage.runs import take_dispatch
from storage.tables import ConversationRow, DispatchRow, EventRow, VerdictRow


def matched(dispatch: Dispatch) -> RecordedVerdict:
    return RecordedVerdict(
        rule=dispatch.rule, outcome="matched", reason="every clause held", dispatch=dispatch
    )


NOT_MATCHED = RecordedVerdict(
    rule="other",
    outcome="not_matched",
    reason="the clause failed",
    clause="kind",
    expected="pr.*",
    seen="issue.\x00opened",
)


async def store_event(database: Database, event_id: str = "evt_1") -> None:
    await database.write(store_deliveries, [make_delivery(f"d-{event_id}", make_event(event_id))])


async def test_every_verdict_is_kept_with_the_value_seen(database: Database) -> None:
    await store_event(database)
    dispatch = make_dispatch(1)
    assert not await database.read(routing.is_routed, "evt_1")
    assert await database.write(record_routing, "evt_1", [matched(dispatch), NOT_MATCHED]) == [dispatch]
    assert await database.read(routing.is_routed, "evt_1")
    rows = table(VerdictRow)
    kept = await database.read(lambda c: c.execute(select(rows).order_by(rows.c.rule)).mappings().all())
    assert [(row["rule"], row["outcome"], row["dispatch_id"]) for row in kept] == [
        ("answer", "matched", dispatch.id),
        ("other", "not_matched", None),
    ]
    assert (kept[1]["clause"], kept[1]["expected"], kept[1]["seen"]) == ("kind", "pr.*", "issue.\ufffdopened")
    event = await database.read(lambda c: c.execute(select(table(EventRow))).mappings().one())
    assert event["matched"] == 1
    assert event["routed_at"] is not None


async def test_an_event_is_routed_once(database: Database, other_database: Database) -> None:
    """Two routers with the same event at the same time (after a rebalance): one wins, the verdicts are its."""
    await store_event(database)
    offers = [make_dispatch(n, rule=f"rule-{n}") for n in range(8)]
    answers = await asyncio.gather(
        *(
            where.write(record_routing, "evt_1", [matched(one)])
            for where, one in zip([database, other_database] * 4, offers, strict=True)
        )
    )
    [made] = [answer for answer in answers if answer is not None]
    dispatches = await database.read(lambda c: c.execute(select(table(DispatchRow).c.id)).scalars().all())
    verdicts = await database.read(
        lambda c: c.execute(select(table(VerdictRow).c.dispatch_id)).scalars().all()
    )
    assert dispatches == verdicts == [made[0].id]


async def test_an_event_that_matches_nothing_is_routed_too(database: Database) -> None:
    await store_event(database)
    assert await database.write(record_routing, "evt_1", []) == []
    assert await database.write(record_routing, "evt_1", []) is None


async def test_an_event_that_is_not_there_is_not_routed(database: Database) -> None:
    assert await database.write(record_routing, "evt_none", [NOT_MATCHED]) is None
    assert await database.read(lambda c: c.execute(select(table(VerdictRow))).all()) == []


async def test_the_owner_of_a_subject_is_known_the_latest_first(database: Database) -> None:
    for number, conversation in ((1, "older"), (2, "newer")):
        dispatch = make_dispatch(number, conversation=conversation, rule=f"rule-{conversation}")
        await database.write(take_dispatch, dispatch, body_of(dispatch))
    rows = table(ConversationRow)
    await database.write(
        lambda c: (
            c.execute(
                update(rows).where(rows.c.key == "newer").values(updated_at=rows.c.updated_at + 9)
            ).rowcount
        )
    )
    owners = await database.read(owners_of, connection_name="acme-github", subject="acme/checkout#12")
    assert owners == [
        Ownership("newer", "rule-newer", None, is_origin=True),
        Ownership("older", "rule-older", None, is_origin=True),
    ]
    assert await database.read(owners_of, connection_name="acme-jira", subject="acme/checkout#12") == []


async def test_what_a_run_made_belongs_to_its_conversation(database: Database) -> None:
    dispatch = make_dispatch(1)
    await database.write(take_dispatch, dispatch, body_of(dispatch))
    for _ in range(2):
        await database.write(
            link_subject,
            dispatch.conversation,
            connection_name="acme-github",
            subject="acme/checkout#13",
            now=1.0,
        )
    owners = await database.read(owners_of, connection_name="acme-github", subject="acme/checkout#13")
    assert [owner.conversation for owner in owners] == [dispatch.conversation]


async def test_a_run_of_ours_is_recognised(database: Database) -> None:
    dispatch = make_dispatch(1)
    await database.write(take_dispatch, dispatch, body_of(dispatch))
    assert await database.read(routing.run_exists, run_id_of(dispatch.id))
    assert not await database.read(routing.run_exists, "run_" + "f" * 32)


async def test_routing_and_its_dispatch_survive_together_or_not_at_all(database: Database) -> None:
    """A dispatch that exists already (the event was routed by an older copy of the row) is not announced again."""
    await store_event(database, "evt_1")
    await store_event(database, "evt_2")
    dispatch = make_dispatch(1)
    assert await database.write(record_routing, "evt_1", [matched(dispatch)]) == [dispatch]
    assert await database.write(record_routing, "evt_2", [matched(dispatch)]) == []
