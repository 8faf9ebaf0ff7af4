"""What a running process is made of, and who makes the parts at its edges. Starts and stops nothing."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final

from connectors.healing import Pace
from connectors.ingress import Inbound, Ingress
from connectors.intake import Intake
from connectors.outbox import Outbound, Outbox
from connectors.presence import Presence
from hub.broker import Broker
from hub.clocks import Clocks
from hub.configuration import LiveConnection, Loaded
from hub.metrics import Metrics
from hub.progress import Progress
from hub.publisher import Publisher
from hub.settings import Settings
from router.scheduler import Scheduler
from router.subscriber import Router, Rules
from runner.catalogue import Catalogue
from runner.service import Service
from runner.stores import Stores
from runner.timing import Timing
from runner.worker import Worker
from schemas.policy.gate import Gate
from storage.bell import Bell
from storage.database import Database

ROLES: Final = ("ingress", "router", "runner", "poster", "web")


class StartError(RuntimeError):
    """The hub cannot start as it is configured. The text names the remedy."""


@dataclass(frozen=True, slots=True)
class Makers:
    """Who makes the parts at the edges. The crash harness puts forgetful ones there, to see that it notices."""

    intake: Callable[..., Intake] = Intake
    service: Callable[..., Service] = Service
    outbox: Callable[..., Outbox] = Outbox
    publisher: Callable[..., Publisher] = Publisher
    timing: Timing = field(default_factory=Timing)
    pace: Pace = field(default_factory=Pace)
    router: Callable[..., Router] = Router
    worker: Callable[..., Worker] = Worker
    clock: Callable[[], float] = time.time
    """This machine's time, as far as it is compared with others'."""


@dataclass(slots=True)
class Parts:
    """What a process is made of, as far as its roles need it."""

    settings: Settings
    roles: frozenset[str]
    instance: str
    database: Database
    broker: Broker
    publisher: Publisher
    metrics: Metrics
    progress: Progress
    clocks: Clocks
    rules: Rules
    loaded: Loaded
    live: dict[str, LiveConnection]
    outbound: dict[str, Outbound]
    inbound: dict[str, Inbound]
    gate: Gate
    settled: Bell = field(default_factory=Bell)
    ingress: Ingress | None = None
    intake: Intake | None = None
    scheduler: Scheduler | None = None
    worker: Worker | None = None
    outbox: Outbox | None = None
    presence: Presence | None = None
    catalogue: Catalogue | None = None
    stores: Stores | None = None
