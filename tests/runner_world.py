"""A runner against the sandbox over loopback: real SDK, real database, real outbox and GitHub connector.

The way between runner and poster (Kafka in the product) is a loop over the outbox table here. Asserts nothing.
"""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any, Final, Protocol

import httpx
from runner_posting import announce_nothing, carry, outbound
from runner_samples import QUICK, REPOSITORY
from sqlalchemy import Connection, select, update

from connectors.observations import Observations
from connectors.outbox import Outbox
from connectors.poster import RepositoryAccess
from runner.catalogue import Catalogue, Definitions
from runner.execution import RunExecution
from runner.permits import Permits
from runner.reader import Inbox
from runner.service import Service, make_client
from runner.store_service import StoreService
from runner.stores import Secrets, Stored, Stores
from runner.timing import Timing
from runner.worker import Worker
from runner.world import MountError, World
from sandbox.managed_agents.state import AgentsState
from sandbox.server import Sandbox, serve
from sandbox.world import World as SandboxWorld
from schemas.dispatch import Dispatch
from storage import claims, conversations, follow_ups, runs
from storage.bell import Bell
from storage.claims import Claim
from storage.database import Database, open_database
from storage.results import settled_results
from storage.rows import table
from storage.states import RUN_TERMINAL
from storage.tables import ConversationRow, ResultRow, RunRow

PACE: Final = 0.002


class Driven(Protocol):
    """What is used of an execution here."""

    @property
    def inbox(self) -> Inbox: ...

    @property
    def claim(self) -> Claim: ...

    async def run(self) -> None: ...


class Mounts:
    """Repositories of a code host; `problem` is raised where it is set."""

    def __init__(self) -> None:
        self.problem: MountError | None = None
        self.seconds: float | None = None
        """How long the tokens live."""
        self.asked = 0

    async def access(self, connection: str, name: str, *, write: bool = True) -> RepositoryAccess:
        """See runner.world.Repositories."""
        del connection, write
        self.asked += 1
        if self.problem is not None:
            raise self.problem
        return RepositoryAccess(
            url=f"https://github.com/{name}", token=f"ghs_invented_{self.asked}", seconds=self.seconds
        )


