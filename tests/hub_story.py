"""A database with something of everything in it, made by the functions that the roles use. Asserts nothing."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any, Final

from sqlalchemy import Connection

from schemas.dispatch import Dispatch
from schemas.event import Actor, Event, EventData, Kind, Subject
from schemas.result import Origin, Receipt, Result
from storage import claims, dead_letters, deliveries, results, routing, runs, workers
from storage.dead_letters import DeadLetter
from storage.deliveries import Incoming, IncomingEvent
from storage.routing import RecordedVerdict
from storage.tables import RunStatus

ANSWERED: Final = "evt_aa11aa11aa11aa11"
"""A comment that a rule answered: one post made, one refused; other rules said no."""
UNASKED: Final = "evt_bb22bb22bb22bb22"
"""Routed; no rule was a candidate."""
WAITING: Final = "evt_bb22cc33cc33cc33"
"""Not routed yet. Shares its beginning with UNASKED."""
UNTAKEN: Final = "evt_dd44dd44dd44dd44"
"""Matched as a follow-up; no runner has taken it."""
OWN: Final = "evt_ee55ee55ee55ee55"
"""Our own post come back."""
QUEUED: Final = "evt_ff66ff66ff66ff66"
"""Its run waits for a runner."""
RUN: Final = "run_aa11"
QUEUED_RUN: Final = "run_ff66"
POSTED_URL: Final = "https://github.com/acme/checkout/issues/7#issuecomment-1"
LETTER: Final = "triggerhub.events/3/17/0a0b0c0d"
"""A record that was no event."""
ESCAPE: Final = "\x1b[31m"
"""What a stranger may write into a title to colour, or rewrite, somebody's terminal."""


def event(event_id: str, kind: Kind = "comment.created", *, title: str = "Wrong total", **data: Any) -> Event:
    return Event(
        id=event_id,
        source="github/acme",
        type=f"github.{kind}",
        subject="acme/checkout#7",
        time=datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC),
        connection="acme-github",
        data=EventData(
            kind=kind,
            actor=Actor(id="5", login="ada", trust="member"),
            subject=Subject(kind="issue", key="acme/checkout#7", title=title, container="acme/checkout"),
            text="Why is the total wrong?",
            **data,
        ),
    )


def store(connection: Connection, one: Event, *, outcome: str = "handled", reason: str | None = None) -> None:
    incoming = IncomingEvent.of(one, one.model_dump_json().encode())
    delivery = Incoming(
        id=f"{one.connection}:delivery-of-{one.id}",
        connection=one.connection,
        outcome=outcome,
        reason=reason,
        body_hash="0" * 64,
        body_size=512,
        events=(incoming,),
    )
    deliveries.store_deliveries(connection, [delivery])


def dispatch(one: Event, suffix: str, rule: str = "answer") -> Dispatch:
    return Dispatch(
        id=f"dsp_{suffix}",
        rule=rule,
        team="checkout",
        agent="colleague",
        environment="reading",
        conversation=f"github:acme-github:{one.subject}:{suffix}",
        prompt="Answer.",
        event=one,
    )


def matched(one: Event, suffix: str, *, clause: str | None = None) -> RecordedVerdict:
    reason = "every clause holds" if clause is None else "a follow-up in a conversation"
    return RecordedVerdict(
        rule="answer", outcome="matched", clause=clause, reason=reason, dispatch=dispatch(one, suffix)
    )


def tell(connection: Connection) -> None:
    """Write the whole story."""
    answered = event(ANSWERED, title=f"{ESCAPE}Wrong total")
    store(connection, answered)
    refusals = (
        RecordedVerdict(
            rule="only-bugs",
            outcome="not_matched",
            clause="match.if",
            expected='"bug" in event.labels',
            seen="[]",
            reason="the condition is false",
        ),
        RecordedVerdict(
            rule="old-rule", outcome="suppressed", clause="enabled", reason="the rule is switched off"
        ),
    )
    routing.record_routing(connection, answered.id, [matched(answered, "aa11"), *refusals])
    _answer(connection, dispatch(answered, "aa11"))

    store(connection, event(UNASKED, "issue.labeled", labels=("bug",)), outcome="handled")
    routing.record_routing(connection, UNASKED, [])
    store(connection, event(WAITING, "issue.opened"))
    untaken = event(UNTAKEN)
    store(connection, untaken)
    routing.record_routing(connection, UNTAKEN, [matched(untaken, "dd44", clause="follow_up")])
    store(connection, event(OWN))
    own = RecordedVerdict(
        rule="*", outcome="suppressed", clause="loop", seen=f"{RUN}:reply", reason="our own post"
    )
    routing.record_routing(connection, OWN, [own])
    queued = event(QUEUED)
    store(connection, queued)
    routing.record_routing(connection, QUEUED, [matched(queued, "ff66")])
    _take(connection, dispatch(queued, "ff66"))

    unreadable = Incoming(
        id="acme-slack:unreadable:1",
        connection="acme-slack",
        outcome="unreadable",
        reason="the body is not acceptable JSON",
        body_hash="1" * 64,
        body_size=3,
        body=b"{{{",
    )
    deliveries.store_deliveries(connection, [unreadable])
    dead_letters.bury(
        connection,
        DeadLetter(
            id=LETTER,
            topic="triggerhub.events",
            key=b"acme/checkout#7",
            value=b'{"specversion": "1.0", "note": "\xc3\xa9"}',
            reason="id: Field required",
        ),
    )
    workers.report(connection, role="router", instance="box-1", progressed=True, note="at work")


def _take(connection: Connection, one: Dispatch) -> None:
    runs.take_dispatch(connection, one, one.model_dump_json().encode())


def _answer(connection: Connection, one: Dispatch) -> None:
    """A run from its claim to its end, with one post made and one refused."""
    _take(connection, one)
    [claim] = claims.claim_runs(connection, owner="box-1", limit=1, lease=60)
    runs.adopt_session(connection, claim, "sesn_1", agent_id="agent_1", agent_version=3)
    runs.move_run(connection, claim, RunStatus.SENDING, RunStatus.RUNNING, started_at=1_767_323_050.0)
    for slot, output, where in (("reply", "comment", "acme-github"), ("tell", "post_message", "acme-slack")):
        origin = Origin(
            connection=one.event.connection,
            event_id=one.event.id,
            kind=one.event.data.kind,
            subject=one.event.data.subject,
        )
        result = Result(
            id=f"{claim.run_id}:{slot}",
            run=claim.run_id,
            slot=slot,
            conversation=one.conversation,
            output=output,
            connection=where,
            origin=origin,
        )
        results.want_result(connection, result, tool_use_id=None)
        results.take_result(connection, result, result.model_dump_json().encode())
    for posted in results.claim_results(connection, owner="box-1", limit=2, lease=60):
        if posted.result.slot == "reply":
            receipt = Receipt(url=POSTED_URL, artefact="issue_comment:1", note="as asked")
            results.keep_receipt(connection, posted, receipt)
        else:
            results.refuse_result(connection, posted, "channel_not_found: no such channel")
    runs.move_run(
        connection,
        claim,
        RunStatus.RUNNING,
        RunStatus.REPORTING,
        final_text="Discounts are subtracted twice.",
        cost_cents=42,
        usage=runs.usage_json({"input_tokens": 10}),
    )
    runs.move_run(connection, claim, RunStatus.REPORTING, RunStatus.SUCCEEDED)
