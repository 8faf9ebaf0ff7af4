"""The Anthropic connector: ties verifying and normalising to the contract. It has no outputs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import ClassVar

import httpx

from connectors.anthropic import verify
from connectors.anthropic.normalise import normalise
from connectors.anthropic.poster import NoPoster
from connectors.anthropic.settings import AnthropicSettings
from connectors.base import ConnectionSettings, Connector, Identity, Normalised, Request
from connectors.poster import Poster


class AnthropicConnector(Connector):
    """Webhooks of Claude Managed Agents (Standard Webhooks)."""

    source: ClassVar[str] = "anthropic"
    max_body: ClassVar[int] = 100_000
    settings: ClassVar[type[ConnectionSettings]] = AnthropicSettings

    def verify(self, request: Request, *, secrets: Sequence[str], now: float) -> None:
        verify.verify(request, secrets=secrets, now=now)

    def normalise(self, request: Request, *, identity: Identity) -> Normalised:
        return normalise(request, identity=identity)

    def sign(self, headers: Mapping[str, str], body: bytes, *, secret: str, now: float) -> dict[str, str]:
        return verify.sign(headers, body, secret=secret, now=now)

    def poster(
        self,
        settings: ConnectionSettings,  # noqa: ARG002 - nothing is posted
        *,
        token: str | None,  # noqa: ARG002 - see above
        http: httpx.AsyncClient,  # noqa: ARG002 - see above
        files: Mapping[str, str],  # noqa: ARG002 - see above
    ) -> Poster:
        return NoPoster()


CONNECTOR = AnthropicConnector()
