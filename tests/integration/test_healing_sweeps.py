"""The search for lost webhooks against the sandbox: cursors, leases, refusals, limits, what is wanted, what is kept."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import AsyncIterator
from dataclasses import replace
from typing import Any

import httpx
import pytest
from healing_place import PACE, SECRET, SOURCES, Place, outbound_of
from sqlalchemy import update

from connectors.base import Identity
from connectors.healing import Pace
from connectors.ingress import Inbound, Ingress
from connectors.intake import Intake
from connectors.observations import Observations
from connectors.registry import connector
from connectors.vigil import Vigil
from hub.habits import of_standing, remarks
from sandbox.server import serve
from sandbox.slack.state import BOT_USER_ID
from storage import healing
from storage.database import Database
from storage.deliveries import Incoming
from storage.healing import LostLeaseError
from storage.healing_tables import HealingCursor, HealingRow
from storage.rows import table
from storage.tables import Delivery, EventRow, OutboxRow


@pytest.fixture
async def place(database: Database) -> AsyncIterator[Place]:
    intake = Intake(database)
    inbound = {source: Inbound(source, connector(source), (SECRET,), Identity()) for source in SOURCES}
    ingress = Ingress(inbound, intake, announce=lambda _: None, observations=Observations())
    async with (
        serve() as sandbox,
        httpx.AsyncClient(trust_env=False) as http,
        httpx.AsyncClient(
            transport=httpx.ASGITransport(app=ingress),
            base_url="http://hub",
        ) as door,
        asyncio.TaskGroup() as tasks,
    ):
        running = tasks.create_task(intake.run(), name="intake")
        found = Place(database, sandbox, http, door, outbound_of(sandbox, http))
        await database.write(healing.ensure, SOURCES)
        yield found
        running.cancel()


async def test_what_was_lost_is_fetched_once_announced_and_told_apart(place: Place) -> None:
    key = (await place.deliver(place.acts.jira_create("SHOP", summary="A"))).about
    await place.deliver(place.acts.jira_label(key, "one"))
    place.acts.jira_label(key, "two")
    place.acts.jira_comment(key, "lost, and of a sort that never came")
    for _ in range(3):
        await place.sweep()
    assert await place.kinds(origin="fetched") == {"issue.labeled": 1}
    assert await place.kinds(origin="delivered") == {"issue.opened": 1, "issue.labeled": 1}
    assert [event.data.kind for _, event in place.announced] == ["issue.labeled"]
    assert place.counted.found == {("jira", "fetched"): 1}
    waiting = {row["ref"] for row in await place.rows(OutboxRow)}
    assert {row["id"] for row in await place.rows(EventRow)} == waiting, (
        "what is fetched is published as all else is"
    )
    standing = await place.standing("jira")
    assert (standing.fetched, standing.error, standing.off) == (1, None, ())
    assert [one.state for one in of_standing(standing)] == ["ok"]


async def test_a_sort_that_comes_for_the_first_time_is_looked_for_a_day_back(place: Place) -> None:
    key = (await place.deliver(place.acts.jira_create("SHOP", summary="A"))).about
    place.acts.jira_comment(key, "the first comment of all, lost")
    await place.sweep()
    assert await place.kinds() == {"issue.opened": 1}
    rows = table(HealingCursor)
    # Long after: the cursor has passed what was lost.
    await place.database.write(lambda c: c.execute(update(rows).values(since=time.time() + 3600)))
    await place.deliver(place.acts.jira_comment(key, "the second one, delivered"))
    await place.sweep()
    assert await place.kinds() == {"issue.opened": 1, "comment.created": 2}


async def test_other_projects_are_not_ours_unless_everything_is_wanted(place: Place) -> None:
    await place.deliver(place.acts.jira_create("SHOP", summary="A"))
    place.acts.jira_create("OTHER", summary="B")
    await place.sweep()
    assert await place.kinds() == {"issue.opened": 1}
    place.outbound = outbound_of(place.sandbox, place.http, jira={"heal": "all"})
    await place.sweep()
    assert await place.kinds() == {"issue.opened": 2}


async def test_the_webhooks_own_jql_bounds_the_search(place: Place) -> None:
    place.outbound = outbound_of(place.sandbox, place.http, jira={"heal_jql": "project = SHOP"})
    await place.deliver(place.acts.jira_create("SHOP", summary="A"))
    place.acts.jira_create("SHOP", summary="lost")
    place.acts.jira_create("OTHER", summary="never wanted")
    await place.sweep()
    assert await place.kinds() == {"issue.opened": 2}
    asked = [call.body["jql"] for call in place.sandbox.world.log.calls("jira") if "search" in call.path]
    assert all(jql.startswith("(project = SHOP) AND updated >= -") for jql in asked)


async def test_nothing_is_asked_before_any_webhook_came_and_nothing_older_is_fetched(place: Place) -> None:
    place.acts.sentry_error("59001", title="before the connection was there")
    issues = place.sandbox.world.sentry.issues
    issues["59001"].at = time.time() - 600
    await place.sweep()
    assert not [call for call in place.sandbox.world.log.calls("sentry") if "issues" in call.path]
    await place.deliver(place.acts.sentry_error("59002", title="the first that came"))
    place.acts.sentry_error("59003", title="lost")
    await place.sweep()
    assert {row["subject"] for row in await place.rows(EventRow)} == {"59002", "59003"}


async def test_our_own_posts_are_known_and_not_fetched(place: Place) -> None:
    await place.deliver(place.acts.slack_say("C0GENERAL", "hello"))
    place.acts.slack_say("C0GENERAL", "lost")
    post = {"channel": "C0GENERAL", "text": "an answer"}
    url = f"{place.sandbox.api_url('slack')}/chat.postMessage"
    assert (await place.http.post(url, json=post, headers={"authorization": "Bearer t"})).json()["ok"]
    await place.sweep()
    assert [event.data.text for _, event in place.announced] == ["lost"]
    assert await place.kinds(origin="fetched") == {"message.posted": 1}


async def test_a_channel_without_the_scope_is_said_and_switched_off_and_the_others_go_on(
    place: Place,
) -> None:
    await place.deliver(place.acts.slack_say("C0GENERAL", "hello"))
    await place.deliver(place.acts.slack_say("C0SECRET", "hello"))
    place.acts.slack_say("C0GENERAL", "lost")
    place.acts.slack_say("C0SECRET", "lost too")
    place.sandbox.world.slack.channels["C0SECRET"].is_readable = False
    await place.sweep()
    asked = len(place.sandbox.world.log.calls("slack"))
    await place.sweep()
    assert (await place.kinds(origin="fetched")) == {"message.posted": 1}
    standing = await place.standing("slack")
    assert standing.error is None
    [(stream, reason)] = standing.off
    assert stream == "C0SECRET"
    assert "missing_scope (needed: channels:history); add the scope" in reason
    [remark] = [one for one in await remarks(place.database, {"slack"}) if one.state == "warn"]
    assert remark.detail.startswith(
        "connection slack: what is lost in C0SECRET cannot be fetched: slack conv"
    )
    calls = place.sandbox.world.log.calls("slack")[asked:]
    assert not [call for call in calls if call.query.get("channel") == "C0SECRET"], "left alone for a day"
    rows = table(HealingCursor)
    await place.database.write(lambda c: c.execute(update(rows).values(off_until=1.0)))
    place.sandbox.world.slack.channels["C0SECRET"].is_readable = True
    await place.sweep()
    assert (await place.kinds(origin="fetched")) == {"message.posted": 2}
    assert (await place.standing("slack")).off == ()


async def test_a_time_that_the_vendor_names_is_waited_for(place: Place) -> None:
    await place.deliver(place.acts.slack_say("C0GENERAL", "hello"))
    place.acts.slack_say("C0GENERAL", "lost")
    place.sandbox.world.faults.ask("rate_limit", service="slack", path="/conversations.history", seconds=300)
    await place.sweep()
    [row] = [row for row in await place.rows(HealingRow) if row["connection"] == "slack"]
    assert 290 < row["due_at"] - time.time() <= 301
    assert "ratelimited" in row["error"]
    assert row["lease_owner"] is None
    await place.sweep()
    assert (await place.standing("slack")).error is None
    assert (await place.kinds(origin="fetched")) == {"message.posted": 1}


async def test_a_connection_whose_posts_wait_is_not_asked(place: Place) -> None:
    await place.deliver(place.acts.slack_say("C0GENERAL", "hello"))
    held = place.process(held_back=lambda: {"slack": 20.0})
    await place.sweep(held)
    assert not [call for call in place.sandbox.world.log.calls("slack") if "conversations" in call.path]


async def test_a_long_backlog_is_read_in_several_sweeps(place: Place) -> None:
    """One page at a time: each sweep goes on where the one before stopped, and what comes meanwhile is not missed."""
    await place.deliver(place.acts.jira_create("SHOP", summary="A"))
    for number in range(120):
        place.acts.jira_create("SHOP", summary=f"lost {number}")
    slow = place.process(pace=replace(PACE, pages=1))
    for expected in (25, 50):
        await place.sweep(slow)
        assert abs((await place.kinds())["issue.opened"] - expected) <= 1
    place.acts.jira_create("SHOP", summary="lost meanwhile")
    [row] = [row for row in await place.rows(HealingRow) if row["connection"] == "jira"]
    assert row["due_at"] - time.time() < 61, "what is left is not left for ten minutes"
    for _ in range(9):  # the rest of this pass, and the next one with its overlap
        await place.sweep(slow)
    assert await place.kinds() == {"issue.opened": 122}


async def test_a_page_that_the_vendor_forgot_begins_the_pass_anew(place: Place) -> None:
    await place.deliver(place.acts.jira_create("SHOP", summary="A"))
    place.acts.jira_create("SHOP", summary="lost")
    rows = table(HealingCursor)
    await place.sweep()
    page = '{"jql": "project = SHOP", "token": "long-gone"}'
    await place.database.write(lambda c: c.execute(update(rows).values(page=page, upto=time.time())))
    place.acts.jira_create("SHOP", summary="lost too")
    await place.sweep()
    await place.sweep()
    assert await place.kinds() == {"issue.opened": 3}


async def test_two_processes_share_the_work_and_nothing_comes_twice(place: Place) -> None:
    for number in range(3):
        await place.deliver(place.acts.sentry_error(f"5900{number}", title="came"))
        await place.deliver(place.acts.slack_say("C0GENERAL", f"<@{BOT_USER_ID}> came"))
        place.acts.sentry_error(f"6900{number}", title="lost")
        place.acts.slack_say("C0GENERAL", f"<@{BOT_USER_ID}> lost")
    await place.due()
    one, other = place.process("p1"), place.process("p2")
    while any(await asyncio.gather(one.sweep_one(), other.sweep_one())):
        pass
    kinds = await place.kinds(origin="fetched")
    assert kinds == {"issue.opened": 3, "message.mention": 3}
    assert sum(place.counted.found.values()) == 6
    ids = [event.id for _, event in place.announced]
    assert len(ids) == len(set(ids)) == 6


async def test_who_lost_the_lease_stores_nothing(place: Place) -> None:
    held = await place.database.write(healing.claim, ["jira"], owner="p1", lease=60.0)
    assert held is not None
    assert await place.database.write(healing.claim, ["jira"], owner="p2", lease=60.0) is None
    await place.database.write(healing.cursor, held, "SHOP")
    await place.due(lease_until=1.0)  # p1 slept
    taken = await place.database.write(healing.claim, ["jira"], owner="p2", lease=60.0)
    assert taken is not None
    assert taken.fence == held.fence + 1
    found = [Incoming(id="jira:fetched:1", connection="jira", outcome="handled", body_hash="0", body_size=1)]
    with pytest.raises(LostLeaseError):
        await place.database.write(
            healing.advance, held, "SHOP", upto=1.0, page=None, found=found, lease=60.0
        )
    with pytest.raises(LostLeaseError):
        await place.database.write(healing.finish, held, delay=1.0, error=None)
    assert await place.rows(Delivery) == []
    await place.database.write(healing.advance, taken, "SHOP", upto=1.0, page=None, found=found, lease=60.0)
    assert len(await place.rows(Delivery)) == 1


async def test_a_process_that_died_in_the_middle_is_followed_by_another(place: Place) -> None:
    await place.deliver(place.acts.sentry_error("59001", title="came"))
    place.acts.sentry_error("59002", title="lost")
    dead = await place.database.write(healing.claim, ["sentry"], owner="dead", lease=60.0)
    assert dead is not None
    assert not await place.process().sweep_one() or (await place.kinds()) == {"issue.opened": 1}
    await place.database.write(healing.release_all)
    await place.sweep()
    assert await place.kinds() == {"issue.opened": 2}


async def test_an_apps_webhooks_are_renewed_before_their_thirty_days_end(place: Place) -> None:
    jira, post = place.sandbox.world.jira, place.sandbox.world.post
    ours = post.add_hook("jira", "http://127.0.0.1:9/hooks/jira", SECRET)
    others = post.add_hook("jira", "http://127.0.0.1:9/hooks/other", SECRET)
    now, day = time.time(), 86_400.0
    jira.webhook_ends = {ours.id: now + 14 * day, others.id: now + 3 * day}
    place.outbound = outbound_of(place.sandbox, place.http, jira={"email": None})
    await place.deliver(place.acts.jira_create("SHOP", summary="A"))
    await place.sweep()
    assert jira.webhook_ends[ours.id] > now + 29 * day
    assert jira.webhook_ends[others.id] < now + 4 * day, "another program's webhook is left alone"
    asked = len([call for call in place.sandbox.world.log.calls("jira") if "webhook" in call.path])
    await place.sweep()
    assert len([call for call in place.sandbox.world.log.calls("jira") if "webhook" in call.path]) == asked
    jira.webhook_ends[ours.id] = now + 20 * day
    await place.due(renew_at=0.0)
    await place.sweep()
    assert jira.webhook_ends[ours.id] < now + 21 * day, "half of its life is left"


async def test_an_api_token_renews_nothing_and_is_not_refused_for_it(place: Place) -> None:
    await place.deliver(place.acts.jira_create("SHOP", summary="A"))
    await place.sweep()
    assert not [call for call in place.sandbox.world.log.calls("jira") if "webhook" in call.path]


async def test_silence_is_seen_in_stored_deliveries_told_once_and_taken_back(place: Place) -> None:
    """Five weeks of a webhook every ten minutes, then none: the clock is the test's."""
    start, minute = 1_790_000_000.0, 60.0
    times = [start + number * 10 * minute for number in range(5 * 7 * 144)]
    await place.database.write(_store, "jira", times)
    moment = times[-1] + 20 * minute
    vigil = Vigil(
        lambda: ["jira", "sentry"], place.database, observations=place.counted, clock=lambda _: moment
    )
    await vigil.look()
    assert vigil.silent == {}
    moment = times[-1] + 180 * minute
    await vigil.look()
    assert list(vigil.silent) == ["jira"]
    assert "none for 3 h; in each of 4 weeks before, 10 or more came" in vigil.silent["jira"]
    assert place.counted.silent == {"jira": True}
    await place.database.write(_store, "jira", [moment - minute])
    await vigil.look()
    assert vigil.silent == {}
    assert place.counted.silent == {"jira": False}


