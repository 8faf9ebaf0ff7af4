"""What the JSON API and the command line tell and take of approvals and of words to a session. Shapes only."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from hub.api_models import Answer
from hub.api_requests import Reason


class VoteView(Answer):
    """What one person said."""

    voter: str
    """`<connector>:<id>`, or `operator:<who>`."""
    name: str
    approve: bool
    trust: str
    evidence: str
    """The event in which they said so; or the API, or the command line."""
    at: datetime


class ApprovalView(Answer):
    """Something that people are, or were, asked to approve."""

    id: str
    code: str
    """What people type."""
    run_id: str
    rule: str
    name: str
    """The output's tool, or the tool."""
    what: str
    status: str
    """`asked`, `approved`, `denied`, `expired` or `withdrawn`."""
    votes: int
    """People who said yes."""
    needed: int
    digest: str
    """Hex SHA-256 of exactly what is approved."""
    asked_at: datetime
    expires_at: datetime
    decided_at: datetime | None
    decided_by: str | None
    reason: str | None


class ApprovalDetail(ApprovalView):
    """One approval whole."""

    content: dict[str, Any]
    """What is to be posted, or the call of the tool."""
    said: tuple[VoteView, ...]
    question: str | None = None
    """Where people were asked: the address of the post, or what became of it. None: nowhere but here."""


class ApprovalList(Answer):
    """Approvals, newest first."""

    items: tuple[ApprovalView, ...]


class VoteRequest(BaseModel):
    """Approve or deny."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    decision: Literal["approve", "deny"]
    digest: Annotated[str, Field(pattern=r"^[0-9a-f]{12,64}$")] | None = None
    """Of the content that was looked at, or the beginning of it: another content is not approved."""
    reason: Reason | None = None


class VotedView(Answer):
    """What became of a vote."""

    vote: str
    """`counted`, `repeated` or `decided`."""
    text: str
    approval: ApprovalView


class SayRequest(BaseModel):
    """Words to the session of a run."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    text: Annotated[str, Field(min_length=1, max_length=50_000, pattern=r"^[^\u0000]*\S[^\u0000]*$")]


class SaidView(Answer):
    """They are told as a follow-up: a run of its own in the same conversation."""

    run_id: str
    """Of the follow-up."""
    event_id: str
    conversation: str
