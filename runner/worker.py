"""The runner's worker: claims runs, keeps their leases, hands them settled results and stop requests.

Kafka's handler only writes the run and returns (a session may last for hours, a consumer may not). Many runs share one
process and one event loop; one conversation has one run at a time, which the database sees to.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import Final, Protocol

import structlog
from sqlalchemy import Connection
from sqlalchemy.exc import SQLAlchemyError

from runner.approvals import look_after
from runner.execution import RunExecution
from runner.lease import Lease
from runner.report import FOLLOW_UP
from runner.upkeep import Upkeep
from runner.world import World
from schemas.dispatch import Dispatch
from storage import approvals, budgets, doorbells, follow_ups, presence, runs
from storage.bell import Bell
from storage.claims import Claim, claim_runs, release_run, renew_leases
from storage.database import StorageUnavailableError
from storage.results import settled_results
from storage.spacing import Spacing
from storage.tables import RunStatus

log = structlog.get_logger(__name__)

CLAIM_BATCH: Final = 50
IDLE_SECONDS: Final = 5.0
"""Between two looks for settled results when no run waits for any."""


Progress = Callable[[str, float], None]
"""Called when a part came round: its name, and the seconds that it rests before it comes round again."""


class TakenDispatch(Protocol):
    """A decoded record of `triggerhub.dispatches`."""

    @property
    def value(self) -> Dispatch: ...

    @property
    def body(self) -> bytes: ...


class Worker:
    """One per process with the role `runner`."""

    def __init__(
        self,
        world: World,
        *,
        owner: str,
        max_runs: int,
        settled: Bell,
        on_progress: Progress = lambda _part, _every: None,
    ) -> None:
        self._world = world
        self._timing = world.timing
        self._owner = owner
        self._spacing = Spacing(base=self._timing.give_back, longest=self._timing.max_give_back)
        self._max_runs = max_runs
        self._settled = settled
        self._on_progress = on_progress
        self._bell = Bell()
        self._running: dict[str, tuple[RunExecution, asyncio.Task[None]]] = {}
        self._awaiting: set[str] = set()
        self._told: dict[str, int] = {}
        """How many settled results each waiting run was handed."""
        self._tasks: asyncio.TaskGroup | None = None
        """Where runs are started; None while none may be."""
        self._claiming = 0
        """Runs that claims under way may bring at most."""
        self._stopping = False
        self._stopped = asyncio.Event()
        self.upkeep = Upkeep(world)
        """Looks after sessions that no run looks after; run beside the worker."""

    async def take(self, batch: Sequence[TakenDispatch]) -> None:
        """Kafka handler: make the runs durable, begin those there is room for, and return.

        Raises StorageUnavailableError.
        """
        tasks, until, room = self._tasks, self._lease_from_now(), self._room()
        since = asyncio.get_running_loop().time()

        def store(connection: Connection) -> tuple[list[Claim], int]:
            for taken in batch:
                new = runs.take_dispatch(connection, taken.value, taken.body)
                if new and self._world.can_report(taken.value.event.connection):
                    presence.want(connection, taken.value)
            return self._claim_beside(connection, room) if tasks is not None and room > 0 else ([], 0)

        self._claiming += room
        try:
            claims, permits = await self._world.database.write(store)
        finally:
            self._claiming -= room
        self._world.service.permits.give("creates", permits, since=since)
        if tasks is not None and tasks is self._tasks:
            for claim in claims:
                self._start(tasks, claim, until=until)
        else:
            await self._release(claims)  # it was stopped meanwhile
        if len(claims) < len(batch):
            self._bell.ring()

    def _claim_beside(self, connection: Connection, room: int) -> tuple[list[Claim], int]:
        """Claims, and permits for the sessions they will create, in the transaction that made the runs.

        A transaction of its own for each of the three would cost a run two more waits for the disk.
        """
        try:
            with connection.begin_nested():
                claims = claim_runs(
                    connection,
                    owner=self._owner,
                    limit=room,
                    lease=self._timing.lease,
                    spacing=self._spacing,
                    admission=self._world.admission,
                )
                creates = sum(claim.status is RunStatus.CREATING for claim in claims)
                return claims, self._world.service.permits.reserve(connection, "creates", creates)
        except SQLAlchemyError:
            raise
        except Exception:  # what is wrong with another run must not make a dead letter of this batch
            log.exception("claiming runs failed unexpectedly")
            return [], 0

    @property
    def running(self) -> int:
        """Runs in hand."""
        return len(self._running)

    def is_full(self) -> bool:
        """Whether it follows as many runs as it may, and claims no more."""
        return len(self._running) >= self._max_runs

    async def run(self) -> None:
        """Work until cancelled or stopped."""
        self._on_progress("claims", self._timing.claim_poll)
        try:
            async with asyncio.TaskGroup() as tasks:
                beside = [
                    tasks.create_task(
                        self._again(self._keep_leases, self._timing.heartbeat), name="runner-leases"
                    ),
                    tasks.create_task(
                        self._again(self._look_for_stops, self._timing.stop_poll), name="runner-stops"
                    ),
                    tasks.create_task(
                        self._again(self._look_for_follow_ups, self._timing.follow_up_poll),
                        name="runner-follow-ups",
                    ),
                    tasks.create_task(
                        self._again(self._look_after_approvals, self._timing.stop_poll),
                        name="runner-approvals",
                    ),
                    tasks.create_task(
                        self._again(self._hand_out_results, 0.0, rest=IDLE_SECONDS), name="runner-results"
                    ),
                    tasks.create_task(
                        self._again(self._note_activities, self._timing.activity_poll),
                        name="runner-activities",
                    ),
                ]
                self._tasks = tasks
                while not self._stopping:
                    until = self._lease_from_now()
                    claims = await self._claim()
                    for claim in claims:
                        self._start(tasks, claim, until=until)
                    if not claims:
                        await self._bell.wait(self._timing.claim_poll)
                await self._release_all()
                for task in beside:
                    task.cancel()
        finally:
            self._tasks = None
            self._stopped.set()

    async def stop(self) -> None:
        """Claim no more, give every run back, and return when that is done.

        Remote sessions go on; the next owner picks them up.
        """
        self._stopping = True
        self._bell.ring()
        await self._stopped.wait()

    # Runs -----------------------------------------------------------------------------------------------------------

    async def _claim(self) -> list[Claim]:
        room = self._room()
        if room <= 0:
            self._on_progress("claims", self._timing.claim_poll)
            return []
        self._claiming += room
        try:
            claims = await self._world.database.write(
                claim_runs,
                owner=self._owner,
                limit=room,
                lease=self._timing.lease,
                spacing=self._spacing,
                admission=self._world.admission,
            )
        except StorageUnavailableError as error:
            log.warning("runs could not be claimed", error=str(error))
        except Exception:  # a row that this version cannot read must not stop the others' runs
            log.exception("claiming runs failed unexpectedly")
        else:
            self._on_progress("claims", self._timing.claim_poll)
            return claims
        finally:
            self._claiming -= room
        return []

    def _room(self) -> int:
        return min(CLAIM_BATCH, self._max_runs - len(self._running) - self._claiming)

    def _lease_from_now(self) -> float:
        return asyncio.get_running_loop().time() + self._timing.lease

    def _start(self, tasks: asyncio.TaskGroup, claim: Claim, *, until: float) -> None:
        earlier = self._running.get(claim.run_id)
        if earlier is not None:
            # This process was asleep for longer than its lease: what it held is superseded by its own new claim.
            earlier[1].cancel()
        execution = RunExecution(self._world, claim, watch=self._watch, lease=Lease(until))
        self._running[claim.run_id] = execution, tasks.create_task(self._drive(execution), name=claim.run_id)

    async def _drive(self, execution: RunExecution) -> None:
        run_id = execution.claim.run_id
        try:
            await execution.run()
        except Exception:
            log.exception("a run could not be given back; its lease runs out", run=run_id)
        finally:
            held = self._running.get(run_id)
            if held is not None and held[0] is execution:
                del self._running[run_id]
                self._awaiting.discard(run_id)
            self._bell.ring()

    def _watch(self, run_id: str, awaiting: bool) -> None:  # noqa: FBT001 - a switch
        self._told.pop(run_id, None)
        if awaiting:
            self._awaiting.add(run_id)
            self._settled.ring()
        else:
            self._awaiting.discard(run_id)

    async def _release_all(self) -> None:
        self._tasks = None
        held = list(self._running.values())
        for _, task in held:
            task.cancel()
        await asyncio.gather(*(task for _, task in held), return_exceptions=True)
        await self._release([execution.claim for execution, _ in held])

    async def _release(self, claims: Sequence[Claim]) -> None:
        if not claims:
            return

        def release(connection: Connection) -> None:
            for claim in claims:
                release_run(connection, claim, delay=0.0, count_attempt=False)

        try:
            await self._world.database.write(release)
        except StorageUnavailableError as error:
            log.warning("runs could not be given back; their leases run out", error=str(error))

    # Beside them ----------------------------------------------------------------------------------------------------

    async def _again(self, work: Callable[[], Awaitable[None]], pause: float, *, rest: float = 0.0) -> None:
        """Do it for ever, whatever goes wrong. `rest`: seconds that the work itself may wait for something to do."""
        self._on_progress(work.__name__.strip("_"), pause + rest)
        while True:
            await asyncio.sleep(pause)
            try:
                await work()
                self._on_progress(work.__name__.strip("_"), pause + rest)
            except StorageUnavailableError as error:
                log.warning("the database is away", during=work.__name__.strip("_"), error=str(error))
                await asyncio.sleep(1)
            except Exception:
                log.exception("unexpected failure", during=work.__name__.strip("_"))
                await asyncio.sleep(1)

    async def _keep_leases(self) -> None:
        before = dict(self._running)
        if not before:
            return
        until = self._lease_from_now()
        held = await self._world.database.write(
            renew_leases, list(before), owner=self._owner, lease=self._timing.lease
        )
        for run_id, (execution, task) in before.items():
            now = self._running.get(run_id)
            if now is None or now[0] is not execution:
                continue
            if run_id in held:
                execution.lease.extend(until)
            else:
                log.warning("the lease of a run was lost; its task stops", run=run_id)
                task.cancel()

    async def _look_for_stops(self) -> None:
        if not self._running:
            return
        wanted = await self._world.database.read(runs.stop_wanted, list(self._running))
        for run_id, reason in wanted.items():
            held = self._running.get(run_id)
            if held is not None:
                held[0].ask_to_stop(reason)
        for run_id, cents in (await self._world.database.read(budgets.raised, list(self._running))).items():
            held = self._running.get(run_id)
            if held is not None:
                held[0].ask_to_raise(cents)
        for run_id, count in (await self._world.database.read(doorbells.rung, list(self._running))).items():
            held = self._running.get(run_id)
            if held is not None:
                held[0].ask_to_look(count)

    async def _look_after_approvals(self) -> None:
        """Close and show what was decided or is over, and tell runs at work of it. Wake runs that wait for people
        while a follow-up wants to interrupt them."""
        await look_after(self._world.database, self._world.announce)
        for run_id in await self._world.database.read(follow_ups.held_up):
            await self._world.database.write(runs.ask_to_stop, run_id, reason=FOLLOW_UP)
        asking = {run_id: held for run_id, held in self._running.items() if held[0].approvals.is_waiting}
        if not asking:
            return
        found = await self._world.database.read(approvals.of_runs, list(asking))
        for run_id, (execution, _) in asking.items():
            execution.inbox.put_nowait(("approvals", found.get(run_id, [])))

    async def _look_for_follow_ups(self) -> None:
        """Tell runs at work of follow-ups that want to be told at once."""
        if not self._running:
            return
        waiting = await self._world.database.read(follow_ups.waiting_for, self._owner)
        for run_id, manner in waiting.items():
            held = self._running.get(run_id)
            if held is not None:
                held[0].inbox.put_nowait(("follow_up", manner))

    async def _note_activities(self) -> None:
        """Have it shown what the agents did last."""
        done = {
            run_id: words
            for run_id, (execution, _) in list(self._running.items())
            if execution.status is RunStatus.RUNNING and (words := execution.activity.news()) is not None
        }
        if done:
            await self._world.database.write(presence.note_activities, done)

    async def _hand_out_results(self) -> None:
        """Tell waiting runs what became of their results."""
        await self._settled.wait(self._timing.result_poll if self._awaiting else IDLE_SECONDS)
        waiting = set(self._awaiting)
        if not waiting:
            return
        for run_id, settled in (await self._world.database.read(settled_results, waiting)).items():
            held = self._running.get(run_id)
            if held is not None and run_id in self._awaiting and self._told.get(run_id) != len(settled):
                self._told[run_id] = len(settled)
                held[0].inbox.put_nowait(("results", settled))
