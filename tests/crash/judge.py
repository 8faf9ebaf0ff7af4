"""Judges a run of the harness: by the outside world's record first, then by whether the hub left anything unfinished.

Every violation is one line of words; none means that nothing was lost and nothing done twice.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from sqlalchemy import Connection, Table, func, select

from crash.outside import artefacts, twice, work_by_run
from crash.webhooks import Webhook
from hub.demo.scenarios import SCENARIOS
from storage.clock import read_clock
from storage.presence_tables import PresenceRow, PresenceStatus
from storage.rows import table
from storage.spend_tables import SpendRow, UnsettledRow
from storage.states import RESULT_TERMINAL, RUN_TERMINAL
from storage.tables import (
    DeadLetterRow,
    Delivery,
    DispatchRow,
    EventRow,
    OutboxRow,
    ResultRow,
    ResultStatus,
    RunRow,
    RunStatus,
    VerdictRow,
)

SHOWN: Final = 8
"""Violations of one kind that are told in full."""
MARKED: Final = frozenset({"open_pull_request", "comment", "post_message"})
"""Outputs whose artefact carries our marker; the others are the same however often they are made."""
STATUS_SLOT: Final = "status"
"""Of the message that tells how a run stands."""
ENDED_WELL: Final = "Done."
EXPECTED: Final[Mapping[str, Mapping[str, int]]] = {one.rule: one.outputs for one in SCENARIOS}


@dataclass(slots=True)
class Books:
    """What the hub's database says."""

    events: int = 0
    deliveries: int = 0
    unrouted: list[str] = field(default_factory=list)
    unfinished_runs: list[str] = field(default_factory=list)
    unfinished_results: list[str] = field(default_factory=list)
    unfinished_signs: list[str] = field(default_factory=list)
    told: set[str] = field(default_factory=set)
    """Runs whose status message tells their end, as the hub believes."""
    dropped: list[str] = field(default_factory=list)
    messages: list[str] = field(default_factory=list)
    dead: list[str] = field(default_factory=list)
    failed_runs: list[str] = field(default_factory=list)
    refused_results: list[str] = field(default_factory=list)
    ambiguous: list[str] = field(default_factory=list)
    """Events that are not in exactly one terminal state."""
    runs: dict[str, tuple[str, str]] = field(default_factory=dict)
    """Run id to (rule, conversation)."""
    dispatches: int = 0
    event_ids: set[str] = field(default_factory=set)
    over: int = 0
    """Events, runs and results that are through: this only grows."""
    spent: dict[str, int] = field(default_factory=dict)
    """Cents in the ledger, by session."""
    unsettled: list[str] = field(default_factory=list)
    """Sessions that may cost more than the ledger says, as the hub knows."""
    pause: float = 0.0
    """Seconds until the last of what waits for a time of its own is due."""

    @property
    def unfinished(self) -> int:
        """How much is still under way."""
        parts = (
            self.unrouted,
            self.unfinished_runs,
            self.unfinished_results,
            self.unfinished_signs,
            self.messages,
            self.unsettled,
        )
        return sum(len(part) for part in parts)


