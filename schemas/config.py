"""The configuration that people write, `triggerhub.yaml` (design §4.2): its shapes, field by field.

What needs another part of the file or a connector's models (unknown names, expressions, outputs) is checked
by `router.loading`. Secrets stay the references that were written; nothing here resolves one.
"""

from __future__ import annotations

from datetime import timedelta
from fnmatch import fnmatchcase
from typing import Annotated, Any, Final, Literal, get_args

from pydantic import (
    BeforeValidator,
    ConfigDict,
    Field,
    StringConstraints,
    WithJsonSchema,
    field_validator,
    model_validator,
)

from schemas.definitions import Agent, Environment, File, MemoryStore, Vault
from schemas.durations import Duration, LongDuration, QuietTime, brief
from schemas.event import KINDS, TRUSTS, Trust
from schemas.policy.approval import ToolApproval
from schemas.values import (
    TEXT_SCHEMA,
    Condition,
    Money,
    Strict,
    Text,
    Texts,
    Words,
    check_name,
    one_or_many,
    one_or_more,
)

FollowUp = Literal["steer", "queue", "interrupt", "new", "ignore"]
"""What an event does to a conversation whose session is at work: speak into it, wait for its turn, stop it
first, open another session, or nothing."""
PublishTo = Literal["public", "private"]
"""The widest readers that a rule lets content of narrower places reach."""

SELF: Final = "self"
Who = Literal[Trust, "self"]
"""`self` is no trust that an event can carry: an identifier or a receipt must prove that triggerhub opened the thing."""

DEFAULT_WHO: Final[tuple[Who, ...]] = ("owner", "member", "collaborator", "system")
"""Bots and outsiders start an agent only where a rule names them."""


_WHO: Final = {"enum": [*(trust for trust in TRUSTS if trust != "unknown"), SELF]}


class RuleMemoryStore(Strict):
    """A memory store in the sessions of a rule: its name, or its name with these."""

    store: Text
    access: Literal["read_write", "read_only"] = "read_write"
    instructions: Annotated[str, StringConstraints(min_length=1, max_length=4096)] | None = None

    @model_validator(mode="before")
    @classmethod
    def _written(cls, value: object) -> object:
        return {"store": value} if isinstance(value, str) else value


class RubricFile(Strict):
    """A rubric in a file."""

    file: Text
    """A name in `files`."""


class Match(Strict):
    """Which events a rule is about. Every field that is present must hold; in a list, one entry is enough."""

    source: Text | None = None
    connection: Text | None = None
    kind: Texts | None = None
    """Kinds of the event vocabulary, exact or as a glob such as `issue.*`."""
    type: Texts | None = None
    """CloudEvents types, exact: `github.issue.labeled`."""
    container: Texts | None = None
    """Repository, project or channel, exact or as a glob such as `acme/*`. Letter case counts."""
    labels: Texts | None = None
    mentions: Texts | None = None
    """Logins or ids; a leading @ and letter case do not count."""
    if_: Condition | None = Field(default=None, alias="if")
    """A condition in CEL over `event`."""

    @field_validator("mentions")
    @classmethod
    def _bare(cls, value: tuple[str, ...] | None) -> tuple[str, ...] | None:
        if value is None:
            return None
        bare = tuple(name.removeprefix("@").lower() for name in value)
        if not all(bare):
            msg = "'@' mentions nobody: write a login or an id"
            raise ValueError(msg)
        return bare

    @model_validator(mode="after")
    def _selects(self) -> Match:
        exact = (self.source, self.connection, self.type, self.labels, self.mentions, self.if_)
        patterns = (*(self.kind or ()), *(self.container or ()))
        if all(field is None for field in exact) and all(set(pattern) <= {"*", "?"} for pattern in patterns):
            msg = "an empty match would start the agent on every event: name a source, a kind or a condition"
            raise ValueError(msg)
        return self


class RuleRepository(Strict):
    """A repository that the session gets a clone of."""

    connection: Text
    name: Annotated[str, StringConstraints(pattern=r"^[^/\s]+/[^/\s]+$", max_length=200)]
    """`owner/repo`."""
    branch: Text | None = None
    commit: Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{7,64}$")] | None = None
    """Instead of a branch."""
    mount_path: Annotated[str, StringConstraints(pattern=r"^/\S+$", max_length=500)] | None = None
    """Default: `/workspace/<repo>`."""
    access: Literal["write", "read"] = "write"
    """What the session's token is good for. `read` can be enforced with a GitHub App only."""

    @model_validator(mode="after")
    def _one_checkout(self) -> RuleRepository:
        if self.branch is not None and self.commit is not None:
            msg = "write either a branch or a commit, not both"
            raise ValueError(msg)
        return self


