"""Giving a session its work, once: make an old session ready, look for the message after any doubt, send it.

Events carry no client id, so a message is known by its first line, the run's marker. A session that was used before
may be gone, at its budget, still at work, or blocked by a question that nobody answers any more.
"""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING, Final

import structlog

from runner.errors import BusyError, RefusedError, UncertainError
from runner.mounts import refresh_tokens
from runner.service import RUNNING, cap_of, is_over
from runner.turn import cost_cents, first_line, plain_usage

if TYPE_CHECKING:
    from runner.execution import RunExecution
    from runner.reader import Reader

log = structlog.get_logger(__name__)


DAY: Final = 24 * 3600.0


class SessionGoneError(Exception):
    """The session takes no work, ever: only a replacement helps."""


class Sending:
    """One run's work on its way to its session. Raises ServiceError, SessionGoneError, StopWantedError."""

    def __init__(self, run: RunExecution) -> None:
        self._run = run
        self._service = run.world.service
        self._timing = run.world.timing
        self.first_sent_at = float("inf")
        """Loop time of the first try: no earlier history can hold anything of this turn."""
        self._log = log.bind(run=run.claim.run_id, session=run.session_id)

    async def prepare(self) -> None:
        """Make a session that was used before ready: it must be alive, idle, below its budget, with a live token."""
        run, dispatch = self._run, self._run.claim.dispatch
        try:
            session = await self._service.retrieve_session(run.session_id)
        except RefusedError as error:
            if error.gone:
                raise SessionGoneError(str(error)) from None
            raise
        if is_over(session):
            raise SessionGoneError(f"the session is {session.status}")
        age = time.time() - session.created_at.timestamp()
        if age > self._timing.session_days * DAY:
            raise SessionGoneError(f"the session is {age / DAY:.0f} days old, and its machine is gone by now")
        spent = cost_cents(plain_usage(getattr(session, "usage", None)))
        cap = cap_of(session)
        limit = run.budget.wanted
        if limit is not None and cap is None:
            raise SessionGoneError("the session was made without a budget, and the rule has one now")
        halted = cap is not None and spent is not None and spent >= cap
        if limit is not None and spent:
            # A further turn gets the rule's budget on top of what was spent.
            await self._service.set_budget(run.session_id, spent + limit)
        if dispatch.mounts:
            due = await refresh_tokens(run.world, dispatch.mounts, session)
            run.tokens_due = asyncio.get_running_loop().time() + due
        if halted:
            await self._calm(already=True)  # raising the budget woke the turn that had used it up
        elif session.status in RUNNING:
            await self._calm(already=False)

    async def send(self, reader: Reader) -> str:
        """Send the message and return its id."""
        run, timing = self._run, self._timing
        delay = timing.first_delay
        last = "not tried"
        for _ in range(timing.tries):
            try:
                async with asyncio.timeout(timing.open_stream):
                    # Open the stream first, then send: what happens in between would be seen by nobody.
                    await run.unless_stopped(reader.open.wait())
            except TimeoutError:
                raise BusyError(f"the stream did not open: {reader.trouble}") from None
            wait = delay
            try:
                return await self._send_once()
            except RefusedError as error:
                await self._make_way(error)
                last = str(error)
            except UncertainError as error:
                self._log.warning("the work may have been sent", reason=str(error))
                last = str(error)
                await asyncio.sleep(delay)
                message_id = await self.find()
                if message_id is not None:
                    return message_id
            except BusyError as error:
                last = str(error)
                wait = error.retry_after if error.retry_after is not None else delay
            if wait > timing.longest_wait:
                raise BusyError(f"the work was not sent: {last}", retry_after=wait)
            await run.unless_stopped(asyncio.sleep(wait))
            delay = min(timing.max_delay, delay * 2)
        raise BusyError(f"the work was not sent: {last}")

    async def find(self) -> str | None:
        """The message of an earlier attempt. Looks more than once, because a fresh one may not be listed at once."""
        run = self._run
        for pause in self._timing.settle:
            await asyncio.sleep(pause)
            try:
                events = await self._service.list_events(run.session_id, types=["user.message"])
            except RefusedError as error:
                if error.gone:
                    raise SessionGoneError(str(error)) from None
                raise
            for event in events:
                if first_line(event) == run.mark():
                    return str(event.id)
        return None

    async def _send_once(self) -> str:
        run = self._run
        self.first_sent_at = min(self.first_sent_at, asyncio.get_running_loop().time())
        events = await run.events()
        async with run.lease.held():
            echoed = await self._service.send(run.session_id, events)
        mine = [echo for echo in echoed if first_line(echo) == run.mark()]
        id_ = mine[0].get("id") if mine else None
        if not id_:
            raise UncertainError("the work was taken, but the answer does not say under which id")
        return str(id_)

    async def _make_way(self, error: RefusedError) -> None:
        """Remove what keeps the session from taking a message, or raise."""
        run = self._run
        if error.gone:
            raise SessionGoneError(str(error))
        if error.blocked:
            self._log.info("the session waits for an old answer; interrupting it first")
            await self._calm(already=True)
        elif error.over_budget:
            self._log.info("the session stands at its budget; raising it first")
            session = await self._service.retrieve_session(run.session_id)
            limit = run.budget.wanted
            spent = cost_cents(plain_usage(getattr(session, "usage", None))) or 0
            await self._service.set_budget(run.session_id, None if limit is None else spent + 1 + limit)
            await self._calm(already=True)
        else:
            raise error

    async def _calm(self, *, already: bool) -> None:
        """Bring the session to rest. `already`: it certainly works or waits; otherwise its status may only lag."""
        run, timing = self._run, self._timing
        loop = asyncio.get_running_loop()
        if not already and await self._rests(until=loop.time() + timing.status_lag):
            return
        self._log.info("the session is not at rest; interrupting what it does")
        async with run.lease.held():
            await self._service.interrupt(run.session_id)
        if not await self._rests(until=loop.time() + timing.calm):
            raise BusyError("the session still works on something earlier and does not react to an interrupt")

    async def _rests(self, *, until: float) -> bool:
        loop = asyncio.get_running_loop()
        delay = self._timing.first_delay / 2
        while loop.time() < until:
            await self._run.unless_stopped(asyncio.sleep(delay))
            session = await self._service.retrieve_session(self._run.session_id)
            if session.status not in RUNNING:
                return True
            delay = min(delay * 2, self._timing.max_delay)
        return False
