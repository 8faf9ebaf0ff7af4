"""The embedded broker as a child process: it is supervised, it forgets, and it never outlives its parent."""

from __future__ import annotations

import asyncio
import signal
import socket
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import psutil
import pytest
from aiokafka import AIOKafkaProducer
from services import records
from services.facts import make_delivery, make_event, make_incoming_event
from services.lines import child
from services.worlds import until
from sqlalchemy import Connection

from hub.broker import Broker, Taken
from hub.embedded_broker import FIRST_PORT, broker_binary, embedded_broker, free_port
from hub.publisher import Publisher
from hub.settings import Settings
from schemas.topics import EVENTS, TOPICS
from storage import outbox
from storage.database import Database
from storage.deliveries import store_deliveries


def broker_process() -> psutil.Process:
    """The broker that this process started."""
    [found] = [one for one in psutil.Process().children() if one.name() == broker_binary().name]
    return found


def listens(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def port_of(address: str) -> int:
    return int(address.rpartition(":")[2])


def test_its_port_is_none_that_the_kernel_lends_to_connections() -> None:
    """Another process's connection would hold it when the broker is to be started again."""
    told = Path("/proc/sys/net/ipv4/ip_local_port_range")
    first = int(told.read_text().split()[0]) if told.exists() else 0
    if first <= FIRST_PORT:
        pytest.skip("the kernel does not tell which ports it lends, or lends lower ones")
    assert {FIRST_PORT <= free_port() < first for _ in range(100)} == {True}


async def no_restart() -> None:
    pytest.fail("the broker died")


async def test_it_answers_inside_the_block_and_is_gone_behind_it() -> None:
    async with embedded_broker(on_restart=no_restart) as address:
        process = broker_process()
        assert listens(port_of(address))
    assert not process.is_running()
    assert not listens(port_of(address))


async def test_it_is_gone_after_an_error_and_after_cancelling() -> None:
    started = asyncio.Event()
    processes: list[psutil.Process] = []

    async def hold() -> None:
        async with embedded_broker(on_restart=no_restart):
            processes.append(broker_process())
            started.set()
            await asyncio.sleep(60)

    async with asyncio.TaskGroup() as tasks:
        holding = tasks.create_task(hold())
        await started.wait()
        holding.cancel()

    async def fail() -> None:
        async with embedded_broker(on_restart=no_restart):
            processes.append(broker_process())
            raise LookupError

    with pytest.raises(LookupError):
        await fail()
    assert len(processes) == 2
    assert not any(one.is_running() for one in processes)


async def test_a_port_can_be_asked_for_and_two_brokers_run_side_by_side() -> None:
    async with embedded_broker(on_restart=no_restart) as one, embedded_broker(on_restart=no_restart) as two:
        assert port_of(one) != port_of(two)
    async with embedded_broker(on_restart=no_restart, port=port_of(one)) as again:
        assert again == one


async def test_a_dead_broker_is_started_again_on_its_port_and_its_owner_told() -> None:
    told: list[bool] = []
    where: list[int] = []

    async def restarted() -> None:
        told.append(listens(where[0]))

    async with embedded_broker(on_restart=restarted) as address:
        where.append(port_of(address))
        for count in (1, 2, 3):
            before = broker_process()
            before.send_signal(signal.SIGKILL)
            await until(lambda: len(told) == count)  # noqa: B023 - used before the next round
            assert broker_process().pid != before.pid
    assert told == [True, True, True]
    assert not listens(where[0])


async def test_an_owner_that_fails_is_told_again() -> None:
    """A supervisor that ends with the first error would leave the next death unnoticed."""
    calls = 0

    async def restarted() -> None:
        nonlocal calls
        calls += 1
        if calls == 1:
            msg = "the topics could not be declared"
            raise RuntimeError(msg)

    async with embedded_broker(on_restart=restarted):
        broker_process().kill()
        await until(lambda: calls == 2)
        broker_process().kill()
        await until(lambda: calls == 3)


PARENT = """
import asyncio
import signal
from hub.embedded_broker import embedded_broker
import psutil

signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's background job begins with it ignored

async def main():
    async def restarted(): ...
    async with embedded_broker(on_restart=restarted) as address:
        [broker] = psutil.Process().children()
        print(address.rpartition(":")[2], broker.pid)
        await asyncio.sleep(3600)

asyncio.run(main())
"""


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGTERM, signal.SIGINT])
async def test_it_dies_with_its_parent(how: signal.Signals) -> None:
    async with child(PARENT) as parent:
        while True:
            words = (await parent.line()).split()
            if len(words) == 2 and all(word.isdigit() for word in words):  # else a line of the log
                break
        port, pid = int(words[0]), int(words[1])
        assert listens(port)
        parent.process.send_signal(how)
        await parent.ended()
        await until(lambda: not listens(port))
        await until(
            lambda: not psutil.pid_exists(pid) or psutil.Process(pid).status() == psutil.STATUS_ZOMBIE
        )


