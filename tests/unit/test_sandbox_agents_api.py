"""Rules of the emulated Managed Agents API, one by one, through the SDK."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from datetime import timedelta
from typing import Any

import anthropic
import pytest
from agents_service import LOOKUP, TOOLSET, Service, of, result, served, tool, types

HEADERS = {"authorization": "Bearer emu", "anthropic-beta": "other-1, managed-agents-2026-04-01"}
SERVER = {"type": "url", "name": "github", "url": "https://mcp.example.com"}
MCP = {"type": "mcp_toolset", "mcp_server_name": "github"}


@pytest.fixture
async def service() -> AsyncIterator[Service]:
    async with served() as running:
        yield running


# The gate.


async def test_authentication_beta_header_and_request_id(service: Service) -> None:
    beta = {"anthropic-beta": HEADERS["anthropic-beta"]}
    cases: list[tuple[dict[str, str], int, str]] = [
        (beta, 401, "authentication_error"),
        ({**beta, "authorization": "Bearer "}, 401, "authentication_error"),
        ({"authorization": "Bearer emu"}, 404, "not_found_error"),
        (HEADERS, 200, ""),
        ({**beta, "x-api-key": "emu"}, 200, ""),
    ]
    for headers, status, kind in cases:
        answer = await service.admin.get("/v1/agents", headers=headers)
        assert answer.status_code == status, headers
        assert answer.headers["request-id"].startswith("req_")
        if kind:
            assert answer.json()["error"]["type"] == kind
            assert answer.json()["request_id"] == answer.headers["request-id"]
    assert (await service.admin.get("/v1/files", headers={"x-api-key": "emu"})).status_code == 200


async def test_unknown_routes_and_methods_use_the_envelope(service: Service) -> None:
    for method, path, status in (("GET", "/v1/nothing", 404), ("PUT", "/v1/agents", 405)):
        answer = await service.admin.request(method, path, headers=HEADERS)
        assert answer.status_code == status
        assert answer.json()["type"] == "error"
        assert answer.headers["request-id"] == answer.json()["request_id"]


@pytest.mark.parametrize(
    ("path", "body", "named"),
    [
        ("agents", {"model": "claude-sonnet-5-5"}, "name: Field required"),
        ("agents", {"model": 5, "name": "x"}, "model"),
        ("agents", {"model": "m", "name": "x", "toolz": []}, "toolz: Extra inputs"),
        ("agents", {"model": "m", "name": "x", "tools": [{"type": "custom", "name": "a"}]}, "tools.0.custom"),
        ("agents", {"model": "m", "name": "x", "tools": [{"type": "nope"}]}, "tools.0"),
        ("agents", {"model": "m", "name": "x", "tools": [{**LOOKUP, "input_schema": {"type": "object", "title": 1}}]}, "input_schema.title"),
        ("agents", {"model": "m", "name": "x", "metadata": {"k": 1}}, "metadata.k"),
        ("agents", {"model": "m", "name": ""}, "name"),
        ("agents", {"model": "m", "name": "x", "betas": []}, "betas"),
        ("environments", {"name": "e", "config": {"type": "cloud", "networking": {"type": "limited"}, "packages": {"pip": ["x"]}}}, "allow_package_managers"),
        ("environments", {"name": "e", "config": {"type": "moon"}}, "config"),
        ("sessions", {"agent": "a"}, "environment_id: Field required"),
        ("vaults", {"display_name": 1}, "display_name"),
    ],
)  # fmt: skip
async def test_bodies_are_checked_strictly(
    service: Service, path: str, body: dict[str, Any], named: str
) -> None:
    answer = await service.admin.post(f"/v1/{path}", json=body, headers=HEADERS)
    assert answer.status_code == 400, answer.text
    assert answer.json()["error"]["type"] == "invalid_request_error"
    assert named in answer.json()["error"]["message"]


@pytest.mark.parametrize("body", [b"", b"{", b"[]", b"\xff\xfe", b"null"])
async def test_bodies_that_are_no_objects(service: Service, body: bytes) -> None:
    answer = await service.admin.post("/v1/agents", content=body, headers=HEADERS)
    assert answer.status_code == 400


async def test_a_body_over_32_mb_is_too_large(service: Service) -> None:
    answer = await service.admin.post("/v1/agents", content=b" " * (32 * 1024 * 1024 + 1), headers=HEADERS)
    assert (answer.status_code, answer.json()["error"]["type"]) == (413, "request_too_large")


# Agents.


async def test_an_agents_version_rises_only_with_a_change(service: Service) -> None:
    agents = service.client.beta.agents
    agent = await service.agent(system="You fix", tools=[LOOKUP], metadata={"a": "1", "b": "2"})
    assert (agent.version, agent.model.id) == (1, "claude-sonnet-5-5")
    assert agent.execution_identity.type == "service_account"
    assert (await agents.update(agent.id, system="You fix", model="claude-sonnet-5-5")).version == 1
    changed = await agents.update(agent.id, version=1, system="You mend", metadata={"a": None, "c": "3"})
    assert (changed.version, changed.system, changed.metadata) == (2, "You mend", {"b": "2", "c": "3"})
    assert [one.name for one in changed.tools if one.type == "custom"] == ["lookup_issue"]
    with pytest.raises(anthropic.ConflictError) as lost:
        await agents.update(agent.id, version=1, system="late")
    assert lost.value.type == "conflict_error"
    assert (await agents.update(agent.id, tools=None)).tools == []
    assert [one.version async for one in agents.versions.list(agent.id)] == [3, 2, 1]
    assert (await agents.retrieve(agent.id, version=1)).system == "You fix"
    with pytest.raises(anthropic.NotFoundError):
        await agents.retrieve(agent.id, version=9)


async def test_archived_agents_start_nothing(service: Service) -> None:
    agents = service.client.beta.agents
    kept, gone = await service.agent(name="kept"), await service.agent(name="gone")
    assert (await agents.archive(gone.id)).archived_at is not None
    assert [one.id async for one in agents.list()] == [kept.id]
    assert [one.id async for one in agents.list(include_archived=True, limit=1)] == [gone.id, kept.id]
    with pytest.raises(anthropic.BadRequestError, match="archived"):
        await agents.update(gone.id, name="back")
    with pytest.raises(anthropic.BadRequestError, match="archived"):
        await service.session(agent=gone.id)


async def test_toolsets_and_models_are_resolved(service: Service) -> None:
    configs = [{"name": "bash", "permission_policy": {"type": "always_ask"}}]
    model = {"id": "claude-opus-5-5", "effort": "low"}
    agent = await service.agent(
        model=model, tools=[{**TOOLSET, "configs": configs}, MCP], mcp_servers=[SERVER]
    )
    assert (agent.model.effort.type, agent.model.speed) == ("low", "standard")
    built_in, mcp = agent.tools
    assert built_in.default_config.permission_policy.type == "always_allow"
    assert (built_in.configs[0].type, built_in.configs[0].enabled) == ("bash", True)
    assert built_in.configs[0].permission_policy.type == "always_ask"
    assert mcp.default_config.permission_policy.type == "always_ask", "MCP tools ask unless told otherwise"


@pytest.mark.parametrize(
    ("fields", "reason"),
    [
        ({"tools": [LOOKUP, LOOKUP]}, "twice"),
        ({"tools": [{**LOOKUP, "name": "no spaces"}]}, "pattern"),
        ({"mcp_servers": [SERVER]}, "not referenced"),
        ({"tools": [MCP]}, "not among mcp_servers"),
        ({"tools": [tool(f"t{n}") for n in range(257)]}, "at most 256"),
        ({"skills": [{"type": "anthropic", "skill_id": "pdf"}]}, "skills need"),
        ({"system": "x" * 100_001}, "system"),
        ({"metadata": {str(n): "x" for n in range(17)}}, "16 pairs"),
        ({"metadata": {"k": "x" * 513}}, "512"),
        ({"metadata": {"k" * 65: "x"}}, "64"),
        ({"multiagent": {"type": "coordinator", "agents": []}}, "multiagent.agents"),
    ],
)
async def test_rules_of_agents(service: Service, fields: dict[str, Any], reason: str) -> None:
    with pytest.raises(anthropic.BadRequestError, match=reason):
        await service.agent(**fields)


async def test_subagents_are_pinned_and_written_out_in_sessions(service: Service) -> None:
    helper = await service.agent(name="helper")
    lead = await service.agent(
        name="lead", multiagent={"type": "coordinator", "agents": [helper.id, {"type": "self"}]}
    )
    assert [(one.id, one.version) for one in lead.multiagent.agents] == [(helper.id, 1), (lead.id, 1)]
    session = await service.session(agent=lead.id)
    assert [one.name for one in session.agent.multiagent.agents] == ["helper", "lead"]
    newer = await service.agent(name="newer", multiagent={"type": "multiagent_20261001"})
    assert (newer.multiagent.subagents.type, newer.multiagent.advisor.type) == ("enabled", "disabled")
    assert (await service.session(agent=newer.id)).agent.multiagent.workflows.predefined_agents == []


# Environments, vaults, files.


async def test_environments(service: Service) -> None:
    environments = service.client.beta.environments
    config: Any = {
        "type": "cloud",
        "networking": {"type": "limited", "allow_package_managers": True},
        "packages": {"pip": ["pytest"]},
    }
    made = await environments.create(name="python", config=config)
    assert (made.config.packages.pip, made.config.packages.npm) == (["pytest"], [])
    assert made.config.networking.allowed_hosts == []
    with pytest.raises(anthropic.ConflictError):
        await environments.create(name="python")
    other = await environments.create(name="node")
    with pytest.raises(anthropic.ConflictError):
        await environments.update(other.id, name="python")
    assert (await environments.update(other.id, description="d")).description == "d"
    await environments.archive(made.id)
    assert (await environments.create(name="python")).id != made.id, "an archived name is free"
    with pytest.raises(anthropic.BadRequestError, match="archived"):
        await service.session(environment_id=made.id)
    assert (await environments.delete(other.id)).type == "environment_deleted"
    with pytest.raises(anthropic.NotFoundError):
        await service.session(environment_id=other.id)


async def test_vaults_and_credentials(service: Service) -> None:
    vaults = service.client.beta.vaults
    vault = await vaults.create(display_name="ada")
    oauth: Any = {
        "type": "mcp_oauth",
        "access_token": "hush",
        "mcp_server_url": "https://mcp.example.com",
        "refresh": {
            "client_id": "c",
            "refresh_token": "hush",
            "token_endpoint": "https://auth.example.com/token",
            "token_endpoint_auth": {"type": "client_secret_basic", "client_secret": "hush"},
        },
    }
    variable: Any = {
        "type": "environment_variable",
        "networking": {"type": "unrestricted"},
        "secret_name": "NPM_TOKEN",
        "secret_value": "hush",
    }
    first = await vaults.credentials.create(vault.id, auth=oauth, display_name="mcp")
    second = await vaults.credentials.create(vault.id, auth=variable)
    assert "hush" not in first.model_dump_json() + second.model_dump_json()
    assert "hush" not in str(service.state.snapshot()) + str(service.state.credentials)
    with pytest.raises(anthropic.ConflictError):
        await vaults.credentials.create(vault.id, auth=variable)
    with pytest.raises(anthropic.BadRequestError, match="cannot become"):
        await vaults.credentials.update(second.id, vault_id=vault.id, auth={"type": "static_bearer"})
    updated = await vaults.credentials.update(
        first.id, vault_id=vault.id, auth={"type": "mcp_oauth", "access_token": "hush2"}
    )
    assert updated.auth.type == "mcp_oauth"
    assert updated.auth.refresh is not None
    assert [one.id async for one in vaults.credentials.list(vault.id)] == [second.id, first.id]
    assert (await vaults.credentials.delete(second.id, vault_id=vault.id)).type == "vault_credential_deleted"
    session = await service.session(vault_ids=[vault.id])
    assert session.vault_ids == [vault.id]
    with pytest.raises(anthropic.BadRequestError, match="reserved"):
        await service.client.beta.sessions.update(session.id, vault_ids=[vault.id])
    await vaults.archive(vault.id)
    assert (await vaults.credentials.retrieve(first.id, vault_id=vault.id)).archived_at is not None
    with pytest.raises(anthropic.BadRequestError, match="archived"):
        await service.session(vault_ids=[vault.id])
    assert (await vaults.delete(vault.id)).type == "vault_deleted"
    with pytest.raises(anthropic.NotFoundError):
        await service.session(vault_ids=[vault.id])


async def test_files(service: Service) -> None:
    files = service.client.beta.files
    content = b"\x00\r\n--not-the-boundary\r\n\xff\n"
    made = await files.upload(file=("däta.bin", content, "application/x-test"))
    assert (made.filename, made.size_bytes, made.mime_type) == (
        "däta.bin",
        len(content),
        "application/x-test",
    )
    assert await (await files.download(made.id)).read() == content
    session = await service.session(resources=[{"type": "file", "file_id": made.id}])
    resource = session.resources[0]
    assert resource.file_id != made.id
    assert resource.mount_path == f"/mnt/session/uploads/{made.id}"
    scoped = [one.id async for one in files.list(scope_id=session.id)]
    assert scoped == [resource.file_id]
    await service.client.beta.sessions.delete(session.id)
    assert [one.id async for one in files.list()] == [made.id]
    assert (await files.delete(made.id)).type == "file_deleted"
    with pytest.raises(anthropic.NotFoundError):
        await service.session(resources=[{"type": "file", "file_id": made.id}])
    answer = await service.admin.post("/v1/files", files={"wrong": b"x"}, headers=HEADERS)
    assert (answer.status_code, "Extra inputs" in answer.text) == (400, True)


# Sessions.


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
    with pytest.raises(anthropic.BadRequestError, match="github_repository.url"):
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
        ({"budget": {"type": "limit", "max_list_cost": {"amount": "1.50", "currency": "USD"}}}, "whole cents"),
        ({"budget": {"type": "limit", "max_list_cost": {"amount": 150, "currency": "USD"}}}, "amount"),
        ({"budget": {"type": "limit", "max_list_cost": {"amount": "150", "currency": "EUR"}}}, "currency"),
        ({"initial_events": [{"type": "user.interrupt"}]}, "initial_events.0"),
        ({"initial_events": [{"type": "user.message", "content": []}]}, "initial_events.0..content"),
        ({"initial_events": [{"type": "user.message", "content": [{"type": "text", "text": "x"}]}] * 51}, "at most 50"),
        ({"resources": [{"type": "github_repository", "url": "https://github.com/a/b", "tok": "x"}]}, "tok"),
    ],
)  # fmt: skip
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
        await service.client.beta.sessions.update(plain.id, budget=budget)  # type: ignore[arg-type] # a plain dict


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
    changed = await sessions.update(session.id, agent={"tools": [LOOKUP]})  # type: ignore[typeddict-item] # a plain dict
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


# Sending.


@pytest.mark.parametrize(
    ("event", "reason"),
    [
        ({"type": "user.message", "content": []}, "content"),
        ({"type": "user.message", "content": [{"type": "text"}]}, "events.0.user.message.content.0.text.text"),
        ({"type": "user.message", "content": [{"type": "text", "text": "x"}], "id": "mine"}, "id: Extra inputs"),
        ({"type": "user.message", "content": [{"type": "text", "text": "x"}], "processed_at": None}, "processed_at"),
        ({"type": "user.wave"}, "events.0"),
        (result("sevt_nowhere"), "does not match any"),
        ({**result("sevt_nowhere"), "session_thread_id": "sthr_1"}, "session_thread_id"),
        ({"type": "user.tool_confirmation", "tool_use_id": "toolu_1", "result": "allow"}, "does not match any"),
        ({"type": "user.tool_confirmation", "tool_use_id": "toolu_1", "result": "maybe"}, "result"),
        ({"type": "user.tool_result", "tool_use_id": "sevt_1"}, "self_hosted"),
        ({"type": "system.message", "content": [{"type": "text", "text": "x"}]}, "does not support"),
        ({"type": "user.define_outcome", "description": "d", "rubric": {"type": "text", "content": "r"}, "max_iterations": 21}, "max_iterations"),
    ],
)  # fmt: skip
async def test_rules_of_events(service: Service, event: dict[str, Any], reason: str) -> None:
    session = await service.session()
    with pytest.raises(anthropic.BadRequestError, match=reason):
        await service.send(session.id, event)
    assert await service.history(session.id) == []


async def test_a_request_counts_whole_or_not_at_all(service: Service) -> None:
    session = await service.session()
    good = {"type": "user.message", "content": [{"type": "text", "text": "x"}]}
    with pytest.raises(anthropic.BadRequestError):
        await service.send(session.id, good, result("sevt_nowhere"))
    with pytest.raises(anthropic.BadRequestError, match="at least 1 item"):
        await service.send(session.id)
    with pytest.raises(anthropic.NotFoundError):
        await service.send(session.id, {"type": "user.interrupt", "session_thread_id": "sthr_other"})
    with pytest.raises(anthropic.NotFoundError):
        await service.send("sesn_nowhere", good)
    assert await service.history(session.id) == []
    assert service.state.work == []


async def test_system_messages_stand_last_and_need_the_model(service: Service) -> None:
    session = await service.session()
    system = {"type": "system.message", "content": [{"type": "text", "text": "Be terse"}]}
    message = {"type": "user.message", "content": [{"type": "text", "text": "Hi [sandbox: scenario=happy]"}]}
    with pytest.raises(anthropic.BadRequestError) as refused:
        await service.send(session.id, message, system)
    assert refused.value.error_code == "model_does_not_support_mid_conversation_system"
    able = await service.session(agent=(await service.agent(model="claude-opus-5-5")).id)
    for wrong in ([system], [system, message]):
        with pytest.raises(anthropic.BadRequestError, match="last of the request"):
            await service.send(able.id, *wrong)
    await service.send(able.id, message, system)
    events = await service.idle(able.id)
    assert types(events)[2:4] == ["user.message", "system.message"]


# The admin routes.


async def test_settings_are_read_changed_and_checked(service: Service) -> None:
    changed = await service.knob("settings", pace=0.5, heartbeat=9)
    assert (changed["pace"], changed["heartbeat"]) == (0.5, 9.0)
    assert service.state.settings.pace == 0.5
    for bad in ({"pace": -1}, {"tempo": 1}, {"heartbeat": 0}):
        answer = await service.admin.post("/_emu/settings", json=bad)
        assert answer.status_code == 400
    assert service.state.settings.pace == 0.5


async def test_the_work_log_says_who_got_what(service: Service) -> None:
    busy, empty = await service.session(metadata={"job": "7"}), await service.session()
    await service.say(busy.id, "Hi [sandbox: scenario=happy]", data="{}")
    work = (await service.admin.get("/_emu/work")).json()["data"]
    assert [(item["session_id"], item["documents"], item["metadata"]) for item in work] == [
        (busy.id, 1, {"job": "7"})
    ]
    state = (await service.admin.get("/_emu/state")).json()
    assert state["sessions_with_work"] == 1
    assert {one["id"] for one in state["sessions"]} == {busy.id, empty.id}
    assert set((await service.admin.get("/_emu/scenarios")).json()["data"]) >= {"work", "happy", "lost_gap"}


async def test_reset_forgets_and_ends_streams(service: Service) -> None:
    session = await service.session()
    await service.say(session.id, "Go [sandbox: scenario=silent]")
    async with await service.client.beta.sessions.events.stream(session.id) as stream:
        await service.knob("reset")
        assert [event async for event in stream] == []
    with pytest.raises(anthropic.NotFoundError):
        await service.client.beta.sessions.retrieve(session.id)
    assert (await service.session()).status == "idle"
