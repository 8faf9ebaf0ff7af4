"""What must hold between the parts of a configuration: names that exist, clauses that can hold, no secret.

Works on plain values, so that a mistake in one field never hides those in others. Reports, never raises.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from pydantic import BaseModel

from router import approvals, schedules
from router.definitions import check_system_message, check_tools
from router.expressions import ExpressionError, compile_expression
from router.grants import OutputPlan, OutputReader, OutputSpecs
from router.problems import Location, hint, path_of, quote, unknown
from router.rules import expand_kinds
from router.shapes import Finding, located, validate
from schemas.event import KINDS
from schemas.policy.approval import ToolApproval
from schemas.values import SECRET_REFERENCE, is_glob

_SECRET_NAMES: Final = (
    "token",
    "tokens",
    "secret",
    "secrets",
    "password",
    "passwords",
    "private_key",
    "api_key",
    "secret_value",
)
_GLOBS: Final = frozenset(f"{kind.partition('.')[0]}.*" for kind in KINDS if "." in kind)
HIDDEN: Final = "(not shown)"
REFERENCE_WANTED: Final = (
    "a secret must be a reference, env:NAME or file:PATH; the value itself must not stand here"
)


@dataclass(frozen=True, slots=True)
class Names:
    """The names of one configuration that rules may use."""

    connections: Mapping[str, str | None]
    """Source by connection; None where it is not known."""
    environments: frozenset[str]
    agents: Mapping[str, str | None]
    """Environment by agent."""
    sources: frozenset[str]
    vaults: Mapping[str, Any] = field(default_factory=dict)
    """As written, like the following."""
    memory_stores: Mapping[str, Any] = field(default_factory=dict)
    files: Mapping[str, Any] = field(default_factory=dict)
    self_hosted: frozenset[str] = frozenset()
    """Environments that are machines of one's own."""
    tokens: frozenset[str] = frozenset()
    """Connections whose credential is a fixed token."""


def is_secret(name: str) -> bool:
    """Whether a field of a connection holds a secret, by its name."""
    return name in _SECRET_NAMES or name.endswith(tuple(f"_{ending}" for ending in _SECRET_NAMES))


def check_connection(raw: object, models: Mapping[str, type[BaseModel]]) -> list[Finding]:
    """Findings about `connections.<name>`. No message repeats a value, except an unknown source."""
    if not isinstance(raw, dict):
        return [Finding((), "must be a mapping of names to values")]
    literals = dict(_literal_secrets(raw, ()))
    findings = [Finding(place, REFERENCE_WANTED) for place in literals]
    source = raw.get("source")
    if source is None:
        findings.append(Finding(("source",), f"required, but missing; {hint('', models)}"))
    elif not isinstance(source, str) or source not in models:
        findings.append(Finding(("source",), unknown("source", str(source), models)))
    else:
        _, wrong = validate(models[source], raw, show_values=False)
        findings += [found for found in wrong if found.location not in literals]
    return [Finding(found.location, _redact(found.message, literals.values())) for found in findings]


def _literal_secrets(
    value: object, place: Location, *, secret: bool = False
) -> Iterator[tuple[Location, object]]:
    """Every place where a secret was written out."""
    if isinstance(value, dict):
        for name, inner in value.items():
            yield from _literal_secrets(inner, (*place, name), secret=is_secret(name))
    elif isinstance(value, list):
        for index, inner in enumerate(value):
            yield from _literal_secrets(inner, (*place, index), secret=secret)
    elif secret and value is not None and not _is_reference(value):
        yield place, value


def _is_reference(value: object) -> bool:
    return isinstance(value, str) and SECRET_REFERENCE.fullmatch(value) is not None


def _redact(message: str, secrets: Iterable[object]) -> str:
    for secret in secrets:
        if str(secret):
            message = message.replace(str(secret), HIDDEN)
    return message


