"""The door: POST /hooks/<connection>. Verify raw bytes, read, normalise, store; only then 2xx (design §4.4).

A plain ASGI application, because every webhook of every team passes here. It never talks to a vendor, never waits for
Kafka, and never writes a body, token or signature anywhere but into the database.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Awaitable, Callable, Mapping, MutableMapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any, Final
from urllib.parse import parse_qsl

import orjson
import structlog

from connectors.base import (
    Connector,
    Identity,
    Normalised,
    Outcome,
    Reply,
    Request,
    SignatureError,
    UnreadableError,
    seal,
)
from connectors.body import body_hash
from connectors.intake import Intake
from connectors.observations import Observations
from connectors.room import NoRoomError, Place
from schemas.event import Event
from schemas.topics import EVENTS, MAX_MESSAGE_BYTES
from schemas.trace import new_traceparent
from storage.database import StorageUnavailableError
from storage.deliveries import Incoming, IncomingEvent
from storage.outbox import Message

log = structlog.get_logger(__name__)

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]
Announce = Callable[[Sequence[tuple[Message, Event | None]]], None]

READ_SECONDS: Final = 10.0
"""A sender that takes longer to send its body is cut off: slow senders must not hold connections."""
DRAIN_SECONDS: Final = 5.0
DRAIN_BYTES: Final = 128 * 1024 * 1024
"""How long, and how much of, a refused body is read to nowhere, so that its sender comes to read the answer."""
RETRY_AFTER_SECONDS: Final = b"5"
MAX_ID: Final = 200
SAY_FULL_SECONDS: Final = 10.0
UNREADABLE: Final = "unreadable"


@dataclass(slots=True)
class Inbound:
    """One connection as the door sees it. `identity` is filled in once the vendor was asked who we are."""

    name: str
    connector: Connector
    secrets: Sequence[str]
    identity: Identity


@dataclass(frozen=True, slots=True)
class Answer:
    """What the sender gets."""

    status: int
    body: bytes = b""
    content_type: bytes = b"application/json"
    retry_after: bytes | None = None


@dataclass(frozen=True, slots=True)
class _Read:
    """A delivery that was read, as it waits to be stored."""

    incoming: Incoming
    events: Sequence[Event] = ()
    reply: Reply | None = None


class Ingress:
    """ASGI application for `/hooks/<connection>`."""

    def __init__(
        self,
        connections: Mapping[str, Inbound],
        intake: Intake,
        *,
        announce: Announce,
        observations: Observations,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self.connections = connections
        self._intake = intake
        self._announce = announce
        self._observations = observations
        self._clock = clock
        self._storing: dict[object, float] = {}
        """Deliveries that are being stored: since when."""
        self.closing = False
        """True while stopping: new webhooks get 503, so that the vendor tries again elsewhere or later."""
        self._silent_until: dict[str, float] = {}
        """By connection: until when no further line about refusals is written."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        name = str(scope["path"]).removeprefix("/hooks/").rstrip("/")
        began = time.perf_counter()
        unread = Unread(scope, receive)
        answer = await self._answer(scope, unread, name)
        self._observations.delivery(
            connection=name if name in self.connections else "unknown",
            status=answer.status,
            seconds=time.perf_counter() - began,
        )
        headers = [
            (b"content-type", answer.content_type),
            (b"content-length", str(len(answer.body)).encode()),
        ]
        if answer.retry_after is not None:
            headers.append((b"retry-after", answer.retry_after))
        await unread.drain()
        await send({"type": "http.response.start", "status": answer.status, "headers": headers})
        await send({"type": "http.response.body", "body": answer.body})

    async def _answer(self, scope: Scope, receive: Receive, name: str) -> Answer:
        inbound = self.connections.get(name)
        if inbound is None:
            return _problem(404, f"no connection is called {name[:100]!r}; the path is /hooks/<connection>")
        if scope["method"] != "POST":
            return _problem(405, "webhooks are sent with POST")
        if self.closing:
            return replace(_problem(503, "stopping"), retry_after=RETRY_AFTER_SECONDS)
        try:
            # What this returns no longer holds the body: while it waits to be stored, it is in memory once.
            read = await self._read(scope, receive, inbound)
            if isinstance(read, Answer):
                return read
            fresh = await self._stored(read.incoming)
        except NoRoomError as error:
            self._say_full(name, str(error))
            return replace(_problem(503, "too much waits to be stored"), retry_after=RETRY_AFTER_SECONDS)
        except StorageUnavailableError as error:
            log.error("webhook not stored", connection=name, error=str(error))  # noqa: TRY400 - no stack needed
            return replace(_problem(503, "the delivery could not be stored"), retry_after=RETRY_AFTER_SECONDS)
        self._observations.outcome(connection=name, outcome=read.incoming.outcome)
        return self._accepted(read, fresh)

    async def _read(self, scope: Scope, receive: Receive, inbound: Inbound) -> _Read | Answer:
        """Body, signature, meaning; and the room for them, until they have become what is stored."""
        headers = _headers(scope)
        with self._intake.room.enter(inbound.name) as place:
            try:
                body = await _body(receive, headers, place, limit=inbound.connector.max_body)
            except _TooLargeError:
                return _problem(413, f"the body is larger than {inbound.connector.max_body} bytes")
            except (TimeoutError, _GoneError):
                return _problem(408, "the body did not arrive")
            given = scope.get("query_string", b"")
            query = dict(parse_qsl(given.decode("latin-1"), keep_blank_values=True)) if given else {}
            request = Request(headers=headers, body=body, query=query)
            try:
                inbound.connector.verify(request, secrets=inbound.secrets, now=self._clock())
            except SignatureError as error:
                log.warning("webhook refused", connection=inbound.name, reason=str(error))
                return Answer(401)
            return self._understand(inbound, request)

    def _understand(self, inbound: Inbound, request: Request) -> _Read | Answer:
        try:
            reading = inbound.connector.normalise(request, identity=inbound.identity)
        except UnreadableError as error:
            # Signed but unreadable: kept with its bytes, and said so.
            incoming = unreadable(inbound, request, reason=str(error))
            log.warning(
                "webhook unreadable",
                connection=inbound.name,
                reason=incoming.reason,
                body_hash=incoming.body_hash,
            )
            return _Read(incoming)
        if reading.outcome is Outcome.CHALLENGE:
            reply = reading.reply
            return Answer(200, reply.body, reply.content_type.encode()) if reply else Answer(200)
        incoming, events = prepare(
            inbound, request, reading, received_at=datetime.fromtimestamp(self._clock(), UTC)
        )
        return _Read(incoming, events, reading.reply)

    def _accepted(self, read: _Read, fresh: set[str]) -> Answer:
        incoming = read.incoming
        if incoming.outcome == UNREADABLE:
            return _problem(400, incoming.reason or "unreadable")
        if fresh:
            self._announce(
                [
                    (message_of(event, stored), event)
                    for event, stored in zip(read.events, incoming.events, strict=True)
                    if event.id in fresh
                ]
            )
        if read.reply is not None:
            return Answer(200, read.reply.body, read.reply.content_type.encode())
        return Answer(
            202,
            orjson.dumps(
                {
                    "outcome": incoming.outcome,
                    "reason": incoming.reason,
                    "events": [event.id for event in read.events if event.id in fresh],
                    "duplicates": len(read.events) - len(fresh),
                }
            ),
        )

    def waits(self) -> float:
        """Seconds for which the delivery that waits longest has waited to be stored; 0 where none waits."""
        asked = time.monotonic() - min(self._storing.values()) if self._storing else 0.0
        return max(asked, self._intake.waits())

    async def _stored(self, incoming: Incoming) -> set[str]:
        key = object()
        self._storing[key] = time.monotonic()
        try:
            return await self._intake.store(incoming)
        finally:
            del self._storing[key]

    def _say_full(self, name: str, reason: str) -> None:
        """One line now and then: a flood of refusals must not become a flood of lines."""
        now = time.monotonic()
        if now >= self._silent_until.get(name, 0.0):
            self._silent_until[name] = now + SAY_FULL_SECONDS
            log.warning("webhooks are refused with 503", connection=name, reason=reason)


