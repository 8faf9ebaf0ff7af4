"""What a run needs from outside the runner, as interfaces: the hub supplies them, so no connector is imported here."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Protocol

from runner.catalogue import Catalogue
from runner.report import held_notice
from runner.search import SessionSearch
from runner.service import Service
from runner.stores import Stores
from runner.timing import Timing
from schemas.caps import CapSet
from schemas.dispatch import Dispatch
from schemas.policy.gate import Gate
from schemas.redaction import without_secrets
from schemas.result import Result
from storage.caps import Admission
from storage.database import Database
from storage.outbox import Message


class MountAccess(Protocol):
    """Address and token of a repository to mount."""

    @property
    def url(self) -> str: ...

    @property
    def token(self) -> str: ...

    @property
    def seconds(self) -> float | None:
        """How long the token lives from now on. None: no end is known."""
        ...


class Repositories(Protocol):
    """Finds out how to mount a repository. Raises `MountError` with the reason when it cannot be mounted."""

    async def access(self, connection: str, name: str, *, write: bool = True) -> MountAccess: ...


class MountError(Exception):
    """The repository cannot be mounted. The text is safe to show."""

    def __init__(self, message: str, *, permanent: bool) -> None:
        super().__init__(without_secrets(message))
        self.permanent = permanent


@dataclass(frozen=True)
class World:
    """Everything around a run."""

    database: Database
    service: Service
    catalogue: Catalogue
    stores: Stores
    repositories: Repositories
    announce: Callable[[Sequence[tuple[Message, Result | None]]], None]
    can_report: Callable[[str], bool]
    """True where the connection of that name can post a comment."""
    timing: Timing = field(default_factory=Timing)
    caps: Callable[[], CapSet] = CapSet
    """What may start at most, as the configuration in force says."""
    gate: Gate = field(default_factory=Gate)
    """Judges what is about to be published."""

    @cached_property
    def search(self) -> SessionSearch:
        """One for all runs of the process."""
        return SessionSearch(self.service)

    @property
    def admission(self) -> Admission:
        """What claiming asks."""
        return Admission(self.caps(), self._held_notice)

    def _held_notice(self, dispatch: Dispatch, run_id: str, held: str, until: float | None) -> Result | None:
        silent = dispatch.report == "none" or dispatch.staged
        if silent or not self.can_report(dispatch.event.connection):
            return None
        return held_notice(dispatch, run_id, held, until)
