"""The contract of a connector: what one folder under `connectors/` must supply, and nothing more.

Verifying and normalising are pure and synchronous: no socket, no clock, no database; time, secrets and identities are
arguments. Posting is the only part that talks to the vendor. This module must not import a connector.
"""

from __future__ import annotations

import hashlib
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import TYPE_CHECKING, Any, ClassVar, Final, Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator

from schemas.event import Actor, Event, EventData, Kind, Subject, Visibility
from schemas.marker import Lineage, Marker
from schemas.policy.secrets import NONE_KNOWN, KnownSecrets
from schemas.policy.shapes import OutputPolicy, Refusal
from schemas.redaction import without_secrets
from schemas.result import Origin, Receipt

if TYPE_CHECKING:
    import httpx

    from connectors.healer import Healer


class ConnectorError(Exception):
    """Base of every error a connector may raise. Messages never contain a body, token, signature or secret."""


class SignatureError(ConnectorError):
    """The request does not prove that the vendor sent it: answered 401."""


class UnreadableError(ConnectorError):
    """A correctly signed body that cannot be understood (not JSON, a key twice, too deep …): answered 400."""


class Outcome(StrEnum):
    """What became of a delivery that was verified and read."""

    HANDLED = "handled"
    """At least one event came of it."""
    IGNORED = "ignored"
    """Known, and deliberately nothing: `reason` says why. No events."""
    UNSUPPORTED = "unsupported"
    """A type this connector does not know yet. One event of kind `other`, so that nothing is lost."""
    CHALLENGE = "challenge"
    """The vendor tests the address and wants `reply` back. No events."""


@dataclass(frozen=True, slots=True)
class Request:
    """A webhook as it came in. Header names are lower case; `body` is the raw bytes that the signature covers."""

    headers: Mapping[str, str]
    body: bytes
    query: Mapping[str, str] = field(default_factory=dict)

    @property
    def content_type(self) -> str:
        """Media type without parameters, lower case; empty when the header is missing."""
        return self.headers.get("content-type", "").partition(";")[0].strip().lower()


@dataclass(frozen=True, slots=True)
class Identity:
    """What we are at the vendor, by identifier: used for `actor.is_self`, never a name's suffix."""

    actor_ids: frozenset[str] = frozenset()
    """User, account, bot-user or integration ids (also app ids), as strings."""
    logins: frozenset[str] = frozenset()
    """Logins the configuration declares to be ours (machine users), lower case."""


@dataclass(frozen=True, slots=True)
class Fact:
    """One thing that happened, as a connector reads it. `seal` turns it into an event."""

    kind: Kind
    actor: Actor
    subject: Subject
    key: str
    """Semantic key: names the fact itself, not the delivery. Equal for every copy of it on any path.
    Changing how it is built breaks deduplication."""
    account: str
    """Second half of the event's `source`: organisation, site, workspace."""
    occurred_at: datetime | None = None
    text: str = ""
    labels: tuple[str, ...] = ()
    changed: Mapping[str, Any] = field(default_factory=dict)
    mentions: tuple[str, ...] = ()
    visibility: Visibility = "private"
    links: tuple[str, ...] = ()
    address: Mapping[str, str] = field(default_factory=dict)
    artefact: str | None = None
    marked: str | None = None
    """What markers of ours in it say (`schemas.marker.markers_in`), where the text does not show them."""
    type: str | None = None
    """What the vendor calls it, where `kind` is `other` and the name is worth keeping: the event's type says it."""


@dataclass(frozen=True, slots=True)
class Reply:
    """A body the vendor wants in the response (status 200)."""

    content_type: str
    body: bytes


@dataclass(frozen=True, slots=True)
class Normalised:
    """The reading of one delivery."""

    outcome: Outcome
    delivery_key: str
    """The vendor's delivery identifier, the same on a retry; else a hash of the body."""
    facts: tuple[Fact, ...] = ()
    payload: Mapping[str, Any] = field(default_factory=dict)
    """The decoded body, which becomes `data.payload` of every event."""
    reason: str | None = None
    reply: Reply | None = None


