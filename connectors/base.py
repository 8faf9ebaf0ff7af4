"""The contract of a connector: what one folder under `connectors/` must supply to be heard, and nothing more.

Verifying and normalising are pure and synchronous: no socket, no clock, no database; time, secrets and identities are
arguments. What talks to the vendor has contracts of its own: `connectors.poster` and `connectors.healer`. This module
must not import a connector.
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

if TYPE_CHECKING:
    import httpx

    from connectors.healer import Healer
    from connectors.poster import OutputSpec, Poster


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
    outside: bool = False
    """People of other organisations read the place as well."""
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
        outside=fact.outside,
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
