"""What many unit tests stand on: a scripted server that knows no vendor, a client of it, the emulated service."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from typing import TYPE_CHECKING

import httpx
import pytest
from loopback import Loopback, loopback

if TYPE_CHECKING:
    from agents_service import Service


@pytest.fixture(scope="module")
def running_server() -> Iterator[Loopback]:
    """Started once a module, because starting takes longer than most tests."""
    with loopback() as running:
        yield running


@pytest.fixture
def server(running_server: Loopback) -> Loopback:
    """It answers nothing yet, and remembers no call."""
    running_server.reset()
    return running_server


@pytest.fixture
async def http() -> AsyncIterator[httpx.AsyncClient]:
    async with httpx.AsyncClient() as client:
        yield client


@pytest.fixture
async def service() -> AsyncIterator[Service]:
    """The emulated Managed Agents service, and the real SDK's client of it."""
    from agents_service import served  # noqa: PLC0415 - the SDK is slow to import, and most tests here need none

    async with served() as running:
        yield running
