"""Sending webhooks as the vendors do, with a log of every attempt, and losing some of them on purpose.

A lost delivery is never sent; the log shows that nobody could be reached. What is lost is decided by a seed, so that a
run can be repeated. Must not know what a webhook means.
"""

from __future__ import annotations

import asyncio
import random
import uuid
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import count
from typing import Any, Final

import httpx
import orjson

from sandbox.moments import iso_seconds, now
from sandbox.vendor.signing import SIGNERS

TIMEOUT: Final = 10.0
"""Seconds that a receiver has."""
UNREACHED: Final = 502
"""What GitHub's log shows for a delivery that reached nobody."""
SUCCESS: Final = range(200, 300)


@dataclass(slots=True)
class Hook:
    """A subscription: where the webhooks of a service go."""

    id: int
    service: str
    url: str
    secret: str = field(repr=False)
    drop: float = 0.0
    """Which part of the deliveries gets lost, 0 to 1. Redeliveries do not."""
    double: float = 0.0
    """Which part of those that arrived is sent once more."""
    place: str | None = None
    """GitHub: `owner/repo` that the hook belongs to; None: the App's own."""


@dataclass(slots=True)
class Webhook:
    """What is to be told: headers without signature, and the body."""

    headers: dict[str, str]
    body: bytes
    event: str
    action: str | None = None


@dataclass(slots=True)
class Attempt:
    """One attempt at a delivery."""

    id: int
    guid: str
    hook: int
    at: float
    status: int
    redelivery: bool
    webhook: Webhook
    lost: bool = False
    """On purpose."""

    @property
    def went_through(self) -> bool:
        return self.status in SUCCESS

    def as_dict(self) -> dict[str, Any]:
        """As the admin routes show it, without the body."""
        return {
            "id": self.id,
            "guid": self.guid,
            "hook": self.hook,
            "at": self.at,
            "status": self.status,
            "redelivery": self.redelivery,
            "event": self.webhook.event,
            "action": self.webhook.action,
        }

    def as_github(self) -> dict[str, Any]:
        """A row of GitHub's list of deliveries."""
        return {
            "id": self.id,
            "guid": self.guid,
            "delivered_at": iso_seconds(self.at),
            "redelivery": self.redelivery,
            "duration": 0.03,
            "status": "OK" if self.went_through else "failed to connect to host",
            "status_code": self.status,
            "event": self.webhook.event,
            "action": self.webhook.action,
            "installation_id": None,
            "repository_id": None,
        }


class Post:
    """Hooks of all services, and everything that was sent to them."""

    def __init__(self) -> None:
        self.hooks: dict[int, Hook] = {}
        self.attempts: list[Attempt] = []
        """Oldest first."""
        self._chance = random.Random(0)  # noqa: S311 - a schedule that can be repeated, not a secret
        self._hook_ids = count(41)
        self._ids = count(12_000_001, 7)

    def seed(self, number: int) -> None:
        """Begin the sequence that decides what gets lost."""
        self._chance.seed(number)

    def add_hook(
        self,
        service: str,
        url: str,
        secret: str,
        *,
        drop: float = 0.0,
        double: float = 0.0,
        place: str | None = None,
    ) -> Hook:
        """Subscribe an address to everything of a service."""
        if service not in SIGNERS:
            msg = f"no service {service!r} sends webhooks; known are {', '.join(SIGNERS)}"
            raise ValueError(msg)
        hook = Hook(next(self._hook_ids), service, url, secret, drop=drop, double=double, place=place)
        self.hooks[hook.id] = hook
        return hook

    async def send(self, service: str, webhook: Webhook, *, place: str | None = None) -> list[Attempt]:
        """Deliver to every hook of the service (and place), or lose it. Returns the attempts."""
        made = []
        for hook in list(self.hooks.values()):
            if hook.service == service and hook.place in {None, place}:
                lost = self._chance.random() < hook.drop
                attempt = await self._attempt(hook, webhook, str(uuid.uuid4()), lost=lost, again=False)
                made.append(attempt)
                if hook.double and attempt.went_through and self._chance.random() < hook.double:
                    await self.send_again(attempt)
        return made

    def wants(self, service: str) -> bool:
        """Whether anybody subscribed to a service."""
        return any(hook.service == service for hook in self.hooks.values())

    async def send_json(self, service: str, event: str, body: bytes, *, tries: int, pause: float) -> None:
        """Deliver as a vendor does that tries again, `pause` seconds after an attempt that was not taken; `tries` in all.

        What gets lost on purpose is lost for good.
        """
        webhook = Webhook({"content-type": "application/json"}, body, event)
        open_ = [one for one in await self.send(service, webhook) if not one.went_through and not one.lost]
        for _ in range(tries - 1):
            if not open_:
                return
            await asyncio.sleep(pause)
            open_ = [one for one in open_ if not (await self.send_again(one)).went_through]

    async def send_again(self, attempt: Attempt) -> Attempt:
        """Deliver once more, with the same GUID."""
        hook = self.hooks[attempt.hook]
        return await self._attempt(hook, attempt.webhook, attempt.guid, lost=False, again=True)

    async def _attempt(self, hook: Hook, webhook: Webhook, guid: str, *, lost: bool, again: bool) -> Attempt:
        at = now()
        status = UNREACHED if lost else await _deliver(hook, webhook, guid)
        attempt = Attempt(next(self._ids), guid, hook.id, at, status, again, webhook, lost=lost)
        self.attempts.append(attempt)
        return attempt

    def of_hook(self, hook: int) -> Iterator[Attempt]:
        """Attempts of one hook, newest first."""
        return (attempt for attempt in reversed(self.attempts) if attempt.hook == hook)

    def lost(self, service: str | None = None) -> list[Attempt]:
        """First attempts that reached nobody."""
        return [
            attempt
            for attempt in self.attempts
            if not attempt.redelivery
            and not attempt.went_through
            and service in {None, self.hooks[attempt.hook].service}
        ]

    def snapshot(self) -> dict[str, Any]:
        """JSON-ready data of hooks (without secrets) and attempts."""
        hooks = [
            {"id": hook.id, "service": hook.service, "url": hook.url, "drop": hook.drop}
            for hook in self.hooks.values()
        ]
        return {"hooks": hooks, "attempts": [attempt.as_dict() for attempt in self.attempts]}

    def reset(self) -> None:
        """Forget hooks and attempts."""
        self.hooks.clear()
        self.attempts.clear()


def json_webhook(event: str, body: Any, *, action: str | None = None, **headers: str) -> Webhook:
    """A webhook with a JSON body. Header names are given with underscores."""
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return Webhook({"content-type": "application/json", **named}, orjson.dumps(body), event, action)


async def _deliver(hook: Hook, webhook: Webhook, guid: str) -> int:
    headers = {**webhook.headers, **SIGNERS[hook.service](hook.secret, webhook.body)}
    if hook.service == "github":
        headers |= {
            "x-github-delivery": guid,
            "x-github-event": webhook.event,
            "x-github-hook-id": str(hook.id),
        }
    elif hook.service == "jira":
        headers["x-atlassian-webhook-identifier"] = guid
    try:
        async with httpx.AsyncClient(timeout=TIMEOUT, trust_env=False) as http:
            return (await http.post(hook.url, content=webhook.body, headers=headers)).status_code
    except httpx.HTTPError:
        return UNREACHED
