"""Whether an output goes to a place that the rule allows: repository, branch, channel. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from schemas.policy.globs import first_fit
from schemas.policy.shapes import Refusal

CHOICES: Final[Mapping[str, str]] = {
    "repositories": "repository",
    "branches": "head",
    "bases": "base",
    "channels": "channel",
}
"""Field of a rule's target that lists what may be chosen, and the argument that chooses."""


def judge_places(target: Mapping[str, Any], arguments: Mapping[str, Any]) -> Refusal | None:
    """Compare every choice of the agent's with the rule's list. What the agent left out is not judged here."""
    for several, one in CHOICES.items():
        allowed = target.get(several) or ()
        chosen = arguments.get(one)
        if not allowed or chosen is None:
            continue
        patterns = tuple(str(pattern) for pattern in allowed)
        if not isinstance(chosen, str) or first_fit(chosen, patterns, any_case=one == "repository") is None:
            seen = str(chosen)[:100]
            msg = f"{one} {seen!r} is not allowed; choose one that fits {', '.join(patterns[:20])}"
            return Refusal(several, msg)
    return None
