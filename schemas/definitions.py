"""What the configuration defines at the service: environments, agents, vaults, memory stores and files."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import (
    ConfigDict,
    Field,
    StringConstraints,
    model_validator,
)

from schemas.values import Strict, Text


class Environment(Strict):
    """Where sessions run: `environments.<name>`. `config` is the Managed Agents environment configuration."""

    config: dict[str, Any]
    description: str | None = None
    metadata: dict[str, str] = Field(default_factory=dict)


class Agent(Strict):
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


class Vault(Strict):
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


class MemoryStore(Strict):
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


class File(Strict):
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
