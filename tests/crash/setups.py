"""A set-up under test, as a set of processes: how it is started, killed, frozen and starved.

The embedded one is here: one hub with its broker on SQLite. The other is `crash.cluster`. The sandbox stands beside them
and is never touched.
"""

from __future__ import annotations

import asyncio
import contextlib
import signal
import socket
import sqlite3
import time
from abc import ABC, abstractmethod
from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from types import MappingProxyType
from typing import Any, Final, Literal

import psutil
import yaml
from hub_process import HubProcess, Process, SandboxProcess, hub_environment
from services.children import own_folder

from hub.demo.scenarios import DEMO_SECRETS, configuration

SetUpName = Literal["embedded", "cluster"]
Edit = Callable[[dict[str, Any]], None]
"""What a test changes in the configuration."""
SOURCES: Final = ("github", "jira", "sentry", "slack")
SETTINGS: Final = {
    "session_creates_per_minute": 100_000,
    "session_reads_per_minute": 1_000_000,
    "run_lease_seconds": 5,
    "result_lease_seconds": 8,
    "log_level": "info",
}
"""Short leases: with those of production every kill would cost a minute and a half of waiting."""
PACE: Final = 0.03
"""Seconds between two steps of an emulated agent."""
SPARE_BYTES: Final = 48 * 1024
"""Room that a full disk still has."""


def one_by_one(text: str, *, presence: str = "none", edit: Edit | None = None) -> str:
    """The configuration with follow-ups that are each told in a turn of their own: the judge counts turns. `edit`
    changes the rest."""
    config = yaml.safe_load(text)
    for rule in config["rules"]:
        rule |= {"follow_up": "queue", "gather": "0s", "presence": presence}
    if edit is not None:
        edit(config)
    return str(yaml.safe_dump(config, sort_keys=False))


class SetUp(ABC):
    """Processes that can be hurt by name."""

    name: SetUpName
    killable: Mapping[str, float]
    """What can be killed, and how often compared to the others."""
    services: tuple[str, ...]
    """What can be frozen, and what can refuse connections for a while."""
    workers: tuple[str, ...]
    """Hubs that can be frozen for longer than their leases."""

    def __init__(
        self,
        folder: Path,
        *,
        without: Sequence[str] = (),
        pace: float = PACE,
        presence: str = "none",
        edit: Edit | None = None,
    ) -> None:
        self.folder = folder
        self.edit = edit
        self.presence = presence
        self.without = without
        self.sandbox = SandboxProcess(folder, pace=pace)
        self.hubs: dict[str, HubProcess] = {}
        self.database_url = ""

    @property
    @abstractmethod
    def ingress(self) -> HubProcess:
        """Where webhooks go."""

    @abstractmethod
    async def kill_service(self, name: str, *, away: float = 0.0) -> None:
        """SIGKILL what is no hub. Its port refuses connections for `away` seconds; then it is started, or starts
        itself."""

    @abstractmethod
    def service_family(self, name: str) -> list[psutil.Process]:
        """The processes of something that is no hub."""

    def family(self, name: str) -> list[psutil.Process]:
        """The processes of something that can be frozen. Of a hub itself alone: its broker is another thing."""
        hub = self.hubs.get(name)
        if hub is None:
            return self.service_family(name)
        with contextlib.suppress(psutil.NoSuchProcess, RuntimeError):
            return [psutil.Process(hub.pid)]
        return []

    async def kill(self, name: str) -> None:
        """SIGKILL, and start it again. Returns when the new life answers."""
        hub = self.hubs.get(name)
        if hub is None:
            await self.kill_service(name)
            return
        await asyncio.to_thread(hub.kill)
        hub.start()
        await self.revive(hub)

    async def revive(self, hub: HubProcess) -> None:
        """Wait until a hub answers, starting it again where it ended: as a container's restart policy would."""
        for _ in range(20):
            if not hub.alive():
                hub.start()
            with contextlib.suppress(RuntimeError):
                await hub.answering(seconds=30)
                return
            await asyncio.sleep(0.5)
        msg = f"{hub.name} does not come back; the end of its log:\n{hub.log_tail()}"
        raise RuntimeError(msg)

    async def freeze(self, name: str, seconds: float) -> None:
        """Unreachable for a while: SIGSTOP, and SIGCONT."""
        family = self.family(name)
        try:
            for process in family:
                with contextlib.suppress(psutil.NoSuchProcess):
                    process.send_signal(signal.SIGSTOP)
            await asyncio.sleep(seconds)
        finally:
            for process in family:
                with contextlib.suppress(psutil.NoSuchProcess):
                    process.send_signal(signal.SIGCONT)

    async def start(self) -> None:
        """Sandbox first, then every hub."""
        await self.sandbox.up()
        config = self.folder / "triggerhub.yaml"
        written = configuration({source: self.sandbox.api_url(source) for source in SOURCES})
        text = one_by_one(written, presence=self.presence, edit=self.edit)
        config.write_text(text, encoding="utf-8")
        self.make_hubs(config)
        for hub in self.hubs.values():
            hub.start()
        for hub in self.hubs.values():
            await hub.ready()

    @abstractmethod
    def make_hubs(self, config: Path) -> None:
        """Fill `hubs`."""

    async def stop(self) -> None:
        """End everything, the sandbox last."""
        processes: list[Process] = [*self.hubs.values(), self.sandbox]
        for process in processes:
            await asyncio.to_thread(process.kill)


