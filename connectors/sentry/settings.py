"""`connections.<name>` of a Sentry connection."""

from __future__ import annotations

from pydantic import Field, field_validator

from connectors.base import ConnectionSettings


class SentrySettings(ConnectionSettings):
    """Settings beyond the common ones. `webhook_secrets` holds the integration's client secret."""

    api_url: str = "https://sentry.io"
    """`https://sentry.io`, a region host (`https://de.sentry.io`) or a self-hosted base, without `/api/0`."""
    organization: str | None = Field(default=None, pattern=r"^[A-Za-z0-9][A-Za-z0-9_-]*$")
    """Slug of the organization to post to. Without it the one named by the webhook is used."""
    installation_uuid: str | None = Field(default=None, pattern=r"^[0-9a-fA-F-]{32,36}$")
    """Installation of the integration, for `link_issue`. Without it the one named by the webhook is used."""
    app_uuid: str | None = Field(default=None, pattern=r"^[0-9a-fA-F-]{32,36}$")
    """Identifier of the integration itself: webhooks caused by it carry it as actor. Found by itself where
    the token may read the organization's integrations."""

    @field_validator("api_url")
    @classmethod
    def _without_version(cls, value: str) -> str:
        return value.removesuffix("/api/0")
