"""What the picture of the story quotes: who said it, where, and at which step. A telling shows whether it was said.

No quote holds an id of ours, a time or a branch: those are others in every telling.
"""

from __future__ import annotations

import html
import json
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Final
from urllib.parse import parse_qs

from story.steps import STORY
from story.tale import ANNOUNCEMENTS, REPOSITORY, Tale

TRIGGERHUB: Final = "triggerhub"


@dataclass(frozen=True, slots=True)
class Quote:
    """Something that stands in the picture. `step` is a title of the story; no words: what the title says was done."""

    step: str
    source: str
    who: str
    words: tuple[str, ...] = ()
    """Parts of one text, in its order; `…` stands for what is left out. Of several by triggerhub the first is bold."""
    where: str = ""
    """In the place of the source's name."""

    @property
    def ours(self) -> bool:
        """Whether the hub posted it; else it came in with a webhook."""
        return self.who == TRIGGERHUB


@dataclass(frozen=True, slots=True)
class Said:
    """One text of a telling."""

    source: str
    ours: bool
    text: str


THREAD: Final = (
    Quote(
        "the channel is told once",
        "slack",
        TRIGGERHUB,
        (
            "ZeroDivisionError: division by zero (7) SHOP-7",
            "in checkout.totals in apply_discount",
            "There is a pull request for this: https://github.com/acme/checkout/pull/1",
            "cause found and covered by a test",
        ),
    ),
    Quote("a question in the Slack thread", "slack", "Ada", ("Is it fixed?",)),
    Quote(
        "is answered there",
        "slack",
        TRIGGERHUB,
        (
            "Is it fixed?",
            "Earlier in this session I worked on “Customers ask about this.”.",
            "https://github.com/acme/checkout/pull/1",
        ),
    ),
    Quote("Slack wants it announced", "slack", "Ada", ("Then announce what changed.",)),
    Quote(
        "Slack wants it announced",
        "slack",
        TRIGGERHUB,
        (
            "The agent of the rule sentry-error-to-pr wants to use announce through acme-slack",
            "text: ### Then announce what changed.",
            "There is a pull request for this: https://github.com/acme/checkout/pull/1",
            "- cause found and covered by a test",
            "- nothing else was touched",
        ),
    ),
    Quote(
        "who asked clicks",
        "slack",
        TRIGGERHUB,
        ("That does not count for …: whoever asked for it may not approve it.",),
    ),
    Quote(
        "Grace clicks",
        "slack",
        TRIGGERHUB,
        (
            "Approved by u0grace01 (slack:U0GRACE01).",
            "The agent of the rule sentry-error-to-pr wants to use …",
        ),
    ),
    Quote("and again", "slack", TRIGGERHUB, ("That does not count for …: it is approved already.",)),
)
"""The thread in Slack."""

ELSEWHERE: Final = (
    Quote("Sentry alerts", "sentry", "Sentry", ("ZeroDivisionError: division by zero (7) SHOP-7",)),
    Quote(
        "one draft pull request stands",
        "github",
        TRIGGERHUB,
        ("Repair: ZeroDivisionError: division by zero (7) SHOP-7",),
    ),
    Quote("a review asks for a change", "github", "a reviewer", ("Round only once, please.",)),
    Quote("the build fails", "github", "GitHub", ("Check vouchers before charging",)),
    Quote("the repair is pushed", "github", TRIGGERHUB, ("Repair: tests",)),
    Quote("a comment on Jira", "jira", "Ada", ("Customers ask about this.",)),
    Quote(
        "is answered there",
        "jira",
        TRIGGERHUB,
        ("Earlier in this session I worked on “Check vouchers before charging”.",),
    ),
    Quote("Jira wants it announced", "jira", "Ada", ("Please announce it.",)),
    Quote("another denies it", "jira", TRIGGERHUB, ("Denied by …: say what changed.",)),
    Quote(
        "Grace clicks",
        "slack",
        TRIGGERHUB,
        (
            "Then announce what changed.",
            "There is a pull request for this: …",
            "cause found and covered by a test",
            "nothing else was touched",
        ),
        where=f"Slack, {ANNOUNCEMENTS}",
    ),
    Quote("a review approves", "github", "a reviewer", ("Good now.",)),
    Quote("the pull request is merged", "github", "a reviewer"),
)
"""The other places of the same conversation."""


def numbered(quotes: Sequence[Quote]) -> list[tuple[int, Quote]]:
    """Each with the number of its step, from 1. ValueError where they are not in the story's order."""
    titles = [step.title for step in STORY]
    found, at = [], 0
    for quote in quotes:
        at = titles.index(quote.step, at)
        found.append((at + 1, quote))
    return found


def unsaid(quotes: Sequence[Quote], said: Sequence[Said]) -> list[Quote]:
    """Those that stand in no text of their source and side, in whole and in order."""
    return [
        quote
        for quote in quotes
        if not any(
            (one.source, one.ours) == (quote.source, quote.ours) and _within(quote.words, one.text)
            for one in said
        )
    ]


async def everything(tale: Tale) -> list[Said]:
    """What the webhooks of a telling brought in, and what stands at the vendors at its end."""
    state = await tale.state()
    said = [Said(fact.source, ours=False, text=_flat(_body(fact.body))) for fact in tale.facts]
    repository = state["github"]["repos"][REPOSITORY]
    issues = repository["issues"].values()
    github = [issue["title"] for issue in issues if issue["pull"] is not None]
    github += [comment["body"] for issue in issues for comment in issue["comments"]]
    github += [commit["message"] for commit in repository["commits"].values()]
    jira = [comment["body"] for issue in state["jira"]["issues"].values() for comment in issue["comments"]]
    sentry = [note["text"] for issue in state["sentry"]["issues"].values() for note in issue["notes"]]
    slack = [message.text for message in await tale.messages() if message.bot]
    slack += [message.text for message in await tale.messages(ANNOUNCEMENTS) if message.bot]
    for source, texts in (("github", github), ("jira", jira), ("sentry", sentry), ("slack", slack)):
        said += [Said(source, ours=True, text=_flat(text)) for text in texts]
    return said


def _within(words: Sequence[str], text: str) -> bool:
    """Whether a text has all these, one after the other."""
    plain, at = _plain(text), 0
    for part in (part for line in words for part in line.split("…")):
        at = plain.find(_plain(part), at)
        if at < 0:
            return False
        at += len(_plain(part))
    return True


def _plain(text: str) -> str:
    """Without what only marks bold and code, and with single spaces."""
    return re.sub(r"\s+", " ", re.sub(r"[*`]", "", html.unescape(text))).strip()


def _body(body: bytes) -> Any:
    """Of a webhook: JSON, or Slack's form with JSON in it."""
    if body.startswith(b"{"):
        return json.loads(body)
    return json.loads(parse_qs(body.decode())["payload"][0])


def _flat(value: Any) -> str:
    return "\n".join(_strings(value))


def _strings(value: Any) -> Iterator[str]:
    match value:
        case str():
            yield value
        case dict():
            for part in value.values():
                yield from _strings(part)
        case list():
            for part in value:
                yield from _strings(part)
        case _:
            return
