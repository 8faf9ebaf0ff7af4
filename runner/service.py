"""The Managed Agents service as the runner speaks it: the SDK with its own retries off, errors sorted into three.

The SDK has no idempotency key and would repeat a create that had succeeded (managed-agents reference §4), so it never
retries here. This module decides nothing about runs.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from functools import partial
from typing import Any, Final, cast

import anthropic
import httpx2
import orjson
from anthropic import AsyncAnthropic, AsyncStream
from anthropic.resources.beta import AsyncBeta
from anthropic.types.beta import BetaManagedAgentsSession

from runner.client import CALL_SECONDS, CONNECT_SECONDS, make_client
from runner.errors import BusyError, RefusedError, ServiceError, UncertainError, sort_error
from runner.permits import Permit, Permits

CLOCK_SKEW_SECONDS: Final = 120.0
LIST_LIMIT: Final = 100
RUN_KEY: Final = "triggerhub_run"
"""Metadata key that joins a session to its run. Changing it breaks the finding of sessions after a crash."""
RUNNING: Final = ("running", "rescheduling")
"""Session statuses in which it works, or will by itself."""


class Service:
    """One client for all runs of a process. Every method raises ServiceError."""

    def __init__(
        self, client: AsyncAnthropic, permits: Permits, *, call_seconds: float = CALL_SECONDS
    ) -> None:
        self._client = client
        self.permits = permits
        self._call_seconds = call_seconds
        """For one whole call. A stream is bounded only until it is open."""

    @property
    def beta(self) -> AsyncBeta:
        """The SDK's own tree of calls, for `call` and `pages` alone: they sort errors and keep the deadline."""
        return self._client.beta

    async def allow(self, permit: Permit) -> None:
        """Wait until one call of this kind is within the limits. Every method but `create_session` does so itself."""
        await self.permits.take(permit)

    # Agents and environments ----------------------------------------------------------------------------------------

    async def create_agent(self, params: Mapping[str, Any]) -> Any:
        """Create an agent. UncertainError: it may exist all the same."""
        await self.allow("creates")
        return await self.call("create an agent", lambda: self._client.beta.agents.create(**params))

    async def update_agent(self, agent_id: str, params: Mapping[str, Any]) -> Any:
        """Change an agent; it gets a new version where that changes anything."""
        return await self.call("update an agent", lambda: self._client.beta.agents.update(agent_id, **params))

    async def retrieve_agent(self, agent_id: str, *, version: int | None = None) -> Any:
        """That version of the agent, or the newest."""
        await self.allow("reads")
        chosen: dict[str, Any] = {} if version is None else {"version": version}
        return await self.call("read an agent", lambda: self._client.beta.agents.retrieve(agent_id, **chosen))

    async def archive_agent(self, agent_id: str) -> None:
        """Archive an agent, for good."""
        await self.call("archive an agent", lambda: self._client.beta.agents.archive(agent_id))

    async def list_agents(self) -> list[Any]:
        """All agents of the workspace that are not archived."""
        return await self.pages(
            "list agents", lambda page: self._client.beta.agents.list(limit=LIST_LIMIT, **page)
        )

    async def create_environment(self, params: Mapping[str, Any]) -> Any:
        """Create an environment. UncertainError: it may exist all the same, or its name is taken (409)."""
        await self.allow("creates")
        return await self.call(
            "create an environment", lambda: self._client.beta.environments.create(**params)
        )

    async def update_environment(self, environment_id: str, params: Mapping[str, Any]) -> Any:
        """Change an environment."""
        return await self.call(
            "update an environment", lambda: self._client.beta.environments.update(environment_id, **params)
        )

    async def retrieve_environment(self, environment_id: str) -> Any:
        """The environment."""
        await self.allow("reads")
        return await self.call(
            "read an environment", lambda: self._client.beta.environments.retrieve(environment_id)
        )

    async def list_environments(self) -> list[Any]:
        """All environments of the workspace that are not archived."""
        return await self.pages(
            "list environments", lambda page: self._client.beta.environments.list(limit=LIST_LIMIT, **page)
        )

    # Sessions -------------------------------------------------------------------------------------------------------

    async def create_session(self, params: Mapping[str, Any]) -> str:
        """Create one session, empty, and return its id. UncertainError: it may exist all the same.

        The caller has waited for its permit with `allow("creates")`, and may have been stopped while waiting.
        """
        what = "create a session"
        sessions = self._client.beta.sessions.with_raw_response
        made = _plain(what, await self.call(what, lambda: sessions.create(**params)))
        id_ = made.get("id")
        if not isinstance(id_, str):
            raise UncertainError(f"{what}: the answer has no id")
        return id_

    async def sessions_since(
        self, since: float, *, archived: bool = False, statuses: Sequence[str] = ()
    ) -> list[BetaManagedAgentsSession]:
        """The workspace's sessions made at `since` (seconds since the epoch) or later, the oldest first.

        Sessions of other programs are among them. `statuses`: only those in one of these.
        """
        query: dict[str, Any] = {"statuses": list(statuses)} if statuses else {}
        if archived:
            query["include_archived"] = True
        earliest = datetime.fromtimestamp(max(0.0, since - CLOCK_SKEW_SECONDS), UTC)
        return await self.pages(
            "list sessions",
            lambda page: self._client.beta.sessions.list(
                created_at_gte=earliest, order="asc", limit=LIST_LIMIT, **query, **page
            ),
        )

    async def retrieve_session(self, session_id: str) -> BetaManagedAgentsSession:
        """Status, usage, budget and resources of a session."""
        await self.allow("reads")
        session = await self.call("read a session", lambda: self._client.beta.sessions.retrieve(session_id))
        return cast("BetaManagedAgentsSession", session)

    async def archive_session(self, session_id: str) -> None:
        """Make a session read-only, for good. Refused while it runs."""
        await self.call("archive a session", lambda: self._client.beta.sessions.archive(session_id))

    async def set_budget(self, session_id: str, cents: int | None) -> None:
        """Set the session's cap to this many cents in all; None removes it."""
        cap: Any = None
        if cents is not None:
            cap = {"type": "limit", "max_list_cost": {"amount": str(cents), "currency": "USD"}}
        await self.call(
            "change a session's budget", lambda: self._client.beta.sessions.update(session_id, budget=cap)
        )

    async def rotate_token(self, session_id: str, resource_id: str, token: str) -> None:
        """Give a mounted repository a fresh token (managed-agents reference §1.9)."""
        await self.call(
            "replace a repository's token",
            lambda: self._client.beta.sessions.resources.update(
                resource_id, session_id=session_id, authorization_token=token
            ),
        )

    # Events ---------------------------------------------------------------------------------------------------------

    async def send(self, session_id: str, events: Iterable[Mapping[str, Any]]) -> list[Any]:
        """Send events; return the echoes, plain, with the server's ids. UncertainError: they may have arrived."""
        body: Any = list(events)
        what = "send events to a session"
        session_events = self._client.beta.sessions.events.with_raw_response
        sent = _plain(what, await self.call(what, lambda: session_events.send(session_id, events=body)))
        data = sent.get("data")
        return data if isinstance(data, list) else []

    async def interrupt(self, session_id: str) -> None:
        """Ask a session to stop. It does nothing to one that is idle."""
        await self.send(session_id, [{"type": "user.interrupt"}])

    async def list_events(self, session_id: str, *, types: Sequence[str] = ()) -> list[Any]:
        """The whole history, oldest first. Raises rather than returning a part of it."""
        query: dict[str, Any] = {"types": list(types)} if types else {}
        return await self.pages(
            "list a session's events",
            lambda page: self._client.beta.sessions.events.list(session_id, order="asc", **query, **page),
        )

    @asynccontextmanager
    async def stream(self, session_id: str, *, silence: float) -> AsyncIterator[AsyncIterator[Any]]:
        """Events from now on, as plain mappings. What happened before is only in `list_events`.

        `silence`: seconds without a byte after which it is taken for dead. Raises ServiceError for a bad start;
        iterating raises `anthropic.APIError`, `httpx2.HTTPError` or ValueError.
        """
        await self.allow("reads")
        timeout = httpx2.Timeout(silence, connect=CONNECT_SECONDS)
        stream = await self.call(
            "open a session's stream",
            lambda: self._client.beta.sessions.events.stream(session_id, timeout=timeout),
        )
        try:
            yield _plain_events(stream)
        finally:
            await stream.close()

    # ----------------------------------------------------------------------------------------------------------------

    async def pages(self, what: str, request: Callable[[Any], Any]) -> list[Any]:
        """Every item of a listing; `request` is given the parameters of each page."""
        found: list[Any] = []
        page: dict[str, str] = {}
        while True:
            await self.allow("reads")
            result = await self.call(what, partial(request, page))
            found.extend(getattr(result, "data", None) or [])
            following = getattr(result, "next_page", None)
            if not following:
                return found
            page = {"page": following}

    async def call(self, what: str, call: Callable[[], Any]) -> Any:
        """One call within the deadline, its errors sorted."""
        try:
            awaitable = call()
        except TypeError as error:
            # A field of the configuration that this SDK does not know.
            raise RefusedError(f"{what}: {error}"[:300], status=httpx2.codes.BAD_REQUEST) from None
        try:
            async with asyncio.timeout(self._call_seconds):
                answer = await awaitable
        except (anthropic.APIError, httpx2.HTTPError, TimeoutError, ValueError) as error:
            raise sort_error(what, error) from None
        if isinstance(answer, str):  # what the SDK makes of a 200 that is not JSON
            raise UncertainError(f"{what}: the answer is not JSON")
        return answer


