"""One place to comment on at each emulated vendor, and what stands there. Holds no expectations."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Final

import httpx

from connectors.base import Connector
from connectors.poster import Post, Poster
from connectors.registry import connector as connector_of
from sandbox.server import Sandbox
from schemas.event import Subject
from schemas.result import Origin

RUN: Final = "run_0123456789abcdef"
ISSUE: Final = "5900123456"
TS: Final = "1767323000.000100"
THREAD: Final = "1767322000.000001"
_SUBJECTS: Final[Mapping[str, Subject]] = {
    "github": Subject(kind="issue", key="acme/checkout#12", container="acme/checkout"),
    "jira": Subject(kind="issue", key="SHOP-7", container="SHOP"),
    "sentry": Subject(kind="issue", key=ISSUE, container="checkout"),
    "slack": Subject(kind="thread", key=f"T01ACME00/C1/{THREAD}", container="C1"),
}
_ADDRESSES: Final[Mapping[str, dict[str, str]]] = {
    "slack": {"channel": "C1", "thread_ts": THREAD, "ts": TS},
    "sentry": {"issue": ISSUE, "organization": "acme"},
}
VENDORS: Final = tuple(_SUBJECTS)


@dataclass
class Place:
    """An issue or a thread at one vendor, with a poster that reaches it."""

    vendor: str
    sandbox: Sandbox
    connector: Connector
    poster: Poster

    def origin(self, **more: Any) -> Origin:
        """An event there."""
        fields: dict[str, Any] = {
            "connection": self.vendor,
            "event_id": "evt_1",
            "kind": "comment.created",
            "subject": _SUBJECTS[self.vendor],
            "address": _ADDRESSES.get(self.vendor, {}),
        }
        return Origin(**{**fields, **more})

    def comment(self, text: str, *, slot: str = "status", **origin: Any) -> Post:
        """A comment to the origin."""
        spec = self.connector.outputs["comment"]
        return Post(
            run=RUN,
            slot=slot,
            output="comment",
            target=spec.target(),
            arguments=spec.arguments.model_validate({"text": text}),
            origin=self.origin(**origin),
            to_origin=True,
        )

    def texts(self) -> list[str]:
        """What we have said there, oldest first."""
        world = self.sandbox.world
        match self.vendor:
            case "github":
                return [note.body for note in world.github.repos["acme/checkout"].issues[12].comments]
            case "jira":
                return [str(note.body) for note in world.jira.issues["SHOP-7"].comments]
            case "sentry":
                return [note.text for note in world.sentry.issues[ISSUE].notes]
            case _:
                return [one.text for one in world.slack.channels["C1"].messages.values() if one.bot]

    def copy_as_stranger(self) -> None:
        """Somebody else posts the latest of what stands there once more, with whatever is hidden in it."""
        world = self.sandbox.world
        match self.vendor:
            case "github":
                notes = world.github.repos["acme/checkout"].issues[12].comments
                notes.append(replace(notes[-1], id=notes[-1].id + 1, login="mallory"))
            case "jira":
                remarks = world.jira.issues["SHOP-7"].comments
                remarks.append(replace(remarks[-1], id=world.jira.new_id(), account="712020:mallory"))
            case "sentry":
                told = world.sentry.issues[ISSUE].notes
                told.append(replace(told[-1], id=world.sentry.new_id(), user="4242"))
            case _:
                messages = world.slack.channels["C1"].messages
                ours = next(one for one in reversed(messages.values()) if one.bot)
                ts = world.slack.next_ts()
                messages[ts] = replace(ours, ts=ts, user="U0MALLORY", bot=False)

    def remove_first(self) -> None:
        """A person deletes the oldest of what we said, and leaves the rest."""
        world = self.sandbox.world
        match self.vendor:
            case "github":
                del world.github.repos["acme/checkout"].issues[12].comments[0]
            case "jira":
                del world.jira.issues["SHOP-7"].comments[0]
            case "sentry":
                del world.sentry.issues[ISSUE].notes[0]
            case _:
                messages = world.slack.channels["C1"].messages
                del messages[next(ts for ts, one in messages.items() if one.bot)]

    def remove(self) -> None:
        """A person deletes it all."""
        world = self.sandbox.world
        world.github.repos["acme/checkout"].issues[12].comments.clear()
        world.jira.issues["SHOP-7"].comments.clear()
        world.sentry.issues[ISSUE].notes.clear()
        messages = world.slack.channels["C1"].messages
        for ts in [ts for ts, one in messages.items() if one.bot]:
            del messages[ts]


def furnish(sandbox: Sandbox) -> None:
    """Make the four places."""
    world = sandbox.world
    world.github.ensure_repo("acme/checkout")
    world.github.ensure_issue("acme/checkout", 12)
    world.jira.ensure_issue("SHOP-7")
    world.sentry.ensure_issue(ISSUE)
    world.slack.ensure_message("C1", THREAD)
    world.slack.ensure_message("C1", TS, thread_ts=THREAD)


def place_at(vendor: str, sandbox: Sandbox, http: httpx.AsyncClient, **settings: Any) -> Place:
    """The place at one vendor."""
    connector = connector_of(vendor)
    fields: dict[str, Any] = {
        "source": vendor,
        "api_url": sandbox.api_url(vendor),
        "webhook_secrets": ["env:S"],
        "token": "env:T",
    }
    if vendor == "jira":
        fields["email"] = "bot@acme.example"
    if vendor == "sentry":
        fields["organization"] = "acme"
    made = connector.settings.model_validate({**fields, **settings})
    return Place(vendor, sandbox, connector, connector.poster(made, token="t-invented", http=http, files={}))
