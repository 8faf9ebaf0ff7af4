"""The whole emulated outside world in memory, with the Python side of what the admin routes offer over
HTTP.

One object is one world: it can be filled before a test, looked at after it, and reset. It does no input or
output but the log file.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from sandbox.faults import Faults
from sandbox.github.state import GitHub
from sandbox.jira.state import Jira
from sandbox.log import CallLog
from sandbox.managed_agents.state import AgentsState
from sandbox.sentry.state import Sentry
from sandbox.slack.state import Slack
from sandbox.vendor.post import Post

Snapshot = Callable[[], Any]
Reset = Callable[[], None]


class World:
    """Everything outside triggerhub.

    `create_missing`: GitHub repositories and issues, Jira issues, Sentry issues and Slack channels come into
    being when first named, as a demo wants. Off, unknown ones are answered as the vendor answers them (404,
    `channel_not_found`), as tests want.
    `log_file`: every call is appended there as a line of JSON.
    `pace`: seconds between two steps of an emulated agent; None leaves it to the environment.
    """

    def __init__(
        self, *, create_missing: bool = False, log_file: Path | None = None, pace: float | None = None
    ) -> None:
        self.create_missing = create_missing
        self.log = CallLog(file=log_file)
        self.faults = Faults()
        self.github = GitHub(create_missing=create_missing)
        self.jira = Jira(create_missing=create_missing)
        self.sentry = Sentry(create_missing=create_missing)
        self.slack = Slack(create_missing=create_missing)
        self.post = Post()
        """Webhooks that the vendors send."""
        self.agents: AgentsState | None = None
        """What Managed Agents knows: set when the application is built over this world."""
        self.pace = pace
        self._views: dict[str, tuple[Snapshot, Reset]] = {}
        for name, part in (
            ("github", self.github),
            ("jira", self.jira),
            ("sentry", self.sentry),
            ("slack", self.slack),
            ("post", self.post),
        ):
            self.register(name, snapshot=part.snapshot, reset=part.reset)

    def register(self, name: str, *, snapshot: Snapshot, reset: Reset) -> None:
        """Add a service that keeps its own state to `/_sandbox/state` and `/_sandbox/reset`.

        `snapshot` returns JSON-ready data. The emulator of Managed Agents registers itself when it is
        built.
        """
        self._views[name] = (snapshot, reset)

    def state(self) -> dict[str, Any]:
        """JSON-ready data of every service."""
        return {name: snapshot() for name, (snapshot, _) in self._views.items()}

    def reset(self) -> None:
        """Back to an empty world: no state, no faults, no log."""
        for _, reset in self._views.values():
            reset()
        self.faults.clear()
        self.log.clear()

    def close(self) -> None:
        """Stop the agents, end their streams and close the log file. What is known stays readable."""
        if self.agents is not None:
            self.agents.close()
        self.log.close()
