"""The service's own webhooks, end to end: signed, stored, routed to the run that waits; forged, doubled, foreign."""

from __future__ import annotations

import asyncio
import base64
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final, TypeVar

import httpx
import pytest
import yaml
from doorbell_webhooks import KEY, costly, told
from sqlalchemy import Connection, delete, select

from hub.configuration import load_configuration
from hub.hub import Hub, running_hub
from hub.parts import Makers
from hub.settings import Settings
from runner.client import make_client
from runner.timing import Timing
from runner.upkeep import LIMIT
from sandbox.server import Sandbox, serve
from sandbox.vendor.acts import Acts
from sandbox.vendor.admin import tell
from storage.credential_tables import CredentialFailure
from storage.rows import table
from storage.tables import RateUse, RunRow, VerdictRow

pytestmark = pytest.mark.timeout(120)
T = TypeVar("T")
SECRET: Final = "an-invented-webhook-secret"


@dataclass
class Place:
    """A hub that the service tells of its sessions."""

    hub: Hub
    sandbox: Sandbox

    async def ring(
        self, what: str, about: str, *, id_: str = "whe_1", key: str = KEY, **data: str
    ) -> httpx.Response:
        """Send a webhook as the service would."""
        headers, body = told(what, about, id_=id_, key=key, **data)
        async with httpx.AsyncClient(trust_env=False) as http:
            return await http.post(f"{self.hub.url}/hooks/acme-anthropic", headers=headers, content=body)

    async def run(self, status: str) -> dict[str, Any]:
        """The run, once it is in this status."""
        rows = table(RunRow)

        def find(connection: Connection) -> dict[str, Any] | None:
            found = connection.execute(select(rows)).mappings().one_or_none()
            return dict(found) if found is not None and found["status"] == status else None

        return await self.comes(find)

    async def reasons(self, count: int) -> list[str]:
        """What was said of the service's events, once there are so many."""
        rows = table(VerdictRow)

        def find(connection: Connection) -> list[str] | None:
            query = select(rows.c.reason).where(rows.c.clause == "session").order_by(rows.c.at)
            found = [str(one) for one in connection.execute(query).scalars()]
            return found if len(found) >= count else None

        return await self.comes(find)

    async def comes(self, find: Callable[[Connection], T | None]) -> T:
        """What `find` finds, once it finds anything."""
        async with asyncio.timeout(30):
            while not (found := await self.hub.database.read(find)):
                await asyncio.sleep(0.05)
        return found


@pytest.fixture
async def place(tmp_path: Path) -> AsyncIterator[Place]:
    async with placed(tmp_path) as made:
        yield made


@asynccontextmanager
async def placed(tmp_path: Path, *, timing: Timing | None = None) -> AsyncIterator[Place]:
    async with serve(pace=0.0) as sandbox:
        path = tmp_path / "triggerhub.yaml"
        path.write_text(
            yaml.safe_dump(costly(sandbox.api_url("github"))),
            encoding="utf-8",
        )
        settings = Settings.model_validate(
            {
                "config": path,
                "database_url": f"sqlite:///{tmp_path}/hub.db",
                "kafka_bootstrap_servers": None,
                "ANTHROPIC_API_KEY": "test-key",
                "ANTHROPIC_BASE_URL": sandbox.anthropic_url,
            }
        )
        environment = {"SECRET": SECRET, "TOKEN": "a-token", "KEY": KEY}
        makers = Makers(timing=timing or Timing())
        async with running_hub(
            settings, load_configuration(path), port=0, environment=environment, makers=makers
        ) as hub:
            sandbox.world.post.add_hook(
                "github", f"{hub.url}/hooks/acme-github", SECRET, place="acme/checkout"
            )
            yield Place(hub, sandbox)


async def begin(place: Place) -> dict[str, Any]:
    """A run that waits at its budget."""
    await tell(
        place.sandbox.world, Acts(place.sandbox.world).github_open("acme/checkout", title="A costly bug")
    )
    return await place.run("waiting")


async def raise_in_the_console(place: Place, session_id: str) -> None:
    """Somebody lets the session spend more, and does not tell the hub."""
    client = make_client(api_key="test-key", base_url=place.sandbox.anthropic_url, max_connections=2)
    cap: Any = {"type": "limit", "max_list_cost": {"amount": "900", "currency": "USD"}}
    await client.beta.sessions.update(session_id, budget=cap)
    await client.close()


def subscribe(place: Place, *, drop: float = 0.0, double: float = 0.0) -> None:
    """The service tells the hub of everything, by itself."""
    url = f"{place.hub.url}/hooks/acme-anthropic"
    place.sandbox.world.post.add_hook("anthropic", url, KEY, drop=drop, double=double)


