"""Transactions on SQLite or PostgreSQL, the same way for both.

`read` and `write` take a plain function over an open SQLAlchemy connection. On SQLite all writes go through one
thread, which commits whatever has queued up since its last commit as one transaction (group commit): one fsync for
many callers, and no lost updates (BEGIN IMMEDIATE). On PostgreSQL each write is a transaction of its own.
No function passed here may wait for anything but the database.
"""

from __future__ import annotations

import asyncio
import contextlib
import sqlite3
import threading
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from queue import SimpleQueue
from typing import Any, Concatenate, Final, ParamSpec, TypeVar

from sqlalchemy import Connection, Engine, create_engine, event, make_url
from sqlalchemy.exc import DatabaseError, DBAPIError, InterfaceError, OperationalError, SQLAlchemyError
from sqlalchemy.exc import TimeoutError as PoolTimeoutError
from sqlalchemy.ext.asyncio import create_async_engine
from sqlalchemy.pool import NullPool

P = ParamSpec("P")
T = TypeVar("T")

GROUP_LIMIT: Final = 512
"""Most callers in one SQLite transaction: bounds how long the first of them waits."""
BUSY_TIMEOUT_SECONDS: Final = 10.0
READERS: Final = 4
CHECKPOINT_SECONDS: Final = 1.0
CACHED_STATEMENTS: Final = 512
"""Compiled and kept by each connection: those of `storage.rows` come in up to 25 lengths."""
LOG_PAGES: Final = 16_000
"""Of the write-ahead log, 64 MB. Beyond that the writer stops for the moment that it takes to begin the log again."""


class StorageUnavailableError(Exception):
    """The database cannot be reached or cannot write (down, disk full). Nothing of the transaction was kept."""


class Database(ABC):
    """One database. Safe to use from many tasks of one event loop."""

    @abstractmethod
    async def write(
        self, work: Callable[Concatenate[Connection, P], T], /, *args: P.args, **kwargs: P.kwargs
    ) -> T:
        """Run `work` in a transaction and return its result once that is durable.

        Raises StorageUnavailableError, or what `work` raised (then nothing of it was kept).
        """

    @abstractmethod
    async def read(
        self, work: Callable[Concatenate[Connection, P], T], /, *args: P.args, **kwargs: P.kwargs
    ) -> T:
        """Run `work` on a consistent snapshot. It must not write."""

    @abstractmethod
    async def close(self) -> None:
        """Finish what was begun and let go of every connection."""


def open_database(url: str) -> Database:
    """The database at `url`: `sqlite:///FILE` or `postgresql://…`. Raises ValueError for anything else."""
    backend = make_url(url).get_backend_name()
    if backend == "sqlite":
        return SqliteDatabase(url)
    if backend == "postgresql":
        return PostgresDatabase(url)
    msg = f"TRIGGERHUB_DATABASE_URL names {backend!r}; use sqlite:///FILE or postgresql://USER@HOST/NAME"
    raise ValueError(msg)


# ---------------------------------------------------------------------------------------------------------------------


def sqlite_engine(url: str, *, begin: str) -> Engine:
    """An engine whose transactions start with `begin`, on a file in WAL mode with full fsync."""
    path = make_url(url).database
    if not path or path == ":memory:":
        msg = "SQLite needs a file, such as sqlite:///.triggerhub/hub.db: memory is not durable"
        raise ValueError(msg)
    Path(path).parent.mkdir(parents=True, exist_ok=True)
    engine = create_engine(
        make_url(url).set(drivername="sqlite"),
        poolclass=NullPool,
        hide_parameters=True,  # an error's text must not hold bodies
        connect_args={
            "timeout": BUSY_TIMEOUT_SECONDS,
            "check_same_thread": False,
            "cached_statements": CACHED_STATEMENTS,
        },
    )

    @event.listens_for(engine, "connect")
    def _connect(dbapi: sqlite3.Connection, _record: Any) -> None:
        dbapi.isolation_level = None  # transactions are begun below, not guessed by the driver
        _use_wal(dbapi)
        # FULL: in WAL mode NORMAL may lose the last commits at power loss, after we answered 2xx.
        dbapi.execute("PRAGMA synchronous=FULL")
        dbapi.execute("PRAGMA foreign_keys=ON")
        dbapi.execute("PRAGMA cache_size=-16000")
        dbapi.execute("PRAGMA wal_autocheckpoint=0")  # done beside the writer, by SqliteDatabase

    @event.listens_for(engine, "begin")
    def _begin(connection: Connection) -> None:
        connection.exec_driver_sql(begin)

    return engine


