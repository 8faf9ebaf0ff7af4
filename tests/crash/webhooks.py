"""Signed webhooks of all four sources with subjects of one's own choosing, made from the shipped samples.

Says of each which conversation it belongs to and whether a rule of the demo's configuration wants it worked on.
"""

from __future__ import annotations

import hashlib
import json
import random
import time
import uuid
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import Any, Final

import httpx

from connectors.base import Identity, Request, seal
from connectors.registry import connector
from hub.demo.scenarios import DEMO_SECRETS, webhook
from hub.sending import signed_headers

SIGNING: Final[Mapping[str, str]] = {
    "github": DEMO_SECRETS["GITHUB_WEBHOOK_SECRET"],
    "jira": DEMO_SECRETS["JIRA_WEBHOOK_SECRET"],
    "sentry": DEMO_SECRETS["SENTRY_CLIENT_SECRET"],
    "slack": DEMO_SECRETS["SLACK_SIGNING_SECRET"],
}
CHANNEL: Final = "C0123456"
TEAM: Final = "T0ACME01"
ROOM: Final = 1_000
"""Between two issues that agents work on: GitHub numbers the pull requests that they open after the highest issue, and a
word on an issue of the load that was also the number of a pull request would go to the session that opened it."""
FAR: Final = 900_000_000
"""Issues from here on are nobody's work."""


@dataclass(frozen=True, slots=True)
class Webhook:
    """One delivery as a vendor sends it, again and again until it is answered 2xx."""

    source: str
    headers: Mapping[str, str]
    body: bytes
    subject: str
    """Key of what it is about."""
    rule: str | None = None
    """The rule that shall start work; None where none matches."""
    copy: int = 0
    """0: the first delivery of the fact. Else the vendor delivers it again, for a reason of its own."""
    retried: int = 0
    """How often this delivery was tried before."""

    @property
    def connection(self) -> str:
        return f"acme-{self.source}"

    @property
    def path(self) -> str:
        return f"/hooks/{self.connection}"

    @property
    def conversation(self) -> str:
        """As the session's metadata names it."""
        return f"{self.source}:{self.connection}:{self.subject}:{self.rule}"

    @property
    def event_id(self) -> str:
        """Of the event that it must become, by the connector's own reading."""
        request = Request({name.lower(): value for name, value in self.signed().items()}, self.body)
        reading = connector(self.source).normalise(request, identity=Identity())
        (fact,) = reading.facts
        moment = datetime.fromtimestamp(0, UTC)
        return seal(fact, source=self.source, connection=self.connection, payload={}, received_at=moment).id

    def signed(self) -> dict[str, str]:
        """Headers as the vendor sends them on this attempt, with a signature that is fresh now."""
        headers = {**self.headers, **self._again()}
        return signed_headers(
            connector(self.source), Request(headers, self.body), secret=SIGNING[self.source], now=time.time()
        )

    def _again(self) -> dict[str, str]:
        """What a vendor changes in the headers when it sends something again (webhooks reference §0)."""
        name = hashlib.sha256(self.body + bytes([self.copy % 256])).hexdigest()
        match self.source:
            case "github" if self.copy % 2:
                # The same fact through a second hook; a redelivery by hand keeps its id.
                return {"x-github-delivery": str(uuid.UUID(name[:32])), "x-github-hook-id": "7002"}
            case "jira":
                found = {"x-atlassian-webhook-retry": str(self.retried)} if self.retried else {}
                if self.copy % 2:  # a second webhook of the same site
                    found["x-atlassian-webhook-identifier"] = name[:40]
                return found
            case "sentry" if self.copy or self.retried:
                return {"request-id": uuid.uuid4().hex}  # fresh on every attempt
            case "slack" if self.copy or self.retried:
                number = min(3, self.copy + self.retried)
                return {"x-slack-retry-num": str(number), "x-slack-retry-reason": "http_timeout"}
            case _:
                return {}

    async def send(self, http: httpx.AsyncClient, url: str) -> httpx.Response:
        """One attempt. Raises httpx.HTTPError."""
        return await http.post(url + self.path, content=self.body, headers=self.signed())


def _sample(name: str) -> tuple[dict[str, str], Any]:
    headers, body = webhook(name)
    return headers, json.loads(body)


def github_comment(
    number: int, comment: int, text: str, *, login: str = "ada-lind", delivery: str = ""
) -> Webhook:
    """A person's comment on an issue of acme/checkout; with `@triggerhub` in it a rule wants an answer."""
    headers, body = _sample("github-mention")
    url = f"https://github.com/acme/checkout/issues/{number}"
    body["issue"] |= {
        "id": 5_000_000 + number,
        "number": number,
        "html_url": url,
        "title": f"Totals differ ({number})",
    }
    body["comment"] |= {
        "id": comment,
        "node_id": f"IC_{comment}",
        "html_url": f"{url}#issuecomment-{comment}",
    }
    body["comment"] |= {"body": text}
    for person in (body["comment"]["user"], body["sender"]):
        person["login"] = login
    return Webhook(
        source="github",
        headers={**headers, "x-github-delivery": delivery or f"00000000-0000-4000-8000-{comment:012d}"},
        body=json.dumps(body).encode(),
        subject=f"acme/checkout#{number}",
        rule="github-mention-reply" if "@triggerhub" in text else None,
    )


