"""From `triggerhub.yaml`, or a folder of YAML files, to a configuration and its rules ready for matching.

Every mistake is reported at once, with file and line. Reads the files named and nothing else: no environment
variable, no secret, no network.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, TypeVar

from pydantic import BaseModel

from router.budgets import budget_findings
from router.checks import Names, RuleChecker, check_connection, check_vault
from router.definitions import check_agent_rules, check_environment_rules
from router.documents import MAX_BYTES, Document, Entry, Node, read
from router.engine import RuleSet
from router.grants import OutputPlan, OutputSpecs, compose
from router.problems import ConfigError, Location, Problem, hint, path_of, quote
from router.rules import CompiledRule, compile_rule
from router.shapes import Finding, located, validate
from schemas.config import SECTIONS, Caps, Config, Rule
from schemas.definitions import Agent, Environment, File, MemoryStore, Vault
from schemas.dispatch import FileMount
from schemas.values import check_name

Checker = Callable[[str, Any], list[str]]
"""Checks the vendor's part of something: (name, value) to messages. Injected, because the vendor's types take
seconds to import."""

FIELDS: Final = ("version", *SECTIONS, "limits", "rules")
SUFFIXES: Final = (".yaml", ".yml")
Model = TypeVar("Model", bound=BaseModel)


@dataclass(frozen=True, slots=True)
class _Item:
    """One connection, environment, agent or rule as written."""

    document: Document
    location: Location
    raw: Any


def load(
    path: Path,
    *,
    connection_models: Mapping[str, type[BaseModel]],
    output_specs: OutputSpecs,
    check_agent: Checker | None = None,
    check_environment: Checker | None = None,
    check_part: Checker | None = None,
) -> tuple[Config, RuleSet]:
    """Read a file, or all `*.yaml` and `*.yml` of a folder, merged. Raises ConfigError with every problem.

    `connection_models` gives the settings model of each source, `output_specs` its outputs.
    """
    return load_documents(
        _files(path),
        connection_models=connection_models,
        output_specs=output_specs,
        check_agent=check_agent,
        check_environment=check_environment,
        check_part=check_part,
    )


def load_documents(
    files: Iterable[tuple[str, bytes]],
    *,
    connection_models: Mapping[str, type[BaseModel]],
    output_specs: OutputSpecs,
    check_agent: Checker | None = None,
    check_environment: Checker | None = None,
    check_part: Checker | None = None,
) -> tuple[Config, RuleSet]:
    """The same for contents already read: (name for messages, bytes) of each file. Raises ConfigError."""
    documents = [read(data, file=name) for name, data in files]
    loader = _Loader(documents, connection_models, output_specs, check_part)
    return loader.run(check_agent, check_environment)


def _files(path: Path) -> list[tuple[str, bytes]]:
    if path.is_dir():
        found = sorted(
            file for file in path.iterdir() if file.suffix in SUFFIXES and not file.name.startswith(".")
        )
        if not found:
            msg = "the folder holds no *.yaml or *.yml file; write one, or name another path"
            raise ConfigError([Problem(str(path), 0, 0, "", msg)])
    else:
        found = [path]
    contents = []
    for file in found:
        try:
            with file.open("rb") as stream:
                contents.append((str(file), stream.read(MAX_BYTES + 1)))
        except OSError as error:
            msg = f"the file cannot be read ({error.strerror}); check the path and its permissions"
            raise ConfigError([Problem(str(file), 0, 0, "", msg)]) from None
    return contents


class _Loader:
    """The state of one load."""

    def __init__(
        self,
        documents: Sequence[Document],
        connection_models: Mapping[str, type[BaseModel]],
        output_specs: OutputSpecs,
        check_part: Checker | None,
    ) -> None:
        self._check_part = check_part
        self._documents = documents
        self._models = connection_models
        self._specs = output_specs
        self._problems = [problem for document in documents for problem in document.problems]
        self._sections: dict[str, dict[str, _Item]] = {section: {} for section in SECTIONS}
        self._rules: list[_Item] = []
        self._limits: _Item | None = None
        self._config_files: dict[str, File] = {}

    def run(self, check_agent: Checker | None, check_environment: Checker | None) -> tuple[Config, RuleSet]:
        for document in self._documents:
            self._gather(document)
        self._version()
        for item in self._sections["connections"].values():
            self._report(item, check_connection(item.raw, self._models))
        environments = self._models_of("environments", Environment, check_environment)
        agents = self._models_of("agents", Agent, check_agent)
        vaults = self._models_of("vaults", Vault, None)
        for item in self._sections["vaults"].values():
            self._report(item, check_vault(item.raw, self._check_part))
        memory_stores = self._models_of("memory_stores", MemoryStore, None)
        self._config_files = self._models_of("files", File, None)
        self._check_definitions()
        names = self._names()
        for item in self._sections["agents"].values():
            named = item.raw.get("environment") if isinstance(item.raw, dict) else None
            if isinstance(named, str) and named not in names.environments:
                message = f"unknown environment {quote(named)}; {hint(named, names.environments)}"
                self._report(item, [Finding(("environment",), message)])
            for index, vault in enumerate(_names_in(item.raw, "vaults")):
                if vault not in names.vaults:
                    message = f"unknown vault {quote(vault)}; {hint(vault, names.vaults)}"
                    self._report(item, [Finding(("vaults", index), message)])
        teams = self._models_of("teams", Caps, None)
        limits = self._everything()
        compiled = self._compile(names, teams, limits)
        for name, item in self._sections["teams"].items():
            if all(rule.rule.team != name for rule in compiled):
                self._report(item, [Finding((), f"no rule is of the team {name!r}", "warning")])
        if any(problem.severity == "error" for problem in self._problems):
            raise ConfigError(self._sorted())
        config = Config.model_construct(
            version=1,
            connections={name: item.raw for name, item in self._sections["connections"].items()},
            environments=environments,
            agents=agents,
            vaults=vaults,
            memory_stores=memory_stores,
            files={name: self._beside(name, file) for name, file in self._config_files.items()},
            teams=teams,
            limits=limits,
            rules=tuple(rule.rule for rule in compiled),
        )
        sources = {name: source for name, source in names.connections.items() if source is not None}
        return config, RuleSet(compiled, warnings=self._sorted(), sources=sources)

    def _everything(self) -> Caps:
        """The limits of everything."""
        if self._limits is None or self._limits.raw is None:
            return Caps()
        found, findings = validate(Caps, self._limits.raw)
        self._report(self._limits, findings)
        return found or Caps()

    def _beside(self, name: str, file: File) -> File:
        """A path is meant from where the file of the configuration lies."""
        if file.path is None:
            return file
        folder = Path(self._sections["files"][name].document.file).parent
        return file.model_copy(update={"path": str(folder / Path(file.path).expanduser())})

    def _mounts(self, rule: Rule) -> tuple[FileMount, ...]:
        """Where the files of a rule stand in its sessions."""
        found = []
        for name in rule.files:
            file = self._config_files.get(name)
            path = None if file is None else file.mount_path
            if path is None and file is not None and file.path is not None:
                path = f"/mnt/session/uploads/{Path(file.path).name}"
            found.append(FileMount(name=name, mount_path=path))
        return tuple(found)

    def _sorted(self) -> list[Problem]:
        order = {document.file: index for index, document in enumerate(self._documents)}
        return sorted(self._problems, key=lambda problem: (order[problem.file], problem.line, problem.column))

    def _add(self, document: Document, location: Location, finding: Finding) -> None:
        full = (*location, *finding.location)
        line, column = document.place(full)
        self._problems.append(
            Problem(document.file, line, column, path_of(full), finding.message, finding.severity)
        )

    def _report(self, item: _Item, findings: Iterable[Finding]) -> None:
        for finding in findings:
            self._add(item.document, item.location, finding)

    def _gather(self, document: Document) -> None:
        """Collect the items of one file; the same name in two files is refused, never overridden."""
        root = document.root
        if root is None:
            if not document.problems:
                self._add(document, (), Finding((), "the file is empty; write at least version: 1"))
            return
        if not isinstance(root.value, dict):
            self._add(document, (), Finding((), f"must be a mapping with the fields {', '.join(FIELDS)}"))
            return
        fields: dict[str, Entry] = root.value
        for name in fields:
            if name not in FIELDS:
                self._add(document, (), Finding((name,), f"unknown field {name!r}; {hint(name, FIELDS)}"))
        for section in SECTIONS:
            if section in fields:
                self._gather_section(document, section, fields[section].node)
        if "limits" in fields:
            item = _Item(document, ("limits",), fields["limits"].node.plain())
            if self._limits is not None:
                line, _ = self._limits.document.place(self._limits.location)
                message = f"limits are already set in {self._limits.document.file}:{line}"
                self._report(item, [Finding((), message)])
            self._limits = self._limits or item
        if "rules" in fields and (node := fields["rules"].node).value is not None:
            if not isinstance(node.value, list):
                self._add(document, ("rules",), Finding((), "must be a list: begin each rule with '- name:'"))
                return
            self._rules += [
                _Item(document, ("rules", index), inner.plain()) for index, inner in enumerate(node.value)
            ]

    def _gather_section(self, document: Document, section: str, node: Node) -> None:
        if node.value is None:
            return
        if not isinstance(node.value, dict):
            self._add(document, (section,), Finding((), "must be a mapping of names to values"))
            return
        known = self._sections[section]
        for name, entry in node.value.items():
            item = _Item(document, (section, name), entry.node.plain())
            if name in known:
                first = known[name]
                line, _ = first.document.place(first.location)
                message = f"{name!r} is already defined in {first.document.file}:{line}"
                self._report(item, [Finding((), message)])
                continue
            known[name] = item
            if section == "teams":
                continue  # called as the rules call them
            try:
                check_name(name)
            except ValueError as error:
                self._report(item, [Finding((), str(error))])

    def _version(self) -> None:
        """Every file may repeat it; one of them must have it."""
        found = False
        readable = [document for document in self._documents if document.root is not None]
        for document in readable:
            root = document.root
            if root is None or not isinstance(root.value, dict) or "version" not in root.value:
                continue
            found = True
            value = root.value["version"].node.value
            if isinstance(value, bool) or value != 1:
                self._add(document, (), Finding(("version",), f"must be 1, not {quote(_plain(value))}"))
        if readable and not found:
            self._add(readable[0], (), Finding(("version",), "required, but missing; write version: 1"))

    def _models_of(self, section: str, model: type[Model], check: Checker | None) -> dict[str, Model]:
        found: dict[str, Model] = {}
        for name, item in self._sections[section].items():
            instance, findings = validate(model, item.raw)
            self._report(item, findings)
            if instance is None:
                continue
            found[name] = instance
            if check is not None:
                vendor = {
                    key: value for key, value in item.raw.items() if key not in {"environment", "vaults"}
                }
                self._report(item, [located(message, item.raw) for message in check(name, vendor)])
        return found

    def _check_definitions(self) -> None:
        """Rules that span fields of agents and environments."""
        for item in self._sections["environments"].values():
            if isinstance(item.raw, dict):
                self._report(item, check_environment_rules(item.raw))
        agents = {name: item.raw for name, item in self._sections["agents"].items()}
        for name, item in self._sections["agents"].items():
            if isinstance(item.raw, dict):
                self._report(item, check_agent_rules(name, item.raw, agents))

    def _names(self) -> Names:
        def text(item: _Item, field: str) -> str | None:
            value = item.raw.get(field) if isinstance(item.raw, dict) else None
            return value if isinstance(value, str) else None

        sources = {name: text(item, "source") for name, item in self._sections["connections"].items()}
        return Names(
            connections={
                name: source if source in self._models else None for name, source in sources.items()
            },
            environments=frozenset(self._sections["environments"]),
            agents={name: text(item, "environment") for name, item in self._sections["agents"].items()},
            sources=frozenset(self._models),
            vaults={name: item.raw for name, item in self._sections["vaults"].items()},
            memory_stores={name: item.raw for name, item in self._sections["memory_stores"].items()},
            files={name: item.raw for name, item in self._sections["files"].items()},
            tokens=frozenset(
                name for name, item in self._sections["connections"].items() if text(item, "token")
            ),
            self_hosted=frozenset(
                name
                for name, item in self._sections["environments"].items()
                if _kind_of(item.raw) == "self_hosted"
            ),
        )

    def _compile(self, names: Names, teams: Mapping[str, Caps], limits: Caps) -> list[CompiledRule]:
        """Check every rule; those without an error are ready for matching."""
        agents = {name: item.raw for name, item in self._sections["agents"].items()}
        checker = RuleChecker(names, self._specs, agents=agents, check_part=self._check_part)
        connections = frozenset(names.connections)
        first: dict[str, _Item] = {}
        compiled: list[CompiledRule] = []
        for position, item in enumerate(self._rules):
            rule, findings = validate(Rule, item.raw)
            plan = OutputPlan()
            if isinstance(item.raw, dict):
                further, plan = checker.check(item.raw)
                findings += [found for found in further if found not in findings]
                findings += self._duplicate(item, first)
            if rule is not None:
                findings += budget_findings(rule, teams, limits)
            self._report(item, findings)
            if rule is None or any(found.severity == "error" for found in findings):
                continue
            environment = rule.environment or names.agents[rule.agent]
            if environment is None:  # reported by the checker; kept for the type's sake
                continue
            compiled.append(
                compile_rule(
                    rule,
                    position=position,
                    environment=environment,
                    grants={source: compose(plan.planned, source=source) for source in _sources(plan)},
                    connections=connections,
                    vaults=tuple(dict.fromkeys((*_names_in(agents.get(rule.agent), "vaults"), *rule.vaults))),
                    files=self._mounts(rule),
                )
            )
        return compiled

    def _duplicate(self, item: _Item, first: dict[str, _Item]) -> list[Finding]:
        name = item.raw.get("name")
        if not isinstance(name, str):
            return []
        other = first.setdefault(name, item)
        if other is item:
            return []
        line, _ = other.document.place((*other.location, "name"))
        return [Finding(("name",), f"the rule {name!r} is already defined in {other.document.file}:{line}")]


def _sources(plan: OutputPlan) -> set[str]:
    """Sources whose events this rule can answer, and "" for all other events."""
    return {"", *(source for output in plan.planned if output.connection is None for source in output.specs)}


def _names_in(raw: object, field: str) -> list[str]:
    value = raw.get(field) if isinstance(raw, dict) else None
    return [one for one in value if isinstance(one, str)] if isinstance(value, list) else []


def _kind_of(raw: object) -> object:
    config = raw.get("config") if isinstance(raw, dict) else None
    return config.get("type") if isinstance(config, dict) else None


def _plain(value: object) -> object:
    return value if isinstance(value, str | int | float | bool) or value is None else "a mapping or list"
