"""How the records of one subscriber come in: at once where the broker wakes its readers, and by a nod where it does not.

The embedded broker answers a waiting fetch only when its wait is over. There a lane keeps its partitions paused, and
opens them for one fetch when this process has published something, or at a slow beat. Must not decide about offsets.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Sequence
from typing import Any, Final

from aiokafka import AIOKafkaConsumer, ConsumerRecord
from aiokafka.errors import ConsumerStoppedError, IllegalStateError, KafkaError
from faststream.kafka import KafkaMessage, TopicPartition

from storage.bell import Bell

MAX_RECORDS: Final = 200
EMBEDDED_FETCH_WAIT_MS: Final = 1
"""The embedded broker finds nothing at all when it is asked with no wait."""
BEAT_SECONDS: Final = 0.25
"""Between two looks without a nod: for records that other programs published."""
COMMIT_SECONDS: Final = 1.0
LOOK_SECONDS: Final = 0.002
MAX_LOOK_SECONDS: Final = 0.02
GIVE_UP_SECONDS: Final = 2.0
"""After this the nod is forgotten: the broker it spoke of may have been replaced by an empty one."""


async def whole_batch(message: KafkaMessage, lane: Lane | None) -> tuple[ConsumerRecord[Any, Any], ...]:
    """The message's record and those that were fetched beside it, at most MAX_RECORDS.

    The message stands for all of them from then on: giving it back unread gives all of them back.
    """
    if isinstance(message.raw_message, tuple):
        return message.raw_message
    records = [message.raw_message]
    consumer = message.consumer
    if isinstance(consumer, AIOKafkaConsumer):
        further = await consumer.getmany(timeout_ms=0, max_records=MAX_RECORDS - 1)
        for part in further.values():
            records += part
        if lane is not None:
            await lane.rest(consumer)
    message.raw_message = tuple(records)
    return message.raw_message


class Lane:
    """The partitions of one subscriber at the embedded broker, paused while there is nothing to fetch."""

    def __init__(self) -> None:
        self._bell = Bell()
        self._wanted: dict[tuple[str, int], int] = {}
        """By topic and partition: the position beyond the last record that this process published."""
        self._consumer: AIOKafkaConsumer | None = None
        self._committed_at = 0.0
        self._uncommitted = False
        self._handling = False

    def is_commit_due(self) -> bool:
        """Whether the batch that has just become durable is committed at once, or together with later ones.

        The embedded broker forgets offsets with its records, and a commit holds up the next batch: once a second, and
        when nothing comes, is enough.
        """
        now = asyncio.get_running_loop().time()
        self._handling = False
        self._uncommitted = now - self._committed_at < COMMIT_SECONDS
        if not self._uncommitted:
            self._committed_at = now
        return not self._uncommitted

    async def commit(self) -> None:
        """Commit what was put off, unless a batch is being handled: its records are not durable yet."""
        if self._uncommitted and not self._handling and self._consumer is not None:
            self._uncommitted = False
            with contextlib.suppress(KafkaError):
                await self._consumer.commit()

    def nod(self, topic: str, partition: int, offset: int) -> None:
        """The broker has confirmed a record at this place: fetch now."""
        place = (topic, partition)
        self._wanted[place] = max(self._wanted.get(place, 0), offset + 1)
        if self._consumer is not None:
            self._consumer.resume(*self._consumer.paused())
        self._bell.ring()

    def begin_again(self) -> None:
        """The broker forgot everything: what was nodded at is gone, and positions begin at 0."""
        self._wanted.clear()
        self._bell.ring()

    async def run(self, consumer: AIOKafkaConsumer) -> None:
        """Open and close the partitions until cancelled, or until the consumer is stopped."""
        self._consumer = consumer
        while True:
            try:
                async with asyncio.timeout(GIVE_UP_SECONDS):
                    await self._fetch(consumer)
            except TimeoutError:
                self._wanted.clear()
                continue  # not paused: whatever it is that waits, it waits for a fetch
            except (ConsumerStoppedError, IllegalStateError):
                return
            except KafkaError:
                await asyncio.sleep(BEAT_SECONDS)
                continue
            if not await self._bell.wait(BEAT_SECONDS):
                await self.commit()

    async def rest(self, consumer: AIOKafkaConsumer) -> None:
        """Records were taken: pause at once if nothing else is known of, before the consumer asks for more."""
        self._handling = True
        partitions = list(consumer.assignment())
        if all([await self._is_empty(consumer, one) for one in partitions]):
            consumer.pause(*partitions)

    async def _fetch(self, consumer: AIOKafkaConsumer) -> None:
        """Open every partition until it was fetched from and everything that is known of was taken; then pause."""
        partitions: Sequence[TopicPartition] = list(consumer.assignment())
        before = {one: consumer.last_poll_timestamp(one) for one in partitions}
        consumer.resume(*partitions)
        look = LOOK_SECONDS
        while True:
            if await self._bell.wait(look):  # something else was published meanwhile
                consumer.resume(*partitions)
                look = LOOK_SECONDS
                continue
            if consumer.paused():  # by `rest`
                return
            if all(
                [
                    consumer.last_poll_timestamp(one) != before[one] and await self._is_empty(consumer, one)
                    for one in partitions
                ]
            ):
                consumer.pause(*partitions)
                return
            look = min(look * 2, MAX_LOOK_SECONDS)

    async def _is_empty(self, consumer: AIOKafkaConsumer, one: TopicPartition) -> bool:
        known = max(self._wanted.get((one.topic, one.partition), 0), consumer.highwater(one) or 0)
        return bool(await consumer.position(one) >= known)
