"""What people are told who ask something of a rule that is paused: once for each pause and place, as whoever waits for an
answer cannot know. Programs are told nothing; a storm of alerts would become a storm of notes.
"""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Mapping
from typing import Final

from sqlalchemy import Connection

from router.engine import RuleSet, trust_of
from router.notes import say
from schemas.event import Event
from schemas.result import Result
from storage import pauses
from storage.routing import RecordedVerdict

CLAUSE: Final = "paused"
PEOPLE: Final = frozenset({"owner", "member", "collaborator", "outsider"})


def tell_of_pauses(
    connection: Connection,
    event: Event,
    recorded: Mapping[str, RecordedVerdict],
    *,
    rules: RuleSet,
    owned: Collection[str],
) -> list[Result]:
    """The note for the place of the event, where a paused rule would have acted on it; one at most.

    `owned`: rules that have a conversation there.
    """
    held = [name for name, verdict in recorded.items() if verdict.clause == CLAUSE]
    actor = event.data.actor
    if not held or actor.is_self or trust_of(actor) not in PEOPLE:
        return []
    wanted = {verdict.rule for verdict in rules.match(event) if verdict.matched}
    for name in held:
        rule = rules.get(name)
        if rule is None or rule.rule.report == "none" or rule.rule.staged:
            continue
        if name in wanted or (name in owned and trust_of(actor) in rule.who):
            return _note(connection, event, name)
    return []


def _note(connection: Connection, event: Event, rule: str) -> list[Result]:
    since = max((one.at for one in pauses.in_force(connection)), default=0.0)
    place = f"{event.connection}|{event.subject}|{rule}|{since!r}"
    run_id = f"run_{hashlib.sha256(place.encode('utf-8', 'surrogatepass')).hexdigest()[:32]}"
    text = (
        f"The rule `{rule}` that this is for is paused by a person, so the agent does nothing about it. When "
        f"the rule goes on: `triggerhub replay {event.id}`."
    )
    return say(connection, event, text, run_id=run_id, slot=CLAUSE, conversation=event.subject)
