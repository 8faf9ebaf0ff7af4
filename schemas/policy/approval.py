"""What a rule asks of people before something is done: who may approve it, how many, for how long, where they are asked.

Shapes, and the one decision that needs nothing else: whether somebody may vote. Identity and trust come from the
signed event, never from text.
"""

from __future__ import annotations

import hashlib
from collections.abc import Collection
from dataclasses import dataclass
from datetime import timedelta
from fnmatch import fnmatchcase
from typing import Annotated, Any, Final, Literal

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    PlainSerializer,
    StringConstraints,
    field_validator,
)

from schemas.durations import LongDuration

APPROVAL: Final = "approval"
"""The clause of a result that nobody approved."""
ASK_OUTPUT: Final = "ask_approval"
"""The hub's own output that asks people."""
EDIT_OUTPUT: Final = "edit_post"
"""The hub's own output that changes what it asked."""
OPERATOR: Final = "operator"
"""Whoever holds the API's token, or can write to the database from the command line."""
Voter = Literal["owner", "member", "collaborator", "operator"]
DEFAULT_VOTERS: Final[tuple[Voter, ...]] = ("owner", "member", "collaborator", "operator")
MAX_COUNT: Final = 10
CODE_LETTERS: Final = "abcdefghjkmnpqrstuvwxyz23456789"
"""Of a code that people type: nothing that looks like something else."""
CODE_LENGTH: Final = 10

_Id = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9:._-]{1,200}$")]
_Name = Annotated[str, StringConstraints(min_length=1, max_length=100)]


def _several(value: object) -> object:
    return (value,) if isinstance(value, str | dict) else value


class _Strict(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class NamedVoters(_Strict):
    """People by the vendor's own identifiers, who may approve whatever else is known of them."""

    connection: _Name
    ids: Annotated[tuple[_Id, ...], BeforeValidator(_several), Field(min_length=1, max_length=100)]


class AskAt(_Strict):
    """A place of its own where people are asked."""

    connection: _Name
    channel: str | None = Field(default=None, max_length=100)
    """Slack."""
    repository: str | None = Field(default=None, max_length=200)
    """GitHub, with `number`."""
    number: int | None = Field(default=None, gt=0)
    issue: str | None = Field(default=None, max_length=100)
    """Jira or Sentry."""

    @property
    def target(self) -> dict[str, Any]:
        """The place, as the connector takes it."""
        return self.model_dump(mode="json", exclude_none=True, exclude={"connection"})


Span = Annotated[LongDuration, PlainSerializer(lambda span: f"{int(span.total_seconds())}s", return_type=str)]
"""A duration that is written again in the form in which it is read."""


class ApprovalPolicy(_Strict):
    """`approve:` of an output."""

    by: Annotated[
        tuple[Voter | NamedVoters, ...], BeforeValidator(_several), Field(min_length=1, max_length=20)
    ] = DEFAULT_VOTERS
    """Trusts, and people by their identifiers. One of the entries is enough."""
    count: Annotated[int, Field(ge=1, le=MAX_COUNT)] = 1
    """How many people."""
    expires: Span = timedelta(hours=24)
    not_asker: bool = True
    """Whoever caused the event may not approve what came of it."""
    ask: Literal["origin"] | AskAt = "origin"
    """Where people are asked, besides the API and the command line."""


class ToolApproval(ApprovalPolicy):
    """One entry of a rule's `approve`: the same for tools that the service asks about (`always_ask`)."""

    tools: Annotated[tuple[_Name, ...], BeforeValidator(_several), Field(min_length=1, max_length=100)]
    """Names of tools, exact or as a glob; those of an MCP server also as `server/tool`."""

    @field_validator("tools")
    @classmethod
    def _plain(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        if any(set(name) & set(" \t\n") for name in value):
            msg = "a tool's name has no spaces: write bash, or jira/*"
            raise ValueError(msg)
        return value

    @property
    def policy(self) -> ApprovalPolicy:
        """Without the names of the tools."""
        return ApprovalPolicy.model_validate(
            {name: getattr(self, name) for name in ApprovalPolicy.model_fields}
        )

    def covers(self, tool: str) -> bool:
        """Whether this entry is about a tool. `tool` is `bash`, or `server/tool`."""
        bare = tool.rpartition("/")[2]
        return any(fnmatchcase(tool, one) or fnmatchcase(bare, one) for one in self.tools)


@dataclass(frozen=True, slots=True)
class Person:
    """Somebody who votes, as a signed event or the API proves it."""

    key: str
    """`<connector>:<id>`, or `operator:<who>`: the same person is the same key."""
    trust: str
    connection: str | None = None
    """None: the API, or the command line."""
    name: str = ""

    @property
    def shown(self) -> str:
        """For people to read. A name is anybody's own choice, so the key stands beside it."""
        return f"{self.name} ({self.key})" if self.name else self.key


def may_vote(
    policy: ApprovalPolicy, person: Person, *, askers: Collection[str], home: str | None = None
) -> str | None:
    """None where the person may approve; else why not.

    `askers`: the keys of those who told the run what to do. `home`: the connection where the run came from. A trust
    says something of a person at one vendor only: it counts there and where people are asked.
    """
    if policy.not_asker and person.key in askers:
        return "whoever asked for it may not approve it"
    for entry in policy.by:
        if isinstance(entry, NamedVoters):
            if person.connection == entry.connection and person.key.partition(":")[2] in entry.ids:
                return None
        elif person.trust == entry and _counts_here(person, policy, home):
            return None
    named = ", ".join(
        f"certain people of {entry.connection}" if isinstance(entry, NamedVoters) else entry
        for entry in policy.by
    )
    where = f" of {person.connection}" if person.connection else ""
    return f"the rule lets {named} approve, and not trust {person.trust!r}{where}"


def _counts_here(person: Person, policy: ApprovalPolicy, home: str | None) -> bool:
    if person.connection is None:
        return person.trust == OPERATOR
    asked_at = policy.ask.connection if isinstance(policy.ask, AskAt) else None
    return person.connection in {home, asked_at}


def person_key(connector: str, actor_id: str | None) -> str | None:
    """How a person is known, the same for who asks and who approves."""
    return f"{connector}:{actor_id}" if actor_id else None


def code_of(approval: str) -> str:
    """The short code that people type. Bound to what is approved, because the approval's id is."""
    number = int.from_bytes(hashlib.sha256(f"code\n{approval}".encode()).digest()[:12], "big")
    letters = []
    for _ in range(CODE_LENGTH):
        number, index = divmod(number, len(CODE_LETTERS))
        letters.append(CODE_LETTERS[index])
    return "".join(letters)


def approval_id(run: str, call: str, digest: str) -> str:
    """The same for the same call with the same content, so that asking twice is one approval."""
    made = hashlib.sha256(f"{run}\n{call}\n{digest}".encode("utf-8", "surrogatepass")).hexdigest()
    return f"apr_{made[:32]}"


def digest_of(body: bytes) -> str:
    """Hex SHA-256 of exactly what is approved."""
    return hashlib.sha256(body).hexdigest()
