"""The contract of posting: what a connector can put at its vendor, what it is handed for that, and how it may fail.

A poster is the only part of a connector that writes to the vendor. This module must not import a connector, and a poster
must not read the database: what it needs to know stands in the `Post`.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar, Literal

from pydantic import BaseModel, ConfigDict

from connectors.base import ConnectorError, Identity
from schemas.marker import Lineage, Marker
from schemas.policy.secrets import NONE_KNOWN, KnownSecrets
from schemas.policy.shapes import OutputPolicy, Refusal
from schemas.redaction import without_secrets
from schemas.result import Origin, Receipt


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
