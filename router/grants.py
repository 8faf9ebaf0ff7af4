"""What a rule lets its agent post: reading `outputs`, checking them with the connectors, composing grants.

Connectors are known here only by what they say of their outputs; nothing is imported from them.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from typing import Any, Final, Protocol

from pydantic import BaseModel

from router import approvals
from router.problems import hint, quote, unknown
from router.shapes import Finding, validate
from schemas.config import Output
from schemas.dispatch import Grant
from schemas.policy.shapes import POLICY_FIELDS, OutputPolicy

MAX_USES: Final = 100
DEFAULT_USES: Final = 10
ONCE: Final = frozenset({"open_pull_request"})
"""Outputs of which a run makes one unless the rule says otherwise."""
OPTIONS: Final = ("to", "connection", "max", "name", *sorted(POLICY_FIELDS))
"""What every output takes besides its target's fields."""
_TOOL: Final = re.compile(r"[A-Za-z][A-Za-z0-9_-]{0,63}")


class OutputSpecLike(Protocol):
    """What a connector says of one output (`connectors.poster.OutputSpec` is one)."""

    @property
    def description(self) -> str: ...
    @property
    def target(self) -> type[BaseModel]: ...
    @property
    def arguments(self) -> type[BaseModel]: ...
    @property
    def to_origin(self) -> bool: ...
    @property
    def code(self) -> tuple[str, ...]: ...
    @property
    def mentions(self) -> bool: ...


OutputSpecs = Mapping[str, Mapping[str, OutputSpecLike]]
"""Source, then name of the output."""


@dataclass(frozen=True, slots=True)
class PlannedOutput:
    """One entry of `outputs`, read and checked."""

    name: str
    """Name of the agent's tool, before equal names are told apart."""
    output: str
    connection: str | None
    specs: Mapping[str, OutputSpecLike]
    """By the event's source where `connection` is None; else one entry under the connection's own source."""
    targets: Mapping[str, dict[str, Any]]
    uses: int
    policy: OutputPolicy = field(default_factory=OutputPolicy)


@dataclass
class OutputPlan:
    """All outputs of one rule."""

    planned: list[PlannedOutput] = field(default_factory=list)
    findings: list[Finding] = field(default_factory=list)


