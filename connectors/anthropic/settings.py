"""`connections.<name>` of an Anthropic connection."""

from __future__ import annotations

from pydantic import field_validator

from connectors.base import ConnectionSettings


class AnthropicSettings(ConnectionSettings):
    """Settings beyond the common ones: none. `webhook_secrets` holds the endpoint's `whsec_…` keys."""

    api_url: str = "https://api.anthropic.com"
    """Not called by this connection, which only receives."""

    @field_validator("token")
    @classmethod
    def _none(cls, value: str | None) -> str | None:
        if value is not None:
            msg = "a connection to anthropic only receives and takes no token; sessions use ANTHROPIC_API_KEY"
            raise ValueError(msg)
        return value
