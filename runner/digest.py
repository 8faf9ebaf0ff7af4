"""What a session that takes over is told of its predecessors: a bounded digest of our own records. Pure.

It quotes people and agents, so it is data like any event, never instructions.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

import orjson

from storage.history import Chapter

MAX_DIGEST: Final = 40_000
"""Characters of the whole digest."""
MAX_WORDS: Final = 2_000
"""Characters of one event's text, and of one answer."""


def digest(chapters: Sequence[Chapter]) -> str | None:
    """The chapters as JSON, oldest first; where they are too many, the first and the latest. None: there are none."""
    told = [_told(chapter) for chapter in chapters]
    if not told:
        return None
    first, later = told[0], told[1:]
    kept: list[dict[str, Any]] = []
    size = len(_json(first))
    for one in reversed(later):
        size += len(_json(one))
        if size > MAX_DIGEST:
            break
        kept.append(one)
    left_out = len(later) - len(kept)
    document: dict[str, Any] = {"happened": [first, *reversed(kept)]}
    if left_out:
        document["left_out"] = f"{left_out} after the first, because there is no room for them"
    return _json(document)


def _told(chapter: Chapter) -> dict[str, Any]:
    event = chapter.event
    found: dict[str, Any] = {}
    if event is not None:
        found["event"] = {
            "kind": event.data.kind,
            "time": event.time.isoformat(),
            "subject": event.data.subject.key[:MAX_WORDS],
            "url": event.data.subject.url,
            "title": (event.data.subject.title or "")[:MAX_WORDS],
            "by": event.data.actor.login or event.data.actor.name,
            "text": event.data.text[:MAX_WORDS],
        }
    found["outcome"] = chapter.status
    if chapter.joined_to:
        found["told_with"] = chapter.joined_to
    if chapter.error:
        found["error"] = chapter.error[:MAX_WORDS]
    if chapter.final_text:
        found["answer"] = chapter.final_text[:MAX_WORDS]
    if chapter.posted:
        found["posted"] = [{"output": one.output, "url": one.url} for one in chapter.posted]
    return found


def _json(value: Any) -> str:
    return orjson.dumps(value, option=orjson.OPT_INDENT_2).decode()
