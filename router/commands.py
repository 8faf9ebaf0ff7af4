"""What people say to triggerhub itself: stop, status, retry, cost, approve, deny. Pure; who may is decided elsewhere.

A command stands at the beginning of a comment or message, and is taken out before rules are matched. An edited comment
is never one: what people saw when it was written would not be what is done.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final

from router.verdicts import EVERY_RULE, Verdict, VerdictOutcome
from schemas.event import Event
from schemas.policy.approval import CODE_LENGTH, CODE_LETTERS

NAME: Final = "/triggerhub"
CLAUSE: Final = "command"
"""Of the verdict on it."""
STEERING: Final = ("stop", "status", "retry", "cost")
VOTES: Final = ("approve", "deny")
HELP: Final = "help"
EDITED: Final = "edited"
"""The word of a command that somebody made of an older comment."""
BUTTON: Final = "triggerhub."
"""What the action ids of our own buttons begin with."""
MAX_REASON: Final = 500
SPOKEN: Final = frozenset(
    {"comment.created", "message.posted", "message.mention", "review.submitted", "review_comment.created"}
)
"""Kinds whose text may be a command."""

_TYPED: Final = re.compile(r"[\s`]*/triggerhub(?![\w-])[\s`:]*", re.IGNORECASE)
_CALLED: Final = re.compile(r"\s*(?:@[^\s@:,]+|\[~[^\]\s]+\])[\s:,]*", re.IGNORECASE)
_CODE: Final = rf"[{CODE_LETTERS}]{{{CODE_LENGTH}}}"
_RUN: Final = r"run_[0-9a-z_]{4,64}"
_STEER: Final = re.compile(rf"({'|'.join(STEERING)})(?:\s+({_RUN}))?[\s.!]*", re.IGNORECASE)
_VOTE: Final = re.compile(
    rf"({'|'.join(VOTES)})\s+`?({_CODE})`?(?![^\s:,;.])[\s:,;.]*(.*)", re.IGNORECASE | re.DOTALL
)


@dataclass(frozen=True, slots=True)
class Command:
    """One command. `word` is one of STEERING, VOTES, HELP or EDITED."""

    word: str
    what: str | None = None
    """A run, or the approval: its code, or its id where a button was clicked."""
    digest: str | None = None
    """The content that the button stood for."""
    reason: str | None = None
    clicked: bool = False


def command_of(event: Event) -> Command | None:
    """The command that an event is; None where it is none. Never raises."""
    data = event.data
    if data.kind == "action.clicked":
        return _clicked(event)
    if data.kind == "command.invoked":
        named = data.payload.get("command")
        return _typed(data.text) if isinstance(named, str) and named.lower() == NAME else None
    if data.kind == "comment.edited":
        typed = _TYPED.match(data.text)
        return Command(EDITED) if typed is not None and _typed(data.text[typed.end() :]) else None
    if data.kind not in SPOKEN:
        return None
    found = _TYPED.match(data.text)
    if found is not None:
        return _typed(data.text[found.end() :])
    called = _CALLED.match(data.text)
    if called is None or not (data.addressed or called[0].strip().rstrip(":,").lower() == "@triggerhub"):
        return None
    # A mention speaks to the agent as well: only what is nothing but a command is one.
    return _exactly(data.text[called.end() :])


def outside_rules(event: Event) -> Verdict | None:
    """The verdict on an event that is a command, where nobody is asked to do it; None where it is none."""
    command = command_of(event)
    if command is None:
        return None
    reason = "the hub itself does this, if the person may; no rule is asked"
    return Verdict(
        rule=EVERY_RULE, outcome=VerdictOutcome.SUPPRESSED, clause=CLAUSE, seen=command.word, reason=reason
    )


def _clicked(event: Event) -> Command | None:
    changed = event.data.changed
    action, value = (_to(changed.get(name)) for name in ("action", "value"))
    word = action.removeprefix(BUTTON)
    if not action.startswith(BUTTON) or word not in VOTES:
        return None
    approval, _, digest = value.partition(":")
    # Without a content it is bound to nothing, and no content begins with nothing.
    return Command(word, approval, digest=digest, clicked=True)


def _to(change: object) -> str:
    value = change.get("to") if isinstance(change, dict) else None
    return value if isinstance(value, str) else ""


def _typed(text: str) -> Command | None:
    """What follows the name: a command, or a wish to know them. Anything else is a piece of work for an agent."""
    said = text.strip().strip("`").strip()
    word = said.partition(" ")[0].lower()
    found = _exactly(said)
    return found or (Command(HELP) if word in {"", HELP, *STEERING, *VOTES} else None)


def _exactly(text: str) -> Command | None:
    steer = _STEER.fullmatch(text.strip())
    if steer is not None:
        return Command(steer[1].lower(), steer[2].lower() if steer[2] else None)
    vote = _VOTE.fullmatch(text.strip())
    if vote is not None:
        said = " ".join(vote[3].split())[:MAX_REASON]
        return Command(vote[1].lower(), vote[2].lower(), reason=said or None)
    return None
