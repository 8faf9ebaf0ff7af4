"""What happened, for the operating commands: from a running hub's JSON API, or straight from the database.

Both give the shapes of `hub.api_models`. Reads, but for `cancel`, `raise_budget`, `say`, `vote`, `replay`,
`retry`, `drop`, `pause` and `resume`.
"""

from __future__ import annotations

import getpass
from abc import ABC, abstractmethod
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Concatenate, Final, ParamSpec, TypeVar
from urllib.parse import quote

import httpx
from pydantic import BaseModel, ValidationError
from sqlalchemy import Connection, make_url
from sqlalchemy.exc import SQLAlchemyError

from hub import api_views, approval_views, letter_views, spend_views
from hub.api_access import is_loopback
from hub.api_models import (
    BudgetView,
    CancelView,
    EventDetail,
    EventPage,
    LetterChange,
    LetterDetail,
    LetterPage,
    PauseList,
    PauseView,
    Problem,
    ReplayView,
    ResumeView,
    RunDetail,
    RunPage,
    SpendView,
)
from hub.api_requests import BudgetRequest, DropRequest, PauseRequest, ReplayRequest, ResumeRequest
from hub.api_views import AlreadyEndedError, EventFilter, RunFilter, UnknownIdError
from hub.approval_models import (
    ApprovalDetail,
    ApprovalList,
    SaidView,
    SayRequest,
    VotedView,
    VoteRequest,
)
from hub.approval_views import VoteError
from hub.letter_views import LetterFilter
from hub.spend_views import NotPausedError
from storage.budgets import BudgetError
from storage.database import Database, StorageUnavailableError, open_database
from storage.dead_letters import LetterResolvedError
from storage.queries import CursorError, decode_cursor
from storage.replays import NotReplayableError
from storage.tables import ApprovalStatus

P = ParamSpec("P")
T = TypeVar("T")
M = TypeVar("M", bound=BaseModel)

CALL_SECONDS: Final = 30.0
PAGE: Final = 200
"""Most items the API gives at once."""
TOO_LATE: Final = (
    AlreadyEndedError,
    BudgetError,
    VoteError,
    LetterResolvedError,
    NotPausedError,
    NotReplayableError,
)
"""What is there and cannot be done with any more."""


class RecordsError(Exception):
    """It cannot be told: unknown id, no database, nobody answers. The text names the remedy."""


class Records(ABC):
    """Every method raises RecordsError."""

    @abstractmethod
    async def events(self, wanted: EventFilter, *, limit: int, cursor: str | None) -> EventPage:
        """A page of events, newest first; at most PAGE of them."""

    @abstractmethod
    async def event(self, given: str) -> EventDetail:
        """One event by id or beginning of one."""

    @abstractmethod
    async def runs(self, wanted: RunFilter, *, limit: int, cursor: str | None) -> RunPage:
        """A page of runs, newest first; at most PAGE of them."""

    @abstractmethod
    async def run(self, given: str) -> RunDetail:
        """One run by id or beginning of one."""

    @abstractmethod
    async def cancel(self, given: str) -> CancelView:
        """Ask for a run to be stopped. Writes."""

    @abstractmethod
    async def raise_budget(self, given: str, asked: BudgetRequest) -> BudgetView:
        """Raise what a run may spend. Writes."""

    @abstractmethod
    async def say(self, given: str, asked: SayRequest) -> SaidView:
        """Tell the session of a run something. Writes."""

    @abstractmethod
    async def approvals(self, *, status: ApprovalStatus | None, run: str | None, limit: int) -> ApprovalList:
        """Approvals, newest first; at most PAGE of them."""

    @abstractmethod
    async def approval(self, given: str) -> ApprovalDetail:
        """One approval by id, beginning of one, or code."""

    @abstractmethod
    async def vote(self, given: str, asked: VoteRequest) -> VotedView:
        """Approve or deny. Writes."""

    @abstractmethod
    async def replay(self, given: str, asked: ReplayRequest) -> ReplayView:
        """Ask for an event to be routed again. Writes."""

    @abstractmethod
    async def letters(self, wanted: LetterFilter, *, limit: int, cursor: str | None) -> LetterPage:
        """A page of dead letters, newest first; at most PAGE of them."""

    @abstractmethod
    async def letter(self, given: str) -> LetterDetail:
        """One dead letter by id or beginning of one."""

    @abstractmethod
    async def retry(self, given: str) -> LetterChange:
        """Have a dead letter published again. Writes."""

    @abstractmethod
    async def drop(self, given: str, *, reason: str) -> LetterChange:
        """Give a dead letter up. Writes."""

    @abstractmethod
    async def pauses(self) -> PauseList:
        """Everything that is paused."""

    @abstractmethod
    async def pause(self, asked: PauseRequest) -> PauseView:
        """Stop a rule, a team or everything. Writes."""

    @abstractmethod
    async def resume(self, asked: ResumeRequest) -> ResumeView:
        """Let it go on. Writes."""

    @abstractmethod
    async def spend(self, days: int) -> SpendView:
        """What sessions cost on the last so many days."""