NAP = """
import os, subprocess, sys
from hub.embedded_broker import watched
nap = subprocess.Popen(watched(["sleep", "600"], platform="darwin"), start_new_session=True)
print(nap.pid)
sys.stdin.readline()
nap.terminate()
nap.wait()
print("stopped")
"""


@pytest.mark.parametrize("how", ["killed parent", "stopped"])
async def test_where_the_kernel_does_not_help_a_shell_watches(how: str) -> None:
    """As on macOS: neither the death of the parent nor stopping the shell leaves the broker behind."""
    async with child(NAP) as parent:
        shell = psutil.Process(int(await parent.line()))
        await until(shell.children)
        family = [shell, *shell.children(recursive=True)]
        assert "sleep" in {one.name() for one in family}
        if how == "stopped":
            assert parent.process.stdin is not None
            parent.process.stdin.write(b"\n")
            assert await parent.line() == "stopped"
        else:
            parent.process.kill()
            await parent.ended()
        await until(
            lambda: not any(one.is_running() and one.status() != psutil.STATUS_ZOMBIE for one in family)
        )


@asynccontextmanager
async def hub_of(
    database: Database, handler: Callable[[Sequence[Taken[Any]]], Any], *, asked_before: bool = False
) -> AsyncIterator[tuple[list[str], Publisher, list[int]]]:
    """A broker, a consumer of events and a publisher, wired for restarts as the hub wires them.

    `asked_before`: somebody, such as our own producer, asks the new broker for a topic before the topics are declared.
    """
    restarts: list[int] = []

    async def restarted() -> None:
        if asked_before:
            async with AIOKafkaProducer(bootstrap_servers=address) as early:
                await early.partitions_for(EVENTS.name)
        await broker.declare_topics(emptied=True)
        await publisher.republish_everything()
        restarts.append(1)

    async with embedded_broker(on_restart=restarted) as address:
        broker = Broker(Settings(kafka_bootstrap_servers=None), database, bootstrap=[address])
        publisher = Publisher(database, broker)
        broker.subscribe(EVENTS, group="triggerhub-router", handler=handler)
        await broker.start()
        try:
            async with asyncio.TaskGroup() as tasks:
                running = tasks.create_task(publisher.run())
                try:
                    yield [address], publisher, restarts
                finally:
                    running.cancel()
        finally:
            await broker.stop()


def settle_all(connection: Connection, refs: Sequence[str]) -> None:
    for ref in refs:
        outbox.settle(connection, EVENTS.name, ref)


@pytest.mark.parametrize("asked_before", [False, True], ids=["", "a topic was asked for before"])
async def test_after_a_restart_topics_consumers_and_unconsumed_messages_are_back(
    sqlite_database: Database,
    asked_before: bool,  # noqa: FBT001 - a case's value
) -> None:
    """Events are stored; the consumer is stopped short of half of them; the broker dies and forgets them."""
    seen: list[str] = []
    blocked = asyncio.Event()
    release = asyncio.Event()

    async def take(batch: Sequence[Taken[Any]]) -> None:
        ids = [one.value.id for one in batch]
        if any(one.startswith("evt_late") for one in ids) and not release.is_set():
            blocked.set()
            await release.wait()
            msg = "this process did not get so far"
            raise OSError(msg)
        await sqlite_database.write(settle_all, ids)
        seen.extend(ids)

    async with hub_of(sqlite_database, take, asked_before=asked_before) as (bootstrap, publisher, restarts):
        for group in ("evt_early", "evt_late"):
            events = [make_event(f"{group}_{n}", subject=f"acme/checkout#{n}") for n in range(10)]
            await sqlite_database.write(store_deliveries, [make_delivery(one.id, one) for one in events])
            publisher.announce(
                [
                    (outbox.Message(EVENTS.name, one.id, one.subject, one.model_dump_json().encode()), one)
                    for one in events
                ]
            )
            await until(lambda: len(seen) == 10)
        await blocked.wait()
        broker_process().kill()
        await until(lambda: restarts)
        release.set()
        await until(lambda: len(set(seen)) == 20, seconds=40)
        assert await sqlite_database.read(outbox.depth) == (0, 0.0)
        assert {name for name in await records.topics(bootstrap) if name.startswith("triggerhub")} == {
            name for topic in TOPICS for name in (topic.name, topic.dead_letter)
        }
        # And it goes on: what is stored now arrives as before.
        event = make_event("evt_new")
        await sqlite_database.write(store_deliveries, [make_delivery("d-new", event)])
        publisher.announce(
            [(outbox.Message(EVENTS.name, event.id, event.subject, event.model_dump_json().encode()), event)]
        )
        await until(lambda: "evt_new" in seen)


