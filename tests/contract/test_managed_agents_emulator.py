"""The emulator against the SDK: every shape it answers is one of the SDK's own, strictly, and every
scenario behaves."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from agents_service import LOOKUP, TEXT, TOOLSET, Service, finish, of, served, tool
from anthropic.types.beta import (
    BetaEnvironment,
    BetaFileMetadata,
    BetaManagedAgentsAgent,
    BetaManagedAgentsSession,
    BetaManagedAgentsVault,
)
from anthropic.types.beta.sessions import BetaManagedAgentsSessionEvent, BetaManagedAgentsSessionThread
from anthropic.types.beta.vaults import BetaManagedAgentsCredential, BetaManagedAgentsCredentialValidation
from pydantic import BaseModel, ConfigDict, TypeAdapter

from sandbox.managed_agents.scenarios import SCENARIOS

REFERENCE = Path(__file__).parents[2] / ".." / "shared" / "reference" / "managed-agents-frames.json"
EVENT: TypeAdapter[Any] = TypeAdapter(BetaManagedAgentsSessionEvent, config=ConfigDict(strict=True))
REPOSITORY = {
    "type": "github_repository",
    "url": "https://github.com/acme/checkout",
    "authorization_token": "t0",
}


@pytest.fixture
async def service() -> AsyncIterator[Service]:
    async with served() as running:
        yield running


async def raw(service: Service, path: str) -> Any:
    headers = {"authorization": "Bearer emu", "anthropic-beta": "managed-agents-2026-04-01"}
    answer = await service.admin.get(path, headers=headers)
    assert answer.status_code == 200, answer.text
    body: Any = answer.json()
    return body


def exact(model: type[BaseModel], body: dict[str, Any]) -> None:
    """The body is the model, with nothing unknown at its top and nothing missing."""
    model.model_validate_json(json.dumps(body), strict=True)
    assert body.keys() == model.model_fields.keys() - ({"on_behalf_of"} - body.keys())


async def checked_history(service: Service, session_id: str) -> list[dict[str, Any]]:
    """All events as they are on the wire, each one checked against the SDK's union."""
    body = await raw(service, f"/v1/sessions/{session_id}/events")
    for event in body["data"]:
        read = EVENT.validate_json(json.dumps(event))
        assert read.type == event["type"]
        assert type(read).model_fields["type"].annotation.__args__ == (event["type"],)
        assert event.keys() <= type(read).model_fields.keys(), event
    stamps = [event["processed_at"] for event in body["data"] if event["processed_at"]]
    assert stamps == sorted(set(stamps)), "processed_at rises from event to event"
    events: list[dict[str, Any]] = body["data"]
    return events


# Shapes.


async def test_every_object_is_the_sdks_own_shape(service: Service) -> None:
    agent = await service.agent(
        tools=[
            {**TOOLSET, "configs": [{"name": "bash", "permission_policy": {"type": "always_ask"}}]},
            LOOKUP,
        ]
    )
    session = await service.session(agent=agent.id, resources=[REPOSITORY], title="t", metadata={"job": "1"})
    vault = await service.client.beta.vaults.create(display_name="ada")
    auth: Any = {"type": "static_bearer", "token": "s3cret", "mcp_server_url": "https://mcp.example.com"}
    credential = await service.client.beta.vaults.credentials.create(vault.id, auth=auth)
    file = await service.client.beta.files.upload(file=("a.csv", b"x,y\r\n1,2\r\n"))
    thread = (await service.client.beta.sessions.threads.list(session.id)).data[0]

    exact(BetaManagedAgentsAgent, await raw(service, f"/v1/agents/{agent.id}"))
    exact(BetaEnvironment, await raw(service, f"/v1/environments/{session.environment_id}"))
    exact(BetaManagedAgentsSession, await raw(service, f"/v1/sessions/{session.id}"))
    exact(
        BetaManagedAgentsSessionThread, await raw(service, f"/v1/sessions/{session.id}/threads/{thread.id}")
    )
    exact(BetaManagedAgentsVault, await raw(service, f"/v1/vaults/{vault.id}"))
    renewable: Any = {
        "type": "mcp_oauth",
        "access_token": "s3cret",
        "mcp_server_url": "https://mcp2.example.com",
    }
    oauth = await service.client.beta.vaults.credentials.create(vault.id, auth=renewable)
    tried = await service.client.beta.vaults.credentials.mcp_oauth_validate(oauth.id, vault_id=vault.id)
    exact(BetaManagedAgentsCredentialValidation, tried.model_dump(mode="json"))
    shown = await raw(service, f"/v1/vaults/{vault.id}/credentials/{credential.id}")
    exact(BetaManagedAgentsCredential, shown)
    assert "s3cret" not in json.dumps(shown)
    exact(BetaFileMetadata, await raw(service, f"/v1/files/{file.id}"))


