"""What an agent did last is told in our words: nothing that it wrote gets out that way."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from runner.activity import activity_of

OUTPUTS = {"open_fix": "open_pull_request", "odd": "something_new"}


@pytest.mark.parametrize(
    ("event", "words"),
    [
        ({"type": "agent.tool_use", "name": "bash"}, "ran a command"),
        ({"type": "agent.tool_use", "name": "rm -rf @everyone"}, "used a tool"),
        ({"type": "agent.mcp_tool_use", "name": "secret"}, "used a tool of another service"),
        ({"type": "agent.custom_tool_use", "name": "open_fix"}, "asked for a pull request"),
        ({"type": "agent.custom_tool_use", "name": "odd"}, "asked for something to be posted"),
        ({"type": "agent.message", "content": "the password is 1234"}, "wrote a message"),
        ({"type": "agent.thinking"}, "thought about it"),
        ({"type": "session.status_running"}, None),
        ({}, None),
    ],
)
def test_words_of_ours(event: dict[str, Any], words: str | None) -> None:
    assert activity_of(SimpleNamespace(**event), OUTPUTS) == words
