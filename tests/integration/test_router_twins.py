"""One message that two events tell of: Slack sends a mention as `app_mention` and as `message`, in either order.

Where the connection cannot know who is mentioned (its token may not ask), the two have different kinds and are two facts.
"""

from __future__ import annotations

import pytest
from router_place import PERSON, Place
from router_samples import rule

from storage.database import Database

POSTED, MENTION = "message.posted", "message.mention"


def _answering(*kinds: str, **written: object) -> dict[str, object]:
    return rule(name="answer", match={"source": "github", "kind": list(kinds)}, **written)


async def test_the_message_after_its_mention_is_not_told_again(database: Database) -> None:
    place = Place(database, _answering(MENTION))
    mention = await place.hear(MENTION, PERSON, number=1, artefact="message:C1/1.1")
    assert len(place.dispatched(mention)) == 1
    twin = await place.hear(POSTED, PERSON, number=1, artefact="message:C1/1.1")
    assert await place.verdicts(twin) == {"answer": ("suppressed", "duplicate")}
    assert place.dispatched(twin) == []
    reply = await place.hear(POSTED, PERSON, number=1, artefact="message:C1/1.2")
    assert [one.follow_up for one in place.dispatched(reply)] == [True]


@pytest.mark.parametrize("first", [POSTED, MENTION])
async def test_either_order_within_a_thread_that_a_session_owns(database: Database, first: str) -> None:
    place = Place(database, _answering(MENTION, POSTED))
    await place.hear(MENTION, PERSON, number=1, artefact="message:C1/1.1")
    second = MENTION if first == POSTED else POSTED
    told = await place.hear(first, PERSON, number=1, artefact="message:C1/1.2")
    twin = await place.hear(second, PERSON, number=1, artefact="message:C1/1.2")
    assert [len(place.dispatched(one)) for one in (told, twin)] == [1, 0]
    assert await place.verdicts(twin) == {"answer": ("suppressed", "duplicate")}


async def test_another_rules_session_is_told_what_its_own_was_not(database: Database) -> None:
    watching = rule(name="watch", match={"source": "github", "kind": POSTED})
    place = Place(database, _answering(MENTION), watching)
    await place.hear(MENTION, PERSON, number=1, artefact="message:C1/1.1")
    twin = await place.hear(POSTED, PERSON, number=1, artefact="message:C1/1.1")
    assert await place.verdicts(twin) == {"answer": ("suppressed", "duplicate"), "watch": ("matched", None)}
