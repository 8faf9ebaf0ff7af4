"""Whether an event is a follow-up, and what becomes of it in a conversation that owns its subject. Pure decisions.

What only the database knows (who owns, what was told before) is an argument. Whoever caused the event must be in
the rule's `who` here too: owning a subject opens no door to people whom the rule does not let in.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from router.engine import trust_of
from router.rules import CompiledRule
from router.verdicts import VerdictOutcome
from schemas.config import PublishTo
from schemas.event import Event, level_of

WORDS: Final = frozenset(
    {"comment.created", "message.posted", "message.mention", "review.submitted", "review_comment.created"}
)
"""Plain words in a conversation: they reach the session that owns it, without a rule of their own matching."""
EDIT: Final = "comment.edited"
BUILD: Final = "ci.completed"
FOLLOW_UP_KINDS: Final = WORDS | {EDIT, BUILD, "alert.fired"}
"""What is told without being asked for by `follow`."""
RECORDED_KINDS: Final = frozenset(
    {"pr.merged", "pr.closed", "issue.closed", "issue.reopened", "alert.resolved", "comment.deleted"}
)
"""What is worth a verdict, and told only where `follow` names it."""
FAILED: Final = frozenset({"failure", "error", "timed_out", "startup_failure", "action_required"})
"""Conclusions of a build that somebody must look at."""
MAX_BUILD_ROUNDS: Final = 5
"""Turns in a row that a failed build may start, before a person must say something: a session that cannot repair
what it broke would push and fail for ever."""


class Fate(StrEnum):
    """What becomes of the event in this conversation."""

    TOLD = "told"
    """The conversation's session is told."""
    ANOTHER = "another"
    """A session of its own begins."""
    NOTHING = "nothing"
    """It is recorded."""


@dataclass(frozen=True, slots=True)
class Standing:
    """What the database knows of a conversation and the event's subject."""

    how: str = "origin"
    """How the subject came to belong to the conversation."""
    visibility: str = "private"
    """Of the place where the conversation began."""
    is_origin: bool = False
    """The event is on the subject with which the conversation began."""
    told: Collection[str] = ()
    """Kinds of earlier events about the same comment or message that went into the conversation."""
    build_rounds: int = 0
    """Turns in a row, up to now, that a build started."""


@dataclass(frozen=True, slots=True)
class Decision:
    """The fate, and what the verdict says."""

    fate: Fate
    outcome: VerdictOutcome
    reason: str
    clause: str = "follow_up"
    expected: str | None = None
    seen: str | None = None


def may_follow(event: Event, rule: CompiledRule) -> bool:
    """Whether events of this kind are anything to a conversation of the rule, told or recorded."""
    kind = event.data.kind
    return kind in FOLLOW_UP_KINDS or kind in RECORDED_KINDS or kind in rule.follow


def decide(event: Event, rule: CompiledRule, standing: Standing) -> Decision:
    """What becomes of an event on a subject that a conversation of `rule` owns, and that `rule` did not match."""
    return _before(event, rule) or _admitted(event, rule, standing) or _wanted(rule)


def told_too_narrow(event: Event, rule: CompiledRule, standing: Standing) -> Decision | None:
    """The refusal of an event from a place that fewer people read than the one where the conversation began.

    A session may say anywhere it posts what it was told. Once it knows something private, everything it says where
    it began would have to be held back; so it is not told.
    """
    narrow = event.data.readers
    widest = standing.visibility if rule.rule.allow_publish_to is None else rule.rule.allow_publish_to
    allowed = _allows(rule.rule.allow_publish_to, standing.visibility)
    same_thread = standing.is_origin and event.data.kind.startswith("message.")
    if level_of(narrow) <= level_of(standing.visibility) or allowed or same_thread:
        return None
    return Decision(
        Fate.NOTHING,
        VerdictOutcome.NOT_MATCHED,
        f"the event is {narrow}, and the conversation began where it is {standing.visibility}: its session would "
        "carry the one to the other",
        clause="visibility",
        expected=widest,
        seen=narrow,
    )


