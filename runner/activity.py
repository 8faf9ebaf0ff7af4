"""What an agent did last, in words of ours: only the names of what it used are looked at, never what it wrote. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from schemas.dispatch import Dispatch

_TOOLS: Final[Mapping[str, str]] = {
    "bash": "ran a command",
    "read": "read files",
    "glob": "looked for files",
    "grep": "searched the files",
    "edit": "edited files",
    "write": "wrote files",
    "web_fetch": "read a web page",
    "web_search": "searched the web",
}
_OUTPUTS: Final[Mapping[str, str]] = {
    "open_pull_request": "asked for a pull request",
    "comment": "wrote a comment",
    "reply_in_review_thread": "wrote a reply",
    "post_message": "wrote a message",
    "set_commit_status": "set a commit status",
    "create_check_run": "reported a check",
}


class Activity:
    """What the agent of one run did last, told once. Only where the rule shows a status message."""

    def __init__(self, dispatch: Dispatch) -> None:
        self._is_shown = dispatch.presence == "status"
        self._outputs = {grant.name: grant.output for grant in dispatch.grants}
        self._last: str | None = None
        self._told: str | None = None

    def saw(self, event: Any) -> None:
        """An event of the session's stream came."""
        if self._is_shown:
            self._last = activity_of(event, self._outputs) or self._last

    def news(self) -> str | None:
        """What it did last, where that is something else than when this was asked before."""
        if self._last == self._told:
            return None
        self._told = self._last
        return self._last


def activity_of(event: Any, outputs: Mapping[str, str]) -> str | None:
    """What the event shows the agent doing; None where it shows nothing of that sort.

    `outputs`: names of the custom tools, and which output each is.
    """
    kind = getattr(event, "type", None)
    name = str(getattr(event, "name", None) or "")
    match kind:
        case "agent.tool_use":
            return _TOOLS.get(name, "used a tool")
        case "agent.mcp_tool_use":
            return "used a tool of another service"
        case "agent.custom_tool_use":
            return _OUTPUTS.get(outputs.get(name, ""), "asked for something to be posted")
        case "agent.message":
            return "wrote a message"
        case "agent.thinking":
            return "thought about it"
        case _:
            return None
