"""Rules of the emulated Managed Agents API, one by one, through the SDK."""

from __future__ import annotations

from typing import Any

import anthropic
import pytest
from agents_service import LOOKUP, TOOLSET, Service, tool
from anthropic.types.beta import BetaManagedAgentsMemoryStore
from anthropic.types.beta.memory_stores import BetaManagedAgentsMemory

HEADERS = {"authorization": "Bearer emu", "anthropic-beta": "other-1, managed-agents-2026-04-01"}
SERVER = {"type": "url", "name": "github", "url": "https://mcp.example.com"}
MCP = {"type": "mcp_toolset", "mcp_server_name": "github"}


# The gate.


async def test_authentication_beta_header_and_request_id(service: Service) -> None:
    beta = {"anthropic-beta": HEADERS["anthropic-beta"]}
    cases: list[tuple[dict[str, str], int, str]] = [
        (beta, 401, "authentication_error"),
        ({**beta, "authorization": "Bearer"}, 401, "authentication_error"),
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
        (
            "agents",
            {
                "model": "m",
                "name": "x",
                "tools": [{**LOOKUP, "input_schema": {"type": "object", "title": 1}}],
            },
            "input_schema.title",
        ),
        ("agents", {"model": "m", "name": "x", "metadata": {"k": 1}}, "metadata.k"),
        ("agents", {"model": "m", "name": ""}, "name"),
        ("agents", {"model": "m", "name": "x", "betas": []}, "betas"),
        (
            "environments",
            {
                "name": "e",
                "config": {"type": "cloud", "networking": {"type": "limited"}, "packages": {"pip": ["x"]}},
            },
            "allow_package_managers",
        ),
        ("environments", {"name": "e", "config": {"type": "moon"}}, "config"),
        ("sessions", {"agent": "a"}, "environment_id: Field required"),
        ("vaults", {"display_name": 1}, "display_name"),
    ],
)
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


async def test_memory_stores_and_their_memories(service: Service) -> None:
    beta = service.client.beta
    store = await beta.memory_stores.create(
        name="Lessons learnt", description="Old faults.", metadata={"a": "b"}
    )
    BetaManagedAgentsMemoryStore.model_validate(store.model_dump(), strict=True)
    changed = await beta.memory_stores.update(store.id, description="", metadata={"a": None, "c": "d"})
    assert (changed.description, changed.metadata) == ("", {"c": "d"})
    assert [one.id for one in (await beta.memory_stores.list()).data] == [store.id]
    memory = await beta.memory_stores.memories.create(store.id, path="/rounding.md", content="Round once.")
    BetaManagedAgentsMemory.model_validate(memory.model_dump(), strict=True)
    with pytest.raises(anthropic.ConflictError):
        await beta.memory_stores.memories.create(store.id, path="/rounding.md", content="Twice.")
    found = await beta.memory_stores.memories.retrieve(memory.id, memory_store_id=store.id)
    assert found.content == "Round once."
    session = await service.session(
        resources=[{"type": "memory_store", "memory_store_id": store.id, "access": "read_only"}]
    )
    (mounted,) = session.resources
    assert (mounted.mount_path, mounted.access) == ("/mnt/memory/lessons-learnt", "read_only")
    await beta.memory_stores.archive(store.id)
    with pytest.raises(anthropic.BadRequestError, match="archived"):
        await service.session(resources=[{"type": "memory_store", "memory_store_id": store.id}])
    with pytest.raises(anthropic.BadRequestError, match="archived"):
        await beta.memory_stores.update(store.id, name="x")
    assert (await beta.memory_stores.list()).data == []
    assert (await beta.memory_stores.delete(store.id)).type == "memory_store_deleted"
    with pytest.raises(anthropic.NotFoundError):
        await beta.memory_stores.retrieve(store.id)


async def test_memory_stores_take_either_beta_header(service: Service) -> None:
    path = "/v1/memory_stores"
    for beta, status in (
        ("agent-memory-2026-07-22", 200),
        ("managed-agents-2026-04-01", 200),
        ("other", 404),
    ):
        answer = await service.admin.get(path, headers={"authorization": "Bearer x", "anthropic-beta": beta})
        assert answer.status_code == status, beta