class StoredRecords(Records):
    """From the database itself."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def events(self, wanted: EventFilter, *, limit: int, cursor: str | None) -> EventPage:
        after = decode_cursor(cursor) if cursor else None
        return await self._read(api_views.events, wanted, limit=limit, after=after)

    async def event(self, given: str) -> EventDetail:
        return await self._read(api_views.event, given)

    async def runs(self, wanted: RunFilter, *, limit: int, cursor: str | None) -> RunPage:
        after = decode_cursor(cursor) if cursor else None
        return await self._read(api_views.run_page, wanted, limit=limit, after=after)

    async def run(self, given: str) -> RunDetail:
        return await self._read(api_views.run, given)

    async def cancel(self, given: str) -> CancelView:
        return await self._write(api_views.cancel, given)

    async def raise_budget(self, given: str, asked: BudgetRequest) -> BudgetView:
        return await self._write(api_views.raise_budget, given, usd=asked.usd)

    async def say(self, given: str, asked: SayRequest) -> SaidView:
        return await self._write(approval_views.say, given, text=asked.text, by=f"command:{_user()}")

    async def approvals(self, *, status: ApprovalStatus | None, run: str | None, limit: int) -> ApprovalList:
        return await self._read(approval_views.listed, status=status, run=run, limit=limit)

    async def approval(self, given: str) -> ApprovalDetail:
        return await self._read(approval_views.shown, given)

    async def vote(self, given: str, asked: VoteRequest) -> VotedView:
        return await self._write(
            approval_views.vote,
            given,
            approve=asked.decision == "approve",
            digest=asked.digest,
            reason=asked.reason,
            by=f"command:{_user()}",
        )

    async def replay(self, given: str, asked: ReplayRequest) -> ReplayView:
        return await self._write(
            api_views.replay, given, again=asked.again, by=f"command:{_user()}", reason=asked.reason
        )

    async def letters(self, wanted: LetterFilter, *, limit: int, cursor: str | None) -> LetterPage:
        after = decode_cursor(cursor) if cursor else None
        return await self._read(letter_views.letters, wanted, limit=limit, after=after)

    async def letter(self, given: str) -> LetterDetail:
        return await self._read(letter_views.letter, given)

    async def retry(self, given: str) -> LetterChange:
        return await self._write(letter_views.retry, given)

    async def drop(self, given: str, *, reason: str) -> LetterChange:
        return await self._write(letter_views.drop, given, reason=reason)

    async def pauses(self) -> PauseList:
        return await self._read(spend_views.pause_list)

    async def pause(self, asked: PauseRequest) -> PauseView:
        return await self._write(spend_views.pause, asked, by=f"command:{_user()}")

    async def resume(self, asked: ResumeRequest) -> ResumeView:
        return await self._write(spend_views.resume, asked)

    async def spend(self, days: int) -> SpendView:
        return await self._read(spend_views.spend, days)

    async def _write(
        self, work: Callable[Concatenate[Connection, P], T], /, *args: P.args, **kwargs: P.kwargs
    ) -> T:
        try:
            return await self._database.write(work, *args, **kwargs)
        except (UnknownIdError, *TOO_LATE) as error:
            raise RecordsError(str(error)) from None
        except (StorageUnavailableError, SQLAlchemyError) as error:
            raise RecordsError(_unanswered(error)) from None

    async def _read(
        self, work: Callable[Concatenate[Connection, P], T], /, *args: P.args, **kwargs: P.kwargs
    ) -> T:
        try:
            return await self._database.read(work, *args, **kwargs)
        except (UnknownIdError, CursorError) as error:
            raise RecordsError(str(error)) from None
        except (StorageUnavailableError, SQLAlchemyError) as error:
            raise RecordsError(_unanswered(error)) from None


class RemoteRecords(Records):
    """From the JSON API of a running hub."""

    def __init__(self, http: httpx.AsyncClient, url: str) -> None:
        self._http = http
        self._url = url

    async def events(self, wanted: EventFilter, *, limit: int, cursor: str | None) -> EventPage:
        asked = {"connection": wanted.connection, "kind": wanted.kind, "subject": wanted.subject}
        return await self._get(EventPage, "events", {**asked, "limit": str(limit), "cursor": cursor})

    async def event(self, given: str) -> EventDetail:
        return await self._get(EventDetail, f"events/{quote(given, safe='')}", {})

    async def runs(self, wanted: RunFilter, *, limit: int, cursor: str | None) -> RunPage:
        asked = {
            "status": wanted.status,
            "rule": wanted.rule,
            "connection": wanted.connection,
            "subject": wanted.subject,
        }
        return await self._get(RunPage, "runs", {**asked, "limit": str(limit), "cursor": cursor})

    async def run(self, given: str) -> RunDetail:
        return await self._get(RunDetail, f"runs/{quote(given, safe='')}", {})

    async def cancel(self, given: str) -> CancelView:
        return await self._post(CancelView, f"runs/{quote(given, safe='')}/cancel")

    async def raise_budget(self, given: str, asked: BudgetRequest) -> BudgetView:
        return await self._post(BudgetView, f"runs/{quote(given, safe='')}/budget", asked)

    async def say(self, given: str, asked: SayRequest) -> SaidView:
        return await self._post(SaidView, f"runs/{quote(given, safe='')}/say", asked)

    async def approvals(self, *, status: ApprovalStatus | None, run: str | None, limit: int) -> ApprovalList:
        named = status.value if status is not None else None
        return await self._get(ApprovalList, "approvals", {"status": named, "run": run, "limit": str(limit)})

    async def approval(self, given: str) -> ApprovalDetail:
        return await self._get(ApprovalDetail, f"approvals/{quote(given, safe='')}", {})

    async def vote(self, given: str, asked: VoteRequest) -> VotedView:
        return await self._post(VotedView, f"approvals/{quote(given, safe='')}", asked)

    async def replay(self, given: str, asked: ReplayRequest) -> ReplayView:
        return await self._post(ReplayView, f"events/{quote(given, safe='')}/replay", asked)

    async def letters(self, wanted: LetterFilter, *, limit: int, cursor: str | None) -> LetterPage:
        asked = {"status": wanted.status, "topic": wanted.topic, "limit": str(limit), "cursor": cursor}
        return await self._get(LetterPage, "dead-letters", asked)

    async def letter(self, given: str) -> LetterDetail:
        return await self._get(LetterDetail, f"dead-letters/{quote(given)}", {})

    async def retry(self, given: str) -> LetterChange:
        return await self._post(LetterChange, f"dead-letters/{quote(given)}/retry")

    async def drop(self, given: str, *, reason: str) -> LetterChange:
        return await self._post(LetterChange, f"dead-letters/{quote(given)}/drop", DropRequest(reason=reason))

    async def pauses(self) -> PauseList:
        return await self._get(PauseList, "pauses", {})

    async def pause(self, asked: PauseRequest) -> PauseView:
        return await self._post(PauseView, "pauses", asked)

    async def resume(self, asked: ResumeRequest) -> ResumeView:
        return await self._post(ResumeView, "pauses/resume", asked)

    async def spend(self, days: int) -> SpendView:
        return await self._get(SpendView, "spend", {"days": str(days)})

    async def _post(self, model: type[M], path: str, body: BaseModel | None = None) -> M:
        return await self._call(model, "POST", path, {}, body)

    async def _get(self, model: type[M], path: str, asked: Mapping[str, str | None]) -> M:
        return await self._call(model, "GET", path, asked)

    async def _call(
        self,
        model: type[M],
        method: str,
        path: str,
        asked: Mapping[str, str | None],
        body: BaseModel | None = None,
    ) -> M:
        query = {name: value for name, value in asked.items() if value is not None}
        sent = None if body is None else body.model_dump(mode="json")
        try:
            answer = await self._http.request(method, f"{self._url}/api/v1/{path}", params=query, json=sent)
        except (httpx.HTTPError, httpx.InvalidURL) as error:
            msg = f"no hub answers at {self._url} ({type(error).__name__}); check --url, or start one"
            raise RecordsError(msg) from None
        try:
            if answer.is_success:
                return model.model_validate_json(answer.content)
            problem = Problem.model_validate_json(answer.content)
        except ValidationError:
            msg = f"{self._url} answered {answer.status_code}, but not as a triggerhub does; check --url"
            raise RecordsError(msg) from None
        if answer.status_code == httpx.codes.UNAUTHORIZED:
            msg = f"the hub at {self._url} refused: {problem.error}"
            raise RecordsError(msg)
        raise RecordsError(problem.error)


@asynccontextmanager
async def stored_records(url: str) -> AsyncIterator[Records]:
    """Records of the database at `url`. Raises RecordsError where there is none; makes none."""
    parsed = make_url(url)
    if parsed.get_backend_name() == "sqlite" and not _is_file(parsed.database):
        msg = (
            f"there is no database at {parsed.database}; start `triggerhub up` in this folder first, "
            "set TRIGGERHUB_DATABASE_URL, or name a running hub with --url"
        )
        raise RecordsError(msg)
    database = open_database(url)
    try:
        yield StoredRecords(database)
    finally:
        await database.close()


@asynccontextmanager
async def remote_records(url: str, *, token: str | None) -> AsyncIterator[Records]:
    """Records of the hub at `url`. Raises RecordsError for what is no address."""
    base = url.rstrip("/")
    try:
        host = httpx.URL(base).host
    except httpx.InvalidURL:
        host = ""
    if not host or not base.startswith(("http://", "https://")):
        msg = f"--url: {url!r} is not an address; write one such as http://127.0.0.1:8080"
        raise RecordsError(msg)
    headers = {"authorization": f"Bearer {token}"} if token else {}
    local = host == "localhost" or is_loopback(host)
    async with httpx.AsyncClient(timeout=CALL_SECONDS, headers=headers, trust_env=not local) as http:
        yield RemoteRecords(http, base)


def _is_file(path: str | None) -> bool:
    return bool(path) and Path(str(path)).is_file()


def _user() -> str:
    """Who types, as far as this machine knows."""
    try:
        return getpass.getuser()
    except (OSError, KeyError, ImportError):  # a user id without a name, as in containers
        return "unknown"


def _unanswered(error: Exception) -> str:
    """The cause without the statement and its parameters."""
    if isinstance(error, StorageUnavailableError):
        cause = str(error)
    else:
        original = getattr(error, "orig", None) or error
        cause = (str(original).splitlines() or [type(original).__name__])[0][:200]
    return f"the database cannot be read ({cause}); `triggerhub doctor` says what is wrong with it"
