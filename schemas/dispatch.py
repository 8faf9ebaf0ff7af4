"""A dispatch: one rule matched one event, so one agent shall get one piece of work.

Shapes only. Written by the router to `triggerhub.dispatches`, read by the runner.
"""

from __future__ import annotations

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from schemas.event import Event, Visibility
from schemas.policy.approval import ToolApproval
from schemas.policy.shapes import OutputPolicy
from schemas.result import Origin
from schemas.version import SCHEMA_VERSION, SchemaVersion


class Grant(BaseModel):
    """One output that the rule allows, as the runner turns it into a custom tool of the agent."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    name: str
    """Name of the tool: the output's name, with `_2` and so on when a rule grants it more than once."""
    output: str
    """The output's type: `comment`, `open_pull_request`, …"""
    connection: str | None
    """None means the event's own connection (`to: origin`)."""
    target: dict[str, Any] = Field(default_factory=dict)
    """The fixed part, written in the rule: repository, channel, issue … The agent cannot change it."""
    description: str = ""
    input_schema: dict[str, Any] = Field(default_factory=dict)
    """JSON Schema of what the agent supplies."""
    max: int = 10
    """How many times a run may use it."""
    policy: OutputPolicy = Field(default_factory=OutputPolicy)
    """What text may link to and whom it may notify; judged before a result is stored, and when it is posted."""
    code: tuple[str, ...] = ()
    """Arguments that are files and no prose."""


class Repository(BaseModel):
    """A repository to mount in the session."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    connection: str
    name: str
    """`owner/repo`."""
    branch: str | None = None
    commit: str | None = None
    mount_path: str | None = None
    access: Literal["write", "read"] = "write"

    @property
    def path(self) -> str:
        """Where it stands in the session."""
        return self.mount_path or f"/workspace/{self.name.rpartition('/')[2]}"


class Limits(BaseModel):
    """Bounds of one run."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    budget_cents: int | None = None
    on_budget: str = "fail"
    """`wait`: a run that reached its budget waits for a person to raise it."""
    budget_wait_seconds: float = 86_400.0
    timeout_seconds: float = 7200.0


class Outcome(BaseModel):
    """What the work must come to."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    description: str
    rubric: str = ""
    """Text; or empty, and it is in a file of the configuration."""
    rubric_file: str | None = None
    max_iterations: int = 3


class MemoryMount(BaseModel):
    """A memory store of the configuration in the session."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    name: str
    access: str = "read_write"
    instructions: str | None = None


class FileMount(BaseModel):
    """A file of the configuration in the session."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    name: str
    mount_path: str | None = None


class Dispatch(BaseModel):
    """One (event, rule) pair that matched. `id` is derived from both, so that routing twice makes one dispatch."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    version: SchemaVersion = SCHEMA_VERSION
    id: str
    rule: str
    team: str | None = None
    agent: str
    agent_overrides: dict[str, Any] = Field(default_factory=dict)
    """Replaces parts of the agent in this session: the rule's own, as the service takes them."""
    environment: str
    conversation: str
    """Kafka key. One conversation = one session, one run at a time."""
    follow_up: bool = False
    """True when the event goes into a conversation that a session already owns."""
    manner: Literal["steer", "queue", "interrupt"] = "queue"
    """What a follow-up does to a session at work."""
    gather_seconds: float = 0.0
    debounce_seconds: float = 0.0
    folded: int = 0
    """How long it must be quiet in the conversation before its follow-ups are told together. 0: each alone."""
    publish_to: Visibility | None = None
    """The widest visibility that content of narrower places may be posted to."""
    prompt: str
    report: str = "origin"
    """`origin`: the agent's last message, or the failure, is posted where the event came from. `failures`: only that.
    `none`: neither."""
    presence: Literal["none", "seen", "status"] = "none"
    """What the origin is shown meanwhile: nothing, that it was seen, or also one message that is kept up to date."""
    check: str | None = None
    """Name of the check that shows how the run stands on the pull requests it is about."""
    vaults: tuple[str, ...] = ()
    """Names of the configuration."""
    memory_stores: tuple[MemoryMount, ...] = ()
    files: tuple[FileMount, ...] = ()
    initial_messages: tuple[str, ...] = ()
    """Told to a new session before the prompt."""
    system_message: str | None = None
    """Told with the prompt, with the weight of a system prompt."""
    outcome: Outcome | None = None
    """Judged in the session that this dispatch opens."""
    grants: tuple[Grant, ...] = ()
    approve: tuple[ToolApproval, ...] = ()
    """Which tools that ask (`always_ask`) people may allow. Every other one is denied."""
    staged: bool = False
    """Nothing of this run is posted; what would be is recorded."""
    repository: Repository | None = None
    repositories: tuple[Repository, ...] = ()
    """Further ones."""
    limits: Limits = Field(default_factory=Limits)
    event: Event
    depth: int = 0
    """How many runs lie between what a person or a system caused and this one, each started by what the last opened."""
    root: str | None = None
    """Identifier of that first event; None: it is `event`."""
    traceparent: str | None = None

    @property
    def beginning(self) -> str:
        """Identifier of the event with which it all began."""
        return self.root or self.event.id

    @property
    def origin(self) -> Origin:
        """Where the run came from."""
        return Origin.of(self.event)

    @property
    def mounts(self) -> tuple[Repository, ...]:
        """All repositories of the session."""
        return (*(() if self.repository is None else (self.repository,)), *self.repositories)
