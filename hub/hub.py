"""One running process: database, broker, publisher, the chosen roles, the HTTP side; started and stopped in order.

Start: bind the port, migrate, broker, publisher, roles, then ready. Stop (style guide): refuse new webhooks, stop
consuming, stop claiming, wait, release leases, flush, close. Sessions running elsewhere are left running.
"""

from __future__ import annotations

import asyncio
import os
import socket
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from typing import Any, Final

import structlog

from connectors.base import Identity
from connectors.poster import PostError
from hub.api_access import Access
from hub.broker import Broker
from hub.clocks import Clocks
from hub.configuration import (
    LiveConnection,
    Loaded,
    declared_identity,
    inbound_of,
    live_connections,
    outbound_of,
)
from hub.embedded_broker import embedded_broker
from hub.gaps import canaries_of, start_healing
from hub.gating import facts_of, own_secrets
from hub.logs import keep_secret
from hub.metrics import Metrics
from hub.parts import ROLES, Makers, Parts, StartError
from hub.progress import PUBLISHER, Progress
from hub.publisher import SWEEP_SECONDS, Publisher
from hub.roles import add_roles
from hub.server import Pages, bind, serving
from hub.settings import Settings
from hub.vault_secrets import check_vaults
from router.subscriber import Rules
from schemas.policy.gate import Gate
from storage import claims, healing, presence, results, workers
from storage.database import Database, open_database
from storage.migrate import upgrade

log = structlog.get_logger(__name__)

STOP_SECONDS: Final = 20.0
IDENTIFY_AGAIN_SECONDS: Final = 300.0
POST_SETTLE_SECONDS: Final = 5.0
"""After a crash, before posts that were under way are looked for: the vendor may not be done with them yet."""


@dataclass(slots=True)
class Hub:
    """A started hub, as tests and the command line see it."""

    url: str
    database: Database
    broker: Broker
    progress: Progress
    rules: Rules
    stop: Callable[[], None]
    connections: Mapping[str, LiveConnection]


@asynccontextmanager
async def running_hub(
    settings: Settings,
    loaded: Loaded,
    *,
    roles: frozenset[str] = frozenset(ROLES),
    host: str = "127.0.0.1",
    port: int = 8080,
    environment: Mapping[str, str] | None = None,
    watch: Callable[[Parts], Awaitable[None]] | None = None,
    makers: Makers | None = None,
) -> AsyncIterator[Hub]:
    """Run a hub for the length of the block. Raises StartError, SecretError, PortInUseError before anything runs."""
    live = live_connections(loaded.config, environment=environment)
    keep_secret(value for one in live.values() for value in (*one.files.values(), *one.webhook_secrets))
    api_key = _api_key(settings, roles)
    if "runner" in roles:
        check_vaults(loaded.config, environment=environment)
    async with AsyncExitStack() as stack:
        listener = bind(host, port)
        stack.callback(listener.close)
        database = open_database(settings.database_url)
        stack.push_async_callback(database.close)
        await upgrade(database)
        makers = makers or Makers()
        parts = await _assemble(
            stack, settings, loaded, live, roles, database, Clocks(clock=makers.clock), makers.publisher
        )
        add_roles(stack, parts, api_key, makers, environment)
        if settings.sqlite and roles == frozenset(ROLES):
            # One process owns the file: whoever held a lease before is gone.
            await database.write(claims.release_all, except_owner=parts.instance)
            await database.write(results.release_all, except_owner=parts.instance, settle=POST_SETTLE_SECONDS)
            await database.write(
                presence.release_all, except_owner=parts.instance, settle_seconds=POST_SETTLE_SECONDS
            )
            await database.write(healing.release_all)
        stopping = asyncio.Event()
        address = listener.getsockname()
        hub = Hub(
            url=f"http://{host}:{address[1]}",
            database=database,
            broker=parts.broker,
            progress=parts.progress,
            rules=parts.rules,
            stop=stopping.set,
            connections=live,
        )
        async with asyncio.TaskGroup() as tasks:
            background = await _start(tasks, stack, parts, listener, watch, makers)
            try:
                yield hub
            finally:
                parts.progress.stopping = True
                await _stop(parts)
                for task in background:
                    task.cancel()


async def _assemble(
    stack: AsyncExitStack,
    settings: Settings,
    loaded: Loaded,
    live: dict[str, LiveConnection],
    roles: frozenset[str],
    database: Database,
    clocks: Clocks,
    make_publisher: Callable[..., Publisher],
) -> Parts:
    instance = f"{socket.gethostname()}-{os.getpid()}-{uuid.uuid4().hex[:6]}"
    metrics = Metrics()
    holder: list[Publisher] = []
    parts: Parts

    async def restarted() -> None:
        await parts.broker.declare_topics(emptied=True)
        await holder[0].republish_everything()

    if settings.embedded_broker:
        if roles != frozenset(ROLES):
            msg = (
                "the embedded broker serves one process with all roles; for single roles set "
                "TRIGGERHUB_KAFKA_BOOTSTRAP_SERVERS to an Apache Kafka"
            )
            raise StartError(msg)
        bootstrap = [
            await stack.enter_async_context(
                embedded_broker(on_restart=restarted, worn=lambda: bool(holder) and holder[0].worn())
            )
        ]
    else:
        bootstrap = settings.bootstrap_servers
    broker = Broker(settings, database, bootstrap=bootstrap)
    publisher = make_publisher(
        database, broker, on_progress=lambda: parts.progress.beat(PUBLISHER, "sweep", every=SWEEP_SECONDS)
    )
    holder.append(publisher)
    further = own_secrets(settings)
    keep_secret(further)
    http = await stack.enter_async_context(clocks.client())
    parts = Parts(
        settings=settings,
        roles=roles,
        instance=instance,
        database=database,
        broker=broker,
        publisher=publisher,
        metrics=metrics,
        progress=Progress(
            database,
            broker,
            metrics,
            instance=instance,
            roles=roles,
            stuck=settings.stuck_seconds,
            clocks=clocks,
        ),
        clocks=clocks,
        rules=Rules(loaded.rules),
        loaded=loaded,
        live=live,
        outbound=outbound_of(live, http) if roles & {"poster", "runner", "ingress"} else {},
        inbound=inbound_of(live),
        gate=Gate(lambda: facts_of(live, further=further)),
    )
    return parts