class OutputReader:
    """Reads the outputs of rules against the connections and connectors of one configuration."""

    def __init__(self, *, connections: Mapping[str, str | None], specs: OutputSpecs) -> None:
        self._connections = connections
        """Source by connection; None where the connection itself is broken and was reported."""
        self._specs = specs

    def read(self, outputs: object, *, origins: Sequence[str] | None) -> OutputPlan:
        """Read the raw `outputs`. `origins` are the sources that an event of this rule can come from.

        None where the match is wrong and was reported: then nothing is said of `to: origin`.
        """
        plan = OutputPlan()
        names: dict[str, int] = {}
        for index, raw in enumerate(outputs if isinstance(outputs, list | tuple) else ()):
            output, _ = validate(Output, raw)
            if output is None:
                continue  # the rule's own model reports the shape
            place = ("outputs", index) if isinstance(raw, str) else ("outputs", index, output.output)
            planned, findings = self._one(output, origins)
            if planned is not None and "name" in output.options and planned.name in names:
                other = f"outputs[{names[planned.name]}]"
                findings.append(
                    Finding(("name",), f"the tool name {quote(planned.name)} is that of {other} too")
                )
            if planned is not None:
                names.setdefault(planned.name, index)
                plan.planned.append(planned)
            plan.findings += [Finding((*place, *found.location), found.message) for found in findings]
        return plan

    def _one(
        self, output: Output, origins: Sequence[str] | None
    ) -> tuple[PlannedOutput | None, list[Finding]]:
        options = dict(output.options)
        to, connection = options.pop("to", None), options.pop("connection", None)
        findings: list[Finding] = []
        if to not in {None, "origin"}:
            findings.append(Finding(("to",), f"only 'origin' can stand here, not {quote(to)}"))
        elif to is not None and connection is not None:
            findings.append(Finding(("to",), "write either 'to: origin' or a connection, not both"))
        elif connection is not None and (
            not isinstance(connection, str) or connection not in self._connections
        ):
            findings.append(
                Finding(("connection",), unknown("connection", str(connection), self._connections))
            )
        if findings:
            return None, findings
        if connection is not None:
            specs, findings = self._at_connection(output.output, str(connection))
        elif origins is None:
            return None, []
        else:
            specs, findings = self._at_origin(output.output, origins, asked=to is not None)
        if not specs:
            return None, findings
        uses, name, wrong = _tool_options(output.output, options, specs.values())
        findings += wrong
        policy, wrong = _policy(output.output, options, specs.values())
        findings += wrong
        findings += self._approval(output.output, policy, options)
        targets: dict[str, dict[str, Any]] = {}
        for source, spec in specs.items():
            target, wrong = validate(spec.target, options)
            findings += [found for found in map(_nearer, wrong) if found not in findings]
            if target is not None:
                targets[source] = target.model_dump(mode="json", by_alias=True, exclude_unset=True)
                if connection is not None and spec.to_origin and spec.target.model_fields and not options:
                    address = ", ".join(spec.target.model_fields)
                    msg = f"the connection alone is no address: add what names the place (of {address})"
                    findings.append(Finding((), msg))
        if findings:
            return None, findings
        return PlannedOutput(name, output.output, connection, specs, targets, uses, policy), []

    def _approval(self, output: str, policy: OutputPolicy, options: Mapping[str, Any]) -> list[Finding]:
        if policy.approve is None:
            return []
        wrong = approvals.findings(
            policy.approve, ("approve",), connections=self._connections, specs=self._specs
        )
        return [*wrong, *approvals.content_findings(output, options)]

    def _at_connection(self, output: str, connection: str) -> tuple[dict[str, OutputSpecLike], list[Finding]]:
        source = self._connections[connection]
        if source is None:
            return {}, []
        offered = self._specs.get(source, {})
        if output not in offered:
            near = hint(output, offered)
            msg = f"the {source} connection {connection!r} has no output {quote(output)}; {near}"
            return {}, [Finding((), msg)]
        return {source: offered[output]}, []

    def _at_origin(
        self, output: str, origins: Sequence[str], *, asked: bool
    ) -> tuple[dict[str, OutputSpecLike], list[Finding]]:
        lacking = [source for source in origins if not self._offers(source, output)]
        if origins and not lacking:
            return {source: self._specs[source][output] for source in origins}, []
        everywhere = {name for offered in self._specs.values() for name in offered}
        if output not in everywhere:
            return {}, [Finding((), unknown("output", output, everywhere))]
        able = sorted(
            name for name, source in self._connections.items() if output in self._specs.get(source or "", {})
        )
        remedy = f"name a connection that can: {', '.join(able)}" if able else "define a connection that can"
        if not origins:
            return {}, [Finding((), f"no connection is defined that {quote(output)} could go to; {remedy}")]
        where = ", ".join(lacking)
        if asked:
            return {}, [
                Finding(("to",), f"{quote(output)} cannot go to the origin of {where} events; {remedy}")
            ]
        return {}, [
            Finding((), f"{quote(output)} needs a connection (it cannot answer {where} events); {remedy}")
        ]

    def _offers(self, source: str, output: str) -> bool:
        spec = self._specs.get(source, {}).get(output)
        return spec is not None and spec.to_origin


