"""A database as 0.1.0 leaves it when it is killed: rows in every table of schema 0001 and in every status.

Plain values for plain SQL: nothing of today's tables or models is used, because they will go on changing. Every run
has an issue of acme/checkout of its own. Asserts nothing.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

from sqlalchemy import Connection, text

from upgrades.messages_of_0_1_0 import decoded

Row = dict[str, Any]

RUN_STATUSES: Final = (
    "queued",
    "creating",
    "sending",
    "running",
    "stopping",
    "reporting",
    "succeeded",
    "failed",
    "timed_out",
    "cancelled",
)
SESSIONS: Final = ("sending", "running", "stopping", "reporting")
"""Runs that have a session at the service."""
RESULT_STATUSES: Final = ("pending", "ready", "posting", "posted", "refused")
LETTER_STATUSES: Final = ("dead", "retrying", "retried", "dropped")
OUTCOMES: Final = ("handled", "ignored", "unsupported", "unreadable")
UNTAKEN: Final = "untaken"
"""A dispatch that no runner took: only its message waits."""
UNROUTED: Final = "unrouted"
"""An event that no router took."""
REPLAYED: Final = "replayed"
"""An event whose replay waits for the router."""
OWNER: Final = "box-1-4711-abc123"
RECEIPT_URL: Final = "https://github.com/acme/checkout/issues/106#issuecomment-1"


@dataclass(frozen=True, slots=True)
class Session:
    """What the service has of a run: the session, and the event that carried the work."""

    id: str
    message: str | None = None


_NAMES: Final = (*RUN_STATUSES, UNTAKEN, UNROUTED, REPLAYED)


def number(name: str) -> int:
    """The issue that the run, event or dispatch of this name is about."""
    return 100 + _NAMES.index(name)


def letter_number(status: str) -> int:
    return 200 + LETTER_STATUSES.index(status)


def run_id(name: str) -> str:
    return f"run_{number(name):032d}"


def event(issue: int) -> dict[str, Any]:
    """A comment that the rule `github-mention-reply` of the demo's configuration wants answered."""
    found = decoded("event.github")
    subject = f"acme/checkout#{issue}"
    url = f"https://github.com/acme/checkout/issues/{issue}"
    found |= {"id": f"evt_{issue:032d}", "subject": subject}
    found["data"]["subject"] |= {"key": subject, "url": url}
    found["data"] |= {
        "address": {
            "repository": "acme/checkout",
            "number": str(issue),
            "comment_id": str(7_000_000 + issue),
        },
        "artefact": f"comment:{7_000_000 + issue}",
        "links": [f"{url}#issuecomment-{7_000_000 + issue}"],
    }
    return found


def conversation(issue: int) -> str:
    return f"github:acme-github:acme/checkout#{issue}:github-mention-reply"


def dispatch(issue: int) -> dict[str, Any]:
    """What 0.1.0's router made of the event."""
    return decoded("dispatch.github") | {
        "id": f"dsp_{issue:032d}",
        "conversation": conversation(issue),
        "event": event(issue),
    }


def result(issue: int, slot: str) -> dict[str, Any]:
    """A comment that the run on this issue wants posted."""
    about = event(issue)
    found = decoded("result.github") | {
        "id": f"run_{issue:032d}:{slot}",
        "run": f"run_{issue:032d}",
        "slot": slot,
        "conversation": conversation(issue),
        "arguments": {"text": f"Words of {slot}."},
    }
    found["origin"] |= {
        "event_id": about["id"],
        "subject": about["data"]["subject"],
        "address": about["data"]["address"],
    }
    return found


def insert(connection: Connection, rows: Iterator[tuple[str, Row]]) -> None:
    """Plain INSERTs that name every column of 0001, as 0.1.0 sends them."""
    for name, row in rows:
        columns = ", ".join(f'"{column}"' for column in row)
        values = ", ".join(f":{column}" for column in row)
        connection.execute(text(f'INSERT INTO "{name}" ({columns}) VALUES ({values})'), row)  # noqa: S608 - our own names