class Caps(Strict):
    """What a rule, a team or everything may do at most. What is beyond waits."""

    per_day_usd: Money | None = None
    """List price of a day, UTC. What a run may spend is reserved before it starts."""
    concurrent: Annotated[int, Field(ge=1, le=100_000)] | None = None
    """Runs at work at once."""
    starts_per_hour: Annotated[int, Field(ge=1, le=1_000_000)] | None = None
    """Runs that start within any hour."""

    @property
    def per_day_cents(self) -> int | None:
        """The cap of a day in whole cents, exactly as written."""
        return None if self.per_day_usd is None else int(self.per_day_usd * 100)


class RuleLimits(Caps):
    """Bounds of one run, and of all runs of the rule."""

    budget_usd: Money | None = None
    on_budget: Literal["fail", "wait"] = "fail"
    """What a run does that reached its budget: end, or wait for a person to raise it."""
    budget_wait: LongDuration = timedelta(hours=24)
    """How long it waits."""
    timeout: Duration = timedelta(hours=2)

    @model_validator(mode="after")
    def _has_one(self) -> RuleLimits:
        if self.on_budget == "wait" and self.budget_usd is None:
            msg = "on_budget: wait needs a budget to wait at: set budget_usd"
            raise ValueError(msg)
        return self

    @property
    def budget_cents(self) -> int | None:
        """The budget in whole cents, exactly as written."""
        return None if self.budget_usd is None else int(self.budget_usd * 100)


class Output(Strict):
    """One output that a rule grants: `comment`, or `open_pull_request: {connection: …, repository: …}`.

    `options` are as written; `router.grants` reads `to`, `connection`, `max`, `name` and the policy's fields
    (`schemas.policy.shapes.OutputPolicy`) from them and gives the rest to the connector's target model.
    """

    output: Text
    options: dict[str, Any] = Field(default_factory=dict)

    @model_validator(mode="before")
    @classmethod
    def _written(cls, value: object) -> object:
        if isinstance(value, str):
            return {"output": value}
        if isinstance(value, dict) and set(value) == {"output", "options"}:
            return value
        if not isinstance(value, dict) or len(value) != 1:
            msg = "an output is a name (- comment) or one name with its options (- comment: {to: origin})"
            raise ValueError(msg)
        [(name, options)] = value.items()
        if options is not None and not isinstance(options, dict):
            msg = f"the options of {brief(name)} must be a mapping, such as {{to: origin}}"
            raise ValueError(msg)
        return {"output": name, "options": options or {}}


class Outcome(Strict):
    """What the work must come to, judged by a grader of the service that sends it back until it is met."""

    description: Annotated[str, StringConstraints(strip_whitespace=True, min_length=1, max_length=50_000)]
    rubric: (
        Annotated[str, StringConstraints(strip_whitespace=True, min_length=1, max_length=262_144)]
        | RubricFile
    )
    """How it is graded: text, or `{file: NAME}`."""
    max_iterations: Annotated[int, Field(ge=1, le=20)] = 3


class Presence(Strict):
    """What people see of a run while it goes on: the word alone, or with a check."""

    show: Literal["none", "seen", "status"] = "seen"
    """Nothing; a mark that it was seen, where the vendor has one that notifies nobody; or also one message at the
    origin that is kept up to date."""
    check: Annotated[str, StringConstraints(pattern=r"^[^\s](.*[^\s])?$", max_length=100)] | None = None
    """Name of a check (App) or commit status (token) on the pull requests that the run is about."""

    @model_validator(mode="before")
    @classmethod
    def _written(cls, value: object) -> object:
        return {"show": value} if isinstance(value, str) else value


class Schedule(Strict):
    """Times at which a rule starts its agent by itself."""

    cron: Text
    """Five fields: minute, hour, day of the month, month, day of the week."""
    timezone: Text = "UTC"
    """An IANA name."""


