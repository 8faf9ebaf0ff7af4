"""Follow-ups that reach a session while it works: written down as wanted, sent once, and joined to the run at work.

A message that may have been sent is looked for in the session's history, by the marker of its first line, before it
is sent. What cannot be sent (the turn is over, the session waits for an answer) stays queued: at the latest it
becomes the next turn.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Final

import structlog

from runner.errors import RefusedError, ServiceError, UncertainError
from runner.messages import marker_of, work_message
from runner.turn import Turn, first_line
from storage import follow_ups
from storage.clock import read_clock
from storage.follow_ups import Group

if TYPE_CHECKING:
    from runner.execution import RunExecution

log = structlog.get_logger(__name__)

NEVER: Final = float("inf")


class Steering:
    """The follow-ups of one turn."""

    def __init__(self, run: RunExecution, turn: Turn) -> None:
        self._run = run
        self._turn = turn
        self._timing = run.world.timing
        self._delay = self._timing.first_delay
        self._doubtful: set[str] = set()
        """Leads whose message may have been sent."""
        self._noted: set[str] = set()
        self._refused = False
        """The session takes no message in this turn."""
        self.wanted = False
        """The worker saw that a follow-up waits."""
        self.again_at = NEVER
        """Loop time at which to look again at what did not get through."""
        self._log = log.bind(run=run.claim.run_id, session=run.session_id)

    async def resume(self) -> None:
        """After a claim that is not the first: know what an earlier owner may have sent."""
        run = self._run
        for group in await run.world.database.read(follow_ups.reserved, run.claim.run_id):
            self._doubtful.add(group.lead)
            self._turn.expect(marker_of(group.lead))
            self.wanted = True

    async def note(self) -> None:
        """Write down which follow-ups the session has taken up."""
        told = [(mark, id_) for mark, id_ in self._turn.taken if mark not in self._noted]
        if told:
            leads = [(_lead(mark), id_) for mark, id_ in told]
            await self._run.owned(
                lambda connection: follow_ups.join(connection, leads, now=read_clock(connection))
            )
            self._noted |= {mark for mark, _ in told}

    async def give(self) -> None:
        """Send what waits, as far as the session takes it. Raises RefusedError where the session is gone."""
        loop = asyncio.get_running_loop()
        if not self.wanted or self._refused or loop.time() < self.again_at < NEVER:
            return
        self.again_at = NEVER
        if self._turn.pending or self._turn.asking or self._turn.outstanding:
            # A message is refused while the session waits for an answer, and a second one can wait for the first.
            return  # whatever ends that is an event or an answer, and then this is asked again
        await self.note()
        claim = self._run.claim
        group = await self._run.owned(
            lambda connection: follow_ups.reserve(connection, claim.run_id, claim.dispatch.conversation)
        )
        self.wanted = group is not None
        if group is None:
            return
        await self._send(group)

    async def _send(self, group: Group) -> None:
        mark = marker_of(group.lead)
        self._turn.expect(mark)
        if group.known or group.lead in self._doubtful:
            try:
                found = await self._find(mark)
            except ServiceError as error:
                if isinstance(error, RefusedError) and error.gone:
                    raise
                self._log.info("the history could not be read", reason=str(error))
                self._later(getattr(error, "retry_after", None))
                return
            if found is not None:
                self._turn.expect(mark, found)
                self._turn.reread = True
                return
            if self._turn.sent(mark) is not None:
                return
        self._doubtful.add(group.lead)
        first, *also = group.dispatches
        message = work_message(first, group.lead, also=also, branch=self._run.work.branch)
        try:
            async with self._run.lease.held():
                echoed = await self._run.world.service.send(self._run.session_id, [message])
        except RefusedError as error:
            if error.gone:
                raise
            if error.blocked:
                self._later()
            else:
                self._refused = True
                self._log.info(
                    "the session takes no follow-up in this turn; it is the next", reason=str(error)
                )
            return
        except UncertainError as error:
            self._log.warning("a follow-up may have been sent", lead=group.lead, reason=str(error))
            self._later()
            return
        except ServiceError as error:
            self._log.info("a follow-up was not sent", lead=group.lead, reason=str(error))
            self._later(getattr(error, "retry_after", None))
            return
        self._delay = self._timing.first_delay
        id_ = str(echoed[0].get("id") or "") if echoed else ""
        self._log.info("a follow-up was told to the session at work", lead=group.lead, events=len(also) + 1)
        if id_:
            self._turn.expect(mark, id_)
        self._later()  # there may be more

    async def _find(self, mark: str) -> str | None:
        """The message of an earlier attempt. Looks more than once: a fresh one may not be listed at once."""
        for pause in self._timing.settle:
            await asyncio.sleep(pause)
            events = await self._run.world.service.list_events(self._run.session_id, types=["user.message"])
            for event in events:
                if first_line(event) == mark:
                    return str(event.id)
        return None

    def _later(self, retry_after: float | None = None) -> None:
        wait = self._delay if retry_after is None else min(retry_after, self._timing.longest_wait)
        self.again_at = min(self.again_at, asyncio.get_running_loop().time() + wait)
        self._delay = min(self._timing.max_delay, self._delay * 2)


def _lead(mark: str) -> str:
    return mark.removeprefix(marker_of(""))