class ConnectionSettings(BaseModel):
    """`connections.<name>` of the configuration. A connector's own settings extend this.

    Secrets are references (`env:NAME`, `file:PATH`); the hub resolves them before use.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    source: str
    api_url: str
    """Base of the vendor's REST API, without a trailing slash. The sandbox is reached by changing it."""
    webhook_secrets: tuple[str, ...] = Field(min_length=1, max_length=2)
    """One or two live secrets: two while one is being rotated out."""
    token: str | None = None
    self_ids: tuple[str, ...] = ()
    """Further identifiers that are us (user, account, app or bot ids)."""
    self_logins: tuple[str, ...] = ()
    """Further logins that are us."""
    heal: Literal["seen", "all", "off"] = "seen"
    """What the vendor could not deliver is looked for: of the sorts that webhooks brought before, of all, or not."""
    canary: bool | None = None
    """Whether canaries are sent for it; None: as the setting says for all."""

    @field_validator("api_url")
    @classmethod
    def _base(cls, value: str) -> str:
        if not value.startswith(("https://", "http://")):
            msg = f"api_url {value!r} must start with https:// (or http:// for a service on this machine)"
            raise ValueError(msg)
        return value.rstrip("/")


class OutputTarget(BaseModel):
    """Base of what a rule fixes about an output. `to` or `connection` is read before the connector sees it."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class OutputArguments(BaseModel):
    """Base of what the agent supplies. Extra fields are refused, and the agent is told."""

    model_config = ConfigDict(frozen=True, extra="forbid")


@dataclass(frozen=True, slots=True)
class OutputSpec:
    """One kind of post that a connector can make."""

    description: str
    """Told to the agent as the tool's description."""
    target: type[OutputTarget]
    arguments: type[OutputArguments]
    to_origin: bool
    """True where the output can be addressed by the event that started the run (`to: origin`)."""
    code: tuple[str, ...] = ()
    """Arguments that are files and no prose: not read for links, but for credentials."""
    mentions: bool = False
    """True where text can notify people, so that a rule may name some (`mentions`)."""


@dataclass(frozen=True, slots=True)
class Post:
    """One result, ready to be carried out. `target` and `arguments` are instances of the spec's models."""

    run: str
    slot: str
    output: str
    target: OutputTarget
    arguments: OutputArguments
    origin: Origin
    to_origin: bool
    """True: the address is `origin`; False: it is `target`."""
    policy: OutputPolicy = field(default_factory=OutputPolicy)
    """The rule's, for what only shows when posting: whom text may notify."""
    known: KnownSecrets = NONE_KNOWN
    """The hub's own secrets, which nothing that is posted may contain."""
    wanted_at: float = 0.0
    """When it was wanted, in seconds since the epoch on the database's clock: the same at each attempt."""
    lineage: Lineage | None = None
    """Of the run, signed, for the marker; None: what is posted is no run's of this hub."""

    @property
    def marker(self) -> Marker:
        """What is hidden in the post."""
        return Marker(self.run, self.slot, self.lineage)


class PostError(ConnectorError):
    """Base of what a poster may raise. The text is shown to the agent and stored: no secrets in it, whatever the vendor
    answered."""

    def __init__(self, message: str) -> None:
        super().__init__(without_secrets(message))


class PostRefusedError(PostError):
    """Permanent: the vendor will never take this (unknown repository, no permission, bad field)."""


class PostPolicyError(PostRefusedError):
    """The rule does not allow it, which only the vendor's data could tell. The agent may do better."""

    def __init__(self, refusal: Refusal) -> None:
        super().__init__(refusal.reason)
        self.clause = refusal.clause
        """The part of the policy."""


class PostGoneError(PostRefusedError):
    """What was to be changed is not there any more, or the vendor lets nobody change it."""