def _use_wal(dbapi: sqlite3.Connection) -> None:
    """Switch the file to WAL. SQLite does not wait for the lock here, and processes that start together need it."""
    until = time.monotonic() + BUSY_TIMEOUT_SECONDS
    while True:
        try:
            dbapi.execute("PRAGMA journal_mode=WAL")
        except sqlite3.OperationalError as error:
            if "locked" not in str(error) or time.monotonic() > until:
                raise
            time.sleep(0.02)
        else:
            return


@dataclass(slots=True)
class _Job:
    work: Callable[[Connection], Any]
    done: asyncio.Future[Any]
    loop: asyncio.AbstractEventLoop
    value: Any = None
    error: BaseException | None = None

    def settle(self) -> None:
        if self.done.cancelled():
            return
        if self.error is not None:
            self.done.set_exception(self.error)
        else:
            self.done.set_result(self.value)


class SqliteDatabase(Database):
    """SQLite with one writing thread and a few reading ones."""

    def __init__(self, url: str) -> None:
        self._writer_engine = sqlite_engine(url, begin="BEGIN IMMEDIATE")
        self._reader_engine = sqlite_engine(url, begin="BEGIN")
        self._jobs: SimpleQueue[_Job | None] = SimpleQueue()
        self._local = threading.local()
        self._opened: list[Connection] = []
        self._closed = False
        self._readers = ThreadPoolExecutor(READERS, thread_name_prefix="sqlite-read")
        self._thread = threading.Thread(target=self._write_loop, name="sqlite-write", daemon=True)
        self._thread.start()
        self._closing = threading.Event()
        self._log_is_long = False
        self._checkpointer = threading.Thread(
            target=self._checkpoint_loop, name="sqlite-checkpoint", daemon=True
        )
        self._checkpointer.start()

    async def write(
        self, work: Callable[Concatenate[Connection, P], T], /, *args: P.args, **kwargs: P.kwargs
    ) -> T:
        if self._closed:
            raise StorageUnavailableError("the database was closed")
        loop = asyncio.get_running_loop()
        job = _Job(lambda connection: work(connection, *args, **kwargs), loop.create_future(), loop)
        self._jobs.put(job)
        value: T = await job.done
        return value

    async def read(
        self, work: Callable[Concatenate[Connection, P], T], /, *args: P.args, **kwargs: P.kwargs
    ) -> T:
        return await asyncio.get_running_loop().run_in_executor(
            self._readers, lambda: self._read(lambda connection: work(connection, *args, **kwargs))
        )

    async def close(self) -> None:
        if self._closed:
            return
        self._closed = True
        self._jobs.put(None)
        self._closing.set()
        await asyncio.to_thread(self._thread.join)
        await asyncio.to_thread(self._checkpointer.join)
        self._readers.shutdown(wait=True)
        for connection in self._opened:
            connection.close()

    def _read(self, work: Callable[[Connection], T]) -> T:
        try:
            connection: Connection | None = getattr(self._local, "connection", None)
            if connection is None:
                connection = self._reader_engine.connect()
                self._local.connection = connection
                self._opened.append(connection)
            with connection.begin():
                return work(connection)
        except DBAPIError as error:
            if _sqlite_lost(error):
                raise StorageUnavailableError(_say(error)) from error
            raise

    def _checkpoint_loop(self) -> None:
        """Move committed pages from the log into the database file, so that no commit has to wait for it."""
        while not self._closing.wait(CHECKPOINT_SECONDS):
            try:
                with self._reader_engine.connect() as connection:
                    self._log_is_long = _checkpoint(connection) > LOG_PAGES
            except (SQLAlchemyError, sqlite3.Error):
                continue  # busy, or the disk is full: the log keeps everything, and the next round tries again

    def _begin_log_again(self, connection: Connection | None) -> None:
        """If the log is long, move what came since the last checkpoint, which is little, while nothing is written.

        SQLite begins the log again only when all of it was moved, and while commits follow one another the checkpoint
        beside them never gets to the end: the file would grow for as long as a flood lasts.
        """
        if connection is None or not self._log_is_long:
            return
        self._log_is_long = False
        with contextlib.suppress(SQLAlchemyError, sqlite3.Error):
            _checkpoint(connection)

    def _write_loop(self) -> None:
        connection: Connection | None = None
        while True:
            first = self._jobs.get()
            if first is None:
                break
            batch = [first]
            stop = False
            while len(batch) < GROUP_LIMIT and not self._jobs.empty():
                job = self._jobs.get()
                if job is None:
                    stop = True
                    break
                batch.append(job)
            try:
                connection = connection or self._writer_engine.connect()
                self._commit(connection, batch)
            except Exception as error:  # noqa: BLE001 - every caller is told; without this thread nobody can write
                ours = isinstance(error, SQLAlchemyError | sqlite3.Error | OSError)
                for job in batch:
                    job.error = StorageUnavailableError(_say(error)) if ours else error
                if connection is not None:
                    connection.invalidate()
                    connection.close()
                    connection = None
            for loop in {job.loop for job in batch}:
                jobs = [job for job in batch if job.loop is loop]
                if not loop.is_closed():
                    loop.call_soon_threadsafe(_settle, jobs)
            if stop:
                break
            self._begin_log_again(connection)
        if connection is not None:
            connection.close()

    @staticmethod
    def _commit(connection: Connection, batch: list[_Job]) -> None:
        """Run every job in its own savepoint and commit once. An error of the commit itself fails them all."""
        with connection.begin():
            for job in batch:
                alone = len(batch) == 1
                # As text: SQLAlchemy's own savepoints cost as much as what happens in them.
                if not alone:
                    connection.exec_driver_sql("SAVEPOINT job")
                try:
                    job.value = job.work(connection)
                except Exception as error:
                    lost = _sqlite_lost(error)
                    if lost and alone:
                        raise
                    job.error = StorageUnavailableError(_say(error)) if lost else error
                    if alone:
                        connection.rollback()
                        return
                    connection.exec_driver_sql("ROLLBACK TO job")
                if not alone:
                    connection.exec_driver_sql("RELEASE job")


