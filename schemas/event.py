"""The normalised event: a CloudEvents 1.0 envelope around one fact from one of the sources.

Shapes only. How a vendor's payload becomes an event is the connectors' business; what an event starts is the
router's. The field names here are a public contract: programs read them from the topic `triggerhub.events`.
"""

from __future__ import annotations

from datetime import datetime
from typing import Any, Final, Literal, get_args

from pydantic import BaseModel, ConfigDict, Field

from schemas.version import SCHEMA_VERSION, SchemaVersion

Kind = Literal[
    "issue.opened",
    "issue.updated",
    "issue.labeled",
    "issue.assigned",
    "issue.closed",
    "issue.reopened",
    "issue.deleted",
    "comment.created",
    "comment.edited",
    "comment.deleted",
    "pr.opened",
    "pr.updated",
    "pr.merged",
    "pr.closed",
    "pr.review_requested",
    "pr.labeled",
    "review.submitted",
    "review_comment.created",
    "ci.completed",
    "push",
    "alert.fired",
    "alert.resolved",
    "message.posted",
    "message.mention",
    "command.invoked",
    "action.clicked",
    "install.added",
    "install.removed",
    "ping",
    "other",
]
"""One vocabulary over all sources (design §4.1)."""

KINDS: Final[tuple[str, ...]] = get_args(Kind)

Trust = Literal["owner", "member", "collaborator", "outsider", "bot", "system", "unknown"]
"""What the payload itself proves of the actor. Never derived from a display name."""

TRUSTS: Final[tuple[str, ...]] = get_args(Trust)

Visibility = Literal["public", "private", "restricted"]
"""Who can read the place the event happened in. `restricted` is narrower than its container, such as an internal
Jira comment: nothing of it may be echoed to a wider place."""

VISIBILITIES: Final[tuple[Visibility, ...]] = get_args(Visibility)
"""From the widest readers to the narrowest."""

SHARED: Final = "shared"
READERS: Final = ("public", SHARED, "private", "restricted")
"""Who reads a place, from the widest to the narrowest: `shared` are places of ours that people of others read too."""

SPEC_VERSION: Final = "1.0"
CANARY: Final = "canary"
CANARY_TYPE: Final = "canary.ping"
CANARY_CONNECTION: Final = "-canary"
"""No connection can have this name: what is counted by connection leaves canaries out."""
SLIM_TEXT: Final = 60_000
"""Characters of `data.text` that travel with an event whose payload is too large for Kafka."""


def readers_of(visibility: str, *, outside: bool) -> str:
    """Who reads a place. Others who read along make every private place a shared one."""
    return SHARED if outside and visibility != "public" else visibility


def level_of(visibility: str | None) -> int:
    """0 for what everybody reads, more for fewer readers. What is not known counts as `private`."""
    return READERS.index(visibility if visibility in READERS else "private")


class _Shape(BaseModel):
    """Frozen, and tolerant of fields that a newer version adds (readers must ignore what they do not know)."""

    model_config = ConfigDict(frozen=True, extra="ignore")


class Actor(_Shape):
    """Who caused the event. All identifiers are the vendor's own, as strings."""

    id: str | None = None
    login: str | None = None
    name: str | None = None
    is_bot: bool = False
    is_self: bool = False
    """True where an identifier says that triggerhub itself caused this event."""
    trust: Trust = "unknown"


class Subject(_Shape):
    """The thing the event is about, and the key of its conversation."""

    kind: str
    """issue, pr, commit, branch, alert, thread, repository, installation …"""
    key: str = Field(min_length=1)
    """GitHub `owner/repo#12`; Jira `KEY-1`; Sentry the issue id; Slack `team/channel/thread_ts`."""
    url: str | None = None
    title: str | None = None
    container: str | None = None
    """Repository `owner/repo`, Jira project key, Sentry project slug, Slack channel id."""


class EventData(_Shape):
    """`data` of the envelope."""

    kind: Kind
    actor: Actor
    subject: Subject
    text: str = ""
    """The human's own words: issue body, comment, message, alert description. Data from outside, always. What the vendor
    shows nobody (HTML comments and the like) is only in `payload`."""
    labels: tuple[str, ...] = ()
    changed: dict[str, Any] = Field(default_factory=dict)
    """Per field: {"added": [...], "removed": [...]} for lists, {"from": x, "to": y} for values."""
    mentions: tuple[str, ...] = ()
    """GitHub logins (lower case), Jira account ids or user names, Slack user ids."""
    addressed: bool = False
    """The text mentions triggerhub itself, by an identifier of the connection's own account."""
    visibility: Visibility = "private"
    outside: bool = False
    """People of other organisations read the place as well: a channel that is shared through Slack Connect."""
    links: tuple[str, ...] = ()
    """URLs and foreign keys that the event proves to be related, such as the pull requests of a workflow run."""
    address: dict[str, str] = Field(default_factory=dict)
    """What a reply needs beyond the subject: comment id, thread, installation. Read by the same connector only."""
    artefact: str | None = None
    """Identifier of the thing this event tells of (a comment's id, a message's ts), comparable with a receipt's."""
    marked: str | None = None
    """What hidden markers of triggerhub in the vendor's text say, a line each (`schemas.marker`); `text` does not show
    them. Anybody can copy one."""
    payload: dict[str, Any] = Field(default_factory=dict)
    """The vendor's body, whole. Empty when it would not fit a Kafka message: then `dataref` says where it is."""

    @property
    def readers(self) -> str:
        """Who reads the place, as `level_of` compares them."""
        return readers_of(self.visibility, outside=self.outside)


class Event(_Shape):
    """A CloudEvents 1.0 envelope in JSON format (structured mode).

    `id` is derived from the fact itself, so that a redelivery carries the same one.
    """

    specversion: Literal["1.0"] = SPEC_VERSION
    id: str = Field(min_length=1, max_length=128)
    source: str = Field(min_length=1)
    """`<connector>/<account>`, such as `github/acme`."""
    type: str
    """`<connector>.<kind>`, such as `github.issue.labeled`; with kind `other` it may name what the vendor calls it, such
    as `anthropic.session.status_idled`."""
    subject: str
    """The same as `data.subject.key`."""
    time: datetime
    datacontenttype: Literal["application/json"] = "application/json"
    connection: str
    """Extension attribute: the connection's name in the configuration, or of the publishing program."""
    dataref: str | None = None
    """Extension attribute (CloudEvents dataref): path of the whole event in the JSON API when `payload` was left out."""
    traceparent: str | None = None
    """Extension attribute (CloudEvents distributed tracing, W3C trace context)."""
    schemaversion: SchemaVersion = SCHEMA_VERSION
    """Extension attribute: version of this shape. An event without it is of version 1."""
    data: EventData

    @property
    def connector(self) -> str:
        """The connector's name: `github` of `github/acme`."""
        return self.source.partition("/")[0]

    @property
    def is_canary(self) -> bool:
        """Whether triggerhub sent it to itself, to see whether it comes through. It starts nothing."""
        return self.type == CANARY_TYPE and self.connection == CANARY_CONNECTION

    def without_payload(self) -> Event:
        """A copy small enough for a Kafka message: `dataref` says where the whole event is."""
        data = self.data.model_copy(update={"payload": {}, "text": self.data.text[:SLIM_TEXT]})
        return self.model_copy(update={"data": data, "dataref": f"/api/v1/events/{self.id}"})