class PostRetryError(PostError):
    """The vendor did not do it and says to come later. Nothing was written."""

    def __init__(self, message: str, *, retry_after: float | None = None) -> None:
        super().__init__(message)
        self.retry_after = retry_after
        """Seconds, where the vendor named a time."""


class PostUncertainError(PostError):
    """The vendor may or may not have done it (timeout, 5xx, cut connection). The next attempt looks first."""


@dataclass(frozen=True, slots=True)
class RepositoryAccess:
    """How a session mounts a repository (managed-agents reference §1.9)."""

    url: str
    """`https://github.com/<owner>/<repo>`, without `.git`."""
    token: str = field(repr=False)
    seconds: float | None = None
    """How long the token lives from now on. None: no end is known."""


CheckState = Literal["pending", "success", "failure", "neutral"]


@dataclass(frozen=True, slots=True)
class Check:
    """How a run stands, as it shows beside the commits of a pull request."""

    run: str
    name: str
    pull: str
    """`owner/repo#12`."""
    state: CheckState
    """`neutral`: this run has nothing to say in the end, because another goes on with it."""
    title: str
    url: str | None = None


@dataclass(frozen=True, slots=True)
class EditPace:
    """How often what we posted may change, so that it never costs the vendor's patience that posts need."""

    seconds: float
    """The least between two edits of one artefact."""
    together: int
    """So many artefacts of a connection may be edited that often. More of them share it; an end is never held up."""


class Poster(ABC):
    """Talks to one vendor on behalf of one connection. Made once per connection; used by many tasks at once."""

    edit_pace: ClassVar[EditPace] = EditPace(seconds=15.0, together=4)

    @abstractmethod
    async def find(self, post: Post) -> Receipt | None:
        """Return the receipt of an earlier try at this very (run, slot), or None. Must not write anything.

        Called before every attempt but the first. Raises PostError.
        """

    @abstractmethod
    async def create(self, post: Post) -> Receipt:
        """Make the post, with its hidden marker, and return the receipt. Raises PostError."""

    async def update(self, post: Post, receipt: Receipt) -> Receipt:
        """Make the artefact of `receipt`, which `create` or `find` returned for this (run, slot), say what `post` says.

        The marker stays. Saying the same again changes nothing, so an update whose answer was lost is simply sent
        again. What is too long for one message is cut. Raises PostError; PostGoneError where somebody deleted it or it
        cannot be changed any more.
        """
        del receipt
        msg = f"a {type(self).__name__} cannot change what {post.output!r} has posted"
        raise PostRefusedError(msg)

    def seen_mark(self, origin: Origin) -> tuple[str, Mapping[str, Any]] | None:
        """Output and arguments that show at the origin that it was seen, and notify nobody. None: there is no such mark.

        Pure. Setting the mark twice must be one mark.
        """
        del origin
        return None

    async def show_check(self, check: Check, earlier: Receipt | None) -> Receipt:
        """Show a check on the newest commit of a pull request; repeats change nothing. Raises PostError.

        `earlier`: what it returned the last time. Where the pull request has got newer commits since, the end shows
        on both.
        """
        del check, earlier
        msg = f"a {type(self).__name__} has no checks: only github connections have"
        raise PostRefusedError(msg)

    @abstractmethod
    async def identify(self) -> Identity:
        """Ask the vendor who our credential is. Raises PostError. Called at start and by `doctor`."""

    async def repository(self, name: str, *, write: bool = True) -> RepositoryAccess:
        """Address and short-lived token of a repository. Only connectors that host code override this.

        `write=False`: a token that can only read, where the credential can make one.
        """
        del write
        msg = f"a {type(self).__name__} has no repositories: asked for {name!r}; name a github connection in the rule"
        raise PostRefusedError(msg)