class Rule(Strict):
    """When an event matches or a time comes, which agent starts, and what it may post."""

    model_config = ConfigDict(
        json_schema_extra={"anyOf": [{"required": ["match"]}, {"required": ["schedule"]}]}
    )

    name: Annotated[str, StringConstraints(pattern=r"^[a-z0-9-]{1,64}$")]
    team: Annotated[str, StringConstraints(min_length=1, max_length=100)] | None = None
    enabled: bool = True
    match: Match | None = None
    schedule: Schedule | None = None
    """Instead of `match`, or beside it."""
    who: Annotated[
        tuple[Who, ...],
        BeforeValidator(one_or_many),
        Field(min_length=1),
        WithJsonSchema({"anyOf": [_WHO, {"type": "array", "items": _WHO, "minItems": 1}]}),
    ] = DEFAULT_WHO
    """Trusts that may start the agent; `self`: pull requests and issues that triggerhub's own runs opened."""
    agent: Text
    environment: Text | None = None
    """Replaces the agent's own environment."""
    agent_overrides: dict[str, Any] = Field(default_factory=dict)
    """Replaces parts of the agent (`model`, `system`, `tools`, `mcp_servers`, `skills`) in this rule's sessions."""
    repository: RuleRepository | None = None
    repositories: Annotated[tuple[RuleRepository, ...], Field(max_length=20)] = ()
    """Further ones, beside `repository`."""
    prompt: Annotated[str, StringConstraints(strip_whitespace=True, min_length=1, max_length=50_000)]
    """The instructions. Plain text: nothing of an event is ever spliced in."""
    vaults: Annotated[tuple[Text, ...], Field(max_length=20)] = ()
    """Names in `vaults`, beside those of the agent."""
    memory_stores: Annotated[tuple[RuleMemoryStore, ...], Field(max_length=20)] = ()
    files: Annotated[tuple[Text, ...], Field(max_length=100)] = ()
    """Names in `files`."""
    initial_messages: Annotated[tuple[Words, ...], Field(max_length=20)] = ()
    """Told to a new session before its first task."""
    system_message: Words | None = None
    """Told with every task, with the weight of a system prompt."""
    outcome: Outcome | None = None
    outputs: Annotated[tuple[Output, ...], Field(max_length=50)] = ()
    staged: bool = False
    """Show what would be posted, the report too, and post nothing."""
    approve: Annotated[tuple[ToolApproval, ...], BeforeValidator(one_or_more), Field(max_length=20)] = ()
    """People are asked about these tools where the agent's definition says `always_ask`."""
    report: Literal["origin", "failures", "none"] = "origin"
    """What is posted where the event came from at the end: the agent's last message (unless it commented
    there itself) and failures; failures only; or nothing."""
    presence: Presence = Field(default_factory=Presence)
    """What people see while a run goes on."""
    limits: RuleLimits = Field(default_factory=RuleLimits)
    conversation: Literal["subject", "event"] = "subject"
    """`subject`: events of one subject share a session. `event`: each event has its own."""
    follow_up: FollowUp = "steer"
    """What further events do to the conversation that the rule's session owns."""
    gather: QuietTime = timedelta(seconds=3)
    debounce: QuietTime = timedelta(0)
    """How long it must be quiet before follow-ups are told, all of them in one message. `0s`: each alone, at once."""
    follow: Annotated[
        tuple[str, ...],
        BeforeValidator(one_or_many),
        Field(max_length=50),
        WithJsonSchema({"anyOf": [TEXT_SCHEMA, {"type": "array", "items": TEXT_SCHEMA, "maxItems": 50}]}),
    ] = ()
    """Further kinds that are follow-ups, such as `pr.merged`; exact, or a glob."""
    allow_publish_to: PublishTo | None = None
    """Content of narrower places may be posted to places of this visibility."""

    @field_validator("follow")
    @classmethod
    def _kinds(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        for pattern in value:
            if not any(fnmatchcase(kind, pattern) for kind in KINDS):
                msg = f"no kind is like {brief(pattern)}; kinds are such as pr.merged, or a glob such as pr.*"
                raise ValueError(msg)
        return value

    @field_validator("who")
    @classmethod
    def _known(cls, value: tuple[Who, ...]) -> tuple[Who, ...]:
        if "unknown" in value:
            msg = "an unknown actor never starts an agent: remove 'unknown'"
            raise ValueError(msg)
        return value


class Config(Strict):
    """The whole configuration, whether one file or a folder of them."""

    version: Literal[1]
    connections: dict[str, dict[str, Any]] = Field(default_factory=dict)
    """As written, secrets still references. The connector of `source` owns the shape: its settings model."""
    environments: dict[str, Environment] = Field(default_factory=dict)
    agents: dict[str, Agent] = Field(default_factory=dict)
    vaults: dict[str, Vault] = Field(default_factory=dict)
    memory_stores: dict[str, MemoryStore] = Field(default_factory=dict)
    files: dict[str, File] = Field(default_factory=dict)
    teams: dict[str, Caps] = Field(default_factory=dict)
    """By the `team` of rules."""
    limits: Caps = Field(default_factory=Caps)
    """Of everything."""
    rules: tuple[Rule, ...] = ()

    @field_validator("connections", "environments", "agents", "vaults", "memory_stores", "files")
    @classmethod
    def _named(cls, value: dict[str, Any]) -> dict[str, Any]:
        for name in value:
            check_name(name)
        return value


SECTIONS: Final = ("connections", "environments", "agents", "vaults", "memory_stores", "files", "teams")
"""The parts of the file that are mappings from a name."""
FOLLOW_UPS: Final[tuple[str, ...]] = get_args(FollowUp)
