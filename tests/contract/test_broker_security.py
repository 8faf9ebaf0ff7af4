"""TLS and SASL against a real Apache Kafka, set as a process sets them: by its environment."""

from __future__ import annotations

import asyncio
import time

import pytest
from aiokafka.errors import KafkaError
from services.facts import make_event
from services.kafka import Kafka, Listener
from services.need import OutOfReachError, without
from services.worlds import Collector, World, publish

from hub.broker import Broker
from hub.settings import Settings
from storage.database import Database

# -- security ----------------------------------------------------------------------------------------------------------

LISTENERS: list[Listener] = [
    "SASL_PLAINTEXT/PLAIN",
    "SASL_PLAINTEXT/SCRAM-SHA-512",
    "SSL",
    "SASL_SSL/SCRAM-SHA-256",
]


def secured(kafka: Kafka, listener: Listener, monkeypatch: pytest.MonkeyPatch, **changes: str) -> Settings:
    """Settings as a process reads them from its environment."""
    try:
        environment = kafka.environment(listener)
    except OutOfReachError as error:
        without(error)
    for name, value in (environment | changes).items():
        monkeypatch.setenv(name, value)
    return Settings()


@pytest.mark.kafka
@pytest.mark.parametrize("listener", LISTENERS)
async def test_a_secured_broker_is_reached(
    kafka: Kafka, sqlite_database: Database, monkeypatch: pytest.MonkeyPatch, listener: Listener
) -> None:
    settings = secured(kafka, listener, monkeypatch)
    await kafka.reset()
    world = World(listener, settings, settings.bootstrap_servers, sqlite_database)
    seen = Collector()
    async with world.running(seen) as broker:
        await publish(broker, make_event("evt_1"))
        await seen.got(1)


@pytest.mark.kafka
@pytest.mark.parametrize("listener", ["SASL_PLAINTEXT/PLAIN", "SASL_SSL/SCRAM-SHA-256"])
async def test_a_wrong_password_is_refused_at_start_without_being_told(
    kafka: Kafka, sqlite_database: Database, monkeypatch: pytest.MonkeyPatch, listener: Listener
) -> None:
    settings = secured(kafka, listener, monkeypatch, TRIGGERHUB_KAFKA_PASSWORD="hunter2-wrong")
    await kafka.reset()  # it lives
    broker = Broker(settings, sqlite_database, bootstrap=settings.bootstrap_servers)
    async with asyncio.timeout(30):
        with pytest.raises(KafkaError) as caught:
            await broker.start()
    assert "hunter2-wrong" not in str(caught.value)
    await broker.stop()
    await asyncio.sleep(0.2)  # aiokafka closes a refused TLS connection without waiting for its end


@pytest.mark.kafka
async def test_a_certificate_that_nobody_vouches_for_is_refused(
    kafka: Kafka, sqlite_database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = secured(kafka, "SSL", monkeypatch).model_copy(update={"kafka_ssl_ca_file": None})
    await kafka.reset()  # it lives
    broker = Broker(settings, sqlite_database, bootstrap=settings.bootstrap_servers)
    async with asyncio.timeout(30):
        with pytest.raises(KafkaError):
            await broker.start()
    await broker.stop()
    await asyncio.sleep(0.2)  # aiokafka closes a refused TLS connection without waiting for its end


async def test_a_broker_that_is_not_there_is_an_error_at_start(sqlite_database: Database) -> None:
    broker = Broker(
        Settings(kafka_bootstrap_servers="127.0.0.1:1"), sqlite_database, bootstrap=["127.0.0.1:1"]
    )
    began = time.monotonic()
    with pytest.raises(KafkaError):
        await broker.start()
    assert time.monotonic() - began < 60
    await broker.stop()
