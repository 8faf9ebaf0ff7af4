"""What happened, for the operating commands, straight from the database. Whoever can open it may do
everything: there is no other door here.
"""

from __future__ import annotations

import getpass
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Concatenate, Final, ParamSpec, TypeVar

from sqlalchemy import Connection, make_url
from sqlalchemy.exc import SQLAlchemyError

from hub import api_views, approval_views, letter_views, run_views, spend_views
from hub.api_models import (
    BudgetView,
    CancelView,
    EventDetail,
    EventPage,
    LetterChange,
    LetterDetail,
    LetterPage,
    ReplayView,
    RunDetail,
    RunPage,
)
from hub.api_requests import BudgetRequest, PauseRequest, ReplayRequest, ResumeRequest
from hub.api_values import UnknownIdError
from hub.api_views import EventFilter
from hub.approval_models import ApprovalDetail, ApprovalList, SaidView, SayRequest, VotedView, VoteRequest
from hub.approval_views import VoteError
from hub.letter_views import LetterFilter
from hub.records import Records, RecordsError
from hub.run_views import AlreadyEndedError, RunFilter
from hub.spend_models import PauseList, PauseView, ResumeView, SpendView
from hub.spend_views import NotPausedError
from storage.budgets import BudgetError
from storage.database import Database, StorageUnavailableError, open_database
from storage.dead_letters import LetterResolvedError
from storage.queries import CursorError, decode_cursor
from storage.replays import NotReplayableError
from storage.tables import ApprovalStatus

P = ParamSpec("P")
T = TypeVar("T")

TOO_LATE: Final = (
    AlreadyEndedError,
    BudgetError,
    VoteError,
    LetterResolvedError,
    NotPausedError,
    NotReplayableError,
)
"""What is there and cannot be done with any more."""


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
        return await self._read(run_views.run_page, wanted, limit=limit, after=after)

    async def run(self, given: str) -> RunDetail:
        return await self._read(run_views.run, given)

    async def cancel(self, given: str) -> CancelView:
        return await self._write(run_views.cancel, given)

    async def raise_budget(self, given: str, asked: BudgetRequest) -> BudgetView:
        return await self._write(run_views.raise_budget, given, usd=asked.usd)

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
