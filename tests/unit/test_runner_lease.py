"""What a process may still do outside, when it does not know how long it was asleep."""

from __future__ import annotations

import asyncio
import time

import pytest

from runner.lease import Lease, LostError


def now() -> float:
    return asyncio.get_running_loop().time()


async def test_nothing_is_begun_after_the_lease() -> None:
    lease = Lease(now() - 0.001)
    with pytest.raises(LostError):
        async with lease.held():
            pytest.fail("it was begun")


async def test_what_takes_longer_than_the_lease_is_cut_off() -> None:
    lease = Lease(now() + 0.05)
    with pytest.raises(LostError):
        async with lease.held():
            await asyncio.sleep(5)


async def test_a_renewal_extends_what_is_under_way() -> None:
    lease = Lease(now() + 0.05)
    done = False
    async with lease.held():
        lease.extend(now() + 10)
        await asyncio.sleep(0.1)
        done = True
    assert done


async def test_a_timeout_of_the_call_itself_stays_one() -> None:
    async def call() -> None:
        async with Lease(now() + 10).held(), asyncio.timeout(0.01):
            await asyncio.sleep(5)

    with pytest.raises(TimeoutError):
        await call()


async def test_without_a_bound_nothing_is_cut_off() -> None:
    async with Lease().held():
        await asyncio.sleep(0)


async def test_who_slept_through_its_lease_is_stopped_before_it_sends() -> None:
    """The whole process sleeps while a connection becomes ready: on waking, both the connection and the end are due."""
    sent: list[str] = []
    connected = asyncio.Event()
    lease = Lease(now() + 0.05)

    async def send() -> None:
        async with lease.held():
            await connected.wait()
            sent.append("the work")

    async def notice() -> None:
        with pytest.raises(LostError):
            await send()

    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(notice())
        await asyncio.sleep(0)
        asyncio.get_running_loop().call_soon(connected.set)
        time.sleep(0.1)  # noqa: ASYNC251 - that is the point: nothing of this process runs
    assert sent == []
