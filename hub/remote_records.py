"""What happened, for the operating commands, from the JSON API of a running hub. Trusts nothing it answers."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Final, TypeVar
from urllib.parse import quote

import httpx
from pydantic import BaseModel, ValidationError

from hub.api_access import is_loopback
from hub.api_models import (
    BudgetView,
    CancelView,
    EventDetail,
    EventPage,
    LetterChange,
    LetterDetail,
    LetterPage,
    Problem,
    ReplayView,
    RunDetail,
    RunPage,
)
from hub.api_requests import BudgetRequest, DropRequest, PauseRequest, ReplayRequest, ResumeRequest
from hub.api_views import EventFilter
from hub.approval_models import ApprovalDetail, ApprovalList, SaidView, SayRequest, VotedView, VoteRequest
from hub.letter_views import LetterFilter
from hub.records import Records, RecordsError
from hub.run_views import RunFilter
from hub.spend_models import PauseList, PauseView, ResumeView, SpendView
from storage.tables import ApprovalStatus

M = TypeVar("M", bound=BaseModel)

CALL_SECONDS: Final = 30.0


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
