"""The sandbox's webhooks of Managed Agents: thin, signed as Standard Webhooks, at least once, three times at most."""

from __future__ import annotations

import asyncio
import base64
import socket
from collections import Counter
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any, Final

import orjson
import pytest
from anthropic import AsyncAnthropic
from standardwebhooks.webhooks import Webhook
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from hub.server import serving
from sandbox.managed_agents.webhooks import told_of
from sandbox.server import Sandbox, serve
from sandbox.vendor.acts import Acts
from sandbox.vendor.admin import tell

KEY: Final = "whsec_" + base64.b64encode(b"an invented signing key").decode()
TOOLSET: Final[dict[str, Any]] = {"type": "agent_toolset_20260401"}


@dataclass
class Receiver:
    """Whoever subscribed. It proves each webhook with the reference library before it looks at it."""

    url: str = ""
    answers: list[int] = field(default_factory=list)
    """Statuses of the next answers; 204 when there are none left."""
    got: list[dict[str, Any]] = field(default_factory=list)

    async def take(self, request: Request) -> Response:
        body = (await request.body()).decode()
        Webhook(KEY).verify(body, dict(request.headers))
        event = orjson.loads(body)
        assert request.headers["webhook-id"] == event["id"]
        self.got.append(event)
        return Response(status_code=self.answers.pop(0) if self.answers else 204)

    @property
    def told(self) -> Counter[str]:
        """How often each type came."""
        return Counter(event["data"]["type"] for event in self.got)

    async def until(self, met: Callable[[Counter[str]], bool]) -> None:
        async with asyncio.timeout(10):
            while not met(self.told):
                await asyncio.sleep(0.01)


@dataclass
class Scene:
    sandbox: Sandbox
    receiver: Receiver
    client: AsyncAnthropic

    async def session(self, words: str, **more: Any) -> str:
        """A session that was told to do something."""
        agent = await self.client.beta.agents.create(
            model="claude-sonnet-5-5",
            name="helper",
            tools=[TOOLSET],  # type: ignore[list-item]  # a plain dict
        )
        environment = await self.client.beta.environments.create(name="plain", config={"type": "cloud"})
        made = await self.client.beta.sessions.create(agent=agent.id, environment_id=environment.id, **more)
        await self.client.beta.sessions.events.send(
            made.id, events=[{"type": "user.message", "content": [{"type": "text", "text": words}]}]
        )
        return made.id


@asynccontextmanager
async def scene(**hook: Any) -> AsyncIterator[Scene]:
    receiver = Receiver()
    app = Starlette(routes=[Route("/hook", receiver.take, methods=["POST"])])
    with socket.create_server(("127.0.0.1", 0)) as listener:
        async with asyncio.TaskGroup() as tasks, serving(app, listener) as server:
            serves = tasks.create_task(server.serve(sockets=[listener]))
            async with serve(pace=0.0) as sandbox:
                assert sandbox.world.agents is not None
                sandbox.world.agents.settings.webhook_retry = 0.02
                url = f"http://127.0.0.1:{listener.getsockname()[1]}/hook"
                if hook.pop("subscribed", True):
                    sandbox.world.post.add_hook("anthropic", url, KEY, **hook)
                async with AsyncAnthropic(
                    auth_token="emu", base_url=sandbox.anthropic_url, max_retries=0
                ) as client:
                    yield Scene(sandbox, receiver, client)
            server.should_exit = True
            await serves


def test_names_of_events_and_of_webhooks_differ() -> None:
    assert list(told_of({"type": "agent.message"})) == []
    idle = {"type": "session.status_idle", "stop_reason": {"type": "end_turn"}}
    assert list(told_of(idle)) == [("session.status_idled", {})]
    stopped = {**idle, "stop_reason": {"type": "budget_reached"}}
    assert list(told_of(stopped)) == [("session.status_idled", {}), ("session.budget_reached", {})]
    thread = {"type": "session.thread_status_idle", "session_thread_id": "sthr_1"}
    assert list(told_of(thread)) == [("session.thread_idled", {"session_thread_id": "sthr_1"})]


async def test_a_session_is_told_of_thinly() -> None:
    async with scene() as found:
        session = await found.session("[sandbox: scenario=happy] Do it.")
        await found.receiver.until(lambda told: told["session.status_idled"] == 1)
        for event in found.receiver.got:
            assert set(event) == {"type", "id", "created_at", "data"}
            assert set(event["data"]) <= {
                "type",
                "id",
                "organization_id",
                "workspace_id",
                "session_thread_id",
            }
            assert event["data"]["id"] == session
        assert found.receiver.told["session.created"] == 1
        assert found.receiver.told["session.status_run_started"] == 1
        await found.client.beta.sessions.archive(session)
        await found.receiver.until(lambda told: told["session.status_terminated"] == 1)


async def test_a_budget_that_is_reached_is_told_beside_the_idle() -> None:
    budget = {"type": "limit", "max_list_cost": {"amount": "500", "currency": "USD"}}
    async with scene() as found:
        await found.session("[sandbox: scenario=budget] Do it.", budget=budget)
        await found.receiver.until(lambda told: told["session.budget_reached"] == 1)


async def test_vaults_and_credentials() -> None:
    async with scene() as found:
        vault = await found.client.beta.vaults.create(display_name="tools")
        made = await found.client.beta.vaults.credentials.create(
            vault.id,
            auth={"type": "static_bearer", "mcp_server_url": "https://mcp.example.com", "token": "x"},
        )
        await tell(found.sandbox.world, Acts(found.sandbox.world).anthropic_refresh_failed(vault.id, made.id))
        await found.client.beta.vaults.credentials.archive(made.id, vault_id=vault.id)
        await found.client.beta.vaults.delete(vault.id)
        await found.receiver.until(lambda told: told.total() == 5)
        credential = [one["data"] for one in found.receiver.got if one["data"]["id"] == made.id]
        assert {one["type"].partition(".")[2] for one in credential} == {
            "created",
            "refresh_failed",
            "archived",
        }
        assert {one["vault_id"] for one in credential} == {vault.id}


@pytest.mark.parametrize(("answers", "tries"), [([503], 2), ([503, 503, 503], 3)])
async def test_what_is_not_taken_comes_again_and_is_dropped_after_three(
    answers: list[int], tries: int
) -> None:
    async with scene() as found:
        found.receiver.answers = answers
        vault = await found.client.beta.vaults.create(display_name="tools")
        await found.receiver.until(lambda told: told["vault.created"] == tries)
        await asyncio.sleep(0.2)
        assert found.receiver.told["vault.created"] == tries
        assert len({event["id"] for event in found.receiver.got}) == 1, "the same event"
        assert found.receiver.got[0]["data"]["id"] == vault.id


async def test_doubled_lost_and_nobody_there() -> None:
    async with scene(double=1.0) as found:
        await found.client.beta.vaults.create(display_name="tools")
        await found.receiver.until(lambda told: told["vault.created"] == 2)
    async with scene(drop=1.0) as found:
        await found.client.beta.vaults.create(display_name="tools")
        await asyncio.sleep(0.3)
        assert not found.receiver.got
        (attempt,) = found.sandbox.world.post.attempts
        assert attempt.lost, "and it is not tried again"
    async with scene(subscribed=False) as found:
        await found.client.beta.vaults.create(display_name="tools")
        assert not found.sandbox.world.post.attempts
