"""Finding the rules that could match an event without looking at the others.

A rule stands under (source, connection, kind), with None for a part that it leaves open; an event looks in
four places. So the cost of an event does not depend on how many rules cannot match it.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from operator import attrgetter
from typing import Final

from router.rules import CompiledRule
from schemas.event import Event

Key = tuple[str | None, str | None, str]
_POSITION: Final = attrgetter("position")


class RuleIndex:
    """Rules by what they ask of source, connection and kind. Built once per configuration."""

    def __init__(self, rules: Iterable[CompiledRule]) -> None:
        places: dict[Key, list[CompiledRule]] = {}
        for rule in rules:
            match = rule.rule.match
            if match is None:
                continue
            for kind in rule.kinds:
                places.setdefault((match.source, match.connection, kind), []).append(rule)
        self._places = {key: tuple(found) for key, found in places.items()}

    def candidates(self, event: Event) -> Sequence[CompiledRule]:
        """Rules whose source, connection and kind fit the event, in the order of the configuration."""
        source, connection, kind = event.connector, event.connection, event.data.kind
        keys: tuple[Key, ...] = (
            (source, connection, kind),
            (source, None, kind),
            (None, connection, kind),
            (None, None, kind),
        )
        found = [rules for key in keys if (rules := self._places.get(key))]
        if not found:
            return ()
        if len(found) == 1:
            return found[0]
        return sorted((rule for rules in found for rule in rules), key=_POSITION)