def read_books(connection: Connection) -> Books:
    """Read the whole database."""
    events, runs, results, outbox = table(EventRow), table(RunRow), table(ResultRow), table(OutboxRow)
    verdicts, dispatches, letters = table(VerdictRow), table(DispatchRow), table(DeadLetterRow)
    ended = [status.value for status in RUN_TERMINAL]
    settled = [status.value for status in RESULT_TERMINAL]
    books = Books()
    now = read_clock(connection)

    def count(of: Table) -> int:
        return int(connection.execute(select(func.count()).select_from(of)).scalar_one())

    books.events, books.deliveries, books.dispatches = (
        count(events),
        count(table(Delivery)),
        count(dispatches),
    )
    books.unrouted = list(
        connection.execute(select(events.c.id).where(events.c.routed_at.is_(None))).scalars()
    )
    books.event_ids = set(connection.execute(select(events.c.id)).scalars())
    books.over = books.events - len(books.unrouted)
    for row in connection.execute(select(runs)).mappings():
        books.over += row["status"] in ended
        books.runs[row["id"]] = (row["rule"], row["conversation"])
        if row["status"] not in ended:
            books.pause = max(books.pause, row["due_at"] - now)
            books.unfinished_runs.append(f"{row['id']} is {row['status']} after {row['attempts']} attempts")
        elif row["status"] != RunStatus.SUCCEEDED:
            books.failed_runs.append(f"{row['id']} {row['status']}: {row['error']}")
    for row in connection.execute(select(results)).mappings():
        books.over += row["status"] in settled
        if row["status"] not in settled:
            books.pause = max(books.pause, row["due_at"] - now)
            books.unfinished_results.append(f"{row['id']} is {row['status']}: {row['error']}")
        elif row["status"] == ResultStatus.REFUSED:
            books.refused_results.append(f"{row['id']}: {row['error']}")
    _read_signs(connection, books, now=now)
    marks = table(UnsettledRow)
    books.unsettled = list(connection.execute(select(marks.c.session_id)).scalars())
    spent = table(SpendRow)
    sums = select(spent.c.session_id, func.sum(spent.c.cents)).group_by(spent.c.session_id)
    books.spent = {session: int(cents) for session, cents in connection.execute(sums)}
    for row in connection.execute(select(outbox)).mappings():
        books.pause = max(books.pause, row["due_at"] - now)
        books.messages.append(f"{row['topic']} {row['ref']} after {row['attempts']} sweeps")
    books.dead = [f"{row['id']}: {row['reason']}" for row in connection.execute(select(letters)).mappings()]
    outcomes: dict[str, list[str]] = {}
    for event_id, dispatch_id, outcome in connection.execute(
        select(verdicts.c.event_id, verdicts.c.dispatch_id, verdicts.c.outcome)
    ):
        outcomes.setdefault(event_id, []).append("dispatched" if dispatch_id else outcome)
    made = Counter(connection.execute(select(dispatches.c.event_id)).scalars())
    for event_id, found in outcomes.items():
        if found.count("dispatched") != made[event_id]:
            books.ambiguous.append(f"{event_id}: {found} with {made[event_id]} dispatches")
    return books


def _read_signs(connection: Connection, books: Books, *, now: float) -> None:
    for row in connection.execute(select(table(PresenceRow))).mappings():
        books.over += row["status"] != PresenceStatus.OPEN
        if row["status"] == PresenceStatus.OPEN:
            books.pause = max(books.pause, row["due_at"] - now)
            books.unfinished_signs.append(f"{row['kind']} of {row['run_id']}: {row['error']}")
        elif row["status"] == PresenceStatus.DROPPED and row["error"]:
            books.dropped.append(f"{row['kind']} of {row['run_id']}: {row['error']}")
        elif row["status"] == PresenceStatus.SHOWN and row["kind"] == STATUS_SLOT:
            books.told.add(row["run_id"])


@dataclass(frozen=True, slots=True)
class World:
    """What the sandbox says."""

    state: Mapping[str, Any]
    work: Sequence[Mapping[str, Any]]


def judge(books: Books, world: World, facts: Sequence[Webhook]) -> list[str]:
    """Every violation, in words."""
    found: list[str] = []

    def complain(what: str, items: Sequence[str]) -> None:
        if items:
            more = f" and {len(items) - SHOWN} more" if len(items) > SHOWN else ""
            found.append(f"{what} ({len(items)}): {'; '.join(items[:SHOWN])}{more}")

    complain("events never routed", books.unrouted)
    complain("messages never consumed", books.messages)
    complain("runs never ended", books.unfinished_runs)
    complain("results never settled", books.unfinished_results)
    complain("signs that never showed the end", books.unfinished_signs)
    complain("signs that were given up", books.dropped)
    complain("dead letters", books.dead)
    complain("runs that failed", books.failed_runs)
    complain("results that were refused", books.refused_results)
    complain("events without exactly one end", books.ambiguous)
    if books.events != len(facts):
        found.append(f"{len(facts)} different facts were acknowledged, and {books.events} events exist")
    complain("facts without their event", sorted({one.event_id for one in facts} - books.event_ids))
    complain("conversations", _conversations(world, facts))
    complain("runs", _work(books, world))
    complain("artefacts made twice", twice(artefacts(world.state)))
    complain("outputs", _outputs(books, world))
    complain("status messages", _statuses(books, world))
    complain("sessions left alone", left_alone(world.state["anthropic"]))
    complain("sessions whose cost is not what the ledger says", unequal(books, world.state["anthropic"]))
    return found