def unreadable(inbound: Inbound, request: Request, *, reason: str) -> Incoming:
    """The row of a delivery that was signed and cannot be read. Pure."""
    digest = body_hash(request.body)
    return Incoming(
        id=f"{inbound.name}:unreadable:{digest}",
        connection=inbound.name,
        outcome=UNREADABLE,
        reason=reason,
        body_hash=digest,
        body_size=len(request.body),
        body=request.body,
    )


def prepare(
    inbound: Inbound, request: Request, reading: Normalised, *, received_at: datetime
) -> tuple[Incoming, list[Event]]:
    """The rows of one delivery and the events in them. Pure.

    The events come without their payload, which the rows have: what waits to be published must not hold it twice.
    """
    traceparent = request.headers.get("traceparent") or new_traceparent()
    payload = reading.payload if isinstance(reading.payload, dict) else dict(reading.payload)
    events: list[Event] = []
    stored: list[IncomingEvent] = []
    for fact in reading.facts:
        event = seal(
            fact,
            source=inbound.connector.source,
            connection=inbound.name,
            payload={},
            received_at=received_at,
            traceparent=traceparent,
            identity=inbound.identity,
        )
        events.append(event)
        stored.append(IncomingEvent.of(event, encode(event, payload)))
    key = reading.delivery_key
    digest = body_hash(request.body)
    incoming = Incoming(
        id=f"{inbound.name}:{key if len(key) <= MAX_ID else body_hash(key.encode())}",
        connection=inbound.name,
        outcome=reading.outcome.value,
        reason=reading.reason,
        body_hash=digest,
        body_size=len(request.body),
        events=stored,
    )
    return incoming, events


