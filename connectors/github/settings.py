"""The `connections.<name>` settings of a GitHub connection. Holds references to secrets, never secrets."""

from __future__ import annotations

from typing import Final

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from connectors.base import ConnectionSettings

API_URL: Final = "https://api.github.com"


class AppSettings(BaseModel):
    """A GitHub App as the credential: short-lived tokens, and the only one that may write check runs."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    id: str
    """The App's client id (`Iv23…`) or its number: the issuer of its JWT."""
    private_key: str
    """Reference to the PEM file that GitHub generated, such as `file:/run/secrets/github-app.pem`."""
    installation_id: str | None = None
    """Left out: looked up for each repository."""

    @field_validator("id", "installation_id", mode="before")
    @classmethod
    def _text(cls, value: object) -> object:
        """YAML reads a bare number as one."""
        return str(value) if isinstance(value, int) and not isinstance(value, bool) else value

    @field_validator("private_key")
    @classmethod
    def _reference(cls, value: str) -> str:
        if not value.startswith(("env:", "file:")):
            # The value is not shown: somebody who pastes the key itself must not find it in a log.
            msg = "private_key must be a reference, env:NAME or file:PATH, not the key itself"
            raise ValueError(msg)
        return value

    @field_validator("installation_id")
    @classmethod
    def _number(cls, value: str | None) -> str | None:
        if value is not None and not (value.isascii() and value.isdigit()):
            msg = f"installation_id {value!r} must be the number at the end of the installation's address"
            raise ValueError(msg)
        return value


class HookSettings(BaseModel):
    """A webhook at GitHub whose deliveries are looked through: that of a repository or of an organisation."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    id: str
    """The number at the end of the webhook's address in its settings."""
    repository: str | None = Field(default=None, pattern=r"^[A-Za-z0-9_.-]+/[A-Za-z0-9_.-]+$")
    organization: str | None = Field(default=None, pattern=r"^[A-Za-z0-9_.-]+$")

    @field_validator("id", mode="before")
    @classmethod
    def _text(cls, value: object) -> object:
        """YAML reads a bare number as one."""
        return str(value) if isinstance(value, int) and not isinstance(value, bool) else value

    @field_validator("id")
    @classmethod
    def _number(cls, value: str) -> str:
        if not (value.isascii() and value.isdigit()):
            msg = f"id {value!r} of a hook must be the number at the end of its address at GitHub"
            raise ValueError(msg)
        return value

    @model_validator(mode="after")
    def _one_place(self) -> HookSettings:
        if (self.repository is None) == (self.organization is None):
            msg = f"hook {self.id} needs either repository (owner/repo) or organization"
            raise ValueError(msg)
        return self


class GitHubSettings(ConnectionSettings):
    """One GitHub connection. With neither `token` nor `app` it only receives."""

    api_url: str = Field(default=API_URL, validate_default=True)
    app: AppSettings | None = None
    hooks: tuple[HookSettings, ...] = ()
    """Webhooks to look through for failed deliveries. Left out: an App's own, or those of the repositories that events
    came from, found by the address they send to."""

    @model_validator(mode="after")
    def _one_credential(self) -> GitHubSettings:
        if self.token is not None and self.app is not None:
            msg = "a GitHub connection takes token or app, not both; remove one"
            raise ValueError(msg)
        return self
