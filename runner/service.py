"""The Managed Agents service as the runner speaks it: the SDK with its own retries off, errors sorted into three.

The SDK has no idempotency key and would repeat a create that had succeeded (managed-agents reference §4), so it never
retries here. This module decides nothing about runs.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from typing import Any, Final, TypeVar

import anthropic
import httpx2
from anthropic import AsyncAnthropic, AsyncStream
from anthropic.types.beta import BetaManagedAgentsSession

from runner.permits import Permits

T = TypeVar("T")

CALL_SECONDS: Final = 60.0
STREAM_READ_SECONDS: Final = 120.0
"""Silence after which a stream is taken for dead. Heartbeats come more often; a false alarm costs one reconnect."""
CLOCK_SKEW_SECONDS: Final = 120.0
LIST_LIMIT: Final = 100
RUN_KEY: Final = "triggerhub_run"
"""Metadata key that joins a session to its run. Changing it breaks the finding of sessions after a crash."""


class ServiceError(Exception):
    """Base. The text is safe to store and to show."""


class RefusedError(ServiceError):
    """Permanent: the request will never be accepted."""

    def __init__(self, message: str, *, status: int) -> None:
        super().__init__(message)
        self.status = status

    @property
    def gone(self) -> bool:
        """The session is archived, deleted or never was: only a replacement helps."""
        text = str(self).lower()
        return self.status == httpx2.codes.NOT_FOUND or (
            self.status == httpx2.codes.BAD_REQUEST and ("archived" in text or "does not exist" in text or "terminated" in text)
        )

    @property
    def blocked(self) -> bool:
        """The session waits for tool results: a message is not accepted before an interrupt."""
        return self.status == httpx2.codes.BAD_REQUEST and "waiting on responses" in str(self).lower()

    @property
    def over_budget(self) -> bool:
        """The session stands at its cap."""
        return self.status == httpx2.codes.BAD_REQUEST and "budget" in str(self).lower()


class BusyError(ServiceError):
    """Nothing was done; come back later."""

    def __init__(self, message: str, *, retry_after: float | None) -> None:
        super().__init__(message)
        self.retry_after = retry_after


class UncertainError(ServiceError):
    """It may have been done or not: look before doing it again."""


class Service:
    """One client for all runs of a process."""

    def __init__(self, client: AsyncAnthropic, permits: Permits) -> None:
        self._client = client
        self._permits = permits

    # Agents and environments ----------------------------------------------------------------------------------------

    async def create_agent(self, params: Mapping[str, Any]) -> Any:
        return await self._create("create an agent", lambda: self._client.beta.agents.create(**params))

    async def update_agent(self, agent_id: str, params: Mapping[str, Any]) -> Any:
        return await self._call("update an agent", lambda: self._client.beta.agents.update(agent_id, **params))

    async def archive_agent(self, agent_id: str) -> Any:
        return await self._call("archive an agent", lambda: self._client.beta.agents.archive(agent_id))

    async def list_agents(self) -> list[Any]:
        return await self._pages("list agents", lambda page: self._client.beta.agents.list(limit=LIST_LIMIT, **page))

    async def create_environment(self, params: Mapping[str, Any]) -> Any:
        return await self._create("create an environment", lambda: self._client.beta.environments.create(**params))

    async def update_environment(self, environment_id: str, params: Mapping[str, Any]) -> Any:
        return await self._call(
            "update an environment", lambda: self._client.beta.environments.update(environment_id, **params)
        )

    async def list_environments(self) -> list[Any]:
        return await self._pages(
            "list environments", lambda page: self._client.beta.environments.list(limit=LIST_LIMIT, **page)
        )

    # Sessions -------------------------------------------------------------------------------------------------------

    async def create_session(self, params: Mapping[str, Any]) -> BetaManagedAgentsSession:
        """Create one session, empty. Raises UncertainError when it may exist all the same."""
        return await self._create("create a session", lambda: self._client.beta.sessions.create(**params))

    async def find_sessions(self, run_id: str, *, agent_id: str, since: float) -> list[BetaManagedAgentsSession]:
        """Sessions that carry this run in their metadata, the oldest first. `since`: seconds since the epoch."""
        earliest = datetime.fromtimestamp(since - CLOCK_SKEW_SECONDS, UTC)
        sessions = await self._pages(
            "list sessions",
            lambda page: self._client.beta.sessions.list(
                agent_id=agent_id,
                created_at_gte=earliest,
                order="asc",
                include_archived=True,
                limit=LIST_LIMIT,
                **page,
            ),
        )
        return [session for session in sessions if (session.metadata or {}).get(RUN_KEY) == run_id]

    async def recent_sessions(self, *, since: float) -> list[BetaManagedAgentsSession]:
        """All sessions of the workspace since then that are not archived; those of others are among them."""
        return await self._pages(
            "list sessions",
            lambda page: self._client.beta.sessions.list(
                created_at_gte=datetime.fromtimestamp(since, UTC), order="asc", limit=LIST_LIMIT, **page
            ),
        )

    async def retrieve_session(self, session_id: str) -> BetaManagedAgentsSession:
        await self._permits.take("reads")
        return await self._call("read a session", lambda: self._client.beta.sessions.retrieve(session_id))

    async def archive_session(self, session_id: str) -> None:
        await self._call("archive a session", lambda: self._client.beta.sessions.archive(session_id))

    async def set_budget(self, session_id: str, cents: int) -> None:
        """Raise the session's cap to this many cents in all."""
        budget = {"type": "limit", "max_list_cost": {"amount": str(cents), "currency": "USD"}}
        await self._call(
            "raise a session's budget",
            lambda: self._client.beta.sessions.update(session_id, budget=budget),  # type: ignore[arg-type]  # a TypedDict
        )

    # Events ---------------------------------------------------------------------------------------------------------

    async def send(self, session_id: str, events: Iterable[Mapping[str, Any]]) -> list[Any]:
        """Send events; return the echoes, which carry the server's ids."""
        sent = await self._call(
            "send events to a session",
            lambda: self._client.beta.sessions.events.send(session_id, events=list(events)),  # type: ignore[arg-type]
        )
        return list(sent.data or [])

    async def list_events(self, session_id: str, *, types: Sequence[str] | None = None) -> list[Any]:
        """The whole history, oldest first. Raises rather than returning a part of it."""
        query: dict[str, Any] = {"types": list(types)} if types else {}
        return await self._pages(
            "list a session's events",
            lambda page: self._client.beta.sessions.events.list(session_id, order="asc", **query, **page),
        )

    @asynccontextmanager
    async def stream(self, session_id: str) -> AsyncIterator[AsyncStream[Any]]:
        """Events from now on. What happened before is only in `list_events`. Raises ServiceError for a bad start."""
        await self._permits.take("reads")
        timeout = httpx2.Timeout(STREAM_READ_SECONDS, connect=10.0)
        stream = await self._call(
            "open a session's stream",
            lambda: self._client.beta.sessions.events.stream(session_id, timeout=timeout),
        )
        try:
            yield stream
        finally:
            await stream.close()

    # ----------------------------------------------------------------------------------------------------------------

    async def _create(self, what: str, call: Any) -> Any:
        await self._permits.take("creates")
        return await self._call(what, call)

    async def _pages(self, what: str, request: Any) -> list[Any]:
        found: list[Any] = []
        page: dict[str, str] = {}
        while True:
            await self._permits.take("reads")
            result = await self._call(what, lambda page=page: request(page))
            found.extend(result.data or [])
            if not result.next_page:
                return found
            page = {"page": result.next_page}

    async def _call(self, what: str, call: Any) -> Any:
        awaitable: Awaitable[Any] = call()
        try:
            async with asyncio.timeout(CALL_SECONDS):
                return await awaitable
        except (anthropic.APIError, httpx2.HTTPError, TimeoutError) as error:
            raise sort_error(what, error) from None