def encode(event: Event, payload: dict[str, Any]) -> bytes:
    """The CloudEvents JSON of an event with this payload: the model's own, several times faster to make."""
    data = event.data
    document = {
        **event.__dict__,
        "data": {
            **data.__dict__,
            "actor": data.actor.__dict__,
            "subject": data.subject.__dict__,
            "payload": payload,
        },
    }
    try:
        return orjson.dumps(document, option=orjson.OPT_UTC_Z)
    except TypeError:  # a number beyond 64 bits somewhere in the payload
        whole = event.model_copy(update={"data": data.model_copy(update={"payload": payload})})
        return whole.model_dump_json().encode()


def message_of(event: Event, stored: IncomingEvent) -> Message:
    """The Kafka message of an event; too large for Kafka, it travels without its payload and says where that is."""
    if len(stored.body) <= MAX_MESSAGE_BYTES:
        return Message(EVENTS.name, event.id, event.subject, stored.body)
    return Message(EVENTS.name, event.id, event.subject, encode(event.without_payload(), {}))


class _TooLargeError(Exception):
    pass


class _GoneError(Exception):
    pass


class Unread:
    """`receive` of one request, which knows whether its body came to its end."""

    def __init__(self, scope: Scope, receive: Receive) -> None:
        headers = _headers(scope)
        self._receive = receive
        self._left = headers.get("content-length", "0") != "0" or "transfer-encoding" in headers
        self._ends = headers.get("connection", "").strip().lower() == "close"
        self._asks_first = "expect" in headers

    async def __call__(self) -> MutableMapping[str, Any]:
        message = await self._receive()
        self._left = not _is_last(message)
        return message

    async def drain(self) -> None:
        """Read what is left of the body, within bounds, where the connection is to be closed after the answer.

        Closing it with bytes unread resets it, and a sender that reads nothing before it has sent all (Python's
        urllib, many a load balancer) would lose the answer. On a connection that stays open the server does this.
        """
        if not (self._left and self._ends) or self._asks_first:
            return
        size = 0
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(DRAIN_SECONDS):
                while size <= DRAIN_BYTES:
                    message = await self()
                    size += len(message.get("body", b""))
                    if _is_last(message):
                        return


async def _body(receive: Receive, headers: Mapping[str, str], place: Place, *, limit: int) -> bytes:
    """The body, which `place` holds as it grows: what was only announced takes no room."""
    declared = headers.get("content-length", "")
    if declared.isascii() and declared.isdigit() and int(declared) > limit:
        raise _TooLargeError
    chunks: list[bytes] = []
    size = 0
    async with asyncio.timeout(READ_SECONDS):
        while True:
            message = await receive()
            if message["type"] == "http.disconnect":
                raise _GoneError
            chunk = message.get("body", b"")
            size += len(chunk)
            if size > limit:
                raise _TooLargeError
            place.hold(size)
            chunks.append(chunk)
            if not message.get("more_body", False):
                return chunks[0] if len(chunks) == 1 else b"".join(chunks)


def _is_last(message: Mapping[str, Any]) -> bool:
    return message["type"] == "http.disconnect" or not message.get("more_body", False)


def _headers(scope: Scope) -> dict[str, str]:
    return {name.decode("latin-1").lower(): value.decode("latin-1") for name, value in scope["headers"]}


def _problem(status: int, reason: str) -> Answer:
    return Answer(status, orjson.dumps({"error": reason}))
