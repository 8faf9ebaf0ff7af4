"""Kafka through FastStream: topics from the one table, batches in, records out, dead letters aside.

Handlers get decoded batches and return when the batch is durable. Offsets are committed only after that; a batch that
cannot be stored is read again. Nothing here knows what a message means.
"""

from __future__ import annotations

import asyncio
import contextlib
import ssl
import time
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Any, Final, Generic, TypeVar

import structlog
from aiokafka import ConsumerRecord
from aiokafka.admin import AIOKafkaAdminClient, NewTopic
from aiokafka.errors import KafkaError, MessageSizeTooLargeError, TopicAlreadyExistsError, for_code
from faststream import AckPolicy
from faststream.kafka import KafkaBroker, KafkaMessage, TopicPartition
from faststream.kafka.annotations import KafkaMessage as IncomingMessage
from faststream.kafka.security import parse_security
from faststream.security import BaseSecurity, SASLPlaintext, SASLScram256, SASLScram512
from pydantic import BaseModel, ValidationError

from hub.kafka_records import headers_of, invalid, letter_of, newer, place_of, retry_of
from hub.lanes import EMBEDDED_FETCH_WAIT_MS, Lane, whole_batch
from hub.settings import Settings
from schemas.topics import MAX_MESSAGE_BYTES, TOPICS, TopicSpec
from storage.database import Database, StorageUnavailableError
from storage.dead_letters import DeadLetter, bury, settle_retry
from storage.outbox import Message

log = structlog.get_logger(__name__)

T = TypeVar("T", bound=BaseModel)

EMBEDDED_PARTITIONS: Final = 4
RETRY_DELAYS: Final = (0.1, 0.3, 1.0, 2.0, 5.0, 5.0, 10.0, 10.0, 15.0, 15.0)
"""Seconds between tries at storing a batch: about a minute, well inside the consumer's five-minute poll limit."""
TRANSIENT: Final = (StorageUnavailableError, KafkaError, OSError)
"""What passes by itself: the batch is tried again and not committed. Anything else is the record's own fault."""
VISIBLE_SECONDS: Final = 15.0
DEAD_LETTERS_TOLERATED: Final = 50
DEAD_LETTERS_SECONDS: Final = 300.0
"""More dead letters than that in this time: we cannot read what others write. Consuming stops, readiness fails."""


@dataclass(frozen=True, slots=True)
class Taken(Generic[T]):
    """One decoded record."""

    value: T
    body: bytes


Handler = Callable[[Sequence[Taken[Any]]], Awaitable[None]]


def security(settings: Settings) -> BaseSecurity | None:
    """The TLS and SASL part of the connection."""
    protocol = settings.kafka_security_protocol
    if protocol == "PLAINTEXT":
        return None
    context = None
    if protocol.endswith("SSL"):
        context = ssl.create_default_context(
            cafile=str(settings.kafka_ssl_ca_file) if settings.kafka_ssl_ca_file else None
        )
    if protocol == "SSL":
        return BaseSecurity(ssl_context=context, use_ssl=True)
    username = settings.kafka_username or ""
    password = settings.kafka_password.get_secret_value() if settings.kafka_password else ""
    mechanisms = {"PLAIN": SASLPlaintext, "SCRAM-SHA-256": SASLScram256, "SCRAM-SHA-512": SASLScram512}
    return mechanisms[settings.kafka_sasl_mechanism](
        username=username, password=password, ssl_context=context, use_ssl=context is not None
    )


