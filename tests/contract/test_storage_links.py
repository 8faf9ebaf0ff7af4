"""Links between subjects, on both databases: what routes, what only is shown, and what our own posts teach."""

from __future__ import annotations

from typing import Any

from services.facts import body_of, make_dispatch, make_result
from sqlalchemy import func, select

from schemas.references import How
from schemas.result import Receipt, Result
from storage import links
from storage.database import Database
from storage.links import MAX_LINKS, Link, learn, owners_of
from storage.rows import table
from storage.runs import take_dispatch
from storage.tables import LinkRow

CONVERSATION = "github:acme-github:acme/checkout#12"


def link(reference: str, *, how: How = "key", proven: bool = True, by: str = "member") -> Link:
    return Link(
        reference=reference,
        how=how,
        connection="acme-github",
        subject="acme/checkout#12",
        proven=proven,
        by=by,
        evidence="evt_1",
    )


def made(output: str, target: dict[str, Any], arguments: dict[str, Any]) -> Result:
    values = {"output": output, "target": target, "arguments": arguments}
    return make_result("run_1").model_copy(update=values)


async def begin(database: Database, number: int = 1, **values: Any) -> None:
    dispatch = make_dispatch(number, **values)
    await database.write(take_dispatch, dispatch, body_of(dispatch))


async def owned(database: Database, *names: str) -> list[tuple[str, str]]:
    found = await database.read(owners_of, connection_name="acme-jira", subject="SHOP-7", names=names)
    return [(one.conversation, one.how) for one in found]


async def test_only_a_proven_link_leads_to_its_conversation(database: Database) -> None:
    await begin(database)
    await database.write(learn, CONVERSATION, [link("key:SHOP-7", proven=False, by="outsider")], now=1.0)
    assert await owned(database, "key:SHOP-7") == []
    await database.write(learn, CONVERSATION, [link("key:SHOP-7")], now=2.0)
    assert await owned(database, "key:SHOP-7") == [(CONVERSATION, "key")]
    await database.write(learn, CONVERSATION, [link("key:SHOP-7", proven=False, by="outsider")], now=3.0)
    assert await owned(database, "key:SHOP-7", "key:other") == [(CONVERSATION, "key")], (
        "no claim undoes a proof"
    )
    assert await owned(database, "key:other") == []


async def test_a_subject_of_its_own_comes_before_one_that_is_only_linked(database: Database) -> None:
    await begin(database, 1)
    await begin(database, 2, conversation="other", rule="other")
    await database.write(
        links.link_subject, "other", connection_name="acme-jira", subject="SHOP-7", now=1.0, how="posted"
    )
    await database.write(learn, CONVERSATION, [link("key:SHOP-7")], now=2.0)
    assert await owned(database, "key:SHOP-7") == [("other", "posted"), (CONVERSATION, "key")]


async def test_nobody_fills_the_table(database: Database) -> None:
    await begin(database)
    for start in range(0, MAX_LINKS + 60, 20):
        some = [link(f"key:SHOP-{n}", proven=False) for n in range(start + 1, start + 21)]
        await database.write(learn, CONVERSATION, some, now=1.0)
    rows = table(LinkRow)
    assert (
        await database.read(lambda c: c.execute(select(func.count()).select_from(rows)).scalar()) == MAX_LINKS
    )


async def test_our_own_pull_request_teaches_what_it_is_and_names(database: Database) -> None:
    await begin(database)
    result = made(
        "open_pull_request",
        {"repository": "acme/checkout"},
        {
            "title": "Round once",
            "head": "fix/SHOP-7-rounding",
            "body": "Belongs to PAY-3 and https://sentry.io/organizations/acme/issues/520/.",
        },
    )
    receipt = Receipt(
        url="https://github.com/acme/checkout/pull/31", subject="acme/checkout#31", artefact="pr:x"
    )
    await database.write(links.learn_from_post, result, receipt, now=1.0)
    graph = await database.read(links.graph_of, CONVERSATION)
    assert graph is not None
    assert {(one["subject"], one["how"]) for one in graph.subjects} == {
        ("acme/checkout#12", "origin"),
        ("acme/checkout#31", "posted"),
    }
    assert {one["reference"]: one["how"] for one in graph.links} == {
        "key:acme/checkout#31": "posted",
        "url:github.com/acme/checkout#31": "posted",
        "branch:acme/checkout:fix/SHOP-7-rounding": "branch",
        "key:SHOP-7": "branch",
        "key:PAY-3": "key",
        "sentry:520": "url",
    }
    assert all(one["proven"] and one["by"] == "triggerhub" for one in graph.links)
    assert {one["subject"] for one in graph.links} == {"acme/checkout#31"}


async def test_a_link_that_we_make_is_a_link(database: Database) -> None:
    await begin(database)
    result = made(
        "add_remote_link",
        {"issue": "SHOP-7"},
        {"url": "https://github.com/acme/checkout/pull/31", "title": "Repair"},
    )
    await database.write(links.learn_from_post, result, Receipt(), now=1.0)
    graph = await database.read(links.graph_of, CONVERSATION)
    assert graph is not None
    assert [(one["reference"], one["how"]) for one in graph.links] == [
        ("url:github.com/acme/checkout#31", "remote_link")
    ]


async def test_the_readers_of_a_place_are_those_of_its_last_event(database: Database) -> None:
    here = {"connection_name": "acme-github", "container": "acme/checkout"}
    assert await database.read(links.readers_of, **here) is None
    for visibility in ("private", "public", "public"):
        await database.write(links.note_place, **here, visibility=visibility, now=1.0)
        assert await database.read(links.readers_of, **here) == visibility


async def test_there_is_no_graph_of_what_is_not_there(database: Database) -> None:
    assert await database.read(links.graph_of, "nobody") is None
    assert await database.read(links.taint_of, "nobody") == "private"
