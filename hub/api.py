"""The JSON API under /api/v1, behind a bearer token unless it answers on loopback only. It reads, and does what operators
may do: to runs, approvals, events, dead letters and pauses.

Strict in what it takes. Every answer is a model of `hub.api_models`; errors are `{"error": …}` throughout.
"""

from __future__ import annotations

from typing import Annotated, Any, Final

from fastapi import APIRouter, Depends, FastAPI, Path, Query, Request
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer
from starlette.exceptions import HTTPException

from hub import api_views, approval_views, letter_views, run_views, spend_views
from hub.api_access import Access
from hub.api_errors import BASE, handlers, may
from hub.api_models import (
    BudgetView,
    CancelView,
    DeliveryPage,
    EventDetail,
    EventPage,
    LetterChange,
    LetterDetail,
    LetterPage,
    ReplayView,
    RuleList,
    RunDetail,
    RunPage,
    WorkerList,
)
from hub.api_requests import BudgetRequest, DropRequest, PauseRequest, ReplayRequest, ResumeRequest
from hub.api_views import EventFilter
from hub.approval_models import ApprovalDetail, ApprovalList, SaidView, SayRequest, VotedView, VoteRequest
from hub.letter_views import LetterFilter
from hub.run_views import RunFilter
from hub.settings import Settings
from hub.spend_models import PauseList, PauseView, ResumeView, SpendView
from router.subscriber import Rules
from storage.database import Database
from storage.queries import Position, decode_cursor
from storage.tables import ApprovalStatus, LetterStatus, RunStatus

MAX_PAGE: Final = 200
NAMES: Final = ("events", "runs", "approvals", "rules", "deliveries", "dead-letters", "workers", "pauses")
BY: Final = "api"
"""Who asked for a replay, as it is recorded: the API knows a token, no person."""

_NO_NUL: Final = r"^[^\u0000]+$"
"""PostgreSQL takes no NUL in a text, not even in a comparison."""
Id = Annotated[
    str,
    Path(
        min_length=1,
        max_length=200,
        pattern=_NO_NUL,
        description="The id, or an unmistakable beginning of it.",
    ),
]
Limit = Annotated[int, Query(ge=1, le=MAX_PAGE, description="Most items of one answer.")]
Cursor = Annotated[str | None, Query(max_length=400, description="`next_cursor` of the page before.")]
Text = Annotated[str | None, Query(min_length=1, max_length=500, pattern=_NO_NUL)]
Kind = Annotated[
    str | None,
    Query(pattern=r"^[a-z_]+(\.[a-z_]+|\.\*)?$", max_length=60, description="Exact, or such as `issue.*`."),
]
Outcome = Annotated[str | None, Query(pattern=r"^[a-z]+$", max_length=20)]

_bearer = HTTPBearer(
    auto_error=False, description="TRIGGERHUB_API_TOKEN. Not needed on loopback where none is set."
)


def build(database: Database, rules: Rules, settings: Settings, *, host: str) -> Any:
    """The ASGI application. `host` is the address that is listened on, for the remedy in refusals."""
    token = settings.api_token.get_secret_value() if settings.api_token is not None else None
    access = Access(token)
    app = FastAPI(
        title="triggerhub",
        version="1",
        description=f"Events, runs, rules, deliveries and dead letters of the hub that listens on {host}.",
        openapi_url=f"{BASE}/openapi.json",
        docs_url=None,  # their pages load scripts from other people's servers
        redoc_url=None,
        redirect_slashes=False,
        exception_handlers=handlers(),
    )

    async def door(
        request: Request,
        credentials: Annotated[HTTPAuthorizationCredentials | None, Depends(_bearer)],
    ) -> None:
        del credentials  # declared for the OpenAPI document; `Access` reads the header itself
        client = request.client.host if request.client else None
        refusal = access.refusal(client=client, headers=request.headers)
        if refusal is not None:
            raise HTTPException(401, refusal, headers={"WWW-Authenticate": "Bearer"})

    guarded = [Depends(door)]
    app.include_router(_events(database), prefix=BASE, dependencies=guarded)
    app.include_router(_runs(database), prefix=BASE, dependencies=guarded)
    app.include_router(_approvals(database), prefix=BASE, dependencies=guarded)
    app.include_router(_letters(database), prefix=BASE, dependencies=guarded)
    app.include_router(_pauses(database, rules), prefix=BASE, dependencies=guarded)
    app.include_router(_others(database, rules), prefix=BASE, dependencies=guarded)

    @app.get("/", include_in_schema=False)
    @app.get(BASE, include_in_schema=False)
    @app.get(f"{BASE}/", include_in_schema=False)
    async def pointer() -> dict[str, Any]:
        return {
            "name": "triggerhub",
            "webhooks": "POST /hooks/{connection}",
            "api": [f"{BASE}/{name}" for name in NAMES],
            "openapi": f"{BASE}/openapi.json",
            "asyncapi": "/asyncapi",
            "health": ["/livez", "/readyz"],
            "metrics": "/metrics",
        }

    return app