class Bench:
    """Everything a runner test needs. Make it with `bench`."""

    def __init__(
        self,
        stack: AsyncExitStack,
        sandbox: Sandbox,
        database: Database,
        world: World,
        tasks: asyncio.TaskGroup,
    ) -> None:
        self.sandbox = sandbox
        self.outside: SandboxWorld = sandbox.world
        self.database = database
        self.world = world
        self.mounts: Mounts = world.repositories  # type: ignore[assignment]  # made below
        self.settled = Bell()
        self.post: Callable[[], None] = lambda: None
        """Start a poster where the bench was made without one."""
        self._stack = stack
        self._tasks = tasks

    @property
    def agents(self) -> AgentsState:
        """The inside of the emulated service."""
        state = self.outside.agents
        if state is None:
            raise RuntimeError("the sandbox serves no agents")
        return state

    # Running --------------------------------------------------------------------------------------------------------

    async def take(self, *dispatches: Dispatch) -> list[str]:
        """Make the runs; return their ids."""

        def store(connection: Connection) -> None:
            for one in dispatches:
                runs.take_dispatch(connection, one, one.model_dump_json().encode())

        await self.database.write(store)
        return [conversations.run_id_of(one.id) for one in dispatches]

    def worker(self, owner: str = "one", *, world: World | None = None, max_runs: int = 500) -> Worker:
        """A started worker. Call its `stop`, or let the bench do it."""
        worker = Worker(world or self.world, owner=owner, max_runs=max_runs, settled=self.settled)
        self._tasks.create_task(worker.run(), name=f"worker-{owner}")
        self._stack.push_async_callback(worker.stop)
        return worker

    async def run(self, dispatch: Dispatch, *, seconds: float = 20) -> dict[str, Any]:
        """Take it, wait for its end, return the run's row. A worker must be there."""
        (run_id,) = await self.take(dispatch)
        return await self.ended(run_id, seconds=seconds)

    async def ended(self, run_id: str, *, seconds: float = 20) -> dict[str, Any]:
        """Wait for the end of a run and return its row."""
        return await self.until(run_id, lambda row: row["status"] in RUN_TERMINAL, seconds=seconds)

    async def until(
        self, run_id: str, met: Callable[[Mapping[str, Any]], bool], *, seconds: float = 20
    ) -> dict[str, Any]:
        """Wait until a run's row is as wanted, and return it."""
        row: dict[str, Any] = {}
        try:
            async with asyncio.timeout(seconds):
                while True:
                    row = await self.row(run_id)
                    if met(row):
                        return row
                    await asyncio.sleep(0.01)
        except TimeoutError:
            msg = f"{run_id} is {row.get('status')} ({row.get('error')}) after {seconds} s"
            raise AssertionError(msg) from None

    async def at_work(self, run_id: str) -> dict[str, Any]:
        """Wait until the session works on the run's message."""
        row = await self.until(run_id, lambda row: row["status"] == "running")
        await self.until(run_id, lambda _: bool(self.sent(row["session_id"], "session.status_running")))
        return row

    async def cancel(self, run_id: str) -> None:
        """As a person does."""
        await self.database.write(runs.ask_to_stop, run_id, reason="cancelled")

    async def until_results(self, run_id: str, *, seconds: float = 20) -> None:
        """Wait until a run wants something posted."""
        async with asyncio.timeout(seconds):
            while not await self.results(run_id):
                await asyncio.sleep(0.01)

    async def claim(self, owner: str = "one", *, lease: float = 30.0) -> list[Claim]:
        """Claim whatever is due."""
        return await self.database.write(claims.claim_runs, owner=owner, limit=100, lease=lease)

    async def orphan(self, run_id: str) -> None:
        """The run's owner is dead, and its lease ran out."""
        rows = table(RunRow)
        await self.write(update(rows).where(rows.c.id == run_id).values(lease_until=0.0, due_at=0.0))

    async def stop_following(self, run_id: str) -> None:
        """Close a run in the database while its session works on, as a run that gave up on its session does."""
        rows = table(RunRow)
        ended = {"status": "failed", "lease_owner": None, "lease_until": None, "ended_at": 0.0}
        await self.write(update(rows).where(rows.c.id == run_id).values(**ended))

    async def follow(self, executions: Mapping[str, Driven]) -> None:
        """Drive executions without a worker around them, until each returns or is killed.

        They are told of their settled results and of follow-ups as the worker would tell them.
        """
        owners = {one.claim.owner for one in executions.values()}
        told: dict[str, int] = {}
        async with asyncio.TaskGroup() as tasks:
            running = {
                run_id: tasks.create_task(one.run(), name=run_id) for run_id, one in executions.items()
            }
            while not all(task.done() for task in running.values()):
                for run_id, settled in (await self.database.read(settled_results, list(executions))).items():
                    if told.get(run_id) != len(settled):
                        told[run_id] = len(settled)
                        executions[run_id].inbox.put_nowait(("results", settled))
                for owner in owners:
                    for run_id, manner in (await self.database.read(follow_ups.waiting_for, owner)).items():
                        if run_id in executions:
                            executions[run_id].inbox.put_nowait(("follow_up", manner))
                await asyncio.sleep(0.02)

    async def finish(self, run_ids: Sequence[str], *, world: World | None = None, rounds: int = 8) -> None:
        """Claim and drive these runs again and again, as processes that start one after the other do."""
        for n in range(rounds):
            left = [run_id for run_id in run_ids if (await self.row(run_id))["status"] not in RUN_TERMINAL]
            if not left:
                return
            for run_id in left:
                await self.orphan(run_id)
            claims = await self.claim(f"again-{n}")
            await self.follow(
                {claim.run_id: RunExecution(world or self.world, claim, watch=unwatched) for claim in claims}
            )
        raise AssertionError(f"still not ended after {rounds} claims: {left}")

    # Looking --------------------------------------------------------------------------------------------------------

    async def write(self, statement: Any) -> None:
        """Execute one statement."""

        def execute(connection: Connection) -> None:
            connection.execute(statement)

        await self.database.write(execute)

    async def row(self, run_id: str) -> dict[str, Any]:
        """A run's row."""
        rows = table(RunRow)
        return await self.database.read(
            lambda connection: dict(
                connection.execute(select(rows).where(rows.c.id == run_id)).mappings().one()
            )
        )

    async def conversation(self, key: str) -> dict[str, Any]:
        """A conversation's row."""
        rows = table(ConversationRow)
        return await self.database.read(
            lambda connection: dict(
                connection.execute(select(rows).where(rows.c.key == key)).mappings().one()
            )
        )

    async def results(self, run_id: str) -> list[dict[str, Any]]:
        """A run's results, in the order in which they were wanted."""
        rows = table(ResultRow)
        query = select(rows).where(rows.c.run_id == run_id).order_by(rows.c.created_at)
        return await self.database.read(
            lambda connection: [dict(row) for row in connection.execute(query).mappings()]
        )

    def comments(self, number: int = 12) -> list[str]:
        """Bodies of the comments on an issue."""
        issue = self.outside.github.repos[REPOSITORY].issues.get(number)
        return [comment.body for comment in issue.comments] if issue is not None else []

    def pulls(self) -> list[int]:
        """Numbers of the pull requests."""
        issues = self.outside.github.repos[REPOSITORY].issues.values()
        return [issue.number for issue in issues if issue.pull is not None]

    def messages(self, mark: str = "") -> list[str]:
        """Ids of the sessions that got a message in which `mark` stands, once for each message."""
        return [work.session_id for work in self.agents.work if mark in work.text]

    def calls(self, method: str, path: str, *, since: int = 0) -> int:
        """How many calls of the service were made. `path` ends in it."""
        return sum(
            call.method == method and call.path.endswith(path)
            for call in self.outside.log.calls("anthropic", since=since)
        )

    def sent(self, session_id: str, kind: str) -> list[dict[str, Any]]:
        """Events of one type in a session's history."""
        history = self.agents.sessions[session_id].history
        return [event for event in [*history.events, *history.queue] if event["type"] == kind]