def rows(now: float, *, sessions: Mapping[str, Session] | None = None) -> Iterator[tuple[str, Row]]:
    """(table, row) of everything, at `now` seconds on the database's clock. `sessions`: of the runs in SESSIONS."""
    yield from _deliveries(now)
    for name in _NAMES:
        yield from _event(now, name)
    for name in (*RUN_STATUSES, UNTAKEN):
        yield from _verdicts(now, name)
        yield "dispatch", _dispatch(now, number(name))
    yield _outbox(now, "triggerhub.dispatches", f"dsp_{number(UNTAKEN):032d}", conversation(number(UNTAKEN)))
    for name in RUN_STATUSES:
        session = None
        if name not in {"queued", "creating"}:
            session = (sessions or {}).get(name, Session(f"sesn_{name}", f"sevt_{name}"))
        yield "run", _run(now, name, session)
        yield from _conversation(now, number(name), session.id if session is not None else None)
    yield from _results(now)
    yield from _replays(now)
    yield from _letters(now)
    yield from _odds(now)


def _deliveries(now: float) -> Iterator[tuple[str, Row]]:
    for outcome in OUTCOMES:
        yield (
            "delivery",
            {
                "id": f"acme-github:{outcome}-1",
                "connection": "acme-github",
                "outcome": outcome,
                "reason": None if outcome == "handled" else f"it was {outcome}",
                "received_at": now - 60,
                "body_hash": "0" * 64,
                "body_size": 3,
                "body": b"{{{" if outcome == "unreadable" else None,
            },
        )


def _event(now: float, name: str) -> Iterator[tuple[str, Row]]:
    one = event(number(name))
    routed = name != UNROUTED
    yield (
        "event",
        {
            "id": one["id"],
            "connection": "acme-github",
            "connector": "github",
            "kind": "comment.created",
            "subject": one["subject"],
            "delivery_id": "acme-github:handled-1",
            "time": now - 60,
            "received_at": now - 60,
            "body": json.dumps(one).encode(),
            "routed_at": now - 59 if routed else None,
            "matched": int(routed and name != REPLAYED),
        },
    )
    if not routed:
        yield _outbox(now, "triggerhub.events", one["id"], one["subject"])


def _verdicts(now: float, name: str) -> Iterator[tuple[str, Row]]:
    for rule, outcome in (
        ("github-mention-reply", "matched"),
        ("only-bugs", "not_matched"),
        ("old-rule", "suppressed"),
    ):
        yield (
            "verdict",
            {
                "event_id": f"evt_{number(name):032d}",
                "replay": 0,
                "rule": rule,
                "outcome": outcome,
                "clause": None if outcome == "matched" else "if",
                "expected": None if outcome == "matched" else "something",
                "seen": None if outcome == "matched" else "another",
                "reason": "as the rule says",
                "dispatch_id": f"dsp_{number(name):032d}" if outcome == "matched" else None,
                "at": now - 59,
            },
        )


def _outbox(now: float, topic: str, ref: str, key: str) -> tuple[str, Row]:
    times = {"created_at": now - 59, "due_at": now - 54, "attempts": 0}
    return "outbox", {"topic": topic, "ref": ref, "key": key, **times}


def _dispatch(now: float, issue: int) -> Row:
    one = dispatch(issue)
    return {
        "id": one["id"],
        "event_id": one["event"]["id"],
        "rule": one["rule"],
        "conversation": one["conversation"],
        "body": json.dumps(one).encode(),
        "created_at": now - 59,
    }


def _run(now: float, status: str, session: Session | None) -> Row:
    active = status in {"creating", "sending", "running", "stopping", "reporting"}
    ended = not active and status != "queued"
    sent = status in {"running", "stopping", "reporting"} or ended
    return {
        "id": run_id(status),
        "dispatch_id": f"dsp_{number(status):032d}",
        "event_id": f"evt_{number(status):032d}",
        "rule": "github-mention-reply",
        "team": None,
        "agent": "colleague",
        "conversation": conversation(number(status)),
        "status": status,
        "error": "it went wrong" if status in {"failed", "timed_out"} else None,
        "stop_reason": {"stopping": "cancelled", "cancelled": "cancelled", "timed_out": "timeout"}.get(
            status
        ),
        "outcome": "succeeded" if status in {"reporting", "succeeded"} else None,
        "session_id": session.id if session is not None else None,
        "agent_id": None,
        "agent_version": None,
        "environment_id": None,
        "message_id": session.message if session is not None else None,
        "final_text": "Rounded twice." if status in {"reporting", "succeeded"} else None,
        "usage": '{"input_tokens": 10}' if ended else None,
        "cost_cents": 4 if ended else None,
        "attempts": 1 if active else 0,
        "due_at": now - 58,
        "lease_owner": OWNER if active else None,
        "lease_until": now - 5 if active else None,
        "fence": 0 if status == "queued" else 1,
        "created_at": now - 58,
        "intent_at": None if status == "queued" else now - 57,
        "started_at": now - 50 if sent else None,
        "deadline_at": None,
        "ended_at": now - 20 if ended else None,
        "updated_at": now - 20,
    }


