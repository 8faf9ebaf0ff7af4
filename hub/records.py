"""What happened, for the operating commands, wherever it is read: `remote_records` asks a running hub's JSON API,
`stored_records` the database.

Both give the shapes of `hub.api_models`. Reads, but for `cancel`, `raise_budget`, `say`, `vote`, `replay`,
`retry`, `drop`, `pause` and `resume`.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Final

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
from hub.api_views import EventFilter
from hub.approval_models import ApprovalDetail, ApprovalList, SaidView, SayRequest, VotedView, VoteRequest
from hub.letter_views import LetterFilter
from hub.run_views import RunFilter
from hub.spend_models import PauseList, PauseView, ResumeView, SpendView
from storage.tables import ApprovalStatus

PAGE: Final = 200
"""Most items the API gives at once."""


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