async def test_what_was_fetched_does_not_count_as_a_sign_of_life(place: Place) -> None:
    start, minute = 1_790_000_000.0, 60.0
    times = [start + number * 10 * minute for number in range(4 * 7 * 144)]
    await place.database.write(_store, "jira", times)
    moment = times[-1] + 240 * minute
    await place.database.write(_store, "jira", [moment - minute], origin="fetched")
    vigil = Vigil(lambda: ["jira"], place.database, observations=place.counted, clock=lambda _: moment)
    await vigil.look()
    assert list(vigil.silent) == ["jira"]


def _store(connection: Any, name: str, times: list[float], *, origin: str = "delivered") -> None:
    """Deliveries at given times."""
    rows = table(Delivery)
    values = [
        {
            "id": f"{name}:{origin}:{at}",
            "connection": name,
            "outcome": "handled",
            "received_at": at,
            "body_hash": "0",
            "body_size": 1,
            "origin": origin,
        }
        for at in times
    ]
    connection.execute(rows.insert(), values)


async def test_a_delivery_that_comes_late_is_a_row_without_new_events(place: Place) -> None:
    await place.deliver(place.acts.sentry_error("59001", title="came"))
    late = place.acts.sentry_error("59002", title="late")
    await place.sweep()
    await place.deliver(late)
    assert await place.kinds() == {"issue.opened": 2}
    origins = Counter(row["origin"] for row in await place.rows(Delivery))
    assert origins == {"delivered": 2, "fetched": 1}


def test_a_pace_that_would_leave_holes_is_refused() -> None:
    with pytest.raises(ValueError, match=r"grace 600\.0 must be below overlap 600\.0"):
        Pace(grace=600.0)
