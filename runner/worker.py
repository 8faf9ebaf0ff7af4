"""The runner's worker: claims runs, keeps their leases, hands them settled results and stop requests.

Kafka's handler only writes the run and returns (a session may last for hours, a consumer may not). Many runs share one
process and one event loop; one conversation has one run at a time, which the database sees to.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import Final, Protocol

import structlog
from sqlalchemy import Connection

from runner.execution import RunExecution
from runner.world import World
from schemas.dispatch import Dispatch
from storage import runs
from storage.bell import Bell
from storage.database import StorageUnavailableError
from storage.results import settled_results

log = structlog.get_logger(__name__)

LEASE_SECONDS: Final = 30.0
HEARTBEAT_SECONDS: Final = 8.0
CLAIM_BATCH: Final = 50
POLL_SECONDS: Final = 0.5
RESULT_POLL_SECONDS: Final = 0.25


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
        on_progress: Callable[[], None] = lambda: None,
    ) -> None:
        self._world = world
        self._owner = owner
        self._max_runs = max_runs
        self._settled = settled
        self._on_progress = on_progress
        self._bell = Bell()
        self._running: dict[str, RunExecution] = {}
        self._tasks: dict[str, asyncio.Task[None]] = {}
        self._awaiting: set[str] = set()
        self._told: dict[str, int] = {}
        """How many settled results each waiting run was handed."""
        self._stopping = False
        self._stopped = asyncio.Event()

    async def take(self, batch: Sequence[TakenDispatch]) -> None:
        """Kafka handler: make the runs durable and return. Raises StorageUnavailableError."""

        def store(connection: Connection) -> None:
            for taken in batch:
                runs.take_dispatch(connection, taken.value, taken.body)

        await self._world.database.write(store)
        self._bell.ring()

    @property
    def running(self) -> int:
        """Runs in hand."""
        return len(self._running)

    async def run(self) -> None:
        """Work until cancelled or stopped."""
        async with asyncio.TaskGroup() as tasks:
            heartbeat = tasks.create_task(self._keep_leases(), name="runner-leases")
            results = tasks.create_task(self._hand_out_results(), name="runner-results")
            while not self._stopping:
                claimed = await self._claim(tasks)
                if not claimed:
                    self._on_progress()
                    await self._bell.wait(POLL_SECONDS)
            await self._release_all()
            heartbeat.cancel()
            results.cancel()
        self._stopped.set()

    async def stop(self) -> None:
        """Claim no more, give every run back, and return when that is done.

        Remote sessions go on; the next owner picks them up.
        """
        self._stopping = True
        self._bell.ring()
        await self._stopped.wait()

    async def _claim(self, tasks: asyncio.TaskGroup) -> int:
        room = min(CLAIM_BATCH, self._max_runs - len(self._running))
        if room <= 0:
            return 0
        try:
            claims = await self._world.database.write(
                runs.claim_runs, owner=self._owner, limit=room, lease=LEASE_SECONDS
            )
        except StorageUnavailableError as error:
            log.warning("runs could not be claimed", error=str(error))
            return 0
        for claim in claims:
            execution = RunExecution(self._world, claim, watch=self._watch)
            self._running[claim.run_id] = execution
            self._tasks[claim.run_id] = tasks.create_task(self._drive(execution), name=claim.run_id)
        return len(claims)

    async def _drive(self, execution: RunExecution) -> None:
        run_id = execution.claim.run_id
        try:
            await execution.run()
        except asyncio.CancelledError:
            if not self._stopping:
                log.warning("the lease of a run was lost; its task stops", run=run_id)
            raise
        except Exception:
            # A fault of ours in one run must not take the others down; the lease runs out and it is tried again.
            log.exception("a run failed unexpectedly", run=run_id)
            await self._give_back(execution)
        finally:
            self._running.pop(run_id, None)
            self._tasks.pop(run_id, None)
            self._awaiting.discard(run_id)
            self._on_progress()
            self._bell.ring()

    async def _give_back(self, execution: RunExecution) -> None:
        try:
            await self._world.database.write(runs.release_run, execution.claim, delay=10.0, count_attempt=True)
        except StorageUnavailableError as error:
            log.warning("a run could not be given back; its lease runs out", error=str(error))

    def _watch(self, run_id: str, awaiting: bool) -> None:  # noqa: FBT001 - a switch
        if awaiting:
            self._awaiting.add(run_id)
            self._told.pop(run_id, None)
            self._settled.ring()
        else:
            self._awaiting.discard(run_id)

    async def _keep_leases(self) -> None:
        while True:
            await asyncio.sleep(HEARTBEAT_SECONDS)
            if not self._running:
                continue
            before = set(self._running)
            try:
                held = await self._world.database.write(runs.renew_leases, owner=self._owner, lease=LEASE_SECONDS)
                wanted = await self._world.database.read(runs.stop_wanted, list(before))
            except StorageUnavailableError as error:
                log.warning("leases could not be renewed", error=str(error))
                continue
            for run_id in before - held:
                task = self._tasks.get(run_id)
                if task is not None and run_id in self._running:
                    task.cancel()
            for run_id, reason in wanted.items():
                execution = self._running.get(run_id)
                if execution is not None:
                    execution.inbox.put_nowait(("stop", reason))
            self._on_progress()

    async def _hand_out_results(self) -> None:
        """Tell waiting runs what became of their results."""
        told = self._told
        while True:
            await self._settled.wait(RESULT_POLL_SECONDS if self._awaiting else 5.0)
            waiting = set(self._awaiting)
            if not waiting:
                told.clear()
                continue
            try:
                found = await self._world.database.read(settled_results, waiting)
            except StorageUnavailableError:
                await asyncio.sleep(1)
                continue
            for run_id, settled in found.items():
                execution = self._running.get(run_id)
                if execution is not None and told.get(run_id) != len(settled):
                    told[run_id] = len(settled)
                    execution.inbox.put_nowait(("results", settled))
            for run_id in set(told) - waiting:
                told.pop(run_id, None)

    async def _release_all(self) -> None:
        executions = list(self._running.values())
        for task in list(self._tasks.values()):
            task.cancel()
        await asyncio.gather(*self._tasks.values(), return_exceptions=True)

        def release(connection: Connection) -> None:
            for execution in executions:
                runs.release_run(connection, execution.claim, delay=0.0, count_attempt=False)

        try:
            await self._world.database.write(release)
        except StorageUnavailableError as error:
            log.warning("runs could not be given back; their leases run out", error=str(error))