def _events(database: Database) -> APIRouter:
    routes = APIRouter(tags=["events"])

    @routes.get("/events", responses=may(400, 422))
    async def list_events(
        *,
        connection: Text = None,
        kind: Kind = None,
        subject: Text = None,
        limit: Limit = 50,
        cursor: Cursor = None,
    ) -> EventPage:
        """Events, newest first."""
        wanted = EventFilter(connection=connection, kind=kind, subject=subject)
        return await database.read(api_views.events, wanted, limit=limit, after=_after(cursor))

    @routes.get("/events/{event_id}", responses=may(404, 422))
    async def show_event(event_id: Id) -> EventDetail:
        """One event whole: what it says, each rule's verdict, and the runs and results that came of it."""
        return await database.read(api_views.event, event_id)

    @routes.post("/events/{event_id}/replay", status_code=202, responses=may(400, 404, 409, 422))
    async def replay_event(event_id: Id, asked: ReplayRequest | None = None) -> ReplayView:
        """Ask the rules in force about an event once more. A rule that was dispatched for it before is left alone,
        unless `again` says otherwise: then a second session may do the same work."""
        wanted = asked or ReplayRequest()
        return await database.write(
            api_views.replay, event_id, again=wanted.again, by=BY, reason=wanted.reason
        )

    return routes


def _runs(database: Database) -> APIRouter:
    routes = APIRouter(tags=["runs"])

    @routes.get("/runs", responses=may(400, 422))
    async def list_runs(
        *,
        status: Annotated[RunStatus | None, Query()] = None,
        rule: Text = None,
        connection: Text = None,
        subject: Text = None,
        limit: Limit = 50,
        cursor: Cursor = None,
    ) -> RunPage:
        """Runs, newest first. `connection` and `subject` are those of the event."""
        wanted = RunFilter(
            status=status.value if status else None, rule=rule, connection=connection, subject=subject
        )
        return await database.read(run_views.run_page, wanted, limit=limit, after=_after(cursor))

    @routes.get("/runs/{run_id}", responses=may(404, 422))
    async def show_run(run_id: Id) -> RunDetail:
        """One run with its results."""
        return await database.read(run_views.run, run_id)

    @routes.post("/runs/{run_id}/cancel", status_code=202, responses=may(404, 409, 422))
    async def cancel_run(run_id: Id) -> CancelView:
        """Ask for a run to be stopped. It ends as `cancelled` once its session is idle."""
        return await database.write(run_views.cancel, run_id)

    @routes.post("/runs/{run_id}/budget", responses=may(400, 404, 409, 422))
    async def raise_budget(run_id: Id, asked: BudgetRequest) -> BudgetView:
        """Raise what a run may spend in all. One that waits at its budget goes on."""
        return await database.write(run_views.raise_budget, run_id, usd=asked.usd)

    @routes.post("/runs/{run_id}/say", status_code=202, responses=may(400, 404, 422))
    async def say(run_id: Id, asked: SayRequest) -> SaidView:
        """Tell the session of a run something, as a follow-up in its conversation."""
        return await database.write(approval_views.say, run_id, text=asked.text, by=BY)

    return routes


def _approvals(database: Database) -> APIRouter:
    routes = APIRouter(tags=["approvals"])

    @routes.get("/approvals", responses=may(404, 422))
    async def list_approvals(
        *,
        status: Annotated[ApprovalStatus | None, Query()] = None,
        run: Text = None,
        limit: Limit = 50,
    ) -> ApprovalList:
        """What people are, or were, asked to approve, newest first."""
        return await database.read(approval_views.listed, status=status, run=run, limit=limit)

    @routes.get("/approvals/{approval_id}", responses=may(404, 422))
    async def show_approval(approval_id: Id) -> ApprovalDetail:
        """One of them whole, by its id or code, with exactly what is approved."""
        return await database.read(approval_views.shown, approval_id)

    @routes.post("/approvals/{approval_id}", responses=may(400, 404, 409, 422))
    async def vote(approval_id: Id, asked: VoteRequest) -> VotedView:
        """Approve or deny as an operator. 409 where it does not count: decided, expired, another content, or the rule
        lets no operator approve."""
        return await database.write(
            approval_views.vote,
            approval_id,
            approve=asked.decision == "approve",
            digest=asked.digest,
            reason=asked.reason,
            by=BY,
        )

    return routes