async def test_a_webhook_of_the_service_wakes_the_run_that_waits(place: Place) -> None:
    """Sooner than anybody would have looked: upkeep comes by once a minute."""
    waiting = await begin(place)
    await raise_in_the_console(place, waiting["session_id"])
    began = time.monotonic()
    answer = await place.ring("session.updated", waiting["session_id"])
    assert answer.status_code == 202
    ended = await place.run("succeeded")
    assert ended["session_id"] == waiting["session_id"]
    assert time.monotonic() - began < 20
    (reason,) = await place.reasons(1)
    assert reason == f"it rings for {waiting['id']}, which looks at its session"


async def test_forged_doubled_and_foreign_webhooks_start_and_end_nothing(place: Place) -> None:
    waiting = await begin(place)
    other = "whsec_" + base64.b64encode(b"somebody else's key").decode()
    assert (await place.ring("session.updated", waiting["session_id"], key=other)).status_code == 401
    first = await place.ring("session.budget_reached", waiting["session_id"], id_="whe_2")
    again = await place.ring("session.budget_reached", waiting["session_id"], id_="whe_2")
    assert (first.status_code, again.status_code) == (202, 202)
    assert (await place.ring("session.status_idled", "sesn_foreign", id_="whe_3")).status_code == 202
    assert (await place.ring("session.created", waiting["session_id"], id_="whe_4")).status_code == 202
    reasons = await place.reasons(3)
    assert sorted(reasons) == [
        f"it rings for {waiting['id']}, which looks at its session",
        "no run here has this session: it is another program's, and is left alone",
        "session.created tells no run anything",
    ]
    assert (await place.run("waiting"))["id"] == waiting["id"]


async def test_a_session_that_was_ended_elsewhere_ends_its_run(place: Place) -> None:
    waiting = await begin(place)
    client = make_client(api_key="test-key", base_url=place.sandbox.anthropic_url, max_connections=2)
    await client.beta.sessions.archive(waiting["session_id"])
    await client.close()
    await place.ring("session.status_terminated", waiting["session_id"])
    assert "the session is" in (await place.run("failed"))["error"]


async def test_a_credential_that_cannot_be_renewed_is_written_down(place: Place) -> None:
    await place.ring("vault_credential.refresh_failed", "vcrd_1", vault_id="vlt_1")
    rows = table(CredentialFailure)
    found = await place.comes(lambda c: c.execute(select(rows.c.credential_id)).scalars().all())
    assert found == ["vcrd_1"]
    await place.ring("vault_credential.archived", "vcrd_1", id_="whe_2", vault_id="vlt_1")
    await place.comes(lambda c: not c.execute(select(rows.c.credential_id)).scalars().all())


async def test_what_the_service_tells_by_itself_twice_wakes_the_run_once(place: Place) -> None:
    subscribe(place, double=1.0)
    waiting = await begin(place)
    began = time.monotonic()
    await raise_in_the_console(place, waiting["session_id"])
    ended = await place.run("succeeded")
    assert time.monotonic() - began < Timing().upkeep / 2, "nobody waited for the upkeep"
    assert ended["session_id"] == waiting["session_id"]
    agents = place.sandbox.world.agents
    assert agents is not None
    assert [work.session_id for work in agents.work] == [waiting["session_id"]], "the work was told once"
    sent = [one for one in place.sandbox.world.post.attempts if one.webhook.event.startswith("session.")]
    assert {one.status for one in sent} <= {200, 202}, "a double is taken as well"
    assert sum(one.redelivery for one in sent) > 0


def another_minute(connection: Connection) -> None:
    """The upkeep may come by again: it does once in a minute, in whichever process."""
    rows = table(RateUse)
    connection.execute(delete(rows).where(rows.c.name == LIMIT))


async def test_without_any_webhook_the_upkeep_wakes_the_run(tmp_path: Path) -> None:
    """All of them are lost, and the service does not send what it gave up again."""
    async with placed(tmp_path, timing=replace(Timing(), upkeep=0.3)) as place:
        subscribe(place, drop=1.0)
        waiting = await begin(place)
        await raise_in_the_console(place, waiting["session_id"])
        await place.hub.database.write(another_minute)
        ended = await place.run("succeeded")
        assert ended["session_id"] == waiting["session_id"]
        told = [one for one in place.sandbox.world.post.attempts if one.webhook.event.startswith("session.")]
        assert told
        assert all(one.lost for one in told)