def unwatched(run_id: str, awaiting: bool) -> None:  # noqa: FBT001 - the worker's own signature
    """In place of a worker: `Bench.follow` tells of all results anyway."""
    del run_id, awaiting


def bench(template: Path, folder: Path, **options: Any) -> AbstractAsyncContextManager[Bench]:
    """`bench_on` a copy in `folder` of `template`, a migrated SQLite file."""
    path = folder / "hub.db"
    shutil.copyfile(template, path)
    return bench_on(f"sqlite:///{path}", **options)


@asynccontextmanager
async def bench_on(
    url: str,
    *,
    timing: Timing = QUICK,
    posting: bool = True,
    creates: int = 100_000,
    reads: int = 100_000,
    call_seconds: float = 10.0,
    agents: Mapping[str, Mapping[str, Any]] | None = None,
    secrets: Secrets | None = None,
) -> AsyncIterator[Bench]:
    """A sandbox, a world over it, and a poster; no worker yet. Everything stops at the end of the block."""
    async with AsyncExitStack() as stack:
        sandbox = await stack.enter_async_context(serve(world=SandboxWorld(create_missing=True, pace=PACE)))
        sandbox.world.github.ensure_repo(REPOSITORY)
        database = open_database(url)
        stack.push_async_callback(database.close)
        http = await stack.enter_async_context(httpx.AsyncClient(timeout=10))
        world = await world_over(
            stack,
            sandbox,
            database,
            timing=timing,
            creates=creates,
            reads=reads,
            call_seconds=call_seconds,
            agents=agents,
            secrets=secrets,
        )
        async with asyncio.TaskGroup() as tasks, AsyncExitStack() as inner:
            made = Bench(inner, sandbox, database, world, tasks)
            sandbox.world.agents.settings.heartbeat = 0.5  # type: ignore[union-attr]  # it is being served

            def post() -> None:
                poster = Outbox(
                    lambda: outbound(sandbox, http),
                    database,
                    owner="poster",
                    settled=made.settled,
                    observations=Observations(),
                )
                carrying = tasks.create_task(carry(database, poster), name="carry")
                tasks.create_task(poster.run(), name="poster")
                inner.push_async_callback(poster.stop)
                inner.callback(carrying.cancel)

            made.post = post
            if posting:
                post()
            yield made


async def world_over(
    stack: AsyncExitStack,
    sandbox: Sandbox,
    database: Database,
    *,
    timing: Timing = QUICK,
    creates: int = 100_000,
    reads: int = 100_000,
    call_seconds: float = 10.0,
    agents: Mapping[str, Mapping[str, Any]] | None = None,
    secrets: Secrets | None = None,
) -> World:
    """What one runner process has: a client, permits, a catalogue of its own."""
    client = make_client(api_key="emu", base_url=sandbox.anthropic_url, max_connections=3000)
    stack.push_async_callback(client.close)
    service = Service(
        client,
        Permits(database, creates_per_minute=creates, reads_per_minute=reads),
        call_seconds=call_seconds,
    )
    definitions = Definitions(
        agents=agents
        if agents is not None
        else {"fixer": {"model": "claude-sonnet-5-5", "tools": [{"type": "agent_toolset_20260401"}]}},
        environments={"python": {"config": {"type": "cloud"}}},
    )
    return World(
        database=database,
        service=service,
        catalogue=Catalogue(service, database, definitions, settle=timing.settle),
        stores=Stores(StoreService(service), database, Stored(), secrets=secrets, settle=timing.settle),
        repositories=Mounts(),
        announce=announce_nothing,
        can_report=lambda name: name == "acme-github",
        timing=timing,
    )