async def test_after_many_restarts_in_a_row_messages_still_arrive(sqlite_database: Database) -> None:
    seen: set[str] = set()

    async def take(batch: Sequence[Taken[Any]]) -> None:
        ids = [one.value.id for one in batch]
        await sqlite_database.write(settle_all, ids)
        seen.update(ids)

    async with hub_of(sqlite_database, take) as (_bootstrap, publisher, restarts):
        for n in range(3):
            event = make_event(f"evt_{n}")
            await sqlite_database.write(store_deliveries, [make_delivery(event.id, event)])
            broker_process().kill()
            await until(lambda: len(restarts) == n + 1)  # noqa: B023 - used before the next round
            publisher.announce(
                [
                    (
                        outbox.Message(
                            EVENTS.name, event.id, event.subject, event.model_dump_json().encode()
                        ),
                        event,
                    )
                ]
            )
            await until(lambda: f"evt_{n}" in seen, seconds=40)  # noqa: B023 - as above
    assert await sqlite_database.read(outbox.depth) == (0, 0.0)


async def test_a_broker_that_holds_too_much_is_replaced_and_nothing_is_lost(
    sqlite_database: Database,
) -> None:
    """Ten events with large bodies pass; the broker is replaced in between; every event arrives."""
    seen: set[str] = set()
    restarts: list[int] = []
    most = 3_000_000

    async def take(batch: Sequence[Taken[Any]]) -> None:
        ids = [one.value.id for one in batch]
        await sqlite_database.write(settle_all, ids)
        seen.update(ids)

    async def restarted() -> None:
        await broker.declare_topics()
        await publisher.republish_everything()
        restarts.append(1)

    async with embedded_broker(on_restart=restarted, worn=lambda: publisher.carried > most) as address:
        broker = Broker(Settings(kafka_bootstrap_servers=None), sqlite_database, bootstrap=[address])
        publisher = Publisher(sqlite_database, broker)
        broker.subscribe(EVENTS, group="triggerhub-router", handler=take)
        await broker.start()
        running = asyncio.get_running_loop().create_task(publisher.run())
        try:
            first = broker_process().pid
            for n in range(10):
                event = make_event(f"evt_{n}", payload={"log": "x" * 500_000})
                stored = make_incoming_event(event)
                await sqlite_database.write(store_deliveries, [make_delivery(event.id, event)])
                publisher.announce(
                    [(outbox.Message(EVENTS.name, event.id, event.subject, stored.body), event)]
                )
                await until(lambda: f"evt_{n}" in seen, seconds=40)  # noqa: B023 - used before the next round
            await until(lambda: restarts, seconds=20)
            assert broker_process().pid != first
            assert publisher.carried < most
        finally:
            running.cancel()
            await asyncio.gather(running, return_exceptions=True)
            await broker.stop()
    assert await sqlite_database.read(outbox.depth) == (0, 0.0)


async def test_dead_letters_of_two_lives_of_the_broker_are_told_apart(sqlite_database: Database) -> None:
    """Positions begin again at 0 after a restart: a letter of before must not hide one of now."""

    async def take(_batch: Sequence[Taken[Any]]) -> None:
        pytest.fail("nothing is readable here")

    async with hub_of(sqlite_database, take) as (bootstrap, _publisher, restarts):
        await records.write(bootstrap, EVENTS.name, ("k", b"garbage of the first life"))
        await records.read_all(bootstrap, EVENTS.dead_letter, count=1)
        broker_process().kill()
        await until(lambda: restarts)
        await records.write(bootstrap, EVENTS.name, ("k", b"garbage of the second life"))
        await records.read_all(bootstrap, EVENTS.dead_letter, count=1, seconds=40)
    kept = await sqlite_database.read(
        lambda c: c.exec_driver_sql("SELECT value FROM dead_letter").scalars().all()
    )
    assert sorted(kept) == [b"garbage of the first life", b"garbage of the second life"]