def unequal(books: Books, agents: Mapping[str, Any]) -> list[str]:
    """Sessions that cost another amount than the ledger says, to the cent."""
    charged = {one["id"]: one["cost_cents"] for one in agents["sessions"] if one["cost_cents"]}
    return [
        f"{name} cost {charged.get(name, 0)} cents, the ledger says {books.spent.get(name, 0)}"
        for name in sorted(charged.keys() | books.spent.keys())
        if charged.get(name, 0) != books.spent.get(name, 0)
    ]


def _conversations(world: World, facts: Sequence[Webhook]) -> list[str]:
    """Each conversation that was wanted got one session, and a piece of work for each of its facts."""
    wanted = Counter(one.conversation for one in facts if one.rule is not None)
    sessions: dict[str, list[str]] = {}
    for item in world.work:
        sessions.setdefault(str(item["metadata"].get("triggerhub_conversation")), []).append(
            str(item["session_id"])
        )
    wrong = [f"{name} was worked on, which nobody asked for" for name in sessions.keys() - wanted.keys()]
    for name, pieces in wanted.items():
        got = sessions.get(name, [])
        if len(got) != pieces or len(set(got)) != 1:
            wrong.append(
                f"{name}: {pieces} pieces of work wanted, {len(got)} sent to {len(set(got))} sessions"
            )
    return wrong


def _work(books: Books, world: World) -> list[str]:
    """Each run's work was sent once, and there is a run for each dispatch."""
    sent = work_by_run(world.work)
    wrong = [f"{run}: work sent {len(to)} times" for run, to in sent.items() if len(to) != 1]
    wrong += [f"{run}: no work was sent" for run in books.runs.keys() - sent.keys()]
    wrong += [f"{run} is known to no database" for run in sent.keys() - books.runs.keys()]
    if books.dispatches != len(books.runs):
        wrong.append(f"{books.dispatches} dispatches, {len(books.runs)} runs")
    return wrong


def _outputs(books: Books, world: World) -> list[str]:
    """The first run of each conversation left everything that its rule's scenario shows; later ones spoke."""
    made: dict[str, list[str]] = {}
    for one in artefacts(world.state):
        if one.slot != STATUS_SLOT:
            made.setdefault(one.run, []).append(f"{one.source} {one.slot}")
    wrong = [f"{run}: nothing was posted" for run in books.runs.keys() - made.keys()]
    for run, (rule, conversation) in books.runs.items():
        wanted = sum(count for output, count in EXPECTED[rule].items() if output in MARKED)
        alone = sum(other == conversation for _, other in books.runs.values()) == 1
        if alone and run in made and len(made[run]) != wanted:
            wrong.append(f"{run} of {rule}: {wanted} marked artefacts wanted, made were {made[run]}")
    return wrong


def _statuses(books: Books, world: World) -> list[str]:
    """A status message for each run that has one, which tells the end; and none that the hub does not know."""
    texts: dict[str, list[str]] = {}
    for one in artefacts(world.state):
        if one.slot == STATUS_SLOT:
            texts.setdefault(one.run, []).append(one.text)
    wrong = [f"{run}: the hub does not know of its status message" for run in texts.keys() - books.told]
    for run in books.told:
        found = texts.get(run, [])
        if len(found) != 1 or ENDED_WELL not in found[0]:
            wrong.append(f"{run}: {len(found)} status messages, the last says {found[-1:]}")
    return wrong


def left_alone(agents: Mapping[str, Any]) -> list[str]:
    """Sessions that nobody looks after: still at work, waiting for an answer, or made and never used."""
    wrong: list[str] = []
    for session in agents["sessions"]:
        if session["archived"]:
            continue
        if session["status"] not in {"idle", "terminated"}:
            wrong.append(f"{session['id']} is still {session['status']}")
        if session["pending"]:
            wrong.append(f"{session['id']} still waits for {len(session['pending'])} answers")
        if not session["work"] and session["status"] != "terminated":
            wrong.append(f"{session['id']} was made and never used nor archived")
    return wrong
