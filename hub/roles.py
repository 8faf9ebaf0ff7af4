"""The roles of a process: which parts each one has, and how they are joined. Starts nothing but clients."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import AsyncExitStack
from dataclasses import replace
from typing import Final

from connectors.ingress import Ingress
from connectors.presence import POLL_SECONDS as PRESENCE_POLL_SECONDS
from connectors.presence import Presence
from hub.caps import ConfiguredCaps
from hub.parts import Makers, Parts
from hub.repositories import ConnectedRepositories
from hub.vault_secrets import VaultSecrets
from router.scheduler import Scheduler
from runner.catalogue import Catalogue, Definitions, Pin
from runner.permits import Permits
from runner.service import make_client
from runner.store_service import StoreService
from runner.stores import Stored, Stores
from runner.world import World
from schemas.config import Config
from schemas.topics import DISPATCHES, EVENTS, RESULTS

HEARTBEAT_SHARE: Final = 4 / 15
"""Of a run's lease, between two renewals: three may fail before it runs out."""


def add_roles(
    stack: AsyncExitStack,
    parts: Parts,
    api_key: str,
    makers: Makers,
    environment: Mapping[str, str] | None,
) -> None:
    """Build the parts of every role that the process has. `stack` closes the clients among them."""
    settings, progress = parts.settings, parts.progress
    if "ingress" in parts.roles:
        parts.intake = makers.intake(parts.database, limits=settings.intake_limits)
        parts.ingress = Ingress(
            parts.inbound, parts.intake, announce=parts.publisher.announce, observations=parts.metrics
        )
        progress.intake_age = parts.ingress.waits
    if "router" in parts.roles:
        router = makers.router(parts.rules, parts.database, announce=parts.publisher.announce)
        take = progress.taking("router", router.take)
        parts.broker.subscribe(EVENTS, group="triggerhub-router", handler=take)
        parts.scheduler = Scheduler(parts.rules, parts.database, announce=parts.publisher.announce)
    if "runner" in parts.roles:
        client = make_client(
            api_key=api_key,
            base_url=settings.anthropic_base_url,
            max_connections=settings.max_runs + 100,
            clock=parts.clocks.clock,
            on_date=parts.clocks.saw_service,
        )
        stack.push_async_callback(client.close)
        permits = Permits(
            parts.database,
            creates_per_minute=settings.session_creates_per_minute,
            reads_per_minute=settings.session_reads_per_minute,
        )
        service = makers.service(client, permits)
        parts.catalogue = Catalogue(service, parts.database, definitions_of(parts.loaded.config))
        parts.stores = Stores(
            StoreService(service),
            parts.database,
            stored_of(parts.loaded.config),
            secrets=VaultSecrets(api_key, environment=environment),
        )
        world = World(
            database=parts.database,
            service=service,
            catalogue=parts.catalogue,
            stores=parts.stores,
            repositories=ConnectedRepositories(lambda: parts.outbound),
            announce=parts.publisher.announce,
            can_report=lambda name: name in parts.outbound,
            caps=ConfiguredCaps(lambda: parts.loaded.config),
            gate=parts.gate,
            timing=replace(
                makers.timing,
                lease=settings.run_lease_seconds,
                heartbeat=settings.run_lease_seconds * HEARTBEAT_SHARE,
            ),
        )
        parts.worker = makers.worker(
            world,
            owner=parts.instance,
            max_runs=settings.max_runs,
            settled=parts.settled,
            on_progress=lambda part, every: progress.beat("runner", part, every=every),
        )
        progress.full["runner"] = parts.worker.is_full
        parts.metrics.runs.set_function(lambda: float(parts.worker.running) if parts.worker else 0.0)
        take = progress.taking("runner", parts.worker.take)
        parts.broker.subscribe(DISPATCHES, group="triggerhub-runner", handler=take)
    if "poster" in parts.roles:
        parts.outbox = makers.outbox(
            lambda: parts.outbound,
            parts.database,
            owner=parts.instance,
            lease=settings.result_lease_seconds,
            settled=parts.settled,
            observations=parts.metrics,
            on_progress=lambda: progress.beat("poster"),
            known=lambda: parts.gate.known,
        )
        parts.presence = Presence(
            lambda: parts.outbound,
            parts.database,
            owner=parts.instance,
            lease=settings.result_lease_seconds,
            gate=parts.gate,
            observations=parts.metrics,
            held_back=parts.outbox.held_back,
            on_progress=lambda: progress.beat("poster", "presence", every=PRESENCE_POLL_SECONDS),
        )
        progress.held_back = parts.outbox.held_back
        progress.full["poster"] = parts.outbox.is_full
        take = progress.taking("poster", parts.outbox.take)
        parts.broker.subscribe(RESULTS, group="triggerhub-poster", handler=take)


def definitions_of(config: Config) -> Definitions:
    """The vendor part of agents and environments."""
    return Definitions(
        agents={name: agent.vendor() for name, agent in config.agents.items()},
        pins={
            name: Pin(id=agent.id, version=agent.version)
            for name, agent in config.agents.items()
            if agent.id is not None or agent.version is not None
        },
        environments={
            name: environment.model_dump(mode="json", exclude_unset=True)
            for name, environment in config.environments.items()
        },
    )


def stored_of(config: Config) -> Stored:
    """What is kept at the service beside agents and environments, as written."""
    return Stored(
        vaults={name: one.model_dump(mode="json", exclude_unset=True) for name, one in config.vaults.items()},
        memory_stores={name: one.model_dump(mode="json") for name, one in config.memory_stores.items()},
        files={name: one.model_dump(mode="json") for name, one in config.files.items()},
    )