def _checkpoint(connection: Connection) -> int:
    """Move what can be moved without waiting for anybody. Return the pages of the log."""
    raw = connection.connection.dbapi_connection
    if raw is None:
        return 0
    [(_busy, pages, _moved)] = raw.cursor().execute("PRAGMA wal_checkpoint(PASSIVE)").fetchall()
    return int(pages)


def _sqlite_lost(error: Exception) -> bool:
    """True where the file cannot be used: locked, full, damaged. Nothing is wrong with the statement."""
    return isinstance(error, OperationalError | InterfaceError) or type(error) is DatabaseError


def _settle(jobs: list[_Job]) -> None:
    for job in jobs:
        job.settle()


class PostgresDatabase(Database):
    """PostgreSQL through asyncpg and a pool."""

    def __init__(self, url: str, *, pool_size: int = 10) -> None:
        self._engine = create_async_engine(
            make_url(url).set(drivername="postgresql+asyncpg"),
            hide_parameters=True,
            pool_size=pool_size,
            max_overflow=pool_size,
            pool_pre_ping=True,
            pool_timeout=10,
            connect_args={"timeout": 5, "command_timeout": 30},
        )
        self._reader = self._engine.execution_options(
            isolation_level="REPEATABLE READ", postgresql_readonly=True
        )

    async def write(
        self, work: Callable[Concatenate[Connection, P], T], /, *args: P.args, **kwargs: P.kwargs
    ) -> T:
        with _unavailable_when_lost():
            async with self._engine.begin() as connection:
                return await connection.run_sync(lambda sync: work(sync, *args, **kwargs))

    async def read(
        self, work: Callable[Concatenate[Connection, P], T], /, *args: P.args, **kwargs: P.kwargs
    ) -> T:
        with _unavailable_when_lost():
            async with self._reader.connect() as connection:
                return await connection.run_sync(lambda sync: work(sync, *args, **kwargs))

    async def close(self) -> None:
        await self._engine.dispose()


@contextlib.contextmanager
def _unavailable_when_lost() -> Iterator[None]:
    """Turn what says that PostgreSQL is away into StorageUnavailableError; let faults of the statement through."""
    try:
        yield
    except (OSError, TimeoutError) as error:
        raise StorageUnavailableError(f"PostgreSQL does not answer ({type(error).__name__})") from error
    except PoolTimeoutError as error:
        raise StorageUnavailableError("every PostgreSQL connection is in use; raise the pool size") from error
    except DBAPIError as error:
        if _connection_lost(error):
            raise StorageUnavailableError(_say(error)) from error
        raise


def _connection_lost(error: DBAPIError) -> bool:
    """True where the server went away, is starting, or ran out of room: nothing is wrong with the statement."""
    if error.connection_invalidated or isinstance(error, OperationalError | InterfaceError):
        return True
    state = getattr(error.orig, "sqlstate", None) or getattr(error.orig, "pgcode", None) or ""
    return state[:2] in {"08", "53", "57", "58"} or state in {"40001", "40P01"}


def _say(error: BaseException) -> str:
    """The cause without the statement and its parameters, which hold bodies."""
    cause = getattr(error, "orig", None) or error
    return f"{type(cause).__name__}: {str(cause).splitlines()[0][:200] if str(cause) else ''}"
