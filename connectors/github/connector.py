"""The GitHub connector as the hub finds it. Must stay cheap to import: posting is imported with a poster."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import ClassVar

import httpx

from connectors.base import ConnectionSettings, Connector, Identity, Normalised, Request
from connectors.github import verify as signatures
from connectors.github.normalise import normalise
from connectors.github.outputs import OUTPUTS, OWN_OUTPUTS
from connectors.github.settings import GitHubSettings
from connectors.healer import Healer
from connectors.poster import OutputSpec, Poster


class GitHubConnector(Connector):
    """Repository, organisation and App webhooks of github.com and GitHub Enterprise Server."""

    source: ClassVar[str] = "github"
    max_body: ClassVar[int] = 25 * 1024 * 1024
    """GitHub sends nothing above 25 MB (docs, "Webhook events and payloads")."""
    settings: ClassVar[type[ConnectionSettings]] = GitHubSettings
    outputs: ClassVar[Mapping[str, OutputSpec]] = OUTPUTS
    own_outputs: ClassVar[Mapping[str, OutputSpec]] = OWN_OUTPUTS
    web_hosts: ClassVar[tuple[str, ...]] = ("github.com", "*.githubusercontent.com")

    def verify(self, request: Request, *, secrets: Sequence[str], now: float) -> None:
        del now  # GitHub signs no time
        signatures.verify(request, secrets=secrets)

    def normalise(self, request: Request, *, identity: Identity) -> Normalised:
        return normalise(request, identity=identity)

    def sign(self, headers: Mapping[str, str], body: bytes, *, secret: str, now: float) -> dict[str, str]:
        del now  # GitHub signs no time
        return signatures.sign(headers, body, secret=secret)

    def poster(
        self,
        settings: ConnectionSettings,
        *,
        token: str | None,
        http: httpx.AsyncClient,
        files: Mapping[str, str],
    ) -> Poster:
        from connectors.github.poster import GitHubPoster  # noqa: PLC0415 - PyJWT is not needed to read webhooks

        if not isinstance(settings, GitHubSettings):
            msg = f"a GitHub connection needs GitHubSettings, got {type(settings).__name__}"
            raise TypeError(msg)
        return GitHubPoster.build(settings, token=token, http=http, files=files)

    def healer(
        self,
        settings: ConnectionSettings,
        *,
        token: str | None,
        http: httpx.AsyncClient,
        files: Mapping[str, str],
    ) -> Healer | None:
        """Asks GitHub to deliver again what failed: see `healing.GitHubHealer`."""
        from connectors.github.healing import GitHubHealer  # noqa: PLC0415 - see poster

        if not isinstance(settings, GitHubSettings):
            msg = f"a GitHub connection needs GitHubSettings, got {type(settings).__name__}"
            raise TypeError(msg)
        return GitHubHealer.build(settings, token=token, http=http, files=files)


CONNECTOR = GitHubConnector()