def _tool_options(
    output: str, options: dict[str, Any], specs: Iterable[OutputSpecLike]
) -> tuple[int, str, list[Finding]]:
    """Take `max` and `name` out of `options`, unless the target itself has a field of that name."""
    own = {name for spec in specs for name in spec.target.model_fields}
    findings: list[Finding] = []
    uses: Any = None if "max" in own else options.pop("max", None)
    name: Any = None if "name" in own else options.pop("name", None)
    if uses is None:
        uses = 1 if output in ONCE else DEFAULT_USES
    elif isinstance(uses, bool) or not isinstance(uses, int) or not 1 <= uses <= MAX_USES:
        findings.append(Finding(("max",), f"must be a whole number from 1 to {MAX_USES}, not {quote(uses)}"))
    if name is None:
        name = output
    elif not isinstance(name, str) or _TOOL.fullmatch(name) is None:
        findings.append(Finding(("name",), f"must fit the pattern {_TOOL.pattern}, not {quote(name)}"))
    return uses, name, findings


def _nearer(found: Finding) -> Finding:
    """An unknown field may be a misspelt option of every output, which the target's model does not know."""
    if len(found.location) != 1 or not found.message.startswith("unknown field"):
        return found
    name = str(found.location[0])
    near = hint(name, OPTIONS)
    if not near.startswith("did you mean"):
        return found
    return Finding(found.location, f"unknown field {name!r}; {near}", found.severity)


def _policy(
    output: str, options: dict[str, Any], specs: Iterable[OutputSpecLike]
) -> tuple[OutputPolicy, list[Finding]]:
    """Take the policy's fields out of `options`, unless the target itself has a field of that name."""
    given = list(specs)
    own = {name for spec in given for name in spec.target.model_fields}
    written = {name: options.pop(name) for name in sorted(POLICY_FIELDS - own) if name in options}
    policy, findings = validate(OutputPolicy, written)
    if written.get("mentions") and not all(spec.mentions for spec in given):
        msg = f"{quote(output)} notifies nobody anyway; remove mentions"
        findings.append(Finding(("mentions",), msg))
    return policy or OutputPolicy(), findings


def compose(planned: Sequence[PlannedOutput], *, source: str) -> tuple[Grant, ...]:
    """The grants of a rule for an event from `source`, each tool under a name of its own."""
    grants: list[Grant] = []
    taken = {output.name for output in planned}
    used: set[str] = set()
    for output in planned:
        name, number = output.name, 1
        while name in used or (number > 1 and name in taken):
            number += 1
            name = f"{output.name}_{number}"
        used.add(name)
        key = source if output.connection is None else next(iter(output.specs))
        if key not in output.specs:
            continue  # another program's event: there is no origin to answer to
        spec, target = output.specs[key], output.targets[key]
        grants.append(
            Grant(
                name=name,
                output=output.output,
                connection=output.connection,
                target=target,
                description=_description(spec, output.connection, target),
                input_schema=input_schema(spec.arguments),
                max=output.uses,
                policy=output.policy,
                code=spec.code,
            )
        )
    return tuple(grants)


def _description(spec: OutputSpecLike, connection: str | None, target: Mapping[str, Any]) -> str:
    place = "where the event came from" if connection is None else f"the connection {connection}"
    fixed = ", ".join(f"{name}={value}" for name, value in target.items())
    return f"{spec.description.rstrip()} Goes to {place}{f' ({fixed})' if fixed else ''}."


@cache
def input_schema(arguments: type[BaseModel]) -> dict[str, Any]:
    """JSON Schema of what the agent supplies, without the titles made of our class names."""
    schema = _untitled(arguments.model_json_schema())
    schema.pop("description", None)  # the docstring of a class of ours
    schema.setdefault("properties", {})
    return schema


def _untitled(schema: dict[str, Any]) -> dict[str, Any]:
    cleaned: dict[str, Any] = {}
    for key, value in schema.items():
        if key == "title" and isinstance(value, str):
            continue
        if key in {"properties", "$defs"}:
            cleaned[key] = {name: _untitled(inner) for name, inner in value.items()}
        elif isinstance(value, dict):
            cleaned[key] = _untitled(value)
        elif isinstance(value, list):
            cleaned[key] = [_untitled(item) if isinstance(item, dict) else item for item in value]
        else:
            cleaned[key] = value
    return cleaned