async def test_bodies_have_the_fields_of_the_recorded_ones(service: Service) -> None:
    if not REFERENCE.exists():
        pytest.skip("the recorded frames are not beside the repository")
    recorded = json.loads(REFERENCE.read_text())
    session = await service.session(tools=[TOOLSET], resources=[REPOSITORY])
    ours = await raw(service, f"/v1/sessions/{session.id}")
    assert ours.keys() == recorded["session"].keys()
    assert ours["agent"].keys() == recorded["session"]["agent"].keys()
    assert ours["resources"][0].keys() == recorded["session"]["resources"][0].keys()
    environment = await raw(service, f"/v1/environments/{session.environment_id}")
    assert environment.keys() == recorded["environment"].keys()
    agent = await raw(service, f"/v1/agents/{session.agent.id}")
    assert agent.keys() == recorded["agent"].keys()


async def test_events_have_the_fields_of_the_recorded_frames(service: Service) -> None:
    if not REFERENCE.exists():
        pytest.skip("the recorded frames are not beside the repository")
    recorded: dict[str, set[str]] = {}
    for frame in json.loads(REFERENCE.read_text())["frames"]:
        recorded.setdefault(frame["type"], set()).update(frame)
    kinds: set[str] = set()
    for scenario in ("work", "transient", "terminal", "refusal", "ask", "exhausted"):
        session = await service.session(tools=[TOOLSET, LOOKUP], resources=[REPOSITORY])
        await service.say(session.id, f"Fix it [sandbox: scenario={scenario}]")
        await finish(service, session.id)
        for event in await checked_history(service, session.id):
            kinds.add(event["type"])
            assert event.keys() <= recorded[event["type"]] | {"session_thread_id", "usage", "speed"}, event
    assert len(kinds) >= 17


ENDLESS = {"silent", "stuck"}


@pytest.mark.parametrize("scenario", sorted(SCENARIOS.keys() - ENDLESS))
async def test_every_scenario_emits_only_events_the_sdk_knows(service: Service, scenario: str) -> None:
    budget = {"type": "limit", "max_list_cost": {"amount": "500", "currency": "USD"}}
    tools = [TOOLSET, LOOKUP, tool("comment", text=TEXT)]
    session = await service.session(tools=tools, resources=[REPOSITORY], budget=budget)
    await service.say(session.id, f"Fix it [sandbox: scenario={scenario} seconds=0.02]")
    ended = await finish(service, session.id)
    events = await checked_history(service, session.id)
    kinds = [event["type"] for event in events]
    for place, kind in enumerate(kinds):
        if kind == "session.status_idle":
            assert kinds[place - 1] == "session.usage", "usage comes right before every idle"
    assert len(of(ended, "span.model_request_start")) == len(of(ended, "span.model_request_end"))
    exact(BetaManagedAgentsSession, await raw(service, f"/v1/sessions/{session.id}"))


async def test_called_agents_and_judgements_have_the_sdks_own_shape(service: Service) -> None:
    tester = await service.agent(name="Tester")
    roster = {"type": "enabled", "predefined_agents": [tester.id]}
    advisor = {"type": "enabled", "model": "claude-opus-5-5"}
    lead = await service.agent(
        name="Lead", multiagent={"type": "multiagent_20261001", "subagents": roster, "advisor": advisor}
    )
    session = await service.session(agent=lead.id)
    rubric = {"type": "text", "content": "It has three sections"}
    words = "Look [sandbox: scenario=team grades=needs_revision,satisfied]"
    outcome = {"type": "user.define_outcome", "description": "A report", "rubric": rubric}
    await service.send(
        session.id, outcome, {"type": "user.message", "content": [{"type": "text", "text": words}]}
    )
    await finish(service, session.id)
    events = await checked_history(service, session.id)
    exact(BetaManagedAgentsSession, await raw(service, f"/v1/sessions/{session.id}"))
    threads = (await raw(service, f"/v1/sessions/{session.id}/threads"))["data"]
    assert len(threads) == 3
    for thread in threads:
        exact(BetaManagedAgentsSessionThread, thread)
        inner = await raw(service, f"/v1/sessions/{session.id}/threads/{thread['id']}/events")
        for event in inner["data"]:
            EVENT.validate_json(json.dumps(event))
    if REFERENCE.exists():
        recorded: dict[str, set[str]] = {}
        for frame in json.loads(REFERENCE.read_text())["frames"]:
            recorded.setdefault(frame["type"], set()).update(frame)
        for event in events:
            assert event.keys() <= recorded[event["type"]] | {"session_thread_id", "usage", "speed"}, event
    kinds = {event["type"] for event in events}
    assert kinds >= {
        "session.thread_created",
        "agent.thread_message_sent",
        "agent.thread_message_received",
        "span.outcome_evaluation_start",
        "span.outcome_evaluation_ongoing",
        "span.outcome_evaluation_end",
    }
