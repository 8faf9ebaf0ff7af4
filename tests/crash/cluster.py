"""The cluster under test: every role in a process of its own, on Apache Kafka and PostgreSQL, which are killed too."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from types import MappingProxyType
from typing import Final
from urllib.parse import parse_qs, urlsplit

import psutil
from hub_process import HubProcess, hub_environment
from services.children import own_folder
from services.kafka import Kafka
from services.postgres import Postgres

from crash.setups import PACE, SETTINGS, Edit, SetUp
from hub.demo.scenarios import DEMO_SECRETS

ROLES: Final[Mapping[str, str]] = MappingProxyType(
    {
        "ingress": "ingress",
        "router": "router",
        "runner": "runner",
        "runner-2": "runner",
        "poster": "poster",
        "poster-2": "poster",
    }
)
"""Role of each process of a cluster."""


class Cluster(SetUp):
    """Every role in a process of its own, and two of those that hold leases: one takes over what the other loses."""

    name = "cluster"
    killable: Mapping[str, float] = MappingProxyType(
        {
            "ingress": 2.0,
            "router": 2.0,
            "runner": 2.0,
            "runner-2": 1.0,
            "poster": 2.0,
            "poster-2": 1.0,
            "kafka": 0.7,
            "postgres": 1.0,
        }
    )
    services = ("kafka", "postgres")
    workers = ("runner", "runner-2", "poster", "poster-2")

    def __init__(
        self,
        folder: Path,
        *,
        kafka: Kafka,
        postgres: Postgres,
        database_url: str,
        without: Sequence[str] = (),
        pace: float = PACE,
        processes: Mapping[str, str] = ROLES,
        edit: Edit | None = None,
    ) -> None:
        super().__init__(folder, without=without, pace=pace, edit=edit)
        self._processes = processes
        self.kafka = kafka
        self.postgres = postgres
        self.database_url = database_url

    def make_hubs(self, config: Path) -> None:
        environment = (
            hub_environment(
                database_url=self.database_url, sandbox=self.sandbox, secrets=DEMO_SECRETS, **SETTINGS
            )
            | self.kafka.environment()
        )
        for name, role in self._processes.items():
            self.hubs[name] = HubProcess(
                self.folder,
                config=config,
                environment=environment,
                roles=role,
                without=self.without,
                name=name,
            )

    @property
    def ingress(self) -> HubProcess:
        return self.hubs["ingress"]

    def service_family(self, name: str) -> list[psutil.Process]:
        port = urlsplit(f"kafka://{self.kafka.bootstrap}").port
        if name == "kafka":
            listening = (one for one in psutil.net_connections("tcp") if one.status == psutil.CONN_LISTEN)
            pids = {one.pid for one in listening if one.laddr and one.laddr.port == port and one.pid}
        else:
            pids = {_postmaster(self.postgres.url)}
        found: list[psutil.Process] = []
        for pid in pids:
            with contextlib.suppress(psutil.NoSuchProcess):
                top = psutil.Process(pid)
                found += [top, *top.children(recursive=True)]
        return found

    async def kill_service(self, name: str, *, away: float = 0.0) -> None:
        service = self.kafka if name == "kafka" else self.postgres
        await asyncio.to_thread(service.kill)
        await asyncio.sleep(away)
        await asyncio.to_thread(service.restart)


def _postmaster(url: str) -> int:
    """Process id of a PostgreSQL whose socket folder (or a folder near it) holds its data."""
    folder = Path(parse_qs(urlsplit(url).query)["host"][0])
    notes = [*folder.glob("postmaster.pid"), *folder.glob("*/postmaster.pid")]
    return int(notes[0].read_text().splitlines()[0])


@asynccontextmanager
async def cluster(
    kafka: Kafka,
    postgres: Postgres,
    *,
    without: Sequence[str] = (),
    pace: float = PACE,
    processes: Mapping[str, str] = ROLES,
    edit: Edit | None = None,
) -> AsyncIterator[Cluster]:
    """A running cluster on a fresh database and an emptied broker."""
    folder = own_folder("crash-cluster")
    await kafka.reset()
    url = await postgres.create_database()
    setup = Cluster(
        folder,
        kafka=kafka,
        postgres=postgres,
        database_url=url,
        without=without,
        pace=pace,
        processes=processes,
        edit=edit,
    )
    try:
        await setup.start()
        yield setup
    finally:
        await setup.stop()
        await postgres.wait_until_ready()
        await postgres.drop_database(url)
