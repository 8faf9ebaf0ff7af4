"""Whether the reason that somebody gave with a denial may go on: to the session, which may say it wherever it speaks, and
into the question, which others read. Reads only.
"""

from __future__ import annotations

from typing import Final

from sqlalchemy import Connection

from schemas.policy.readers import container_of, judge_readers
from schemas.result import Result
from storage import links, questions
from storage.approvals import Approval

KEPT: Final = "The reason was not passed on: more people read what comes of it than this place."


def may_go_on(connection: Connection, found: Approval, *, told: str, publish_to: str | None) -> bool:
    """False where fewer people read the place where it was said (`told`) than what the session says, or the question."""
    places = [links.taint_of(connection, found.conversation)]
    asked = questions.question_of(connection, found)
    if asked is not None:
        question = Result.model_validate_json(asked["body"])
        container = container_of(question.target, question.arguments)
        place: str | None = question.origin.readers
        if question.target.get("to") != "origin" and container is not None:
            place = links.readers_of(connection, connection_name=question.connection, container=container)
        places.append(place or "private")
    return all(judge_readers(told, place, publish_to) is None for place in places)