def _letters(database: Database) -> APIRouter:
    routes = APIRouter(tags=["dead letters"])

    @routes.get("/dead-letters", responses=may(400, 422))
    async def list_dead_letters(
        *,
        status: Annotated[LetterStatus | None, Query()] = None,
        topic: Text = None,
        limit: Limit = 50,
        cursor: Cursor = None,
    ) -> LetterPage:
        """Messages that no consumer could take, newest first."""
        wanted = LetterFilter(status=status.value if status else None, topic=topic)
        return await database.read(letter_views.letters, wanted, limit=limit, after=_after(cursor))

    # An id has slashes in it. They may be sent as they are.
    @routes.get("/dead-letters/{letter_id:path}", responses=may(404, 422))
    async def show_dead_letter(letter_id: Id) -> LetterDetail:
        """One of them with its bytes."""
        return await database.read(letter_views.letter, letter_id)

    @routes.post("/dead-letters/{letter_id:path}/retry", status_code=202, responses=may(404, 409, 422))
    async def retry_dead_letter(letter_id: Id) -> LetterChange:
        """Put the original bytes on the original topic again. If they die again, that is another dead letter."""
        return await database.write(letter_views.retry, letter_id)

    @routes.post("/dead-letters/{letter_id:path}/drop", responses=may(400, 404, 409, 422))
    async def drop_dead_letter(letter_id: Id, asked: DropRequest) -> LetterChange:
        """Give it up, with the reason. The bytes are kept."""
        return await database.write(letter_views.drop, letter_id, reason=asked.reason)

    return routes


def _pauses(database: Database, rules: Rules) -> APIRouter:
    routes = APIRouter(tags=["spend"])

    @routes.get("/pauses", responses=may())
    async def list_pauses() -> PauseList:
        """Everything that is paused."""
        return await database.read(spend_views.pause_list)

    @routes.post("/pauses", responses=may(400, 404, 422))
    async def pause(asked: PauseRequest) -> PauseView:
        """Stop a rule, a team or everything: events are recorded as suppressed, queued runs are held, runs at work go
        on. What is paused already stays as it was."""
        spend_views.check_known(asked, rules.current)
        return await database.write(spend_views.pause, asked, by=BY)

    @routes.post("/pauses/resume", responses=may(400, 409, 422))
    async def resume(asked: ResumeRequest) -> ResumeView:
        """Let it go on. Held runs are taken up; events that came meanwhile can be replayed."""
        return await database.write(spend_views.resume, asked)

    @routes.get("/spend", responses=may(422))
    async def spend(
        days: Annotated[int, Query(ge=1, le=3660, description="Today and the days before it, UTC.")] = 7,
    ) -> SpendView:
        """What sessions cost by day, team and rule, what runs at work may spend, and what is held back."""
        return await database.read(spend_views.spend, days)

    return routes


def _others(database: Database, rules: Rules) -> APIRouter:
    routes = APIRouter(tags=["hub"])

    @routes.get("/rules", responses=may())
    async def list_rules() -> RuleList:
        """The rules in force."""
        return api_views.rule_list(rules.current)

    @routes.get("/deliveries", responses=may(400, 422))
    async def list_deliveries(
        *,
        connection: Text = None,
        outcome: Outcome = None,
        limit: Limit = 50,
        cursor: Cursor = None,
    ) -> DeliveryPage:
        """Deliveries, newest first. `outcome=unreadable` shows those that were signed but not understood."""
        return await database.read(
            api_views.deliveries,
            connection_name=connection,
            outcome=outcome,
            limit=limit,
            after=_after(cursor),
        )

    @routes.get("/workers", responses=may())
    async def list_workers() -> WorkerList:
        """Roles that reported in the last hour."""
        return await database.read(api_views.living_workers)

    return routes


def _after(cursor: str | None) -> Position | None:
    return None if cursor is None else decode_cursor(cursor)
