"""Reading and writing Kafka records as another program would, past our own broker object."""

from __future__ import annotations

import asyncio
from typing import Any

from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, ConsumerRecord, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient


async def write(bootstrap: list[str], topic: str, *records: tuple[str, bytes], headers: Any = None) -> None:
    """Append (key, value) records, in order."""
    async with AIOKafkaProducer(bootstrap_servers=bootstrap, linger_ms=5) as producer:
        sent = [
            await producer.send(topic, value, key=key.encode(), headers=headers) for key, value in records
        ]
        await asyncio.gather(*sent)


async def read_all(
    bootstrap: list[str], topic: str, *, count: int, seconds: float = 15
) -> list[ConsumerRecord[Any, Any]]:
    """The first `count` records of a topic over all partitions. Raises TimeoutError when there are fewer."""
    found: list[ConsumerRecord[Any, Any]] = []
    async with AIOKafkaConsumer(
        bootstrap_servers=bootstrap,
        auto_offset_reset="earliest",
        enable_auto_commit=False,
        fetch_max_wait_ms=20,
    ) as consumer:
        consumer.assign([TopicPartition(topic, n) for n in range(await partitions(bootstrap, topic))])
        async with asyncio.timeout(seconds):
            while len(found) < count:
                got = await consumer.getmany(timeout_ms=100)
                found += [record for part in got.values() for record in part]
    return found


async def partitions(bootstrap: list[str], topic: str) -> int:
    """How many partitions a topic has; 0 for one that does not exist."""
    return (await topics(bootstrap)).get(topic, 0)


async def topics(bootstrap: list[str]) -> dict[str, int]:
    """Every topic and its number of partitions."""
    admin = AIOKafkaAdminClient(bootstrap_servers=bootstrap)
    await admin.start()
    try:
        return {one["topic"]: len(one["partitions"]) for one in await admin.describe_topics()}
    finally:
        await admin.close()


async def committed(bootstrap: list[str], *, group: str, topic: str) -> int:
    """How many records of a topic the group is done with, over all partitions."""
    where = [TopicPartition(topic, n) for n in range(await partitions(bootstrap, topic))]
    async with AIOKafkaConsumer(
        bootstrap_servers=bootstrap, group_id=group, enable_auto_commit=False
    ) as consumer:
        consumer.assign(where)
        return sum([await consumer.committed(one) or 0 for one in where])