def make_client(*, api_key: str, base_url: str | None, max_connections: int) -> AsyncAnthropic:
    """A client without retries. `api_key` is explicit, so that no other credential on the machine is picked up."""
    limits = httpx2.Limits(max_connections=max_connections, max_keepalive_connections=50)
    return AsyncAnthropic(
        api_key=api_key,
        base_url=base_url,
        max_retries=0,
        http_client=httpx2.AsyncClient(limits=limits, timeout=httpx2.Timeout(60.0, connect=10.0, pool=60.0)),
    )


def sort_error(what: str, error: BaseException) -> ServiceError:
    """Which of the three it is (managed-agents reference §2 and §4)."""
    if isinstance(error, anthropic.APIStatusError):
        status = error.status_code
        detail = getattr(error, "api_message", None) or str(error)
        text = f"{what}: {status} {detail}"[:500]
        if status == httpx2.codes.TOO_MANY_REQUESTS or (status == 529):  # noqa: PLR2004 - the service's "overloaded"
            return BusyError(text, retry_after=_retry_after(error.response.headers.get("retry-after")))
        if status in {408, 409} or status >= httpx2.codes.INTERNAL_SERVER_ERROR or status < httpx2.codes.BAD_REQUEST:
            return UncertainError(text)
        return RefusedError(text, status=status)
    if isinstance(error, anthropic.APIConnectionError):
        cause = error.__cause__
        if isinstance(cause, httpx2.ConnectError | httpx2.ConnectTimeout | httpx2.PoolTimeout):
            return BusyError(f"{what}: no connection ({type(cause).__name__})", retry_after=None)
        return UncertainError(f"{what}: the answer was lost ({type(cause or error).__name__})")
    if isinstance(error, httpx2.HTTPError | TimeoutError):
        return UncertainError(f"{what}: the answer was lost ({type(error).__name__})")
    return UncertainError(f"{what}: {type(error).__name__}")


def _retry_after(value: str | None) -> float | None:
    try:
        return max(0.0, float(value)) if value else None
    except ValueError:
        return None
