"""Fixtures for every test: Kafka and PostgreSQL (see `services`), and databases on both engines."""

from __future__ import annotations

import asyncio
import os
import uuid
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AsyncExitStack
from pathlib import Path

import pytest
from dealing import dealt
from services.files import MigratedFiles
from services.kafka import Kafka, start_kafka
from services.need import ServiceMissingError, without
from services.postgres import MigratedDatabases, Postgres, start_postgres
from services.worlds import World

from hub.embedded_broker import embedded_broker
from hub.settings import Settings
from storage.database import Database, open_database
from storage.migrate import upgrade

ENGINES = ["sqlite", pytest.param("postgres", marks=pytest.mark.postgres)]


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Where several processes share the tests, those marked `long` begin first."""
    workers = int(os.environ.get("PYTEST_XDIST_WORKER_COUNT", "1"))
    if workers > 1:
        items[:] = dealt(items, workers, seconds=_seconds)


def _seconds(item: pytest.Item) -> float:
    mark = item.get_closest_marker("long")
    return float(mark.args[0]) if mark is not None else 0.0


@pytest.fixture(scope="session")
def postgres() -> Iterator[Postgres]:
    """The session's PostgreSQL server."""
    try:
        server = start_postgres()
    except ServiceMissingError as error:
        without(error)
    try:
        yield server
    finally:
        server.close()


@pytest.fixture(scope="session")
def kafka() -> Iterator[Kafka]:
    """The session's Apache Kafka. Call `reset` before using it."""
    try:
        broker = start_kafka()
    except ServiceMissingError as error:
        without(error)
    try:
        yield broker
    finally:
        broker.close()


@pytest.fixture(scope="session")
def postgres_template(postgres: Postgres) -> Iterator[str]:
    """URL of a migrated database that tests copy."""

    async def make() -> str:
        url = await postgres.create_database()
        await _migrate(url)
        return url

    url = asyncio.run(make())
    yield url
    asyncio.run(postgres.drop_database(url))


@pytest.fixture(scope="session")
def postgres_databases(postgres: Postgres, postgres_template: str) -> MigratedDatabases:
    """Migrated databases that tests take turns in."""
    return MigratedDatabases(postgres, postgres_template)


@pytest.fixture(scope="session")
def sqlite_template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A migrated file that tests copy."""
    path = tmp_path_factory.mktemp("sqlite") / "template.db"
    asyncio.run(_migrate(f"sqlite:///{path}"))
    return path


@pytest.fixture(params=ENGINES)
def engine(request: pytest.FixtureRequest) -> str:
    """`sqlite` or `postgres`; the service of the latter runs."""
    name = str(request.param)
    if name == "postgres":
        request.getfixturevalue("postgres")
    return name


@pytest.fixture
def remote(engine: str) -> bool:
    """Whether a command asks the API: beside PostgreSQL it does, as a team would, and beside SQLite it reads the file.

    Every command is a process of its own, so each way is gone with one database; the contract tests try every
    question and every change on both.
    """
    return engine == "postgres"


@pytest.fixture
async def empty_url(engine: str, request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[str]:
    """URL of a database without any table."""
    if engine == "sqlite":
        yield f"sqlite:///{tmp_path}/{uuid.uuid4().hex[:8]}.db"
        return
    server: Postgres = request.getfixturevalue("postgres")
    url = await server.create_database()
    yield url
    await server.drop_database(url)


@pytest.fixture
def migrated(
    engine: str, request: pytest.FixtureRequest, tmp_path: Path
) -> MigratedDatabases | MigratedFiles:
    """Where `database_url` gets its database from."""
    if engine == "sqlite":
        return MigratedFiles(request.getfixturevalue("sqlite_template"), tmp_path)
    databases: MigratedDatabases = request.getfixturevalue("postgres_databases")
    return databases


@pytest.fixture
async def database_url(migrated: MigratedDatabases | MigratedFiles) -> AsyncIterator[str]:
    """URL of a migrated database of this test's own, on each engine in turn."""
    url = await migrated.take()
    yield url
    await migrated.give_back(url)


@pytest.fixture
async def open_database_at() -> AsyncIterator[Callable[[str], Database]]:
    """Opens databases that are closed at the test's end: several on one URL stand for several processes."""
    async with AsyncExitStack() as stack:

        def opened(url: str) -> Database:
            database = open_database(url)
            stack.push_async_callback(database.close)
            return database

        yield opened


@pytest.fixture
def database(database_url: str, open_database_at: Callable[[str], Database]) -> Database:
    """A migrated database, open."""
    return open_database_at(database_url)


@pytest.fixture
def other_database(database_url: str, open_database_at: Callable[[str], Database]) -> Database:
    """The same database, as another process has it open."""
    return open_database_at(database_url)


@pytest.fixture
async def sqlite_url(sqlite_template: Path, tmp_path: Path) -> str:
    """URL of a migrated SQLite file of this test's own."""
    return await MigratedFiles(sqlite_template, tmp_path).take()


@pytest.fixture
def sqlite_database(sqlite_url: str, open_database_at: Callable[[str], Database]) -> Database:
    """A migrated database, open, where one engine is enough."""
    return open_database_at(sqlite_url)


@pytest.fixture(params=["embedded", pytest.param("apache", marks=pytest.mark.kafka)])
def broker_kind(request: pytest.FixtureRequest) -> tuple[str, Kafka | None]:
    """`embedded`, or `apache` with the service."""
    name = str(request.param)
    return name, request.getfixturevalue("kafka") if name == "apache" else None


@pytest.fixture
async def world(broker_kind: tuple[str, Kafka | None], sqlite_database: Database) -> AsyncIterator[World]:
    """An empty broker, each kind in turn."""
    name, kafka = broker_kind
    if kafka is not None:
        await kafka.reset()
        yield World(
            name, Settings(kafka_bootstrap_servers=kafka.bootstrap), [kafka.bootstrap], sqlite_database
        )
        return

    async def nothing() -> None:
        pytest.fail("the embedded broker died")

    async with embedded_broker(on_restart=nothing) as address:
        yield World(name, Settings(kafka_bootstrap_servers=None), [address], sqlite_database)


async def _migrate(url: str) -> None:
    database = open_database(url)
    try:
        await upgrade(database)
    finally:
        await database.close()