class Broker:
    """One connection to Kafka with the subscribers of this process's roles."""

    def __init__(
        self,
        settings: Settings,
        database: Database,
        *,
        bootstrap: list[str],
        retry_delays: Sequence[float] = RETRY_DELAYS,
    ) -> None:
        self._retry_delays = retry_delays
        self._settings = settings
        self._database = database
        self._bootstrap = bootstrap
        self._embedded = settings.embedded_broker
        self._security = security(settings)
        self._kafka = KafkaBroker(
            bootstrap,
            security=self._security,
            client_id="triggerhub",
            ack_policy=AckPolicy.MANUAL,
            acks="all",
            # The embedded broker cannot hand out producer ids; consumers are idempotent either way.
            enable_idempotence=not self._embedded,
            max_request_size=2 * MAX_MESSAGE_BYTES,
            # Small batches in flight cost 40 ms each at the embedded broker; one large batch costs no more than one.
            max_batch_size=MAX_MESSAGE_BYTES // 2,
            allow_auto_create_topics=False,
            graceful_timeout=10.0,
            logger=None,
        )
        self._deaths: deque[float] = deque()
        self._stopping = asyncio.Event()
        self._lanes: dict[str, tuple[Lane, Any]] = {}
        """By topic, with its subscriber; at the embedded broker only."""
        self._openers: list[asyncio.Task[None]] = []
        self._life = 0
        """Of the embedded broker: grows when it forgot."""
        self.poisoned: str | None = None
        """Why consuming stopped, if it did."""

    def subscribe(self, topic: TopicSpec, *, group: str, handler: Handler) -> None:
        """Call `handler` with batches of `topic`, as consumer group `group`. Before `start`."""
        # Not FastStream's batches: those sleep after each empty poll, and that adds to every hop.
        options: dict[str, Any] = {
            "group_id": group,
            "auto_offset_reset": "earliest",
            "ack_policy": AckPolicy.MANUAL,
        }
        if self._embedded:
            # Joining a group at the embedded broker takes seconds; one process may as well take every partition.
            options["partitions"] = [
                TopicPartition(topic.name, n, declare=False) for n in range(self._partitions(topic))
            ]
            options["fetch_max_wait_ms"] = EMBEDDED_FETCH_WAIT_MS
            names: tuple[str, ...] = ()
        else:
            names = (topic.name,)

        async def consume(message: IncomingMessage) -> None:
            await self._consume(topic, await whole_batch(message, lane), message, handler)

        lane = Lane() if self._embedded else None
        subscriber = self._kafka.subscriber(*names, decoder=_raw, **options)
        subscriber(consume)
        if lane is not None:
            self._lanes[topic.name] = lane, subscriber

    async def start(self) -> None:
        """Declare the topics and start consuming. Raises KafkaError when the broker cannot be reached."""
        await self.declare_topics()
        await self._kafka.start()
        loop = asyncio.get_running_loop()
        self._openers = [
            loop.create_task(lane.run(subscriber.consumer), name=f"lane-{topic}")
            for topic, (lane, subscriber) in self._lanes.items()
            if subscriber.consumer is not None
        ]

    async def stop_consuming(self) -> None:
        """Take no further records; handlers in progress finish. Publishing still works."""
        self._stopping.set()
        for lane, _ in self._lanes.values():
            await lane.commit()
        await self._close_lanes()
        await asyncio.gather(*(subscriber.stop() for subscriber in self._kafka.subscribers))

    async def stop(self) -> None:
        """Let go of the connection."""
        self._stopping.set()
        await self._close_lanes()
        await self._kafka.stop()

    async def _close_lanes(self) -> None:
        openers, self._openers = self._openers, []
        for task in openers:
            task.cancel()
        await asyncio.gather(*openers, return_exceptions=True)

    async def declare_topics(self, *, emptied: bool = False) -> None:
        """Create the topics of the table and their dead-letter partners where they are missing.

        `emptied`: the embedded broker was started again. Whoever asks it for a topic makes that topic, so one that is
        there already may be as new as one that is not: all consumers begin anew.
        """
        admin = AIOKafkaAdminClient(bootstrap_servers=self._bootstrap, **_admin_security(self._security))
        try:
            await admin.start()
            known = set(await admin.list_topics())
            wanted = [(spec.name, self._partitions(spec)) for spec in TOPICS]
            wanted += [(spec.dead_letter, 1) for spec in TOPICS]
            factor = 1 if self._embedded else self._settings.kafka_replication_factor
            # Without `replica_assignments`, aiokafka refuses the -1 that leaves the factor to the broker.
            given: Any = {} if factor == -1 else None
            new = [NewTopic(name, count, factor, given) for name, count in wanted if name not in known]
            if new or emptied:
                self._begin_again({name for name, _ in wanted} if emptied else {topic.name for topic in new})
            if new:
                answer = await admin.create_topics(new)
                for name, code, *text in answer.topic_errors:
                    if code not in {0, TopicAlreadyExistsError.errno}:  # another process may be faster
                        msg = f"topic {name} could not be created: {text[0] if text else ''}"
                        raise for_code(code)(msg)
                await _visible(admin, {name for name, _ in wanted})
        finally:
            await admin.close()

    def _begin_again(self, missing: set[str]) -> None:
        """A topic that is missing has no records: whoever consumes it already shall begin at its beginning.

        The embedded broker forgets with every restart, and answers a fetch beyond its end with nothing instead of an
        error: a consumer that kept its position would wait until as many records were written again.
        """
        if not self._embedded:
            return
        self._life += 1
        for subscriber in self._kafka.subscribers:
            consumer = getattr(subscriber, "consumer", None)
            if consumer is not None:
                for partition in consumer.assignment():
                    if partition.topic in missing:
                        consumer.seek(partition, 0)
        for lane, _ in self._lanes.values():
            lane.begin_again()

    async def publish(self, messages: Sequence[tuple[Message, BaseModel | None]]) -> list[str]:
        """Publish records; return the refs of those the broker confirmed. Never raises for a broker that is away."""

        async def one(message: Message, value: BaseModel | None) -> str | None:
            try:
                place = await self._kafka.publish(
                    message.value,
                    topic=message.topic,
                    key=message.repeated.key if message.repeated is not None else message.key.encode(),
                    headers=headers_of(message, value),
                )
            except (KafkaError, OSError, TimeoutError) as error:
                log.warning(
                    "a message was not published; the sweep will", ref=message.ref, error=type(error).__name__
                )
                return None
            if message.topic in self._lanes and not isinstance(place, asyncio.Future):
                self._lanes[message.topic][0].nod(message.topic, place.partition, place.offset)
            return message.ref

        return [ref for ref in await asyncio.gather(*(one(*pair) for pair in messages)) if ref is not None]

    async def ping(self, timeout: float = 3.0) -> bool:  # noqa: ASYNC109 - FastStream takes it as an argument
        """True when the broker answers."""
        return await self._kafka.ping(timeout=timeout)

    def _partitions(self, topic: TopicSpec) -> int:
        if self._embedded:
            return EMBEDDED_PARTITIONS
        return self._settings.kafka_partitions or topic.partitions

    async def _consume(
        self,
        topic: TopicSpec,
        records: Sequence[ConsumerRecord[Any, Any]],
        message: KafkaMessage,
        handler: Handler,
    ) -> None:
        if self.poisoned:
            await message.nack()
            await self._pause(5)
            return
        life = self._life
        good: list[tuple[ConsumerRecord[Any, Any], Taken[Any]]] = []
        unreadable: list[DeadLetter] = []
        for record in records:
            reason = newer(record)
            if reason is not None:
                unreadable.append(letter_of(record, reason=reason))
                continue
            try:
                value = topic.value.model_validate_json(record.value or b"")
            except ValidationError as error:
                unreadable.append(letter_of(record, reason=invalid(error)))
            else:
                good.append((record, Taken(value, record.value or b"")))
        for delay in (*self._retry_delays, None):
            try:
                dead = unreadable + await self._hand_over(handler, good)
                await self._settle_retries(records, dead)
                await self._bury(topic, dead)
                break
            except TRANSIENT as error:
                log.warning(
                    "a batch could not be stored", topic=topic.name, size=len(records), error=str(error)
                )
                if delay is None or await self._pause(delay):
                    if life == self._life:  # else these positions mean other records now
                        await message.nack()
                    return
        self._judge(topic, len(dead))
        if topic.name not in self._lanes or self._lanes[topic.name][0].is_commit_due():
            await message.ack()

    async def _pause(self, seconds: float) -> bool:
        """Wait, but not longer than the process wants to live. True when it stops."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._stopping.wait()
        return self._stopping.is_set()

    async def _hand_over(
        self, handler: Handler, good: Sequence[tuple[ConsumerRecord[Any, Any], Taken[Any]]]
    ) -> list[DeadLetter]:
        """Have the handler store the records; return those that it can never take. Raises what may pass by itself.

        FastStream swallows what a handler raises, and the next commit would pass over the whole batch. So a batch that
        fails is tried again record by record, and only what fails alone is dead.
        """
        if not good:
            return []
        try:
            await handler([taken for _, taken in good])
        except TRANSIENT:
            raise
        except Exception as error:  # noqa: BLE001 - whatever it was, the record is kept with the reason
            if len(good) == 1:
                return [letter_of(good[0][0], reason=f"the handler failed: {place_of(error)}")]
            log.warning(
                "a batch failed; trying its records one by one", size=len(good), error=place_of(error)
            )
            return [letter for one in good for letter in await self._hand_over(handler, [one])]
        return []

    def _judge(self, topic: TopicSpec, dead: int) -> None:
        """Stop consuming when dead letters come too thick."""
        now = time.monotonic()
        self._deaths.extend([now] * dead)
        while self._deaths and self._deaths[0] < now - DEAD_LETTERS_SECONDS:
            self._deaths.popleft()
        if len(self._deaths) > DEAD_LETTERS_TOLERATED:
            self.poisoned = (
                f"{len(self._deaths)} dead letters in {DEAD_LETTERS_SECONDS:.0f} s, the last from {topic.name}: "
                "consuming stopped; look at them with `triggerhub dlq list`, repair the cause, start again"
            )
            log.error("too many dead letters", topic=topic.name, dead=len(self._deaths))

    async def _settle_retries(
        self, records: Sequence[ConsumerRecord[Any, Any]], dead: Sequence[DeadLetter]
    ) -> None:
        """Dead letters that were published again and live now are announced no more. `bury` settles the others."""
        died = {letter.repeats for letter in dead}
        for record in records:
            letter = retry_of(record)
            if letter is not None and letter not in died:
                await self._database.write(settle_retry, letter)
                log.info("a dead letter was taken at last", letter=letter)

    async def _bury(self, topic: TopicSpec, letters: Sequence[DeadLetter]) -> None:
        """Keep dead letters in the database and on the dead-letter topic. Raises when either fails: not committed."""
        for letter in letters:
            await self._database.write(bury, letter)
            headers = {"triggerhub-reason": letter.reason[:500], "triggerhub-origin": letter.id}
            try:
                await self._kafka.publish(
                    letter.value, topic=topic.dead_letter, key=letter.key, headers=headers
                )
            except MessageSizeTooLargeError:
                # It would be tried for ever, and hold up its partition. The database has the bytes.
                headers["triggerhub-left-out"] = f"{len(letter.value)} bytes"
                await self._kafka.publish(b"", topic=topic.dead_letter, key=letter.key, headers=headers)
            log.error("dead letter", topic=topic.name, position=letter.id, reason=letter.reason)


async def _visible(admin: AIOKafkaAdminClient, wanted: set[str]) -> None:
    """Wait until the brokers know new topics: a consumer that joins before is assigned nothing for a while."""
    until = time.monotonic() + VISIBLE_SECONDS
    while missing := wanted - set(await admin.list_topics()):
        if time.monotonic() > until:
            log.warning("new topics are not visible yet; consuming may begin late", topics=sorted(missing))
            return
        await asyncio.sleep(0.02)


async def _raw(message: KafkaMessage) -> bytes:
    """Leave the body as it is: decoding and its errors are ours."""
    return b"" if isinstance(message.body, list) else message.body


def _admin_security(given: BaseSecurity | None) -> dict[str, Any]:
    return dict(parse_security(given))
