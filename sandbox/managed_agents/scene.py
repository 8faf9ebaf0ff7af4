"""What a scenario is played with: the turn, what was said, and what the directive asks for. Plays nothing itself."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from sandbox.managed_agents.arguments import Knowledge, fill
from sandbox.managed_agents.moves import Move
from sandbox.managed_agents.reading import Task
from sandbox.managed_agents.turns import Turn
from sandbox.managed_agents.worker import CodeHost, work


@dataclass(frozen=True, slots=True)
class Scene:
    """What a scenario is given."""

    turn: Turn
    events: list[dict[str, Any]]
    task: Task
    directive: dict[str, str]
    code: CodeHost

    def number(self, name: str, default: float) -> float:
        """A numeric pair of the directive; the default where it is absent or no number."""
        try:
            return float(self.directive.get(name, default))
        except ValueError:
            return default

    def work(self, *, mounted: bool = True, leave: frozenset[str] = frozenset()) -> Move:
        """The believable worker."""
        return work(self.turn, self.events, self.code, mounted=mounted, leave=leave)

    def tools(self) -> list[dict[str, Any]]:
        """The custom tools to call: those granted, or the one that `tool=` names."""
        wanted = self.directive.get("tool")
        granted = self.turn.session.tools("custom")
        return [tool for tool in granted if wanted in {None, tool["name"]}]

    def fill(self, tool: dict[str, Any], n: int = 1, *, further: str = "") -> dict[str, Any]:
        """Arguments for it. `further` stands in every text."""
        text = f"{self.task.about} ({n}){further}"
        known = Knowledge(
            title=text, body=text, short=text, key=self.task.subject.key, url=self.task.subject.url
        )
        return fill(tool["input_schema"], known)

    def fail(self, default: str, status: str) -> None:
        """Emit a `session.error`; `error=` names another type, `message=` another text, `repository=` another one."""
        kind = self.directive.get("error", default)
        message = self.directive.get("message", f"{kind.removesuffix('_error').replace('_', ' ')} (sandbox)")
        error: dict[str, Any] = {"type": kind, "message": message, "retry_status": {"type": status}}
        if kind.startswith("mcp_"):
            error["mcp_server_name"] = "github"
        if kind.startswith("repository_"):
            wanted = self.directive.get("repository", "")
            urls = [resource["url"] for resource in self.turn.session.resources if "url" in resource]
            error["repository_url"] = next((url for url in urls if url.endswith(wanted)), None)
        if kind == "credential_host_unreachable_error":
            error.update(vault_id="vlt_sandbox", credential_id="vcrd_sandbox")
        self.turn.emit("session.error", error=error)
