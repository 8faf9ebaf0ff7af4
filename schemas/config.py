"""The configuration that people write, `triggerhub.yaml` (design §4.2): its shapes, field by field.

What needs another part of the file or a connector's models (unknown names, expressions, outputs) is checked
by `router.loading`. Secrets stay the references that were written; nothing here resolves one.
"""

from __future__ import annotations

import re
from contextlib import suppress
from datetime import timedelta
from decimal import Decimal, InvalidOperation
from fnmatch import fnmatchcase
from typing import Annotated, Any, Final, Literal, get_args

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    StringConstraints,
    WithJsonSchema,
    field_validator,
    model_validator,
)

from schemas.durations import Duration, LongDuration, QuietTime, brief
from schemas.event import KINDS, TRUSTS, Trust
from schemas.policy.approval import ToolApproval

FollowUp = Literal["steer", "queue", "interrupt", "new", "ignore"]
"""What an event does to a conversation whose session is at work: speak into it, wait for its turn, stop it
first, open another session, or nothing."""
PublishTo = Literal["public", "private"]
"""The widest readers that a rule lets content of narrower places reach."""

DEFAULT_WHO: Final[tuple[Trust, ...]] = ("owner", "member", "collaborator", "system")
"""Bots and outsiders start an agent only where a rule names them."""

SECRET_REFERENCE: Final = re.compile(r"env:[A-Za-z_][A-Za-z0-9_]*|file:[^\s].*")
"""The only form in which the configuration may speak of a secret."""

MAX_BUDGET_USD: Final = 100_000
_WILD: Final = re.compile(r"[*?\[]")


def is_glob(pattern: str) -> bool:
    """Whether `pattern` holds a wildcard (`*`, `?` or `[...]`)."""
    return _WILD.search(pattern) is not None


def money(value: object) -> Decimal:
    """US dollars above zero in whole cents. A number keeps the digits written. Raises ValueError."""
    amount = None
    if isinstance(value, int | float | str | Decimal) and not isinstance(value, bool):
        with suppress(InvalidOperation):
            amount = Decimal(str(value))
    if amount is None or not amount.is_finite():
        msg = f"{brief(value)} is not an amount of US dollars, such as 2.50"
        raise ValueError(msg)
    if not 0 < amount <= MAX_BUDGET_USD:
        msg = f"{brief(value)} is outside the range: above 0, at most {MAX_BUDGET_USD} US dollars"
        raise ValueError(msg)
    if amount * 100 != (amount * 100).to_integral_value():
        msg = f"{brief(value)} is not a whole number of cents: write at most two decimals"
        raise ValueError(msg)
    return amount


def one_or_many(value: object) -> object:
    """A single text where a list is wanted stands for a list of one."""
    return (value,) if isinstance(value, str) else value


def one_or_more(value: object) -> object:
    """A single mapping where a list is wanted stands for a list of one."""
    return (value,) if isinstance(value, dict) else value


def check_name(name: str) -> None:
    """Raise ValueError unless `name` can stand in a path: names of connections do."""
    if _NAME.fullmatch(name) is None:
        msg = (
            f"the name {brief(name)} is not usable: up to 64 letters, digits, '.', '_' or '-', no sign first"
        )
        raise ValueError(msg)


_NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")

_WHO: Final = {"enum": [trust for trust in TRUSTS if trust != "unknown"]}
_TEXT: Final = {"type": "string", "minLength": 1}
Text = Annotated[str, StringConstraints(min_length=1, max_length=1000)]
Texts = Annotated[
    tuple[Text, ...],
    BeforeValidator(one_or_many),
    Field(min_length=1, max_length=100),
    WithJsonSchema(
        {
            "anyOf": [
                _TEXT,
                {"type": "array", "items": _TEXT, "minItems": 1, "maxItems": 100},
            ]
        }
    ),
]
Words = Annotated[str, StringConstraints(strip_whitespace=True, min_length=1, max_length=50_000)]
Condition = Annotated[str, Field(min_length=1, json_schema_extra={"maxLength": 2000})]
"""CEL. Its length is checked where it is compiled."""
Money = Annotated[
    Decimal,
    BeforeValidator(money),
    WithJsonSchema(
        {
            "anyOf": [
                {"type": "number", "exclusiveMinimum": 0, "maximum": MAX_BUDGET_USD},
                {"type": "string", "pattern": r"^\d+(\.\d{1,2})?$"},
            ]
        }
    ),
]


class _Strict(BaseModel):
    """A field that nobody knows is a mistake in the file, never ignored."""

    model_config = ConfigDict(frozen=True, extra="forbid", populate_by_name=True)


class Environment(_Strict):
    """Where sessions run: `environments.<name>`. `config` is the Managed Agents environment configuration."""

    config: dict[str, Any]
    description: str | None = None
    metadata: dict[str, str] = Field(default_factory=dict)