class Connector(ABC):
    """One source. Stateless: everything an operation needs is an argument."""

    source: ClassVar[str]
    """The name in `connections.<name>.source` and before the slash of an event's source; the folder's name."""
    max_body: ClassVar[int] = 5_000_000
    """Bytes. A larger webhook is answered 413 unread."""
    settings: ClassVar[type[ConnectionSettings]] = ConnectionSettings
    outputs: ClassVar[Mapping[str, OutputSpec]] = {}
    own_outputs: ClassVar[Mapping[str, OutputSpec]] = {}
    """What the hub itself posts and no rule can grant: see `connectors.own_posts`."""
    web_hosts: ClassVar[tuple[str, ...]] = ()
    """Hosts of the vendor's own pages, which text may link to; `*.example.com` for subdomains. The host of `api_url`
    comes on top."""

    @abstractmethod
    def verify(self, request: Request, *, secrets: Sequence[str], now: float) -> None:
        """Prove that the vendor sent these bytes. Raises SignatureError and nothing else, whatever comes in.

        `now` is seconds since the epoch, for schemes with a time window.
        """

    @abstractmethod
    def normalise(self, request: Request, *, identity: Identity) -> Normalised:
        """Read a verified request. Raises UnreadableError and nothing else, whatever comes in."""

    @abstractmethod
    def sign(self, headers: Mapping[str, str], body: bytes, *, secret: str, now: float) -> dict[str, str]:
        """Return `headers` plus what the vendor would have added to sign this body. For `triggerhub send` and tests."""

    @abstractmethod
    def poster(
        self,
        settings: ConnectionSettings,
        *,
        token: str | None,
        http: httpx.AsyncClient,
        files: Mapping[str, str],
    ) -> Poster:
        """Build the poster of one connection. `files` maps every further secret reference in `settings` to its value."""

    def healer(
        self,
        settings: ConnectionSettings,
        *,
        token: str | None,
        http: httpx.AsyncClient,
        files: Mapping[str, str],
    ) -> Healer | None:
        """What finds deliveries that the vendor could not make. None: this vendor cannot be asked."""
        del settings, token, http, files
        return None


NOBODY: Final = Identity()
"""Nothing is known of who we are."""


def _is_addressed(fact: Fact, identity: Identity) -> bool:
    """Whether the text mentions us. An App is mentioned by its slug, which its login has before `[bot]`."""
    if fact.kind == "message.mention":
        return True
    if not fact.mentions:
        return False
    named = {mention.lower() for mention in fact.mentions}
    logins = {login.removesuffix("[bot]") for login in identity.logins}
    return not (named.isdisjoint(logins) and identity.actor_ids.isdisjoint(fact.mentions))


def seal(
    fact: Fact,
    *,
    source: str,
    connection: str,
    payload: Mapping[str, Any],
    received_at: datetime,
    traceparent: str | None = None,
    identity: Identity = NOBODY,
) -> Event:
    """Turn a fact into an event whose id depends on the connection and the fact alone. `identity`: who we are.

    Changing how the id is made breaks deduplication.
    """
    digest = hashlib.sha256(f"{connection}\n{fact.key}".encode("utf-8", "surrogatepass")).hexdigest()
    data = EventData.model_construct(
        kind=fact.kind,
        actor=fact.actor,
        subject=fact.subject,
        text=fact.text,
        labels=fact.labels,
        changed=dict(fact.changed),
        mentions=fact.mentions,
        addressed=_is_addressed(fact, identity),
        visibility=fact.visibility,
        links=fact.links,
        address=dict(fact.address),
        artefact=fact.artefact,
        marked=fact.marked,
        payload=payload if isinstance(payload, dict) else dict(payload),
    )
    return Event.model_construct(
        specversion="1.0",
        id=f"evt_{digest[:32]}",
        source=f"{source}/{fact.account}" if fact.account else source,
        type=f"{source}.{fact.type or fact.kind}",
        subject=fact.subject.key,
        time=fact.occurred_at or received_at,
        datacontenttype="application/json",
        connection=connection,
        dataref=None,
        traceparent=traceparent,
        data=data,
    )