def check_vault(raw: object, check_part: Callable[[str, Any], list[str]] | None) -> list[Finding]:
    """Findings about `vaults.<name>` beyond its shape. No message repeats a secret."""
    credentials = raw.get("credentials") if isinstance(raw, dict) else None
    findings: list[Finding] = []
    keys: dict[str, int] = {}
    for index, credential in enumerate(credentials if isinstance(credentials, list) else ()):
        place: Location = ("credentials", index)
        literals = dict(_literal_secrets(credential, place))
        findings += [Finding(found, REFERENCE_WANTED) for found in literals]
        told = check_part("credential", credential) if check_part is not None else []
        for message in told:
            found = located(message, credential)
            if (*place, *found.location) not in literals:
                text = _redact(found.message, literals.values())
                findings.append(Finding((*place, *found.location), text))
        written = credential if isinstance(credential, dict) else {}
        key = str(written.get("mcp_server_url") or written.get("secret_name") or "")
        if key and key in keys:
            findings.append(Finding(place, f"credentials[{keys[key]}] is for {quote(key)} too: one must go"))
        keys.setdefault(key, index)
    return findings


class RuleChecker:
    """Checks the rules of one configuration, one at a time."""

    def __init__(
        self,
        names: Names,
        specs: OutputSpecs,
        *,
        agents: Mapping[str, Any],
        check_part: Callable[[str, Any], list[str]] | None = None,
    ) -> None:
        self._names = names
        self._agents = agents
        """As written, by name."""
        self._check_part = check_part
        self._specs = specs
        self._outputs = OutputReader(connections=names.connections, specs=specs)
        self._configured = sorted({source for source in names.connections.values() if source is not None})

    def check(self, raw: Mapping[str, Any]) -> tuple[list[Finding], OutputPlan]:
        """Findings about one rule as written, and its outputs."""
        match = raw.get("match")
        match = match if isinstance(match, dict) else {}
        findings = [*self._references(raw), *self._match(match), *self._overrides(raw), *self._approvals(raw)]
        if raw.get("schedule") is None:
            if "match" not in raw:
                findings.append(Finding(("match",), "required, but missing; or give the rule a schedule"))
            plan = self._outputs.read(raw.get("outputs"), origins=self.origins(match))
        else:
            findings += self._schedule(raw)
            plan = self._outputs.read(raw.get("outputs"), origins=None)
        return findings + plan.findings, plan

    def _approvals(self, raw: Mapping[str, Any]) -> Iterator[Finding]:
        """Who is asked about tools, and where."""
        written = raw.get("approve")
        for index, one in enumerate(written if isinstance(written, list) else [written]):
            policy, _ = validate(ToolApproval, one)  # its shape is reported by the rule's own model
            if policy is not None:
                place: Location = ("approve", index) if isinstance(written, list) else ("approve",)
                yield from approvals.findings(
                    policy, place, connections=self._names.connections, specs=self._specs
                )

    def _schedule(self, raw: Mapping[str, Any]) -> Iterator[Finding]:
        """The times, and that there is somewhere to answer to."""
        schedule, outputs = raw["schedule"], raw.get("outputs")
        if isinstance(schedule, dict):
            yield from schedules.findings(schedule.get("cron"), schedule.get("timezone"), ("schedule",))
        if not outputs:
            msg = "a time has no place to answer to: give the rule an output with a connection"
            yield Finding(("schedule",), msg)
        for index, output in enumerate(outputs if isinstance(outputs, list) else ()):
            [(name, options)] = (
                output.items() if isinstance(output, dict) and len(output) == 1 else [(output, {})]
            )
            if isinstance(name, str) and not (isinstance(options, dict) and options.get("connection")):
                place = ("outputs", index) if isinstance(output, str) else ("outputs", index, name)
                msg = (
                    f"a rule with a schedule has no origin that {quote(name)} could go to: name a connection"
                )
                yield Finding(place, msg)

    def origins(self, match: Mapping[str, Any]) -> list[str] | None:
        """Sources that an event of such a match can come from; all that are configured where it pins none.

        None where the match names what does not exist.
        """
        connection, source, types = match.get("connection"), match.get("source"), match.get("type")
        if isinstance(connection, str):
            pinned = self._names.connections.get(connection)
            return None if pinned is None else [pinned]
        if isinstance(source, str):
            return [source] if source in self._names.sources else None
        prefixes = {entry.partition(".")[0] for entry in _texts(types)}
        pinned_by_type = sorted(prefixes & self._names.sources)
        return pinned_by_type or self._configured

    def _references(self, raw: Mapping[str, Any]) -> Iterator[Finding]:
        agent, environment = raw.get("agent"), raw.get("environment")
        names = self._names
        if isinstance(agent, str) and agent not in names.agents:
            yield Finding(("agent",), unknown("agent", agent, names.agents))
        elif isinstance(agent, str) and environment is None and names.agents[agent] is None:
            yield Finding(
                ("agent",), f"the agent {agent!r} has no environment: name one there or in this rule"
            )
        if isinstance(environment, str) and environment not in names.environments:
            yield Finding(("environment",), unknown("environment", environment, names.environments))
        yield from self._repositories(raw)
        yield from self._stores(raw)
        yield from self._self_hosted(raw)

    def _stores(self, raw: Mapping[str, Any]) -> Iterator[Finding]:
        """Names of vaults, memory stores and files."""
        names = self._names
        for place, name in _placed(raw.get("vaults"), ("vaults",)):
            if name not in names.vaults:
                yield Finding(place, unknown("vault", name, names.vaults))
        for place, name in _placed(raw.get("files"), ("files",)):
            if name not in names.files:
                yield Finding(place, unknown("file", name, names.files))
        stores = raw.get("memory_stores")
        for index, written in enumerate(stores if isinstance(stores, list) else ()):
            at: Location = ("memory_stores", index)
            store, at = (written.get("store"), (*at, "store")) if isinstance(written, dict) else (written, at)
            if isinstance(store, str) and store not in names.memory_stores:
                yield Finding(at, unknown("memory store", store, names.memory_stores))
        outcome = raw.get("outcome")
        rubric = outcome.get("rubric") if isinstance(outcome, dict) else None
        file = rubric.get("file") if isinstance(rubric, dict) else None
        if isinstance(file, str) and file not in names.files:
            yield Finding(("outcome", "rubric", "file"), unknown("file", file, names.files))

    def _self_hosted(self, raw: Mapping[str, Any]) -> Iterator[Finding]:
        """What a machine of one's own cannot be given."""
        agent = self._agents.get(str(raw.get("agent")))
        agent = agent if isinstance(agent, dict) else {}
        environment = raw.get("environment") or agent.get("environment")
        if environment not in self._names.self_hosted:
            return
        for field_ in ("repository", "repositories", "memory_stores", "files"):
            if raw.get(field_):
                msg = (
                    f"the environment {environment!r} is self-hosted, and the service can mount nothing there"
                )
                yield Finding((field_,), msg)
        for name in (*_texts(agent.get("vaults")), *_texts(raw.get("vaults"))):
            vault = self._names.vaults.get(name)
            credentials = vault.get("credentials") if isinstance(vault, dict) else None
            for one in credentials if isinstance(credentials, list) else ():
                if isinstance(one, dict) and one.get("type") == "environment_variable":
                    msg = (
                        f"the vault {name!r} has an environment variable, which does not reach the self-hosted "
                        f"environment {environment!r}"
                    )
                    yield Finding(("agent",), msg)
                    break

    def _repositories(self, raw: Mapping[str, Any]) -> Iterator[Finding]:
        taken: dict[str, str] = {}
        places: list[tuple[Location, Any]] = [(("repository",), raw.get("repository"))]
        further = raw.get("repositories")
        if isinstance(further, list):
            places += [(("repositories", index), one) for index, one in enumerate(further)]
        for place, one in places:
            if not isinstance(one, dict):
                continue
            connection, known = one.get("connection"), self._names.connections
            if isinstance(connection, str) and connection not in known:
                yield Finding((*place, "connection"), unknown("connection", connection, known))
            if one.get("access") == "read" and connection in self._names.tokens:
                msg = (
                    f"the token of {connection!r} cannot be narrowed: the session can do with it whatever it can; "
                    "use an app, or a token that can only read"
                )
                yield Finding((*place, "access"), msg, "warning")
            path = one.get("mount_path") or f"/workspace/{str(one.get('name')).rpartition('/')[2]}"
            if path in taken:
                msg = f"it would stand at {path}, where {taken[path]} stands: give it another mount_path"
                yield Finding(place, msg)
            taken.setdefault(str(path), path_of(place))

    def _overrides(self, raw: Mapping[str, Any]) -> Iterator[Finding]:
        """What replaces parts of the agent must fit what is left of it."""
        overrides, agent = raw.get("agent_overrides"), self._agents.get(str(raw.get("agent")))
        if isinstance(agent, dict):
            yield from check_system_message(raw, agent)
        if not isinstance(overrides, dict) or not overrides:
            return
        if self._check_part is not None:
            for message in self._check_part("agent_overrides", overrides):
                found = located(message, overrides)
                yield Finding(("agent_overrides", *found.location), found.message)
        known = isinstance(agent, dict) and agent.get("id") is None and agent.get("version") is None
        if isinstance(agent, dict) and known and not list(check_tools(agent)):  # else it is told at the agent
            for found in check_tools({**agent, **overrides}):
                yield Finding(("agent_overrides", *found.location), found.message)

    def _match(self, match: Mapping[str, Any]) -> Iterator[Finding]:
        yield from self._match_source(match)
        for place, kind in _placed(match.get("kind"), ("match", "kind")):
            if expand_kinds((kind,)):
                continue
            if is_glob(kind):
                yield Finding(place, f"{quote(kind)} fits no kind of event; {hint(kind, _GLOBS)}")
            else:
                yield Finding(place, unknown("kind", kind, KINDS))
        for place, name in _placed(match.get("type"), ("match", "type")):
            yield from self._match_type(place, name, match)
        condition = match.get("if")
        if isinstance(condition, str) and condition:
            yield from _condition(condition)

    def _match_source(self, match: Mapping[str, Any]) -> Iterator[Finding]:
        source, connection, names = match.get("source"), match.get("connection"), self._names
        if isinstance(source, str):
            if source not in names.sources:
                yield Finding(("match", "source"), unknown("source", source, names.sources))
            elif source not in self._configured:
                yield Finding(("match", "source"), f"no connection has the source {source!r}", "warning")
        if isinstance(connection, str):
            if connection not in names.connections:
                yield Finding(("match", "connection"), unknown("connection", connection, names.connections))
            elif isinstance(source, str) and names.connections[connection] not in {None, source}:
                actual = names.connections[connection]
                msg = f"the connection {connection!r} is of {actual!r}, not {source!r}: this can never match"
                yield Finding(("match", "connection"), msg)

    def _match_type(self, place: Location, name: str, match: Mapping[str, Any]) -> Iterator[Finding]:
        prefix, _, kind = name.partition(".")
        if kind not in KINDS:
            yield Finding(
                place, f"{quote(name)} is no type: write the source and a kind; {hint(kind, KINDS)}"
            )
        elif isinstance(match.get("source"), str) and prefix != match["source"]:
            yield Finding(place, f"{quote(name)} never comes from the source {match['source']!r}")
        elif prefix not in self._names.sources:
            msg = f"no connector is called {quote(prefix)}: only another program can publish such events"
            yield Finding(place, msg, "warning")


def _condition(text: str) -> Iterator[Finding]:
    place = ("match", "if")
    try:
        expression = compile_expression(text)
    except ExpressionError as error:
        yield Finding(place, str(error))
        return
    for path, near in expression.unknown_fields():
        yield Finding(place, f"no event has the field {path}; {near}", "warning")


def _placed(value: object, place: Location) -> Iterator[tuple[Location, str]]:
    """Each text of a single value or list, with its place."""
    if isinstance(value, str):
        yield place, value
    elif isinstance(value, list):
        yield from (((*place, index), item) for index, item in enumerate(value) if isinstance(item, str))


def _texts(value: object) -> list[str]:
    return [text for _, text in _placed(value, ())]
