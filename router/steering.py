"""Does what people command in a thread, in the transaction that routes the event; says so where they said it.

Whoever commands must be somebody the rule lets in (`who`), or whom its `approve` names; all others change nothing. A
command starts no agent, but for `retry`. Never calls anybody: what is to be said is a result like any other.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Final

import structlog
from sqlalchemy import Connection

from router.commands import CLAUSE, EDITED, HELP, STEERING, VOTES, Command
from router.confided import KEPT, may_go_on
from router.engine import RuleSet, trust_of
from router.notes import say
from router.prompts import dispatch_id
from router.recording import for_every_rule
from router.rules import CompiledRule
from router.verdicts import VerdictOutcome
from schemas.caps import held_words
from schemas.dispatch import Dispatch
from schemas.event import Event
from schemas.policy.approval import Person
from schemas.result import Result
from storage import approvals, runs, steering
from storage.approvals import Vote
from storage.conversations import run_id_of
from storage.deliveries import event_body
from storage.links import Ownership
from storage.routing import RecordedVerdict
from storage.states import RUN_TERMINAL
from storage.steering import RunFacts
from storage.tables import RunStatus

log = structlog.get_logger(__name__)

FOREIGN: Final = (
    "a command counts only where a connection's webhook brought it: another program proves nobody"
)
ONCE: Final = "a command is obeyed once; a replay does not repeat it"
IN_AN_EDIT: Final = "a command in an edited comment does not count"
WRITE_ANEW: Final = (
    "A command that somebody made of an older comment does not count. Write it as a comment of its own."
)
KNOWN: Final = (
    "I know `/triggerhub stop`, `status`, `retry` and `cost`, and `/triggerhub approve CODE` or `deny CODE`, with a "
    "reason behind it."
)
NAME_A_RUN: Final = "Nothing of mine is known here. Name a run: `/triggerhub status run_…`."
AGAIN: Final = frozenset({RunStatus.FAILED, RunStatus.TIMED_OUT, RunStatus.CANCELLED})
"""How a run must have ended for `retry`."""
SHOWN: Final = 5
"""Runs that `status` tells of."""

Compose = Callable[[CompiledRule, Event, str], Dispatch]
"""The dispatch of a rule for an event, in a conversation that exists."""


@dataclass(frozen=True, slots=True)
class Said:
    """What became of a command in one conversation."""

    rule: str
    reason: str
    """For the verdict."""
    answer: str | None = None
    """For the thread."""
    run_id: str | None = None
    """Under which the answer is posted."""
    conversation: str | None = None
    once: bool = False
    """The answer is given to this person once for each run: whoever is not let in makes us no mouthpiece."""
    dispatch: Dispatch | None = None


class Steering:
    """Obeys one command."""

    def __init__(
        self,
        connection: Connection,
        event: Event,
        command: Command,
        *,
        rules: RuleSet,
        owners: Mapping[str, Ownership],
        compose: Compose,
    ) -> None:
        self._connection = connection
        self._event = event
        self._command = command
        self._rules = rules
        self._owners = owners
        self._compose = compose
        self.posts: list[Result] = []
        """Answers that are to be posted."""
        actor = event.data.actor
        self._trust = trust_of(actor)
        self._person = Person(
            key=f"{event.connector}:{actor.id or '?'}",
            trust=self._trust,
            connection=event.connection,
            name=actor.login or "",
        )

    def obey(self) -> list[RecordedVerdict]:
        """Do it, have it answered, and return one verdict for each rule that it concerns."""
        command, actor = self._command, self._event.data.actor
        if actor.id is None or actor.is_self:
            return [self._verdict(Said("*", "nobody is known to have said it"))]
        if not steering.is_delivered(self._connection, self._event.id):
            return [self._verdict(Said("*", FOREIGN))]
        if command.word in VOTES:
            said = [self._vote()]
        elif command.word in STEERING and command.what is not None:
            said = [self._of_run(command.what)]
        else:
            said = [self._here(rule, owner) for rule, owner in self._owners.items()] or [self._nowhere()]
        self._answer(said)
        log.info("a command", event_id=self._event.id, word=command.word, rules=[one.rule for one in said])
        return [self._verdict(one) for one in said]

    # Votes ----------------------------------------------------------------------------------------------------------

    def _vote(self) -> Said:
        command = self._command
        if command.clicked:
            one = approvals.approval(self._connection, command.what or "")
            known = [] if one is None else [one]
        else:
            known = approvals.by_code(self._connection, command.what or "")
        if not known:
            return self._lost(f"there is no approval {command.what}")
        found = known[0]
        reason_given = command.reason
        compiled = self._rules.get(found.rule)
        publish_to = None if compiled is None else compiled.rule.allow_publish_to
        told = self._event.data.readers
        kept = bool(reason_given) and not may_go_on(self._connection, found, told=told, publish_to=publish_to)
        voted = approvals.vote(
            self._connection,
            found.id,
            self._person,
            approve=command.word == "approve",
            digest=command.digest,
            reason=None if kept else reason_given,
            evidence=self._event.id,
        )
        if voted is None:
            return self._lost(f"there is no approval {command.what}")
        reason = f"{self._person.shown}: {voted.text}"
        if voted.vote is Vote.REFUSED:
            text = f"That does not count for `{found.code}`: {voted.text}."
            once = not self._is_admitted(found.rule)
            return Said(found.rule, reason, text, found.run_id, found.conversation, once=once)
        # A clicked question says by itself how it stands.
        answer = None if command.clicked else f"`{found.code}`: {voted.text}.{f' {KEPT}' if kept else ''}"
        return Said(found.rule, reason, answer, found.run_id, found.conversation)

    def _lost(self, reason: str) -> Said:
        for rule, owner in self._owners.items():
            if self._is_admitted(rule):
                newest = self._newest(owner.conversation)
                text = f"{reason[:1].upper()}{reason[1:]}."
                return Said(rule, reason, text, newest.id if newest else None, owner.conversation)
        return Said("*", reason)

    # Steering -------------------------------------------------------------------------------------------------------

    def _of_run(self, run_id: str) -> Said:
        """A run that was named. Only of this thread, or where commands have no thread."""
        found = steering.run_of(self._connection, run_id)
        begun = None if found is None else steering.origin_of(self._connection, found.conversation)
        here = found is not None and any(
            owner.conversation == found.conversation for owner in self._owners.values()
        )
        if found is None or begun is None or not (here or self._has_no_thread()):
            return self._lost(f"there is no run {run_id} here")
        rule, _ = begun
        return self._admitted(rule, found.conversation, only=found)

    def _has_no_thread(self) -> bool:
        return self._event.data.kind == "command.invoked"

    def _here(self, rule: str, owner: Ownership) -> Said:
        return self._admitted(rule, owner.conversation)

    def _nowhere(self) -> Said:
        """Nothing of ours is here. Only who typed a slash command waits for an answer."""
        reason = "no session of this hub is known here"
        if not self._has_no_thread() or self._trust not in {"owner", "member", "collaborator"}:
            return Said("*", reason)
        text = KNOWN if self._command.word == HELP else NAME_A_RUN
        return Said("*", reason, text, f"run_{_short(self._event.id, 32)}")

    def _admitted(self, rule: str, conversation: str, *, only: RunFacts | None = None) -> Said:
        newest = only or self._newest(conversation)
        if newest is None:
            return Said(rule, "the conversation has no run yet")
        if not self._is_admitted(rule):
            reason = f"the rule takes no command from trust {self._trust!r}"
            return Said(rule, reason, f"That was not done: {reason}.", newest.id, conversation, once=True)
        return replace(self._done(rule, newest, only), conversation=conversation)

    def _done(self, rule: str, newest: RunFacts, only: RunFacts | None) -> Said:
        conversation = newest.conversation
        if self._command.word == EDITED:
            return Said(rule, IN_AN_EDIT, WRITE_ANEW, newest.id)
        found = [only] if only is not None else steering.runs_of(self._connection, conversation)
        match self._command.word:
            case "stop":
                return self._stop(rule, newest, found)
            case "status":
                return Said(rule, "told how it stands", self._status(conversation, found), newest.id)
            case "cost":
                return Said(rule, "told what it cost", self._cost(conversation, found), newest.id)
            case "retry":
                return self._retry(rule, newest, found)
            case _:
                return Said(rule, "told which commands there are", KNOWN, newest.id)

    def _stop(self, rule: str, newest: RunFacts, found: Sequence[RunFacts]) -> Said:
        """What waits goes first, so that nothing starts when what is at work ends."""
        alive = sorted(_alive(found), key=lambda one: one.status is not RunStatus.QUEUED)
        for one in alive:
            runs.ask_to_stop(self._connection, one.id, reason="cancelled")
        if not alive:
            return Said(rule, "nothing was at work", "Nothing is at work here.", newest.id)
        names = ", ".join(f"`{one.id}`" for one in alive)
        return Said(rule, f"stopped {len(alive)} by {self._person.shown}", f"Stopping {names}.", newest.id)

    def _status(self, conversation: str, found: Sequence[RunFacts]) -> str:
        alive = _alive(found)
        lines = [self._line(one) for one in alive[:SHOWN]]
        if len(alive) > SHOWN:
            lines.append(f"{len(alive) - SHOWN} more wait.")
        if not alive and found:
            lines.append(f"Nothing is at work. The last run, `{found[0].id}`, ended as {found[0].status}.")
        return "\n".join([*lines, self._spent(conversation)])

    def _line(self, one: RunFacts) -> str:
        since = datetime.fromtimestamp(one.started_at or one.created_at, tz=UTC)
        text = f"Run `{one.id}` is {one.status} since {since:%Y-%m-%d %H:%M} UTC."
        asked = approvals.of_runs(self._connection, [one.id]).get(one.id, [])
        codes = [f"`/triggerhub approve {wanted.code}`" for wanted in asked if wanted.is_open]
        if codes:
            text += f" It waits for approval: {', '.join(codes)}."
        elif one.status is RunStatus.QUEUED and one.held is not None:
            text += f" {held_words(one.held, steering.held_until(self._connection, one))}"
        elif one.status is RunStatus.WAITING:
            text += f" It waits for a larger budget: `triggerhub runs budget {one.id} --usd N`."
        return text

    def _cost(self, conversation: str, found: Sequence[RunFacts]) -> str:
        if self._command.what is not None and found:
            cents = found[0].cost_cents
            told = "is not known before its end" if cents is None else f"is {_dollars(cents)}"
            return f"The cost of `{found[0].id}` {told}. {self._spent(conversation)}"
        open_ = "" if not _alive(found) else " What is at work now is counted when it ends."
        return self._spent(conversation) + open_

    def _spent(self, conversation: str) -> str:
        cents, count = steering.cost_of(self._connection, conversation)
        return (
            f"This conversation has cost {_dollars(cents)} so far, in {count} run{'s' if count != 1 else ''}."
        )

    def _retry(self, rule: str, newest: RunFacts, found: Sequence[RunFacts]) -> Said:
        last = found[0]
        compiled = self._rules.get(rule)
        if compiled is None:
            return Said(rule, "the rule is gone", f"The rule `{rule}` does not exist any more.", newest.id)
        if _alive(steering.runs_of(self._connection, last.conversation)):
            return Said(
                rule, "something is at work", "Something is at work here still. Stop it first.", newest.id
            )
        if last.status not in AGAIN:
            text = f"There is nothing to try again: `{last.id}` ended as {last.status}."
            return Said(rule, "nothing to try again", text, newest.id)
        before = steering.dispatch_of(self._connection, last.id)
        if before is None:
            return Said(rule, "what it was to do is not known any more", None, newest.id)
        body = event_body(self._connection, before.event.id)
        event = before.event if body is None else Event.model_validate_json(body)
        again = self._compose(compiled, event, last.conversation)
        again = again.model_copy(update={"id": dispatch_id(self._event.id, rule)})
        run_id = run_id_of(again.id)
        reason = f"{self._person.shown} wants {last.id} tried again"
        return Said(rule, reason, f"Trying it again, as `{run_id}`.", newest.id, dispatch=again)

    # ----------------------------------------------------------------------------------------------------------------

    def _newest(self, conversation: str) -> RunFacts | None:
        found = steering.runs_of(self._connection, conversation, limit=1)
        return found[0] if found else None

    def _is_admitted(self, rule: str) -> bool:
        compiled = self._rules.get(rule)
        return compiled is not None and self._trust in compiled.who

    def _answer(self, said: Iterable[Said]) -> None:
        """One answer for each place in which something was to be said: they are all this one."""
        texts: dict[str, Said] = {}
        for one in said:
            if one.answer is not None and one.run_id is not None:
                texts.setdefault(one.answer, one)
        for number, (text, one) in enumerate(texts.items()):
            mark = _short(self._person.key, 16) if one.once else f"{_short(self._event.id, 16)}.{number}"
            slot = f"{CLAUSE}-{'no-' if one.once else ''}{mark}"
            self.posts += say(
                self._connection,
                self._event,
                text,
                run_id=str(one.run_id),
                slot=slot,
                conversation=one.conversation or self._event.subject,
            )

    def _verdict(self, said: Said) -> RecordedVerdict:
        outcome = VerdictOutcome.SUPPRESSED if said.dispatch is None else VerdictOutcome.MATCHED
        return RecordedVerdict(
            rule=said.rule,
            outcome=outcome.value,
            clause=CLAUSE,
            seen=" ".join(one for one in (self._command.word, self._command.what) if one),
            reason=said.reason,
            dispatch=said.dispatch,
        )


def replayed(command: Command) -> RecordedVerdict:
    """The verdict on a command that is routed once more."""
    return for_every_rule(CLAUSE, ONCE, seen=command.word)


def _alive(found: Iterable[RunFacts]) -> list[RunFacts]:
    return [one for one in found if one.status not in RUN_TERMINAL]


def _dollars(cents: int) -> str:
    return f"${cents // 100}.{cents % 100:02d}"


def _short(text: str, length: int) -> str:
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:length]
