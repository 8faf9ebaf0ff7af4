"""Whether what a session was told in a narrow place may be posted to a wider one. Pure.

A session is one memory: whatever it was told may stand in whatever it says. So not the words are judged but the
narrowest place it was told anything of, against the readers of the place where the words are to stand.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from schemas.event import level_of
from schemas.policy.shapes import Refusal

READERS: Final = "readers"
_CONTAINERS: Final = ("repository", "channel", "project")


def container_of(target: Mapping[str, Any], arguments: Mapping[str, Any]) -> str | None:
    """The repository, channel or project that an output with a place of its own goes to; None where it names none."""
    for name in _CONTAINERS:
        found = target.get(name) or arguments.get(name)
        if isinstance(found, str) and found:
            return found
    issue = target.get("issue") or arguments.get("issue")
    key, dash, number = issue.rpartition("-") if isinstance(issue, str) else ("", "", "")
    return key if dash and number.isdigit() else None


def judge_readers(told: str, place: str | None, publish_to: str | None) -> Refusal | None:
    """The refusal of an output to a place that more people read than the narrowest one the session was told of.

    `place` None: nothing was ever heard of it; it counts as `private`. `publish_to`: what the rule allows.
    """
    shown = place or "private"
    if level_of(shown) >= level_of(told):
        return None
    if publish_to is not None and level_of(publish_to) <= level_of(shown):
        return None
    msg = (
        f"this conversation was told of something {told}, and the place is {shown}: it may not be published there. "
        "Say it where the conversation began, or ask the people there"
    )
    return Refusal(READERS, msg)
