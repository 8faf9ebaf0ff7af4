"""Composing the dispatch that a matched rule sends to the runner.

The prompt is the rule's own text, whole and unchanged. Nothing of an event is ever spliced into it: the event
travels beside it, as data, and so does what the agent may post.
"""

from __future__ import annotations

import hashlib
from typing import Literal

from router.rules import CompiledRule
from schemas.config import FollowUp, RuleRepository
from schemas.config import Outcome as RuleOutcome
from schemas.dispatch import Dispatch, Limits, MemoryMount, Outcome, Repository
from schemas.event import Event


def conversation_key(rule: CompiledRule, event: Event) -> str:
    """`<connector>:<connection>:<subject key>`, with the event's id behind it where each event stands alone.

    Changing this cuts running conversations off from their sessions.
    """
    key = f"{event.connector}:{event.connection}:{event.data.subject.key}"
    return f"{key}:{event.id}" if rule.rule.conversation == "event" else key


def dispatch_id(event_id: str, rule: str, *, replay: int = 0) -> str:
    """The same for the same event and rule, so that routing twice makes one dispatch.

    `replay` is the number of the replay that asked for a second one, else 0. Changing this breaks deduplication.
    """
    named = f"{event_id}\n{rule}\n{replay}" if replay else f"{event_id}\n{rule}"
    digest = hashlib.sha256(named.encode("utf-8", "surrogatepass")).hexdigest()
    return f"dsp_{digest[:32]}"


def new_conversation_key(rule: CompiledRule, event: Event) -> str:
    """The key of a conversation that begins although another one owns the subject (`follow_up: new`)."""
    return f"{event.connector}:{event.connection}:{event.data.subject.key}:{event.id}:{rule.name}"


def manner_of(follow_up: FollowUp) -> Literal["steer", "queue", "interrupt"]:
    """What a follow-up that is told does to a session at work. One that only a rule's match lets in waits its turn."""
    return follow_up if follow_up == "steer" or follow_up == "interrupt" else "queue"  # noqa: PLR1714 - narrows the type


def make_dispatch(rule: CompiledRule, event: Event, *, follow_up: bool, conversation: str) -> Dispatch:
    """The dispatch of one matched rule. `conversation` is `conversation_key`, or the one a session owns.

    An event that another program published has no connection of ours: what would answer it is left out, and
    the report is only recorded.
    """
    written = rule.rule
    ours = event.connection in rule.connections
    return Dispatch(
        id=dispatch_id(event.id, rule.name),
        rule=rule.name,
        team=written.team,
        agent=written.agent,
        agent_overrides=written.agent_overrides,
        environment=rule.environment,
        conversation=conversation,
        follow_up=follow_up,
        manner=manner_of(written.follow_up),
        gather_seconds=written.gather.total_seconds(),
        publish_to=written.allow_publish_to,
        prompt=written.prompt,
        vaults=rule.vaults,
        memory_stores=tuple(
            MemoryMount(name=one.store, access=one.access, instructions=one.instructions)
            for one in written.memory_stores
        ),
        files=rule.files,
        initial_messages=written.initial_messages,
        system_message=written.system_message,
        outcome=None if written.outcome is None else _outcome(written.outcome),
        report=written.report if ours else "none",
        presence=written.presence.show if ours else "none",
        check=written.presence.check if ours else None,
        grants=rule.grants.get(event.connector if ours else "", rule.grants[""]),
        repository=None if written.repository is None else _repository(written.repository),
        repositories=tuple(_repository(one) for one in written.repositories),
        approve=written.approve,
        staged=written.staged,
        limits=Limits(
            budget_cents=written.limits.budget_cents,
            on_budget=written.limits.on_budget,
            budget_wait_seconds=written.limits.budget_wait.total_seconds(),
            timeout_seconds=written.limits.timeout.total_seconds(),
        ),
        event=event,
        traceparent=event.traceparent,
    )


def _repository(written: RuleRepository) -> Repository:
    return Repository(
        connection=written.connection,
        name=written.name,
        branch=written.branch,
        commit=written.commit,
        mount_path=written.mount_path,
        access=written.access,
    )


def _outcome(written: RuleOutcome) -> Outcome:
    rubric = written.rubric
    return Outcome(
        description=written.description,
        rubric=rubric if isinstance(rubric, str) else "",
        rubric_file=None if isinstance(rubric, str) else rubric.file,
        max_iterations=written.max_iterations,
    )
