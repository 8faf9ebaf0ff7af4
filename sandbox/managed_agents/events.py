"""Routes of a session's events and of its one thread: send, list, stream."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final, get_args

from anthropic.types.beta.sessions import BetaManagedAgentsSessionEventType, EventSendParams
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from sandbox.managed_agents.errors import invalid, not_found
from sandbox.managed_agents.history import History
from sandbox.managed_agents.http import body_of, reply
from sandbox.managed_agents.lookup import find_session
from sandbox.managed_agents.paging import Bounds, Cursor, Query, page
from sandbox.managed_agents.sending import send
from sandbox.managed_agents.session import STATUSES, Session
from sandbox.managed_agents.state import AgentsState
from sandbox.managed_agents.streams import EventStream
from sandbox.managed_agents.threads import Child, archive

TYPES: Final = frozenset(get_args(BetaManagedAgentsSessionEventType))
PREVIEWS: Final = frozenset({"agent.message", "agent.thinking"})
MOST: Final = 1_000


class Events:
    """The events of one state's sessions."""

    def __init__(self, state: AgentsState) -> None:
        self._state = state

    def routes(self) -> list[Route]:
        """Events and threads below `/v1/sessions/{id}`."""
        one = "/v1/sessions/{session_id}"
        thread = one + "/threads/{thread_id}"
        return [
            Route(f"{one}/events", self.send, methods=["POST"]),
            Route(f"{one}/events", self.list_all, methods=["GET"]),
            Route(f"{one}/events/stream", self.stream, methods=["GET"]),
            Route(f"{one}/threads", self.threads, methods=["GET"]),
            Route(thread, self.thread, methods=["GET"]),
            Route(f"{thread}/archive", self.archive_thread, methods=["POST"]),
            Route(f"{thread}/events", self.thread_events, methods=["GET"]),
            Route(f"{thread}/stream", self.thread_stream, methods=["GET"]),
        ]

    async def send(self, request: Request) -> Response:
        """POST …/events."""
        session = find_session(self._state, request)
        body = await body_of(request, EventSendParams)
        return reply({"data": send(self._state, session, body["events"])})

    async def list_all(self, request: Request) -> Response:
        """GET …/events: all that ever happened, in order of processing; what is queued comes last."""
        query = Query(request, known=("created_at", "order", "types"))
        return reply(_events(find_session(self._state, request).history, query))

    async def stream(self, request: Request) -> Response:
        """GET …/events/stream: what happens from now on."""
        query = Query(request, known=("event_deltas",))
        return self._open(find_session(self._state, request).history, query)

    async def threads(self, request: Request) -> Response:
        """GET …/threads: the primary one, and those of called agents."""
        query = Query(request, known=("statuses",))
        session = find_session(self._state, request)
        statuses = query.many("statuses", among=STATUSES)
        every = [
            session.thread(lag=self._state.settings.status_lag),
            *(one.as_dict() for one in session.children),
        ]
        found = [one for one in reversed(every) if statuses is None or one["status"] in statuses]
        return reply(page(found, limit=query.limit(default=100, most=1_000), cursor=query.cursor("desc")))

    async def thread(self, request: Request) -> Response:
        """GET …/threads/{id}."""
        session, child = self._with_thread(request)
        return reply(child.as_dict() if child else session.thread(lag=self._state.settings.status_lag))

    async def archive_thread(self, request: Request) -> Response:
        """POST …/threads/{id}/archive: the primary thread lives as long as its session."""
        session, child = self._with_thread(request)
        if child is not None:
            if child.archived_at is None:
                archive(session.history, child)
            return reply(child.as_dict())
        raise invalid(f"Thread `{session.thread_id}` is the primary thread; archive the session instead")

    async def thread_events(self, request: Request) -> Response:
        """GET …/threads/{id}/events."""
        session, child = self._with_thread(request)
        return reply(_events(child.history if child else session.history, Query(request, known=())))

    async def thread_stream(self, request: Request) -> Response:
        """GET …/threads/{id}/stream."""
        session, child = self._with_thread(request)
        history = child.history if child else session.history
        return self._open(history, Query(request, known=("event_deltas",)))

    def _open(self, history: History, query: Query) -> Response:
        deltas = query.many("event_deltas", among=PREVIEWS) or frozenset()
        return EventStream(history, deltas=deltas, settings=self._state.settings)

    def _with_thread(self, request: Request) -> tuple[Session, Child | None]:
        """The session, and its child of that id; None for its primary thread."""
        session, identifier = find_session(self._state, request), request.path_params["thread_id"]
        if identifier == session.thread_id:
            return session, None
        for child in session.children:
            if child.id == identifier:
                return session, child
        raise not_found("Session thread", identifier)


def _events(history: History, query: Query) -> dict[str, Any]:
    order = query.order(default="asc")
    limit = query.limit(default=MOST, most=MOST)
    cursor = query.cursor(order)
    types = query.many("types", among=TYPES)
    bounds = query.bounds()
    every = [*history.events, *history.queue]
    found: list[dict[str, Any]] = []
    following: int | None = None
    for place in _places(len(every), cursor, ascending=order == "asc"):
        event = every[place]
        if (types is not None and event["type"] not in types) or not _within(event, bounds):
            continue
        if len(found) == limit:
            following = place
            break
        found.append(event)
    next_page = None if following is None else str(Cursor(order=order, position=following))
    return {"data": found, "next_page": next_page}


def _places(count: int, cursor: Cursor | None, *, ascending: bool) -> Iterator[int]:
    """Positions in the history, from the cursor on; a position keeps its event however the history grows."""
    if ascending:
        return iter(range(cursor.position if cursor else 0, count))
    return iter(range(min(cursor.position, count - 1) if cursor else count - 1, -1, -1))


def _within(event: dict[str, Any], bounds: Bounds) -> bool:
    if not bounds.limits:
        return True
    return event["processed_at"] is not None and bounds.hold_stamp(event["processed_at"])
