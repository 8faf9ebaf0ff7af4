"""Emptying a Kafka between tests: topics and consumer groups of triggerhub go, members left by killed processes too."""

from __future__ import annotations

import asyncio
import time
from typing import Any, Final

from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.client import AIOKafkaClient, CoordinationType
from aiokafka.errors import KafkaError
from aiokafka.protocol.admin import DeleteGroupsRequest
from aiokafka.protocol.group import LeaveGroupRequest

PREFIX: Final = "triggerhub"
SECONDS: Final = 20.0


async def empty(bootstrap: str) -> None:
    """Delete everything of triggerhub at the broker. Returns when it is gone, raises RuntimeError when it stays."""
    admin = AIOKafkaAdminClient(bootstrap_servers=bootstrap)
    client = AIOKafkaClient(bootstrap_servers=bootstrap)
    until = time.monotonic() + SECONDS
    await admin.start()
    await client.bootstrap()
    try:
        while True:
            groups = [group for group, *_ in await admin.list_consumer_groups() if group.startswith(PREFIX)]
            topics = [topic for topic in await admin.list_topics() if topic.startswith(PREFIX)]
            if not groups and not topics:
                return
            if time.monotonic() > until:
                msg = f"Kafka still has {groups or topics} after {SECONDS:.0f} s"
                raise RuntimeError(msg)
            for group in groups:
                await _delete_group(admin, client, group)
            if topics:
                await admin.delete_topics(topics)
            await asyncio.sleep(0.02)
    finally:
        await client.close()
        await admin.close()


async def evict(bootstrap: str, group: str) -> None:
    """Take every member out of a group at once, as the broker does when sessions of killed processes time out."""
    admin = AIOKafkaAdminClient(bootstrap_servers=bootstrap)
    client = AIOKafkaClient(bootstrap_servers=bootstrap)
    await admin.start()
    await client.bootstrap()
    try:
        await _evict(
            admin, client, group, node=await client.coordinator_lookup(CoordinationType.GROUP, group)
        )
    finally:
        await client.close()
        await admin.close()


async def _evict(admin: AIOKafkaAdminClient, client: AIOKafkaClient, group: str, *, node: int) -> None:
    for answer in await admin.describe_consumer_groups([group], group_coordinator_id=node):
        for described in answer.groups:
            members: list[Any] = described[5]
            for member in members:
                await client.send(node, LeaveGroupRequest(group, member[0]))


async def _delete_group(admin: AIOKafkaAdminClient, client: AIOKafkaClient, group: str) -> None:
    try:
        node = await client.coordinator_lookup(CoordinationType.GROUP, group)
        await _evict(admin, client, group, node=node)
        await client.send(node, DeleteGroupsRequest([group]))
    except KafkaError:
        return  # it is moving or gone: the caller looks again