class Agent(_Strict):
    """Who does the work: `agents.<name>`. All but `environment`, `id` and `version` is the Managed Agents agent
    configuration. An agent with an `id` was made elsewhere: it is used and never changed."""

    model_config = ConfigDict(
        json_schema_extra={"anyOf": [{"required": [name]} for name in ("model", "id", "version")]}
    )

    id: Annotated[str, StringConstraints(pattern=r"^agent_\S+$", max_length=200)] | None = None
    version: Annotated[int, Field(ge=1)] | None = None
    """Sessions use this version. Without `id`: one that triggerhub made under this name; while it stands here, the
    definition is not written to the service."""
    model: Annotated[str, Field(min_length=1)] | dict[str, Any] | None = None
    system: str | None = None
    environment: str | None = None
    """Name in `environments`; a rule may name another."""
    vaults: Annotated[tuple[Text, ...], Field(max_length=20)] = ()
    """Names in `vaults`: every session of this agent may use them."""
    tools: tuple[dict[str, Any], ...] = ()
    mcp_servers: tuple[dict[str, Any], ...] = ()
    skills: tuple[dict[str, Any], ...] = ()
    description: str | None = None
    metadata: dict[str, str] = Field(default_factory=dict)
    multiagent: dict[str, Any] | None = None
    execution_identity: dict[str, Any] | None = None

    def vendor(self) -> dict[str, Any]:
        """What was written of the part that the Managed Agents API takes (without `name`), as JSON values."""
        return self.model_dump(
            mode="json", exclude_unset=True, exclude={"environment", "id", "version", "vaults"}
        )


class Vault(_Strict):
    """Credentials that sessions may use without seeing them: `vaults.<name>`. Made by triggerhub, or elsewhere (`id`)."""

    id: Annotated[str, StringConstraints(pattern=r"^vlt_\S+$", max_length=200)] | None = None
    credentials: Annotated[tuple[dict[str, Any], ...], Field(max_length=20)] = ()
    """Each as the Managed Agents API takes it, secrets as references."""

    @model_validator(mode="after")
    def _one_of_both(self) -> Vault:
        if (self.id is None) == (not self.credentials):
            msg = "write either the id of a vault made elsewhere, or credentials"
            raise ValueError(msg)
        return self


class MemoryStore(_Strict):
    """What agents remember between sessions: `memory_stores.<name>`. Made by triggerhub, or elsewhere (`id`)."""

    id: Annotated[str, StringConstraints(pattern=r"^memstore_\S+$", max_length=200)] | None = None
    description: Annotated[str, StringConstraints(max_length=1024)] | None = None
    """Told to the agent."""

    @model_validator(mode="after")
    def _one_of_both(self) -> MemoryStore:
        if self.id is not None and self.description is not None:
            msg = "a memory store made elsewhere has a description of its own: remove it here"
            raise ValueError(msg)
        return self


class File(_Strict):
    """A file that sessions get: `files.<name>`. From the disk (`path`), or uploaded elsewhere (`id`)."""

    id: Annotated[str, StringConstraints(pattern=r"^file_\S+$", max_length=200)] | None = None
    path: Text | None = None
    """Beside the file of the configuration, unless it is absolute."""
    mount_path: Annotated[str, StringConstraints(pattern=r"^/\S+$", max_length=500)] | None = None

    @model_validator(mode="after")
    def _one_of_both(self) -> File:
        if (self.id is None) == (self.path is None):
            msg = "write either the path of a file, or the id of one that was uploaded elsewhere"
            raise ValueError(msg)
        return self


class RuleMemoryStore(_Strict):
    """A memory store in the sessions of a rule: its name, or its name with these."""

    store: Text
    access: Literal["read_write", "read_only"] = "read_write"
    instructions: Annotated[str, StringConstraints(min_length=1, max_length=4096)] | None = None

    @model_validator(mode="before")
    @classmethod
    def _written(cls, value: object) -> object:
        return {"store": value} if isinstance(value, str) else value


class RubricFile(_Strict):
    """A rubric in a file."""

    file: Text
    """A name in `files`."""


class Match(_Strict):
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


class RuleRepository(_Strict):
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


class Caps(_Strict):
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


class Output(_Strict):
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


class Outcome(_Strict):
    """What the work must come to, judged by a grader of the service that sends it back until it is met."""

    description: Annotated[str, StringConstraints(strip_whitespace=True, min_length=1, max_length=50_000)]
    rubric: (
        Annotated[str, StringConstraints(strip_whitespace=True, min_length=1, max_length=262_144)]
        | RubricFile
    )
    """How it is graded: text, or `{file: NAME}`."""
    max_iterations: Annotated[int, Field(ge=1, le=20)] = 3


class Presence(_Strict):
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


class Schedule(_Strict):
    """Times at which a rule starts its agent by itself."""

    cron: Text
    """Five fields: minute, hour, day of the month, month, day of the week."""
    timezone: Text = "UTC"
    """An IANA name."""


class Rule(_Strict):
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
        tuple[Trust, ...],
        BeforeValidator(one_or_many),
        Field(min_length=1),
        WithJsonSchema({"anyOf": [_WHO, {"type": "array", "items": _WHO, "minItems": 1}]}),
    ] = DEFAULT_WHO
    """Trusts that may start the agent."""
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
        WithJsonSchema({"anyOf": [_TEXT, {"type": "array", "items": _TEXT, "maxItems": 50}]}),
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
    def _known(cls, value: tuple[Trust, ...]) -> tuple[Trust, ...]:
        if "unknown" in value:
            msg = "an unknown actor never starts an agent: remove 'unknown'"
            raise ValueError(msg)
        return value


class Config(_Strict):
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