def _conversation(now: float, issue: int, session: str | None) -> Iterator[tuple[str, Row]]:
    key, subject = conversation(issue), f"acme/checkout#{issue}"
    yield (
        "conversation",
        {
            "key": key,
            "rule": "github-mention-reply",
            "connection": "acme-github",
            "subject": subject,
            "session_id": session,
            "session_cost_cents": 0,
            "created_at": now - 58,
            "updated_at": now - 58,
        },
    )
    yield (
        "conversation_subject",
        {
            "connection": "acme-github",
            "subject": subject,
            "conversation": key,
            "created_at": now - 58,
        },
    )


def _results(now: float) -> Iterator[tuple[str, Row]]:
    """Of the run that reports: all of them must be settled before it can end."""
    for status in RESULT_STATUSES:
        one = result(number("reporting"), f"comment:{status}")
        tried = status in {"posting", "posted", "refused"}
        yield (
            "result",
            {
                "id": one["id"],
                "run_id": one["run"],
                "slot": one["slot"],
                "conversation": one["conversation"],
                "output": "comment",
                "connection": "acme-github",
                "status": status,
                "body": json.dumps(one).encode(),
                "tool_use_id": f"sevt_{status}",
                "answered_at": now - 30 if status in {"posted", "refused"} else None,
                "receipt": json.dumps({"url": RECEIPT_URL, "artefact": "comment:1"})
                if status == "posted"
                else None,
                "artefact": "comment:1" if status == "posted" else None,
                "error": "the vendor refused" if status == "refused" else None,
                "attempts": int(tried),
                "excused": 0,
                "due_at": now - 40,
                "lease_owner": OWNER if status == "posting" else None,
                "lease_until": now - 5 if status == "posting" else None,
                "fence": int(tried),
                "created_at": now - 41,
                "updated_at": now - 40,
            },
        )
        if status == "pending":
            yield _outbox(now, "triggerhub.results", one["id"], one["conversation"])


def _replays(now: float) -> Iterator[tuple[str, Row]]:
    asked = {"asked_at": now - 30, "by": "api", "again": False, "reason": "the rule was repaired"}
    event_id = f"evt_{number(REPLAYED):032d}"
    yield "replay", {"event_id": event_id, "number": 1, **asked, "routed_at": now - 29}
    yield "replay", {"event_id": event_id, "number": 2, **asked, "routed_at": None}
    yield _outbox(now, "triggerhub.events", event_id, f"acme/checkout#{number(REPLAYED)}")


def _letters(now: float) -> Iterator[tuple[str, Row]]:
    """Events that 0.1.0 could not take, for a reason that is gone."""
    for status in LETTER_STATUSES:
        one = event(letter_number(status))
        letter = f"triggerhub.events/3/{letter_number(status)}/0a0b0c0d"
        yield (
            "dead_letter",
            {
                "id": letter,
                "topic": "triggerhub.events",
                "key": one["subject"].encode(),
                "value": json.dumps(one).encode(),
                "reason": "the handler failed: KeyError at subscriber.py:1",
                "ref": one["id"],
                "repeats": None,
                "status": status,
                "note": "not worth it" if status == "dropped" else None,
                "resolved_at": now - 10 if status in {"retried", "dropped"} else None,
                "at": now - 45,
            },
        )
        if status == "retrying":
            yield _outbox(now, "triggerhub.events.dlq", letter, "")


def _odds(now: float) -> Iterator[tuple[str, Row]]:
    yield (
        "remote_object",
        {
            "kind": "agent",
            "name": "of-an-older-configuration",
            "content_hash": "0" * 64,
            "remote_id": "agent_gone",
            "version": 3,
            "updated_at": now - 90,
        },
    )
    yield "rate_use", {"name": "creates", "second": int(now) - 1, "used": 1}
    yield (
        "worker",
        {
            "role": "runner",
            "instance": OWNER,
            "started_at": now - 90,
            "seen_at": now - 6,
            "progress_at": now - 6,
            "note": "",
        },
    )