async def _start(
    tasks: asyncio.TaskGroup,
    stack: AsyncExitStack,
    parts: Parts,
    listener: socket.socket,
    watch: Callable[[Parts], Awaitable[None]] | None,
    makers: Makers,
) -> list[asyncio.Task[Any]]:
    token = parts.settings.api_token
    pages = Pages(
        progress=parts.progress,
        metrics=parts.metrics,
        ingress=parts.ingress,
        access=Access(token.get_secret_value() if token is not None else None),
    )
    if "web" in parts.roles:
        from hub import api, asyncapi  # noqa: PLC0415 - only the web role pays for FastAPI's import

        pages.api = api.build(parts.database, parts.rules, parts.settings, host=listener.getsockname()[0])
        pages.asyncapi = asyncapi.document().encode()
    server = await stack.enter_async_context(serving(pages, listener))
    background = [tasks.create_task(server.serve(sockets=[listener]), name="http")]
    if parts.intake is not None:
        background.append(tasks.create_task(parts.intake.run(), name="intake"))
        background.append(tasks.create_task(canaries_of(parts, parts.intake).run(), name="canaries"))
    stack.push_async_callback(
        parts.broker.stop
    )  # also where something below fails; a second stop does nothing
    await parts.broker.start()
    await parts.database.write(_make_due)
    background += [
        tasks.create_task(parts.publisher.run(), name="publisher"),
        tasks.create_task(parts.progress.run(), name="progress"),
        tasks.create_task(_identify(parts), name="identify"),
    ]
    if parts.scheduler is not None:
        background.append(tasks.create_task(parts.scheduler.run(), name="scheduler"))
    if parts.worker is not None:
        background.append(tasks.create_task(parts.worker.run(), name="runner"))
        background.append(tasks.create_task(parts.worker.upkeep.run(), name="upkeep"))
    if parts.outbox is not None:
        background.append(tasks.create_task(parts.outbox.run(), name="poster"))
        if parts.presence is not None:
            background.append(tasks.create_task(parts.presence.run(), name="presence"))
        background += start_healing(tasks, parts, parts.outbox, makers.pace)
    if watch is not None:
        background.append(tasks.create_task(_awaited(watch(parts)), name="watch"))
    parts.progress.started = True
    return background


async def _awaited(work: Awaitable[None]) -> None:
    await work


def _make_due(connection: Any) -> None:
    """At start everything unfinished is published again: this process may have died before it could."""
    from storage.outbox import make_all_due  # noqa: PLC0415

    make_all_due(connection)


async def _stop(parts: Parts) -> None:
    if parts.ingress is not None:
        parts.ingress.closing = True
    try:
        async with asyncio.timeout(STOP_SECONDS):
            await parts.broker.stop_consuming()
            if parts.worker is not None:
                await parts.worker.stop()
            if parts.outbox is not None:
                await parts.outbox.stop()
            if parts.presence is not None:
                await parts.presence.stop()
            await parts.publisher.flush()
            await parts.database.write(workers.leave, instance=parts.instance)
    except TimeoutError:
        log.warning("stopping took too long; what was left is found again by its lease", seconds=STOP_SECONDS)
    except Exception:
        log.exception("stopping was not orderly; what was left is found again by its lease")
    await parts.broker.stop()


async def _identify(parts: Parts) -> None:
    """Ask each vendor who we are, until it answers: that is how our own posts are known when they come back."""
    waiting = dict(parts.outbound) if parts.ingress is not None else {}
    while waiting:
        for name, outbound in list(waiting.items()):
            if parts.outbound.get(name) is not outbound:  # the configuration was loaded again meanwhile
                del waiting[name]
                continue
            try:
                found = await outbound.poster.identify()
            except PostError as error:
                log.warning("the vendor did not say who we are", connection=name, reason=str(error))
                continue
            live, inbound = parts.live.get(name), parts.inbound.get(name)
            if live is not None and inbound is not None:
                declared = declared_identity(live.settings)
                inbound.identity = Identity(
                    actor_ids=declared.actor_ids | found.actor_ids, logins=declared.logins | found.logins
                )
            del waiting[name]
        if waiting:
            await asyncio.sleep(IDENTIFY_AGAIN_SECONDS)


def _api_key(settings: Settings, roles: frozenset[str]) -> str:
    if settings.anthropic_api_key is not None and settings.anthropic_api_key.get_secret_value():
        key = settings.anthropic_api_key.get_secret_value()
        keep_secret([key])
        return key
    if "runner" in roles:
        msg = "ANTHROPIC_API_KEY is not set; set it to a key of the workspace whose agents shall run"
        raise StartError(msg)
    return ""
