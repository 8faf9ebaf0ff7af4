"""What one run wants posted, and what became of it: one slot each, stored under the run's claim before it is announced.

Posting is not done here, only asked for; whether an agent was answered is the session's history's to say.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from typing import TYPE_CHECKING, Any

import structlog
from sqlalchemy import Connection

from runner.closing import DONE
from runner.report import FINAL_SLOT
from schemas.topics import RESULTS
from storage import runs
from storage.database import StorageUnavailableError
from storage.outbox import Message
from storage.results import Settled, mark_answered, settle_result, settled_results, slots_of, want_result
from storage.tables import ResultStatus

if TYPE_CHECKING:
    from runner.execution import RunExecution
    from schemas.result import Result

log = structlog.get_logger(__name__)


class Results:
    """The results of one claimed run."""

    def __init__(self, run: RunExecution, *, watch: Callable[[str, bool], None]) -> None:
        self._run = run
        self.slots: dict[str, str] = {}
        """The output of each slot that is wanted."""
        self._settled: dict[str, Settled] = {}
        self._watch = watch
        self._expecting = False
        self._log = log.bind(run=run.claim.run_id)

    def load(self, connection: Connection) -> None:
        """Read what is wanted and what is settled."""
        run_id = self._run.claim.run_id
        self.slots = slots_of(connection, run_id)
        self._settled = {one.slot: one for one in settled_results(connection, [run_id]).get(run_id, [])}

    @property
    def settled(self) -> Collection[Settled]:
        """Those that are over, as far as was heard."""
        return self._settled.values()

    @property
    def refused(self) -> frozenset[str]:
        """Slots that will never be posted: they do not count as uses."""
        return frozenset(slot for slot, one in self._settled.items() if one.status is ResultStatus.REFUSED)

    @property
    def posted(self) -> bool:
        """Something that the agent asked for was published: no slot of the hub's own words has a colon."""
        return any(one.status in DONE and ":" in slot for slot, one in self._settled.items())

    @property
    def final(self) -> Settled | None:
        """The closing report, where it is settled."""
        return self._settled.get(FINAL_SLOT)

    async def want(self, result: Result, *, tool_use_id: str) -> None:
        """Store a wanted result and announce it."""
        new = await self._run.owned(
            lambda connection: want_result(connection, result, tool_use_id=tool_use_id)
        )
        self.stored(result)
        if new:
            self.announce(result)

    def stored(self, result: Result) -> None:
        """It is in the database from now on."""
        self.slots[result.slot] = result.output

    async def settle(self, result: Result, **outcome: Any) -> Settled:
        """Store a result that nobody will post; the keywords are those of `storage.results.settle_result`."""
        settled = await self._run.owned(lambda connection: settle_result(connection, result, **outcome))
        self.stored(result)
        self.heard(settled)
        return settled

    def heard(self, settled: Settled) -> None:
        """It is over."""
        self._settled[settled.slot] = settled

    async def answered(self, settled: Settled) -> None:
        """Note that the agent was told of a result. Only for people who look: the session's history decides."""
        self.heard(settled)
        run = self._run

        def store(connection: Connection) -> None:
            if runs.note_run(connection, run.claim):
                mark_answered(connection, settled.id)

        try:
            await run.world.database.write(store)
        except StorageUnavailableError:
            self._log.warning("an answer was given but not noted; the history tells it", result=settled.id)

    def expect(self, *, expected: bool) -> None:
        """Have the worker hand over settled results, or not any more."""
        if expected != self._expecting:
            self._expecting = expected
            self._watch(self._run.claim.run_id, expected)

    async def all_settled(self) -> None:
        """Wait until everything that is wanted is over."""
        self._expecting = False
        while set(self.slots) - set(self._settled):
            self.expect(expected=True)
            kind, payload = await self._run.inbox.get()
            if kind == "results":
                self._settled |= {one.slot: one for one in payload}

    def announce(self, result: Result) -> None:
        """Have a stored result published soon."""
        body = result.model_dump_json().encode()
        self._run.world.announce([(Message(RESULTS.name, result.id, result.conversation, body), result)])