def _plain(what: str, answer: Any) -> dict[str, Any]:
    """The body of a raw answer. The SDK's models of it cost more than sending the request, and few fields are read."""
    try:
        body = orjson.loads(answer.http_response.content)
    except orjson.JSONDecodeError:
        body = None
    if not isinstance(body, dict):
        raise UncertainError(f"{what}: the answer is no JSON object")
    return body


async def _plain_events(stream: AsyncStream[Any]) -> AsyncIterator[Any]:
    """The events as the service sends them. The SDK would try each against a union of all its types: with many sessions
    that costs more than everything else that is done with an event.
    """
    async for sent in AsyncStream.raw_events(stream.response):
        if sent.event == "error":
            raise anthropic.APIError("the stream reports an error", stream.response.request, body=None)
        if sent.data and sent.event not in {None, "ping"}:
            yield orjson.loads(sent.data)


def run_of(session: BetaManagedAgentsSession) -> str | None:
    """The run that made a session, where triggerhub made it."""
    return (getattr(session, "metadata", None) or {}).get(RUN_KEY)


def cap_of(session: Any) -> int | None:
    """The session's budget in cents; None where it has none."""
    amount = getattr(getattr(getattr(session, "budget", None), "max_list_cost", None), "amount", None)
    return int(amount) if isinstance(amount, str) and amount.isdigit() else None


def is_over(session: BetaManagedAgentsSession) -> bool:
    """True where a session takes no work any more."""
    return (
        getattr(session, "archived_at", None) is not None or getattr(session, "status", None) == "terminated"
    )


__all__ = [
    "RUNNING",
    "RUN_KEY",
    "BusyError",
    "RefusedError",
    "Service",
    "ServiceError",
    "UncertainError",
    "is_over",
    "make_client",
    "run_of",
    "sort_error",
]
