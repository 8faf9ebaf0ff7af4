"""`GET /v1/sessions`: every filter, either order, cursors in both directions. Cost follows the page, not
the store."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from datetime import UTC, datetime, timedelta
from typing import Any, Final

from starlette.requests import Request

from sandbox.managed_agents.paging import Cursor, Query
from sandbox.managed_agents.session import STATUSES, Session
from sandbox.managed_agents.state import AgentsState

FILTERS: Final = (
    "agent_id",
    "agent_version",
    "created_at",
    "deployment_id",
    "include_archived",
    "memory_store_id",
    "order",
    "statuses",
)
DEFAULT: Final = 20
MOST: Final = 100
EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)


def list_sessions(state: AgentsState, request: Request) -> dict[str, Any]:
    """One page. The cursor holds a creation time in microseconds, which no two sessions share."""
    query = Query(request, known=FILTERS)
    order = query.order(default="desc")
    limit = query.limit(default=DEFAULT, most=MOST)
    cursor = query.cursor(order)
    wanted = _filter(state, query)
    ascending = state.sessions_from(query.bounds().earliest)
    forwards = cursor is None or not cursor.backwards
    upwards = (order == "asc") == forwards
    walk: Iterable[Session] = ascending if upwards else reversed(ascending)
    found: list[Session] = []
    for session in walk:
        if cursor is not None and not _beyond(session, cursor.position, upwards=upwards):
            continue
        if wanted(session):
            found.append(session)
            if len(found) > limit:
                break
    more, found = len(found) > limit, found[:limit]
    if not forwards:
        found.reverse()
    has_next = more if forwards else bool(found)
    has_previous = (cursor is not None) if forwards else more
    lag = state.settings.status_lag
    return {
        "data": [session.as_dict(lag=lag) for session in found],
        "next_page": _cursor(order, found[-1:], backwards=False) if has_next else None,
        "prev_page": _cursor(order, found[:1], backwards=True) if has_previous else None,
    }


def _filter(state: AgentsState, query: Query) -> Callable[[Session], bool]:
    agent_id, version = query.one("agent_id"), query.number("agent_version")
    statuses = query.many("statuses", among=STATUSES)
    archived = query.flag("include_archived")
    nowhere = query.one("deployment_id") is not None or query.one("memory_store_id") is not None
    bounds, lag, hidden = query.bounds(), state.settings.status_lag, state.settings.list_lag

    def wanted(session: Session) -> bool:
        return not (
            nowhere
            or (session.archived_at is not None and not archived)
            or (agent_id is not None and session.agent["id"] != agent_id)
            or (version is not None and session.agent["version"] != version)
            or (statuses is not None and session.visible(lag) not in statuses)
            or (hidden and session.now() - session.born < hidden)
            or not bounds.hold(session.created_at)
        )

    return wanted


def _beyond(session: Session, position: int, *, upwards: bool) -> bool:
    at = _position(session)
    return at > position if upwards else at < position


def _position(session: Session) -> int:
    return (session.created_at - EPOCH) // timedelta(microseconds=1)


def _cursor(order: str, edge: list[Session], *, backwards: bool) -> str | None:
    return str(Cursor(order=order, position=_position(edge[0]), backwards=backwards)) if edge else None
