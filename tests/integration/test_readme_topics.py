"""The programs on docs/topics.md, run as they stand there: one publishes an event, the other reads it."""

from __future__ import annotations

import asyncio
import os
import sys
from pathlib import Path

import pytest
from pages import ROOT, blocks

from hub.broker import Broker
from hub.embedded_broker import embedded_broker
from hub.settings import Settings
from schemas.event import Event
from storage.database import open_database

PAGE = ROOT / "docs" / "topics.md"
SECONDS = 45.0


async def nothing() -> None:
    """The broker is not restarted here."""


async def program(text: str, *, servers: str) -> asyncio.subprocess.Process:
    environment = {**os.environ, "TRIGGERHUB_KAFKA_BOOTSTRAP_SERVERS": servers, "PYTHONUNBUFFERED": "1"}
    return await asyncio.create_subprocess_exec(
        sys.executable,
        "-c",
        text,
        env=environment,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )


@pytest.mark.timeout(120)
async def test_what_one_publishes_the_other_reads(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("TRIGGERHUB_KAFKA_BOOTSTRAP_SERVERS", raising=False)
    reader, writer = (block.text for block in blocks(PAGE, "python"))
    database = open_database(f"sqlite:///{tmp_path}/hub.db")
    async with embedded_broker(on_restart=nothing) as servers:
        try:
            await Broker(Settings(), database, bootstrap=[servers]).declare_topics()
        finally:
            await database.close()
        publishing = await program(writer, servers=servers)
        _, complaint = await asyncio.wait_for(publishing.communicate(), SECONDS)
        assert publishing.returncode == 0, complaint.decode()
        reading = await program(reader, servers=servers)
        assert reading.stdout is not None
        try:
            line = await asyncio.wait_for(reading.stdout.readline(), SECONDS)
        finally:
            reading.kill()
            await reading.communicate()
    event, kind, subject, trust = line.decode().split()
    assert event.startswith("deploy-")
    assert (kind, subject, trust) == ("deployer.alert.fired", "checkout@eu", "system")


def test_the_event_published_is_one() -> None:
    _, writer = (block.text for block in blocks(PAGE, "python"))
    place: dict[str, object] = {}
    head = writer.partition("\n\nasync def")[0].replace(
        'os.environ["TRIGGERHUB_KAFKA_BOOTSTRAP_SERVERS"]', '""'
    )
    exec(compile(head, "docs/topics.md", "exec"), place)  # noqa: S102 - our own page
    event = Event.model_validate(place["EVENT"])
    assert event.connector == "deployer"
    assert event.type == f"{event.connector}.{event.data.kind}"
    assert event.subject == event.data.subject.key