class Embedded(SetUp):
    """One process and its broker."""

    name = "embedded"
    killable: Mapping[str, float] = MappingProxyType({"hub": 3.0, "broker": 1.0})
    services = ("broker",)
    workers = ("hub",)

    def make_hubs(self, config: Path) -> None:
        self.database = self.folder / "hub.db"
        self.database_url = f"sqlite:///{self.database}"
        environment = hub_environment(
            database_url=self.database_url, sandbox=self.sandbox, secrets=DEMO_SECRETS, **SETTINGS
        )
        self.hubs["hub"] = HubProcess(
            self.folder, config=config, environment=environment, without=self.without, name="hub"
        )

    @property
    def ingress(self) -> HubProcess:
        return self.hubs["hub"]

    def service_family(self, name: str) -> list[psutil.Process]:
        del name
        with contextlib.suppress(psutil.NoSuchProcess, RuntimeError):
            return psutil.Process(self.ingress.pid).children(recursive=True)
        return []

    async def kill_service(self, name: str, *, away: float = 0.0) -> None:
        ports = self._listening() if away else []
        for process in self.family(name):
            with contextlib.suppress(psutil.NoSuchProcess):
                process.kill()
        if ports:
            await self._keep_away(name, ports[0], seconds=away)

    def _listening(self) -> list[int]:
        found: list[int] = []
        for process in self.family("broker"):
            with contextlib.suppress(psutil.NoSuchProcess):
                found += [
                    one.laddr.port
                    for one in process.net_connections("tcp")
                    if one.status == psutil.CONN_LISTEN and one.laddr
                ]
        return found

    async def _keep_away(self, name: str, port: int, *, seconds: float) -> None:
        """Hold the port without listening there: clients are refused, and the broker cannot come back yet."""
        until = time.monotonic() + seconds
        with socket.socket() as holder:
            while time.monotonic() < until:
                try:
                    holder.bind(("127.0.0.1", port))
                except OSError:  # the hub was faster than we
                    for process in self.family(name):
                        with contextlib.suppress(psutil.NoSuchProcess):
                            process.kill()
                    await asyncio.sleep(0.005)
                else:
                    await asyncio.sleep(until - time.monotonic())

    async def freeze_broker(self) -> None:
        """Stop the broker until it is killed: what is committed from now on is not published."""
        for process in self.family("broker"):
            process.send_signal(signal.SIGSTOP)

    def full_at(self) -> int:
        """Bytes that the database's files have now, and a little more."""
        return max(path.stat().st_size for path in self.folder.glob(f"{self.database.name}*")) + SPARE_BYTES

    async def fill_disk(self, seconds: float) -> None:
        """One life on a disk with almost no room left."""
        hub = self.ingress
        await asyncio.to_thread(hub.kill)
        hub.start("--file-limit", str(self.full_at()))
        with contextlib.suppress(RuntimeError):
            await hub.answering(seconds=10)
        await asyncio.sleep(seconds)
        await asyncio.to_thread(hub.kill)
        hub.start()
        await self.revive(hub)

    async def lock_database(self, seconds: float) -> None:
        """Another program holds the write lock."""

        @contextlib.contextmanager
        def locked() -> Iterator[None]:
            connection = sqlite3.connect(
                self.database, timeout=5, check_same_thread=False, isolation_level=None
            )
            try:
                connection.execute("BEGIN IMMEDIATE")
                yield
            finally:
                connection.close()

        with contextlib.suppress(sqlite3.OperationalError), locked():
            await asyncio.sleep(seconds)


@asynccontextmanager
async def embedded(
    *, without: Sequence[str] = (), presence: str = "none", edit: Edit | None = None
) -> AsyncIterator[Embedded]:
    """A running embedded set-up in a folder of its own."""
    folder = own_folder("crash-embedded")
    setup = Embedded(folder, without=without, presence=presence, edit=edit)
    try:
        await setup.start()
        yield setup
    finally:
        await setup.stop()