def _allows(publish_to: PublishTo | None, place: str) -> bool:
    return publish_to is not None and level_of(publish_to) <= level_of(place)


def _before(event: Event, rule: CompiledRule) -> Decision | None:
    """What has nothing to do with who it was."""
    kind = event.data.kind
    if not rule.rule.enabled:
        return Decision(Fate.NOTHING, VerdictOutcome.SUPPRESSED, "the rule is switched off", clause="enabled")
    if event.data.actor.is_self:
        return Decision(
            Fate.NOTHING, VerdictOutcome.SUPPRESSED, "triggerhub itself caused this event", clause="loop"
        )
    if kind in rule.follow:
        return None
    if kind in RECORDED_KINDS:
        reason = f"recorded: the session is told of {kind} only where the rule's `follow` names it"
        return Decision(
            Fate.NOTHING, VerdictOutcome.NOT_MATCHED, reason, expected=", ".join(rule.rule.follow), seen=kind
        )
    if kind == BUILD:
        conclusion = _conclusion(event)
        if conclusion not in FAILED:
            reason = "a build is a follow-up only where it failed"
            return Decision(Fate.NOTHING, VerdictOutcome.NOT_MATCHED, reason, seen=conclusion)
    return None


def _admitted(event: Event, rule: CompiledRule, standing: Standing) -> Decision | None:
    kind, trust = event.data.kind, trust_of(event.data.actor)
    if trust not in rule.who and not (kind == BUILD and _build_of_ours(standing)):
        return Decision(
            Fate.NOTHING,
            VerdictOutcome.NOT_MATCHED,
            f"the session of this conversation takes no follow-up from trust {trust!r}",
            clause="who",
            expected=", ".join(rule.rule.who),
            seen=trust,
        )
    if kind == EDIT:
        if not set(standing.told) & WORDS:
            reason = "what was edited was never told to the session"
            return Decision(Fate.NOTHING, VerdictOutcome.NOT_MATCHED, reason)
        if EDIT in standing.told:
            reason = "the session was told once that this was edited, which is enough"
            return Decision(Fate.NOTHING, VerdictOutcome.NOT_MATCHED, reason)
    if kind == BUILD and standing.build_rounds >= MAX_BUILD_ROUNDS:
        reason = f"failed builds started the last {MAX_BUILD_ROUNDS} turns: a person must say something first"
        return Decision(Fate.NOTHING, VerdictOutcome.SUPPRESSED, reason, clause="rounds")
    return None if rule.rule.follow_up == "new" else told_too_narrow(event, rule, standing)


def _build_of_ours(standing: Standing) -> bool:
    """A build of what we made ourselves is reported by a program, as all builds are: it needs no other proof.

    The branch of our own pull request is in the repository, so that only people with write access change it; and
    only they, or programs they installed, report builds of its commits.
    """
    return standing.how in {"posted", "branch"}


def _wanted(rule: CompiledRule) -> Decision:
    mode = rule.rule.follow_up
    if mode == "ignore":
        return Decision(
            Fate.NOTHING,
            VerdictOutcome.NOT_MATCHED,
            "the rule ignores follow-ups (follow_up: ignore)",
            seen="ignore",
        )
    if mode == "new":
        reason = "a follow-up, and the rule wants another session for each (follow_up: new)"
        return Decision(Fate.ANOTHER, VerdictOutcome.MATCHED, reason)
    return Decision(
        Fate.TOLD, VerdictOutcome.MATCHED, "a follow-up in a conversation that this rule's session owns"
    )


def _conclusion(event: Event) -> str | None:
    changed = event.data.changed.get("conclusion")
    found = changed.get("to") if isinstance(changed, dict) else None
    return found if isinstance(found, str) else None
