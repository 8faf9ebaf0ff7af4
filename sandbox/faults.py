"""Faults that tests and users ask of the sandbox: which calls go wrong, how, and how many times.

Shapes and matching only; `sandbox.recorder` carries them out. Must not know a service's state.
"""

from __future__ import annotations

from fnmatch import fnmatchcase
from typing import Any, Final, Literal

from pydantic import BaseModel, ConfigDict, Field

Mode = Literal[
    "status",
    "rate_limit",
    "delay",
    "hang",
    "cut",
    "cut_stream",
    "commit_then_status",
    "commit_then_cut",
    "commit_then_hang",
]
"""
status: answer `status` with `headers` and `body`; nothing is done.
rate_limit: the vendor's own shape of "too many requests"; nothing is done.
delay: wait `seconds`, then do it as usual.
hang: never answer; nothing is done. Ends when the client leaves.
cut: close the connection without an answer; nothing is done.
cut_stream: begin to answer, pass `after` pieces of the body on, then close the connection.
commit_then_status: do it, then answer `status` as if it had failed.
commit_then_cut: do it, then close the connection without an answer.
commit_then_hang: do it, and never answer.
"""


SERVER_ERROR: Final = 500
OVERLOADED: Final = 529
"""Anthropic's own status for "come back later"."""


class Fault(BaseModel):
    """One fault. The first one that matches a call and has times left is used."""

    model_config = ConfigDict(extra="forbid")

    mode: Mode
    service: str = "*"
    """`anthropic`, `github`, `jira`, `sentry`, `slack`, or a glob."""
    method: str = "*"
    path: str = "*"
    """Glob over the path below the service, such as `/repos/*/issues/*/comments`. `*` crosses slashes."""
    times: int | None = Field(default=1, ge=1)
    """How many calls it strikes; None means every one until it is removed."""
    skip: int = Field(default=0, ge=0)
    """How many matching calls pass unharmed first."""
    status: int = Field(default=500, ge=200, le=599)
    headers: dict[str, str] = Field(default_factory=dict)
    body: Any = None
    """Answered as JSON (a string: as text). None: the vendor's own error body for the status."""
    seconds: float = Field(default=0.0, ge=0)
    """delay: how long. rate_limit: what Retry-After says."""
    after: int = Field(default=1, ge=0)
    """cut_stream: how many pieces of the body are let through."""
    id: int = 0
    """Given by the sandbox."""
    struck: int = 0
    """How often it was used."""

    def matches(self, *, service: str, method: str, path: str) -> bool:
        """Whether the call is one of those it is meant for."""
        return (
            fnmatchcase(service, self.service)
            and fnmatchcase(method.upper(), self.method.upper())
            and fnmatchcase(path, self.path)
        )


class Faults:
    """The faults in force, in the order in which they were asked for."""

    def __init__(self) -> None:
        self._faults: list[Fault] = []
        self._next = 1

    def add(self, fault: Fault) -> Fault:
        """Put a fault in force and return it with its number."""
        numbered = fault.model_copy(update={"id": self._next, "struck": 0})
        self._next += 1
        self._faults.append(numbered)
        return numbered

    def ask(self, mode: Mode, **fields: Any) -> Fault:
        """`add` in one line: `world.faults.ask("commit_then_cut", service="github", method="POST")`."""
        return self.add(Fault(mode=mode, **fields))

    def take(self, *, service: str, method: str, path: str) -> Fault | None:
        """The fault that strikes this call, counted as used; None for most calls."""
        for fault in self._faults:
            if not fault.matches(service=service, method=method, path=path):
                continue
            if fault.skip > 0:
                fault.skip -= 1
                continue
            if fault.times is not None:
                fault.times -= 1
                if fault.times == 0:
                    self._faults.remove(fault)
                    fault.times = None
            fault.struck += 1
            return fault
        return None

    def clear(self) -> None:
        """Remove every fault."""
        self._faults.clear()

    def active(self) -> list[Fault]:
        """What is in force now."""
        return list(self._faults)


def rate_limit_answer(service: str, *, seconds: float, now: float) -> tuple[int, dict[str, str], Any]:
    """(status, headers, body) with which each vendor says "too many requests" (webhooks reference §1.4 to
    §4.2)."""
    wait = str(max(1, round(seconds)))
    reset = str(int(now + seconds))
    if service == "github":
        return (
            403,
            {"retry-after": wait, "x-ratelimit-remaining": "4999", "x-ratelimit-reset": reset},
            {
                "message": "You have exceeded a secondary rate limit. "
                "Please wait a few minutes before you try again.",
                "documentation_url": "https://docs.github.com/rest/using-the-rest-api/rate-limits-for-the-rest-api",
                "status": "403",
            },
        )
    if service == "jira":
        return (
            429,
            {"retry-after": wait, "ratelimit-reason": "jira-burst-based"},
            {"errorMessages": [], "errors": {}},
        )
    if service == "sentry":
        headers = {
            "x-sentry-rate-limit-limit": "40",
            "x-sentry-rate-limit-remaining": "0",
            "x-sentry-rate-limit-reset": reset,
        }
        return (
            429,
            headers,
            {
                "detail": "You are attempting to use this endpoint too frequently. "
                "Limit is 40 requests in 1 seconds"
            },
        )
    if service == "slack":
        return 429, {"retry-after": wait}, {"ok": False, "error": "ratelimited"}
    return (
        429,
        {"retry-after": wait},
        {
            "type": "error",
            "error": {"type": "rate_limit_error", "message": "Too many requests."},
            "request_id": "req_sandbox",
        },
    )


def error_answer(service: str, status: int) -> Any:
    """The body with which each vendor dresses an error of its own."""
    if service == "github":
        return {"message": "Server Error" if status >= SERVER_ERROR else "Bad Request", "status": str(status)}
    if service == "jira":
        return {"errorMessages": ["Internal server error"], "errors": {}}
    if service == "sentry":
        return {"detail": "Internal Error", "errorId": None}
    if service == "slack":
        return {"ok": False, "error": "internal_error"}
    kind = "overloaded_error" if status == OVERLOADED else "api_error"
    return {
        "type": "error",
        "error": {"type": kind, "message": "Internal server error"},
        "request_id": "req_sandbox",
    }