def jira_label(number: int, *, label: str = "agent") -> Webhook:
    """A label is put on SHOP-<number>."""
    headers, body = _sample("jira-label")
    key = f"SHOP-{number}"
    body["issue"] |= {"id": str(700_000 + number), "key": key}
    body["issue"]["self"] = f"https://acme.atlassian.net/rest/api/2/{700_000 + number}"
    body["issue"]["fields"]["summary"] = f"Gift cards cannot pay for shipping ({number})"
    body["issue"]["fields"]["labels"] = [label, "payments"]
    body["changelog"]["id"] = str(900_000 + number)
    body["changelog"]["items"][0]["toString"] = f"payments {label}"
    body["timestamp"] += number
    return Webhook(
        source="jira",
        headers={**headers, "x-atlassian-webhook-identifier": f"jira-{number}-{label}"},
        body=json.dumps(body).encode(),
        subject=key,
        rule="jira-label-to-pr" if label == "agent" else None,
    )


def sentry_alert(number: int, *, project: str = "checkout") -> Webhook:
    """An alert about an issue of its own."""
    headers, body = _sample("sentry-alert")
    issue = str(5_200_000_000 + number)
    event = body["data"]["event"]
    event |= {"event_id": f"{number:032x}", "issue_id": issue, "project_slug": project}
    event["title"] = f"ZeroDivisionError: division by zero ({number})"
    event["url"] = f"https://sentry.io/api/0/projects/acme/{project}/events/{number:032x}/"
    event["web_url"] = f"https://sentry.io/organizations/acme/issues/{issue}/events/{number:032x}/"
    event["issue_url"] = f"https://sentry.io/api/0/organizations/acme/issues/{issue}/"
    return Webhook(
        source="sentry",
        headers={**headers, "request-id": f"{number:032x}"},
        body=json.dumps(body).encode(),
        subject=issue,
        rule="sentry-error-to-pr" if project == "checkout" else None,
    )


def slack_mention(ts: str, text: str = "<@U0HUB001> which service sends the receipts?") -> Webhook:
    """Somebody mentions the app in a channel."""
    headers, body = _sample("slack-mention")
    body["event"] |= {"ts": ts, "event_ts": ts, "text": text, "client_msg_id": f"m-{ts}"}
    body["event_id"] = f"Ev{ts}"
    return _slack(headers, body, thread=ts, rule="slack-mention-answer")


def slack_words(
    ts: str, text: str, *, thread: str | None = None, user: str = "U0ADA001", **fields: Any
) -> Webhook:
    """Somebody writes without mentioning anybody, in a thread or not."""
    headers, body = _sample("slack-mention")
    body["event"] |= {
        "type": "message",
        "ts": ts,
        "event_ts": ts,
        "text": text,
        "user": user,
        "channel_type": "channel",
    }
    body["event"]["client_msg_id"] = f"m-{ts}"
    if thread is not None:
        body["event"]["thread_ts"] = thread
    body["event"] |= fields
    body["event_id"] = f"Ev{ts}"
    return _slack(headers, body, thread=thread or ts, rule=None)


def _slack(headers: Mapping[str, str], body: dict[str, Any], *, thread: str, rule: str | None) -> Webhook:
    return Webhook(
        source="slack",
        headers=headers,
        body=json.dumps(body).encode(),
        subject=f"{TEAM}/{CHANNEL}/{thread}",
        rule=rule,
    )


@dataclass(slots=True)
class Load:
    """A seeded stream of deliveries: facts that start work, facts that do not, copies, all somewhat out of order."""

    seed: int
    count: int
    matching: float = 0.35
    """Share of the facts that a rule wants worked on."""
    copies: float = 0.15
    """Share of the deliveries that are copies of others."""
    window: int = 15
    """How far a delivery may be out of order."""
    began: int = field(default_factory=lambda: int(time.time()) - 200_000)
    """Time stamps count from here: an answer that is older than its question would never be found again."""
    facts: list[Webhook] = field(default_factory=list)
    """Every different one."""

    def deliveries(self) -> list[Webhook]:
        """All of them, in the order in which they are sent."""
        chance = random.Random(self.seed)  # noqa: S311 - a reproducible load, not a secret
        fresh = max(1, round(self.count * (1 - self.copies)))
        self.facts = [self._fact(n, chance) for n in range(1, fresh + 1)]
        placed = [(float(n), webhook) for n, webhook in enumerate(self.facts)]
        for _ in range(self.count - fresh):
            n = chance.randrange(fresh)
            # Some copies come at once, some much later: a redelivery by hand.
            late = chance.choice((0.01, 1.0, self.window, fresh / 2))
            placed.append((n + chance.random() * late, replace(self.facts[n], copy=chance.randint(1, 4))))
        placed.sort(key=lambda pair: pair[0] + chance.random() * self.window)
        return [webhook for _, webhook in placed]

    def _fact(self, n: int, chance: random.Random) -> Webhook:
        wanted = chance.random() < self.matching
        source = chance.choice(("github", "github", "jira", "sentry", "slack"))
        ts = f"{self.began + n}.{n % 1_000_000:06d}"
        match source:
            case "github":
                # Every fourth mention is a further word on the issue of the one before.
                number = ROOM * (1 + n - n % 4)
                words = (
                    f"@triggerhub where do we round the total? ({n})" if wanted else f"It rounds twice. ({n})"
                )
                return github_comment(number if wanted else FAR + n, 40_000_000 + n, words)
            case "jira":
                return jira_label(n, label="agent" if wanted else "later")
            case "sentry":
                return sentry_alert(n, project="checkout" if wanted else "warehouse")
            case _:
                return slack_mention(ts) if wanted else slack_words(ts, f"Lunch? ({n})")
