"""Rules of emulated sessions: agent references, resources, updates, archive and delete, lists and pages."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from typing import Any

import anthropic
import pytest
from agents_service import (
    LOOKUP,
    TOOLSET,
    Service,
    of,
    tool,
    types,
)

HEADERS = {"authorization": "Bearer emu", "anthropic-beta": "other-1, managed-agents-2026-04-01"}
SERVER = {"type": "url", "name": "github", "url": "https://mcp.example.com"}
MCP = {"type": "mcp_toolset", "mcp_server_name": "github"}


async def test_agent_references(service: Service) -> None:
    agent = await service.agent(system="one", tools=[TOOLSET, LOOKUP])
    await service.client.beta.agents.update(agent.id, system="two")
    assert (await service.session(agent=agent.id)).agent.system == "two"
    pinned = await service.session(agent={"type": "agent", "id": agent.id, "version": 1})
    assert (pinned.agent.version, pinned.agent.system) == (1, "one")
    override = {"type": "agent_with_overrides", "id": agent.id, "version": 1}
    changed = await service.session(agent={**override, "system": "three", "tools": [tool("comment")]})
    assert (changed.agent.version, changed.agent.system) == (1, "three")
    assert [one.name for one in changed.agent.tools] == ["comment"], "an override replaces the whole list"
    cleared = await service.session(agent={**override, "tools": None, "system": None})
    assert (cleared.agent.tools, cleared.agent.system) == ([], None)
    assert (await service.session(agent=override)).agent.system == "one"
    assert (await service.client.beta.agents.retrieve(agent.id)).version == 2
    with pytest.raises(anthropic.BadRequestError) as refused:
        await service.session(agent={**override, "model": None})
    assert refused.value.error_code == "agent_model_required"
    with pytest.raises(anthropic.NotFoundError):
        await service.session(agent="agent_nowhere")
    with pytest.raises(anthropic.NotFoundError):
        await service.session(agent={"type": "agent", "id": agent.id, "version": 7})


async def test_overrides_keep_the_rules_between_fields(service: Service) -> None:
    skilled = await service.agent(tools=[TOOLSET], skills=[{"type": "anthropic", "skill_id": "pdf"}])
    served_by = await service.agent(tools=[MCP], mcp_servers=[SERVER])
    with pytest.raises(anthropic.BadRequestError, match="skills"):
        await service.session(agent={"type": "agent_with_overrides", "id": skilled.id, "tools": []})
    with pytest.raises(anthropic.BadRequestError, match="mcp_toolset"):
        await service.session(agent={"type": "agent_with_overrides", "id": served_by.id, "mcp_servers": []})


@pytest.mark.parametrize(
    "url",
    [
        "https://github.com/acme/checkout.git",
        "git@github.com:acme/checkout.git",
        "http://github.com/acme/checkout",
        "https://gitlab.com/acme/checkout",
        "https://github.com/acme",
        "https://github.com/acme/checkout/tree/main",
        "https://token@github.com/acme/checkout",
    ],
)
async def test_repository_addresses(service: Service, url: str) -> None:
    with pytest.raises(anthropic.BadRequestError, match=r"github_repository\.url"):
        await service.session(resources=[{"type": "github_repository", "url": url}])


async def test_resources_after_creation(service: Service) -> None:
    resources = service.client.beta.sessions.resources
    repository = {
        "type": "github_repository",
        "url": "https://github.com/acme/checkout",
        "authorization_token": "hush",
        "checkout": {"type": "branch", "name": "main"},
    }
    session = await service.session(resources=[repository])
    mounted = session.resources[0]
    assert (mounted.mount_path, mounted.checkout.name) == ("/workspace/checkout", "main")
    assert "hush" not in session.model_dump_json()
    rotated = await resources.update(mounted.id, session_id=session.id, authorization_token="hush2")
    assert rotated.updated_at > mounted.updated_at
    assert service.state.sessions[session.id].rotations == {mounted.id: 1}
    with pytest.raises(anthropic.BadRequestError, match="only files"):
        await resources.delete(mounted.id, session_id=session.id)
    file = await service.client.beta.files.upload(file=("a.txt", b"a"))
    added = await resources.add(session.id, type="file", file_id=file.id)
    with pytest.raises(anthropic.BadRequestError, match="used twice"):
        await resources.add(session.id, type="file", file_id=file.id)
    assert [one.id async for one in resources.list(session.id)] == [mounted.id, added.id]
    assert (await resources.delete(added.id, session_id=session.id)).type == "session_resource_deleted"
    with pytest.raises(anthropic.NotFoundError):
        await resources.retrieve(added.id, session_id=session.id)
    with pytest.raises(anthropic.BadRequestError, match="used twice"):
        await service.session(resources=[repository, repository])


@pytest.mark.parametrize(
    ("fields", "reason"),
    [
        ({"title": "x" * 81}, "title"),
        ({"title": "a\nb"}, "control"),
        ({"metadata": {str(n): "x" for n in range(17)}}, "16 pairs"),
        (
            {"budget": {"type": "limit", "max_list_cost": {"amount": "1.50", "currency": "USD"}}},
            "whole cents",
        ),
        ({"budget": {"type": "limit", "max_list_cost": {"amount": 150, "currency": "USD"}}}, "amount"),
        ({"budget": {"type": "limit", "max_list_cost": {"amount": "150", "currency": "EUR"}}}, "currency"),
        ({"initial_events": [{"type": "user.interrupt"}]}, "initial_events.0"),
        ({"initial_events": [{"type": "user.message", "content": []}]}, r"initial_events\[0\].content"),
        (
            {"initial_events": [{"type": "user.message", "content": [{"type": "text", "text": "x"}]}] * 51},
            "at most 50",
        ),
        ({"resources": [{"type": "github_repository", "url": "https://github.com/a/b", "tok": "x"}]}, "tok"),
    ],
)
async def test_rules_of_sessions(service: Service, fields: dict[str, Any], reason: str) -> None:
    with pytest.raises(anthropic.BadRequestError, match=reason):
        await service.session(**fields)
    assert service.state.sessions == {}, "a refused create leaves nothing behind"


async def test_budget_needs_a_price(service: Service) -> None:
    agent = await service.agent(model="claude-fable-5-2")
    budget = {"type": "limit", "max_list_cost": {"amount": "150", "currency": "USD"}}
    with pytest.raises(anthropic.BadRequestError) as refused:
        await service.session(agent=agent.id, budget=budget)
    assert refused.value.error_code == "model_not_budgetable"
    plain = await service.session()
    with pytest.raises(anthropic.BadRequestError, match="when a session is created"):
        await service.client.beta.sessions.update(plain.id, budget=budget)


async def test_initial_events_run_at_once(service: Service) -> None:
    content = [{"type": "text", "text": "Go [sandbox: scenario=happy]"}]
    session = await service.session(initial_events=[{"type": "user.message", "content": content}])
    assert session.status == "running"
    assert types(await service.idle(session.id))[-1] == "session.status_idle"
    assert service.state.sessions_with_work() == {session.id}


async def test_updates_patch_and_tell(service: Service) -> None:
    sessions = service.client.beta.sessions
    session = await service.session(metadata={"a": "1", "b": "2"})
    changed = await sessions.update(session.id, metadata={"a": None, "c": "3"}, title="new")
    assert (changed.metadata, changed.title) == ({"b": "2", "c": "3"}, "new")
    told = of(await service.history(session.id), "session.updated")[0]
    assert (told.metadata, told.title) == ({"b": "2", "c": "3"}, "new")
    assert {"agent", "budget"} & told.model_fields_set == set(), "only what changed is told"
    changed = await sessions.update(session.id, agent={"tools": [LOOKUP]})
    assert [one.name for one in changed.agent.tools if one.type == "custom"] == ["lookup_issue"]
    await service.say(session.id, "Go [sandbox: scenario=silent]")
    with pytest.raises(anthropic.BadRequestError, match="only be changed while idle"):
        await sessions.update(session.id, agent={"tools": []})
    assert (await sessions.update(session.id, title="still")).title == "still"


async def test_archive_and_delete_refuse_a_running_session(service: Service) -> None:
    sessions = service.client.beta.sessions
    session = await service.session()
    await service.say(session.id, "Go [sandbox: scenario=silent]")
    for refused in (sessions.archive, sessions.delete):
        with pytest.raises(anthropic.BadRequestError, match="running"):
            await refused(session.id)
    await service.send(session.id, {"type": "user.interrupt"})
    await service.idle(session.id)
    archived = await sessions.archive(session.id)
    assert (archived.status, archived.archived_at is not None) == ("terminated", True)
    assert types(await service.history(session.id))[-1] == "session.status_terminated"
    with pytest.raises(anthropic.BadRequestError, match="Cannot send events to archived session"):
        await service.say(session.id, "more")
    with pytest.raises(anthropic.BadRequestError, match="archived"):
        await sessions.update(session.id, title="x")
    assert (await sessions.archive(session.id)).archived_at == archived.archived_at
    assert (await sessions.delete(session.id)).type == "session_deleted"
    with pytest.raises(anthropic.NotFoundError):
        await sessions.retrieve(session.id)
    assert service.state.sessions_with_work() == {session.id}, "the work log outlives the session"


async def test_delete_tells_the_streams_and_ends_them(service: Service) -> None:
    session = await service.session()
    async with await service.client.beta.sessions.events.stream(session.id) as stream:
        await service.client.beta.sessions.delete(session.id)
        assert types([event async for event in stream]) == ["session.deleted"]


async def test_a_blocked_session_can_be_archived(service: Service) -> None:
    session = await service.session(tools=[LOOKUP])
    await service.say(session.id, "Go [sandbox: scenario=custom_tools]")
    await service.idle(session.id)
    assert (await service.client.beta.sessions.archive(session.id)).status == "terminated"
    await asyncio.sleep(0.03)
    assert types(await service.history(session.id))[-1] == "session.status_terminated"


# Lists.


async def test_session_list_filters_orders_and_pages(service: Service) -> None:
    sessions = service.client.beta.sessions
    agent, other = await service.agent(name="a"), await service.agent(name="b")
    made = [await service.session(agent=agent.id, metadata={"n": str(n)}) for n in range(7)]
    foreign = await service.session(agent=other.id)
    ids = [session.id for session in made]
    assert [one.id async for one in sessions.list(limit=3)] == [foreign.id, *reversed(ids)]
    assert [one.id async for one in sessions.list(limit=2, order="asc", agent_id=agent.id)] == ids
    later = made[4].created_at
    assert [
        one.id async for one in sessions.list(created_at_gte=later, agent_id=agent.id, order="asc")
    ] == ids[4:]
    assert [
        one.id async for one in sessions.list(created_at_gt=later, agent_id=agent.id, order="asc")
    ] == ids[5:]
    assert [
        one.id async for one in sessions.list(created_at_lt=later, agent_id=agent.id, order="asc")
    ] == ids[:4]
    assert [one.id async for one in sessions.list(created_at_lte=later, order="asc")] == ids[:5]
    assert [one async for one in sessions.list(created_at_gte=later + timedelta(hours=1))] == []
    await sessions.archive(ids[0])
    await service.say(ids[1], "Go [sandbox: scenario=silent]")
    assert [one.id async for one in sessions.list(agent_id=agent.id, order="asc")] == ids[1:]
    everything = sessions.list(agent_id=agent.id, order="asc", include_archived=True)
    assert [one.id async for one in everything] == ids
    assert [one.id async for one in sessions.list(statuses=["running"])] == [ids[1]]
    found = sessions.list(statuses=["terminated", "running"], include_archived=True, order="asc")
    assert [one.id async for one in found] == ids[:2]
    assert [one async for one in sessions.list(agent_id=agent.id, agent_version=2)] == []
    assert [one async for one in sessions.list(deployment_id="depl_1")] == []


async def test_pages_go_both_ways_and_keep_their_order(service: Service) -> None:
    sessions = service.client.beta.sessions
    agent = await service.agent()
    ids = [(await service.session(agent=agent.id)).id for _ in range(5)]
    first = await sessions.list(limit=2, order="asc")
    second = await sessions.list(limit=2, order="asc", page=str(first.next_page))
    third = await sessions.list(limit=2, order="asc", page=str(second.next_page))
    assert [[one.id for one in found.data] for found in (first, second, third)] == [
        ids[:2],
        ids[2:4],
        ids[4:],
    ]
    assert (first.prev_page, third.next_page) == (None, None)
    back = await sessions.list(limit=2, order="asc", page=str(third.prev_page))
    assert [one.id for one in back.data] == ids[2:4]
    front = await sessions.list(limit=2, order="asc", page=str(back.prev_page))
    assert ([one.id for one in front.data], front.prev_page) == (ids[:2], None)
    with pytest.raises(anthropic.BadRequestError, match="order"):
        await sessions.list(limit=2, order="desc", page=str(first.next_page))
    for bad in ("nonsense", "page_W10", "page_eyJhIjoxfQ"):
        with pytest.raises(anthropic.BadRequestError, match="cursor"):
            await sessions.list(order="asc", page=bad)


@pytest.mark.parametrize(
    ("query", "named"),
    [
        ("limit=0", "limit"),
        ("limit=101", "limit"),
        ("limit=x", "limit"),
        ("order=up", "order"),
        ("include_archived=1", "include_archived"),
        ("statuses[]=asleep", "statuses"),
        ("created_at[gte]=yesterday", "created_at"),
        ("metadata[job]=1", "metadata"),
    ],
)
async def test_queries_are_checked(service: Service, query: str, named: str) -> None:
    answer = await service.admin.get(f"/v1/sessions?{query}", headers=HEADERS)
    assert answer.status_code == 400, answer.text
    assert named in answer.json()["error"]["message"]


async def test_event_list_types_order_and_pages(service: Service) -> None:
    session = await service.session()
    for n in range(3):
        await service.say(session.id, f"{n} [sandbox: scenario=happy]")
        await service.idle(session.id, count=n + 1)
    every = await service.history(session.id)
    assert len(every) == 30
    assert [event.id for event in await service.history(session.id, limit=7)] == [event.id for event in every]
    backwards = await service.history(session.id, limit=4, order="desc")
    assert [event.id for event in backwards] == [event.id for event in reversed(every)]
    only = await service.history(session.id, types=["user.message", "agent.message"], limit=2)
    assert types(only) == ["user.message", "agent.message"] * 3
    after = await service.history(session.id, created_at_gt=only[-1].processed_at)
    assert [event.id for event in after] == [event.id for event in every[-4:]]
    with pytest.raises(anthropic.BadRequestError, match="types"):
        await service.history(session.id, types=["user.telepathy"])


async def test_a_new_session_may_be_absent_from_lists_for_a_while(service: Service) -> None:
    await service.knob("settings", list_lag=0.2)
    session = await service.session()
    assert [one async for one in service.client.beta.sessions.list()] == []
    assert (await service.client.beta.sessions.retrieve(session.id)).id == session.id
    await asyncio.sleep(0.25)
    assert [one.id async for one in service.client.beta.sessions.list()] == [session.id]
